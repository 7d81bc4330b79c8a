"""Decoder cells with attention, Bahdanau's and Luong's, and the alignments that they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, Seq, check_size, stack, tree_where, unroll, without_marks, wrapper
from rnnjax.base._cell import check_cell, out_shape
from rnnjax.base._pytrees import concatenate
from rnnjax.base._seq import tree_zeros, with_marks_of
from rnnjax.cells import linear, pointwise
from rnnjax.seq2seq._attention import Attention, CarryWithAttention, Memory, Past, attend_once, initial_attention


def _widen_input(x: Any, width: int) -> jax.ShapeDtypeStruct:
    """Returns the shape of an input with `width` more features."""
    return jax.ShapeDtypeStruct((*x.shape[:-1], x.shape[-1] + width), x.dtype)


@wrapper
def bahdanau(core: Cell, attention: Attention, memory: Memory) -> Cell:
    """A cell that attends before each step, with its last output as the query.

        c_t = attend(score(y_{t-1}));   (h_t, y_t) = core(h_{t-1}, [x_t, c_t]);   the output is [y_t, c_t]

    The step closes over the memory, so it is neither copied from step to step nor part of the carry. y_0 is zero unless
    the bridge of `encoder_decoder` sets it. Params are {"core", "score"}.

    Args:
      core: a one-step cell whose output is an array; it may be a stack of layers.
      attention: `additive(hidden)` or another score.
      memory: of the source; `init` only reads its shapes, so zeros will do there.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import seq2seq
      >>> memory = Memory(jnp.ones((5, 2)), jnp.ones((5, 8)))
      >>> cell = bahdanau(rnnjax.gru(4), seq2seq.additive(8), memory)
      >>> carry, y = rnnjax.run(cell, cell.init(jax.random.key(0), jnp.ones(3)), jnp.ones(3))
      >>> y.shape, carry.weights.shape  # 4 units and 2 features of the context
      ((6,), (5,))

    Reference: Bahdanau, Cho, Bengio, Neural machine translation by jointly learning to align and translate, 2015.
    """

    def joint(x: Any) -> jax.ShapeDtypeStruct:
        return _widen_input(x, memory.values.shape[-1])

    def init(key: jax.Array, x: Any) -> PyTree:
        kc, ks = jax.random.split(key)
        params = core.init(kc, joint(x))
        return {"core": params, "score": attention.init(ks, out_shape(core, params, joint(x)), memory)}

    def initial_carry(w: PyTree, x: Any) -> CarryWithAttention:
        carry = core.initial_carry(w["core"], joint(x))
        query = tree_zeros(jax.eval_shape(lambda w, h, x: core.step(w, h, x)[1], w["core"], carry, joint(x)))
        return initial_attention(attention, (carry, query), (), memory, query.dtype)

    def step(
        w: PyTree, state: CarryWithAttention, x: jax.Array, key: jax.Array | None = None
    ) -> tuple[CarryWithAttention, jax.Array]:
        carry, query = state.carry
        context, weights, cover = attend_once(attention, w["score"], query, memory, Past(state.weights, state.cover))
        carry, y = core.step(w["core"], carry, concatenate(x, context), key)
        return CarryWithAttention((carry, y), (), weights, cover), concatenate(y, context)

    return Cell(init, initial_carry, step, _core_weights(core))


def _core_weights(core: Cell) -> Callable[..., PyTree]:
    """Returns the weights map of a cell with the given core."""
    return lambda params, key=None: {**params, "core": core.weights(params["core"], key)}


@wrapper
def luong(core: Cell, attention: Attention, memory: Memory, width: int, feed: bool = False) -> Cell:
    """A cell that attends after each step, with its output as the query.

        (h_t, y_t) = core(h_{t-1}, x_t);   c_t = attend(score(y_t));   o_t = tanh([c_t, y_t] w)
        core(h_{t-1}, [x_t, o_{t-1}])          with input feeding

    The step closes over the memory, as in `bahdanau`. Unless it depends on its own past (input feeding, coverage,
    location), the cell has a window: it runs the core's window first, then attends at all steps at once.
    Params are {"core", "score", "mix"}.

    Args:
      core: a one-step cell whose output is an array.
      attention: `dot()`, `general(hidden)`, `additive(hidden)` (Luong's concat) or another score.
      memory: of the source; `init` only reads its shapes, so zeros will do there.
      width: features of the output.
      feed: whether to feed the last output back as an input (input feeding).

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import seq2seq
      >>> cell = luong(rnnjax.gru(4), seq2seq.dot(), Memory(jnp.ones((5, 4)), jnp.ones((5, 4))), width=6, feed=True)
      >>> carry, y = rnnjax.run(cell, cell.init(jax.random.key(0), jnp.ones(3)), jnp.ones(3))
      >>> y.shape, carry.weights.shape
      ((6,), (5,))

    Reference: Luong, Pham, Manning, Effective approaches to attention-based neural machine translation, 2015.
    """
    check_size("luong: width", width)
    mix = stack(linear(width, bias=False), pointwise(jnp.tanh))

    def joint(x: Any) -> Any:
        return _widen_input(x, width) if feed else x

    def init(key: jax.Array, x: Any) -> PyTree:
        kc, ks, km = jax.random.split(key, 3)
        params = core.init(kc, joint(x))
        query = out_shape(core, params, joint(x))
        both = _widen_input(query, memory.values.shape[-1])
        return {"core": params, "score": attention.init(ks, query, memory), "mix": mix.init(km, both)}

    def initial_carry(w: PyTree, x: Any) -> CarryWithAttention:
        carry = core.initial_carry(w["core"], joint(x))
        dtype = w["mix"][0]["w"].dtype
        return initial_attention(attention, carry, jnp.zeros(width, dtype) if feed else (), memory, dtype)

    def seen(w: PyTree, y: jax.Array, past: Past) -> tuple[jax.Array, jax.Array, Any]:
        context, weights, cover = attend_once(attention, w["score"], y, memory, past)
        return mix.step(w["mix"], ((), ()), concatenate(context, y))[1], weights, cover

    def step(
        w: PyTree, state: CarryWithAttention, x: jax.Array, key: jax.Array | None = None
    ) -> tuple[CarryWithAttention, jax.Array]:
        carry, y = core.step(w["core"], state.carry, concatenate(x, state.fed) if feed else x, key)
        o, weights, cover = seen(w, y, Past(state.weights, state.cover))
        return CarryWithAttention(carry, o if feed else (), weights, cover), o

    def window(
        w: PyTree, state: CarryWithAttention, xs: PyTree, keys: jax.Array | None = None
    ) -> tuple[CarryWithAttention, PyTree]:
        carry, ys = unroll(core).step(w["core"], state.carry, xs, keys)
        os, weights, _ = jax.vmap(lambda y: seen(w, y, Past()))(without_marks(ys))
        return CarryWithAttention(carry, (), _final_weights(weights, xs, state.weights), ()), with_marks_of(xs, os)

    return Cell(
        init,
        initial_carry,
        step,
        _core_weights(core),
        None if feed or attention.coverage or attention.location else window,
        (lambda state: state.fed) if feed else None,
    )


def _final_weights(weights: jax.Array, xs: PyTree, before: jax.Array) -> jax.Array:
    """Returns the alignment after a window: that of its last valid step, or zero if it restarted after that step."""
    if not isinstance(xs, Seq) or (xs.valid is None and xs.first is None):
        return weights[-1]
    length = weights.shape[0]
    valid = jnp.ones(length, bool) if xs.valid is None else xs.valid.astype(bool)
    happened = valid if xs.first is None else valid | xs.first.astype(bool)
    at = length - 1 - jnp.argmax(happened[::-1])
    return tree_where(happened.any(), tree_where(valid[at], weights[at], tree_zeros(before)), before)


def alignments(cell: Cell, params: PyTree, xs: PyTree) -> jax.Array:
    """Returns the attention weights of a cell at each step, `[T, S]`.

    Args:
      cell: a one-step cell with attention, perhaps inside a stack, such as `EncoderDecoder.begin` returns.
      params: of the cell.
      xs: a window of its inputs.

    Raises:
      ValueError: no part of the cell has attention.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import seq2seq
      >>> cell = luong(rnnjax.gru(4), seq2seq.dot(), Memory(jnp.ones((2, 4)), jnp.ones((2, 4))), width=6)
      >>> print(alignments(cell, cell.init(jax.random.key(0), jnp.ones(3)), jnp.ones((3, 3))))
      [[0.5 0.5]
       [0.5 0.5]
       [0.5 0.5]]
    """
    check_cell("alignments", cell)
    weights = cell.weights(params)

    def body(carry: PyTree, x: PyTree) -> tuple[PyTree, jax.Array]:
        carry, _ = cell.step(weights, carry, x)
        nodes = jax.tree.leaves(carry, is_leaf=lambda node: isinstance(node, CarryWithAttention))
        found = [node.weights for node in nodes if isinstance(node, CarryWithAttention)]
        if not found:
            raise ValueError("alignments needs a cell with attention, such as bahdanau(...) or luong(...)")
        return carry, found[0]

    first = jax.tree.map(lambda a: a[0], xs)
    return jax.lax.scan(body, cell.initial_carry(weights, first), xs)[1]
