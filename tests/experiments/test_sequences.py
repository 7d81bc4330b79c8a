"""Laws of the experiments on sequences: their generated data are what they say, their yardsticks are exact."""

from __future__ import annotations

import importlib
from collections import Counter

import jax
import numpy as np
import pytest
from _launching import launch

from experiments import music
from experiments._shared import grammars as sentences
from rnnjax import Seq, app
from rnnjax.base import UserError
from rnnjax.data import Batch, Labelled, shuffled


def experiment(name: str, **given):
    """An experiment's module and its config with some flags given."""
    module = importlib.import_module(f"experiments.{name}")
    return module, app.Config({n: module.FLAGS[n].value for n in module.FLAGS} | given)


def feeling(sentence: str) -> int:
    """1 if the last clause praises, by a reading of our own."""
    clause = sentence.split(" , ")[-1].split()
    turned = clause[0] == "not"
    return int((clause[turned] in sentences.GOOD) != turned)


def test_sentences_of_order_come_in_pairs_of_the_same_words_and_opposite_classes():
    parts = sentences.ordered(200, seed=0)
    for part in parts.values():
        assert [feeling(x) for x in part.xs] == part.y.tolist()
        for praise, blame in zip(part.xs[::2], part.xs[1::2]):
            assert Counter(praise.split()) == Counter(blame.split()) and praise != blame
    longest = {name: max(x.count(",") for x in part.xs) for name, part in parts.items()}
    assert longest == {"train": 2, "valid": 2, "test": 4}
    assert not set(parts["test"].xs) & set(parts["train"].xs)


def test_sequences_that_are_too_long_are_left_out_and_counted(capsys):
    module, _ = experiment("classification")
    part = Labelled([np.zeros(n) for n in (3, 9, 4, 9)], np.arange(4), ("a", "b"))
    assert module.drop_long(part, "test", 5).y.tolist() == [0, 2]
    assert "test: 2 of 4 examples are left out, longer than --longest=5" in capsys.readouterr().out
    with pytest.raises(UserError, match="--longest=2: no example of the test part"):
        module.drop_long(part, "test", 2)


def test_the_yardstick_of_music_is_the_cross_entropy_of_frequencies():
    module, _ = experiment("music")
    rng = np.random.default_rng(0)
    p = rng.uniform(0.1, 0.9, 88)
    train, test = ((rng.random((5000, 88)) < p).astype(np.uint8) for _ in range(2))
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).sum()
    assert abs(module.independent_nats([train], [test]) - entropy) < 0.02 * entropy
    assert all(piece.sum(1).max() <= 4 and len(piece) >= 32 for piece in (module.tune(rng) for _ in range(9)))


def test_the_linear_yardstick_of_series_is_exact_where_the_series_is_linear():
    module, config = experiment("series")
    x = np.sin(0.3 * np.arange(500)) + np.cos(1.1 * np.arange(500))
    assert module.autoregression(x, [300, 400]) < 1e-20
    noise = np.random.default_rng(0).normal(size=20_000)
    assert abs(module.autoregression(noise, [15_000, 16_000]) - 1) < 0.05
    with pytest.raises(UserError, match="too few"):
        module.load(config.replace(length=3000))


def test_words_that_are_nouns_and_verbs_are_both_and_her_is_told_by_what_follows():
    module, _ = experiment("tagging")
    rng = np.random.default_rng(0)
    sentences = [module.speech(rng) for _ in range(500)]
    kinds: dict[str, set[str]] = {}
    for s in sentences:
        assert len(s.words) == len(s.tags)
        for word, tag, after in zip(s.words, s.tags, [*s.tags[1:], ""]):
            kinds.setdefault(word, set()).add(tag)
            if word == "her":
                assert (tag == "D") == (after in ("A", "N"))
    assert kinds["fish"] == {"N", "V"} and kinds["can"] == {"N", "V", "X"} and kinds["her"] == {"D", "P"}


def test_a_gap_has_one_label_and_what_comes_before_it_does_not_give_it_away():
    module, _ = experiment("tagging")
    rng = np.random.default_rng(0)
    sentences = [module.errand(rng) for _ in range(2000)]
    before: Counter = Counter()
    for s in sentences:
        (at,) = [i for i, tag in enumerate(s.tags) if tag != module.NONE]
        assert s.words[at] == module.GAP
        before[s.words[at - 4], s.tags[at]] += 1
    assert len(before) == len(module.PEOPLE) * len(module.ERRANDS)
    assert max(before.values()) < 2 * min(before.values())


def test_of_three_gaps_one_is_told_by_what_follows_one_by_what_precedes_and_one_by_neither_alone():
    module, _ = experiment("tagging")
    rng = np.random.default_rng(0)
    kinds: Counter = Counter()
    for s in (module.clauses(rng) for _ in range(4000)):
        ats = [i for i, word in enumerate(s.words) if word == module.GAP]
        assert [i for i, tag in enumerate(s.tags) if tag != module.NONE] == ats
        who, number, link = (s.tags[i] for i in ats)
        assert module.SAYS[who] in s.words[ats[0] : ats[1]]
        assert ("plays" in s.words[ats[0] : ats[1]]) == (number == "were")
        one, two = s.words[ats[1] + 1] in module.PRAISE, s.words[-1] in module.PRAISE
        assert (one == two) == (link == "and")
        kinds[one, two, who, number] += 1
    assert len(kinds) == 16 and max(kinds.values()) < 1.5 * min(kinds.values())  # neither side alone says the third


