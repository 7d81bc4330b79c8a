"""Expressions whose value depends on their structure, ListOps and arithmetic modulo ten, and trees as sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rnnjax.trees._brackets import Tree, delinearise

_Operation = Callable[[Sequence[int]], int]

LISTOPS: dict[str, _Operation] = {
    "MAX": max,
    "MIN": min,
    "MED": lambda values: sorted(values)[len(values) // 2],
    "SM": lambda values: sum(values) % 10,
}
ARITHMETIC: dict[str, _Operation] = {
    "+": lambda values: sum(values) % 10,
    "-": lambda values: (values[0] - values[1]) % 10,
    "*": lambda values: values[0] * values[1] % 10,
}


def expression(
    rng: np.random.Generator,
    depth: int,
    operations: Mapping[str, _Operation] = LISTOPS,
    most: int = 5,
    deep: float = 0.25,
) -> Tree:
    """Draws a random expression. The first child of an inner node is an operation; 2 to `most` arguments follow.

    Args:
      rng: the random generator.
      depth: of the expression: the number of operations on the longest path from the root to a digit.
      operations: name -> function of the arguments, which are digits; those of `ARITHMETIC` take two.
      most: maximal number of arguments.
      deep: how often an argument is an expression where it could be a digit.

    Returns:
      A tree whose labels are the values of its nodes; operations have no label.

    Example:
      >>> import numpy as np
      >>> from rnnjax.trees import bracketed
      >>> tree = expression(np.random.default_rng(3), depth=2, most=3)
      >>> print(*bracketed(tree), "=", tree.labels[-1])
      ( MAX 3 4 ( MIN 3 8 5 ) ) = 4

    Reference: Nangia, Bowman, ListOps: a diagnostic dataset for latent tree learning, 2018.
    """
    symbols: list[str] = []
    todo: list[int | None] = [depth]  # depths of the pending expressions; None stands for a bracket to close
    while todo:
        n = todo.pop()
        if n is None:
            symbols.append(")")
        elif n == 0:
            symbols += ["(", str(rng.integers(10)), ")"]
        else:
            below = [int(rng.integers(n)) if rng.random() < deep else 0 for _ in range(rng.integers(2, most + 1))]
            below[rng.integers(len(below))] = n - 1
            symbols += ["(", "(", str(rng.choice(list(operations))), ")"]
            todo += [None, *below]
    return with_values(delinearise(symbols), operations)


def with_values(tree: Tree, operations: Mapping[str, _Operation]) -> Tree:
    """Labels the nodes of an expression with their values.

    Raises:
      KeyError: an operation is unknown.

    Example:
      >>> from rnnjax.trees import parse
      >>> with_values(parse("((MAX) (3) ((SM) (4) (9)))")[0], LISTOPS).labels
      ('', '3', '', '4', '9', '3', '3')
    """
    labels: list[str] = []
    for word, below in zip(tree.words, tree.children):
        if below:
            label = str(operations[tree.words[below[0]]]([int(labels[child]) for child in below[1:]]))
        else:
            label = word if word.isdigit() else ""
        labels.append(label)
    return tree._replace(labels=tuple(labels))


def bracketed(tree: Tree) -> list[str]:
    """Returns the words of a tree and the brackets of its inner nodes, without labels, as input for a sequence model.

    The i-th closing bracket belongs to the i-th inner node of the tree, and the i-th word to its i-th leaf.

    Example:
      >>> from rnnjax.trees import parse
      >>> bracketed(parse("(1 (0 (0 not) (0 good)) (1 really))")[0])
      ['(', '(', 'not', 'good', ')', 'really', ')']
    """
    symbols: list[str] = []
    todo: list[int | None] = [len(tree.words) - 1]
    while todo:
        node = todo.pop()
        if node is None:
            symbols.append(")")
        elif not tree.children[node]:
            symbols.append(tree.words[node])
        else:
            symbols.append("(")
            todo += [None, *reversed(tree.children[node])]
    return symbols


def binarised(tree: Tree) -> Tree:
    """Returns the tree with at most two children per node: others are joined from left to right under unlabelled nodes.

    Example:
      >>> from rnnjax.trees import parse, to_brackets
      >>> to_brackets(binarised(parse("(9 (MAX) (3 3) (9 9) (1 1))")[0]))
      '(9 (((MAX) (3 3)) (9 9)) (1 1))'
    """
    labels: list[str] = []
    words: list[str] = []
    children: list[tuple[int, ...]] = []
    number: list[int] = []  # the index of each node in the new tree

    def add(label: str, word: str, below: tuple[int, ...]) -> int:
        labels.append(label)
        words.append(word)
        children.append(below)
        return len(labels) - 1

    pending: dict[int, int] = {}  # for each open node, the node that joins its children so far
    parent = {child: (node, k) for node, below in enumerate(tree.children) for k, child in enumerate(below)}
    for node, below in enumerate(tree.children):
        last = (pending.pop(node), number[below[-1]]) if len(below) > 1 else tuple(number[child] for child in below)
        number.append(add(tree.labels[node], tree.words[node], last))
        above, k = parent.get(node, (-1, 0))
        if above >= 0 and k < len(tree.children[above]) - 1:
            pending[above] = number[node] if k == 0 else add("", "", (pending[above], number[node]))
    return Tree(tuple(labels), tuple(words), tuple(children))
