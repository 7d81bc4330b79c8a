"""Score-function gradients through random draws, and random moves."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree
from rnnjax.base._arguments import check_function
from rnnjax.base._cell import check_cell, weights_key
from rnnjax.cells import log_probability
from rnnjax.credit import NotAdmitted
from rnnjax.data import Batch
from rnnjax.estimators._base import Estimate, Estimator, batch_size_of, sum_over_examples
from rnnjax.losses import Metrics, Objective

MOVE_TAG = 0x0506


def score_function(cell: Cell, objective: Objective) -> Estimator:
    """Returns the unbiased score-function gradient of networks with stochastic units.

        g = sum over examples of dL + (L - b) d log p(draws),   b = mean loss of the other examples

    The units are `binary_core(..., gradient="score")`; the rest of the network receives the usual gradient dL. A batch
    of one has b = 0.

    Args:
      cell: a window cell whose carries hold `Binary` states.
      objective: (outputs, batch) -> metrics of one example, including "loss".

    Raises:
      ValueError: there is no key, or the stream passes carries from batch to batch.

    Example: the estimate is correct on average.
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
    check_cell("score_function", cell)
    check_function("score_function: objective", objective)

    def init(params: PyTree, batch: Batch) -> PyTree:
        check_whole_sequences("score_function", batch)
        return ()

    def grad(params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None) -> tuple[Estimate, PyTree]:
        if key is None:
            raise ValueError("score_function is random: it needs a key")
        check_whole_sequences("score_function", batch)

        def example(weights: PyTree, batch: Batch, key: jax.Array) -> tuple[Metrics, jax.Array]:
            carry, y = cell.step(weights, cell.initial_carry(weights, batch.x), batch.x, key)
            return objective(y, batch), log_probability(carry)

        def surrogate(params: PyTree) -> tuple[jax.Array, Metrics]:
            weights = cell.weights(params, weights_key(key))
            metrics, log_p = jax.vmap(partial(example, weights))(batch, jax.random.split(key, batch_size_of(batch)))
            loss = metrics["loss"].total
            baseline = (loss.sum() - loss) / max(batch_size_of(batch) - 1, 1)
            credit = lax.stop_gradient(loss - baseline) * log_p.astype(loss.dtype)
            return (loss + credit).sum(), sum_over_examples(metrics)

        grads, metrics = jax.grad(surrogate, has_aux=True)(params)
        return Estimate(grads, metrics), ()

    return Estimator(init, grad)


def check_whole_sequences(name: str, batch: Batch) -> None:
    """Rejects batches that continue previous ones."""
    if batch.restart is not None:
        raise NotAdmitted(f"{name} takes whole sequences, not a stream that passes carries from batch to batch")


def random_move(v: jax.Array, chosen: jax.Array, scale: Any, part: Any) -> jax.Array:
    """Returns the normal numbers v times scale, and 0 for all but a random fraction of the entries."""
    return jnp.where(jax.scipy.stats.norm.cdf(chosen) < part, v * jnp.asarray(scale, v.dtype), jnp.zeros_like(v))