def test_what_is_told_and_what_is_news_change_places_and_too_far_apart_for_a_few_words():
    for part in sentences.clauses(60, seed=0).values():
        assert part.y.tolist() == [1, 0] * (len(part.xs) // 2)
        for own, left in zip(part.xs[::2], part.xs[1::2]):
            a, b = ({tuple(w[i : i + 5]) for i in range(-4, len(w) - 4)} for w in (own.split(), left.split()))
            assert a == b and own != left


def test_intents_of_the_test_are_in_no_other_part():
    parts = sentences.intents(300, seed=0)
    assert not set(parts["test"].xs) & {*parts["train"].xs, *parts["valid"].xs}
    assert all(np.bincount(part.y, minlength=6).min() > 10 for part in parts.values())


def test_one_who_goes_by_the_word_is_scored_by_its_counts():
    module, _ = experiment("tagging")
    train = [module.Tagged(["a", "a", "a", "b"], ["X", "X", "Y", "Y"])]
    nats, right = module.by_word(train, [module.Tagged(["a", "b", "a"], ["X", "Y", "Y"])], ("X", "Y"))
    assert abs(nats - np.log([3 / 2, 1, 3]).mean()) < 1e-2 and right == pytest.approx(2 / 3)


def test_the_five_uses_ask_for_what_they_say():
    module, _ = experiment("uses")
    uses = {name: use.sample for name, use in module.USES.items()}
    draw = jax.jit(jax.vmap(lambda key: {name: sample(key) for name, sample in uses.items()}))
    found = jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(0), 9)))
    for name, batch in found.items():
        for x, y in ((x.tolist(), y[due].tolist()) for x, y, due in zip(batch.x, batch.y, batch.mask)):
            n = x.index(9) if 9 in x else 0
            expected = {
                "one to one": [(3 * x[0] + 1) % 8],
                "one to many": [*range(x[0], -1, -1), 8],
                "many to one": [max(x)],
                "many to many, unaligned": [*x[:n][::-1], 8],
                "many to many, aligned": [(a + b) % 8 for a, b in zip(x, [0, *x])],
            }
            assert y == expected[name]
    assert (found["one to many"].x[:, 1:] == 8).all()


def test_a_grammar_of_long_dependencies_keeps_them():
    module, _ = experiment("word_lm")
    rng = np.random.default_rng(0)
    for _ in range(300):
        words = module.sentence(rng).split()
        if words[-3:-1] == ["own", "business"]:
            assert words[-4] == module.ONE[words[1]] and len(words) > 12
        else:
            praised = {w in module.GOOD for w in words if w in module.GOOD + module.BAD}
            assert len(praised) == 1 and words[1] not in (
                ("hated", "regretted") if True in praised else ("loved", "enjoyed")
            )


def test_no_name_of_the_test_is_among_those_learned_from(tmp_path, capsys):
    module, config = experiment("classification", data=str(tmp_path), test=0.5)
    for language in ("Greek", "Irish"):
        (tmp_path / f"{language}.txt").write_text("\n".join(f"{language}{i % 30}" for i in range(60)))
    parts, units = module.read(config)
    assert units == "characters" and "examples of the test are left out" in capsys.readouterr().out
    assert parts["test"].xs and not set(parts["test"].xs) & {*parts["train"].xs, *parts["valid"].xs}


REFUSED = {
    "music --data=nowhere.mat": "cannot read nowhere.mat: No such file or directory",
    "music --data=fetch:mnist": "no file 'mnist' can be fetched",
    "series --data=nowhere.csv": "cannot read nowhere.csv: No such file or directory",
    "classification --data=nowhere": "--data=nowhere: there is no such folder: is --data_dir missing?",
    "classification --vectors=nowhere": "cannot read nowhere: No such file or directory",
    "classification --both_ways --pool": "--both_ways reads in both directions: do not give --rule or --pool",
    "classification --part=0.0001": "--part=0.0001: no example is left to train on",
    "tagging --rule=tbptt --truncation=5": "--rule=tbptt goes step by step, and --both_ways reads from the end too",
    "word_lm --rule=bptt": "the text is read in windows",
    "word_lm --truncation=100000": "words, fewer than one --truncation of 100000 and the next one",
    "uses --num_steps=0": "flag --num_steps=0",
}


@pytest.mark.parametrize("command", REFUSED)
def test_what_cannot_be_done_is_one_line_on_standard_error(command, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("RNNJAX_DATA", raising=False)
    name, *flags = command.split()
    given = [] if name == "uses" else ["--data_dir="]
    assert launch(name, f"--workdir={tmp_path / 'run'}", *given, *flags) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("workdir: ")]
    assert len(lines) == 1 and lines[0].startswith(f"{name}: ") and REFUSED[command] in lines[0]


def test_a_transposed_piece_is_the_piece_some_keys_higher_or_lower():
    rng = np.random.default_rng(0)
    rolls = np.zeros((6, 5, 88), np.uint8)
    rolls[:, :, 40:48] = rng.integers(2, size=(6, 5, 8))
    rolls[:, 0, 87] = 1
    data = {"train": Batch(Seq(rolls), np.roll(rolls, -1, axis=1))}
    plain = shuffled("train", batch_size=6)
    moved, key = music.transposed(plain, 3), jax.random.key(0)
    (given, _), (found, _) = (s.next(data, s.init(data), key) for s in (plain, moved))
    by = []
    for before, x, now, then in zip(given.x.x, given.y, found.x.x, found.y):
        fits = [k for k in range(-3, 4) if (np.roll(before, k, axis=1)[:, 10:80] == now[:, 10:80]).all()]
        assert len(fits) == 1
        by += fits
        np.testing.assert_array_equal(np.roll(x, by[-1], axis=1)[:, 10:80], then[:, 10:80])
        assert now[:, :10].sum() == 0, "a key that leaves at one end comes back at the other"
        assert now[0, 80:].any() == (by[-1] <= 0)
    assert len(set(by)) > 1
