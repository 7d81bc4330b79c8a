"""Credit assignment: Cell -> Cell with another derivative and the same values."""

from __future__ import annotations

import jax
from jax import lax

from rnnjax.base import Cell, PyTree, with_step


def truncate(cell: Cell) -> Cell:
    """Forgets how the incoming carry came about: d h_{t-1} / d params = 0, the values unchanged.

    Where it stands is its scope. `chunk(truncate(unroll(cell)), k)` under `jax.grad` is truncated backpropagation
    through windows of k steps, each loss looking back to the start of its window; `unroll(truncate(cell))` looks
    back one step. A learned initial carry gets its gradient where a `Seq` starts anew inside the window.

    Example: a gradient of values that agree.
      >>> import jax, numpy as np, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> exact = rnnjax.unroll(rnnjax.vanilla(4))
      >>> params = exact.init(jax.random.key(1), xs)
      >>> short = rnnjax.chunk(truncate(exact), 3)
      >>> loss = lambda cell: lambda params: (rnnjax.run(cell, params, xs)[1] ** 2).sum()
      >>> np.testing.assert_allclose(loss(short)(params), loss(exact)(params), rtol=1e-6)
      >>> a, b = jax.grad(loss(short))(params), jax.grad(loss(exact))(params)
      >>> bool(abs(a[1]["u"] - b[1]["u"]).max() > 1e-3)
      True

    Reference: Williams, Peng, An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories, 1990.
    """

    def step(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        return cell.step(w, lax.stop_gradient(carry), x, key)

    return with_step(cell, step)
