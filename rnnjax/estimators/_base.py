"""Gradients of a stream, computed window by window in memory that does not grow with the length of the stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, tree_where, without_marks
from rnnjax.base._arguments import check_function
from rnnjax.base._cell import check_cell, fold, weights_key
from rnnjax.base._seq import first_step_shape, num_steps, tree_zeros
from rnnjax.data import Batch
from rnnjax.losses import Metrics, Objective

_T = TypeVar("_T")
EXAMPLES = "examples"  # the mesh axis along which a batch is sharded


class Estimate(NamedTuple):
    """A gradient and metrics; estimates of parts can be added.

    Attributes:
      grads: the gradient of the sum of the losses that count, shaped as params.
      metrics: name -> `Mean`; "loss" is the one that was differentiated.
    """

    grads: PyTree
    metrics: Metrics

    def mean_grads(self) -> PyTree:
        """Returns the gradient of the mean loss; zero if no loss counts."""
        count = jnp.maximum(self.metrics["loss"].weight, 1)
        return jax.tree.map(lambda g: g / count.astype(g.dtype), self.grads)


class _Init(Protocol):
    """(params, batch) -> state."""

    def __call__(self, params: PyTree, batch: Batch, /) -> PyTree: ...


# (params, state, batch, key) -> (estimate, state); where parts of a batch add up, (..., key, axis) too.
_Grad = Callable[..., tuple[Estimate, PyTree]]


class Estimator(NamedTuple):
    """A gradient estimator: an initial state and a function that processes one window at a time.

    Attributes:
      init: (params, batch) -> state; only the shapes of the batch are used.
      grad: (params, state, batch, key=None) -> (Estimate, state).
      adds: whether estimates of parts of a batch add up to that of the batch, and the first axis of the state is the
        examples. Then each device may process a part, and grad takes one more argument, the name of the device axis,
        so that the noise of an example is the same as in the whole batch.
    """

    init: _Init
    grad: _Grad
    adds: bool = False


def score(
    cell: Cell,
    objective: Objective,
    params: PyTree,
    carry: PyTree,
    batch: Batch,
    key: jax.Array | None = None,
    axis: str | None = None,
) -> tuple[Metrics, PyTree]:
    """Runs a batch and sums its metrics over the examples. `cell.weights` runs once for all examples.

    Args:
      cell: a window cell.
      objective: (outputs, batch) -> metrics, of one example.
      params: the params of the cell.
      carry: `[B, ...]` from the previous window; ignored if `batch.restart` is None.
      batch: a batch of B examples.
      key: a key for noise, split over the examples; None: no noise.
      axis: the axis along which devices share out a batch of which this is one's part; None: it is the whole.

    Returns:
      (metrics, carry `[B, ...]`)

    Example:
      >>> import jax, rnnjax
      >>> from rnnjax import losses, tasks
      >>> cell = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.lstm(4), rnnjax.linear(9)))
      >>> batch = tasks.copying(5).batch(jax.random.key(0), 3)
      >>> params = cell.init(jax.random.key(1), batch.x[0])
      >>> metrics, carry = score(cell, losses.classify, params, (), batch)
      >>> float(metrics["loss"].weight)  # 3 examples of 25 steps
      75.0
    """
    check_cell("score", cell)
    check_function("score: objective", objective)
    weights = cell.weights(params, weights_key(key))

    def example(carry: PyTree, batch: Batch, key: jax.Array | None) -> tuple[Metrics, PyTree]:
        start = cell.initial_carry(weights, batch.x)
        start = start if batch.restart is None else tree_where(batch.restart, start, carry)
        carry, y = cell.step(weights, start, batch.x, key)
        return objective(y, batch), carry

    metrics, carry = jax.vmap(example)(carry, batch, keys_of(key, batch, axis))
    return sum_over_examples(metrics), carry


def sum_over_examples(tree: _T) -> _T:
    """Sums each array of a tree over its first axis, the examples."""
    sums: _T = jax.tree.map(lambda a: a.sum(0), tree)
    return sums


def batch_size_of(batch: Batch) -> int:
    """Returns the number of examples in a batch."""
    return num_steps(batch.x)


def keys_of(key: jax.Array | None, batch: Batch, axis: str | None = None) -> jax.Array | None:
    """Returns a key for each example; on a batch sharded along a device axis, the keys are those of the whole batch.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> keys_of(jax.random.key(0), Batch(x=jnp.zeros((3, 5, 1)), y=None)).shape
      (3,)
    """
    if key is None:
        return None
    n = batch_size_of(batch)
    if axis is None:
        return jax.random.split(key, n)
    device, devices = lax.axis_index(axis), lax.axis_size(axis)
    return lax.dynamic_slice_in_dim(jax.random.split(key, n * devices), device * n, n)


def over_windows(piece: _Grad, start: Callable[[PyTree, Batch], PyTree], window: int | None) -> Estimator:
    """Returns an estimator of batches from an estimator of one window; the state is passed on, the estimates are added.

    Args:
      piece: the gradient of one window, whose batch always has `restart`.
      start: (params, batch) -> the state before the first window.
      window: in steps; the last window may be shorter. None: the whole batch.
    """

    def init(params: PyTree, batch: Batch) -> PyTree:
        return () if batch.restart is None else start(params, batch)

    def grad(
        params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None, *axis: str
    ) -> tuple[Estimate, PyTree]:
        def run(params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None) -> tuple[Estimate, PyTree]:
            return piece(params, state, batch, key, *axis)

        def body(total: tuple[Estimate, PyTree], step: tuple[jax.Array, Batch]) -> tuple[tuple[Estimate, PyTree], None]:
            estimate, after = run(params, total[1], step[1], fold(key, step[0]))
            return (jax.tree.map(jnp.add, total[0], estimate), after), None

        pieces, rest = _split_windows(batch, window or duration_of(batch))
        n = num_steps(pieces.restart)
        before = start(params, batch) if batch.restart is None else state
        nothing = tree_zeros(jax.eval_shape(run, params, before, first_step_shape(pieces), key)[0])
        total, _ = lax.scan(body, (nothing, before), (jnp.arange(n), pieces))
        estimate, after = total if rest is None else body(total, (jnp.asarray(n), rest))[0]
        return estimate, () if batch.restart is None else after

    return Estimator(init, grad)


def initial_carries(cell: Cell, params: PyTree, batch: Batch) -> PyTree:
    """Returns the initial carries `[B, ...]` of a batch."""
    weights = cell.weights(params)
    start = cell.initial_carry(weights, first_step_shape(batch.x))
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (batch_size_of(batch), *a.shape)), start)


def duration_of(batch: Batch) -> int:
    """Returns the number of steps of each example."""
    return num_steps(first_step_shape(without_marks(batch.x)))


def _split_windows(batch: Batch, length: int) -> tuple[Batch, Batch | None]:
    """Splits a batch into windows, leaves `[n, B, length, ...]`, and a remainder. Only the first window may restart."""
    steps, b = duration_of(batch), batch_size_of(batch)
    k = min(length, steps)
    n = steps // k
    restart = jnp.ones(b, bool) if batch.restart is None else batch.restart

    def cut(start: int, stop: int) -> Batch:
        return jax.tree.map(lambda a: a[:, start:stop], batch._replace(restart=None))

    head = jax.tree.map(lambda a: jnp.moveaxis(a.reshape((b, n, k) + a.shape[2:]), 1, 0), cut(0, n * k))
    head = head._replace(restart=jnp.zeros((n, b), bool).at[0].set(restart))
    return head, None if n * k == steps else cut(n * k, steps)._replace(restart=jnp.zeros(b, bool))
