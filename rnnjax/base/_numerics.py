"""Initialisers, random draws and normalisation shared by cells."""

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
    """Draws initial values in at least single precision, then casts them: QR has no half-precision implementation."""
    return init(key, shape, dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32).astype(dtype)


def as_dtype(value: Any, x: jax.Array) -> jax.Array:
    """Converts a user's number, possibly a tracer, to the dtype of x."""
    return jnp.asarray(value, x.dtype)


def at_least_single(x: jax.Array) -> jax.Array:
    """Converts half precision to single; anything else is unchanged. For sums: in half precision counting stops at 256.

    Example:
      >>> import jax.numpy as jnp
      >>> print(at_least_single(jnp.ones(2, jnp.bfloat16)).dtype, at_least_single(jnp.ones(2, jnp.int8)).dtype)
      float32 int8
    """
    return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) and jnp.finfo(x.dtype).bits < 32 else x


def at_least_int32(x: jax.Array) -> jax.Array:
    """Converts integers of 8 or 16 bits to int32; anything else is unchanged.

    For symbols that are compared with how many there are: in uint8, 256 is 0, and 300 is 44.

    Example:
      >>> import jax.numpy as jnp
      >>> print(at_least_int32(jnp.uint8(200)).dtype, at_least_int32(jnp.uint32(7)).dtype)
      int32 uint32
    """
    return x.astype(jnp.int32) if jnp.issubdtype(x.dtype, jnp.integer) and x.dtype.itemsize < 4 else x


def standardize(x: jax.Array, epsilon: float = EPSILON) -> jax.Array:
    """Returns x with mean 0 and variance 1 over its features."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + as_dtype(epsilon, x))


def bernoulli(key: jax.Array, p: Any, shape: tuple[int, ...]) -> jax.Array:
    """Draws booleans that are true with probability p; leading axes of the keys are leading axes of the shape.

    Half precision has too few numbers to compare with: a probability of 1e-4 would be one of 1 / 128.
    """
    if key.ndim == 0:
        return jax.random.bernoulli(key, at_least_single(jnp.asarray(p)), shape)
    return jax.vmap(lambda k: bernoulli(k, p, shape[1:]))(key)
