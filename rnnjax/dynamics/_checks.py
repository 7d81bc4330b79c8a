"""Checks of states and of what drives a cell, so that a misfit is one line."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, Seq
from rnnjax.base._misfits import check_carry, explained


def check_state(what: str, h: Any, axes: str = "[N]") -> jax.Array:
    """Returns a state, or an array of states, as an array.

    Raises:
      ValueError: it is not in floating point, or has other axes.

    Example:
      >>> check_state("lyapunov: h", jnp.zeros((2, 3)))
      Traceback (most recent call last):
      ValueError: lyapunov: h is an array [N] in floating point, got float32 [2, 3]
    """
    leaves = jax.tree.leaves(h)
    shown = f"{jnp.result_type(h)} {list(jnp.shape(h))}" if hasattr(h, "dtype") else f"a {type(h).__name__}"
    array = jnp.asarray(h) if len({jnp.shape(a) for a in leaves}) == 1 else None
    if array is None or not jnp.issubdtype(array.dtype, jnp.floating) or array.ndim != axes.count(",") + 1:
        raise ValueError(f"{what} is an array {axes} in floating point, got {shown}")
    return array


def start_of(what: str, cell: Cell, params: PyTree, x: PyTree, carry: PyTree) -> tuple[PyTree, PyTree]:
    """Returns the weights and the first carry of a cell of single steps.

    Raises:
      ValueError: x, params or carry do not fit the cell, or x has marks.
    """
    if isinstance(x, Seq):
        raise ValueError(f"{what} takes plain inputs, got a Seq: give the steps that count, as xs[valid]")
    with explained(cell, x, params):
        weights = cell.weights(params)
        if carry is not None:
            check_carry(cell, weights, x, carry)
        start = cell.initial_carry(weights, x) if carry is None else carry
        jax.eval_shape(lambda weights, h, x: cell.step(weights, h, x, None), weights, start, x)
    return weights, start
