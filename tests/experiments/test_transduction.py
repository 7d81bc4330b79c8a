"""Laws of what goes from sequences to sequences: the tasks, batches of similar length, files of sentences, BLEU."""

from __future__ import annotations

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY
from _launching import launch

import rnnjax
from rnnjax import app, estimators
from rnnjax.app import run_configs
from rnnjax.base import UserError
from rnnjax.data import Batch, shuffled
from rnnjax.estimators import Estimator

transduction = importlib.import_module("experiments.transduction")
translation = importlib.import_module("experiments.translation")


def read(batch, i):
    """A source and its target, as symbols, and what the decoder is given."""
    (source, valid, _), late = batch.x
    return source[i][valid[i]].tolist(), batch.y[i][batch.mask[i]].tolist(), late[i][batch.mask[i]].tolist()


@pytest.mark.slow
def test_reversal_is_back_to_front_and_its_end_is_written_last_and_read_first():
    batch = jax.device_get(transduction.reversal(2, 5, 7).batch(KEY, 64))
    examples = [read(batch, i) for i in range(64)]
    for source, target, late in examples:
        assert target == [*source[::-1], 10] and late == [10, *target[:-1]]
    assert {len(source) for source, _, _ in examples} == {2, 3, 4, 5}


def test_word_order_moves_the_verb_alone():
    batch = jax.device_get(transduction.word_order(1, 3, 4).batch(KEY, 64))
    names = [*transduction.WORDS, "."]
    verbs, links = transduction.KINDS[3], transduction.KINDS[4]
    seen = set()
    for i in range(64):
        source, target, _ = ([names[s] for s in part] for part in read(batch, i))
        assert target.pop() == "."
        clauses = " ".join("|" if w in links else w for w in source).split("|")
        moved = []
        for clause in clauses:
            *rest, verb = clause.split()
            second = max(j for j, w in enumerate(rest) if w in ("the", "a"))
            assert verb in verbs
            moved.append([*rest[:second], verb, *rest[second:]])
        joints = iter([w for w in source if w in links] + [""])
        assert " ".join(target) == " ".join(" ".join([*m, next(joints)]) for m in moved).strip()
        seen.add(len(clauses))
    assert seen == {1, 2, 3}


def test_the_baseline_is_the_entropy_of_the_language():
    assert transduction.choice(("", "", "a", "b")) == pytest.approx(1.5 * np.log(2))
    assert transduction.reversal(3, 3, 3).baseline == pytest.approx(3 * np.log(10) / 4)
    one = 2 * (np.log(2) + transduction.choice(transduction.KINDS[1]) + np.log(8)) + np.log(6)
    assert transduction.word_order(1, 1, 1).baseline == pytest.approx(one / (7 - 0.5 + 1))  # 6.5 words and the end


def test_batches_are_of_similar_length_and_an_epoch_has_every_example_once():
    lengths = jnp.array([5, 1, 9, 2, 8, 1, 7, 3, 6, 4])
    data = {"train": Batch(lengths, jnp.arange(10))}
    stream = shuffled("train", 3, length=lambda examples: examples.x)
    position, epochs = stream.init(data), []
    following = jax.jit(stream.next)
    for step in range(6):
        batch, position = following(data, position, jax.random.key(step))
        epochs += batch.y.tolist()
        assert batch.x.max() - batch.x.min() <= 3
    for epoch in (epochs[:9], epochs[9:]):
        assert len(set(epoch)) == 9
    assert epochs[:9] != epochs[9:]


