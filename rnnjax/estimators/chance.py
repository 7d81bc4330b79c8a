"""Gradients through draws, and moves without gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, weights_key
from rnnjax.errors import UserError
from rnnjax.estimators.base import Estimate, Estimator, score, size
from rnnjax.estimators.directions import directions
from rnnjax.losses import Batch, Metrics, Objective
from rnnjax.stochastic import log_probability

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
      UserError: no key, or a stream whose carries go on from batch to batch.

    Example: right on average.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import losses
      >>> net = rnnjax.unroll(rnnjax.stochastic.binary_core(1, gradient="score"))
      >>> batch = losses.Batch(jnp.zeros((20000, 2, 1)), jnp.zeros((20000, 2, 1)))
      >>> estimate, _ = score_function(net, losses.regress).grad({"u": jnp.zeros((1, 1))}, (), batch, jax.random.key(0))
      >>> bool(abs(estimate.mean_grads()["u"][0, 0] - 1 / 16) < 0.01)  # half of 1/2 sigmoid'(0)
      True

    Reference: Williams, Simple statistical gradient-following algorithms for connectionist reinforcement learning,
    1992.
    """

    def init(params: PyTree, batch: Batch) -> PyTree:
        whole("score_function", batch)
        return ()

    def grad(params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None) -> tuple[Estimate, PyTree]:
        if key is None:
            raise UserError("score_function draws: it needs a key")
        whole("score_function", batch)

        def example(weights: PyTree, batch: Batch, key: jax.Array) -> tuple[Metrics, jax.Array]:
            carry, y = cell.step(weights, cell.initial_carry(weights, batch.x), batch.x, key)
            return objective(y, batch), log_probability(carry)

        def surrogate(params: PyTree) -> tuple[jax.Array, Metrics]:
            weights = cell.weights(params, weights_key(key))
            metrics, log_p = jax.vmap(partial(example, weights))(batch, jax.random.split(key, size(batch)))
            loss = metrics["loss"].total
            others = (loss.sum() - loss) / max(size(batch) - 1, 1)
            credit = lax.stop_gradient(loss - others) * log_p.astype(loss.dtype)
            return (loss + credit).sum(), jax.tree.map(lambda a: a.sum(0), metrics)

        grads, metrics = jax.grad(surrogate, has_aux=True)(params)
        return Estimate(grads, metrics), ()

    return Estimator(init, grad)


def whole(name: str, batch: Batch) -> None:
    """Refuses batches that continue others."""
    if batch.restart is not None:
        raise UserError(f"{name} takes whole sequences, not a stream whose carries go on from batch to batch")


def cooling(first: Any = 0.1, pace: Any = 500.0) -> Callable[[jax.Array], jax.Array]:
    """Temperatures that fall exponentially: first exp(- i / pace).

    Example:
      >>> round(float(cooling(1.0, 10.0)(10)), 3)
      0.368
    """
    return lambda i: jnp.asarray(first, jnp.float32) * jnp.exp(-jnp.asarray(i, jnp.float32) / pace)


def anneal(
    cell: Cell,
    objective: Objective,
    temperature: Callable[[jax.Array], Any] | None = None,
    scale: Any = 0.1,
    part: Any = 1.0,
) -> Estimator:
    """Simulated annealing: a random move of the params, made if the loss falls, and sometimes if it rises.

        v ~ N(0, scale^2) in each number with probability part, else 0;
        params + v with probability min(1, exp(- (L(params + v) - L(params)) / temperature(i)))

    No derivative is taken, so that units may be thresholds and losses counts of mistakes; both losses are of the same
    batch and the same noise. The "gradient" is minus the move, for plain gradient descent at rate 1 without clipping:
    `optax.sgd(1.0)`, or `--rule=anneal --optimizer=sgd --learning_rate=1 --clip_norm=0`.

    Args:
      cell: a cell of windows.
      objective: (outputs, batch) -> metrics of one example, "loss" among them; its mean is the energy.
      temperature: from the number of moves tried so far; None: `cooling()`.
      scale: size of a move, perhaps a tracer.
      part: of the numbers that a move changes, perhaps a tracer.

    Raises:
      UserError: no key, or a stream whose carries go on from batch to batch.

    Example: the bottom of a parabola, from its values.
      >>> import jax, jax.numpy as jnp, optax, rnnjax
      >>> from rnnjax import losses, training
      >>> cell = rnnjax.unroll(rnnjax.linear(1, bias=False))
      >>> batch = losses.Batch(jnp.ones((1, 1, 1)), jnp.full((1, 1, 1), 2.0))
      >>> stream = training.Stream(lambda data: (), lambda data, position, key: (batch, ()))
      >>> trainer = training.Trainer(cell, anneal(cell, losses.regress), optax.sgd(1.0), stream)
      >>> progress = jax.jit(lambda key: training.init(trainer, (), key))(jax.random.key(0))
      >>> progress = jax.jit(lambda progress: training.loop(trainer, progress, (), 2000))(progress)
      >>> bool(abs(progress.state.params["w"][0, 0] - 2) < 0.1)
      True

    Reference: Kirkpatrick, Gelatt, Vecchi, Optimization by simulated annealing, 1983.
    """
    heat = cooling() if temperature is None else temperature

    def init(params: PyTree, batch: Batch) -> jax.Array:
        whole("anneal", batch)
        return jnp.zeros((), jnp.float32)

    def grad(params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None) -> tuple[Estimate, PyTree]:
        if key is None:
            raise UserError("anneal moves at random: it needs a key")
        whole("anneal", batch)
        chosen = directions(jax.random.fold_in(key, MOVE_TAG + 1), params, 1)
        move = jax.tree.map(lambda v, c: moved(v[0], c[0], scale, part), directions(key, params, 1), chosen)
        here, there = (score(cell, objective, p, (), batch, key)[0]
                       for p in (params, jax.tree.map(jnp.add, params, move)))  # fmt: skip
        rise = (there["loss"].value() - here["loss"].value()).astype(jnp.float32)
        chance = -jnp.log(jax.random.uniform(jax.random.fold_in(key, MOVE_TAG), minval=1e-30))
        moves = rise < chance * jnp.asarray(heat(state), jnp.float32)
        count = jnp.maximum(here["loss"].weight, 1)
        grads = jax.tree.map(lambda v: jnp.where(moves, -v * count.astype(v.dtype), jnp.zeros_like(v)), move)
        metrics = jax.tree.map(lambda a, b: jnp.where(moves, b, a), here, there)
        return Estimate(grads, metrics), state + 1

    return Estimator(init, grad)


def moved(v: jax.Array, chosen: jax.Array, scale: Any, part: Any) -> jax.Array:
    """A part of the entries of v, by where a normal number lies, times scale."""
    return jnp.where(jax.scipy.stats.norm.cdf(chosen) < part, v * jnp.asarray(scale, v.dtype), jnp.zeros_like(v))
