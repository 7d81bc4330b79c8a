"""Audits of gradient estimates: their distance from the exact gradient, and how far back in time they reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.interpreters import partial_eval
from numpy.typing import ArrayLike

from rnnjax.base import Cell, PyTree, tree_where, unroll
from rnnjax.base._cell import Step
from rnnjax.base._unroll import as_step_cell
from rnnjax.data import Batch
from rnnjax.estimators._base import Estimator, batch_size_of, duration_of

_TOTAL = "total"

# These programs run once, so compilation dominates their time.
_QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


class Quality(NamedTuple):
    """Statistics of n estimates compared with the exact gradient g; |.| is the Euclidean norm.

    Attributes:
      bias: |mean - g| / |g|. For an unbiased rule it is about `error`, since the mean of n estimates is not exact.
      error: the standard error of the mean, (variance / n)^(1/2).
      variance: E |estimate - mean|^2 / |g|^2.
      cosine: the mean cosine of the angle between an estimate and g.
      ratio: the mean of |estimate| / |g|.
    """

    bias: float
    error: float
    variance: float
    cosine: float
    ratio: float


def compare(draws: ArrayLike, exact: ArrayLike) -> Quality:
    """Returns bias, variance, cosine and norm ratio of estimates.

    Args:
      draws: `[n, ...]`, one estimate per row; a deterministic rule gives one.
      exact: `[...]`; if it is zero, everything is nan.

    Example: two estimates on either side of (1, 0).
      >>> [round(x, 3) for x in compare([[1.0, 1.0], [1.0, -1.0]], [1.0, 0.0])]
      [0.0, 1.0, 2.0, 0.707, 1.414]
    """
    estimates, g = np.asarray(draws, np.float64), np.asarray(exact, np.float64).ravel()
    n = len(estimates)
    estimates = estimates.reshape(n, -1)
    norm, norms = np.linalg.norm(g), np.linalg.norm(estimates, axis=1)
    if not norm:
        return Quality(*[float("nan")] * 5)
    mean = estimates.mean(0)
    variance = ((estimates - mean) ** 2).sum() / max(n - 1, 1) / norm**2
    cosines = np.divide(estimates @ g, norms * norm, out=np.zeros(n), where=norms > 0)
    bias = np.linalg.norm(mean - g) / norm
    return Quality(*map(float, (bias, (variance / n) ** 0.5, variance, cosines.mean(), (norms / norm).mean())))


def compare_leaves(draws: PyTree, exact: PyTree) -> dict[str, Quality]:
    """Returns `compare` in total and for each leaf of the params by its path.

    Args:
      draws: a tree like params, with leaves `[n, ...]`.
      exact: a tree like params.

    Example:
      >>> import numpy as np
      >>> draws, exact = {"u": np.ones((1, 2)), "b": np.zeros((1, 2))}, {"u": np.ones(2), "b": np.ones(2)}
      >>> {name: round(quality.bias, 3) for name, quality in compare_leaves(draws, exact).items()}
      {'total': 0.707, 'b': 1.0, 'u': 0.0}
    """
    total = compare(_flatten_double(draws, 1), _flatten_double(exact))
    named = zip(jax.tree.leaves_with_path(draws), jax.tree.leaves(exact))
    return {_TOTAL: total} | {
        jax.tree_util.keystr(path, simple=True, separator="/"): compare(a, b) for (path, a), b in named
    }


def _flatten_double(tree: PyTree, axes: int = 0) -> np.ndarray:
    """Returns all numbers of a tree as one vector in double precision, keeping leading axes that all leaves share."""
    leaves = [np.asarray(a, np.float64) for a in jax.tree.leaves(tree)]
    return np.concatenate([a.reshape(*a.shape[:axes], -1) for a in leaves], axis=-1)


def estimates(estimator: Estimator, params: PyTree, batch: Batch, key: jax.Array, n: int) -> PyTree:
    """Returns gradients of the summed losses of a batch of whole sequences, for n keys.

    Args:
      estimator: the estimator to audit.
      params: the params of its cell.
      batch: a batch without `restart`.
      key: the key to draw from.
      n: the number of draws.

    Returns:
      A tree like params, with leaves `[n, ...]`, or `[1, ...]` if nothing depends on the key.

    Raises:
      ValueError: the rule does not support the cell.

    Example: backpropagation is deterministic.
      >>> import jax, rnnjax
      >>> from rnnjax import estimators, losses, tasks
      >>> cell = rnnjax.unroll(rnnjax.stack(rnnjax.vanilla(4), rnnjax.linear(1)))
      >>> batch = tasks.adding(6).batch(jax.random.key(0), 2)
      >>> params = cell.init(jax.random.key(1), batch.x[0])
      >>> estimates(estimators.backprop(cell, losses.regress), params, batch, jax.random.key(2), 9)[1]["w"].shape
      (1, 4, 1)
    """
    estimator.init(params, batch)

    def one(key: jax.Array, params: PyTree, batch: Batch) -> PyTree:
        return estimator.grad(params, (), batch, key)[0].grads

    def drawn(params: PyTree, batch: Batch, keys: jax.Array) -> PyTree:
        return lax.map(lambda key: one(key, params, batch), keys, batch_size=50)

    return jax.jit(drawn, compiler_options=_QUICK)(
        params, batch, jax.random.split(key, n if _depends_on_key(one, key, params, batch) else 1)
    )


def _depends_on_key(f: Callable[..., PyTree], key: jax.Array, *args: Any) -> bool:
    """Returns whether the result of f(key, ...) depends on the key.

    Example:
      >>> import jax
      >>> fs = jax.random.normal, lambda key: 0 * jax.random.split(key).size
      >>> [_depends_on_key(f, jax.random.key(0)) for f in fs]
      [True, False]
    """
    jaxpr = jax.make_jaxpr(f)(key, *args).jaxpr
    return bool(partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[1][0])


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
            parts = lax.map(lambda lag: jax.tree.map(lambda a: a.sum(0), one(lag, times)), jnp.asarray(lags))
            return jax.tree.map(lambda a: jnp.diff(a, axis=0, prepend=jnp.zeros_like(a[:1])), parts)

        return jax.jit(lambda keys: lax.map(summed, keys, batch_size=10), compiler_options=_QUICK)(keys)

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
    d, g = _flatten_double(draws, 2), _flatten_double(exact, 2)[0]
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
