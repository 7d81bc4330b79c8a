"""Simulated annealing and its temperature schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_positive
from rnnjax.base._arguments import check_function
from rnnjax.base._cell import check_cell
from rnnjax.data import Batch
from rnnjax.estimators._base import Estimate, Estimator, score
from rnnjax.estimators._evolution import directions
from rnnjax.estimators._score_function import MOVE_TAG, check_whole_sequences, random_move
from rnnjax.losses import Objective


def exponential_cooling(first: Any = 0.1, pace: Any = 500.0) -> Callable[[jax.Array], jax.Array]:
    """Returns a temperature that decays exponentially: first exp(- i / pace).

    Example:
      >>> round(float(exponential_cooling(1.0, 10.0)(10)), 3)
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
    """Simulated annealing: a random move of the params, accepted if the loss falls, and sometimes if it rises.

        v ~ N(0, scale^2) in each number with probability part, else 0;
        params + v with probability min(1, exp(- (L(params + v) - L(params)) / temperature(i)))

    No derivative is taken, so units may have thresholds and the loss may count mistakes. Both losses use the same batch
    and the same noise. The "gradient" is minus the move, for gradient descent at rate 1 without clipping:
    `optax.sgd(1.0)`, or `--rule=anneal --optimizer=sgd --learning_rate=1 --clip_norm=0`.

    Args:
      cell: a window cell.
      objective: (outputs, batch) -> metrics of one example, including "loss"; its mean is the energy.
      temperature: a function of the number of moves tried so far; None: `exponential_cooling()`.
      scale: the size of a move; it may be a tracer.
      part: the fraction of the numbers that a move changes; it may be a tracer.

    Raises:
      ValueError: there is no key, or the stream passes carries from batch to batch.

    Example: find the minimum of a parabola from its values.
      >>> import jax, jax.numpy as jnp, optax, rnnjax
      >>> from rnnjax import data, losses, training
      >>> cell = rnnjax.unroll(rnnjax.linear(1, bias=False))
      >>> batch = data.Batch(jnp.ones((1, 1, 1)), jnp.full((1, 1, 1), 2.0))
      >>> stream = data.Stream(lambda data: (), lambda data, position, key: (batch, ()))
      >>> trainer = training.Trainer(cell, anneal(cell, losses.regress), optax.sgd(1.0), stream)
      >>> progress = jax.jit(lambda key: training.init(trainer, (), key))(jax.random.key(0))
      >>> progress = jax.jit(lambda progress: training.loop(trainer, progress, (), 2000))(progress)
      >>> bool(abs(progress.state.params["w"][0, 0] - 2) < 0.1)
      True

    Reference: Kirkpatrick, Gelatt, Vecchi, Optimization by simulated annealing, 1983.
    """
    check_cell("anneal", cell)
    check_function("anneal: objective", objective)
    check_positive("anneal: scale", scale)
    check_number("anneal: part", part, 0, 1, without=(0,))
    heat = exponential_cooling() if temperature is None else temperature

    def init(params: PyTree, batch: Batch) -> jax.Array:
        check_whole_sequences("anneal", batch)
        return jnp.zeros((), jnp.float32)

    def grad(params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None) -> tuple[Estimate, PyTree]:
        if key is None:
            raise ValueError("anneal is random: it needs a key")
        check_whole_sequences("anneal", batch)
        chosen = directions(jax.random.fold_in(key, MOVE_TAG + 1), params, 1)
        move = jax.tree.map(lambda v, c: random_move(v[0], c[0], scale, part), directions(key, params, 1), chosen)
        here, there = (
            score(cell, objective, p, (), batch, key)[0] for p in (params, jax.tree.map(jnp.add, params, move))
        )
        rise = (there["loss"].value() - here["loss"].value()).astype(jnp.float32)
        chance = -jnp.log(jax.random.uniform(jax.random.fold_in(key, MOVE_TAG), minval=1e-30))
        moves = rise < chance * jnp.asarray(heat(state), jnp.float32)
        count = jnp.maximum(here["loss"].weight, 1)
        grads = jax.tree.map(lambda v: jnp.where(moves, -v * count.astype(v.dtype), jnp.zeros_like(v)), move)
        metrics = jax.tree.map(lambda a, b: jnp.where(moves, b, a), here, there)
        return Estimate(grads, metrics), state + 1

    return Estimator(init, grad)
