"""Initializers, draws and normalization that cells share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

orthogonal = jax.nn.initializers.orthogonal()


ones, nothing = jax.nn.initializers.ones, jax.nn.initializers.zeros


Initializer = Callable[..., jax.Array]


lecun_normal = jax.nn.initializers.lecun_normal()


unit_normal = jax.nn.initializers.normal(1.0)


zeros_init = jax.nn.initializers.zeros


EPSILON = 1e-5  # of layer norm


def draw_initial(init: Initializer, key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Initial values in at least single precision, then cast: QR has no half-precision form."""
    return init(key, shape, dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32).astype(dtype)


def as_dtype(value: Any, x: jax.Array) -> jax.Array:
    """A number of the user's, a tracer perhaps, in the dtype of use."""
    return jnp.asarray(value, x.dtype)


def at_least_single(x: jax.Array) -> jax.Array:
    """A floating array of half precision becomes single; anything else stays. For sums: half precision stops at 256.

    Example:
      >>> import jax.numpy as jnp
      >>> print(at_least_single(jnp.ones(2, jnp.bfloat16)).dtype, at_least_single(jnp.ones(2, jnp.int8)).dtype)
      float32 int8
    """
    return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) and jnp.finfo(x.dtype).bits < 32 else x


def standardize(x: jax.Array, epsilon: float = EPSILON) -> jax.Array:
    """x with mean 0 and variance 1 over its features."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + as_dtype(epsilon, x))


def bernoulli(key: jax.Array, p: Any, shape: tuple[int, ...]) -> jax.Array:
    """Booleans that are true with probability p; keys with leading axes draw the leading axes of the shape."""
    if key.ndim == 0:
        return jax.random.bernoulli(key, p, shape)
    return jax.vmap(lambda k: bernoulli(k, p, shape[1:]))(key)
