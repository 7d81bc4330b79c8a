"""Parallel evaluation of a window over time: Newton's method on all states at once, for any cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from rnnjax.base import Cell, PyTree, Seq, check_number, check_size, factory, with_resets
from rnnjax.base._cell import check_cell
from rnnjax.base._seq import num_steps
from rnnjax.cells import linear_scan

_Map = Callable[[jax.Array], jax.Array]  # a map of all states at once, [T, n]


@factory
def deer(cell: Cell, tolerance: Any = 1e-5, diagonal: bool = False, iterations: int | None = None) -> Cell:
    """Returns the same cell with a parallel iterative window; values and gradients are those of the scan.

        d_t = J_t d_{t-1} + (step(h_{t-1}, x_t) - h_t);  h <- h + d, for all t at once

    J_t is the Jacobian of step t, `[n, n]` for a carry of n numbers. Each iteration makes at least one more step exact,
    so T iterations always suffice; a network that forgets needs few. The gradient is that of the solution, by the
    implicit function theorem: one more such recurrence, with full Jacobians.

    It pays off with many idle processors, long windows and a small carry: it reduces the depth to log T for T n^3 work
    per iteration and T n^2 memory. On a CPU the scan is always faster. A nan in a window makes all its states nan,
    including those after a restart.

    Args:
      cell: a single-step cell.
      tolerance: stop when no state differs by more than this from the step of its predecessor.
      diagonal: use only the diagonals of the Jacobians: cheaper but more iterations.
      iterations: the most iterations; None: T, which always suffices.

    Example:
      >>> import jax, numpy as np, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> slow, fast = rnnjax.gru(4), deer(rnnjax.gru(4))
      >>> params = slow.init(jax.random.key(1), xs[0])
      >>> ys = [rnnjax.run(rnnjax.unroll(cell), params, xs)[1] for cell in (slow, fast)]
      >>> np.testing.assert_allclose(*ys, rtol=1e-4, atol=1e-5)

    Reference: Lim, Zhu, Selfridge, Kasim, Parallelizing non-linear sequential models over the sequence length, 2024;
    Gonzalez, Warrington, Smith, Linderman, Towards scalable and stable parallelization of nonlinear RNNs, 2024.
    """
    check_cell("deer", cell)
    check_number("deer: tolerance", tolerance, 0)
    if iterations is not None:
        check_size("deer: iterations", iterations)

    def window(weights: PyTree, carry: PyTree, xs: PyTree, keys: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        start, unflat = ravel_pytree(carry)
        step = with_resets(cell).step if isinstance(xs, Seq) else cell.step

        def gap(states: jax.Array) -> jax.Array:
            after, _ = jax.vmap(lambda h, xk: step(weights, unflat(h), *xk))(
                _previous_states(start, states), (xs, keys)
            )
            return jax.vmap(lambda h: ravel_pytree(h)[0])(after) - states

        most = num_steps(xs) if iterations is None else iterations
        guess = jnp.broadcast_to(start, (num_steps(xs), *start.shape))

        def solve(gap: _Map, guess: jax.Array) -> jax.Array:
            return _newton_iterate(gap, guess, jnp.asarray(tolerance, start.dtype), most, diagonal)

        states = lax.custom_root(gap, guess, solve, lambda slope, d: _newton_step(slope, -d))
        ys = jax.vmap(lambda h, xk: step(weights, unflat(h), *xk)[1])(_previous_states(start, states), (xs, keys))
        return unflat(states[-1]), ys

    return cell.replace(window=window)


def _previous_states(start: jax.Array, states: jax.Array) -> jax.Array:
    """Returns the state before each step."""
    return jnp.concatenate([start[None], states[:-1]])


def _newton_iterate(gap: _Map, guess: jax.Array, tolerance: jax.Array, most: int, diagonal: bool) -> jax.Array:
    """Iterates until the gap is at most the tolerance; the result is nan where the gap is."""

    def improve(at: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        states, _, n = at
        distance, slope = jax.linearize(gap, states)
        new = states + _newton_step(slope, distance, diagonal)
        new = jnp.where(jnp.isfinite(new), new, jnp.zeros_like(new))  # may overflow far from the solution
        return new, jnp.abs(gap(new)).max(), n + 1

    def more(at: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return ~(at[1] <= tolerance) & (at[2] < most)

    first = (guess, jnp.full((), jnp.inf, guess.dtype), jnp.zeros((), jnp.int32))
    states, distance, _ = lax.while_loop(more, improve, first)
    return jnp.where(jnp.isfinite(distance), states, jnp.full_like(states, jnp.nan))


def _newton_step(slope: _Map, distance: jax.Array, diagonal: bool = False) -> jax.Array:
    """Returns the d with slope(d) = -distance, where slope(d)_t = J_t d_{t-1} - d_t."""
    steps, n = distance.shape
    units = jnp.broadcast_to(jnp.eye(n, dtype=distance.dtype)[:, None], (n, steps, n))
    jacobians = jnp.moveaxis(jax.vmap(slope)(units) + units, 0, -1)  # column k of J_t is J_t e_k
    if diagonal:
        return linear_scan(jnp.diagonal(jacobians, axis1=-2, axis2=-1), distance, jnp.zeros(n, distance.dtype))
    return matrix_scan(jacobians, distance)


def matrix_scan(a: jax.Array, b: jax.Array) -> jax.Array:
    """Returns all d_t = a_t d_{t-1} + b_t from zero, a `[T, n, n]`: a loop on a CPU, an associative scan elsewhere."""

    def loop(a: jax.Array, b: jax.Array) -> jax.Array:
        return lax.scan(lambda d, ab: (ab[0] @ d + ab[1],) * 2, jnp.zeros_like(b[0]), (a, b))[1]

    def tree(a: jax.Array, b: jax.Array) -> jax.Array:
        def combine(early: PyTree, late: PyTree) -> PyTree:
            return late[0] @ early[0], (late[0] @ early[1][..., None])[..., 0] + late[1]

        return lax.associative_scan(combine, (a, b))[1]

    d: jax.Array = lax.platform_dependent(a, b, cpu=loop, default=tree)
    return d
