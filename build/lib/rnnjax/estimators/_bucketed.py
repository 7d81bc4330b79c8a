"""Batches of different lengths in one program: each is cut to the shortest of a few lengths that fits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import PyTree, Seq
from rnnjax.data import Batch
from rnnjax.estimators._base import Estimate, Estimator


def bucketed(estimator: Estimator, lengths: Sequence[int]) -> Estimator:
    """Returns an estimator that skips padding common to the whole batch.

    Batches are padded to the longest sequence of the data. Only the first n steps are computed, where n is the smallest
    length that includes every step that counts; the program has a branch for each length. The gradient is unchanged.
    The saving is largest if the sequences within a batch have similar lengths (`data.streams.alike`).

    Args:
      estimator: an estimator for batches without `restart` that have a mask, or a `Seq` input with valid marks.
      lengths: ascending; a batch longer than the last is processed whole.

    Raises:
      ValueError: at the first batch, if it has neither a mask nor valid marks, or if it has `restart`.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> from rnnjax import data, estimators, losses
      >>> net = rnnjax.unroll(rnnjax.vanilla(2))
      >>> plain = estimators.backprop(net, losses.regress)
      >>> xs = rnnjax.Seq(jnp.ones((3, 9, 2)), jnp.broadcast_to(jnp.arange(9) < 4, (3, 9)))
      >>> batch, params = data.Batch(xs, xs.x), net.init(jax.random.key(0), xs.x[0])
      >>> a, b = (e.grad(params, (), batch)[0].grads[1]["u"] for e in (plain, bucketed(plain, [2, 5])))
      >>> np.testing.assert_allclose(a, b, rtol=1e-5)
    """

    def grad(
        params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None, *axis: str
    ) -> tuple[Estimate, PyTree]:
        def within(n: int, _: Any) -> tuple[Estimate, PyTree]:
            return estimator.grad(params, state, _truncate_batch(batch, n), key, *axis)

        whole = max(a.shape[1] for a in jax.tree.leaves(batch) if a.ndim > 1)
        sizes = [n for n in lengths if n < whole] + [whole]
        bucket = jnp.searchsorted(jnp.array(sizes), _used_steps(batch))
        return lax.switch(bucket, [partial(within, n) for n in sizes], ())

    return estimator._replace(grad=grad)


def _step_marks(batch: Batch) -> list[jax.Array]:
    """Returns the arrays `[B, T]` that mark which steps of a batch count."""
    nodes = jax.tree.leaves(batch.x, is_leaf=lambda node: isinstance(node, Seq))
    marks = [node.valid for node in nodes if isinstance(node, Seq) and node.valid is not None]
    marks += [] if batch.mask is None else [batch.mask]
    if not marks or batch.restart is not None:
        raise ValueError("bucketed needs batches of fresh sequences with steps marked as valid, or with a mask")
    return marks


def _used_steps(batch: Batch) -> jax.Array:
    """Returns the number of steps of a batch beyond which nothing counts."""
    return jnp.stack([jnp.max(jnp.where(m, 1 + jnp.arange(m.shape[1])[None], 0)) for m in _step_marks(batch)]).max()


def _truncate_batch(batch: Batch, n: int) -> Batch:
    """Returns the first n steps of each example."""
    return jax.tree.map(lambda a: a[:, :n] if a.ndim > 1 else a, batch)
