"""Cells that note what their parts are given and give while a program is traced: the basis of `describe`."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base._calls import Call, is_plain_function
from rnnjax.base._cell import Cell, PyTree, Step, weights_key, without_fast
from rnnjax.base._misfits import explained
from rnnjax.base._unroll import scan_window


@dataclasses.dataclass(eq=False)
class Node:
    """A part of a cell and what was noted about it.

    Attributes:
      name: its name among the parts of the cell above; may be empty.
      cell: the part itself.
      above: the cell that it is a part of.
      below: its own parts, by their place.
      calls: how it was run: "step", "window", or "slow" for the step without fast windows.
      x, y: shapes of its input and output.
      parameters: scalars of params that it made itself.
      carry: shapes of the leaves of the carry that it made itself.
    """

    name: str
    cell: Cell
    above: Node | None = None
    below: dict[str, Node] = dataclasses.field(default_factory=dict)
    calls: set[str] = dataclasses.field(default_factory=set)
    x: PyTree = None
    y: PyTree = None
    parameters: int = 0
    carry: list[jax.ShapeDtypeStruct] = dataclasses.field(default_factory=list)


class _Owners:
    """Which part made each leaf of the params, or of the carry."""

    def __init__(self) -> None:
        self._leaves: dict[int, tuple[Any, Node]] = {}  # by identity; the leaves are kept, so that none is reused
        self._trees: dict[Any, list[Node]] = {}

    def claim(self, tree: PyTree, node: Node) -> PyTree:
        """Notes the leaves of a tree as made by a part, except those that its own parts made, and returns the tree.

        Where one of its parts made a tree of the same form and shapes, each leaf is that part's with other values.
        """
        leaves, form = jax.tree.flatten(tree)
        kind = form, tuple(jnp.shape(leaf) for leaf in leaves)
        for leaf, owner in zip(leaves, self._trees.get((node, kind), [node] * len(leaves))):
            self._leaves.setdefault(id(leaf), (leaf, owner))
        self._trees[node.above, kind] = [self._leaves[id(leaf)][1] for leaf in leaves]
        return tree

    def leaves(self, tree: PyTree) -> list[tuple[Node, jax.ShapeDtypeStruct]]:
        """Returns the leaves of a tree that was claimed, with the parts that made them."""
        return [(self._leaves[id(leaf)][1], _shape(leaf)) for leaf in jax.tree.leaves(tree)]


def probed(cell: Cell, x: PyTree) -> Node:
    """Traces a cell on an input and returns what was noted. Nothing is computed.

    Raises:
      ValueError: x does not fit the cell.
    """
    root, key = Node("", cell), jax.eval_shape(jax.random.key, 0)
    params, carry = _Owners(), _Owners()
    probe = _probe(cell, root, params, carry)

    def init(key: jax.Array, x: PyTree) -> PyTree:
        made = probe.init(key, x)
        for node, leaf in params.leaves(made):
            node.parameters += leaf.size
        return made

    def step(made: PyTree, x: PyTree, key: jax.Array) -> PyTree:
        weights = probe.weights(made, weights_key(key))
        start = probe.initial_carry(weights, x)
        for node, leaf in carry.leaves(start):
            node.carry.append(leaf)
        return probe.step(weights, start, x, key)[1]

    with explained(cell, x):
        jax.eval_shape(step, jax.eval_shape(init, key, x), x, key)
    return root


def _probe(cell: Cell, node: Node, params: _Owners, carry: _Owners) -> Cell:
    """Returns the cell with notes about itself and, if it can be built again from them, about its parts."""
    return _noting(_rebuilt(cell, node, params, carry), node, params, carry, slow=False)


def _noting(cell: Cell, node: Node, params: _Owners, carry: _Owners, slow: bool) -> Cell:
    """Returns the cell with functions that note their arguments and results in a node."""

    def noting(step: Step, how: str) -> Step:
        def noted(w: PyTree, h: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
            new = not node.calls or (how == "window" and how not in node.calls)
            node.calls.add(how)
            h, y = step(w, h, x, key)
            if new:
                node.x, node.y = jax.tree.map(_shape, (x, y))
            return h, y

        return noted

    window = scan_window(cell) if cell.window is None else cell.window
    return dataclasses.replace(
        cell,
        init=lambda key, x: params.claim(cell.init(key, x), node),
        initial_carry=lambda weights, x: carry.claim(cell.initial_carry(weights, x), node),
        step=noting(cell.step, "slow" if slow else "step"),
        window=None if slow else noting(window, "window"),
        slow=lambda: _noting(without_fast(cell), node, params, carry, slow=True),
    )


def _rebuilt(cell: Cell, node: Node, params: _Owners, carry: _Owners) -> Cell:
    """Builds a cell again, with its parts replaced by probes."""
    call = cell.made

    def part(place: str, value: Any) -> Any:
        if not isinstance(value, Cell):
            return value
        below = node.below.setdefault(place, Node(_name(call, place), value, node))
        return _probe(value, below, params, carry)

    def change(place: str, argument: Any) -> Any:
        if is_plain_function(argument):
            return lambda *args, **kwargs: part(place, argument(*args, **kwargs))
        leaves, form = jax.tree.flatten(argument, is_leaf=lambda a: isinstance(a, Cell))
        return jax.tree.unflatten(form, [part(f"{place}/{i}", leaf) for i, leaf in enumerate(leaves)])

    return cell if call is None else call.repeated(change)


def _name(call: Call | None, place: str) -> str:
    """Returns the name of an argument; "" if it has none."""
    name = place.partition("/")[0]
    return "" if call is None or name.isdecimal() else name


def _shape(a: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jnp.shape(a), jax.dtypes.result_type(a))
