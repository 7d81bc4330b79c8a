"""Sparsity patterns: which weights affect which numbers of the state, found once from Jacobians of the step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Cell, PyTree
from rnnjax.credit._attached import Kept, flat, kept
from rnnjax.credit._jaxprs import products

if TYPE_CHECKING:
    from jax.extend.core import ClosedJaxpr

_DRAWS, _BLOCK = 8, 2**24  # the number of random points, and the most numbers to process at once
_KINDS = 12  # with more shapes of classes than this, shapes are rounded up, to compile fewer programs


class Group(NamedTuple):
    """Classes of weights of one array that affect equally many numbers of the state, padded by indices beyond the end.

    Attributes:
      leaf: the index among the weights that matter.
      rows: the numbers of the state on which each class keeps an influence, `[classes, k]`.
      members: the weights of each class, indices into the flat array, `[classes, m]`.
      at_once: whether a row is affected within one step `[classes, k]`.
      colour: the backward pass that computes each row: for a step's derivative with respect to the weights `[classes,
        k]`,
      ahead: and with respect to the carry `[classes, k]`.
      leads: whether, in one step, the row of the last axis affects that of the axis before, `[classes, k, k]`.
    """

    leaf: int
    rows: np.ndarray
    members: np.ndarray
    at_once: np.ndarray
    colour: np.ndarray
    ahead: np.ndarray
    leads: np.ndarray


class Pattern(NamedTuple):
    """The entries of an influence that are kept.

    Attributes:
      which: the weights that matter.
      groups: where their influence may be other than zero.
      colours, ahead: for each backward pass, the rows that it computes together, `[passes, N]`.
      full: whether every weight that matters reaches everything.
    """

    which: Kept
    groups: tuple[Group, ...]
    colours: np.ndarray
    ahead: np.ndarray
    full: bool

    def size(self) -> int:
        """Returns how many numbers are kept."""
        return sum(g.rows.size * g.members.shape[1] for g in self.groups)


def finder(cell: Cell, n: int | None) -> Callable[[PyTree, PyTree], Pattern]:
    """Returns a function (weights, x) -> the pattern after n steps, or any number if None, cached by shape."""
    known: dict[Any, Pattern] = {}

    def find(weights: PyTree, x: PyTree) -> Pattern:
        shapes = jax.eval_shape(lambda *tree: tree, weights, x)
        leaves, structure = jax.tree.flatten(shapes)
        name = structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        if name not in known:
            known[name] = _pattern(cell, shapes[0], shapes[1], n)
        return known[name]

    return find


def _pattern(cell: Cell, weights: PyTree, x: PyTree, n: int | None) -> Pattern:
    """Returns the pattern after n steps, from the shapes of weights and input."""
    which = kept(cell, weights, x)
    classes, leads = _dependencies(cell, which, weights, x)
    sets = [_reachable(c.rows, leads, n) for c in classes]
    conflict = sum((_pattern_product(c.rows.T, c.rows) for c in classes), np.zeros_like(leads))
    together = sum((_pattern_product(s.T, s) for s in sets), np.zeros_like(leads))
    needed = _pattern_product(leads & together, leads.T)
    colour, ahead = _colouring(conflict), _colouring(needed | needed.T)
    groups = [g for i, (c, s) in enumerate(zip(classes, sets)) for g in _group_classes(i, c, s, colour, ahead, leads)]
    full = bool(sets) and all(len(s) > 0 and s.all() for s in sets)
    used = np.any([s.any(0) for s in sets], axis=0) if sets else np.zeros(len(leads), bool)
    return Pattern(which, tuple(groups), _rows_by_colour(colour, used), _rows_by_colour(ahead, used), full)


class _Classes(NamedTuple):
    """The weights of one array, grouped by the numbers of the state that they affect in one step.

    Attributes:
      rows: for each class, whether it affects each number of the state `[classes, N]`.
      members: the weights of each class.
    """

    rows: np.ndarray
    members: list[np.ndarray]


def _dependencies(cell: Cell, which: Kept, weights: PyTree, x: PyTree) -> tuple[list[_Classes], np.ndarray]:
    """Returns what the weights affect in one step, and which number of the state affects which, from several points.

    In a matrix that is used in exactly one product v w, the entries of a column affect the same numbers, so columns are
    examined instead of entries.
    """
    carry = jax.eval_shape(cell.initial_carry, weights, x)
    tied = _product_columns(cell, which, weights, carry, x)
    taps = {i: jax.ShapeDtypeStruct(w.shape[1:], w.dtype) for i, w in zip(which.which, which.of(weights)) if i in tied}

    def program(w: PyTree, taps: PyTree, h: PyTree, x: PyTree) -> tuple[jax.Array, jax.Array]:
        return flat(products(cell.step, w, h, x, None, taps).carry), flat(cell.initial_carry(w, x))

    args = weights, taps, carry, x
    f, structure = _concrete(jax.make_jaxpr(program)(*args)), jax.tree.structure(args)
    free = Kept(tuple(i for i in which.which if i not in tied))

    @jax.jit
    def touched(rows: jax.Array, args: PyTree) -> PyTree:
        w, taps, h, x = args

        def both(values: list[jax.Array], taps: PyTree, h: PyTree) -> list[jax.Array]:
            return f(
                *jax.tree.leaves(jax.tree.unflatten(structure, jax.tree.leaves((free.put(w, values), taps, h, x))))
            )

        (y, _), pull = jax.vjp(both, free.of(w), taps, h)
        units = jax.nn.one_hot(rows, y.size, dtype=y.dtype)
        after = jax.vmap(lambda d: pull([d, jnp.zeros_like(d)]))(units)
        start = jax.vmap(lambda d: pull([jnp.zeros_like(d), d]))(units)
        at_once = jax.tree.map(lambda a, b: (a != 0) | (b != 0), after[:2], start[:2])
        return *(jax.tree.map(lambda a: a.reshape(len(units), -1), t) for t in at_once), jax.vmap(flat)(after[2]) != 0

    n = sum(leaf.size for leaf in jax.tree.leaves(carry))
    numbers = sum(leaf.size for leaf in jax.tree.leaves((free.of(weights), taps))) + n
    with jax.ensure_compile_time_eval():
        free_bits, tap_bits, leads = _union_over_points(
            touched, list(_sample_points(args)), n, max(1, min(n, _BLOCK // max(numbers, 1)))
        )
    lookup = any(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in jax.tree.leaves(x))
    found = dict(zip(free.which, free_bits)) | tap_bits
    leaves = jax.tree.leaves(weights)
    return [_sort_classes(found[i], leaves[i].shape, i in tied, lookup) for i in which.which], leads


def _product_columns(cell: Cell, which: Kept, weights: PyTree, carry: PyTree, x: PyTree) -> set[int]:
    """Returns the matrices that a step uses in exactly one product v w and that the initial carry does not use."""
    found: list[Any] = []

    def look(w: PyTree, h: PyTree, x: PyTree) -> PyTree:
        found.append(products(cell.step, w, h, x, None))
        return ()

    jax.eval_shape(look, weights, carry, x)
    at_start = kept(cell.replace(step=lambda w, h, x, key=None: ((), ())), weights, x)
    return {i for i in which.which if i in found[0].inputs and found[0].uses[i] == 1 and i not in at_start.which}


def _concrete(closed: ClosedJaxpr) -> Callable[..., list[jax.Array]]:
    """Returns a program whose constants are numbers; random numbers replace tracers, whose values are unknown."""

    def number(c: Any) -> Any:
        return _sample_leaf(np.random.default_rng(0), c.aval, True) if isinstance(c, jax.core.Tracer) else c

    from jax.extend.core import ClosedJaxpr, jaxpr_as_fun  # imported here because it imports Pallas

    return jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, [number(c) for c in closed.consts]))


def _sample_points(args: PyTree) -> Iterator[PyTree]:
    """Yields random numbers in place of shapes: in turn positive, so that rectifiers are active, and of both signs."""
    for i in range(_DRAWS):
        random = np.random.default_rng(i)
        yield jax.tree.map(lambda leaf, i=i, random=random: _sample_leaf(random, leaf, i % 2 == 0), args)


def _sample_leaf(random: np.random.Generator, leaf: Any, positive: bool) -> np.ndarray:
    """Returns random numbers for a leaf, small enough not to saturate in sums; symbols and marks are 0."""
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return np.zeros(leaf.shape, leaf.dtype)
    values = random.uniform(0.1, 1.0, leaf.shape) if positive else random.standard_normal(leaf.shape)
    return np.asarray(values / (leaf.shape[0] if len(leaf.shape) > 1 else 1), leaf.dtype)


def _union_over_points(touched: Callable[[jax.Array, PyTree], PyTree], at: list[PyTree], n: int, block: int) -> PyTree:
    """Returns which rows are affected at any of the points, `[N, ...]` bits, computed in blocks of rows."""
    blocks = []
    for begin in range(0, n, block):
        rows = np.minimum(np.arange(begin, begin + block), n - 1)
        some = [jax.tree.map(np.asarray, touched(jnp.asarray(rows), args)) for args in at]
        any_of = jax.tree.map(lambda *bits: np.any(bits, axis=0), *some)
        blocks.append(jax.tree.map(lambda bits, b=begin: bits[: n - b], any_of))
    return jax.tree.map(lambda *bits: np.concatenate(bits), *blocks)


def _sort_classes(bits: np.ndarray, shape: tuple[int, ...], tied: bool, lookup: bool) -> _Classes:
    """Groups the weights of an array, or its columns, by what they affect; those that affect nothing are left out.

    In a table indexed by an integer, a row that was not looked up is taken to affect the same as the others.
    """
    size = int(np.prod(shape))
    if lookup and not tied and len(shape) > 1:
        others = bits.reshape(len(bits), shape[0], -1).any(1, keepdims=True)
        bits = np.where(
            bits.any(0), bits, np.broadcast_to(others, (len(bits), shape[0], others.shape[2])).reshape(bits.shape)
        )
    kinds, kind = np.unique(np.packbits(bits, axis=0).T, axis=0, return_inverse=True)
    rows = np.unpackbits(kinds, axis=1, count=len(bits)).astype(bool)
    places = np.arange(size).reshape(-1, len(kind))  # in each column, its entries
    order = np.argsort(kind.ravel(), kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(kind.ravel(), minlength=len(rows)))[:-1])
    some = [i for i in range(len(rows)) if rows[i].any()]
    return _Classes(rows[some], [np.sort(places[:, parts[i]].ravel()) for i in some])


def _pattern_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the product of two patterns."""
    return np.asarray(a.astype(np.float32) @ b.astype(np.float32) > 0)


def _reachable(rows: np.ndarray, leads: np.ndarray, n: int | None) -> np.ndarray:
    """Returns the patterns after n - 1 more steps; None: after as many as it takes to reach nothing new."""
    for _ in range(len(leads) if n is None else n - 1):
        more = rows | _pattern_product(rows, leads.T)
        if (more == rows).all():
            break
        rows = more
    return rows


def _colouring(conflict: np.ndarray) -> np.ndarray:
    """Returns a colour for each row such that rows in conflict differ, by a greedy search."""
    colour = np.zeros(len(conflict), np.int32)
    for row in range(len(conflict)):
        taken = np.zeros(len(conflict) + 1, bool)
        taken[colour[:row][conflict[row, :row]]] = True
        colour[row] = np.argmin(taken)
    return colour


def _rows_by_colour(colour: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Returns the used rows of each colour, `[colours, N]`."""
    return (np.arange(colour.max(initial=-1) + 1)[:, None] == colour) & used


def _group_classes(
    leaf: int, parts: _Classes, sets: np.ndarray, colour: np.ndarray, ahead: np.ndarray, leads: np.ndarray
) -> Iterator[Group]:
    """Yields the classes of an array in groups of equal shape, or of nearly equal shape if there are many shapes."""
    shapes = [(int(s.sum()), len(m)) for s, m in zip(sets, parts.members)]
    if len(set(shapes)) > _KINDS:
        shapes = [(min(_next_power_of_two(k), sets.shape[1]), _next_power_of_two(m)) for k, m in shapes]
    n = sets.shape[1]
    padded = np.pad(leads, (0, 1))
    for k, m in sorted(set(shapes)):
        mine = [i for i, shape in enumerate(shapes) if shape == (k, m)]
        rows = np.stack([_pad_places(np.flatnonzero(sets[i]), k, n) for i in mine])
        members = np.stack([_pad_places(parts.members[i], m, np.iinfo(np.int32).max) for i in mine])
        at_once = np.take_along_axis(np.pad(parts.rows[mine], ((0, 0), (0, 1))), rows, axis=1)
        yield Group(
            leaf,
            rows,
            members,
            at_once,
            np.append(colour, 0)[rows].astype(np.int32),
            np.append(ahead, 0)[rows].astype(np.int32),
            padded[rows[:, :, None], rows[:, None, :]],
        )


def _next_power_of_two(n: int) -> int:
    """Returns the next power of two."""
    return 1 << (n - 1).bit_length()


def _pad_places(places: np.ndarray, length: int, beyond: int) -> np.ndarray:
    """Pads indices with an index beyond the end."""
    return np.pad(places, (0, length - len(places)), constant_values=beyond).astype(np.int32)
