"""Optimisers by name, and what surrounds them: schedule, warm-up, clipping, decay, settings by parameter name.

Everything is optax. Numbers may be tracers, so that a study of learning rates is one program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rnnjax.base import PyTree
from rnnjax.errors import UserError

Schedule = Callable[[jax.Array], jax.Array]


def decayed(value: Any, kind: str, steps: int, warmup: int = 0, final: Any = 0.0) -> Schedule:
    """A learning rate as a function of the step: a linear warm-up, then from value to final * value at `steps`.

        constant      value
        linear        value (1 - p + p final)                    p = (step - warmup) / (steps - warmup), at most 1
        cosine        value (final + (1 - final) (1 + cos(pi p)) / 2)
        exponential   value final^p

    Args:
      value: the peak, perhaps a tracer.
      kind: one of the four names.
      steps: of the whole run.
      warmup: steps of the warm-up from zero.
      final: the last rate as a fraction of the peak; above zero for exponential.

    Raises:
      ValueError: an unknown kind.

    Example:
      >>> rate = decayed(0.1, "linear", steps=100, final=0.5)
      >>> round(float(rate(50)), 4)
      0.075
    """
    shapes: dict[str, Callable[[jax.Array], jax.Array]] = {
        "constant": lambda p: jnp.ones_like(p),
        "linear": lambda p: 1 - p + p * final,
        "cosine": lambda p: final + (1 - final) * 0.5 * (1 + jnp.cos(jnp.pi * p)),
        "exponential": lambda p: jnp.asarray(final, p.dtype) ** p,
    }
    if kind not in shapes:
        raise ValueError(f"unknown schedule {kind!r}: one of {', '.join(shapes)}")

    def schedule(step: jax.Array) -> jax.Array:
        now = jnp.asarray(step, jnp.float32)
        p = jnp.clip((now - warmup) / max(steps - warmup, 1), 0.0, 1.0)
        return value * shapes[kind](p) * jnp.clip((now + 1) / (warmup + 1), 0.0, 1.0)

    return schedule


def path_name(path: tuple[Any, ...]) -> str:
    """The name of a parameter: its path, as in "1/u" or "core/gate/w"."""
    return "/".join(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path)


def by_name(pattern: str, params: PyTree) -> PyTree:
    """Booleans shaped as params: whose name has a match of the regular expression, anywhere in it.

    Example:
      >>> import jax.numpy as jnp
      >>> by_name("u$", ({"w": jnp.ones(1)}, {"u": jnp.ones(1)}))
      ({'w': False}, {'u': True})
    """
    return jax.tree.map_with_path(lambda path, _: bool(re.search(pattern, path_name(path))), params)


def scale_by_name(factors: dict[str, Any]) -> optax.GradientTransformation:
    """Scales the updates of parameters by name: the learning rate of a group, 0 to freeze it.

    Args:
      factors: regular expression -> factor; of several that match, the last counts.

    Raises:
      UserError: at init, if a pattern matches no parameter.

    Example:
      >>> import jax.numpy as jnp
      >>> params = {"u": jnp.ones(1), "w": jnp.ones(1)}
      >>> frozen = scale_by_name({"u": 0.0})
      >>> updates, _ = frozen.update(params, frozen.init(params))
      >>> float(updates["u"][0]), float(updates["w"][0])
      (0.0, 1.0)
    """

    def init(params: PyTree) -> optax.EmptyState:
        names = [path_name(path) for path, _ in jax.tree.leaves_with_path(params)]
        for pattern in factors:
            if not any(re.search(pattern, name) for name in names):
                raise UserError(f"no parameter is named like {pattern!r}; there are {', '.join(names)}")
        return optax.EmptyState()

    def update(updates: PyTree, state: optax.EmptyState, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        def scaled(path: tuple[Any, ...], u: jax.Array) -> jax.Array:
            matching = [f for pattern, f in factors.items() if re.search(pattern, path_name(path))]
            return u * jnp.asarray(matching[-1], u.dtype) if matching else u

        return jax.tree.map_with_path(scaled, updates), state

    return optax.GradientTransformation(init, update)


def clip_by_norm(limit: Any) -> optax.GradientTransformation:
    """Scales the gradient down to a global norm of `limit`, which may be a tracer; 0 leaves it alone."""

    def update(grads: PyTree, state: optax.EmptyState, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        norm = optax.tree.norm(grads)
        most = jnp.asarray(limit, norm.dtype)
        scale = jnp.where((most > 0) & (norm > most), most / norm, jnp.ones_like(norm))
        return jax.tree.map(lambda g: g * scale.astype(g.dtype), grads), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


# The direction of each optimiser, before the learning rate. RMSprop with the decay of the papers that used it.
DIRECTIONS: dict[str, Callable[[], optax.GradientTransformation]] = {
    "adam": optax.scale_by_adam,
    "adamw": optax.scale_by_adam,
    "nadam": lambda: optax.scale_by_adam(nesterov=True),
    "amsgrad": optax.scale_by_amsgrad,
    "rmsprop": lambda: optax.scale_by_rms(decay=0.9),
    "adagrad": optax.scale_by_rss,
    "lion": optax.scale_by_lion,
    "momentum": lambda: optax.trace(decay=0.9),
    "nesterov": lambda: optax.trace(decay=0.9, nesterov=True),
    "sgd": optax.identity,
}


def optimizer(
    direction: Callable[[], optax.GradientTransformation],
    schedule: Schedule,
    clip_norm: Any = 0.0,
    weight_decay: Any = 0.0,
    no_decay: str = r"(^|/)(b|p|gain|bias|c_gain|c_bias|carry)$",
    scales: dict[str, Any] | None = None,
) -> optax.GradientTransformation:
    """Clip, find a direction, decay the weights, scale by name, take the step.

        params <- params - rate(step) scale (direction(clip(grads)) + weight_decay params)

    Decay is decoupled from the direction. Numbers may be tracers.

    Args:
      direction: one of `DIRECTIONS`, or any function that gives an optax transformation without a learning rate.
      schedule: step -> learning rate.
      clip_norm: limit of the global norm; 0: none.
      weight_decay: per step, times the learning rate; not for names that match `no_decay`.
      no_decay: regular expression.
      scales: learning rate factors by name, see `scale_by_name`.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> opt = optimizer(DIRECTIONS["sgd"], decayed(0.5, "constant", 10), clip_norm=1.0)
      >>> params = {"u": jnp.array([3.0])}
      >>> updates, _ = opt.update({"u": jnp.array([4.0])}, opt.init(params), params)
      >>> print(optax.apply_updates(params, updates)["u"])
      [2.5]

    Reference: Loshchilov, Hutter, Decoupled weight decay regularization, 2019.
    """

    def decays(params: PyTree) -> PyTree:
        return jax.tree.map(lambda skip: not skip, by_name(no_decay, params))

    return optax.chain(
        clip_by_norm(clip_norm),
        direction(),
        optax.add_decayed_weights(weight_decay, decays),
        scale_by_name(scales or {}),
        optax.scale_by_learning_rate(schedule),
    )
