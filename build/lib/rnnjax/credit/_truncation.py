"""Truncation: an incoming carry with no derivative, or with one at random."""

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
    """Stops the gradient at the incoming carry: d h_{t-1} / d params = 0, with values unchanged.

    Its position determines its scope. `chunk(truncate(unroll(cell)), k)` under `jax.grad` is truncated backpropagation
    through windows of k steps, where each loss looks back to the start of its window; `unroll(truncate(cell))` looks
    back one step. A learned initial carry receives its gradient if a `Seq` restarts inside the window.

    Example: the values agree, the gradients differ.
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
    """Anticipated reweighted truncated backpropagation: truncates at random, and rescales the gradient otherwise.

        d h_{t-1} -> 0 with probability rate, else d h_{t-1} / (1 - rate)

    The gradient is unbiased and looks back 1 / rate steps on average. `unroll(random_truncate(cell, rate))` may
    truncate at any step, `chunk(random_truncate(unroll(cell), rate), k)` at every k-th.

    Args:
      cell: a single-step cell or a window cell.
      rate: in [0, 1); it may be a tracer.

    Raises:
      NotAdmitted: the gradient is computed without a key.

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
    """Returns h with its derivative multiplied by a factor."""
    frozen = lax.stop_gradient(h)
    return frozen + factor * (h - frozen)
