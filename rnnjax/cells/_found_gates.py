"""Gated cells that a search over architectures found: MUT1 and MUT3."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax.base import Cell, PyTree, check_size, factory, stack
from rnnjax.base._numerics import Initializer, orthogonal
from rnnjax.cells._feedforward import linear
from rnnjax.cells._recurrent import driven, recurrent

_Pair = tuple[jax.Array, jax.Array]


@factory
def mut1(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """MUT1: a GRU whose update gate does not read the state, and whose candidate squashes the input.

        z, r, n = x_t w + b;  z, r = sigmoid(z), sigmoid(r + h_{t-1} u_r)
        h_t = z tanh((r h_{t-1}) u_n + tanh(n)) + (1 - z) h_{t-1}

    The paper's x_t in the candidate is mapped to n, so that the input may have any width. (With such a map MUT2 is
    `gru(hidden, keep=False)`.) Params: ({w, b}, {u `[hidden, hidden]` of r, v `[hidden, hidden]` of n}).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = mut1(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 3 * 4 (3 + 1) + 2 * 4 * 4
      80

    Reference: Jozefowicz, Zaremba, Sutskever, An empirical exploration of recurrent network architectures, 2015.
    """
    check_size("mut1: hidden", hidden)

    def mut1(p: PyTree, h: jax.Array, a: jax.Array) -> _Pair:
        z, r, n = jnp.split(a, 3)
        candidate = jnp.tanh((sigmoid(r + h @ p["u"]) * h) @ p["v"] + jnp.tanh(n))
        h = h + sigmoid(z) * (candidate - h)
        return h, h

    square = (u_init, (hidden, hidden))
    return stack(linear(3 * hidden, bias), driven("mut1", hidden, 3 * hidden, mut1, {"u": square, "v": square}))


@factory
def mut3(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """MUT3: a GRU whose update gate reads the tanh of the state.

        z, r, n = x_t w + b;  z, r = sigmoid(z + tanh(h_{t-1}) u_z), sigmoid(r + h_{t-1} u_r)
        h_t = z tanh((r h_{t-1}) u_n + n) + (1 - z) h_{t-1}

    Params: ({w, b}, {u `[hidden, 3 hidden]`}), order z, r, n.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = mut3(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 3 * 4 (3 + 4 + 1)
      96

    Reference: Jozefowicz, Zaremba, Sutskever, An empirical exploration of recurrent network architectures, 2015.
    """
    check_size("mut3: hidden", hidden)

    def mut3(p: PyTree, h: jax.Array, a: jax.Array) -> _Pair:
        (z, r, n), (u_z, u_r, u_n) = jnp.split(a, 3), jnp.split(p["u"], 3, axis=1)
        candidate = jnp.tanh((sigmoid(r + h @ u_r) * h) @ u_n + n)
        h = h + sigmoid(z + jnp.tanh(h) @ u_z) * (candidate - h)
        return h, h

    return stack(linear(3 * hidden, bias), recurrent(hidden, mut3, 3, u_init=u_init))
