"""Gradients from random directions: directional derivatives or loss differences; no backward pass, no stored states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax._deprecated import with_old_arguments
from rnnjax.base import Cell, PyTree, check_positive, check_size, tree_where, without_fast
from rnnjax.base._arguments import check_function
from rnnjax.base._cell import check_cell, fold, weights_key
from rnnjax.base._seq import tree_zeros
from rnnjax.data import Batch
from rnnjax.estimators._base import Estimate, Estimator, batch_size_of, initial_carries, over_windows, sum_over_examples
from rnnjax.losses import Metrics, Objective

_DIRECTION_TAG = 0x0505


class _CarryWithMoves(NamedTuple):
    """The state passed from window to window, for each example.

    Attributes:
      carry: the carry of the network, or of the two perturbed networks.
      other: the derivative of the carry along the direction, or nothing.
      direction: the perturbation of the params in this window, or the sum since the start.
    """

    carry: PyTree
    other: PyTree
    direction: PyTree


def directions(key: jax.Array | None, params: PyTree, n: int) -> PyTree:
    """Returns n standard normal directions, `[n, ...]` per leaf."""
    if key is None:
        raise ValueError("a rule with random directions needs a key")
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(fold(key, _DIRECTION_TAG), len(leaves))
    return jax.tree.unflatten(structure, [jax.random.normal(k, (n, *p.shape), p.dtype) for k, p in zip(keys, leaves)])


def _weighted_directions(slopes: jax.Array, along: PyTree) -> PyTree:
    """Returns the sum over examples of slope times direction."""
    return jax.tree.map(lambda v: jnp.tensordot(slopes.astype(v.dtype), v, 1), along)


def _per_example(
    cell: Cell, objective: Objective, key: jax.Array | None
) -> Callable[..., tuple[jax.Array, tuple[Metrics, PyTree]]]:
    """Returns a function (params, carry, one example, its key) -> (loss, (metrics, carry)) that handles restarts."""

    def run(params: PyTree, carry: PyTree, batch: Batch, noise: jax.Array | None) -> tuple[jax.Array, tuple[Any, Any]]:
        weights = cell.weights(params, weights_key(key))
        carry = tree_where(batch.restart, cell.initial_carry(weights, batch.x), carry)
        carry, y = cell.step(weights, carry, batch.x, noise)
        metrics = objective(y, batch)
        return metrics["loss"].total, (metrics, carry)

    return run


def _example_keys(key: jax.Array | None, n: int) -> jax.Array | None:
    """Returns a key for each example."""
    return None if key is None else jax.random.split(key, n)


@with_old_arguments
def forward(cell: Cell, objective: Objective, truncation: int | None = None) -> Estimator:
    """Forward gradients: the derivative along one random direction per example, times that direction.

        g = sum over examples of (dL . v) v,   v ~ N(0, 1)

    Unbiased, since E[v v'] = 1. Only forward mode is used, with the memory of one step. The direction and the
    derivative of the carry along it persist over windows until an example restarts, so windows do not truncate the
    gradient.

    Args:
      cell: a window cell.
      objective: (outputs, batch) -> metrics of one example, including "loss".
      truncation: the length of a window in steps; None: the whole batch.

    Raises:
      ValueError: there is no key.

    Example: the estimate is correct on average.
      >>> import jax, rnnjax
      >>> from rnnjax import data, losses
      >>> net = rnnjax.unroll(rnnjax.stack(rnnjax.vanilla(2), rnnjax.linear(1)))
      >>> batch = data.Batch(jax.numpy.ones((1000, 4, 2)), jax.numpy.zeros((1000, 4, 1)))
      >>> params = net.init(jax.random.key(1), batch.x[0])
      >>> guess, _ = forward(net, losses.regress).grad(params, (), batch, jax.random.key(2))
      >>> exact, _ = rnnjax.estimators.backprop(net, losses.regress).grad(params, (), batch)
      >>> a, b = guess.mean_grads()[1]["w"], exact.mean_grads()[1]["w"]
      >>> bool(abs(a - b).max() < 0.2 * abs(b).max())
      True

    Reference: Baydin et al., Gradients without backpropagation, 2022; Silver et al., Learning by directional gradient
    descent, 2022.
    """
    check_cell("forward", cell)
    check_function("forward: objective", objective)
    if truncation is not None:
        check_size("forward: truncation", truncation, 0)

    def start(params: PyTree, batch: Batch) -> _CarryWithMoves:
        carry = initial_carries(cell, params, batch)
        still = jax.tree.map(lambda p: jnp.zeros((batch_size_of(batch), *p.shape), p.dtype), params)
        return _CarryWithMoves(carry, tree_zeros(carry), still)

    def piece(
        params: PyTree, state: _CarryWithMoves, batch: Batch, key: jax.Array | None = None
    ) -> tuple[Estimate, _CarryWithMoves]:
        fresh = directions(key, params, batch_size_of(batch))
        direction = tree_where(batch.restart, fresh, state.direction)
        run = _per_example(without_fast(cell), objective, key)

        def along(
            carry: PyTree, dcarry: PyTree, v: PyTree, batch: Batch, noise: jax.Array | None
        ) -> tuple[jax.Array, Metrics, PyTree, PyTree]:
            def moved(params: PyTree, carry: PyTree) -> tuple[tuple[jax.Array, PyTree], Metrics]:
                loss, (metrics, after) = run(params, carry, batch, noise)
                return (loss, after), metrics

            (loss, after), (slope, dafter), metrics = jax.jvp(moved, (params, carry), (v, dcarry), has_aux=True)
            return slope + 0 * loss, metrics, after, dafter  # a loss of nan has no slope, though its tangent may be 0

        args = state.carry, state.other, direction, batch, _example_keys(key, batch_size_of(batch))
        slopes, metrics, carry, dcarry = jax.vmap(along)(*args)
        return Estimate(_weighted_directions(slopes, direction), sum_over_examples(metrics)), _CarryWithMoves(
            carry, dcarry, direction
        )

    return over_windows(piece, start, truncation)


def _antithetic_params(params: PyTree, direction: PyTree, sigma: Any) -> tuple[PyTree, PyTree]:
    """Returns params shifted along a direction and against it."""

    def moved(by: Any) -> PyTree:
        return jax.tree.map(lambda p, v: p + jnp.asarray(by, p.dtype) * v, params, direction)

    return moved(sigma), moved(-sigma)


@with_old_arguments
def es(cell: Cell, objective: Objective, truncation: int | None = None, sigma: Any = 0.01) -> Estimator:
    """Antithetic evolution strategies with one pair per example; with a truncation, no credit crosses windows.

        g = sum over examples of (L(params + sigma v) - L(params - sigma v)) / (2 sigma) v,   v ~ N(0, 1)

    Estimates the gradient of the loss smoothed by a normal distribution, from loss values alone. The carry of the
    unperturbed network is passed from window to window, so windows of k steps truncate as in truncated backpropagation.
    The metrics are those of the unperturbed network.

    Args:
      cell: a window cell.
      objective: (outputs, batch) -> metrics of one example, including "loss".
      truncation: the length of a window in steps; None: the whole batch.
      sigma: the size of the perturbation; it may be a tracer.

    Raises:
      ValueError: there is no key.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import data, losses
      >>> net = rnnjax.unroll(rnnjax.linear(1, bias=False))
      >>> batch = data.Batch(jnp.ones((4000, 1, 1)), jnp.zeros((4000, 1, 1)))
      >>> estimate, _ = es(net, losses.regress).grad({"w": jnp.ones((1, 1))}, (), batch, jax.random.key(0))
      >>> bool(abs(estimate.mean_grads()["w"][0, 0] - 2) < 0.2)  # of w^2 at 1
      True

    Reference: Salimans et al., Evolution strategies as a scalable alternative to reinforcement learning, 2017; Metz
    et al., Understanding and correcting pathologies in the training of learned optimizers, 2019 (truncated).
    """
    check_cell("es", cell)
    check_function("es: objective", objective)
    if truncation is not None:
        check_size("es: truncation", truncation, 0)
    check_positive("es: sigma", sigma)

    def piece(params: PyTree, carry: PyTree, batch: Batch, key: jax.Array | None = None) -> tuple[Estimate, PyTree]:
        direction = directions(key, params, batch_size_of(batch))
        run = _per_example(cell, objective, key)

        def pair(carry: PyTree, v: PyTree, batch: Batch, noise: jax.Array | None) -> tuple[jax.Array, Metrics, PyTree]:
            plus, minus = (run(p, carry, batch, noise)[0] for p in _antithetic_params(params, v, sigma))
            _, (metrics, after) = run(params, carry, batch, noise)
            return (plus - minus) / (2 * jnp.asarray(sigma, plus.dtype)), metrics, after

        slopes, metrics, after = jax.vmap(pair)(carry, direction, batch, _example_keys(key, batch_size_of(batch)))
        return Estimate(_weighted_directions(slopes, direction), sum_over_examples(metrics)), after

    return over_windows(piece, lambda params, batch: initial_carries(cell, params, batch), truncation)


@with_old_arguments
def pes(cell: Cell, objective: Objective, truncation: int | None = None, sigma: Any = 0.01) -> Estimator:
    """Persistent evolution strategies: every window draws a new pair of perturbations, and each keeps its own carry.

        g = sum over examples and windows of (L+ - L-) / (2 sigma) xi,   xi = sum of the v since the example restarted

    Weighting by the sum of all perturbations since the start corrects the truncation: the estimate is unbiased for the
    smoothed loss at any window, with variance that grows with the number of windows. The metrics are the mean of the
    two perturbed networks.

    Args:
      cell: a window cell.
      objective: (outputs, batch) -> metrics of one example, including "loss".
      truncation: the length of a window in steps; None: the whole batch.
      sigma: the size of the perturbation; it may be a tracer.

    Raises:
      ValueError: there is no key.

    Example:
      >>> import jax, rnnjax
      >>> from rnnjax import losses, tasks
      >>> net = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.vanilla(4), rnnjax.linear(9)))
      >>> batch = tasks.copying(5).batch(jax.random.key(0), 3)
      >>> params = net.init(jax.random.key(1), batch.x[0])
      >>> estimate, _ = pes(net, losses.classify, truncation=5).grad(params, (), batch, jax.random.key(2))
      >>> float(estimate.metrics["loss"].weight)  # 3 examples of 25 steps
      75.0

    Reference: Vicol, Metz, Sohl-Dickstein, Unbiased gradient estimation in unrolled computation graphs with
    persistent evolution strategies, 2021.
    """
    check_cell("pes", cell)
    check_function("pes: objective", objective)
    return _with_pairs("pes", cell, objective, truncation, sigma, fresh=True)


@with_old_arguments
def nres(cell: Cell, objective: Objective, truncation: int | None = None, sigma: Any = 0.01) -> Estimator:
    """Noise-reuse evolution strategies: like `pes`, with the same pair of perturbations until an example restarts.

        g = sum over examples and windows of (L+ - L-) / (2 sigma) v,   v drawn where the example restarts

    Unbiased for the smoothed loss, with less variance than `pes` if the losses of the windows are similar.

    Args:
      cell: a window cell.
      objective: (outputs, batch) -> metrics of one example, including "loss".
      truncation: the length of a window in steps; None: the whole batch.
      sigma: the size of the perturbation; it may be a tracer.

    Raises:
      ValueError: there is no key.

    Example:
      >>> import jax, rnnjax
      >>> from rnnjax import losses, tasks
      >>> net = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.vanilla(4), rnnjax.linear(9)))
      >>> batch = tasks.copying(5).batch(jax.random.key(0), 3)
      >>> params = net.init(jax.random.key(1), batch.x[0])
      >>> estimate, _ = nres(net, losses.classify, truncation=5).grad(params, (), batch, jax.random.key(2))
      >>> float(estimate.metrics["loss"].weight)
      75.0

    Reference: Li et al., Variance-reduced gradient estimation via noise-reuse in online evolution strategies, 2023.
    """
    check_cell("nres", cell)
    check_function("nres: objective", objective)
    return _with_pairs("nres", cell, objective, truncation, sigma, fresh=False)


def _with_pairs(
    name: str, cell: Cell, objective: Objective, truncation: int | None, sigma: Any, fresh: bool
) -> Estimator:
    """Runs pairs of perturbed networks that keep their carries; perturbations are drawn per window or per restart."""
    if truncation is not None:
        check_size(f"{name}: truncation", truncation, 0)
    check_positive(f"{name}: sigma", sigma)

    def start(params: PyTree, batch: Batch) -> _CarryWithMoves:
        carry = initial_carries(cell, params, batch)
        still = jax.tree.map(lambda p: jnp.zeros((batch_size_of(batch), *p.shape), p.dtype), params)
        return _CarryWithMoves(carry, jax.tree.map(jnp.copy, carry), still)

    def piece(
        params: PyTree, state: _CarryWithMoves, batch: Batch, key: jax.Array | None = None
    ) -> tuple[Estimate, _CarryWithMoves]:
        drawn = directions(key, params, batch_size_of(batch))
        since = tree_where(batch.restart, tree_zeros(state.direction) if fresh else drawn, state.direction)
        move, since = (drawn, jax.tree.map(jnp.add, since, drawn)) if fresh else (since, since)
        run = _per_example(cell, objective, key)

        def pair(
            carries: tuple[PyTree, PyTree], v: PyTree, batch: Batch, noise: jax.Array | None
        ) -> tuple[jax.Array, Metrics, tuple[PyTree, PyTree]]:
            ends = [run(p, h, batch, noise) for p, h in zip(_antithetic_params(params, v, sigma), carries)]
            (plus, (a, first)), (minus, (b, second)) = ends
            metrics = jax.tree.map(lambda a, b: (a + b) / 2, a, b)
            return (plus - minus) / (2 * jnp.asarray(sigma, plus.dtype)), metrics, (first, second)

        args = (state.carry, state.other), move, batch, _example_keys(key, batch_size_of(batch))
        slopes, metrics, carries = jax.vmap(pair)(*args)
        return Estimate(_weighted_directions(slopes, since), sum_over_examples(metrics)), _CarryWithMoves(
            *carries, since
        )

    return over_windows(piece, start, truncation)
