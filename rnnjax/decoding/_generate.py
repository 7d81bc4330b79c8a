"""Generates symbols one by one and computes their log-probabilities, with the same step function."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.base import Cell, PyTree, check_size, unroll
from rnnjax.base._arguments import check_array, check_function
from rnnjax.base._cell import check_cell
from rnnjax.base._misfits import check_carry, check_key, explained
from rnnjax.base._numerics import at_least_int32, at_least_single
from rnnjax.decoding._sampling import Sampler


class Decoded(NamedTuple):
    """A text that a network wrote; with a leading axis, several texts in order.

    Attributes:
      symbols: integers `[n]`, including the end symbol, which also fills the rest.
      length: `[]`, the number of symbols including the end symbol; n if none came before the limit.
      log_probability: `[]`, of these symbols, at least in float32.
      score: `[]`, which orders hypotheses: the log-probability, divided by the length penalty if there is one.
    """

    symbols: jax.Array
    length: jax.Array
    log_probability: jax.Array
    score: jax.Array


def generate(
    cell: Cell, params: PyTree, carry: PyTree, logits: jax.Array, n: int, pick: Sampler, key: jax.Array
) -> jax.Array:
    """Generates n symbols; each is the input of the next step.

        s_t = pick(logits_{t-1});  (h_t, logits_t) = step(h_{t-1}, s_t)

    Args:
      cell: a one-step cell, from a symbol (an integer `[]`) to logits `[symbols]`.
      params: of the cell.
      carry: the state after the prompt.
      logits: the output at the last symbol of the prompt.
      n: number of symbols to generate.
      pick: (key, logits) -> symbol: `temperature(t)`, `greedy`, `top_k(k)`, `nucleus(p)`.
      key: for sampling.

    Returns:
      integers `[n]`; -1 for a symbol that cannot be picked, for example because a logit is nan.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax.decoding import temperature
      >>> cell = rnnjax.stack(rnnjax.one_hot(5), rnnjax.gru(4), rnnjax.linear(5))
      >>> params = cell.init(jax.random.key(0), jnp.int32(0))
      >>> carry, logits = rnnjax.run(cell, params, jnp.int32(3))
      >>> generate(cell, params, carry, logits, 7, temperature(1.0), jax.random.key(1)).shape
      (7,)
    """
    check_cell("generate", cell)
    check_size("generate: n", n)
    check_function("generate: pick", pick)
    check_key(key)
    weights, carry, logits = prompted("generate", cell, params, carry, logits)

    def body(at: tuple[PyTree, jax.Array], key: jax.Array) -> tuple[tuple[PyTree, jax.Array], jax.Array]:
        carry, logits = at
        symbol = pick(key, logits)
        return cell.step(weights, carry, symbol), symbol

    return lax.scan(body, (carry, logits), jax.random.split(key, n))[1]


def decode(
    cell: Cell,
    params: PyTree,
    carry: PyTree,
    logits: jax.Array,
    n: int,
    pick: Sampler,
    key: jax.Array,
    end: int,
    forced: jax.Array | None = None,
) -> Decoded:
    """Generates until the end symbol, at most n symbols; under `jax.vmap` it stops when the whole batch has ended.

    Args:
      cell, params, carry, logits, pick, key: as for `generate`.
      n: the maximal length. A text that has not ended by then has no end symbol.
      end: the symbol that ends a text; -1 for none.
      forced: integers `[up to n]`, a prefix that the text must start with; below 0, or past its end, symbols are free.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax.decoding import greedy
      >>> cell = rnnjax.pointwise(lambda s: 9 * jax.nn.one_hot(s + 1, 5))  # counts
      >>> carry, logits = rnnjax.run(cell, (), jnp.int32(0))
      >>> written = decode(cell, (), carry, logits, 6, greedy, jax.random.key(0), end=4)
      >>> print(written.symbols, written.length)
      [1 2 3 4 4 4] 4
    """
    check_cell("decode", cell)
    check_size("decode: n", n)
    check_function("decode: pick", pick)
    check_key(key)
    weights, carry, logits = prompted("decode", cell, params, carry, logits)
    must, end = pad_forced("decode", forced, n, logits), checked_end("decode", end, logits)

    def going(at: tuple[jax.Array, PyTree, jax.Array, Decoded]) -> jax.Array:
        t, _, _, said = at
        return (t < n) & (said.length == n)

    def body(at: tuple[jax.Array, PyTree, jax.Array, Decoded]) -> tuple[jax.Array, PyTree, jax.Array, Decoded]:
        t, carry, logits, said = at
        symbol = jnp.where(must[t] < 0, pick(jax.random.fold_in(key, t), logits), must[t]).astype(jnp.int32)
        nats = jax.nn.log_softmax(at_least_single(logits))[symbol]
        total = said.log_probability + jnp.where(symbol < 0, jnp.full_like(nats, jnp.nan), nats)
        length = jnp.where((symbol == end) & (symbol >= 0), t + 1, said.length)
        said = Decoded(said.symbols.at[t].set(symbol), length, total, total)
        carry, logits = cell.step(weights, carry, symbol)
        return t + 1, carry, logits, said

    nothing = at_least_single(jnp.zeros((), logits.dtype))
    said = Decoded(jnp.full(n, end, jnp.int32), jnp.full((), n, jnp.int32), nothing, nothing)
    return lax.while_loop(going, body, (jnp.zeros((), jnp.int32), carry, logits, said))[-1]


def mark_unknown(found: Decoded) -> Decoded:
    """Makes the symbols of texts whose log-probability is nan -1."""
    unknown = jnp.isnan(found.log_probability)[..., None]
    return found._replace(symbols=jnp.where(unknown, jnp.full_like(found.symbols, -1), found.symbols))


def prompted(what: str, cell: Cell, params: PyTree, carry: PyTree, logits: Any) -> tuple[Any, PyTree, jax.Array]:
    """Returns the weights, the state and the logits `[symbols]` that a text begins with.

    Raises:
      ValueError: the params or the carry are not those of the cell, or the logits are not those that it gives.
    """
    check_cell(what, cell)
    logits = jnp.asarray(check_array(f"{what}: logits", logits, "[symbols]", "floating", some=True))
    symbol = jnp.zeros((), jnp.int32)
    with explained(cell, symbol, params):
        weights: Any = cell.weights(params)
        check_carry(cell, weights, symbol, carry)
        given = jax.eval_shape(lambda weights, carry: cell.step(weights, carry, symbol, None)[1], weights, carry)
    if jnp.shape(given) != logits.shape:
        raise ValueError(f"{what}: logits are {list(logits.shape)}, and the cell gives {list(jnp.shape(given))}")
    return weights, carry, logits


def pad_forced(what: str, forced: Any, n: int, logits: jax.Array) -> jax.Array:
    """Pads forced symbols to `[n]` with -1, which forces nothing.

    Raises:
      ValueError: they are not integers `[m]`, or one, where known, is no symbol.
    """
    free = jnp.full(n, -1, jnp.int32)
    if forced is None:
        return free
    forced = check_array(f"{what}: forced", forced, "[up to n]", "integer")
    if not isinstance(forced, jax.core.Tracer) and (np.asarray(forced) >= logits.shape[-1]).any():
        raise ValueError(f"{what}: forced has {np.max(forced)}, and symbols are from 0 to {logits.shape[-1] - 1}")
    return free.at[: forced.shape[0]].set(jnp.asarray(forced)[:n].astype(jnp.int32))


def checked_end(what: str, end: Any, logits: jax.Array) -> int:
    """Returns the symbol that ends a text; -1 for none.

    Raises:
      ValueError: it is no symbol.
    """
    check_size(f"{what}: end", end, -1)
    if not isinstance(end, jax.core.Tracer) and end >= logits.shape[-1]:
        raise ValueError(f"{what}: end is {end}, and symbols are from 0 to {logits.shape[-1] - 1}")
    return end


def log_probabilities(cell: Cell, params: PyTree, carry: PyTree, logits: jax.Array, symbols: jax.Array) -> jax.Array:
    """Returns log p(s_t given s_<t) for each symbol of a text `[n]`, using the cell's window if it has one.

    Args:
      cell, params, carry, logits: as for `generate`.
      symbols: integers `[n]`; one that is no symbol has nan, and so has what follows it if the cell says so.

    Raises:
      ValueError: something does not fit the cell.

    Example: the log-probability of a generated text.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> from rnnjax.decoding import temperature
      >>> cell = rnnjax.stack(rnnjax.one_hot(5), rnnjax.gru(4), rnnjax.linear(5))
      >>> params = cell.init(jax.random.key(0), jnp.int32(0))
      >>> start = rnnjax.run(cell, params, jnp.int32(3))
      >>> said = decode(cell, params, *start, 7, temperature(1.0), jax.random.key(1), end=0)
      >>> again = log_probabilities(cell, params, *start, said.symbols)[: said.length].sum()
      >>> np.testing.assert_allclose(again, said.log_probability, rtol=1e-4)
    """
    weights, carry, logits = prompted("log_probabilities", cell, params, carry, logits)
    symbols = jnp.asarray(check_array("log_probabilities: symbols", symbols, "[n]", "integer", some=True))
    _, after = unroll(cell).step(weights, carry, symbols)
    each = jax.nn.log_softmax(at_least_single(jnp.concatenate([logits[None], after[:-1]])))
    said = jnp.take_along_axis(each, jnp.maximum(symbols, 0)[:, None], axis=1)[:, 0]
    symbols = at_least_int32(symbols)
    there = (symbols >= 0) & (symbols < each.shape[-1])
    return jnp.where(there, said, jnp.full_like(said, jnp.nan))
