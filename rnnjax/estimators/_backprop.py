"""Backpropagation through whole batches, through windows of them, and through overlapping windows."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax._deprecated import with_old_arguments
from rnnjax.base import Cell, PyTree, Seq, check_size, without_marks
from rnnjax.base._arguments import check_function
from rnnjax.base._cell import check_cell, fold, weights_key
from rnnjax.base._seq import first_step_shape
from rnnjax.data import Batch
from rnnjax.estimators._base import (
    Estimate,
    Estimator,
    batch_size_of,
    duration_of,
    initial_carries,
    keys_of,
    over_windows,
    score,
    sum_over_examples,
)
from rnnjax.losses import Metrics, Objective


@with_old_arguments
def backprop(cell: Cell, objective: Objective, truncation: int | None = None) -> Estimator:
    """Backpropagation through each batch, or, if truncated, through windows of `truncation` steps.

    With a truncation, the gradients of all windows are summed inside one loop, and no gradient flows through the carry
    between windows. The result is the gradient of `chunk(truncate(unroll(cell)), truncation)`, with the memory of one
    window. A credit wrapper in the cell applies within each window.

    If a batch has `restart`, the carry is passed from batch to batch (stateful training) and gradients stop between
    batches; otherwise every batch is a set of independent sequences.

    Args:
      cell: a window cell.
      objective: (outputs, batch) -> metrics of one example, including "loss".
      truncation: the length of a window in steps; the last may be shorter. None: the whole batch.

    Example: truncated backpropagation in two ways.
      >>> import jax, numpy as np, rnnjax
      >>> from rnnjax import losses, tasks
      >>> net = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.lstm(4), rnnjax.linear(9)))
      >>> batch = tasks.copying(5).batch(jax.random.key(0), 3)
      >>> params = net.init(jax.random.key(1), batch.x[0])
      >>> estimate, _ = backprop(net, losses.classify, truncation=10).grad(params, (), batch)
      >>> short = rnnjax.chunk(rnnjax.truncate(net), 10)
      >>> total = lambda params: score(short, losses.classify, params, (), batch)[0]["loss"].total
      >>> a, b = estimate.grads[2]["w"], jax.grad(total)(params)[2]["w"]
      >>> np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

    Reference: Williams, Peng, An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories, 1990.
    """
    check_cell("backprop", cell)
    check_function("backprop: objective", objective)
    if truncation is not None:
        check_size("backprop: truncation", truncation, 0)

    def start(params: PyTree, batch: Batch) -> PyTree:
        return initial_carries(cell, params, batch)

    def piece(
        params: PyTree, carry: PyTree, batch: Batch, key: jax.Array | None = None, axis: str | None = None
    ) -> tuple[Estimate, PyTree]:
        def loss(params: PyTree) -> tuple[jax.Array, tuple[Metrics, PyTree]]:
            metrics, after = score(cell, objective, params, lax.stop_gradient(carry), batch, key, axis)
            return metrics["loss"].total, (metrics, after)

        grads, (metrics, after) = jax.grad(loss, has_aux=True)(params)
        return Estimate(grads, metrics), after

    def whole(
        params: PyTree, carry: PyTree, batch: Batch, key: jax.Array | None = None, axis: str | None = None
    ) -> tuple[Estimate, PyTree]:
        estimate, after = piece(params, carry, batch, key, axis)
        return estimate, () if batch.restart is None else after

    windowed = over_windows(piece, start, truncation)._replace(adds=True)
    return windowed if truncation is not None else windowed._replace(grad=whole)


class _Replay(NamedTuple):
    """The past that `sliding_tbptt` stores in order to replay it, `[B, ...]`.

    Attributes:
      carry: the carry before the first of the stored steps.
      xs: the last `truncation - advance` inputs, a `Seq`: invalid before the start, `first` where an example restarted.
    """

    carry: PyTree
    xs: Seq


@with_old_arguments
def sliding_tbptt(cell: Cell, objective: Objective, advance: int, truncation: int) -> Estimator:
    """Truncated backpropagation with overlapping windows: every k1 steps, their losses propagate back through k2 steps.

    The previous k2 - k1 steps are replayed under the current params from a stored carry, which was computed with older
    params. With k1 = 1 and k2 = a + 1 each loss looks back exactly a steps; with k1 = k2 this is
    `backprop(cell, objective, k1)`. A replay draws new noise.

    Args:
      cell: a window cell that accepts plain inputs and `Seq`.
      objective: (outputs, batch) -> metrics of one example, including "loss".
      advance: k1, the number of steps from one estimate to the next.
      truncation: k2, the largest number of steps a loss looks back, including its own; at least k1.

    Raises:
      ValueError: advance is below 1, or truncation is below advance.

    Example: look back over the whole sequence.
      >>> import jax, numpy as np, rnnjax
      >>> from rnnjax import losses, tasks
      >>> net = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.vanilla(4), rnnjax.linear(9)))
      >>> batch = tasks.copying(5).batch(jax.random.key(0), 3)
      >>> params = net.init(jax.random.key(1), batch.x[0])
      >>> estimate, _ = sliding_tbptt(net, losses.classify, advance=5, truncation=25).grad(params, (), batch)
      >>> exact, _ = backprop(net, losses.classify).grad(params, (), batch)
      >>> np.testing.assert_allclose(estimate.grads[1][1]["u"], exact.grads[1][1]["u"], rtol=1e-3, atol=1e-5)

    Reference: Williams, Peng, An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories, 1990 (BPTT(h; h')).
    """
    check_cell("sliding_tbptt", cell)
    check_function("sliding_tbptt: objective", objective)
    check_size("sliding_tbptt: advance", advance)
    check_size("sliding_tbptt: truncation", truncation)
    if advance > truncation:
        raise ValueError(f"sliding_tbptt needs advance <= truncation, got advance={advance}, truncation={truncation}")
    past = truncation - advance

    def start(params: PyTree, batch: Batch) -> _Replay:
        x = first_step_shape(first_step_shape(without_marks(batch.x)))
        b = batch_size_of(batch)
        xs = jax.tree.map(lambda a: jnp.zeros((b, past, *a.shape), a.dtype), x)
        return _Replay(
            initial_carries(cell, params, batch), Seq(xs, jnp.zeros((b, past), bool), jnp.zeros((b, past), bool))
        )

    def piece(
        params: PyTree, state: _Replay, batch: Batch, key: jax.Array | None = None, axis: str | None = None
    ) -> tuple[Estimate, _Replay]:
        xs, r = _join_past(state.xs, batch), duration_of(batch)
        keys = keys_of(key, batch, axis)

        def example(
            weights: PyTree, carry: PyTree, xs: Seq, batch: Batch, key: jax.Array | None
        ) -> tuple[Metrics, PyTree]:
            def part(carry: PyTree, begin: int, end: int, tag: int) -> tuple[PyTree, PyTree]:
                return cell.step(weights, carry, jax.tree.map(lambda a: a[begin:end], xs), fold(key, tag))

            after, ys = part(lax.stop_gradient(carry), 0, r, 0)
            if past:
                ys = jax.tree.map(lambda a, b: jnp.concatenate([a, b])[past:], ys, part(after, r, past + r, 1)[1])
            return objective(ys if isinstance(batch.x, Seq) else without_marks(ys), batch), after

        def loss(params: PyTree) -> tuple[jax.Array, tuple[Metrics, PyTree]]:
            weights = cell.weights(params, weights_key(key))
            metrics, after = jax.vmap(partial(example, weights))(state.carry, xs, batch, keys)
            metrics = sum_over_examples(metrics)
            return metrics["loss"].total, (metrics, after)

        grads, (metrics, after) = jax.grad(loss, has_aux=True)(params)
        return Estimate(grads, metrics), _Replay(after, jax.tree.map(lambda a: a[:, r:], xs))

    return over_windows(piece, start, advance)._replace(adds=True)


def _join_past(past: Seq, batch: Batch) -> Seq:
    """Joins past and new inputs of each example; one that restarts loses its past and is marked."""
    new = batch.x if isinstance(batch.x, Seq) else Seq(batch.x)
    b, r = batch_size_of(batch), duration_of(batch)
    valid = jnp.ones((b, r), bool) if new.valid is None else new.valid.astype(bool)
    first = jnp.zeros((b, r), bool) if new.first is None else new.first.astype(bool)
    first = first.at[:, 0].set(first[:, 0] | batch.restart)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), past, Seq(new.x, valid, first))
