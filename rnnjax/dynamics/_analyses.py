"""All measures of one network on one sequence: gradient flow, bounds, spectra of products, eigenvalues."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Cell, PyTree, run, unroll
from rnnjax.base._carries import memory_cells
from rnnjax.base._cell import check_cell
from rnnjax.base._paths import is_recurrent
from rnnjax.base._seq import num_steps
from rnnjax.base._unroll import as_step_cell
from rnnjax.dynamics._flow import gradient_flow, memory_length, trajectory
from rnnjax.dynamics._products import activation_bound, jacobian_bound, jacobians, spectra
from rnnjax.unitary import BoundFactor, halves_matrix

_MOST_NUMBERS = 2**25  # the most numbers in all stored Jacobians
_LAGS = 16  # the number of lags with singular values
_CLOUDS = 8  # the number of steps whose Jacobians are returned


class Analysis(NamedTuple):
    """How perturbations of the state of a network evolve along one sequence of T steps. Logarithms are natural.

    Attributes:
      norms: `[T + 1]`, norms of d h_T / d h_t, as in `gradient_flow`.
      memory: the effective memory in steps, `memory_length(norms)`.
      cells: `[T + 1]`, norms of d c_T / d c_t of the memory cells of an LSTM only; None: there are none.
      lags: `[k]`, the lags T - t of `logs`.
      logs: `[k, N]`, the logarithms of the singular values of d h_T / d h_t, the largest first.
      bound: `[S + 1]`, the logarithm of prod ||J_s|| over the last S steps, as many as fit in memory.
      activation: `[S + 1]`, the logarithm of prod ||D_s|| ||W||; None: the network does not have that form.
      jacobians: `[m, N, N]`, Jacobians of some steps, including the last.
      matrices: the square recurrent matrices.
    """

    norms: jax.Array
    memory: jax.Array
    cells: jax.Array | None
    lags: jax.Array
    logs: jax.Array
    bound: jax.Array
    activation: jax.Array | None
    jacobians: jax.Array
    matrices: list[jax.Array]


def analysis(cell: Cell, params: PyTree, xs: PyTree, plain: bool = False) -> Analysis:
    """Analyses how perturbations of the state of a network evolve along one sequence; can be jitted.

    Args:
      cell: a window cell, as experiments train it, whose window runs step by step.
      params: of the cell.
      xs: one sequence `[T, ...]`, or a `Seq`.
      plain: whether it is a single layer h = tanh(W h + ..), for which `activation` is computed too.

    Raises:
      ValueError: the cell has no state.

    Example: under a rotation scaled by 0.9 the norm is 0.9^lag: below 1 / e from lag 10 on.
      >>> import jax.numpy as jnp, rnnjax
      >>> u = 0.9 * jnp.array([[0.6, 0.8], [-0.8, 0.6]])
      >>> cell = rnnjax.unroll(rnnjax.recurrent(2, lambda p, h, z: (h @ p["u"] + z,) * 2))
      >>> found = analysis(cell, {"u": u}, jnp.ones((30, 2)))
      >>> int(found.memory), [round(float(a), 2) for a in jnp.exp(found.logs[-1])]
      (10, [0.04, 0.04])
    """
    check_cell("analysis", cell)
    step, steps = as_step_cell(cell), num_steps(xs)
    system, states = trajectory(step, params, xs)
    size = system.start.size
    if not size:
        raise ValueError("this network carries no state from step to step")
    kept_steps = min(steps, max(1, _MOST_NUMBERS // size**2))
    js = jacobians(
        step, params, jax.tree.map(lambda a: a[steps - kept_steps :], xs), system.carry(states[steps - kept_steps])
    )
    lags = np.unique(np.geomspace(1, kept_steps, _LAGS).round().astype(int))
    flow, found = gradient_flow(step, params, xs), matrices(cell.weights(params))
    has_cells = bool(memory_cells(system.carry(system.start)))
    form = plain and [u.shape for u in found] == [(size, size)]
    return Analysis(
        norms=flow.norms,
        memory=memory_length(flow.norms),
        cells=gradient_flow(step, params, xs, part=memory_cells).norms if has_cells else None,
        lags=jnp.asarray(lags),
        logs=spectra(js, at=kept_steps - lags),
        bound=jacobian_bound(js),
        activation=activation_bound(jnp.tanh, found[0], jnp.arctanh(states[-kept_steps:])) if form else None,
        jacobians=js[np.unique(np.linspace(0, kept_steps - 1, _CLOUDS).round().astype(int))],
        matrices=found,
    )


def goes_stepwise(cell: Cell, params: PyTree, xs: PyTree) -> bool:
    """Returns whether a window gives the same state as its steps one by one; a bidirectional cell does not.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> xs = jnp.arange(6.0).reshape(3, 2)
      >>> for cell in (rnnjax.unroll(rnnjax.gru(2)), rnnjax.bidirectional(rnnjax.gru(2))):
      ...     print(goes_stepwise(cell, cell.init(jax.random.key(0), xs), xs))
      True
      False
    """
    few = jax.tree.map(lambda a: a[: min(3, num_steps(xs))], xs)
    window, steps = (run(c, params, few)[0] for c in (cell, unroll(as_step_cell(cell))))
    close = jax.tree.map(lambda a, b: jnp.allclose(a, b, 1e-3, 1e-3), window, steps)
    return all(bool(a) for a in jax.tree.leaves(close))


def matrices(weights: PyTree) -> list[jax.Array]:
    """Returns the square recurrent matrices u as real ones, including those of unitary maps.

    Args:
      weights: from `cell.weights`.

    Example: the matrix of an LSTM, one block per gate, is not square.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cells = rnnjax.vanilla(3), rnnjax.urnn(4), rnnjax.lstm(2)
      >>> [[u.shape for u in matrices(c.weights(c.init(jax.random.key(0), jnp.ones(2))))] for c in cells]
      [[(3, 3)], [(8, 8)], []]
    """
    leaves = jax.tree.leaves_with_path(weights, is_leaf=lambda w: isinstance(w, BoundFactor))
    bound = [halves_matrix(w.matrix()) for _, w in leaves if isinstance(w, BoundFactor)]
    return bound + [w for path, w in leaves if not isinstance(w, BoundFactor) and is_recurrent(path) and _is_square(w)]


def _is_square(w: jax.Array) -> bool:
    """Returns whether this is a square matrix."""
    return w.ndim == 2 and w.shape[0] == w.shape[1]
