"""Cells that read states of several steps ago, or compute several steps at once: NARX, tau-GRU, recurrent highway."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax.base import Cell, PyTree, check_number, check_size, factory, stack
from rnnjax.base._numerics import Initializer, as_dtype, lecun_normal, nothing, orthogonal
from rnnjax.cells._feedforward import linear
from rnnjax.cells._recurrent import driven

_Pair = tuple[jax.Array, jax.Array]


def _row_of(states: int) -> Any:
    """Returns zeros `[hidden]` -> zeros `[states, hidden]`, the past states, the last one first."""
    return lambda h: jnp.zeros((states, *h.shape), h.dtype)


@factory
def narx(hidden: int, delays: int = 4, bias: bool = True, u_init: Initializer = lecun_normal) -> Cell:
    """A vanilla RNN that reads its last states, not only the last one: shorter ways for gradients.

        h_t = tanh(x_t w + b + [h_{t-1}, ..., h_{t-delays}] v)

    Params: ({w, b}, {v `[delays hidden, hidden]`}).

    Args:
      hidden: the number of units.
      delays: the number of past states that are read.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of v.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = narx(4, delays=3).init(jax.random.key(0), jnp.ones(5))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (5 + 1) + 3 * 4 * 4
      72

    Reference: Lin, Horne, Tino, Giles, Learning long-term dependencies in NARX recurrent neural networks, 1996; with
    states in the place of outputs DiPietro, Rupprecht, Navab, Hager, Analyzing and exploiting NARX recurrent neural
    networks for long-term dependencies, 2017.
    """
    check_size("narx: hidden", hidden)
    check_size("narx: delays", delays)

    def update(p: PyTree, past: jax.Array, z: jax.Array) -> _Pair:
        h = jnp.tanh(z + past.ravel() @ p["v"])
        return jnp.concatenate([h[None], past[:-1]]), h

    params = {"v": (u_init, (delays * hidden, hidden))}
    core = driven("narx", hidden, hidden, update, params, _row_of(delays)).replace(output=lambda past: past[0])
    return stack(linear(hidden, bias), core)


@factory
def tau_gru(hidden: int, delay: int = 20, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The tau-GRU: a gated cell with weighted feedback from the state of `delay` steps ago.

        g, a, n, d = x_t w + b;  g, a = sigmoid(g + h_{t-1} u_g), sigmoid(a + h_{t-1} u_a)
        h_t = (1 - g) h_{t-1} + g (tanh(n + h_{t-1} u_n) + a tanh(d + h_{t-delay} v))

    Params: ({w, b}, {u `[hidden, 3 hidden]` of g, a, n, v `[hidden, hidden]`}).

    Args:
      hidden: the number of units.
      delay: tau of the paper, in steps.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of v and of each gate of u.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = tau_gru(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 * 4 (3 + 4 + 1)
      128

    Reference: Erichson, Lim, Mahoney, Gated recurrent neural networks with weighted time-delay feedback, 2022.
    """
    check_size("tau_gru: hidden", hidden)
    check_size("tau_gru: delay", delay)

    def update(p: PyTree, past: jax.Array, z: jax.Array) -> _Pair:
        h, (g, a, n) = past[0], jnp.split(z[: 3 * hidden] + past[0] @ p["u"], 3)
        delayed = jnp.tanh(z[3 * hidden :] + past[-1] @ p["v"])
        h = h + sigmoid(g) * (jnp.tanh(n) + sigmoid(a) * delayed - h)
        return jnp.concatenate([h[None], past[:-1]]), h

    params = {"u": (u_init, (hidden, 3 * hidden)), "v": (u_init, (hidden, hidden))}
    core = driven("tau_gru", hidden, 4 * hidden, update, params, _row_of(delay)).replace(output=lambda past: past[0])
    return stack(linear(4 * hidden, bias), core)


@factory
def rhn(hidden: int, depth: int = 4, carry_bias: Any = -2.0, u_init: Initializer = lecun_normal) -> Cell:
    """The recurrent highway network: `depth` highway layers in each step, of which the first reads the input.

        n, t = [x_t w + b in the first layer] + s u_l + b_l;  t = sigmoid(t + carry_bias)
        s <- tanh(n) t + s (1 - t),  l = 1 .. depth, from s = h_{t-1} to h_t

    The carry gate is 1 - t, as in the paper. Params: ({w, b}, {v `[depth, hidden, 2 hidden]`, bias `[depth - 1, 2
    hidden]`}), order n, t; v holds all u_l.

    Args:
      hidden: the number of units.
      depth: the number of layers in a step.
      carry_bias: added to t at run time, not stored in params; below zero the state is mostly kept.
      u_init: the initialiser of each u_l.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = rhn(4, depth=3).init(jax.random.key(0), jnp.ones(5))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 8 (5 + 1) + 3 * 4 * 8 + 2 * 8
      160

    Reference: Zilly, Srivastava, Koutnik, Schmidhuber, Recurrent highway networks, 2016.
    """
    check_size("rhn: hidden", hidden)
    check_size("rhn: depth", depth)
    check_number("rhn: carry_bias", carry_bias)

    def update(p: PyTree, s: jax.Array, z: jax.Array) -> _Pair:
        for i in range(depth):
            n, t = jnp.split((p["bias"][i - 1] if i else z) + s @ p["v"][i], 2)
            s = s + sigmoid(t + as_dtype(carry_bias, z)) * (jnp.tanh(n) - s)
        return s, s

    def each_layer(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.stack([u_init(k, shape[1:], dtype) for k in jax.random.split(key, depth)])

    params = {"v": (each_layer, (depth, hidden, 2 * hidden)), "bias": (nothing, (depth - 1, 2 * hidden))}
    return stack(linear(2 * hidden), driven("rhn", hidden, 2 * hidden, update, params))
