"""Streams of forests: packed once, shuffled or in order."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from rnnjax.base import PyTree
from rnnjax.errors import UserError
from rnnjax.losses import Batch
from rnnjax.training import Stream
from rnnjax.trees.brackets import Tree


def dealt(trees: Sequence[Tree], each: int) -> list[list[Tree]]:
    """Trees in groups of `each`, dealt out by size, to and fro: the groups have about equally many nodes.

    Args:
      trees: at least one.
      each: trees of a group; the last round may not reach all groups.

    Example:
      >>> from rnnjax.trees import parse
      >>> groups = dealt(parse("(a) ((a) (b)) ((a) ((b) (c))) (d)"), 2)
      >>> [[len(tree.words) for tree in group] for group in groups]
      [[5, 1], [3, 1]]
    """
    n = -(-len(trees) // each)
    by_size = sorted(trees, key=lambda tree: -len(tree.words))
    groups: list[list[Tree]] = [[] for _ in range(n)]
    for i, tree in enumerate(by_size):
        turn, place = divmod(i, n)
        groups[place if turn % 2 == 0 else n - 1 - place].append(tree)
    return groups


def shuffled(name: str, batch_size: int) -> Stream:
    """The stream of batches of `data[name]`, a packed `Batch`, in epochs of another order each.

    A forest comes at most once in an epoch; those that do not fill a batch wait for the next.

    Raises:
      UserError: at its beginning, if there are fewer forests than a batch takes.

    Example:
      >>> import jax
      >>> from rnnjax.trees import pack, parse
      >>> data = {"train": pack([[tree] for tree in parse("(0 a) (1 b) (2 c)")], {}, {"0": 0, "1": 1, "2": 2})}
      >>> stream, labels = shuffled("train", batch_size=1), []
      >>> position = stream.init(data)
      >>> for step in range(3):
      ...     batch, position = stream.next(data, position, jax.random.key(step))
      ...     labels += batch.y[:, 0].tolist()
      >>> sorted(labels)
      [0, 1, 2]
    """

    def init(data: PyTree) -> tuple[jax.Array, jax.Array]:
        n = len(data[name].y)
        if n < batch_size:
            raise UserError(f"a batch takes {batch_size} forests, and there are only {n} to learn from")
        return jnp.arange(n, dtype=jnp.int32), jnp.zeros((), jnp.int32)

    def following(
        data: PyTree, position: tuple[jax.Array, jax.Array], key: jax.Array
    ) -> tuple[Batch, tuple[jax.Array, jax.Array]]:
        order, at = position
        n = len(order)
        order = jax.lax.cond(
            at == 0, lambda: jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32)), lambda: order
        )
        chosen = jax.lax.dynamic_slice_in_dim(order, at * batch_size, batch_size)
        return taken(data[name], chosen), (order, (at + 1) % (n // batch_size))

    return Stream(init, following)


def in_order(name: str, batch_size: int, n: int) -> Stream:
    """One pass over the n forests of `data[name]`, each once; what fills up the last batch is masked.

    Example:
      >>> from rnnjax.trees import pack, parse
      >>> data = {"test": pack([[tree] for tree in parse("(0 a) (1 b) (2 c)")], {}, {"0": 0, "1": 1, "2": 2})}
      >>> stream = in_order("test", batch_size=2, n=3)
      >>> batch, position = stream.next(data, stream.init(data), None)
      >>> batch, position = stream.next(data, position, None)
      >>> print(batch.y[:, 0], batch.mask[:, 0])
      [2 2] [ True False]
    """

    def following(data: PyTree, position: jax.Array, key: jax.Array) -> tuple[Batch, jax.Array]:
        at = position * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
        batch = taken(data[name], jnp.minimum(at, n - 1))
        return batch._replace(mask=batch.mask & (at < n)[:, None]), position + 1

    return Stream(lambda data: jnp.zeros((), jnp.int32), following, -(-n // batch_size))


def taken(forests: Batch, at: jax.Array) -> Batch:
    """The forests at some places."""
    return jax.tree.map(lambda a: jnp.asarray(a)[at], forests)
