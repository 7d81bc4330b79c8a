"""Gradients of a stream, one window at a time, in memory that does not grow with the stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, fold, weights_key
from rnnjax.errors import UserError
from rnnjax.losses import Batch, Metrics, Objective
from rnnjax.scans import at_first, duration, plain, where, zeros


class Estimate(NamedTuple):
    """A gradient and what was seen on the way; estimates of parts add up.

    Attributes:
      grads: the gradient of the sum of the losses that count, shaped as params.
      metrics: name -> `Mean`; "loss" is the one that was differentiated.
    """

    grads: PyTree
    metrics: Metrics

    def mean_grads(self) -> PyTree:
        """The gradient of the mean loss; zero where nothing counts."""
        count = jnp.maximum(self.metrics["loss"].weight, 1)
        return jax.tree.map(lambda g: g / count.astype(g.dtype), self.grads)


class Init(Protocol):
    """(params, batch) -> state."""

    def __call__(self, params: PyTree, batch: Batch, /) -> PyTree: ...


class Grad(Protocol):
    """(params, state, batch, key) -> (estimate, state)."""

    def __call__(
        self, params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None, /
    ) -> tuple[Estimate, PyTree]: ...


class Estimator(NamedTuple):
    """How a gradient is found: a state before the stream, and one window of it at a time.

    Attributes:
      init: (params, batch) -> state; the batch for its shapes only.
      grad: (params, state, batch, key=None) -> (Estimate, state).
    """

    init: Init
    grad: Grad


def score(
    cell: Cell, objective: Objective, params: PyTree, carry: PyTree, batch: Batch, key: jax.Array | None = None
) -> tuple[Metrics, PyTree]:
    """Runs a batch and sums its metrics over the examples. The weights map runs once, outside the examples.

    Args:
      cell: a cell of windows.
      objective: (outputs, batch) -> metrics, of one example.
      params: of the cell.
      carry: `[B, ...]` from the window before; not read where `batch.restart` is None.
      batch: of B examples.
      key: noise, a different one for each example; None: none.

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
    weights = cell.weights(params, weights_key(key))

    def example(carry: PyTree, batch: Batch, key: jax.Array | None) -> tuple[Metrics, PyTree]:
        start = cell.initial_carry(weights, batch.x)
        start = start if batch.restart is None else where(batch.restart, start, carry)
        carry, y = cell.step(weights, start, batch.x, key)
        return objective(y, batch), carry

    keys = None if key is None else jax.random.split(key, size(batch))
    metrics, carry = jax.vmap(example)(carry, batch, keys)
    return jax.tree.map(lambda a: a.sum(0), metrics), carry


def size(batch: Batch) -> int:
    """Examples in a batch."""
    return duration(batch.x)


