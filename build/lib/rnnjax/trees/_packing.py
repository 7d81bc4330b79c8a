"""Packs trees of different shapes into arrays of one shape: rows of nodes that are computed together."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from rnnjax.data import Batch
from rnnjax.trees._brackets import Tree

_NOWHERE = -1  # the place of a missing child or tree


class Forest(NamedTuple):
    """Several trees as arrays. Leaf i is at place i, and node j of row r is at place `len(leaves) + r * width + j`.

    A row comes after the rows of all its children, so all its nodes can be computed together.

    Attributes:
      leaves: the inputs of the leaves from left to right, `[L, ...]`: word indices or features.
      valid: `[L]`, true for leaves, false for padding.
      first: `[L]`, true where a tree begins.
      children: places `[rows, width, arity]`; -1 for a missing child. A place is the child of at most one node.
      kept: `[rows, registers]`: the nodes of each row, by their index in it, whose states are stored until a parent
        needs them; -1 leaves a register unchanged. Few are needed at a time, so the carry of the loop is small.
      roots: places `[trees]`; -1 for a missing tree.
      ends: places of the last leaves, `[trees]`; -1 for a missing tree.
    """

    leaves: Any
    valid: Any
    first: Any
    children: Any
    kept: Any
    roots: Any
    ends: Any


class Size(NamedTuple):
    """The shape of a forest; each shape is compiled once."""

    leaves: int
    rows: int
    width: int
    arity: int
    trees: int
    registers: int


def rounded(n: int) -> int:
    """Rounds up to a power of two or three times one, which gives few sizes, at most half too large.

    Example:
      >>> [rounded(n) for n in (0, 1, 5, 7, 9, 40)]
      [0, 1, 6, 8, 12, 48]
    """
    if n < 3:
        return n
    power = 1 << (n - 1).bit_length()
    return power * 3 // 4 if n <= power * 3 // 4 else power


class _Node(NamedTuple):
    """A node of one of several trees."""

    tree: int
    node: int


def schedule(trees: Sequence[Tree], width: int) -> list[list[_Node]]:
    """Schedules the inner nodes of trees in as few rows of at most `width` as possible, children before their parents.

    Of the nodes whose children are done, those farthest from their root go first.

    Example:
      >>> from rnnjax.trees import parse
      >>> trees = parse("(((a) (b)) ((c) (d))) ((e) (f))")
      >>> [[node.tree for node in row] for row in schedule(trees, width=2)]
      [[0, 0], [0, 1]]

    Reference: Hu, Parallel sequencing and assembly line problems, 1961.
    """
    parents: list[list[int]] = []
    depths: list[list[int]] = []
    waiting: list[list[int]] = []
    for tree in trees:
        parent, depth = [_NOWHERE] * len(tree.children), [0] * len(tree.children)
        for node in reversed(range(len(tree.children))):
            for child in tree.children[node]:
                parent[child], depth[child] = node, depth[node] + 1
        parents.append(parent)
        depths.append(depth)
        waiting.append([sum(bool(tree.children[c]) for c in below) for below in tree.children])
    ready = [
        (-depths[t][node], _Node(t, node))
        for t, tree in enumerate(trees)
        for node, below in enumerate(tree.children)
        if below and not waiting[t][node]
    ]
    heapq.heapify(ready)
    rows = []
    while ready:
        row = [heapq.heappop(ready)[1] for _ in range(min(width, len(ready)))]
        rows.append(row)
        for t, node in row:
            above = parents[t][node]
            if above != _NOWHERE:
                waiting[t][above] -= 1
                if not waiting[t][above]:
                    heapq.heappush(ready, (-depths[t][above], _Node(t, above)))
    return rows


def registers(trees: Sequence[Tree], rows: Sequence[Sequence[_Node]]) -> list[list[int]]:
    """Assigns registers to nodes, as few as possible: for each row, the indices that `Forest.kept` holds.

    A register is free again in the row of its node's parent.

    Example:
      >>> from rnnjax.trees import parse
      >>> trees = parse("(((a) (b)) ((c) (d))) ((e) (f))")
      >>> registers(trees, schedule(trees, width=3))
      [[0, 1], [-1, -1]]
    """
    free: list[int] = []
    holding: dict[_Node, int] = {}
    kept: list[dict[int, int]] = []
    count = 0
    for row in rows:
        below = [_Node(t, child) for t, node in row for child in trees[t].children[node]]
        for register in [holding.pop(child) for child in below if child in holding]:
            heapq.heappush(free, register)
        kept.append({})
        for j, node in enumerate(row):
            if node.node == len(trees[node.tree].children) - 1:
                continue  # a root: no node needs its state
            if not free:
                free.append(count)
                count += 1
            holding[node] = heapq.heappop(free)
            kept[-1][holding[node]] = j
    return [[taken.get(register, _NOWHERE) for register in range(count)] for taken in kept]


def vocabulary(trees: Sequence[Tree], least: int = 1) -> dict[str, int]:
    """Numbers the words that occur, starting at 1; 0 stands for unknown words.

    Args:
      trees: the training trees.
      least: how often a word must occur.

    Example:
      >>> from rnnjax.trees import parse
      >>> vocabulary(parse("((not) (bad)) ((not) (good))"))
      {'bad': 1, 'good': 2, 'not': 3}
    """
    counts = Counter(word for tree in trees for word in tree.sentence())
    return {word: i for i, word in enumerate(sorted(w for w, n in counts.items() if n >= least), 1)}


def pack(
    groups: Sequence[Sequence[Tree]],
    words: Mapping[str, int],
    classes: Mapping[str, int],
    width: int | None = None,
    size: Size | None = None,
) -> Batch:
    """Packs groups of trees into a batch with one forest per group.

    Args:
      groups: of trees.
      words: index of each word; a missing word has index 0.
      classes: index of each label; nodes with a missing label do not count.
      width: nodes per row; None for as many as a group has trees.
      size: to pad to; None for the smallest `rounded` size that fits all groups.

    Returns:
      Batch of x: `Forest`, y: labels `[groups, places]`, mask: true where a place has a label.

    Raises:
      ValueError: the size is too small.

    Example:
      >>> from rnnjax.trees import parse
      >>> trees = parse("(1 (0 (0 not) (0 good)) (1 really)) (1 good)")
      >>> batch = pack([trees], vocabulary(trees), {"0": 0, "1": 1})
      >>> print(batch.x.leaves, batch.x.children.tolist(), batch.x.roots, batch.y, batch.mask)
      [[2 1 3 1]] [[[[0, 1], [-1, -1]], [[4, 2], [-1, -1]]]] [[6 3]] [[0 0 1 1 0 0 1 0]]
      [[ True  True  True  True  True False  True False]]
    """
    width = width or (size.width if size else rounded(max(len(trees) for trees in groups)))
    rows = [schedule(trees, width) for trees in groups]
    kept = [registers(trees, row) for trees, row in zip(groups, rows)]
    size = size or _needed(groups, rows, kept, width)
    forests = [_packed(*group, words, classes, size) for group in zip(groups, rows, kept)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *forests)


def _needed(
    groups: Sequence[Sequence[Tree]], rows: Sequence[list[list[_Node]]], kept: Sequence[list[list[int]]], width: int
) -> Size:
    """Returns the smallest rounded size that fits all groups."""
    leaves = max(sum(not below for tree in trees for below in tree.children) for trees in groups)
    arity = max(len(below) for trees in groups for tree in trees for below in tree.children)
    most = max((len(taken) for group in kept for taken in group), default=0)
    numbers = rounded(leaves), rounded(max(map(len, rows))), width, max(arity, 2), rounded(max(map(len, groups)))
    return Size(*numbers, rounded(max(most, 1)))


def _packed(
    trees: Sequence[Tree],
    rows: list[list[_Node]],
    kept: list[list[int]],
    words: Mapping[str, int],
    classes: Mapping[str, int],
    size: Size,
) -> Batch:
    """Returns one forest and its labels."""
    leaves = [_Node(t, i) for t, tree in enumerate(trees) for i, below in enumerate(tree.children) if not below]
    at = {node: place for place, node in enumerate(leaves)}
    at |= {node: size.leaves + r * size.width + j for r, row in enumerate(rows) for j, node in enumerate(row)}
    children = np.full((size.rows * size.width, size.arity), _NOWHERE, np.int32)
    symbols, y = np.zeros(size.leaves, np.int32), np.zeros(size.leaves + len(children), np.int32)
    mask, first = np.zeros(len(y), bool), np.zeros(size.leaves, bool)
    roots, ends = np.full((2, size.trees), _NOWHERE, np.int32)
    most = max(map(len, kept), default=0)
    if len(leaves) > size.leaves or len(rows) > size.rows or len(trees) > size.trees or most > size.registers:
        raise ValueError(
            f"{len(trees)} trees with {len(leaves)} leaves in {len(rows)} rows, {most} registers, do not "
            f"fit into {size}"
        )
    for node, place in at.items():
        tree = trees[node.tree]
        label = classes.get(tree.labels[node.node])
        y[place], mask[place] = label or 0, label is not None
        below = tree.children[node.node]
        if below:
            children[place - size.leaves, : len(below)] = [at[_Node(node.tree, child)] for child in below]
        else:
            symbols[place] = words.get(tree.words[node.node], 0)
    for t, tree in enumerate(trees):
        roots[t] = at[_Node(t, len(tree.children) - 1)]
    for place, node in enumerate(leaves):
        first[place] = ends[node.tree] == _NOWHERE
        ends[node.tree] = place
    valid = np.arange(size.leaves) < len(leaves)
    grid = children.reshape(size.rows, size.width, size.arity)
    held = np.full((size.rows, size.registers), _NOWHERE, np.int32)
    held[: len(kept), :most] = np.reshape(kept, (len(kept), most))
    return Batch(Forest(symbols, valid, first, grid, held, roots, ends), y, mask)
