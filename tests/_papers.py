"""What the tests of cells beside their papers share: sizes, inputs, and the equations of a paper step by step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from _helpers import draw, moved

D, H = 3, 4


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def state(step):
    """A cell whose state is its output."""

    def whole(p, z, h):
        h = step(p, z, np.zeros(H) if h is None else h)
        return h, h

    return whole


def given(cell, steps):
    """Inputs of some steps in double precision, and params away from where they start."""
    xs = draw((steps, D), jnp.float64)
    return xs, moved(cell.init(jax.random.key(3), xs[0]), 0.1)


def by_paper(step, params, xs):
    """The outputs of (params, z, state) -> (state, y), where z is the linear map of the input if the cell has one."""
    zs, p, s, ys = np.asarray(xs), jax.tree.map(np.asarray, params), None, []
    if isinstance(p, tuple):
        affine, p = p
        zs = zs @ affine["w"] + affine.get("b", 0)
    for z in zs:
        s, y = step(p, z, s)
        ys.append(y)
    return np.stack(ys)
