"""Networks of stochastic binary units, with a temperature."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, check_positive, check_size, factory, stateless
from rnnjax.base._numerics import Initializer, as_dtype, at_least_single, draw_initial, orthogonal
from rnnjax.base._outputs import carry_itself, hidden_units


class Binary(NamedTuple):
    """The state of binary units.

    Attributes:
      h: each 0 or 1, `[hidden]`.
      log_probability: that of all draws since the start, `[]`, in at least float32.
    """

    h: jax.Array
    log_probability: jax.Array


def _bernoulli(key: jax.Array | None, logits: jax.Array, straight_through: bool = True) -> jax.Array:
    """Draws 1 with probability sigmoid(logit), otherwise 0; without a key, takes the more probable value.

    Args:
      key: the key of the draw, or None.
      logits: an array of any shape.
      straight_through: if set, the derivative is that of sigmoid(logit), as if the draw were its mean; otherwise zero.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> jax.value_and_grad(lambda a: _bernoulli(None, a))(0.1)[0].item()
      1.0

    Reference: Bengio, Leonard, Courville, Estimating or propagating gradients through stochastic neurons for
    conditional computation, 2013.
    """
    p = jax.nn.sigmoid(logits)
    on = logits > 0 if key is None else jax.random.bernoulli(key, at_least_single(lax.stop_gradient(p)))
    # comparisons with nan are false, but nan must not become 0
    s = jnp.where(jnp.isnan(logits), logits, on.astype(logits.dtype))
    return p + lax.stop_gradient(s - p) if straight_through else s


@factory
def binary(temperature: Any = 1.0) -> Cell:
    """Stochastic binary units without memory, with straight-through gradients: y ~ Bernoulli(sigmoid(x / temperature)).

    Args:
      temperature: above 0; it may be a tracer.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> print(rnnjax.run(binary(), (), jnp.array([-1.0, 2.0]))[1])
      [0. 1.]
    """
    check_positive("binary: temperature", temperature)
    return stateless(lambda key, x: (), lambda p, x, key=None: _bernoulli(key, x / as_dtype(temperature, x)))


@factory
def binary_core(
    hidden: int,
    temperature: Any = 1.0,
    gradient: Literal["straight_through", "score"] = "straight_through",
    u_init: Initializer = orthogonal,
) -> Cell:
    """Stochastic binary units on pre-activations z `[hidden]`, all drawn at once.

        h_t ~ Bernoulli(sigmoid((z_t + h_{t-1} u) / temperature))

    With straight-through gradients it is trained like any core; the gradient is that of the means and is biased. With
    "score" no gradient passes through a draw: `estimators.score_function` computes it, without bias, from the
    log-probability of the draws, which the carry accumulates. Without a key each unit takes its more probable value.

    Args:
      hidden: the number of units.
      temperature: above 0; it may be a tracer. Towards 0 the units become thresholds.
      gradient: "straight_through" or "score".
      u_init: the initialiser of u `[hidden, hidden]`.

    Raises:
      ValueError: the kind of gradient is unknown.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> xs, cell = jnp.ones((12, 3)), rnnjax.unroll(rnnjax.stack(rnnjax.linear(4), binary_core(4)))
      >>> carry, ys = rnnjax.run(cell, cell.init(jax.random.key(0), xs), xs, key=jax.random.key(1))
      >>> print(jnp.unique(ys))
      [0. 1.]

    Reference: Bengio, Leonard, Courville, Estimating or propagating gradients through stochastic neurons for
    conditional computation, 2013; Williams, Simple statistical gradient-following algorithms for connectionist
    reinforcement learning, 1992 (score function).
    """
    check_size("binary_core: hidden", hidden)
    check_positive("binary_core: temperature", temperature)
    if gradient not in ("straight_through", "score"):
        raise ValueError(f"binary_core: gradient is straight_through or score, not {gradient}")

    def init(key: jax.Array, z: Any) -> PyTree:
        return {"u": draw_initial(u_init, key, (hidden, hidden), z.dtype)}

    def start(p: PyTree, z: Any) -> Binary:
        return Binary(jnp.zeros(hidden, z.dtype), at_least_single(jnp.zeros((), z.dtype)))

    def step(p: PyTree, carry: Binary, z: jax.Array, key: jax.Array | None = None) -> tuple[Binary, jax.Array]:
        logits = (z + carry.h @ p["u"]) / as_dtype(temperature, z)
        h = _bernoulli(key, logits, gradient == "straight_through")
        log_p = jax.nn.log_sigmoid(at_least_single((2 * lax.stop_gradient(h) - 1) * logits)).sum()
        return Binary(h, carry.log_probability + log_p), h

    return Cell(init, start, step, output=hidden_units)


def log_probability(carry: PyTree) -> jax.Array:
    """Returns the log-probability of all draws of the binary units in a carry.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = binary_core(3)
      >>> carry, _ = rnnjax.run(cell, {"u": jnp.zeros((3, 3))}, jnp.zeros(3), key=jax.random.key(0))
      >>> print(log_probability(("other", carry)).round(4))  # 3 ln 1/2
      -2.0794
    """
    nodes = jax.tree.leaves(carry, is_leaf=lambda node: isinstance(node, Binary))
    return sum((node.log_probability for node in nodes if isinstance(node, Binary)), jnp.zeros(()))


@factory
def boltzmann_core(hidden: int, temperature: Any = 1.0, u_init: Initializer = orthogonal) -> Cell:
    """A fully connected network of symmetric binary units, each redrawn in turn once per step.

        h_i ~ Bernoulli(sigmoid((z_i + sum_j u_ij h_j) / temperature)),  i = 1 .. hidden, with the others unchanged
        energy(h) = - 1/2 h' u h - z' h

    u is made symmetric, with a zero diagonal. For constant z the network visits states with probability proportional to
    exp(-energy / temperature); cooled slowly it settles in a state of least energy. Without a key each unit takes its
    more probable value, which descends the energy.

    Args:
      hidden: the number of units.
      temperature: above 0; it may be a tracer. None: each input is (z, temperature).
      u_init: the initialiser of u `[hidden, hidden]`.

    Example: two units with a positive connection, at low temperature.
      >>> import jax.numpy as jnp, rnnjax
      >>> pair = {"u": jnp.array([[0.0, 2.0], [2.0, 0.0]])}
      >>> h, y = rnnjax.run(boltzmann_core(2), pair, jnp.array([-1.0, -1.0]), jnp.array([0.0, 1.0]))
      >>> print(h, energy(pair["u"], jnp.array([-1.0, -1.0]), h))
      [1. 1.] 0.0

    Reference: Hopfield, Neural networks and physical systems with emergent collective computational abilities, 1982;
    Ackley, Hinton, Sejnowski, A learning algorithm for Boltzmann machines, 1985; Kirkpatrick, Gelatt, Vecchi,
    Optimization by simulated annealing, 1983.
    """
    check_size("boltzmann_core: hidden", hidden)
    if temperature is not None:
        check_positive("boltzmann_core: temperature", temperature)

    def given(x: Any) -> tuple[Any, Any]:
        return x if temperature is None else (x, temperature)

    def init(key: jax.Array, x: Any) -> PyTree:
        return {"u": draw_initial(u_init, key, (hidden, hidden), given(x)[0].dtype)}

    def step(p: PyTree, h: jax.Array, x: Any, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        (z, t), u = given(x), symmetric(p["u"])
        keys = None if key is None else jax.random.split(key, hidden)

        def unit(h: jax.Array, ik: tuple[jax.Array, jax.Array | None]) -> tuple[jax.Array, None]:
            i, k = ik
            return h.at[i].set(_bernoulli(k, (z[i] + h @ u[i]) / as_dtype(t, z))), None

        h, _ = lax.scan(unit, h, (jnp.arange(hidden), keys))
        return h, h

    return Cell(init, lambda p, x: jnp.zeros(hidden, given(x)[0].dtype), step, output=carry_itself)


def symmetric(u: jax.Array) -> jax.Array:
    """Returns the symmetric part of a matrix, with a zero diagonal.

    Example:
      >>> import jax.numpy as jnp
      >>> print(symmetric(jnp.array([[1.0, 2.0], [4.0, 1.0]])))
      [[0. 3.]
       [3. 0.]]
    """
    return (u + u.T) / 2 * (1 - jnp.eye(len(u), dtype=u.dtype))


def energy(u: jax.Array, z: jax.Array, h: jax.Array) -> jax.Array:
    """Returns - 1/2 h' u h - z' h, with u made symmetric with a zero diagonal.

    Example:
      >>> import jax.numpy as jnp
      >>> float(energy(jnp.ones((2, 2)), jnp.zeros(2), jnp.ones(2)))
      -1.0
    """
    return -(h @ symmetric(u) @ h) / 2 - z @ h


def stored(patterns: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns Hebb's weights and biases, (u `[n, n]`, z `[n]`), which store patterns of 0 and 1 `[m, n]` at low energy.

        J = sum over patterns of s s' / n, without diagonal, s = 2 h - 1;   u = 4 J,  z = - 2 J 1

    With these, energy(h) is that of Hopfield's network, - 1/2 s' J s, up to a constant.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> pattern = jnp.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
      >>> u, z = stored(pattern[None])
      >>> print(rnnjax.run(boltzmann_core(6), {"u": u}, z, pattern.at[0].set(0.0))[1])
      [1. 0. 1. 1. 0. 0.]

    Reference: Hopfield, Neural networks and physical systems with emergent collective computational abilities, 1982.
    """
    s = 2 * patterns - 1
    j = symmetric(s.T @ s) / s.shape[1]
    return 4 * j, -2 * j.sum(1)
