"""The measurements of `--report`, which are logged during training beside the losses."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree
from rnnjax.base._paths import is_recurrent
from rnnjax.base._unroll import as_step_cell
from rnnjax.dynamics import Flow, gradient_flow, matrices
from rnnjax.unitary import cayley_condition, orthogonality_error

_EXAMPLES = 4  # of a batch, over which reports are averaged

Report = Callable[[Cell, PyTree, PyTree], dict[str, jax.Array]]


def _orthogonality_errors(cell: Cell, params: PyTree, x: PyTree) -> dict[str, jax.Array]:
    """Returns the distance of the recurrent matrices from unitary: the largest entry of any abs(u* u - I)."""
    found = matrices(cell.weights(params))
    if not found:
        raise ValueError("this network has no square recurrent matrix")
    return {"drift": jnp.stack([orthogonality_error(u.astype(jnp.float32)) for u in found]).max()}


def _conditions(cell: Cell, params: PyTree, x: PyTree) -> dict[str, jax.Array]:
    """Returns the smallest reciprocal condition number of Cayley transforms; at 1e-7, float32 has no correct digit."""
    named = jax.tree.leaves_with_path(params)
    packed = [a for path, a in named if is_recurrent(path) and a.ndim == 1]
    if not packed:
        raise ValueError("no recurrent matrix of this network comes from a Cayley transform")
    return {"cayley_condition": jnp.stack([cayley_condition(a) for a in packed]).min()}


def _gradient_flows(cell: Cell, params: PyTree, x: PyTree) -> Flow:
    """Returns states and gradients of several examples, on the first axis."""
    some = jax.tree.map(lambda a: a[:_EXAMPLES], x)
    return jax.vmap(lambda xs: gradient_flow(as_step_cell(cell), params, xs))(some)


def _state_norm(cell: Cell, params: PyTree, x: PyTree) -> dict[str, jax.Array]:
    """Returns the norm of the carry after the last step of a window."""
    return {"state_norm": _gradient_flows(cell, params, x).states[:, -1].mean()}


def _flow(cell: Cell, params: PyTree, x: PyTree) -> dict[str, jax.Array]:
    """Returns the norm of d h_T / d h_t for t = 0 and t = T / 2, as `dynamics.gradient_flow` defines it."""
    norms = _gradient_flows(cell, params, x).norms
    return {"flow_whole": norms[:, 0].mean(), "flow_half": norms[:, norms.shape[1] // 2].mean()}


REPORTS: dict[str, Report] = {
    "drift": _orthogonality_errors,
    "cayley_condition": _conditions,
    "state_norm": _state_norm,
    "gradient_flow": _flow,
}
