"""Samplers, which pick a symbol from logits: the most likely one, or a draw from all or some of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import check_number, check_size

Sampler = Callable[[jax.Array, jax.Array], jax.Array]


def temperature(t: Any) -> Sampler:
    """Draws a symbol with probability softmax(logits / t); t below 1 favours likely symbols, and 0 is `greedy`.

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
        cold, by = _safe_temperature(t, logits)
        return jnp.where(cold, logits.argmax(-1), jax.random.categorical(key, logits / by))

    return pick


def _safe_temperature(t: Any, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns whether the temperature is 0, and a divisor for the logits that is never 0."""
    by = jnp.asarray(t, logits.dtype)
    return by == 0, jnp.where(by == 0, jnp.ones_like(by), by)


def greedy(key: jax.Array, logits: jax.Array) -> jax.Array:
    """Returns the most likely symbol; the key is ignored.

    Example:
      >>> import jax.numpy as jnp
      >>> int(greedy(None, jnp.array([0.0, 3.0, 1.0])))
      1
    """
    return logits.argmax(-1)


def top_k(k: int, t: Any = 1.0) -> Sampler:
    """Draws like `temperature(t)`, but only from the k most likely symbols.

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
        kept, symbols = jax.lax.top_k(logits, min(k, logits.shape[-1]))
        return symbols[draw(key, kept)]

    return pick


def nucleus(p: Any, t: Any = 1.0) -> Sampler:
    """Draws from the smallest set of most likely symbols whose probabilities, after the temperature, sum to at least p.

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
        order = jnp.argsort(-logits)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))  # a sum in half precision stops growing
        probabilities = jax.nn.softmax(logits[order] / _safe_temperature(t, logits)[1])
        before = jnp.cumsum(probabilities) - probabilities
        kept = (before < jnp.asarray(p, logits.dtype)).at[0].set(True)
        return order[draw(key, jnp.where(kept, logits[order], -jnp.inf))]

    return pick