def backprop(cell: Cell, objective: Objective, window: int | None = None) -> Estimator:
    """Backpropagation through each batch, or through each `window` steps of it: truncated backpropagation.

    With a window the sum of the gradients of all windows is formed inside one loop, the carry passed on as a number.
    It is the gradient of `chunk(truncate(unroll(cell)), window)`, in the memory of one window. A credit wrapper in
    the cell has its say within the window.

    Where a batch has `restart` the carry goes from batch to batch (stateful training) and gradients stop between
    them; where not, every batch is a set of fresh sequences.

    Args:
      cell: a cell of windows.
      objective: (outputs, batch) -> metrics of one example, "loss" among them.
      window: steps; a shorter rest comes last. None: the whole batch.

    Example: truncated backpropagation two ways.
      >>> import jax, numpy as np, rnnjax
      >>> from rnnjax import losses, tasks
      >>> net = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.lstm(4), rnnjax.linear(9)))
      >>> batch = tasks.copying(5).batch(jax.random.key(0), 3)
      >>> params = net.init(jax.random.key(1), batch.x[0])
      >>> estimate, _ = backprop(net, losses.classify, window=10).grad(params, (), batch)
      >>> short = rnnjax.chunk(rnnjax.truncate(net), 10)
      >>> total = lambda params: score(short, losses.classify, params, (), batch)[0]["loss"].total
      >>> a, b = estimate.grads[2]["w"], jax.grad(total)(params)[2]["w"]
      >>> np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

    Reference: Williams, Peng, An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories, 1990.
    """

    def init(params: PyTree, batch: Batch) -> PyTree:
        return () if batch.restart is None else initial(cell, params, batch)

    def whole(params: PyTree, carry: PyTree, batch: Batch, key: jax.Array | None = None) -> tuple[Estimate, PyTree]:
        def loss(params: PyTree) -> tuple[jax.Array, tuple[Metrics, PyTree]]:
            metrics, after = score(cell, objective, params, lax.stop_gradient(carry), batch, key)
            return metrics["loss"].total, (metrics, after)

        grads, (metrics, after) = jax.grad(loss, has_aux=True)(params)
        return Estimate(grads, metrics), after if batch.restart is not None else ()

    def windowed(params: PyTree, state: PyTree, batch: Batch, key: jax.Array | None = None) -> tuple[Estimate, PyTree]:
        def body(
            total: tuple[Estimate, PyTree], piece: tuple[jax.Array, Batch]
        ) -> tuple[tuple[Estimate, PyTree], None]:
            estimate, carry = whole(params, total[1], piece[1], fold(key, piece[0]))
            return (jax.tree.map(jnp.add, total[0], estimate), carry), None

        pieces, rest = windows(batch, window or duration_of(batch))
        n = duration(pieces.restart)
        carry = initial(cell, params, batch) if batch.restart is None else state
        nothing = zeros(jax.eval_shape(whole, params, carry, at_first(pieces))[0])
        total, _ = lax.scan(body, (nothing, carry), (jnp.arange(n), pieces))
        estimate, carry = total if rest is None else body(total, (jnp.asarray(n), rest))[0]
        return estimate, () if batch.restart is None else carry

    return Estimator(init, whole if window is None else windowed)


def initial(cell: Cell, params: PyTree, batch: Batch) -> PyTree:
    """The initial carries `[B, ...]` of a batch."""
    weights = cell.weights(params)
    start = cell.initial_carry(weights, at_first(batch.x))
    return jax.tree.map(lambda a: jnp.broadcast_to(a, (size(batch), *a.shape)), start)


def duration_of(batch: Batch) -> int:
    """Steps of each example."""
    return duration(at_first(plain(batch.x)))


def windows(batch: Batch, length: int) -> tuple[Batch, Batch | None]:
    """A batch in windows: leaves `[n, B, length, ...]`, and what is left over. The first alone may restart."""
    steps, b = duration_of(batch), size(batch)
    k = min(length, steps)
    n = steps // k
    restart = jnp.ones(b, bool) if batch.restart is None else batch.restart

    def cut(start: int, stop: int) -> Batch:
        return jax.tree.map(lambda a: a[:, start:stop], batch._replace(restart=None))

    head = jax.tree.map(lambda a: jnp.moveaxis(a.reshape((b, n, k) + a.shape[2:]), 1, 0), cut(0, n * k))
    head = head._replace(restart=jnp.zeros((n, b), bool).at[0].set(restart))
    return head, None if n * k == steps else cut(n * k, steps)._replace(restart=jnp.zeros(b, bool))


def bptt(cell: Cell, objective: Objective, window: int) -> Estimator:
    """Full backpropagation through each batch, as `--rule=bptt` names it; window 0."""
    if window:
        raise UserError(f"--rule=bptt looks back over the whole sequence: --window={window} belongs to --rule=tbptt")
    return backprop(cell, objective)


def tbptt(cell: Cell, objective: Objective, window: int) -> Estimator:
    """Truncated backpropagation through windows of `window` steps, as `--rule=tbptt` names it."""
    if not window:
        raise UserError("--rule=tbptt needs --window, the steps it looks back at most")
    return backprop(cell, objective, window)


RULES: dict[str, Callable[[Cell, Objective, int], Estimator]] = {"bptt": bptt, "tbptt": tbptt}
