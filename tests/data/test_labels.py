"""Laws of labels: a test of its own file is judged by the names of the classes, whatever their order there."""

from __future__ import annotations

import importlib
import re

import _launching as launching  # noqa: F401  # finds the experiments
import pytest

from rnnjax import app, data
from rnnjax.base import UserError

TRAIN = "".join(
    f"{label}\t{word} {i}\n" for i in range(12) for label, word in (("good", "joy"), ("bad", "no"), ("fair", "so"))
)
TS = "@classLabel true a b c\n@data\n" + "".join(f"{i},2,3:{'abc'[i % 3]}\n" for i in range(36))


def read(tmp_path, train: str, test: str, ending: str):
    experiment = importlib.import_module("experiments.classification")
    (tmp_path / f"train{ending}").write_text(train)
    (tmp_path / f"test{ending}").write_text(test)
    given = {"data": str(tmp_path / f"train{ending}"), "test_data": str(tmp_path / f"test{ending}")}
    parts, _ = experiment.read(app.Config({n: experiment.FLAGS[n].value for n in experiment.FLAGS} | given))
    return parts["test"]


SPLITS = {
    "another order": (TRAIN, "fair\tso\nbad\tno\ngood\tjoy\n", ".tsv", ["fair", "bad", "good"]),
    "a class is missing": (TRAIN, "bad\tno\n\nfair\tso\n", ".tsv", ["bad", "fair"]),
    "one class": (TRAIN, "fair\tso\n", ".tsv", ["fair"]),
    "ts, another order": (TS, "@classLabel true c b a\n@data\n1,2:c\n3,4:a\n5,6:b\n", ".ts", ["c", "a", "b"]),
    "ts, a class is missing": (TS, "@classLabel true a b c\n@data\n1,2:b\n", ".ts", ["b"]),
    "ts, fewer classes": (TS, "@classLabel true b\n@data\n1,2:b\n", ".ts", ["b"]),
}


@pytest.mark.parametrize("split", SPLITS)
def test_labels_of_a_test_file_are_mapped_by_name(split, tmp_path):
    train, test, ending, expected = SPLITS[split]
    found = read(tmp_path, train, test, ending)
    assert [found.classes[i] for i in found.y] == expected and len(found.classes) == 3


@pytest.mark.parametrize(
    ("train", "test", "ending", "message"),
    [
        (TRAIN, "good\tjoy\nugly\tno\n", ".tsv", r"test\.tsv, line 2: the label 'ugly' is none of good, bad, fair"),
        (TS, "@classLabel true a d\n@data\n1,2:a\n1,2:d\n", ".ts", r"test\.ts, line 4: the label 'd' is none of a, b"),
    ],
)
def test_a_label_that_was_not_learned_is_refused_by_name_and_line(train, test, ending, message, tmp_path):
    with pytest.raises(UserError, match=message):
        read(tmp_path, train, test, ending)


def load(tmp_path, **given):
    experiment = importlib.import_module("experiments.classification")
    return experiment.load(app.Config({n: experiment.FLAGS[n].value for n in experiment.FLAGS} | given))


def test_too_few_examples_and_wrong_labels_are_refused_before_training(tmp_path):
    for name, content in (("A", "ab\ncd\nef\n"), ("B", "gh\nij\n")):
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / f"{name}.txt").write_text(content)
    with pytest.raises(UserError, match="too few examples, none is left for the valid part"):
        load(tmp_path, data=str(tmp_path / "two"))
    (tmp_path / "sst").mkdir()
    for name in ("train", "dev", "test"):
        (tmp_path / "sst" / f"{name}.txt").write_text("(3 (2 so) (4 good))\n(7 (2 so) (1 bad))\n")
    with pytest.raises(UserError, match=r"train\.txt, tree 2: the label '7' is none of 0, 1, 2, 3, 4"):
        load(tmp_path, data=str(tmp_path / "sst"))


def test_a_test_of_other_dimensions_and_a_name_that_is_too_long_are_refused(tmp_path):
    with pytest.raises(UserError, match="--test_data has 2 dimensions, and --data 1"):
        read(tmp_path, TS, "@classLabel true a\n@data\n1,2:3,4:a\n", ".ts")
    for place in ("", str(tmp_path)):
        with pytest.raises(UserError, match=r"^'x{40}' is not a path: "):
            load(tmp_path, data="x" * 300, data_dir=place)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0.0\tx\n1\ty\n0\tz\n", "line 3: the labels '0.0' and '0' are one number"),
        ("1\tx\n01\ty\n", "line 2: the labels '1' and '01' are one number"),
        ("a\tx\nNaN\ty\n", "line 2: the label 'NaN' stands for a missing one"),
        ("text\tlabel\nx y\ta\nz w\tb\n", "line 1: 'text' is the name of a column.*the label stands before the text"),
        ("sentence\tlabel\nhide it\t0\nx\t1\n", "line 1: 'sentence' is the name of a column"),
        ("id\ttext\n1\tx\n2\ty\n", "line 1: 'id' is the name of a column"),
    ],
)
def test_labels_that_would_become_classes_by_mistake_are_refused(content, message, tmp_path):
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(UserError, match=message):
        data.read_labelled(str(tmp_path / "a.tsv"))


@pytest.mark.parametrize(("a", "b"), [("Pos", "pos"), ('"pos"', "pos"), ("\uff30os", "Pos")])
def test_labels_that_look_alike_are_two_classes_and_this_is_said(a, b, tmp_path):
    (tmp_path / "a.tsv").write_text(f"{a}\tx\n{b}\ty\n", encoding="utf-8")
    found = data.read_labelled(str(tmp_path / "a.tsv"))
    assert found.classes == (a, b) and found.note() == f"the labels {a!r} and {b!r} are two classes"


def test_one_label_in_two_forms_of_unicode_is_one_class(tmp_path):
    (tmp_path / "a.tsv").write_text("caf\u00e9\tx\ncafe\u0301\ty\n", encoding="utf-8")
    assert data.read_labelled(str(tmp_path / "a.tsv")).classes == ("caf\u00e9",)


def test_a_separator_of_nothing_and_a_class_twice_are_refused(tmp_path):
    (tmp_path / "a.tsv").write_text("a\tx\n")
    for classes, separator in (((), ""), (("a", "a"), "\t")):
        with pytest.raises(ValueError, match="read_labelled: a separator and different classes, got"):
            data.read_labelled(str(tmp_path / "a.tsv"), classes, separator)


def test_a_single_class_is_refused_before_training(tmp_path):
    (tmp_path / "a.tsv").write_text("".join(f"good\tx {i}\n" for i in range(40)))
    with pytest.raises(UserError, match=r"--data=.*a\.tsv: all 28 examples to learn from are of the class 'good'"):
        load(tmp_path, data=str(tmp_path / "a.tsv"))


def test_vectors_have_an_encoding_of_their_own_and_what_they_lack_is_said(tmp_path, capsys):
    (tmp_path / "a.tsv").write_text(TRAIN)
    (tmp_path / "v").write_bytes("joy 1 2\nn\u00e9 3 4\njoy 5 6\n".encode("latin-1"))
    given = {"data": str(tmp_path / "a.tsv"), "vectors": str(tmp_path / "v")}
    with pytest.raises(UserError, match="v, line 2: not UTF-8 text"):
        load(tmp_path, **given)
    facts, _ = load(tmp_path, **given, vectors_encoding="latin-1")
    assert "n\u00e9" in facts.vocabulary.index
    said = capsys.readouterr().out
    assert "v: passed over: 1 line of words that came before" in said
    assert re.search(r"v: vectors for 1 of the \d+ words of the training part", said)
