"""Truncation: the incoming carry with no derivative at all, or with one that is there by chance."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, check_rate, tree_where, with_step, wrapper
from rnnjax.credit._attached import of_window, without_key

_ARTBP_TAG = 0x0504


@wrapper
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

    return with_step(cell, step).replace(output=cell.output)


@wrapper
def random_truncate(cell: Cell, rate: Any) -> Cell:
    """Anticipated reweighted truncated backpropagation: forgets at random, and makes up for it where it does not.

        d h_{t-1} -> 0 with probability rate, else d h_{t-1} / (1 - rate)

    The gradient is unbiased, and looks back 1 / rate steps on average. `unroll(random_truncate(cell, rate))` may forget
    at any step, `chunk(random_truncate(unroll(cell), rate), k)` at every k-th.

    Args:
      cell: of one step, or of windows.
      rate: in [0, 1), perhaps a tracer.

    Raises:
      NotAdmitted: its gradient is asked for without a key.

    Example: the mean over many keys.
      >>> import jax, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (3, 2))
      >>> cell = rnnjax.vanilla(2)
      >>> params = cell.init(jax.random.key(1), xs[0])
      >>> def gradient(cell, key):
      ...     return jax.grad(lambda p: rnnjax.run(rnnjax.unroll(cell), p, xs, key=key)[1][-1].sum())(params)[1]["u"]
      >>> keys = jax.random.split(jax.random.key(2), 4000)
      >>> guess = jax.vmap(lambda key: gradient(random_truncate(cell, 0.3), key))(keys).mean(0)
      >>> bool(abs(guess - gradient(cell, None)).max() < 0.05)
      True

    Reference: Tallec, Ollivier, Unbiasing truncated backpropagation through time, 2017.
    """
    check_rate("random_truncate: rate", rate)

    def step(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        if key is None:
            return cell.step(w, without_key(w, carry), x, key)
        forgets = jax.random.bernoulli(of_window(key, _ARTBP_TAG), jnp.asarray(rate, jnp.float32))
        made_up = jax.tree.map(lambda h: _rescaled(h, 1 / (1 - jnp.asarray(rate, h.dtype))), carry)
        return cell.step(w, tree_where(forgets, lax.stop_gradient(carry), made_up), x, key)

    return with_step(cell, step).replace(output=cell.output)


def _rescaled(h: jax.Array, factor: jax.Array) -> jax.Array:
    """h, its derivative multiplied by a factor."""
    still = lax.stop_gradient(h)
    return still + factor * (h - still)
