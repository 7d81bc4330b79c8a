"""Cells between the recurrences of a block: RMS normalisation and a short convolution."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_size, factory, stack, stateless
from rnnjax.base._numerics import EPSILON, as_dtype, draw_initial, lecun_normal
from rnnjax.cells._baselines import delay_line


@factory
def rms_norm(epsilon: float = EPSILON) -> Cell:
    """Divides the features by their root mean square, with a gain.

        y = gain * x / sqrt(mean x^2 + epsilon)

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell, x = rms_norm(), jnp.array([1.0, -7.0])
      >>> print(rnnjax.run(cell, cell.init(jax.random.key(0), x), x)[1].round(1))  # divided by 5
      [ 0.2 -1.4]

    Reference: Zhang, Sennrich, Root mean square layer normalization, 2019.
    """
    check_number("rms_norm: epsilon", epsilon, 0)

    def apply(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        scale = jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + as_dtype(epsilon, x))
        return x * scale * jnp.broadcast_to(p["gain"], x.shape)

    return stateless(lambda key, x: {"gain": jnp.ones(x.shape[-1:], x.dtype)}, apply, rank=1)


@factory
def short_convolution(width: int = 4) -> Cell:
    """Filters each feature over the last inputs, without mixing features; zeros stand before the first.

        y_t = w_0 x_t + w_1 x_{t-1} + ... + w_{width-1} x_{t-width+1} + b, elementwise

    Params: w `[width, features]`, b `[features]`.

    Args:
      width: the number of inputs in the filter, at least 1.

    Raises:
      ValueError: width is below 1.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> params = ((), {"w": jnp.array([[1.0], [-1.0]]), "b": jnp.zeros(1)})
      >>> xs = jnp.array([[1.0], [4.0], [9.0]])
      >>> print(rnnjax.run(rnnjax.unroll(short_convolution(2)), params, xs)[1].ravel())
      [1. 3. 5.]

    Reference: Gu, Dao, Mamba: linear-time sequence modeling with selective state spaces, 2023 (its causal, depthwise
    convolution of width 4).
    """
    check_size("short_convolution: width", width)

    def init(key: jax.Array, x: Any) -> PyTree:
        features = x.shape[-1] // width
        w = draw_initial(lecun_normal, key, (width, features), x.dtype)
        return {"w": w, "b": jnp.zeros(features, x.dtype)}

    def apply(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        taps = x.reshape(*x.shape[:-1], width, -1)
        y = (taps * jnp.broadcast_to(p["w"], taps.shape)).sum(-2)
        return y + jnp.broadcast_to(p["b"], y.shape)

    made = stack(delay_line(width), stateless(init, apply, rank=1))

    def checked(key: jax.Array, x: Any) -> PyTree:
        if len(x.shape) != 1:
            raise ValueError(f"short_convolution takes the features of one step, got {list(x.shape)}")
        return made.init(key, x)

    return made.replace(init=checked)
