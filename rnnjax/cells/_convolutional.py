"""Cells whose state is an image: the convolutional LSTM and GRU, in one, two or three dimensions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, check_number, check_size, factory
from rnnjax.base._numerics import as_dtype, draw_initial, lecun_normal
from rnnjax.base._outputs import carry_itself, hidden_units
from rnnjax.cells._lstm import LSTMCarry


def _convolved(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns a convolution `[*space, channels]` -> `[*space, features]`, with zeros outside of the image."""
    space = "XYZ"[: x.ndim - 1]
    order = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lax.conv_general_dilated(x[None], kernel, (1,) * len(space), "SAME", dimension_numbers=order)[0]


def _image_cell(name: str, channels: int, kernel: int, gates: int, dimensions: int) -> tuple[Any, Any]:
    """Returns init and the check of an input's shape."""
    check_size(f"{name}: channels", channels)
    check_size(f"{name}: kernel", kernel)
    check_size(f"{name}: dimensions", dimensions)
    if dimensions > 3:
        raise ValueError(f"{name}: dimensions is 1, 2 or 3, got {dimensions}")

    def check(x: Any) -> None:
        if len(x.shape) != dimensions + 1:
            wanted = ", ".join(("height", "width", "depth")[:dimensions])
            raise ValueError(
                f"{name} takes an image [{wanted}, channels] of one step, got {list(x.shape)}: "
                "unroll(...) for windows, jax.vmap around that for batches"
            )

    def init(key: jax.Array, x: Any) -> PyTree:
        check(x)
        kw, ku = jax.random.split(key)
        w, u = ((*(kernel,) * dimensions, c, gates * channels) for c in (x.shape[-1], channels))
        params = {n: draw_initial(lecun_normal, k, s, x.dtype) for n, k, s in (("w", kw, w), ("v", ku, u))}
        return params | {"b": jnp.zeros(gates * channels, x.dtype)}

    return init, check


@factory
def conv_lstm(channels: int, kernel: int = 3, dimensions: int = 2, forget_bias: Any = 1.0) -> Cell:
    """The convolutional LSTM: input, state and output are images, and each gate is a convolution.

        i, f, g, o = x_t * w + h_{t-1} * v + b      (*: convolution, zeros outside)
        c_t = sigmoid(f + forget_bias) c_{t-1} + sigmoid(i) tanh(g);  h_t = sigmoid(o) tanh(c_t)

    Without the paper's peepholes. Params: w `[kernel, kernel, channels of x, 4 channels]`, v, b. The input and the
    output are `[height, width, channels]`, or have one or three dimensions.

    Args:
      channels: of the state and the output.
      kernel: the side of the convolutions.
      dimensions: 1, 2 or 3.
      forget_bias: added to f at run time, not stored in params.

    Raises:
      ValueError: an input has another number of dimensions.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> film = jnp.ones((5, 8, 8, 1))  # time, height, width, channels
      >>> cell = rnnjax.unroll(conv_lstm(2))
      >>> params = cell.init(jax.random.key(0), film)
      >>> sum(p.size for p in jax.tree.leaves(params)), rnnjax.run(cell, params, film)[1].shape  # 8 (9 (1 + 2) + 1)
      (224, (5, 8, 8, 2))

    Reference: Shi, Chen, Wang, Yeung, Wong, Woo, Convolutional LSTM network: a machine learning approach for
    precipitation nowcasting, 2015.
    """
    check_number("conv_lstm: forget_bias", forget_bias)
    init, check = _image_cell("conv_lstm", channels, kernel, 4, dimensions)

    def start(p: PyTree, x: Any) -> LSTMCarry:
        zeros = jnp.zeros((*x.shape[:-1], channels), x.dtype)
        return LSTMCarry(zeros, zeros)

    def step(p: PyTree, s: LSTMCarry, x: jax.Array, key: jax.Array | None = None) -> tuple[LSTMCarry, jax.Array]:
        check(x)
        z = _convolved(x, p["w"]) + _convolved(s.h, p["v"])
        i, f, g, o = jnp.split(z + jnp.broadcast_to(p["b"], z.shape), 4, axis=-1)
        c = jax.nn.sigmoid(f + as_dtype(forget_bias, x)) * s.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return LSTMCarry(c, h), h

    return Cell(init, start, step, output=hidden_units)


@factory
def conv_gru(channels: int, kernel: int = 3, dimensions: int = 2) -> Cell:
    """The convolutional GRU: input, state and output are images, and each gate is a convolution.

        r, z, n = x_t * w + b;  r, z = sigmoid(r + h_{t-1} * v_r), sigmoid(z + h_{t-1} * v_z)
        h_t = z h_{t-1} + (1 - z) tanh(n + (r h_{t-1}) * v_n)      (*: convolution, zeros outside)

    Params: w `[kernel, kernel, channels of x, 3 channels]`, v, b. The input and the output are `[height, width,
    channels]`, or have one or three dimensions.

    Args:
      channels: of the state and the output.
      kernel: the side of the convolutions.
      dimensions: 1, 2 or 3.

    Raises:
      ValueError: an input has another number of dimensions.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> film = jnp.ones((5, 8, 8, 1))  # time, height, width, channels
      >>> cell = rnnjax.unroll(conv_gru(2))
      >>> params = cell.init(jax.random.key(0), film)
      >>> sum(p.size for p in jax.tree.leaves(params)), rnnjax.run(cell, params, film)[1].shape  # 6 (9 (1 + 2) + 1)
      (168, (5, 8, 8, 2))

    Reference: Ballas, Yao, Pal, Courville, Delving deeper into convolutional networks for learning video
    representations, 2015.
    """
    init, check = _image_cell("conv_gru", channels, kernel, 3, dimensions)

    def step(p: PyTree, h: jax.Array, x: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        check(x)
        a = _convolved(x, p["w"])
        a, both = a + jnp.broadcast_to(p["b"], a.shape), 2 * channels
        r, z = jnp.split(jax.nn.sigmoid(a[..., :both] + _convolved(h, p["v"][..., :both])), 2, axis=-1)
        n = jnp.tanh(a[..., both:] + _convolved(r * h, p["v"][..., both:]))
        h = n + z * (h - n)
        return h, h

    return Cell(init, lambda p, x: jnp.zeros((*x.shape[:-1], channels), x.dtype), step, output=carry_itself)
