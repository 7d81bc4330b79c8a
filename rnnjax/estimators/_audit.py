"""Audits of gradient estimates: their distance from the exact gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.interpreters import partial_eval
from numpy.typing import ArrayLike

from rnnjax.base import PyTree
from rnnjax.data import Batch
from rnnjax.estimators._base import Estimator

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
    total = compare(flatten_double(draws, 1), flatten_double(exact))
    named = zip(jax.tree.leaves_with_path(draws), jax.tree.leaves(exact))
    return {_TOTAL: total} | {
        jax.tree_util.keystr(path, simple=True, separator="/"): compare(a, b) for (path, a), b in named
    }


def flatten_double(tree: PyTree, axes: int = 0) -> np.ndarray:
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

    return jit_quickly(drawn)(
        params, batch, jax.random.split(key, n if _depends_on_key(one, key, params, batch) else 1)
    )


def jit_quickly(f: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Returns a jitted f that compiles in little time; in another jitted function, a part of that one.

    Example:
      >>> import jax
      >>> float(jax.jit(lambda x: jit_quickly(lambda x: 2 * x)(x))(3.0))
      6.0
    """
    nested = isinstance(jax.numpy.zeros(()), jax.core.Tracer)  # JAX refuses options there
    return jax.jit(f, compiler_options=None if nested else _QUICK)


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
