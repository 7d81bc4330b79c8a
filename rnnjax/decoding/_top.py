"""The largest of many numbers, in two stages."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

_BLOCK = 64  # numbers; measured on a CPU, where blocks of 32 and 128 are slower
_LONG = 4096  # numbers; fewer are as fast in one stage


def largest(x: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """Returns the k largest numbers of a vector and their indices, as `lax.top_k` does, sooner for long vectors.

    They stand in the k blocks with the largest maxima: any number elsewhere is behind k of these maxima. Blocks are
    read in their order, so that of equal numbers the first counts.

    Args:
      x: numbers `[n]`.
      k: at most n.

    Example:
      >>> print(*largest(jnp.array([1.0, 3.0, 2.0, 3.0]), 3))
      [3. 3. 2.] [1 3 2]
    """
    if x.size < max(_LONG, 4 * k * _BLOCK):
        values, at = lax.top_k(x, k)
        return values, at
    whole = jnp.pad(x, (0, -x.size % _BLOCK), constant_values=-jnp.inf).reshape(-1, _BLOCK)
    maxima = jnp.where(jnp.isnan(whole), jnp.inf, whole).max(axis=1)  # XLA's own maximum may pass over nan
    chosen = jnp.sort(lax.top_k(maxima, k)[1])
    values, at = lax.top_k(whole[chosen].ravel(), k)
    return values, chosen[at // _BLOCK] * _BLOCK + at % _BLOCK
