"""A convolutional network and picture titles, for the experiments on images."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from matplotlib.axes import Axes

from rnnjax.plotting import COLOURS


class Conv(nn.Module):
    """A 3 x 3 convolution as one matmul: inside a loop, XLA's own convolution is nine times slower on a CPU."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        (h, w, _), wide = x.shape, jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
        around = jnp.concatenate([wide[i : i + h, j : j + w] for i in range(3) for j in range(3)], -1)
        return nn.Dense(self.features)(around)


class ConvNet(nn.Module):
    """Maps a picture `[24, 24, 3]` to 6 x 6 positions `[6, 6, channels + 2]`, with their coordinates."""

    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for features in (self.channels // 2, self.channels):
            x = nn.max_pool(nn.relu(Conv(features)(x)), (2, 2), (2, 2))
        x = nn.relu(Conv(self.channels)(x))
        at = jnp.linspace(-1, 1, x.shape[0], dtype=x.dtype)
        return jnp.concatenate([x, *(a[..., None] for a in jnp.meshgrid(at, at))], -1)


def draw_prediction(axes: Axes, picture: np.ndarray, title: str = "", good: bool | None = None) -> None:
    """Draws a picture without axes; its title is green if the prediction is correct, red if not."""
    axes.set_axis_off()
    axes.imshow(picture)
    axes.set_title(title, fontsize=9, color="black" if good is None else COLOURS[2 if good else 1])
