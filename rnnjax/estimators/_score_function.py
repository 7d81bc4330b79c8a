"""Gradients through draws, and moves without gradients."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree
from rnnjax.base._cell import weights_key
from rnnjax.cells import log_probability
from rnnjax.credit import NotAdmitted
from rnnjax.data import Batch
from rnnjax.estimators._base import Estimate, Estimator, batch_size_of
from rnnjax.losses import Metrics, Objective

MOVE_TAG = 0x0506


def score_function(cell: Cell, objective: Objective) -> Estimator:
    """The score-function gradient of networks with stochastic units, without bias.

        g = sum over examples of dL + (L - b) d log p(draws),   b = mean loss of the other examples

    The units are `binary_core(..., gradient="score")`; what else there is in the network gets its gradient dL as
    always. A batch of one has b = 0.

    Args:
      cell: a cell of windows whose carries hold `Binary` states.
      objective: (outputs, batch) -> metrics of one example, "loss" among them.

    Raises:
      ValueError: no key, or a stream whose carries go on from batch to batch.

    Example: right on average.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import data, losses
      >>> net = rnnjax.unroll(rnnjax.cells.binary_core(1, gradient="score"))
      >>> batch = data.Batch(jnp.zeros((20000, 2, 1)), jnp.zeros((20000, 2, 1)))
      >>> estimate, _ = score_function(net, losses.regress).grad({"u": jnp.zeros((1, 1))}, (), batch, jax.random.key(0))
      >>> bool(abs(estimate.mean_grads()["u"][0, 0] - 1 / 16) < 0.01)  # half of 1/2 sigmoid'(0)
      True

    Reference: Williams, Simple statistical gradient-following algorithms for connectionist reinforcement learning,
    1992.
    """

    def init(params: PyTree, batch: Batch) -> PyTree:
        check_whole_sequences("score_function", batch)
        return ()

    def grad(params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None) -> tuple[Estimate, PyTree]:
        if key is None:
            raise ValueError("score_function draws: it needs a key")
        check_whole_sequences("score_function", batch)

        def example(weights: PyTree, batch: Batch, key: jax.Array) -> tuple[Metrics, jax.Array]:
            carry, y = cell.step(weights, cell.initial_carry(weights, batch.x), batch.x, key)
            return objective(y, batch), log_probability(carry)

        def surrogate(params: PyTree) -> tuple[jax.Array, Metrics]:
            weights = cell.weights(params, weights_key(key))
            metrics, log_p = jax.vmap(partial(example, weights))(batch, jax.random.split(key, batch_size_of(batch)))
            loss = metrics["loss"].total
            others = (loss.sum() - loss) / max(batch_size_of(batch) - 1, 1)
            credit = lax.stop_gradient(loss - others) * log_p.astype(loss.dtype)
            return (loss + credit).sum(), jax.tree.map(lambda a: a.sum(0), metrics)

        grads, metrics = jax.grad(surrogate, has_aux=True)(params)
        return Estimate(grads, metrics), ()

    return Estimator(init, grad)


def check_whole_sequences(name: str, batch: Batch) -> None:
    """Refuses batches that continue others."""
    if batch.restart is not None:
        raise NotAdmitted(f"{name} takes whole sequences, not a stream whose carries go on from batch to batch")


def random_move(v: jax.Array, chosen: jax.Array, scale: Any, part: Any) -> jax.Array:
    """A part of the entries of v, by where a normal number lies, times scale."""
    return jnp.where(jax.scipy.stats.norm.cdf(chosen) < part, v * jnp.asarray(scale, v.dtype), jnp.zeros_like(v))