def test_a_batch_is_cut_to_the_shortest_length_that_holds_it():
    def size(params, state, batch, key=None):
        return jnp.array(batch.y.shape[1]), batch.x.source.x.shape[1]

    estimator = estimators.bucketed(Estimator(lambda p, b: (), size), [3, 5, 7])

    def of(sources, targets):
        valid, mask = (
            jnp.arange(6)[None] < jnp.array(sources)[:, None],
            jnp.arange(9)[None] < jnp.array(targets)[:, None],
        )
        x = rnnjax.SourceTarget(rnnjax.Seq(jnp.zeros((2, 6)), valid), jnp.zeros((2, 9)))
        return Batch(x, jnp.zeros((2, 9)), mask)

    for sources, targets, want in (([1, 2], [3, 0], 3), ([4, 1], [2, 2], 5), ([0, 0], [6, 1], 7), ([1, 1], [8, 1], 9)):
        assert estimator.grad((), (), of(sources, targets))[0] == want
    with pytest.raises(ValueError, match="marked as valid"):
        estimator.grad((), (), Batch(jnp.zeros((2, 3)), jnp.zeros((2, 3))))


def config(folder, *argv):
    argv = ["translation", f"--data={folder}", "--source=xx", "--target=yy", *argv]
    return run_configs(app.parse(translation.FLAGS, argv))[0]


@pytest.fixture
def folder(tmp_path):
    """Three parts of two languages."""
    for part in ("train", "val", "test"):
        (tmp_path / f"{part}.tok.xx").write_text("b c b\na\nb\n" if part == "train" else "z b\n")
        (tmp_path / f"{part}.tok.yy").write_text("C B A D\nA\n\n" if part == "train" else "A Z\n")
    return tmp_path


def test_sentences_of_files_are_framed_and_unknown_words_are_unknown(folder):
    facts, data = translation.load(config(folder, "--longest=3", "--vocabulary=4"))
    reads, writes = facts.reads, facts.writes
    assert reads.words == ("b", "c", "<unk>", "<eos>")  # a is too rare
    end = writes.index["<eos>"]
    train, test = data["train"], data["test"]
    assert len(train.y) == 2 and train.x.source.valid.sum(1).tolist() == [1, 1]  # the longest is left out
    assert reads.decode(test.x.source.x[0]) == ["<unk>", "b"]
    assert writes.decode(test.y[0]) == ["A" if "A" in writes.words else "<unk>", "<unk>", "<eos>"]
    assert test.x.target[0].tolist() == [end, *test.y[0, :-1]]
    assert train.y[1].tolist()[0] == end and train.mask[1].tolist()[:2] == [True, False]  # an empty target: its end


@pytest.mark.parametrize(
    "damage, flags, message",
    [
        (lambda f: (f / "val.tok.yy").unlink(), [], "no files are named val*.yy*"),
        (lambda f: (f / "val.old.yy").write_text("x"), [], "2 files are named val*.yy*"),
        (lambda f: (f / "test.tok.xx").write_text("z\nb\n"), [], "has 2 lines, and"),
        (lambda f: None, ["--buckets=9,3"], "ascending lengths"),
        (lambda f: None, ["--buckets=a"], "whole numbers"),
        (lambda f: None, ["--attention=none", "--feed"], "--feed goes with"),
        (lambda f: None, ["--attention=dot", "--coverage"], "--coverage goes with"),
        (lambda f: None, ["--hidden_size=3"], "--hidden_size=3"),
    ],
)
def test_what_is_wrong_is_one_line(folder, tmp_path, damage, flags, message, capsys):
    damage(folder)
    argv = [f"--data={folder}", "--source=xx", "--target=yy", *flags, f"--workdir={tmp_path / 'run'}"]
    assert launch("translation", "--hidden_size=4", *argv) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("translation: ") and message in error


def test_without_sacrebleu_there_is_no_bleu_and_with_it_the_known_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    assert translation.bleu(["a b"], ["a b"]) is None
    monkeypatch.undo()
    pytest.importorskip("sacrebleu", reason="pip install 'rnnjax[translate]'")
    said, wanted = ["a b c d e", "a b c d"], ["a b c d f", "a b c d"]
    precision = [8 / 9, 6 / 7, 4 / 5, 2 / 3]  # of one to four words in a row
    assert translation.bleu(said, wanted) == pytest.approx(100 * np.prod(precision) ** 0.25)


def test_a_folder_that_is_not_there_is_refused(folder):
    with pytest.raises(UserError, match="no such folder"):
        translation.load(config(folder / "nowhere"))
