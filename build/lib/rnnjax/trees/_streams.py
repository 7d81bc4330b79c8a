"""Groups of trees of about equal size."""

from __future__ import annotations

from collections.abc import Sequence

from rnnjax.trees._brackets import Tree


def balanced_groups(trees: Sequence[Tree], each: int) -> list[list[Tree]]:
    """Deals out trees by size, back and forth, so that all groups have about the same number of nodes.

    Args:
      trees: at least one.
      each: trees per group; some groups may have one less.

    Example:
      >>> from rnnjax.trees import parse
      >>> groups = balanced_groups(parse("(a) ((a) (b)) ((a) ((b) (c))) (d)"), 2)
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
