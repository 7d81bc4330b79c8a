"""Samplers, which pick a symbol from logits: the most likely one, or a draw from all or some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import check_number, check_size
from rnnjax.base._arguments import check_array
from rnnjax.base._misfits import check_key
from rnnjax.base._numerics import at_least_single

Sampler = Callable[[jax.Array, jax.Array], jax.Array]


def temperature(t: Any) -> Sampler:
    """Draws a symbol with probability softmax(logits / t); t below 1 favours likely symbols, and 0 is `greedy`.

    The symbol is -1 if a logit is nan or all are -inf, or if t is traced and not a finite number from 0.

    Args:
      t: at least 0; may be a tracer.

    Raises:
      ValueError: t is negative or not finite.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> int(temperature(0.01)(jax.random.key(0), jnp.array([0.0, 3.0, 1.0])))
      1
    """
    check_number("temperature", t, 0)

    def pick(key: jax.Array, logits: jax.Array) -> jax.Array:
        check_key(key)
        logits = _in_floats(logits)
        cold, by = _safe_temperature(t, logits)
        symbol = jnp.where(cold, logits.argmax(-1), jax.random.categorical(key, logits / by))
        return _or_none(symbol, logits, _is_temperature(t))

    return pick


def _or_none(symbol: jax.Array, logits: jax.Array, fit: Any = True) -> jax.Array:
    """Returns symbols, and -1 where a logit is nan, all are -inf, or `fit` is false."""
    return jnp.where((logits.max(-1) > -jnp.inf) & jnp.asarray(fit), symbol, jnp.full_like(symbol, -1))


def _in_floats(logits: Any) -> jax.Array:
    """Returns logits `[..., symbols]`, at least in single precision.

    A temperature of 0.5 would be 0 as an integer, and noise of 8 bits has ties, of which the first symbol wins.
    """
    logits = jnp.asarray(check_array("a sampler's logits", logits))
    if not logits.ndim or not logits.shape[-1]:
        raise ValueError(f"a sampler takes logits [..., symbols], got {list(logits.shape)}")
    return at_least_single(logits) if jnp.issubdtype(logits.dtype, jnp.floating) else logits.astype(jnp.float32)


def _is_temperature(t: Any) -> jax.Array:
    """Returns whether a temperature, which may be a tracer, is allowed."""
    t = jnp.asarray(t)
    return (t >= 0) & jnp.isfinite(t)


def _safe_temperature(t: Any, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns whether the temperature is 0, and a divisor for the logits that is never 0."""
    by = jnp.asarray(t, logits.dtype)
    return by == 0, jnp.where(by == 0, jnp.ones_like(by), by)


def greedy(key: jax.Array, logits: jax.Array) -> jax.Array:
    """Returns the most likely symbol; the key is ignored. It is -1 if a logit is nan or all are -inf.

    Example:
      >>> import jax.numpy as jnp
      >>> int(greedy(None, jnp.array([0.0, 3.0, 1.0])))
      1
    """
    return likeliest(logits)


def likeliest(logits: jax.Array) -> jax.Array:
    """Returns the most likely symbol; -1 if a logit is nan or all are -inf."""
    logits = _in_floats(logits)
    return _or_none(logits.argmax(-1), logits)


def top_k(k: int, t: Any = 1.0) -> Sampler:
    """Draws like `temperature(t)`, but only from the k most likely symbols; -1 under the same conditions.

    Args:
      k: at least 1; if it exceeds the number of symbols, all are used.
      t: at least 0; may be a tracer.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> keys = jax.random.split(jax.random.key(0), 100)
      >>> logits = jnp.array([0.0, 3.0, 2.9, 1.0])
      >>> print(jnp.unique(jax.vmap(top_k(2), (0, None))(keys, logits)))
      [1 2]

    Reference: Fan, Lewis, Dauphin, Hierarchical neural story generation, 2018.
    """
    check_size("top_k: k", k)
    draw = temperature(t)

    def pick(key: jax.Array, logits: jax.Array) -> jax.Array:
        logits = _in_floats(logits)
        kept, symbols = jax.lax.top_k(logits, min(k, logits.shape[-1]))
        return _or_none(_at(symbols, draw(key, kept)), logits)  # a nan need not be among the largest

    return pick


def nucleus(p: Any, t: Any = 1.0) -> Sampler:
    """Draws from the smallest set of most likely symbols whose probabilities, after the temperature, sum to at least p.

    The symbol is -1 where that of `temperature(t)` is, or if p is traced and not in (0, 1].

    Args:
      p: in (0, 1], may be a tracer; the most likely symbol is always in the set.
      t: at least 0; may be a tracer.

    Example: of 0.6, 0.3 and 0.1, the last is excluded.
      >>> import jax, jax.numpy as jnp
      >>> keys = jax.random.split(jax.random.key(0), 100)
      >>> logits = jnp.log(jnp.array([0.1, 0.6, 0.3]))
      >>> print(jnp.unique(jax.vmap(nucleus(0.8), (0, None))(keys, logits)))
      [1 2]

    Reference: Holtzman, Buys, Du, Forbes, Choi, The curious case of neural text degeneration, 2020.
    """
    check_number("nucleus: p", p, 0, 1, without=(0,))
    draw = temperature(t)

    def pick(key: jax.Array, logits: jax.Array) -> jax.Array:
        logits = _in_floats(logits)
        order = jnp.argsort(-logits, axis=-1)
        ordered = jnp.take_along_axis(logits, order, -1)
        probabilities = jax.nn.softmax(ordered / _safe_temperature(t, logits)[1])
        before = jnp.cumsum(probabilities, -1) - probabilities
        kept = (before < jnp.asarray(p, logits.dtype)).at[..., 0].set(True)
        place = draw(key, jnp.where(kept, ordered, -jnp.inf))
        return _or_none(_at(order, place), logits, (place >= 0) & (jnp.asarray(p) > 0) & (jnp.asarray(p) <= 1))

    return pick


def _at(symbols: jax.Array, place: jax.Array) -> jax.Array:
    """Returns the symbol of each row at its place; -1 where the place is."""
    found = jnp.take_along_axis(symbols, jnp.maximum(place, 0)[..., None], -1)[..., 0]
    return jnp.where(place < 0, jnp.full_like(found, -1), found)
