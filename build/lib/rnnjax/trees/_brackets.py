"""Trees in bracket notation and back: (3 (2 It) (4 (2 's) (4 lovely))). No function recurses, so depth is unlimited."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from rnnjax.base import UserError
from rnnjax.data._files import read_text
from rnnjax.data._opening import UTF8

_SYMBOL = re.compile(r"[()]|[^ \t\r\n()]+")  # a word may contain other kinds of space: "8 1/2" is one in the treebank


class Tree(NamedTuple):
    """An ordered tree. Nodes are numbered in the order in which their brackets close: children first, the root last.

    Attributes:
      labels: of each node; "" for a node without a label.
      words: of each leaf; "" for an inner node.
      children: of each node, in order; () for a leaf.
    """

    labels: tuple[str, ...]
    words: tuple[str, ...]
    children: tuple[tuple[int, ...], ...]

    def sentence(self) -> list[str]:
        """Returns the words from left to right."""
        return [word for word, below in zip(self.words, self.children) if not below]


class _Symbol(NamedTuple):
    """A bracket, a label or a word, with its line and column."""

    text: str
    line: int
    column: int


class _Open(NamedTuple):
    """An open bracket, with the label, the word and the subtrees read so far."""

    symbol: _Symbol
    said: list[str]
    children: list[int]


def parse(text: str, name: str = "the text") -> list[Tree]:
    """Parses the trees in a bracketed text: `(label word)` is a leaf, `(label subtree subtree ...)` an inner node.

    A label may be missing: `(word)`, `(subtree subtree)`. A tree may span lines, and a line may hold several trees.

    Args:
      text: the brackets.
      name: of the text, for messages.

    Raises:
      UserError: brackets do not match, or a node is empty or mixes words and subtrees; names the line and the column.

    Example:
      >>> tree = parse("(3 (2 not) (1 bad))")[0]
      >>> tree.labels, tree.sentence(), tree.children
      (('2', '1', '3'), ['not', 'bad'], ((), (), (0, 1)))
      >>> parse("(3 (2 not) (1 bad)")
      Traceback (most recent call last):
      rnnjax.base.UserError: the text, line 1, column 1: this bracket is never closed
    """
    lines = enumerate(text.split("\n"), 1)
    return list(
        _parse_symbols((_Symbol(s[0], n, s.start() + 1) for n, line in lines for s in _SYMBOL.finditer(line)), name)
    )


def read_trees(path: str, encoding: str = UTF8) -> list[Tree]:
    """Reads the trees in a text file, which may be compressed with gzip.

    Args:
      path: of the file.
      encoding: of the text; a byte order mark takes precedence.

    Raises:
      UserError: the file cannot be read, contains no tree, or has wrong brackets.

    Example:
      >>> read_trees("nowhere.txt")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.txt: No such file or directory
    """
    trees = parse(read_text(path, encoding), path)
    if not trees:
        raise UserError(f"{path} holds no tree")
    return trees


def to_brackets(tree: Tree) -> str:
    """Writes a tree as brackets on one line; `parse` reads it back.

    Raises:
      UserError: a label or a word contains a bracket or a space, or a leaf has no word.

    Example:
      >>> to_brackets(parse("( 3\\n (2 not) ( bad ) )")[0])
      '(3 (2 not) (bad))'
    """
    return " ".join(linearise(tree)).replace("( ", "(").replace(" )", ")")


def linearise(tree: Tree) -> list[str]:
    """Turns a tree into a sequence of symbols: brackets, labels and words. `delinearise` is its inverse.

    Raises:
      UserError: a label or a word contains a bracket or a space, or a leaf has no word.

    Example:
      >>> linearise(parse("(3 (2 not) (1 bad))")[0])
      ['(', '3', '(', '2', 'not', ')', '(', '1', 'bad', ')', ')']
    """
    symbols: list[str] = []
    todo: list[int | None] = [len(tree.labels) - 1]  # nodes to write; None stands for a bracket to close
    while todo:
        node = todo.pop()
        if node is None:
            symbols.append(")")
            continue
        leaf = not tree.children[node]
        said = [s for s in (tree.labels[node], tree.words[node]) if s]
        if leaf != bool(tree.words[node]) or any(_SYMBOL.fullmatch(s) is None or s in "()" for s in said):
            raise UserError(
                f"no brackets can say the node {node} of the tree: label {tree.labels[node]!r}, "
                f"word {tree.words[node]!r}"
            )
        symbols += ["(", *said]
        todo += [None, *reversed(tree.children[node])]
    return symbols


def delinearise(symbols: Iterable[str]) -> Tree:
    """Builds the tree of a sequence of symbols.

    Raises:
      UserError: the symbols are not those of exactly one tree; gives the position in the sequence as a column.

    Example:
      >>> delinearise(["(", "bad", ")"]).sentence()
      ['bad']
    """
    trees = list(_parse_symbols((_Symbol(s, 1, i) for i, s in enumerate(symbols, 1)), "the sequence"))
    if len(trees) != 1:
        raise UserError(f"the sequence holds {len(trees)} trees, not one")
    return trees[0]


def _parse_symbols(symbols: Iterable[_Symbol], name: str) -> Iterator[Tree]:
    """Yields the trees in a sequence of symbols."""
    stack: list[_Open] = []
    nodes: list[tuple[str, str, tuple[int, ...]]] = []
    for symbol in symbols:
        if symbol.text == "(":
            if stack and len(stack[-1].said) == 2:
                _raise_parse_error(name, symbol, f"a subtree beside the word {stack[-1].said[1]!r}")
            stack.append(_Open(symbol, [], []))
        elif not stack:
            _raise_parse_error(name, symbol, f"{symbol.text!r} stands outside all brackets")
        elif symbol.text == ")":
            nodes.append(_close_node(stack.pop(), name))
            if stack:
                stack[-1].children.append(len(nodes) - 1)
                continue
            yield Tree(*zip(*nodes))
            nodes = []
        elif stack[-1].children or len(stack[-1].said) == 2:
            beside = "a subtree" if stack[-1].children else "another word"
            _raise_parse_error(name, symbol, f"the word {symbol.text!r} beside {beside}")
        else:
            stack[-1].said.append(symbol.text)
    if stack:
        _raise_parse_error(name, stack[0].symbol, "this bracket is never closed")


def _close_node(node: _Open, name: str) -> tuple[str, str, tuple[int, ...]]:
    """Returns the label, word and children of a node whose bracket has closed."""
    if node.children:
        return "".join(node.said), "", tuple(node.children)
    if not node.said:
        _raise_parse_error(name, node.symbol, "a node with nothing in it")
    return "".join(node.said[:-1]), node.said[-1], ()


def _raise_parse_error(name: str, symbol: _Symbol, fault: str) -> NoReturn:
    """Raises a `UserError` with the fault and its position."""
    raise UserError(f"{name}, line {symbol.line}, column {symbol.column}: {fault}")


_Split = Callable[[int], Sequence[int]]


def chain(n: int) -> tuple[int, ...]:
    """A split that makes the tree as deep as the sentence is long: the first word, and the rest.

    Example:
      >>> to_brackets(shaped("abc", chain))
      '((a) ((b) (c)))'
    """
    return 1, n - 1


def balanced(n: int) -> tuple[int, ...]:
    """A split that makes a tree of depth log n.

    Example:
      >>> to_brackets(shaped("abcd", balanced))
      '(((a) (b)) ((c) (d)))'
    """
    return n // 2, n - n // 2


def at_random(rng: np.random.Generator, arity: int = 2) -> _Split:
    """A split at random positions, into 2 to `arity` parts.

    Example:
      >>> import numpy as np
      >>> sum(at_random(np.random.default_rng(0), arity=3)(7))
      7
    """

    def split(n: int) -> list[int]:
        parts = int(rng.integers(2, min(arity, n) + 1))
        cuts = np.sort(rng.choice(n - 1, parts - 1, replace=False)) + 1
        return np.diff([0, *cuts, n]).tolist()

    return split


def shaped(words: Sequence[str], split: _Split, label: Callable[[], str] = lambda: "") -> Tree:
    """Builds a tree over words.

    Args:
      words: at least one.
      split: maps the number of words of a node, at least two, to the number of words of each child.
      label: returns the label of each node, called from the root down.

    Example:
      >>> import numpy as np
      >>> to_brackets(shaped("abcd", at_random(np.random.default_rng(0), arity=4)))
      '((a) (b) (c) (d))'
    """
    symbols: list[str] = []
    left = iter(words)
    todo: list[int] = [len(words)]  # numbers of leaves of the pending subtrees; 0 stands for a bracket to close
    while todo:
        n = todo.pop()
        if not n:
            symbols.append(")")
            continue
        symbols += [s for s in ("(", label()) if s]
        symbols += [next(left)] if n == 1 else []
        todo += [0, *(() if n == 1 else reversed(split(n)))]
    return delinearise(symbols)
