"""Attention: a memory of places, scored by a query, read as their weighted mean; and the cells that read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, out_shape
from rnnjax.both_ways import concatenate
from rnnjax.compose import stack
from rnnjax.feedforward import draw, lecun, linear, pointwise
from rnnjax.scans import Seq, cleaned, like, plain, unroll, where, zeros


class Memory(NamedTuple):
    """What is attended to: S places.

    Attributes:
      values: `[S, M]`, what is read.
      keys: `[S, K]`, what is scored, made of the values once a source.
      valid: `[S]` booleans, or None: all are.
    """

    values: Any
    keys: Any
    valid: Any = None


class Past(NamedTuple):
    """What was attended to before.

    Attributes:
      weights: `[S]`, of the last step.
      cover: `[S]`, the sum of all so far; () for a score that does not read it.
    """

    weights: Any = ()
    cover: Any = ()


class Attention(NamedTuple):
    """How well a query fits the places of a memory.

    Attributes:
      keys: a cell without memory, from values to keys.
      init: (key, query, memory) -> params of the score.
      score: (params, query `[Q]`, keys `[S, K]`, past) -> `[S]`.
      coverage: whether the score reads how much each place has been attended to so far.
      location: whether it reads how the last step attended.
    """

    keys: Cell
    init: Callable[[jax.Array, Any, Memory], PyTree]
    score: Callable[[PyTree, jax.Array, jax.Array, Past], jax.Array]
    coverage: bool = False
    location: bool = False


class Attending(NamedTuple):
    """The carry of a cell that attends.

    Attributes:
      carry: of the cell inside; for `bahdanau` with its last output, the query.
      fed: the last output, where it is fed back; else ().
      weights: `[S]`, how the last step attended: the alignment.
      cover: `[S]`, the sum of all weights so far, where the score reads it; else ().
    """

    carry: PyTree
    fed: Any
    weights: jax.Array
    cover: Any


def dot() -> Attention:
    """Luong's dot score; queries and values have the same features.

        e_s = q . v_s

    Example:
      >>> import jax.numpy as jnp
      >>> print(dot().score((), jnp.array([1.0, 2.0]), jnp.eye(2), Past()))
      [1. 2.]

    Reference: Luong, Pham, Manning, Effective approaches to attention-based neural machine translation, 2015.
    """
    return Attention(pointwise(lambda v: v), lambda key, query, memory: (), product)


def general(hidden: int) -> Attention:
    """Luong's general score.

        e_s = q . (v_s w)          w [M, hidden], multiplied once a source

    Args:
      hidden: features of the query.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> general(3).keys.init(jax.random.key(0), jnp.ones(2))["w"].shape
      (2, 3)

    Reference: Luong, Pham, Manning, 2015.
    """
    return Attention(linear(hidden, bias=False), lambda key, query, memory: (), product)


def product(params: PyTree, query: jax.Array, keys: jax.Array, past: Past) -> jax.Array:
    """The score of a query by inner products."""
    if keys.shape[-1] != query.shape[-1]:
        raise ValueError(f"keys {list(keys.shape)} and a query {list(query.shape)} have no inner product: "
                         f"general({query.shape[-1]}) makes keys that have")  # fmt: skip
    return keys @ query


def additive(hidden: int, coverage: bool = False, location: int = 0) -> Attention:
    """Bahdanau's score, by a small network; Luong's concat, v . tanh([q, v_s] w), is the same with its w in two parts.

        e_s = v . tanh(q w + v_s u + c a_s + f * b_s)          v_s u once a source

    With coverage a_s is the sum of what s was attended to so far; with location f is convolved with the weights b of
    the last step, so that it knows what lies next to where it was: what it learns holds for longer sources. Params are
    {"w", "v"} and "c" and "f" as needed.

    Args:
      hidden: units of the network.
      coverage: whether it knows how much each place has been attended to.
      location: places around each whose last weights it knows, an odd number; 0: none.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> score, memory = additive(4), Memory(jnp.ones((5, 2)), jnp.ones((5, 4)))
      >>> params = score.init(jax.random.key(0), jnp.ones(3), memory)
      >>> params["w"].shape, score.score(params, jnp.ones(3), memory.keys, Past()).shape
      ((3, 4), (5,))

    Reference: Bahdanau, Cho, Bengio, Neural machine translation by jointly learning to align and translate, 2015;
    Tu, Lu, Liu, Liu, Li, Modeling coverage for neural machine translation, 2016; Chorowski, Bahdanau, Serdyuk, Cho,
    Bengio, Attention-based models for speech recognition, 2015 (location).
    """

    def init(key: jax.Array, query: Any, memory: Memory) -> PyTree:
        kw, kv = jax.random.split(key)
        params = {
            "w": draw(lecun, kw, (query.shape[-1], hidden), query.dtype),
            "v": draw(lecun, kv, (hidden, 1), query.dtype)[:, 0],
        }
        params |= {"c": jnp.zeros(hidden, query.dtype)} if coverage else {}
        return params | ({"f": jnp.zeros((location, hidden), query.dtype)} if location else {})

    def score(p: PyTree, query: jax.Array, keys: jax.Array, past: Past) -> jax.Array:
        z = keys + jnp.broadcast_to(query @ p["w"], keys.shape)
        z = z + jnp.outer(past.cover, p["c"]) if coverage else z
        return jnp.tanh(z + around(past.weights, location) @ p["f"] if location else z) @ p["v"]

    return Attention(linear(hidden, bias=False), init, score, coverage, location > 0)


def around(weights: jax.Array, places: int) -> jax.Array:
    """The weights around each place `[S, places]`, zero beyond the ends."""
    n, padded = weights.shape[0], jnp.pad(weights, places // 2)
    return jnp.stack([padded[i : i + n] for i in range(places)], axis=1)


def remember(attention: Attention, weights: PyTree, encoded: PyTree) -> Memory:
    """The memory that an encoder's outputs are.

    Args:
      attention: whose keys it needs.
      weights: of `attention.keys`.
      encoded: `[S, M]`, plain or a `Seq`.

    Example:
      >>> import jax.numpy as jnp
      >>> memory = remember(dot(), (), Seq(jnp.ones((3, 2)), valid=jnp.arange(3) < 2))
      >>> print(memory.values[:, 0], memory.valid)
      [1. 1. 0.] [ True  True False]
    """
    values = plain(cleaned(encoded))
    return Memory(values, attention.keys.step(weights, (), values)[1], getattr(encoded, "valid", None))


def attend(scores: jax.Array, memory: Memory) -> tuple[jax.Array, jax.Array]:
    """Reads a memory where the scores say.

        a = softmax(e) over the valid places,  c = sum_s a_s v_s          both zero where no place is valid

    Args:
      scores: e `[S]`.
      memory: of S places.

    Returns:
      (c `[M]`, a `[S]`)

    Example:
      >>> import jax.numpy as jnp
      >>> memory = Memory(jnp.array([[1.0], [3.0], [9.0]]), (), jnp.array([True, True, False]))
      >>> context, weights = attend(jnp.zeros(3), memory)
      >>> print(context, weights)
      [2.] [0.5 0.5 0. ]
    """
    valid = jnp.ones(scores.shape, bool) if memory.valid is None else jnp.asarray(memory.valid, bool)
    top = jax.lax.stop_gradient(jnp.where(valid, scores, jnp.finfo(scores.dtype).min).max())
    e = jnp.exp(jnp.where(valid, scores - top, -jnp.inf))
    weights = e / jnp.where(valid.any(), e.sum(), jnp.ones_like(top))
    return weights @ jnp.asarray(memory.values, weights.dtype), weights


def look(
    attention: Attention, params: PyTree, query: jax.Array, memory: Memory, past: Past
) -> tuple[jax.Array, jax.Array, Any]:
    """One look at a memory: the context, the weights, and the cover with them."""
    context, weights = attend(attention.score(params, query, jnp.asarray(memory.keys, query.dtype), past), memory)
    return context, weights, past.cover + weights if attention.coverage else ()


def unattended(attention: Attention, carry: PyTree, fed: Any, memory: Memory, dtype: Any) -> Attending:
    """The carry before the first look."""
    nowhere = jnp.zeros(memory.values.shape[0], dtype)
    return Attending(carry, fed, nowhere, nowhere if attention.coverage else ())


def wider(x: Any, width: int) -> jax.ShapeDtypeStruct:
    """The shape of an input with so many features more."""
    return jax.ShapeDtypeStruct((*x.shape[:-1], x.shape[-1] + width), x.dtype)


def bahdanau(core: Cell, attention: Attention, memory: Memory) -> Cell:
    """A cell that looks into a memory before each step, with its last output as the query.

        c_t = attend(score(y_{t-1}));   (h_t, y_t) = core(h_{t-1}, [x_t, c_t]);   the output is [y_t, c_t]

    The memory is a closure of the step: it is neither copied from step to step nor part of the carry. y_0 is zero, or
    what `encoder_decoder`'s bridge makes it. Params are {"core", "score"}.

    Args:
      core: any cell of one step whose output is an array, a stack of several layers perhaps.
      attention: `additive(hidden)`, or another.
      memory: of a source; of zeros for `init`, which reads its shapes alone.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> memory = Memory(jnp.ones((5, 2)), jnp.ones((5, 8)))
      >>> cell = bahdanau(rnnjax.gru(4), additive(8), memory)
      >>> carry, y = rnnjax.run(cell, cell.init(jax.random.key(0), jnp.ones(3)), jnp.ones(3))
      >>> y.shape, carry.weights.shape  # 4 units and 2 features of the context
      ((6,), (5,))

    Reference: Bahdanau, Cho, Bengio, Neural machine translation by jointly learning to align and translate, 2015.
    """

    def joint(x: Any) -> jax.ShapeDtypeStruct:
        return wider(x, memory.values.shape[-1])

    def init(key: jax.Array, x: Any) -> PyTree:
        kc, ks = jax.random.split(key)
        params = core.init(kc, joint(x))
        return {"core": params, "score": attention.init(ks, out_shape(core, params, joint(x)), memory)}

    def initial_carry(w: PyTree, x: Any) -> Attending:
        carry = core.initial_carry(w["core"], joint(x))
        query = zeros(jax.eval_shape(lambda w, h, x: core.step(w, h, x)[1], w["core"], carry, joint(x)))
        return unattended(attention, (carry, query), (), memory, query.dtype)

    def step(w: PyTree, state: Attending, x: jax.Array, key: jax.Array | None = None) -> tuple[Attending, jax.Array]:
        carry, query = state.carry
        context, weights, cover = look(attention, w["score"], query, memory, Past(state.weights, state.cover))
        carry, y = core.step(w["core"], carry, concatenate(x, context), key)
        return Attending((carry, y), (), weights, cover), concatenate(y, context)

    return Cell(init, initial_carry, step, bound(core))


def bound(core: Cell) -> Callable[..., PyTree]:
    """The weights map of a cell with a core: that of the core."""
    return lambda params, key=None: {**params, "core": core.weights(params["core"], key)}


def luong(core: Cell, attention: Attention, memory: Memory, width: int, feed: bool = False) -> Cell:
    """A cell that looks into a memory after each step, with its output as the query.

        (h_t, y_t) = core(h_{t-1}, x_t);   c_t = attend(score(y_t));   o_t = tanh([c_t, y_t] w)
        core(h_{t-1}, [x_t, o_{t-1}])          with input feeding

    The memory is a closure of the step, as for `bahdanau`. Where it does not read what it did before (input
    feeding, coverage, location) the cell has a window:
    the core's, and then all looks at once. Params are {"core", "score", "mix"}.

    Args:
      core: any cell of one step whose output is an array.
      attention: `dot()`, `general(hidden)`, `additive(hidden)` (Luong's concat), or another.
      memory: of a source; of zeros for `init`, which reads its shapes alone.
      width: features of the output.
      feed: input feeding.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = luong(rnnjax.gru(4), dot(), Memory(jnp.ones((5, 4)), jnp.ones((5, 4))), width=6, feed=True)
      >>> carry, y = rnnjax.run(cell, cell.init(jax.random.key(0), jnp.ones(3)), jnp.ones(3))
      >>> y.shape, carry.weights.shape
      ((6,), (5,))

    Reference: Luong, Pham, Manning, Effective approaches to attention-based neural machine translation, 2015.
    """
    mix = stack(linear(width, bias=False), pointwise(jnp.tanh))

    def joint(x: Any) -> Any:
        return wider(x, width) if feed else x

    def init(key: jax.Array, x: Any) -> PyTree:
        kc, ks, km = jax.random.split(key, 3)
        params = core.init(kc, joint(x))
        query = out_shape(core, params, joint(x))
        both = wider(query, memory.values.shape[-1])
        return {"core": params, "score": attention.init(ks, query, memory), "mix": mix.init(km, both)}

    def initial_carry(w: PyTree, x: Any) -> Attending:
        carry = core.initial_carry(w["core"], joint(x))
        dtype = w["mix"][0]["w"].dtype
        return unattended(attention, carry, jnp.zeros(width, dtype) if feed else (), memory, dtype)

    def seen(w: PyTree, y: jax.Array, past: Past) -> tuple[jax.Array, jax.Array, Any]:
        context, weights, cover = look(attention, w["score"], y, memory, past)
        return mix.step(w["mix"], ((), ()), concatenate(context, y))[1], weights, cover

    def step(w: PyTree, state: Attending, x: jax.Array, key: jax.Array | None = None) -> tuple[Attending, jax.Array]:
        carry, y = core.step(w["core"], state.carry, concatenate(x, state.fed) if feed else x, key)
        o, weights, cover = seen(w, y, Past(state.weights, state.cover))
        return Attending(carry, o if feed else (), weights, cover), o

    def window(w: PyTree, state: Attending, xs: PyTree, keys: jax.Array | None = None) -> tuple[Attending, PyTree]:
        carry, ys = unroll(core).step(w["core"], state.carry, xs, keys)
        os, weights, _ = jax.vmap(lambda y: seen(w, y, Past()))(plain(ys))
        return Attending(carry, (), final_weights(weights, xs, state.weights), ()), like(xs, os)

    return Cell(
        init, initial_carry, step, bound(core), None if feed or attention.coverage or attention.location else window
    )


def final_weights(weights: jax.Array, xs: PyTree, before: jax.Array) -> jax.Array:
    """The alignment after a window: of its last valid step, or nowhere where it started anew after that."""
    if not isinstance(xs, Seq) or (xs.valid is None and xs.first is None):
        return weights[-1]
    length = weights.shape[0]
    valid = jnp.ones(length, bool) if xs.valid is None else xs.valid.astype(bool)
    happened = valid if xs.first is None else valid | xs.first.astype(bool)
    at = length - 1 - jnp.argmax(happened[::-1])
    return where(happened.any(), where(valid[at], weights[at], zeros(before)), before)


def alignments(cell: Cell, params: PyTree, xs: PyTree) -> jax.Array:
    """How a cell that attends, a stack with one in it perhaps, does so at each step: `[T, S]`.

    Args:
      cell: of one step, as `EncoderDecoder.begin` gives it.
      params: of the cell.
      xs: a window of its inputs.

    Raises:
      ValueError: nothing in it attends.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = luong(rnnjax.gru(4), dot(), Memory(jnp.ones((2, 4)), jnp.ones((2, 4))), width=6)
      >>> print(alignments(cell, cell.init(jax.random.key(0), jnp.ones(3)), jnp.ones((3, 3))))
      [[0.5 0.5]
       [0.5 0.5]
       [0.5 0.5]]
    """
    weights = cell.weights(params)

    def body(carry: PyTree, x: PyTree) -> tuple[PyTree, jax.Array]:
        carry, _ = cell.step(weights, carry, x)
        nodes = jax.tree.leaves(carry, is_leaf=lambda node: isinstance(node, Attending))
        found = [node.weights for node in nodes if isinstance(node, Attending)]
        if not found:
            raise ValueError("alignments of a cell in which nothing attends: bahdanau(...) and luong(...) do")
        return carry, found[0]

    first = jax.tree.map(lambda a: a[0], xs)
    return jax.lax.scan(body, cell.initial_carry(weights, first), xs)[1]
