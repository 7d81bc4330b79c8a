"""Laws of the experiments on sequences: their generated data are what they say, their yardsticks are exact."""

from __future__ import annotations

import importlib
from collections import Counter

import launching  # noqa: F401  # finds the experiments
import numpy as np
import pytest

from rnnjax import app
from rnnjax.data import labelled
from rnnjax.errors import UserError


def experiment(name: str, **given):
    """An experiment's module and its config with some flags given."""
    module = importlib.import_module(f"experiments.{name}")
    return module, app.Config({n: module.FLAGS[n].value for n in module.FLAGS} | given)


def feeling(sentence: str) -> int:
    """1 if the last clause praises, by a reading of our own."""
    clause = sentence.split(" , ")[-1].split()
    module = importlib.import_module("experiments.classification")
    return int((clause[-1] in module.GOOD) != (clause[0] == "not"))


def test_sentences_of_order_come_in_pairs_of_the_same_words_and_opposite_classes():
    module, config = experiment("classification", sentences=200)
    parts = module.ordered(config)
    for part in parts.values():
        assert [feeling(x) for x in part.xs] == part.y.tolist()
        for praise, blame in zip(part.xs[::2], part.xs[1::2]):
            assert Counter(praise.split()) == Counter(blame.split()) and praise != blame
    longest = {name: max(x.count(",") for x in part.xs) for name, part in parts.items()}
    assert longest == {"train": 2, "valid": 2, "test": 4}
    assert not set(parts["test"].xs) & set(parts["train"].xs)


def test_sequences_that_are_too_long_are_left_out_and_counted(capsys):
    module, _ = experiment("classification")
    part = labelled.Labelled([np.zeros(n) for n in (3, 9, 4, 9)], np.arange(4), ("a", "b"))
    assert module.short(part, "test", 5).y.tolist() == [0, 2]
    assert "test: 2 of 4 examples are left out, longer than --longest=5" in capsys.readouterr().out
    with pytest.raises(UserError, match="--longest=2: no example of the test part"):
        module.short(part, "test", 2)


def test_the_yardstick_of_music_is_the_cross_entropy_of_frequencies():
    module, _ = experiment("music")
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, 88)
    train, test = ((rng.random((5000, 88)) < p).astype(np.uint8) for _ in range(2))
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    assert abs(module.apart([train], [test]) - entropy) < 0.02 * entropy
    assert all(piece.sum(1).max() <= 4 and len(piece) >= 32 for piece in (module.tune(rng) for _ in range(9)))


def test_the_linear_yardstick_of_series_is_exact_where_the_series_is_linear():
    module, config = experiment("series")
    x = np.sin(0.3 * np.arange(500)) + np.cos(1.1 * np.arange(500))
    assert module.autoregression(x, [300, 400]) < 1e-20
    noise = np.random.default_rng(0).normal(size=20_000)
    assert abs(module.autoregression(noise, [15_000, 16_000]) - 1) < 0.05
    with pytest.raises(UserError, match="too few"):
        module.load(config.replace(length=3000))
