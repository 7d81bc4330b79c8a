"""TreeCell -> TreeCell: transforms of the state of a node before its parent reads it."""

from __future__ import annotations

from typing import Any

import jax

from rnnjax.base import Cell, PyTree
from rnnjax.base._cell import check_cell, split
from rnnjax.trees._cells import TreeCell


def at_nodes(tree: TreeCell, cell: Cell) -> TreeCell:
    """Applies a stateless cell, such as `dropout` or `layer_norm`, to the visible state of each node, leaves included.

        h <- cell(h), for the parent and for the output; the memory c of a Tree-LSTM is unchanged

    Params are {"tree", "cell"}. Each node draws its own noise. The cells of parameters, `parametrize` and
    `dropconnect`, accept a TreeCell in place of a core.

    Args:
      tree: the functions at a node.
      cell: a one-step cell from h to h.

    Raises:
      ValueError: when params are made, if the cell has a state or changes the shape of h.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax.trees import recnn
      >>> tree = at_nodes(recnn(2), rnnjax.layer_norm())
      >>> params = tree.init(jax.random.key(0), jnp.ones(3))
      >>> print(tree.node(params, jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([True, True])).sum().round(4) + 0)
      0.0

    Reference: Ba, Kiros, Hinton, Layer normalization, 2016; Srivastava et al., Dropout, 2014.
    """
    check_cell("at_nodes", cell)

    def init(key: jax.Array, x: Any) -> PyTree:
        kt, kc = jax.random.split(key)
        params = tree.init(kt, x)
        h = jax.eval_shape(lambda p, x: tree.read(tree.leaf(tree.weights(p), x)), params, x)
        inner = cell.init(kc, h)
        carry, y = jax.eval_shape(lambda p, h: _memory_and_output(cell, p, h), inner, h)
        if jax.tree.leaves(carry) or y != h:
            raise ValueError(
                f"at_nodes takes a cell without memory from {h} to the same shape; this one has the carry "
                f"{carry} and gives {y}"
            )
        return {"tree": params, "cell": inner}

    def weights(params: PyTree, key: jax.Array | None = None) -> PyTree:
        kt, kc = split(key, 2)
        return {"tree": tree.weights(params["tree"], kt), "cell": cell.weights(params["cell"], kc)}

    def shown(w: PyTree, state: PyTree, key: jax.Array | None) -> PyTree:
        return tree.write(state, cell.step(w["cell"], (), tree.read(state), key)[1])

    def leaf(w: PyTree, x: PyTree, key: jax.Array | None = None) -> PyTree:
        kt, kc = split(key, 2)
        return shown(w, tree.leaf(w["tree"], x, kt), kc)

    def node(w: PyTree, below: PyTree, present: jax.Array, key: jax.Array | None = None) -> PyTree:
        kt, kc = split(key, 2)
        return shown(w, tree.node(w["tree"], below, present, kt), kc)

    return tree.replace(init=init, leaf=leaf, node=node, weights=weights)


def _memory_and_output(cell: Cell, params: PyTree, x: PyTree) -> tuple[PyTree, PyTree]:
    """Returns the carry of a cell before its step, and its output."""
    w = cell.weights(params)
    carry = cell.initial_carry(w, x)
    return carry, cell.step(w, carry, x)[1]
