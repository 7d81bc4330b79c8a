"""Attention: a query scores the positions of a memory and reads their weighted mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_size, without_marks, wrapping_carry
from rnnjax.base._numerics import draw_initial, lecun_normal
from rnnjax.base._seq import zero_invalid
from rnnjax.cells import linear, pointwise


class Memory(NamedTuple):
    """The S positions that are attended to.

    Attributes:
      values: `[S, M]`, which are averaged.
      keys: `[S, K]`, which are scored; computed from the values once per source.
      valid: booleans `[S]`; None means that all positions are valid.
    """

    values: Any
    keys: Any
    valid: Any = None


class Past(NamedTuple):
    """The attention of earlier steps.

    Attributes:
      weights: `[S]`, the weights of the last step.
      cover: `[S]`, the sum of all weights so far; () for a score that does not use it.
    """

    weights: Any = ()
    cover: Any = ()


class Attention(NamedTuple):
    """A score of how well a query matches the positions of a memory.

    Attributes:
      keys: a stateless cell that maps values to keys.
      init: (key, query, memory) -> params of the score.
      score: (params, query `[Q]`, keys `[S, K]`, past) -> `[S]`.
      coverage: whether the score uses the sum of all weights so far.
      location: whether the score uses the weights of the last step.
    """

    keys: Cell
    init: Callable[[jax.Array, Any, Memory], PyTree]
    score: Callable[[PyTree, jax.Array, jax.Array, Past], jax.Array]
    coverage: bool = False
    location: bool = False


@wrapping_carry
class CarryWithAttention(NamedTuple):
    """The carry of a cell with attention.

    Attributes:
      carry: the carry of the inner cell; for `bahdanau`, together with its last output, the query.
      fed: the last output if it is fed back, else ().
      weights: `[S]`, the attention weights of the last step: the alignment.
      cover: `[S]`, the sum of all weights so far if the score uses it, else ().
    """

    carry: PyTree
    fed: Any
    weights: jax.Array
    cover: Any


def dot() -> Attention:
    """Luong's dot score, for queries and values with the same number of features.

        e_s = q . v_s

    Example:
      >>> import jax.numpy as jnp
      >>> print(dot().score((), jnp.array([1.0, 2.0]), jnp.eye(2), Past()))
      [1. 2.]

    Reference: Luong, Pham, Manning, Effective approaches to attention-based neural machine translation, 2015.
    """
    return Attention(pointwise(lambda v: v), lambda key, query, memory: (), _inner_product_score)


def general(hidden: int) -> Attention:
    """Luong's general score.

        e_s = q . (v_s w)          w [M, hidden], multiplied once per source

    Args:
      hidden: features of the query.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> general(3).keys.init(jax.random.key(0), jnp.ones(2))["w"].shape
      (2, 3)

    Reference: Luong, Pham, Manning, 2015.
    """
    check_size("general: hidden", hidden)
    return Attention(linear(hidden, bias=False), lambda key, query, memory: (), _inner_product_score)


def _inner_product_score(params: PyTree, query: jax.Array, keys: jax.Array, past: Past) -> jax.Array:
    """Scores each key by its inner product with the query."""
    if keys.shape[-1] != query.shape[-1]:
        raise ValueError(
            f"keys {list(keys.shape)} and a query {list(query.shape)} have no inner product: "
            f"general({query.shape[-1]}) makes keys that have"
        )
    return keys @ query


def additive(hidden: int, coverage: bool = False, location: int = 0) -> Attention:
    """Bahdanau's additive score, a small network.

        e_s = v . tanh(q w + v_s u + c a_s + f * b_s)          v_s u once per source

    Luong's concat score v . tanh([q, v_s] w) is the same, with its w split in two. With coverage, a_s is the sum of all
    past weights of position s. With location, f is convolved with the weights b of the last step, so the score depends
    on where the last step attended; this generalises to longer sources. Params are {"w", "v"}, and "c" and "f" if used.

    Args:
      hidden: units of the network.
      coverage: whether the score uses the sum of all weights so far.
      location: width of the convolution over the last weights, an odd number; 0 for none.

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
    check_size("additive: hidden", hidden)
    check_size("additive: location", location, 0)

    def init(key: jax.Array, query: Any, memory: Memory) -> PyTree:
        kw, kv = jax.random.split(key)
        params = {
            "w": draw_initial(lecun_normal, kw, (query.shape[-1], hidden), query.dtype),
            "v": draw_initial(lecun_normal, kv, (hidden, 1), query.dtype)[:, 0],
        }
        params |= {"c": jnp.zeros(hidden, query.dtype)} if coverage else {}
        return params | ({"f": jnp.zeros((location, hidden), query.dtype)} if location else {})

    def score(p: PyTree, query: jax.Array, keys: jax.Array, past: Past) -> jax.Array:
        z = keys + jnp.broadcast_to(query @ p["w"], keys.shape)
        z = z + jnp.outer(past.cover, p["c"]) if coverage else z
        return jnp.tanh(z + _local_weights(past.weights, location) @ p["f"] if location else z) @ p["v"]

    return Attention(linear(hidden, bias=False), init, score, coverage, location > 0)


def _local_weights(weights: jax.Array, places: int) -> jax.Array:
    """Returns the weights around each position `[S, places]`, zero beyond the ends."""
    n, padded = weights.shape[0], jnp.pad(weights, places // 2)
    return jnp.stack([padded[i : i + n] for i in range(places)], axis=1)


def encode_memory(attention: Attention, weights: PyTree, encoded: PyTree) -> Memory:
    """Returns the memory made from the outputs of an encoder.

    Args:
      attention: the attention that scores the memory.
      weights: the weights of `attention.keys`.
      encoded: `[S, M]`, plain or a `Seq`.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> memory = encode_memory(dot(), (), rnnjax.Seq(jnp.ones((3, 2)), valid=jnp.arange(3) < 2))
      >>> print(memory.values[:, 0], memory.valid)
      [1. 1. 0.] [ True  True False]
    """
    values = without_marks(zero_invalid(encoded))
    return Memory(values, attention.keys.step(weights, (), values)[1], getattr(encoded, "valid", None))


def attend(scores: jax.Array, memory: Memory) -> tuple[jax.Array, jax.Array]:
    """Reads a memory with a softmax over the scores.

        a = softmax(e) over the valid positions,  c = sum_s a_s v_s          both zero where no position is valid

    Args:
      scores: e `[S]`.
      memory: of S positions.

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


def attend_once(
    attention: Attention, params: PyTree, query: jax.Array, memory: Memory, past: Past
) -> tuple[jax.Array, jax.Array, Any]:
    """Attends once: returns the context, the weights and the updated cover."""
    context, weights = attend(attention.score(params, query, jnp.asarray(memory.keys, query.dtype), past), memory)
    return context, weights, past.cover + weights if attention.coverage else ()


def initial_attention(attention: Attention, carry: PyTree, fed: Any, memory: Memory, dtype: Any) -> CarryWithAttention:
    """Returns the carry before the first step."""
    nowhere = jnp.zeros(memory.values.shape[0], dtype)
    return CarryWithAttention(carry, fed, nowhere, nowhere if attention.coverage else ())
