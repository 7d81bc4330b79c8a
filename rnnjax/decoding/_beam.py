"""Beam search for the most likely texts."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, check_number, check_size
from rnnjax.base._cell import check_cell
from rnnjax.base._numerics import at_least_single
from rnnjax.decoding._generate import Decoded, checked_end, mark_unknown, pad_forced, prompted
from rnnjax.decoding._top import largest

_NEVER = -jnp.inf


class Search(NamedTuple):
    """The state of a running search.

    Attributes:
      t: number of symbols written.
      carry: of each open hypothesis `[width, ...]`.
      logits: `[width, symbols]`, for the next symbol.
      open: hypotheses that have not ended, best first.
      done: hypotheses that have ended, best first; scores of -inf fill up the list if there are fewer than width.
    """

    t: jax.Array
    carry: PyTree
    logits: jax.Array
    open: Decoded
    done: Decoded


def beam_search(
    cell: Cell,
    params: PyTree,
    carry: PyTree,
    logits: jax.Array,
    n: int,
    width: int,
    end: int,
    length_penalty: Any = 0.0,
    forced: jax.Array | None = None,
) -> Decoded:
    """Returns the `width` best texts that beam search finds, best first.

        score = log p(text) / ((5 + length) / 6)^length_penalty

    Each step compares all continuations of the open hypotheses. Those with an end symbol are done if they are among the
    `width` most likely ones; the `width` most likely ones without an end symbol stay open. The search stops when
    `width` hypotheses are done or after n symbols. Hypotheses that are still open then count with length n and no end
    symbol. A width of 1 is `decode` with `greedy`; a width of all possible texts is exhaustive search.

    Args:
      cell, params, carry, logits: as for `generate`: a one-step cell from a symbol `[]` to logits `[symbols]`.
      n: the maximal length.
      width: number of hypotheses kept and returned. It may exceed the number of symbols or of texts; the surplus
        hypotheses have a log-probability of -inf and a length of 0.
      end: the symbol that ends a text; -1 for none.
      length_penalty: 0 for none; larger values favour longer texts. It may be a tracer.
      forced: as for `decode`.

    Returns:
      `Decoded` with a leading axis `[width]`; its symbols are -1 where its log-probability is nan.

    Example: 1 is the more likely first symbol, but every continuation of it is uncertain.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> table = jnp.log(jnp.array([[0.0, 0.0, 1.0], [0.4, 0.3, 0.3], [0.4, 0.6, 0.0]]))
      >>> cell = rnnjax.pointwise(lambda s: table[s])
      >>> for width in (1, 2):
      ...     best = beam_search(cell, (), (), table[2], 2, width, end=2)
      ...     print(best.symbols[0], f"{best.log_probability[0]:.2f}")
      [1 0] -1.43
      [0 2] -0.92

    Reference: Wu et al., Google's neural machine translation system, 2016 (the length penalty).
    """
    check_cell("beam_search", cell)
    check_size("beam_search: n", n)
    check_size("beam_search: width", width)
    check_number("beam_search: length_penalty", length_penalty)
    weights, carry, logits = prompted("beam_search", cell, params, carry, logits)
    must, v = pad_forced("beam_search", forced, n, logits), logits.shape[-1]
    end = checked_end("beam_search", end, logits)

    def scored(total: jax.Array, length: jax.Array) -> jax.Array:
        power = jnp.asarray(length_penalty, total.dtype)
        return total / ((5 + length.astype(total.dtype)) / 6) ** power

    def going(s: Search) -> jax.Array:
        return (s.t < n) & ~(s.done.score != _NEVER).all()

    def body(s: Search) -> Search:
        p = jax.nn.log_softmax(at_least_single(s.logits))
        p = jnp.where((must[s.t] < 0) | (jnp.arange(v) == must[s.t])[None], p, _NEVER)
        flat = (jnp.broadcast_to(s.open.log_probability[:, None], p.shape) + p).ravel()
        total, at = largest(flat, min(2 * width, flat.size))
        parent, symbol = at // v, (at % v).astype(jnp.int32)
        length = jnp.full(at.shape, s.t + 1, jnp.int32)
        found = Decoded(s.open.symbols[parent].at[:, s.t].set(symbol), length, total, scored(total, length))
        ended = symbol == end
        done = _merge_best(width, s.done, _mask_hypotheses(found, ended & (jnp.arange(at.size) < width)))
        still, rank = _best_open(width, _mask_hypotheses(found, ~ended))
        carry = jax.tree.map(lambda a: a[parent[rank]], s.carry)
        carry, logits = jax.vmap(lambda h, x: cell.step(weights, h, x))(carry, symbol[rank])
        return Search(s.t + 1, carry, logits, still, done)

    none = _empty_beam(width, n, end, at_least_single(logits).dtype)
    first = none._replace(log_probability=none.log_probability.at[0].set(0), score=none.score.at[0].set(0))
    alike = jax.tree.map(lambda a: jnp.broadcast_to(a, (width, *a.shape)), (carry, logits))
    s = lax.while_loop(going, body, Search(jnp.zeros((), jnp.int32), alike[0], alike[1], first, none))
    full = (s.done.score != _NEVER).all()
    return mark_unknown(_merge_best(width, s.done, _mask_hypotheses(s.open, jnp.broadcast_to(~full, (width,)))))


def _empty_beam(width: int, n: int, end: int, dtype: Any) -> Decoded:
    """Returns `width` impossible hypotheses."""
    never = jnp.full(width, _NEVER, dtype)
    return Decoded(jnp.full((width, n), end, jnp.int32), jnp.zeros(width, jnp.int32), never, never)


def _mask_hypotheses(found: Decoded, kept: jax.Array) -> Decoded:
    """Marks the hypotheses that are not kept as impossible."""
    kept = kept & (found.log_probability != _NEVER)
    return Decoded(
        found.symbols,
        jnp.where(kept, found.length, 0),
        jnp.where(kept, found.log_probability, _NEVER),
        jnp.where(kept, found.score, _NEVER),
    )


def _merge_best(width: int, a: Decoded, b: Decoded) -> Decoded:
    """Returns the best hypotheses of two lists."""
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), a, b)
    _, rank = lax.top_k(both.score, width)
    return jax.tree.map(lambda a: a[rank], both)


def _best_open(width: int, found: Decoded) -> tuple[Decoded, jax.Array]:
    """Returns the best hypotheses of a list, padded to `width`, and their indices in it."""
    _, rank = lax.top_k(found.log_probability, min(width, found.length.size))
    rank = jnp.concatenate([rank, jnp.zeros(width - rank.size, rank.dtype)])
    real = jnp.arange(width) < found.length.size
    return _mask_hypotheses(jax.tree.map(lambda a: a[rank], found), real), rank
