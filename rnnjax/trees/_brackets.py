"""Trees as brackets, and back: (3 (2 It) (4 (2 's) (4 lovely))). Nothing here recurses, so no chain is too deep."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, NoReturn

import numpy as np

from rnnjax.base import UserError
from rnnjax.data._files import read_text
from rnnjax.data._opening import UTF8

_SYMBOL = re.compile(r"[()]|[^ \t\r\n()]+")  # a word may hold other kinds of space: the treebank has "8 1/2" as one


class Tree(NamedTuple):
    """An ordered tree, its nodes numbered as their brackets close: children before their parent, the root last.

    Attributes:
      labels: of each node; "": it has none.
      words: of each leaf; "": an inner node.
      children: of each node, in order; (): a leaf.
    """

    labels: tuple[str, ...]
    words: tuple[str, ...]
    children: tuple[tuple[int, ...], ...]

    def sentence(self) -> list[str]:
        """The words, from left to right."""
        return [word for word, below in zip(self.words, self.children) if not below]


class _Symbol(NamedTuple):
    """A bracket, a label or a word, and where it stands."""

    text: str
    line: int
    column: int


class _Open(NamedTuple):
    """A bracket that is still open: itself, the label and word read so far, the subtrees so far."""

    symbol: _Symbol
    said: list[str]
    children: list[int]


def parse(text: str, name: str = "the text") -> list[Tree]:
    """The trees in a text of brackets: `(label word)` is a leaf, `(label subtree subtree ...)` an inner node.

    A label may be missing: `(word)`, `(subtree subtree)`. Trees may spread over lines, or share one.

    Args:
      text: brackets.
      name: of the text, for messages.

    Raises:
      UserError: the brackets do not match, or a node is empty, or mixes words and subtrees; line and column are named.

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
    """The trees in a text file, which gzip may have compressed.

    Args:
      path: of the file.
      encoding: of its characters; a byte order mark says it better.

    Raises:
      UserError: the file cannot be read, holds no tree, or its brackets are wrong.

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
    """A tree as brackets on one line; `parse` reads it back.

    Raises:
      UserError: a label or a word has a bracket or a space in it, or a leaf has no word.

    Example:
      >>> to_brackets(parse("( 3\\n (2 not) ( bad ) )")[0])
      '(3 (2 not) (bad))'
    """
    return " ".join(linearise(tree)).replace("( ", "(").replace(" )", ")")


def linearise(tree: Tree) -> list[str]:
    """A tree as a sequence of symbols: brackets, labels and words. `delinearise` takes it back.

    Raises:
      UserError: a label or a word has a bracket or a space in it, or a leaf has no word.

    Example:
      >>> linearise(parse("(3 (2 not) (1 bad))")[0])
      ['(', '3', '(', '2', 'not', ')', '(', '1', 'bad', ')', ')']
    """
    symbols: list[str] = []
    todo: list[int | None] = [len(tree.labels) - 1]  # nodes to write; None: a bracket to close
    while todo:
        node = todo.pop()
        if node is None:
            symbols.append(")")
            continue
        leaf = not tree.children[node]
        said = [s for s in (tree.labels[node], tree.words[node]) if s]
        if leaf != bool(tree.words[node]) or any(_SYMBOL.fullmatch(s) is None or s in "()" for s in said):
            raise UserError(f"no brackets can say the node {node} of the tree: label {tree.labels[node]!r}, "
                            f"word {tree.words[node]!r}")  # fmt: skip
        symbols += ["(", *said]
        todo += [None, *reversed(tree.children[node])]
    return symbols


def delinearise(symbols: Iterable[str]) -> Tree:
    """The tree of a sequence of symbols.

    Raises:
      UserError: they are not those of one tree; the place in the sequence is named as a column.

    Example:
      >>> delinearise(["(", "bad", ")"]).sentence()
      ['bad']
    """
    trees = list(_parse_symbols((_Symbol(s, 1, i) for i, s in enumerate(symbols, 1)), "the sequence"))
    if len(trees) != 1:
        raise UserError(f"the sequence holds {len(trees)} trees, not one")
    return trees[0]


def _parse_symbols(symbols: Iterable[_Symbol], name: str) -> Iterator[Tree]:
    """Trees from symbols, one after another."""
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
    """Label, word and children of a node whose bracket has closed."""
    if node.children:
        return "".join(node.said), "", tuple(node.children)
    if not node.said:
        _raise_parse_error(name, node.symbol, "a node with nothing in it")
    return "".join(node.said[:-1]), node.said[-1], ()


def _raise_parse_error(name: str, symbol: _Symbol, fault: str) -> NoReturn:
    """Says what is wrong, and where."""
    raise UserError(f"{name}, line {symbol.line}, column {symbol.column}: {fault}")


_Split = Callable[[int], Sequence[int]]


def chain(n: int) -> tuple[int, ...]:
    """The split that makes a tree as deep as a sentence is long: the first word, and the rest.

    Example:
      >>> to_brackets(shaped("abc", chain))
      '((a) ((b) (c)))'
    """
    return 1, n - 1


def balanced(n: int) -> tuple[int, ...]:
    """The split that makes a tree of depth log n.

    Example:
      >>> to_brackets(shaped("abcd", balanced))
      '(((a) (b)) ((c) (d)))'
    """
    return n // 2, n - n // 2


def at_random(rng: np.random.Generator, arity: int = 2) -> _Split:
    """A split at random places, into 2 to `arity` parts.

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
    """A tree over words.

    Args:
      words: at least one.
      split: how many words each child of a node gets, from how many the node has, at least two.
      label: gives the label of each node, from the root on.

    Example:
      >>> import numpy as np
      >>> to_brackets(shaped("abcd", at_random(np.random.default_rng(0), arity=4)))
      '((a) (b) (c) (d))'
    """
    symbols: list[str] = []
    left = iter(words)
    todo: list[int] = [len(words)]  # leaves of the subtrees to come; 0: a bracket to close
    while todo:
        n = todo.pop()
        if not n:
            symbols.append(")")
            continue
        symbols += [s for s in ("(", label()) if s]
        symbols += [next(left)] if n == 1 else []
        todo += [0, *(() if n == 1 else reversed(split(n)))]
    return delinearise(symbols)
