"""Depth other than by layers: deep transitions, groups of units with different clocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Cell, PyTree, check_size, stack
from rnnjax.base._numerics import Initializer, nothing, orthogonal
from rnnjax.base._outputs import carry_itself
from rnnjax.cells._cores import recurrent
from rnnjax.cells._feedforward import linear


def _stacked_orthogonal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Returns an orthogonal matrix for each index of the first axis."""
    return jax.vmap(lambda k: orthogonal(k, shape[1:], dtype))(jax.random.split(key, shape[0]))


def deep_transition_core(hidden: int, depth: int = 2, skip: bool = False) -> Cell:
    """A transition from one state to the next through several layers, on pre-activations z `[hidden]`.

        s_1 = tanh(z_t + h_{t-1} u);   s_k = tanh(s_{k-1} deep_k + b_k), k = 2 .. depth;   h_t = s_depth

    A path over T steps passes depth T layers. With the skip, z_t + h_{t-1} u is also added before the last activation,
    and the shortest path has T layers.

    Args:
      hidden: the number of units per layer.
      depth: the number of layers of a transition; 1 is `vanilla_core`.
      skip: whether the state also reaches the last layer directly.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> {k: p.shape for k, p in deep_transition_core(4, 3).init(jax.random.key(0), jnp.ones(4)).items()}
      {'u': (4, 4), 'deep': (2, 4, 4), 'b': (2, 4)}

    Reference: Pascanu, Gulcehre, Cho, Bengio, How to construct deep recurrent neural networks, 2014.
    """
    check_size("deep_transition: depth", depth)

    def deep_transition(p: PyTree, h: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        a = z + h @ p["u"]
        s = jnp.tanh(a)
        for k in range(depth - 1):
            past = a if skip and k == depth - 2 else jnp.zeros_like(a)
            s = jnp.tanh(s @ p["deep"][k] + p["b"][k] + past)
        return s, s

    layers = (depth - 1, hidden)
    extra: dict[str, tuple[Initializer, tuple[int, ...]]] = {
        "deep": (_stacked_orthogonal, (*layers, hidden)),
        "b": (nothing, layers),
    }
    return recurrent(hidden, deep_transition, extra=extra if depth > 1 else None, output=carry_itself)


def deep_transition(hidden: int, depth: int = 2, skip: bool = False) -> Cell:
    """`stack(linear(hidden), deep_transition_core(hidden, depth, skip))`: a vanilla RNN with a deep transition.

    Layers before or after the recurrence are parts of a stack: `stack(linear(n), pointwise(jnp.tanh),
    deep_transition(n), linear(n), pointwise(jnp.tanh), linear(m))` is deep in all three places.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = deep_transition(4, depth=3).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 4 + 1) + 2 * 4 (4 + 1)
      72

    Reference: Pascanu, Gulcehre, Cho, Bengio, How to construct deep recurrent neural networks, 2014.
    """
    check_size("deep_transition: hidden", hidden)
    return stack(linear(hidden), deep_transition_core(hidden, depth, skip))


def clockwork_core(hidden: int, periods: Sequence[int] = (1, 2, 4, 8)) -> Cell:
    """Hidden units in groups with different clocks, on pre-activations z `[hidden]`.

        group g at step t = 0, 1, ...:  h_g = tanh(z_g + sum of h_f u_fg over groups f with period_f >= period_g) if
        period_g divides t, otherwise h_g is unchanged

    The carry is (h, t), where t counts modulo the least common multiple of the periods.

    Args:
      hidden: the number of units; the groups have equal sizes.
      periods: the periods of the groups, each at least 1.

    Raises:
      ValueError: the groups do not divide the units, or a period is below one.

    Example: the slow unit keeps what it read at step 0.
      >>> import jax.numpy as jnp, rnnjax
      >>> cell, params = clockwork_core(2, (1, 3)), {"u": jnp.zeros((2, 2))}
      >>> zs = jnp.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]])
      >>> print(jnp.arctanh(rnnjax.run(rnnjax.unroll(cell), params, zs)[1]).round(2)[:, 1])
      [1. 1. 1. 4.]

    Reference: Koutnik, Greff, Gomez, Schmidhuber, A clockwork RNN, 2014.
    """
    check_size("clockwork: hidden", hidden)
    for period in periods:
        check_size("clockwork: each of periods", period)
    if not len(periods) or hidden % len(periods):
        raise ValueError(
            f"clockwork: {hidden} units do not divide into {len(periods)} equal groups (periods {periods})"
        )
    of_unit = np.repeat(periods, hidden // len(periods))
    reaches = of_unit[:, None] >= of_unit[None, :]
    cycle = math.lcm(*periods)

    def clockwork(p: PyTree, carry: tuple[jax.Array, jax.Array], z: jax.Array) -> tuple[PyTree, jax.Array]:
        h, t = carry
        new = jnp.tanh(z + h @ jnp.where(reaches, p["u"], jnp.zeros_like(p["u"])))
        due = jnp.mod(jnp.broadcast_to(t, h.shape), jnp.asarray(of_unit, t.dtype)) == 0
        h = jnp.where(due, new, h)
        return (h, jnp.mod(t + 1, jnp.asarray(cycle, t.dtype))), h

    return recurrent(hidden, clockwork, start=lambda h: (h, jnp.zeros((), h.dtype)), output=lambda carry: carry[0])


def clockwork(hidden: int, periods: Sequence[int] = (1, 2, 4, 8)) -> Cell:
    """`stack(linear(hidden), clockwork_core(hidden, periods))`: the clockwork RNN.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = clockwork(8).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 8 (3 + 8 + 1)
      96

    Reference: Koutnik, Greff, Gomez, Schmidhuber, A clockwork RNN, 2014.
    """
    check_size("clockwork: hidden", hidden)
    return stack(linear(hidden), clockwork_core(hidden, periods))
