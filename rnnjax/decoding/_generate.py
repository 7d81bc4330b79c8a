"""Generates symbols one by one and computes their log-probabilities, with the same step function."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, check_size, unroll
from rnnjax.base._cell import check_cell
from rnnjax.base._numerics import at_least_single
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
    weights = cell.weights(params)

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
      end: the symbol that ends a text.
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
    weights = cell.weights(params)
    must = pad_forced(forced, n)

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


def pad_forced(forced: jax.Array | None, n: int) -> jax.Array:
    """Pads forced symbols to `[n]` with -1, which forces nothing."""
    free = jnp.full(n, -1, jnp.int32)
    return free if forced is None else free.at[: forced.shape[0]].set(forced[:n].astype(jnp.int32))


def log_probabilities(cell: Cell, params: PyTree, carry: PyTree, logits: jax.Array, symbols: jax.Array) -> jax.Array:
    """Returns log p(s_t given s_<t) for each symbol of a text `[n]`, using the cell's window if it has one.

    Args:
      cell, params, carry, logits: as for `generate`.
      symbols: integers `[n]`.

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
    check_cell("log_probabilities", cell)
    weights: Any = cell.weights(params)
    _, after = unroll(cell).step(weights, carry, symbols)
    each = jax.nn.log_softmax(at_least_single(jnp.concatenate([logits[None], after[:-1]])))
    return jnp.take_along_axis(each, symbols[:, None], axis=1)[:, 0]
