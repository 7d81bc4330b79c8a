"""Law: expressions are worth what a person would say, jets lose no energy; what cannot be drawn is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from _launching import launch

from rnnjax import trees
from rnnjax.trees._jets import shares


def worth(symbols):
    """The value of a bracketed expression, read from left to right by recursion."""
    symbol = next(symbols)
    if symbol != "(":
        return int(symbol)
    name, values = next(symbols), []
    while True:
        try:
            values.append(worth(symbols))
        except ValueError:  # the closing bracket
            break
    by_name = {
        "MAX": max,
        "MIN": min,
        "MED": lambda v: np.sort(v)[len(v) // 2],
        "SM": lambda v: np.sum(v) % 10,
        "+": lambda v: (v[0] + v[1]) % 10,
        "-": lambda v: (10 + v[0] - v[1]) % 10,
        "*": lambda v: math.prod(v) % 10,
    }
    return int(by_name[name](values))


def depth(tree):
    depths = []
    for below in tree.children:
        depths.append(1 + max(depths[child] for child in below) if below else 0)
    return depths[-1]


@pytest.mark.parametrize("operations, most", [(trees.LISTOPS, 5), (trees.ARITHMETIC, 2)])
def test_an_expression_is_worth_what_its_brackets_say(operations, most):
    rng = np.random.default_rng(0)
    drawn = [trees.expression(rng, n % 6, operations, most) for n in range(300)]
    for n, tree in enumerate(drawn):
        assert worth(iter(trees.bracketed(tree))) == int(tree.labels[-1])
        assert depth(tree) == n % 6
        assert trees.delinearise(trees.linearise(tree)) == tree
        arguments = [len(below) - 1 for below in tree.children if below]
        assert all(2 <= k <= most for k in arguments)
    assert {word for tree in drawn for word in tree.words if not word.isdigit()} == {"", *operations}
    assert drawn[:9] == [
        trees.expression(r, n % 6, operations, most) for r in [np.random.default_rng(0)] for n in range(9)
    ]
    assert depth(trees.expression(rng, 10_000, deep=0.0)) == 10_000


@pytest.mark.parametrize("seed", range(10))
def test_a_binarised_tree_says_the_same_in_pairs(seed):
    rng = np.random.default_rng(seed)
    tree = trees.expression(rng, seed % 5)
    if seed > 5:
        labels = map(str, range(100))
        tree = trees.shaped([str(i) for i in range(20)], trees.at_random(rng, 6), lambda: next(labels))
    pairs = trees.binarised(tree)
    assert all(len(below) in (0, 2) for below in pairs.children)
    assert pairs.sentence() == tree.sentence() and trees.parse_trees(trees.to_brackets(pairs)) == [pairs]
    assert [label for label in pairs.labels if label] == [label for label in tree.labels if label]

    def joined(t, node):
        """A node as nested pairs of words, its label beside them."""
        below = [joined(t, child) for child in t.children[node]]
        while len(below) > 2:
            below[:2] = [("", below[0], below[1])]
        return (t.labels[node], *(below or [t.words[node]]))

    assert joined(pairs, len(pairs.labels) - 1) == joined(tree, len(tree.labels) - 1)


def test_a_jet_keeps_energy_and_momentum_and_splits_into_what_is_lighter():
    rng = np.random.default_rng(0)
    jets = [
        trees.jet(rng, 400.0, 80.0, rate, first=first) for rate, first in ((2.5, None), (1.0, 7.0)) for _ in range(60)
    ]
    for one in jets:
        np.testing.assert_allclose(one.momenta[-1], [math.hypot(400, 80), 400, 0, 0], atol=1e-9)
        np.testing.assert_allclose(one.particles().sum(0), one.momenta[-1], atol=1e-9)
        squares = one.momenta[:, 0] ** 2 - (one.momenta[:, 1:] ** 2).sum(1)
        for node, below in enumerate(one.tree.children):
            assert (squares[node] < 16.0) == (not below) and squares[node] > -1e-6
            if below:
                np.testing.assert_allclose(one.momenta[list(below)].sum(0), one.momenta[node], atol=1e-9)
                assert np.sqrt(squares[list(below)].clip(0)).sum() < np.sqrt(squares[node])
    away = np.concatenate([one.momenta[list(one.tree.children[-1])][:1, 1:] for one in jets])
    directions = (away - away.mean(0))[:, 1:]  # across the jet: no direction before another
    assert abs(directions.mean(0)).max() < 4 * directions.std() / np.sqrt(len(jets))


def test_masses_of_children_are_as_their_density_says():
    rng, rate = np.random.default_rng(0), 2.0
    drawn = np.array([shares(rng, rate) for _ in range(10_000)])
    assert drawn.min() > 0 and drawn.sum(1).max() < 1
    root = (np.arange(2_000) + 0.5) / 2_000
    dx = 2 * root / 2_000  # of the square of the first mass
    left = np.where(root < 1, (1 - np.exp(-rate * (1 - root) ** 2)) / rate, 0)
    density = np.exp(-rate * root**2) * left * dx
    want = (root**2 * density).sum() / density.sum()
    for squares in (drawn**2).T:  # both children alike
        assert abs(squares.mean() - want) < 4 * squares.std() / np.sqrt(len(squares))


@pytest.mark.parametrize(
    "name, flags, complaint",
    [
        ("listops", "--batch_size=10 --packed=4", "--batch_size=10 is not a multiple of --packed=4"),
        ("listops", "--kind=arithmetic --depth=1", "too few expressions of depth 1 for 500"),
        ("listops", "--cell=recnn --num_layers=2 --examples=60 --tested=9", "is one layer: it takes no --num_layers"),
        ("jets", "--batch_size=10 --packed=4", "--batch_size=10 is not a multiple of --packed=4"),
        ("jets", "--rates=1", "--rates=1: two numbers, one for each kind"),
        ("jets", "--rates=1,-2", "--rates=1,-2: expected numbers above zero"),
        ("jets", "--cell=rntn --cell_args=sclae=1.0 --jets=20 --tested=20", "unexpected keyword argument 'sclae'"),
        ("jets", "--cell=bag --num_layers=2 --jets=20 --tested=20", "is one layer: it takes no --num_layers"),
        ("jets", "--cell=nothing --jets=20 --tested=20", "unknown --cell=nothing"),
    ],
)
def test_an_experiment_refuses_what_it_cannot_use(name, flags, complaint, tmp_path, capsys):
    assert launch(name, "--cell=recnn", *flags.split(), f"--workdir={tmp_path}") == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert complaint in said, said
