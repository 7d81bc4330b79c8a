"""Checks of states and of what drives a cell, so that a misfit is one line."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, Seq
from rnnjax.base._arguments import check_array, describe_value
from rnnjax.base._misfits import check_carry, check_inputs, explained


def check_state(what: str, h: Any, axes: str = "[N]") -> jax.Array:
    """Returns a state, or an array of states, as an array.

    Raises:
      ValueError: it is not in floating point, or has other axes.

    Example:
      >>> check_state("lyapunov: h", jnp.zeros((2, 3)))
      Traceback (most recent call last):
      ValueError: lyapunov: h is an array [N] in floating point, got float32 [2, 3]
    """
    return jnp.asarray(check_array(what, h, axes, "floating", some=True))


def check_single(what: str, h: jax.Array) -> jax.Array:
    """Returns an array that is to be decomposed, which half precision cannot be.

    Raises:
      ValueError: it is in half precision.

    Example:
      >>> check_single("lyapunov: h", jnp.ones(3, jnp.bfloat16))
      Traceback (most recent call last):
      ValueError: lyapunov: h is wanted in single or double precision, got bfloat16 [3]
    """
    if jnp.finfo(h.dtype).bits < 32:
        raise ValueError(f"{what} is wanted in single or double precision, got {describe_value(h)}")
    return h


def first_of(what: str, xs: PyTree) -> PyTree:
    """Returns the first of a window of inputs.

    Raises:
      ValueError: there is no step.
    """
    leaves = jax.tree.leaves(xs)
    if not leaves or any(not jnp.ndim(a) or not len(a) for a in leaves if hasattr(a, "shape")):
        shown = ", ".join(describe_value(a) for a in leaves) or "nothing"
        raise ValueError(f"{what} takes inputs [T, ...] of at least one step, got {shown}")
    return jax.tree.map(lambda a: a[0], xs) if all(hasattr(a, "shape") for a in leaves) else xs


def start_of(what: str, cell: Cell, params: PyTree, x: PyTree, carry: PyTree) -> tuple[PyTree, PyTree]:
    """Returns the weights and the first carry of a cell of single steps.

    Raises:
      ValueError: x, params or carry do not fit the cell, or x has marks.
    """
    if isinstance(x, Seq):
        raise ValueError(f"{what} takes plain inputs, got a Seq: give the steps that count, as xs[valid]")
    if x is None:
        raise ValueError(f"{what} takes inputs, got None")
    with explained(cell, x, params):
        check_inputs(cell, x)
        weights = cell.weights(params)
        if carry is not None:
            check_carry(cell, weights, x, carry)
        start = cell.initial_carry(weights, x) if carry is None else carry
        jax.eval_shape(lambda weights, h, x: cell.step(weights, h, x, None), weights, start, x)
    return weights, start
