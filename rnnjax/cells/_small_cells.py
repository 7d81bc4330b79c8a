"""Cells for small devices, and cells with bistable units: FastRNN, FastGRNN, BRC, nBRC."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax.base import Cell, PyTree, check_size, factory, stack
from rnnjax.base._numerics import Initializer, ones, orthogonal, unit_normal
from rnnjax.cells._feedforward import linear
from rnnjax.cells._recurrent import driven, recurrent

_Pair = tuple[jax.Array, jax.Array]


def _constant_init(value: float) -> Initializer:
    """Returns an initialiser with one constant value."""
    return jax.nn.initializers.constant(value)


@factory
def fastrnn(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """FastRNN: a vanilla RNN with a residual connection weighted by two numbers.

        h_t = sigmoid(alpha) tanh(x_t w + b + h_{t-1} u) + sigmoid(beta) h_{t-1}

    Params: ({w, b}, {u, alpha, beta `[1]`}); the initial alpha is -3 and beta 3, as in the authors' code.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = fastrnn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 4 + 1) + 2
      34

    Reference: Kusupati et al., FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated recurrent neural
    network, 2018.
    """
    check_size("fastrnn: hidden", hidden)

    def fastrnn(p: PyTree, h: jax.Array, z: jax.Array) -> _Pair:
        h = sigmoid(p["alpha"]) * jnp.tanh(z + h @ p["u"]) + sigmoid(p["beta"]) * h
        return h, h

    extra = {"alpha": (_constant_init(-3.0), (1,)), "beta": (_constant_init(3.0), (1,))}
    return stack(linear(hidden, bias), recurrent(hidden, fastrnn, u_init=u_init, extra=extra))


@factory
def fastgrnn(hidden: int, u_init: Initializer = orthogonal) -> Cell:
    """FastGRNN: gate and candidate share their matrices and differ in their biases.

        a = x_t w + h_{t-1} u;  g = sigmoid(a + b_g)
        h_t = (sigmoid(zeta) (1 - g) + sigmoid(nu)) tanh(a + b_h) + g h_{t-1}

    Params: ({w}, {u, b_g, b_h `[hidden]`, zeta, nu `[1]`}); the initial zeta is 1 and nu -4, as in the authors' code.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = fastgrnn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 4 + 2) + 2
      38

    Reference: Kusupati et al., FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated recurrent neural
    network, 2018.
    """
    check_size("fastgrnn: hidden", hidden)

    def fastgrnn(p: PyTree, h: jax.Array, z: jax.Array) -> _Pair:
        a = z + h @ p["u"]
        g = sigmoid(a + p["b_g"])
        h = (sigmoid(p["zeta"]) * (1 - g) + sigmoid(p["nu"])) * jnp.tanh(a + p["b_h"]) + g * h
        return h, h

    biases = {"b_g": (ones, (hidden,)), "b_h": (ones, (hidden,))}
    extra = biases | {"zeta": (_constant_init(1.0), (1,)), "nu": (_constant_init(-4.0), (1,))}
    return stack(linear(hidden, bias=False), recurrent(hidden, fastgrnn, u_init=u_init, extra=extra))


def _bistable(z: jax.Array, to_a: jax.Array, to_c: jax.Array, h: jax.Array) -> _Pair:
    """Applies the update that both kinds share; z in the order a, c, n."""
    a, c, n = jnp.split(z, 3)
    a, c = 1 + jnp.tanh(a + to_a), sigmoid(c + to_c)
    h = c * h + (1 - c) * jnp.tanh(n + a * h)
    return h, h


@factory
def brc(hidden: int, bias: bool = True) -> Cell:
    """The bistable recurrent cell: independent units with one or two stable states, depending on the input.

        a, c, n = x_t w + b;  a = 1 + tanh(a + v_a h_{t-1});  c = sigmoid(c + v_c h_{t-1})
        h_t = c h_{t-1} + (1 - c) tanh(n + a h_{t-1})

    Params: ({w, b}, {v `[2, hidden]`}), rows of v: a, c.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = brc(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 3 * 4 (3 + 1) + 2 * 4
      56

    Reference: Vecoven, Ernst, Drion, A bio-inspired bistable recurrent cell allows for long-lasting memory, 2020.
    """
    check_size("brc: hidden", hidden)

    def update(p: PyTree, h: jax.Array, z: jax.Array) -> _Pair:
        return _bistable(z, p["v"][0] * h, p["v"][1] * h, h)

    core = driven("brc", hidden, 3 * hidden, update, {"v": (unit_normal, (2, hidden))})
    return stack(linear(3 * hidden, bias), core)


@factory
def nbrc(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The neuromodulated bistable recurrent cell, whose gates depend on all units.

        a, c, n = x_t w + b;  a = 1 + tanh(a + h_{t-1} u_a);  c = sigmoid(c + h_{t-1} u_c)
        h_t = c h_{t-1} + (1 - c) tanh(n + a h_{t-1})

    Params: ({w, b}, {u `[hidden, 2 hidden]`}), order a, c.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = nbrc(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 3 * 4 (3 + 1) + 2 * 4 * 4
      80

    Reference: Vecoven, Ernst, Drion, A bio-inspired bistable recurrent cell allows for long-lasting memory, 2020.
    """
    check_size("nbrc: hidden", hidden)

    def update(p: PyTree, h: jax.Array, z: jax.Array) -> _Pair:
        to_a, to_c = jnp.split(h @ p["u"], 2)
        return _bistable(z, to_a, to_c, h)

    core = driven("nbrc", hidden, 3 * hidden, update, {"u": (u_init, (hidden, 2 * hidden))})
    return stack(linear(3 * hidden, bias), core)
