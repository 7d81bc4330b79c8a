"""Optimisers by name, with learning rate schedules, warm-up, clipping, weight decay and settings per parameter name.

Everything is optax. Numbers may be tracers, so that a search over learning rates compiles once.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from rnnjax.base import PyTree, check_number, check_size
from rnnjax.base._arguments import check_dict, check_function, check_text
from rnnjax.base._numerics import at_least_single
from rnnjax.base._paths import NOT_DECAYED
from rnnjax.base._pytrees import path_name

_Schedule = Callable[[jax.Array], jax.Array]


def decayed(value: Any, kind: str, steps: int, warmup: int = 0, final: Any = 0.0) -> _Schedule:
    """Returns a schedule step -> value: a linear warm-up, then a decay from value to final * value at `steps`.

        constant      value
        linear        value (1 - p + p final)                    p = (step - warmup) / (steps - warmup), at most 1
        cosine        value (final + (1 - final) (1 + cos(pi p)) / 2)
        exponential   value final^p

    Args:
      value: the peak, which may be a tracer.
      kind: constant, linear, cosine or exponential.
      steps: the length of the run.
      warmup: the number of warm-up steps from zero.
      final: the final value as a fraction of the peak; above zero for exponential.

    Raises:
      ValueError: the kind is unknown.

    Example:
      >>> rate = decayed(0.1, "linear", steps=100, final=0.5)
      >>> round(float(rate(50)), 4)
      0.075
    """
    check_number("decayed: value", value, 0)
    check_number("decayed: final", final, 0, 1)
    check_size("decayed: steps", steps, 0)
    check_size("decayed: warmup", warmup, 0)
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


def _check_pattern(what: str, pattern: Any) -> None:
    """Refuses what is no regular expression."""
    check_text(what, pattern)
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{what} is a regular expression, got {pattern!r:.60} ({error})") from error


def _by_name(pattern: str, params: PyTree) -> PyTree:
    """Returns booleans shaped as params: whether the name of each parameter contains a match of the regular expression.

    Example:
      >>> import jax.numpy as jnp
      >>> _by_name("u$", ({"w": jnp.ones(1)}, {"u": jnp.ones(1)}))
      ({'w': False}, {'u': True})
    """
    return jax.tree.map_with_path(lambda path, _: bool(re.search(pattern, path_name(path))), params)


def scale_by_name(factors: dict[str, Any]) -> optax.GradientTransformation:
    """Returns a transformation that scales updates by parameter name: a learning rate per group, or 0 to freeze it.

    Args:
      factors: regular expression -> factor; if several match, the last one applies.

    Raises:
      ValueError: at init, if a pattern matches no parameter.

    Example:
      >>> import jax.numpy as jnp
      >>> params = {"u": jnp.ones(1), "w": jnp.ones(1)}
      >>> frozen = scale_by_name({"u": 0.0})
      >>> updates, _ = frozen.update(params, frozen.init(params))
      >>> float(updates["u"][0]), float(updates["w"][0])
      (0.0, 1.0)
    """

    check_dict("scale_by_name: factors", factors)
    for pattern, factor in factors.items():
        _check_pattern("scale_by_name: a name", pattern)
        check_number(f"scale_by_name: {pattern}", factor)

    def init(params: PyTree) -> optax.EmptyState:
        names = [path_name(path) for path, _ in jax.tree.leaves_with_path(params)]
        for pattern in factors:
            if not any(re.search(pattern, name) for name in names):
                raise ValueError(f"no parameter is named like {pattern!r}; there are {', '.join(names)}")
        return optax.EmptyState()

    def update(updates: PyTree, state: optax.EmptyState, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        def scaled(path: tuple[Any, ...], u: jax.Array) -> jax.Array:
            matching = [f for pattern, f in factors.items() if re.search(pattern, path_name(path))]
            return u * jnp.asarray(matching[-1], u.dtype) if matching else u

        return jax.tree.map_with_path(scaled, updates), state

    return optax.GradientTransformation(init, update)


def _clip_by_norm(limit: Any) -> optax.GradientTransformation:
    """Scales the gradient down to a global norm of `limit`, which may be a tracer; 0 turns clipping off."""

    def update(grads: PyTree, state: optax.EmptyState, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        norm = optax.tree.norm(jax.tree.map(at_least_single, grads))
        most = jnp.asarray(limit, norm.dtype)
        scale = jnp.where((most > 0) & (norm > most), most / norm, jnp.ones_like(norm))
        return jax.tree.map(lambda g: g * scale.astype(g.dtype), grads), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


# The direction of each optimiser, before the learning rate. RMSprop's decay is that of the papers that used it.
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


_Make = Callable[..., optax.GradientTransformation]
_PROBE_STEPS, _PROBE_RATE = 10, 0.01  # to test an optimiser on a quadratic


class _Kind(NamedTuple):
    """Properties of a function that returns an optax transformation.

    Attributes:
      full: whether the updates include the learning rate and the sign, and so descend; otherwise they point along the
        gradient.
      given: the form of `learning_rate` that it takes: "schedule", "number", or "" if it takes none.
    """

    full: bool
    given: str


@functools.cache
def kind_of(make: _Make) -> _Kind:
    """Determines on a quadratic what a user's function returns: a full optimiser or a direction.

    Raises:
      ValueError: it returns no transformation, needs other arguments, or neither descends nor ascends.

    Example:
      >>> kind_of(optax.adam), kind_of(optax.scale_by_adam)
      (_Kind(full=True, given='schedule'), _Kind(full=False, given=''))
    """
    try:
        known = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        known = dict[str, inspect.Parameter]().values()
    alone = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [p.name for p in known if p.default is p.empty and p.kind not in alone]
    missing = [name for name in needed if name != "learning_rate"]
    if missing:
        raise ValueError(
            f"it needs the argument{'s' * (len(missing) > 1)} {', '.join(missing)}: pass a function that "
            "needs no other than learning_rate"
        )
    wanted: dict[str, Any] = {"schedule": lambda step: _PROBE_RATE, "number": _PROBE_RATE} if needed else {"": None}
    problem = ""
    for given, rate in wanted.items():
        try:
            with jax.ensure_compile_time_eval(), jax.numpy_dtype_promotion("standard"):  # optax needs it
                return _Kind(_goes_down(make(rate) if given else make()), given)
        except Exception as error:  # a user's function may raise anything
            problem = problem or (str(error) or type(error).__name__)
    if lacks := re.search("missing .* required keyword-only arguments?: (.*)", problem):
        problem = f"its update needs {lacks[1]}, and training gives it value alone"
    raise ValueError(problem)


def _goes_down(tx: Any) -> bool:
    """Returns whether the updates of a transformation descend a quadratic; otherwise they ascend it."""
    if not isinstance(tx, optax.GradientTransformation):
        raise TypeError(f"it gives a {type(tx).__name__}, not an optax transformation")
    params = {"w": jnp.linspace(-2.0, 1.5, 16).reshape(4, 4), "b": jnp.linspace(1.0, 2.0, 4)}
    curve = {"w": jnp.linspace(0.5, 1.5, 16).reshape(4, 4), "b": jnp.ones(4)}

    def loss(x: PyTree) -> jax.Array:
        return sum((0.5 * jnp.sum(c * v**2) for c, v in zip(jax.tree.leaves(curve), jax.tree.leaves(x))), jnp.zeros(()))

    tx, state, total = optax.with_extra_args_support(tx), tx.init(params), 0.0
    for _ in range(_PROBE_STEPS):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params, value=value)
        size = float(optax.tree.norm(updates) * optax.tree.norm(grads))
        if size > 0:
            total += float(optax.tree.vdot(updates, grads)) / size
        params = optax.apply_updates(params, jax.tree.map(lambda u: jnp.clip(u, -1, 1), updates))
    if not abs(total) > 0.1 * _PROBE_STEPS:
        raise ValueError("its updates go neither up nor down a quadratic: it is neither an optimiser nor a direction")
    return total < 0


def _decay_at(
    schedule: _Schedule, weight_decay: Any, decays: Callable[[PyTree], PyTree]
) -> optax.GradientTransformation:
    """Subtracts rate(step) weight_decay params: weight decay for an optimiser with a learning rate of its own."""
    steps = optax.chain(optax.add_decayed_weights(weight_decay, decays), optax.scale_by_learning_rate(schedule))

    def update(updates: PyTree, state: PyTree, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        off, state = steps.update(jax.tree.map(jnp.zeros_like, updates), state, params)
        return jax.tree.map(lambda u, d: u + d.astype(u.dtype), updates, off), state

    return optax.GradientTransformation(steps.init, update)


def optimizer(
    direction: _Make,
    schedule: _Schedule,
    clip_norm: Any = 0.0,
    weight_decay: Any = 0.0,
    no_decay: str = NOT_DECAYED,
    scales: dict[str, Any] | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Returns an optimiser that clips, finds a direction, decays the weights, scales by name and takes the step.

        params <- params - rate(step) scale (direction(clip(grads)) + weight_decay params)

    Weight decay is decoupled from the direction. Numbers may be tracers. If `direction` is a full optimiser, it takes
    the step itself, with `schedule` if it needs a learning rate and otherwise with its own; `weight_decay` and `scales`
    apply as usual. An optimiser whose update needs the loss receives it as `value`.

    Args:
      direction: one of `DIRECTIONS`, a function that returns an optax transformation without a learning rate, or one
        that returns a full optimiser. `kind_of` determines which it is.
      schedule: step -> learning rate.
      clip_norm: the largest global norm; 0: no clipping.
      weight_decay: per step, times the learning rate; not applied to names that match `no_decay`.
      no_decay: a regular expression; by default biases, gains, peepholes and learned carries, by the contract's names.
      scales: learning rate factors by name, see `scale_by_name`.

    Raises:
      ValueError: `direction` is neither.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> opt = optimizer(DIRECTIONS["sgd"], decayed(0.5, "constant", 10), clip_norm=1.0)
      >>> params = {"u": jnp.array([3.0])}
      >>> updates, _ = opt.update({"u": jnp.array([4.0])}, opt.init(params), params)
      >>> print(optax.apply_updates(params, updates)["u"])
      [2.5]

    Reference: Loshchilov, Hutter, Decoupled weight decay regularization, 2019.
    """

    check_function("optimizer: direction", direction)
    check_function("optimizer: schedule", schedule)
    check_number("optimizer: clip_norm", clip_norm, 0)
    check_number("optimizer: weight_decay", weight_decay, 0)
    _check_pattern("optimizer: no_decay", no_decay)

    def decays(params: PyTree) -> PyTree:
        return jax.tree.map(lambda skip: not skip, _by_name(no_decay, params))

    kind = _Kind(False, "") if direction in DIRECTIONS.values() else kind_of(direction)
    if kind.full:
        rates: dict[str, tuple[Any, ...]] = {
            "schedule": (schedule,),
            "number": (schedule(jnp.zeros((), jnp.int32)),),
            "": (),
        }
        own = direction(*rates[kind.given])
        decay = _decay_at(schedule, weight_decay, decays)
        return optax.chain(_clip_by_norm(clip_norm), own, decay, scale_by_name(scales or {}))
    if kind.given:
        raise ValueError("it needs a learning rate, and its updates go up: the sign is missing")
    return optax.chain(
        _clip_by_norm(clip_norm),
        direction(),
        optax.add_decayed_weights(weight_decay, decays),
        scale_by_name(scales or {}),
        optax.scale_by_learning_rate(schedule),
    )
