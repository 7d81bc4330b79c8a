"""Shortcuts around a cell: concatenation, residual and highway connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, unroll, without_marks, wrapper
from rnnjax.base._cell import Step
from rnnjax.base._compose import under_name
from rnnjax.base._numerics import as_dtype
from rnnjax.base._seq import with_marks_of, zero_invalid
from rnnjax.cells import linear


@wrapper
def concat_skip(cell: Cell) -> Cell:
    """A shortcut by concatenation: the next layer receives both the input and the output of the cell.

        y = [x, cell(x)]

    In `stack(concat_skip(lstm(n)), concat_skip(lstm(n)), linear(m))` each layer reads the outputs of all before it.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> print(rnnjax.run(concat_skip(rnnjax.pointwise(jnp.negative)), (), jnp.ones(2))[1])
      [ 1.  1. -1. -1.]

    Reference: Graves, Generating sequences with recurrent neural networks, 2013; Huang, Liu, van der Maaten,
    Weinberger, Densely connected convolutional networks, 2017.
    """
    return _join_output(cell, lambda w, x, y: jnp.concatenate([x, y], -1))


def _join_output(cell: Cell, join: Callable[[PyTree, PyTree, PyTree], PyTree]) -> Cell:
    """Returns the cell whose output is joined with its input: join(weights, x, y)."""

    def around(step: Step) -> Step:
        def joint(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
            carry, y = step(w, carry, x, key)
            return carry, with_marks_of(x, join(w, without_marks(zero_invalid(x)), without_marks(y)))

        return joint

    return cell.replace(step=around(cell.step), window=around(unroll(cell).step), output=None)


@wrapper
def residual(cell: Cell) -> Cell:
    """A residual shortcut around a cell.

        y = x + cell(x)

    Raises:
      ValueError: the cell's output has another shape than its input.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> silent = residual(rnnjax.pointwise(jnp.zeros_like))
      >>> print(rnnjax.run(silent, (), jnp.ones(2))[1])
      [1. 1.]

    Reference: He, Zhang, Ren, Sun, Deep residual learning for image recognition, 2016.
    """

    def add(w: PyTree, x: PyTree, y: PyTree) -> PyTree:
        _check_same_shape("residual", x, y)
        return jax.tree.map(jnp.add, x, y)

    return _join_output(cell, add)


@wrapper
def highway(cell: Cell, gate_bias: Any = -2.0) -> Cell:
    """A gated shortcut around a cell: a gate computed from the input decides how much of it bypasses the cell.

        t = sigmoid(x w + b + gate_bias),  y = t cell(x) + (1 - t) x

    Params are {"cell", "gate": {"w", "b"}}.

    Args:
      cell: a cell whose input and output have the same features.
      gate_bias: added to the gate at run time; below zero, mostly the shortcut is used at the start.

    Raises:
      ValueError: the cell's output has another shape than its input.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = highway(rnnjax.vanilla(3), gate_bias=-100.0)
      >>> x = jnp.arange(3.0)
      >>> print(rnnjax.run(cell, cell.init(jax.random.key(0), x), x)[1])
      [0. 1. 2.]

    Reference: Srivastava, Greff, Schmidhuber, Highway networks, 2015.
    """
    check_number("highway: gate_bias", gate_bias)

    def init(key: jax.Array, x: Any) -> PyTree:
        kc, kg = jax.random.split(key)
        return {"cell": cell.init(kc, x), "gate": linear(without_marks(x).shape[-1]).init(kg, x)}

    def mix(w: PyTree, x: jax.Array, y: jax.Array) -> jax.Array:
        _check_same_shape("highway", x, y)
        gate = linear(x.shape[-1]).step(w["gate"], (), x)[1]
        t = jax.nn.sigmoid(gate + as_dtype(gate_bias, x))
        return x + t * (y - x)

    return _join_output(under_name(cell, "cell"), mix).replace(init=init)


def _check_same_shape(name: str, x: PyTree, y: PyTree) -> None:
    """Rejects a shortcut between unequal shapes."""
    if jax.tree.map(jnp.shape, x) != jax.tree.map(jnp.shape, y):
        raise ValueError(
            f"{name} adds a cell's output {jax.tree.map(jnp.shape, y)} to its input "
            f"{jax.tree.map(jnp.shape, x)}: the shapes must agree"
        )
