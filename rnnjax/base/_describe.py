"""A table of the parts of a cell: shapes, parameters, carry, and what runs fast."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from rnnjax.base._calls import as_source
from rnnjax.base._cell import Cell, PyTree, check_cell
from rnnjax.base._probes import Node, probed
from rnnjax.base._seq import Seq

_LONGEST = 44  # characters of the name of a part
_HEADER = ("part", "in", "out", "parameters", "share", "carry", "over time")


class Part(NamedTuple):
    """A row of `describe`. Parameters and carry are the part's own, without those of the parts below it.

    Attributes:
      depth: 0 for the whole, 1 for its parts, 2 for theirs.
      name: how it was made, after its name in the cell above if it has one.
      x: shapes of its input, as `jax.ShapeDtypeStruct`s.
      y: shapes of its output.
      parameters: number of scalars.
      carry: the leaves of its carry, as `jax.ShapeDtypeStruct`s.
      time: "window": a whole window runs fast; "scan": it runs step by step; "": as the parts below say, or the one
        above, whose window does its work.
    """

    depth: int
    name: str
    x: PyTree
    y: PyTree
    parameters: int
    carry: tuple[jax.ShapeDtypeStruct, ...]
    time: str

    @property
    def carry_bytes(self) -> int:
        """The size of its carry for one example."""
        return sum(leaf.size * leaf.dtype.itemsize for leaf in self.carry)


@dataclasses.dataclass(frozen=True)
class Description:
    """The parts of a cell, as `describe` returns them; `str` is a table, `short()` a line.

    Attributes:
      parts: the whole first, then its parts from the input to the output, each followed by its own.
    """

    parts: tuple[Part, ...]

    @property
    def parameters(self) -> int:
        """The number of scalars in the params."""
        return sum(part.parameters for part in self.parts)

    @property
    def carry_bytes(self) -> int:
        """The size of the carry of one example."""
        return sum(part.carry_bytes for part in self.parts)

    @property
    def carry_leaves(self) -> int:
        """The number of arrays in the carry."""
        return sum(len(part.carry) for part in self.parts)

    def short(self) -> str:
        """Returns one line: inputs and outputs, parameters, carry, and the parts that are scanned."""
        whole, scanned = self.parts[0], [part.name for part in self.parts if part.time == "scan"]
        how = f"scanned: {', '.join(dict.fromkeys(scanned))}" if scanned else "all parts run whole windows"
        size = f"{self.parameters:,} parameters, carry of {self._carry()}"
        return f"{_shape(whole.x)} -> {_shape(whole.y)}, {size}; {how}"

    def rows(self) -> list[tuple[str, ...]]:
        """Returns the cells of the table as text, without header and total."""
        return [self._row(part) for part in self.parts]

    def _row(self, part: Part) -> tuple[str, ...]:
        share = f"{part.parameters / self.parameters:.1%}" if part.parameters else ""
        carry = f"{part.carry_bytes:,} B in {len(part.carry)}" if part.carry else ""
        count = f"{part.parameters:,}" if part.parameters else ""
        return "  " * part.depth + part.name, _shape(part.x), _shape(part.y), count, share, carry, part.time

    def _carry(self) -> str:
        return f"{self.carry_bytes:,} B in {self.carry_leaves} {'array' if self.carry_leaves == 1 else 'arrays'}"

    def _total(self) -> tuple[str, ...]:
        return "total", "", "", f"{self.parameters:,}", "", f"{self.carry_bytes:,} B in {self.carry_leaves}", ""

    def __str__(self) -> str:
        table = [_HEADER, *self.rows(), self._total()]
        widths = [max(len(row[i]) for row in table) for i in range(len(_HEADER))]
        lines = [
            "  ".join(text.rjust(w) if i in (3, 4) else text.ljust(w) for i, (text, w) in enumerate(zip(row, widths)))
            for row in table
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join(line.rstrip() for line in (lines[0], rule, *lines[1:-1], rule, lines[-1]))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            name, *rest = map(html.escape, cells)
            indented = name.replace("  ", "&emsp;")
            numbers = "".join(f'<{tag} style="text-align:right">{text}</{tag}>' for text in rest)
            return f'<tr><{tag} style="text-align:left">{indented}</{tag}>{numbers}</tr>'

        head, foot = row(_HEADER, "th"), row(self._total(), "th")
        body = "".join(row(cells, "td") for cells in self.rows())
        return f"<table><thead>{head}</thead><tbody>{body}</tbody><tfoot>{foot}</tfoot></table>"


def describe(cell: Cell, x: PyTree) -> Description:
    """Returns a table of the parts of a cell: shapes in and out, parameters, carry, and what runs fast.

    Only shapes are computed. A part is a cell among the arguments of the function that made the cell above it, for
    functions decorated with `factory` or `wrapper`. Parameters and carry belong to the lowest part that makes them, so
    each column adds up to its total. "window" marks a part with a fast implementation of whole windows, "scan" one that
    runs step by step. The carry is that of one example.

    Args:
      cell: the cell.
      x: one input of the cell, or its `jax.ShapeDtypeStruct`: `[T, ...]` for `unroll(cell)`.

    Raises:
      ValueError: x does not fit the cell.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.unroll(rnnjax.stack(rnnjax.lstm(40), rnnjax.zoneout(rnnjax.gru(20), 0.1), rnnjax.linear(9)))
      >>> print(describe(cell, jnp.ones((12, 3))))
      part              in        out       parameters  share  carry       over time
      ------------------------------------------------------------------------------
      unroll            [12, 3]   [12, 9]
        stack           [12, 3]   [12, 9]
          lstm(40)      [12, 3]   [12, 40]       7,040  64.7%  320 B in 2  window
          zoneout(0.1)  [12, 40]  [12, 20]                                 window
            gru(20)     [40]      [20]           3,660  33.6%  80 B in 1
          linear(9)     [12, 20]  [12, 9]          189   1.7%              window
      ------------------------------------------------------------------------------
      total                                     10,889         400 B in 3
    """
    check_cell("describe", cell)
    return Description(tuple(_yield_rows(probed(cell, x), 0, "")))


def _yield_rows(node: Node, depth: int, above: str) -> Iterator[Part]:
    """Yields the row of a part, then those of its own parts; parts that are never run belong to the one above."""
    below = [part for part in node.below.values() if part.calls]
    time = _time(node, above)
    inside = "inside" if above == "inside" or (time == "window" and not _hands_on(node)) else time
    unused = [part for part in node.below.values() if not part.calls for part in _all(part)]
    yield Part(
        depth,
        _name(node, below),
        node.x,
        node.y,
        node.parameters + sum(part.parameters for part in unused),
        (*node.carry, *(leaf for part in unused for leaf in part.carry)),
        "" if time == "window" and below and _hands_on(node) else time,
    )
    for part in below:
        yield from _yield_rows(part, depth + 1, inside)


def _all(node: Node) -> Iterator[Node]:
    yield node
    for part in node.below.values():
        yield from _all(part)


def _hands_on(node: Node) -> bool:
    """Returns whether the parts of a part run as it does; else its window does their work."""
    return "window" not in node.calls or any("window" in part.calls for part in node.below.values())


def _time(node: Node, above: str) -> str:
    """Returns how a part runs over time, given how the part above it does."""
    fast = "scan" if node.cell.window is None else "window"
    if "window" in node.calls:
        return fast
    if above == "inside" or any("window" in part.calls for part in _all(node)):
        return ""  # a part of a window, or it is given whole windows, and hands them on
    return "scan" if above == "scan" or "slow" in node.calls else fast


def _name(node: Node, below: list[Node]) -> str:
    """Returns how a part was made, with its own parts left out where they have rows of their own."""
    call = node.cell.made
    if call is None or not below:
        text = repr(node.cell)
    else:
        given = [(name, value) for name, value in call.arguments() if not _has_cells(value)]
        text = f"{call.name}({', '.join(f'{name}={as_source(v)}' if name else as_source(v) for name, v in given)})"
    text = text.removesuffix("()") if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    return f"{node.name}: {text}" if node.name else text


def _has_cells(value: Any) -> bool:
    return any(isinstance(a, Cell) for a in jax.tree.leaves(value, is_leaf=lambda a: isinstance(a, Cell)))


def _shape(tree: PyTree) -> str:
    """Returns the shapes of a tree as text: "[12, 3]", "int32[12]", "[12, 3] with marks" for a Seq."""
    if isinstance(tree, Seq):
        return f"{_shape(tree.x)} with marks"
    leaves = jax.tree.leaves(tree)
    return ", ".join(f"{'' if leaf.dtype.name == 'float32' else leaf.dtype}{list(leaf.shape)}" for leaf in leaves)
