"""Random handwritten words, given as the path of the pen and not as a picture."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Seq, check_size
from rnnjax.data import Batch
from rnnjax.tasks._synthetic import Task

# The corners of each letter in a box of width one and height two, with the baseline at 0.
_SHAPES = {
    "c": "0.9,0.8 0.5,1 0.1,0.7 0.1,0.3 0.5,0 0.9,0.2",
    "l": "0.1,2 0.1,1 0.1,0.2 0.4,0",
    "n": "0.1,1 0.1,0 0.1,0.8 0.6,1 0.9,0.7 0.9,0",
    "o": "0.5,1 0.1,0.7 0.1,0.3 0.5,0 0.9,0.3 0.9,0.7 0.5,1",
    "s": "0.9,0.9 0.4,1 0.1,0.75 0.5,0.5 0.9,0.25 0.6,0 0.1,0.1",
    "u": "0.1,1 0.1,0.3 0.4,0 0.9,0.3 0.9,1 0.9,0",
    "v": "0.1,1 0.5,0 0.9,1",
    "w": "0,1 0.25,0 0.5,0.7 0.75,0 1,1",
    "z": "0.1,1 0.9,1 0.1,0 0.9,0",
    "h": "0.1,2 0.1,0 0.1,0.8 0.6,1 0.9,0.7 0.9,0",
}
LETTERS = tuple(_SHAPES)
STEP = 0.45  # mean distance of the pen between two points
PITCH = 1.4  # distance between letters


def _corners() -> np.ndarray:
    """Returns the corners `[letters, corners, 2]`, padded by repeating the last one."""
    rows = [[tuple(map(float, p.split(","))) for p in shape.split()] for shape in _SHAPES.values()]
    longest = max(map(len, rows))
    return np.array([row + [row[-1]] * (longest - len(row)) for row in rows], np.float32)


def words(shortest: int, longest: int) -> Task:
    """Returns a task of handwritten words: x is a `Seq` of (dx, dy, lifted) `[T, 3]`, y the letters from 1, then zeros.

    Size, slant, position and every corner of a letter vary, and so does the speed of the pen, so the number of points
    does not tell where a letter ends. The pen is lifted between letters. T is large enough for the longest words.

    Args:
      shortest, longest: the range of word lengths, drawn uniformly.

    Returns:
      A task. The baseline is the loss of a predictor that knows the letter frequencies but not the pen: the entropy of
      a word, in nats.

    Example:
      >>> import jax
      >>> batch = jax.jit(lambda key: words(2, 4).batch(key, 5))(jax.random.key(0))
      >>> batch.x.x.shape, batch.y.shape
      ((5, 80, 3), (5, 4))
    """
    check_size("words: shortest", shortest)
    check_size("words: longest", longest)
    table = _corners()
    room, count = 20 * longest, table.shape[1]
    sizes = np.array([len(shape.split()) for shape in _SHAPES.values()])

    def sample(key: jax.Array) -> Batch:
        kn, kl, ks, kc, kp = jax.random.split(key, 5)
        n = jax.random.randint(kn, (), shortest, longest + 1)
        letters = jax.random.randint(kl, (longest,), 0, len(LETTERS))
        at = jnp.asarray(table)[letters]  # [longest, corners, 2]
        wide, high, slant, dx, dy = jax.random.uniform(ks, (5, longest, 1), minval=-1.0)
        x = at[..., 0] * (1 + 0.2 * wide) + 0.25 * slant * at[..., 1] + 0.1 * dx
        y = at[..., 1] * (1 + 0.2 * high) + 0.1 * dy
        x = x + PITCH * jnp.arange(longest, dtype=x.dtype)[:, None]
        noise = 0.06 * jax.random.normal(kc, (longest, count, 2))
        # A repeated corner stays repeated.
        same = jnp.minimum(jnp.arange(count)[None], jnp.asarray(sizes)[letters][:, None] - 1)
        points = jnp.stack([x, y], -1) + jnp.take_along_axis(noise, same[..., None], axis=1)
        there = (jnp.arange(longest) < n)[:, None, None]
        points = jnp.where(there, points, points[n - 1, -1][None, None]).reshape(-1, 2)
        lifted = (jnp.arange(longest * count) % count == 0).astype(x.dtype)
        return Batch(_pen(points, lifted, kp, room), jnp.where(jnp.arange(longest) < n, letters + 1, 0))

    mean = (shortest + longest) / 2
    return Task(sample, math.log(longest - shortest + 1) + mean * math.log(len(LETTERS)))


def _pen(points: jax.Array, lifted: jax.Array, key: jax.Array, room: int) -> Seq:
    """Returns points along corners `[n, 2]` at varying speed; lifted `[n]`: the pen does not write on its way there."""
    length = jnp.sqrt(jnp.square(points[1:] - points[:-1]).sum(-1))
    far = jnp.concatenate([jnp.zeros(1, points.dtype), jnp.cumsum(length)])
    at = jnp.cumsum(STEP * jax.random.uniform(key, (room,), points.dtype, 0.6, 1.4))
    way = jnp.stack([jnp.interp(at, far, points[:, i]) for i in range(2)], -1)
    before = jnp.concatenate([points[:1], way[:-1]])
    up = lifted[jnp.minimum(jnp.searchsorted(far, at), len(far) - 1)]
    x = jnp.concatenate([(way - before) / STEP, up[:, None]], -1)
    valid = at < far[-1]
    return Seq(jnp.where(valid[:, None], x, jnp.zeros_like(x)), valid)
