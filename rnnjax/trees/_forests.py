"""The fold over a forest, from the leaves to the roots for many trees at once, and a sequence model for comparison."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, Seq, factory, tree_where, unroll, without_marks, wrapper
from rnnjax.base._cell import check_cell
from rnnjax.base._seq import first_step_shape, tree_zeros
from rnnjax.data import Batch
from rnnjax.trees._cells import TreeCell
from rnnjax.trees._packing import Forest


@factory
def fold_forest(tree: TreeCell) -> Cell:
    """A cell whose input is a whole forest: it computes states from the leaves to the roots, row by row, in one scan.

        h[place] = leaf(x[place]), or node(h[children of place])

    Its derivative is backpropagation through structure.

    Args:
      tree: the functions at a node.

    Returns:
      A cell from a `Forest` whose leaves are features `[L, d]` to the `read` part of each state `[places, ...]`; zero
      at places without a node.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax.trees import pack, parse_trees, recnn, vocabulary
      >>> trees = parse_trees("((not) ((very) (good)))")
      >>> forest = pack([trees], vocabulary(trees), {}).x
      >>> forest = jax.tree.map(lambda a: a[0], forest)._replace(leaves=jnp.ones((3, 2)))
      >>> cell = fold_forest(recnn(4))
      >>> ys = rnnjax.run(cell, cell.init(jax.random.key(0), forest), forest)[1]
      >>> ys[forest.roots].shape
      (1, 4)
    """

    def step(w: PyTree, carry: tuple[()], forest: Forest, key: jax.Array | None = None) -> tuple[tuple[()], PyTree]:
        start, (rows, width, _) = forest.valid.shape[0], forest.children.shape
        keys = None if key is None else jax.random.split(key, start + rows * width)
        above, below = (None, None) if keys is None else (keys[start:].reshape(rows, width), keys[:start])
        xs = tree_where(forest.valid, forest.leaves, tree_zeros(forest.leaves))
        leaves = jax.vmap(tree.leaf, (None, 0, 0))(w, xs, below)
        leaves = tree_where(forest.valid, leaves, tree_zeros(leaves))

        def row(registers: PyTree, at: tuple[PyTree, ...]) -> tuple[PyTree, PyTree]:
            below, registered, present, kept, keys = at
            below = jax.tree.map(jnp.add, below, _gather_or_zero(registers, registered))  # one of the two is zero
            new = jax.vmap(tree.node, (None, 0, 0, 0))(w, below, present, keys)
            new = tree_where(present.any(-1), new, tree_zeros(new))
            return tree_where(kept < 0, registers, _gather_or_zero(new, kept)), new

        empty = jax.tree.map(lambda a: jnp.zeros((forest.kept.shape[1], *a.shape[1:]), a.dtype), leaves)
        at_leaf = jnp.where(forest.children < start, forest.children, -1)
        present = forest.children >= 0
        inner = lax.scan(
            row, empty, (_gather_or_zero(leaves, at_leaf), _child_registers(forest), present, forest.kept, above)
        )[1]
        flat = jax.tree.map(lambda a: a.reshape(rows * width, *a.shape[2:]), inner)
        return carry, tree.read(jax.tree.map(lambda a, b: jnp.concatenate([a, b]), leaves, flat))

    return Cell(lambda key, f: tree.init(key, first_step_shape(f.leaves)), lambda w, f: (), step, tree.weights)


def _child_registers(forest: Forest) -> jax.Array:
    """Returns the registers of the children `[rows, width, arity]`; -1 for a leaf or a missing child."""
    start, (rows, width, _), registers = forest.valid.shape[0], forest.children.shape, forest.kept.shape[1]
    places = start + rows * width
    firsts = start + width * jnp.arange(rows, dtype=jnp.int32)[:, None]
    at = jnp.where(forest.kept < 0, places, firsts + forest.kept)  # indices beyond the end are dropped
    numbers = jnp.broadcast_to(jnp.arange(registers, dtype=jnp.int32), at.shape)
    of_place = jnp.full(places, -1, jnp.int32).at[at].set(numbers, mode="drop")
    return jnp.where(forest.children < 0, -1, of_place[forest.children])


def _gather_or_zero(states: PyTree, places: jax.Array) -> PyTree:
    """Returns the states at the given places; zero where a place does not exist."""
    return jax.tree.map(lambda a: a.at[places].get(mode="fill", fill_value=0, wrap_negative_indices=False), states)


@wrapper
def at_leaves(cell: Cell) -> Cell:
    """Applies a one-step cell, such as an embedding, to each leaf of a forest, and keeps the shape of the trees.

    Args:
      cell: a stateless cell; a state would carry over from tree to tree.

    Example:
      >>> import jax, rnnjax
      >>> from rnnjax.trees import pack, parse_trees, tree_lstm, vocabulary
      >>> trees = parse_trees("((not) ((very) (good))) ((bad))")
      >>> words = vocabulary(trees)
      >>> forest = jax.tree.map(lambda a: a[0], pack([trees], words, {}).x)
      >>> embedded = at_leaves(rnnjax.stack(rnnjax.embed(1 + len(words), 8), rnnjax.dropout(0.5)))
      >>> net = rnnjax.stack(embedded, fold_forest(tree_lstm(4)), rnnjax.linear(5))
      >>> ys = rnnjax.run(net, net.init(jax.random.key(0), forest), forest)[1]
      >>> ys[forest.roots].shape
      (2, 5)
    """
    check_cell("at_leaves", cell)
    inner = unroll(cell)

    def step(w: PyTree, carry: PyTree, forest: Forest, key: jax.Array | None = None) -> tuple[PyTree, Forest]:
        carry, y = inner.step(w, carry, forest.leaves, key)
        return carry, forest._replace(leaves=y)

    return Cell(
        lambda key, f: inner.init(key, f.leaves), lambda w, f: inner.initial_carry(w, f.leaves), step, inner.weights
    )


@wrapper
def in_reading_order(cell: Cell) -> Cell:
    """Runs a recurrent cell over the leaves of each tree from left to right, and returns its last output at the root.

    This is the sequence model to compare a recursive network with. The output is zero at all other places.

    Args:
      cell: a one-step cell.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax.trees import pack, parse_trees
      >>> forest = jax.tree.map(lambda a: a[0], pack([parse_trees("((a) (b)) (c)")], {}, {}).x)
      >>> total = rnnjax.Cell(lambda k, x: (), lambda p, x: jnp.zeros(()), lambda p, h, x, key=None: (h + x, h + x))
      >>> print(rnnjax.run(in_reading_order(total), (), forest._replace(leaves=jnp.ones(3)))[1][forest.roots])
      [2. 1.]
    """
    check_cell("in_reading_order", cell)
    inner = unroll(cell)

    def sentence(forest: Forest) -> Seq:
        return Seq(forest.leaves, forest.valid, forest.first)

    def step(w: PyTree, carry: PyTree, forest: Forest, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        carry, ys = inner.step(w, carry, sentence(forest), key)
        places = forest.valid.shape[0] + forest.children.shape[0] * forest.children.shape[1]
        roots = jnp.where(forest.roots < 0, places, forest.roots)  # indices beyond the end are dropped
        return carry, jax.tree.map(
            lambda a: (
                jnp.zeros((places, *a.shape[1:]), a.dtype).at[roots].set(_gather_or_zero(a, forest.ends), mode="drop")
            ),
            without_marks(ys),
        )

    return Cell(
        lambda key, f: inner.init(key, sentence(f)),
        lambda w, f: inner.initial_carry(w, sentence(f)),
        step,
        inner.weights,
    )


def at_roots(outputs: PyTree, batch: Batch) -> tuple[PyTree, Batch]:
    """Selects the outputs and targets at the roots of one forest.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from rnnjax import losses
      >>> from rnnjax.trees import pack, parse_trees
      >>> batch = jax.tree.map(lambda a: a[0], pack([parse_trees("(1 (0 a) (0 b)) (0 c)")], {}, {"0": 0, "1": 1}))
      >>> ys, roots = at_roots(jnp.zeros((*batch.y.shape, 2)), batch)
      >>> roots.y.tolist(), float(losses.classify(ys, roots)["accuracy"].value())
      ([1, 0], 0.5)
    """
    roots = jnp.asarray(batch.x.roots)
    y, mask = (jnp.asarray(a)[roots] for a in (batch.y, batch.mask))
    return _gather_or_zero(outputs, roots), Batch(None, y, mask & (roots >= 0))
