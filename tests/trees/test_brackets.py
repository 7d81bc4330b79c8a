"""Law: brackets are read as they are written; what is no tree is refused with line and column."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import numpy as np
import pytest

import rnnjax
from rnnjax import trees
from rnnjax.base import UserError


@pytest.mark.parametrize("seed", range(20))
def test_brackets_come_back(seed):
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("ab3'-é,\u00a0\u2028"), rng.integers(1, 4))) for _ in range(rng.integers(1, 30))]
    split = [trees.chain, trees.balanced, trees.at_random(rng, 5)][seed % 3]
    tree = trees.shaped(words, split, lambda: ["", "0", "NP"][rng.integers(3)])
    assert tree.sentence() == words
    assert trees.parse_trees(trees.to_brackets(tree)) == [tree] and trees.delinearise(trees.linearise(tree)) == tree
    loose = trees.to_brackets(tree).replace("(", " ( ").replace(")", "\n)\t")
    assert trees.parse_trees(loose + trees.to_brackets(tree)) == [tree, tree]


def test_a_chain_of_ten_thousand_words():
    text = "(2 (2 a) " * 9_999 + "(3 b)" + ")" * 9_999
    tree = trees.parse_trees(text)[0]
    assert trees.to_brackets(tree) == text
    batch = trees.pack([[tree]], {"a": 1, "b": 2}, {"2": 0, "3": 1}, width=1)
    assert batch.mask.sum() == 19_999 and batch.y.sum() == 1
    depth = trees.TreeCell(lambda k, x: (), lambda p, x, k: 0.0 * x, lambda p, h, there, k: 1.0 + h.max())
    forest = jax.tree.map(lambda a: jax.numpy.asarray(a)[0], batch.x)
    ys = jax.jit(lambda f: rnnjax.run(trees.fold_forest(depth), (), f)[1])(
        forest._replace(leaves=forest.leaves.astype(float))
    )
    assert ys[forest.roots[0]] == 9_999


BAD = [
    ("(3 (2 a) (2 b)", "line 1, column 1: this bracket is never closed"),
    ("(2 a)\n(3 (2 a) (2 b)))", r"line 2, column 16: '\)' stands outside"),
    ("(2 a)\n\n  (2 ())", "line 3, column 6: a node with nothing in it"),
    ("word", "line 1, column 1: 'word' stands outside all brackets"),
    ("(2 a b)", "column 6: the word 'b' beside another word"),
    ("(2 (1 a) b)", "column 10: the word 'b' beside a subtree"),
    ("(2 a (1 b))", "column 6: a subtree beside the word 'a'"),
]


@pytest.mark.parametrize("text, complaint", BAD)
def test_wrong_brackets_are_refused_with_line_and_column(text, complaint):
    with pytest.raises(UserError, match=complaint) as error:
        trees.parse_trees(text, "trees.txt")
    assert str(error.value).startswith("trees.txt, line ") and "\n" not in str(error.value)


def test_what_is_defined_at_the_edges(tmp_path):
    assert trees.parse_trees("") == [] == trees.parse_trees(" \n ")
    assert trees.parse_trees("(a)") == [trees.Tree(("",), ("a",), ((),))]
    assert trees.parse_trees("((a) (2 b))")[0].labels == ("", "2", "")
    assert trees.parse_trees("(S (a))")[0].children == ((), (0,))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(UserError, match="empty holds no tree"):
        trees.read_trees(str(tmp_path / "empty"))
    (tmp_path / "latin").write_bytes(b"(2 caf\xe9)")
    with pytest.raises(UserError, match="not UTF-8"):
        trees.read_trees(str(tmp_path / "latin"))
    for symbols in (["(", "a"], [], ["(", "a", ")"] * 2):
        with pytest.raises(UserError):
            trees.delinearise(symbols)
    for tree in (trees.Tree(("",), ("",), ((),)), trees.Tree(("a b",), ("c",), ((),))):
        with pytest.raises(UserError, match="no brackets can say"):
            trees.to_brackets(tree)


@pytest.mark.slow
def test_the_sentiment_treebank_has_its_published_counts():
    folder = Path(os.environ.get("RNNJAX_DATA", "../shared/data")) / "sst"
    if not folder.exists():
        pytest.skip("sst/train.txt and the like are not there: set RNNJAX_DATA")
    parts = [trees.read_trees(str(folder / f"{name}.txt")) for name in ("train", "dev", "test")]
    assert [len(part) for part in parts] == [8_544, 1_101, 2_210]
    assert [sum(tree.labels[-1] != "2" for tree in part) for part in parts] == [6_920, 872, 1_821]
    assert [trees.to_brackets(tree) for tree in parts[1][:3]] == (folder / "dev.txt").read_text().splitlines()[:3]
