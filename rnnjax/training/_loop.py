"""A jitted training loop: many steps per call, with the whole state of the run in one donated pytree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from rnnjax.base import Cell, PyTree, check_size
from rnnjax.base._arguments import check_function, check_is
from rnnjax.base._cell import check_cell
from rnnjax.base._misfits import check_key
from rnnjax.base._numerics import at_least_single
from rnnjax.base._seq import tree_zeros
from rnnjax.data import Batch, Stream
from rnnjax.estimators import Estimate, Estimator, score
from rnnjax.estimators._base import initial_carries
from rnnjax.losses import Mean, Metrics, Objective
from rnnjax.training._average import averaged


class TrainState(NamedTuple):
    """The state of a run. Together with the data it determines the rest of the run bit for bit.

    Attributes:
      step: the number of updates so far.
      params: the parameters.
      opt_state: the state of the optimiser.
      estimator: the state of the gradient estimator: carries, influences, perturbations.
      position: the position in the data stream.
      key: the key of the run; step s uses fold_in(key, s).
    """

    step: jax.Array
    params: PyTree
    opt_state: PyTree
    estimator: PyTree
    position: PyTree
    key: jax.Array

    @property
    def averaged(self) -> PyTree:
        """The parameters to evaluate: their moving average if the optimiser keeps one, see `average_params`."""
        return averaged(self.opt_state, self.params)


class Progress(NamedTuple):
    """A run in progress: the argument and result of the loop, and the content of a checkpoint.

    Attributes:
      state: the state after the last step.
      metrics: sums of the metrics since they were last reset.
      finite: whether loss and gradient have been finite so far; if not, the last step was the first that was not.
    """

    state: TrainState
    metrics: Metrics
    finite: jax.Array


class Trainer(NamedTuple):
    """The parts of a training run, all pure.

    Attributes:
      cell: a window cell.
      estimator: estimates the gradient of the objective.
      optimizer: an optax optimiser.
      stream: the stream of training batches.
      accumulate: batches of one update, whose gradients are added before the optimiser sees their mean. Sums and
        numbers of losses add up, so masked batches count as in one batch of all their examples. An estimator that
        carries state passes it from batch to batch.
    """

    cell: Cell
    estimator: Estimator
    optimizer: optax.GradientTransformation
    stream: Stream
    accumulate: int = 1


def init(trainer: Trainer, data: PyTree, key: jax.Array) -> Progress:
    """Returns the run before its first step. Call it under jit; otherwise leaves may share a buffer and block donation.

    Example:
      >>> import jax, optax, rnnjax
      >>> from rnnjax import estimators, losses, tasks
      >>> cell = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.vanilla(4), rnnjax.linear(9)))
      >>> estimator = estimators.backprop(cell, losses.classify)
      >>> trainer = Trainer(cell, estimator, optax.sgd(1e-1), tasks.task_stream(tasks.copying(5), 8))
      >>> progress = jax.jit(lambda key: init(trainer, (), key))(jax.random.key(0))
      >>> progress = jax.jit(lambda progress, n: loop(trainer, progress, (), n))(progress, 20)
      >>> int(progress.state.step), bool(progress.finite)
      (20, True)
    """
    check_is("training.init: trainer", trainer, Trainer)
    check_key(key)
    check_cell("training.init: Trainer", trainer.cell)
    check_is("Trainer: estimator", trainer.estimator, Estimator)
    check_is("Trainer: optimizer", trainer.optimizer, optax.GradientTransformation)
    check_is("Trainer: stream", trainer.stream, Stream)
    check_size("Trainer: accumulate", trainer.accumulate)
    run_key, params_key = jax.random.split(key)
    position = trainer.stream.init(data)
    batch = jax.eval_shape(lambda data: trainer.stream.next(data, position, run_key)[0], data)
    example = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), batch.x)
    params = trainer.cell.init(params_key, example)
    opt_state, carries = trainer.optimizer.init(params), trainer.estimator.init(params, batch)
    state = TrainState(jnp.zeros((), jnp.int32), params, opt_state, carries, position, run_key)
    metrics = tree_zeros(jax.eval_shape(lambda s: step(trainer, s, data)[1], state))
    return Progress(state, metrics, jnp.asarray(True))


def step(trainer: Trainer, state: TrainState, data: PyTree) -> tuple[TrainState, Metrics]:
    """Runs one update. The metrics are those of the objective and the norm of the mean gradient."""
    estimate, carries, position = _estimate(trainer, state, data)
    grads = estimate.mean_grads()
    optimizer = optax.with_extra_args_support(trainer.optimizer)
    value = estimate.metrics["loss"].value()
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params, value=value)
    params = optax.apply_updates(state.params, updates)
    norm = optax.tree.norm(jax.tree.map(at_least_single, grads))
    metrics = estimate.metrics | {"grad_norm": Mean(norm, jnp.ones_like(norm))}
    return TrainState(state.step + 1, params, opt_state, carries, position, state.key), metrics


class Piece(NamedTuple):
    """The gradient of one batch, and what it was computed from."""

    batch: Batch
    carry: PyTree
    estimate: Estimate
    next_carry: PyTree
    position: PyTree


def estimate_batch(
    trainer: Trainer, state: TrainState, data: PyTree, carry: PyTree, position: PyTree, number: Any
) -> Piece:
    """Returns the gradient of a batch of the next update, from a carry and a position on; its number counts from 0."""
    data_key, noise_key = jax.random.split(jax.random.fold_in(state.key, state.step))
    if trainer.accumulate > 1:  # the first batch has the keys that it has alone
        data_key, noise_key = (
            jax.tree.map(lambda a, b: jnp.where(number == 0, a, b), key, jax.random.fold_in(key, number))
            for key in (data_key, noise_key)
        )
    batch, after = trainer.stream.next(data, position, data_key)
    estimate, carries = trainer.estimator.grad(state.params, carry, batch, noise_key)
    return Piece(batch, carry, estimate, carries, after)


def _estimate(trainer: Trainer, state: TrainState, data: PyTree) -> tuple[Estimate, PyTree, PyTree]:
    """Returns the sum of the gradients of the batches of an update, the carries and the position after them."""

    def body(i: Any, at: tuple[Estimate, PyTree, PyTree]) -> tuple[Estimate, PyTree, PyTree]:
        piece = estimate_batch(trainer, state, data, *at[1:], i)
        return jax.tree.map(jnp.add, at[0], piece.estimate), piece.next_carry, piece.position

    before = state.estimator, state.position
    if trainer.accumulate == 1:
        alone = estimate_batch(trainer, state, data, *before, 0)
        return alone.estimate, alone.next_carry, alone.position
    like = jax.eval_shape(lambda: estimate_batch(trainer, state, data, *before, 0).estimate)
    return lax.fori_loop(0, trainer.accumulate, body, (tree_zeros(like), *before))


def loop(trainer: Trainer, progress: Progress, data: PyTree, n: Any) -> Progress:
    """Runs n steps in one call; it stops early at a loss or gradient that is not finite.

    n is an array and not a static argument, so every n runs the same compiled program, and the result does not depend
    on where a run is split. Jit it with `progress` donated.

    Example: ten steps of regression to a constant.
      >>> import rnnjax
      >>> from rnnjax import estimators, losses, tasks
      >>> cell = rnnjax.unroll(rnnjax.stack(rnnjax.gru(4), rnnjax.linear(1)))
      >>> estimator = estimators.backprop(cell, losses.regress)
      >>> trainer = Trainer(cell, estimator, optax.sgd(1e-2), tasks.task_stream(tasks.adding(6), 8))
      >>> progress = jax.jit(lambda key: init(trainer, (), key))(jax.random.key(0))
      >>> int(jax.jit(lambda p: loop(trainer, p, (), 10))(progress).state.step)
      10
    """

    check_is("training.loop: trainer", trainer, Trainer)
    check_is("training.loop: progress", progress, Progress)
    check_size("training.loop: n", n, 0)

    def body(at: tuple[Progress, jax.Array]) -> tuple[Progress, jax.Array]:
        progress, done = at
        state, metrics = step(trainer, progress.state, data)
        return Progress(state, jax.tree.map(jnp.add, progress.metrics, metrics), _finite(metrics)), done + 1

    def more(at: tuple[Progress, jax.Array]) -> jax.Array:
        return (at[1] < n) & at[0].finite

    return lax.while_loop(more, body, (progress, jnp.zeros((), jnp.int32)))[0]


def _finite(metrics: Metrics) -> jax.Array:
    """Returns whether the loss and the norm of the gradient are finite."""
    return jnp.isfinite(metrics["loss"].total) & jnp.isfinite(metrics["grad_norm"].total)


def evaluate(cell: Cell, objective: Objective, stream: Stream) -> Callable[..., Metrics]:
    """Returns a function (params, data, key) -> metrics that evaluates one pass over a stream.

    The same key gives the same examples. Noise is off. If batches have `restart`, the carry is passed from batch to
    batch. An optional fourth argument replaces the stream's number of batches; it may be a tracer, so that one compiled
    program evaluates any number of batches.

    Example:
      >>> import jax, rnnjax
      >>> from rnnjax import losses, tasks
      >>> cell = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.vanilla(4), rnnjax.linear(9)))
      >>> stream = tasks.task_stream(tasks.copying(5), batch_size=8, length=3)
      >>> params = cell.init(jax.random.key(0), stream.next((), (), jax.random.key(0))[0].x[0])
      >>> metrics = evaluate(cell, losses.classify, stream)(params, (), jax.random.key(1))
      >>> float(metrics["loss"].weight)  # 3 batches of 8 examples of 25 steps
      600.0
    """
    check_cell("evaluate", cell)
    check_function("evaluate: objective", objective)
    check_is("evaluate: stream", stream, Stream)

    def whole(params: PyTree, data: PyTree, key: jax.Array, length: Any = stream.length) -> Metrics:
        def body(i: jax.Array, progress: tuple[PyTree, PyTree, Metrics]) -> tuple[PyTree, PyTree, Metrics]:
            position, carry, total = progress
            batch, position = stream.next(data, position, jax.random.fold_in(key, i))
            metrics, after = score(cell, objective, params, carry, batch)
            return position, () if batch.restart is None else after, jax.tree.map(jnp.add, total, metrics)

        position = stream.init(data)
        batch = jax.eval_shape(lambda data: stream.next(data, position, key)[0], data)
        carry = () if batch.restart is None else initial_carries(cell, params, batch)
        nothing = tree_zeros(jax.eval_shape(lambda b: score(cell, objective, params, carry, b)[0], batch))
        return lax.fori_loop(0, length, body, (position, carry, nothing))[2]

    return whole
