"""How much of a gradient arrives from each range of lags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.base import Cell, PyTree, tree_where, unroll
from rnnjax.base._cell import Step, check_cell
from rnnjax.base._unroll import as_step_cell
from rnnjax.data import Batch
from rnnjax.estimators._audit import flatten_double, jit_quickly
from rnnjax.estimators._base import Estimator, batch_size_of, duration_of, sum_over_examples


class _Marks(NamedTuple):
    """The input `[T, ...]` of a network that uses its params only from one step s on.

    Attributes:
      x: the input.
      before: marks the steps before s.
      fresh: marks the first step of the sequence if s is later.
      cut: marks s, unless it is the first step of the sequence.
    """

    x: Any
    before: jax.Array
    fresh: jax.Array
    cut: jax.Array


def _gate_params(cell: Cell, params: PyTree) -> Cell:
    """Returns a cell that uses its params from a marked step on, and constants of the same value before it.

    It works for any rule, whether the rule differentiates with respect to the params or perturbs them.

    Args:
      cell: a window cell.
      params: the constants.

    Example: the first of two steps does not use the params.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.unroll(rnnjax.linear(1, bias=False))
      >>> late = _gate_params(cell, {"w": jnp.ones((1, 1))})
      >>> xs = _Marks(jnp.ones((2, 1)), *(jnp.array(mark) for mark in ([True, False], [True, False], [False, True])))
      >>> print(rnnjax.run(late, {"w": jnp.full((1, 1), 5.0)}, xs)[1].ravel())
      [1. 5.]
    """
    inner, still = as_step_cell(cell), cell.weights(params)

    def step(w: PyTree, carry: PyTree, x: _Marks, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        carry = tree_where(x.fresh, inner.initial_carry(still, x.x), carry)
        return inner.step(tree_where(x.before, still, w), carry, x.x, key)

    return _marked_windows(inner, step)


def sever_params(cell: Cell, params: PyTree) -> Cell:
    """Returns a cell like `_gate_params` that cuts the carry instead, for rules that need the unmodified weights.

    For losses from the marked step on, the two have the same gradient.

    Args:
      cell: a window cell.
      params: not used.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.unroll(rnnjax.vanilla(2))
      >>> xs = _Marks(jnp.ones((3, 2)), *[jnp.zeros(3, bool)] * 3)
      >>> params = cell.init(jax.random.key(0), xs.x)
      >>> a, b = rnnjax.run(sever_params(cell, params), params, xs), rnnjax.run(cell, params, xs.x)
      >>> bool(jnp.allclose(a[1], b[1]))
      True
    """
    inner = as_step_cell(cell)

    def step(w: PyTree, carry: PyTree, x: _Marks, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        return inner.step(w, tree_where(x.cut, lax.stop_gradient(carry), carry), x.x, key)

    return _marked_windows(inner, step)


def _marked_windows(inner: Cell, step: Step) -> Cell:
    """Returns the window cell that runs this step on marked inputs."""
    return unroll(
        Cell(lambda key, x: inner.init(key, x.x), lambda w, x: inner.initial_carry(w, x.x), step, inner.weights)
    )


def by_lag(
    make: Callable[[Cell], Estimator], cell: Cell, params: PyTree, batch: Batch, lags: Sequence[int], keys: jax.Array
) -> PyTree:
    """Splits an estimate by lag: the number of steps from the loss back to the use of the params.

        g = sum_t sum_a d L_t / d params_{t-a},   params_s: the copy that step s uses

    For each t with a loss, the estimate of that loss alone is computed for a network that uses the params from step t -
    a on and constants of the same value before it (`_gate_params`, or `sever_params` if the rule does not support
    that). This treats the rule as a black box: the change when the params are used one step earlier is the rule's
    estimate for that lag. The initial carry counts as part of the first step. The parts add up to the estimate; for a
    random rule, they do on average.

    Args:
      make: builds the estimator to audit from a cell.
      cell: a window cell.
      params: the params of the cell.
      batch: a batch of whole sequences.
      lags: ascending; the last is at least T - 1.
      keys: `[n]`.

    Returns:
      A tree like params, with leaves `[n, len(lags), ...]`: the part of the lags above the previous one up to this one.

    Raises:
      ValueError: the rule does not support the cell.

    Example: a rule truncated to two steps gives nothing for lags of two and more.
      >>> import jax, rnnjax
      >>> from rnnjax import estimators, losses, tasks
      >>> cell = rnnjax.unroll(rnnjax.stack(rnnjax.vanilla(4), rnnjax.linear(1)))
      >>> batch = tasks.adding(6).batch(jax.random.key(0), 2)
      >>> params = cell.init(jax.random.key(1), batch.x[0])
      >>> make = lambda cell: estimators.backprop(cell, losses.regress, 2)
      >>> parts = by_lag(make, cell, params, batch, [0, 1, 5], jax.random.split(jax.random.key(2), 1))
      >>> [bool(part.any()) for part in parts[0][1]["u"][0]]
      [True, True, False]
    """
    check_cell("by_lag", cell)
    steps, times = jnp.arange(duration_of(batch)), _steps_with_loss(batch)

    def estimate(make: Callable[[Cell], Estimator], cell: Cell, key: jax.Array, lag: jax.Array, t: jax.Array) -> PyTree:
        b, shape = t - lag, (batch_size_of(batch), steps.size)
        marks = steps < b, (steps == 0) & (b > 0), (steps == b) & (b > 0)
        mask = jnp.broadcast_to(steps == t, shape)
        only = batch._replace(
            x=_Marks(batch.x, *(jnp.broadcast_to(m, shape) for m in marks)),
            mask=mask if batch.mask is None else mask & batch.mask,
        )
        estimator = make(cell)
        return estimator.grad(params, estimator.init(params, only), only, key)[0].grads

    def drawn(cell: Cell) -> PyTree:
        def summed(key: jax.Array) -> PyTree:
            one = jax.vmap(partial(estimate, make, cell, key), (None, 0))
            parts = lax.map(lambda lag: sum_over_examples(one(lag, times)), jnp.asarray(lags))
            return jax.tree.map(lambda a: jnp.diff(a, axis=0, prepend=jnp.zeros_like(a[:1])), parts)

        return jit_quickly(lambda keys: lax.map(summed, keys, batch_size=10))(keys)

    try:
        return drawn(_gate_params(cell, params))
    except ValueError:
        return drawn(sever_params(cell, params))


def _steps_with_loss(batch: Batch) -> jax.Array:
    """Returns the steps at which any example has a loss."""
    return jnp.arange(duration_of(batch)) if batch.mask is None else jnp.flatnonzero(batch.mask.any(0))


class Lag(NamedTuple):
    """How well a range of lags is estimated.

    Attributes:
      norm: the norm of this part of the exact gradient, divided by the norm of the whole exact gradient.
      delivered: the estimate projected onto this part; 1: all of it, 0: nothing, negative: the opposite direction.
      error: the standard error of `delivered` over the draws.
      off: |mean - part| / |part|, the relative error in all directions.
    """

    norm: float
    delivered: float
    error: float
    off: float


def credit_delivered(draws: PyTree, exact: PyTree) -> list[Lag]:
    """Returns how much of each part of the exact gradient is recovered.

    Args:
      draws: from `by_lag`, leaves `[n, lags, ...]`.
      exact: the same for the exact rule, n = 1.

    Example:
      >>> import numpy as np
      >>> lags = credit_delivered(np.array([[[2.0], [0.5]]]), np.array([[[2.0], [1.0]]]))
      >>> [(round(lag.norm, 2), lag.delivered) for lag in lags]
      [(0.67, 1.0), (0.33, 0.5)]
    """
    d, g = flatten_double(draws, 2), flatten_double(exact, 2)[0]
    whole, n = np.linalg.norm(g.sum(0)), len(d)
    lags = []
    for part, estimated in zip(g, d.swapaxes(0, 1)):
        norm = np.linalg.norm(part)
        if not norm:
            lags.append(Lag(0.0, *[float("nan")] * 3))
            continue
        along = estimated @ part / norm**2
        error = along.std(ddof=1) / n**0.5 if n > 1 else 0.0
        off = np.linalg.norm(estimated.mean(0) - part) / norm
        lags.append(Lag(*map(float, (norm / whole, along.mean(), error, off))))
    return lags
