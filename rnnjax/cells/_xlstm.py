"""The two cells of xLSTM: exponential gates, stabilised by a running maximum of their logarithms."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, Seq, check_number, factory, stack, tree_where, without_marks
from rnnjax.base._numerics import Initializer, as_dtype, draw_initial, orthogonal
from rnnjax.base._outputs import hidden_units
from rnnjax.base._seq import with_marks_of, zero_invalid
from rnnjax.cells._feedforward import linear
from rnnjax.cells._linear_attention import split_heads
from rnnjax.cells._matrix_memory import Write, head_size, hold_where_invalid, write_all, write_once


class SLSTMCarry(NamedTuple):
    """The state of an sLSTM: cell, normaliser, output and stabiliser, all `[hidden]`.

    c and n are those of the equations times exp(-m).
    """

    c: jax.Array
    n: jax.Array
    h: jax.Array
    m: jax.Array


class MLSTMCarry(NamedTuple):
    """The state of an mLSTM: memory and normaliser `[heads, keys, values + 1]`, stabiliser `[heads]`.

    The last column of the memory is the normaliser. The memory is that of the equations times exp(-m).
    """

    memory: jax.Array
    m: jax.Array


@factory
def slstm(hidden: int, heads: int = 1, forget_bias: Any = 1.0, u_init: Initializer = orthogonal) -> Cell:
    """The sLSTM: an LSTM with exponential gates and a normaliser, whose units mix only within a head.

        z, i, f, o = x_t w + b + h_{t-1} u;  u: one block per head
        c_t = exp(f + forget_bias) c_{t-1} + exp(i) tanh(z);  n_t = exp(f + forget_bias) n_{t-1} + exp(i)
        h_t = sigmoid(o) c_t / n_t

    Computed with the stabiliser m_t = max(f + forget_bias + m_{t-1}, i), and i at the first step: c and n are stored
    times exp(-m), so that n is at least 1. Of the two forget gates of the paper, this is the exponential one. Params:
    ({w, b}, {u `[heads, size, 4 size]`}), order z, i, f, o.

    Args:
      hidden: the number of units, and of outputs.
      heads: the number of blocks of u.
      forget_bias: added to f at run time, not stored in params.
      u_init: the initialiser of one gate of one head, `[size, size]`.

    Raises:
      ValueError: the heads do not divide the units.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = slstm(4, heads=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 * 4 (3 + 2 + 1)
      96

    Reference: Beck et al., xLSTM: extended long short-term memory, 2024.
    """
    size = head_size("slstm", hidden, heads)
    check_number("slstm: forget_bias", forget_bias)

    def init(key: jax.Array, z: Any) -> PyTree:
        keys = jax.random.split(key, (heads, 4))
        return {
            "u": jnp.stack(
                [jnp.concatenate([draw_initial(u_init, k, (size, size), z.dtype) for k in ks], 1) for ks in keys]
            )
        }

    def start(p: PyTree, z: jax.Array) -> SLSTMCarry:
        zero = jnp.zeros(hidden, z.dtype)
        return SLSTMCarry(zero, zero, zero, zero)

    def step(p: PyTree, s: SLSTMCarry, x: jax.Array, key: jax.Array | None = None) -> tuple[SLSTMCarry, jax.Array]:
        if x.shape != (4 * hidden,):
            raise ValueError(
                f"slstm with {hidden} units takes one step, got {list(x.shape)} before its gates: "
                "unroll(...) for windows, jax.vmap around that for batches"
            )
        v = jnp.einsum("hk,hkg->hg", s.h.reshape(heads, size), p["u"]).reshape(heads, 4, size)
        z, i, f, o = x.reshape(4, hidden) + jnp.moveaxis(v, 1, 0).reshape(4, hidden)
        f = f + as_dtype(forget_bias, x)
        empty = s.n == 0
        m = jnp.where(empty, i, jnp.maximum(f + s.m, i))
        keep = jnp.where(empty, jnp.zeros_like(f), jnp.exp(jnp.where(empty, jnp.zeros_like(f), f + s.m - m)))
        add = jnp.exp(i - m)
        c, n = keep * s.c + add * jnp.tanh(z), keep * s.n + add
        h = jax.nn.sigmoid(o) * c / jnp.maximum(n, jnp.ones_like(n))
        return SLSTMCarry(c, n, h, m), h

    return stack(linear(4 * hidden), Cell(init, start, step, output=hidden_units))


@factory
def mlstm(hidden: int, heads: int = 1, forget_bias: Any = 1.0, bias: bool = True) -> Cell:
    """The mLSTM: a matrix memory with exponential gates and a normaliser; its window is computed chunk by chunk.

        q, k, v = x_t w_q, x_t w_k / sqrt(keys), x_t w_v;  i, f = x_t w_i + b_i, x_t w_f + b_f;  o = x_t w_o + b_o
        M_t = sigmoid(f + forget_bias) M_{t-1} + exp(i) k v;  n_t = sigmoid(f + forget_bias) n_{t-1} + exp(i) k
        y_t = sigmoid(o) (q . M_t) / max(|q . n_t|, 1)

    Computed with the stabiliser m_t = max(log sigmoid(f + forget_bias) + m_{t-1}, i): M and n are stored times exp(-m).
    Of the two forget gates of the paper, this is the sigmoid. Params: w `[features, 4 hidden + 2 heads]`, order q, k,
    v, o, i, f; b.

    Args:
      hidden: the total number of units of all heads, and the number of outputs.
      heads: the number of memories, each with hidden / heads keys and as many values.
      forget_bias: added to f at run time, not stored in params.
      bias: whether the input's linear map has a bias.

    Raises:
      ValueError: the heads do not divide the units.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = mlstm(4, heads=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # (3 + 1) (4 * 4 + 2 * 2)
      80

    Reference: Beck et al., xLSTM: extended long short-term memory, 2024.
    """
    size = head_size("mlstm", hidden, heads)
    check_number("mlstm: forget_bias", forget_bias)

    def gates(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        i, f = jnp.split(z[4 * hidden :], 2)
        return i, jax.nn.log_sigmoid(f + as_dtype(forget_bias, z))

    def write(z: jax.Array, i: jax.Array, f: jax.Array, before: jax.Array, m: jax.Array) -> Write:
        q, k, v, _ = split_heads(z, 4, heads, size)
        v = jnp.concatenate([v, jnp.ones((heads, 1), z.dtype)], 1)
        return Write(q, k * as_dtype(size**-0.5, z), v, (f + before - m)[:, None], jnp.exp(i - m))

    def read(y: jax.Array, m: jax.Array, z: jax.Array) -> jax.Array:
        least = jnp.exp(jnp.minimum(-m, as_dtype(80.0, m)))[:, None]  # beyond it y is 0 in any case
        whole = jnp.maximum(jnp.abs(y[:, -1:]), least)
        return jax.nn.sigmoid(z[3 * hidden : 4 * hidden]) * (y[:, :-1] / whole).reshape(-1)

    def start(p: PyTree, z: jax.Array) -> MLSTMCarry:
        return MLSTMCarry(jnp.zeros((heads, size, size + 1), z.dtype), jnp.zeros(heads, z.dtype))

    def step(p: PyTree, s: MLSTMCarry, z: jax.Array, key: jax.Array | None = None) -> tuple[MLSTMCarry, jax.Array]:
        if z.shape != (4 * hidden + 2 * heads,):
            raise ValueError(
                f"mlstm with {hidden} units takes one step, got {list(z.shape)} before its gates: "
                "unroll(...) for windows, jax.vmap around that for batches"
            )
        i, f = gates(z)
        m = jnp.maximum(f + s.m, i)
        memory, y = write_once(s.memory, write(z, i, f, s.m, m))
        return MLSTMCarry(memory, m), read(y, m, z)

    def window(p: PyTree, s: MLSTMCarry, xs: PyTree, keys: jax.Array | None = None) -> tuple[MLSTMCarry, PyTree]:
        z = without_marks(zero_invalid(xs))
        i, f = jax.vmap(gates)(z)
        before, m = _stabilisers(s.m, i, f, xs)
        w = hold_where_invalid(xs, jax.vmap(write)(z, i, f, before, m))
        memory, ys = write_all(s.memory, w, xs.first if isinstance(xs, Seq) else None)
        return MLSTMCarry(memory, m[-1]), with_marks_of(xs, jax.vmap(read)(ys, m, z))

    return stack(linear(4 * hidden + 2 * heads, bias), Cell(lambda key, z: (), start, step, window=window))


def _stabilisers(m: jax.Array, i: jax.Array, f: jax.Array, xs: PyTree) -> tuple[jax.Array, jax.Array]:
    """Returns the stabiliser before and after each step, `[T, heads]`, respecting the marks of a Seq."""
    valid, first = (xs.valid, xs.first) if isinstance(xs, Seq) else (None, None)

    def body(m: jax.Array, step: PyTree) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        i, f, valid, first = step
        m = m if first is None else tree_where(first, jnp.zeros_like(m), m)
        new = jnp.maximum(f + m, i)
        new = new if valid is None else tree_where(valid, new, m)
        return new, (m, new)

    before, after = lax.scan(body, m, (i, f, valid, first))[1]
    return before, after
