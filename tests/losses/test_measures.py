"""Confusion, macro F1 and F1 of spans: by hand, and by scikit-learn where it is installed."""

import numpy as np
import pytest

from rnnjax import losses


def test_confusion_and_macro_f1_are_those_of_scikit_learn():
    measures = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for classes in (2, 5):
        labels, said = rng.integers(0, classes, (2, 20, 10))
        mask = rng.random((20, 10)) < 0.7
        got = losses.confusion_matrix(said, labels, classes, mask)
        np.testing.assert_array_equal(got, measures.confusion_matrix(labels[mask], said[mask], labels=range(classes)))
        np.testing.assert_allclose(losses.macro_f1(got), measures.f1_score(labels[mask], said[mask], average="macro"))


def test_a_class_that_is_never_there_nor_said_does_not_count():
    measures = pytest.importorskip("sklearn.metrics")
    labels, said = np.array([0, 0, 3, 3]), np.array([0, 3, 3, 3])
    got = losses.macro_f1(losses.confusion_matrix(said, labels, 5))
    np.testing.assert_allclose(got, measures.f1_score(labels, said, average="macro"))
    assert np.isnan(losses.macro_f1(np.zeros((3, 3), int)))


SENTENCES = {  # by conlleval's rules, worked out by hand
    "BIO": ("B-PER I-PER O B-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
    "one after another": ("B-PER B-PER I-PER", [("PER", 0, 1), ("PER", 1, 3)]),
    "IOB1": ("I-PER I-PER O I-LOC", [("PER", 0, 2), ("LOC", 3, 4)]),
    "another kind": ("B-PER I-LOC I-LOC", [("PER", 0, 1), ("LOC", 1, 3)]),
    "IOBES": ("B-PER I-PER E-PER S-LOC S-LOC", [("PER", 0, 3), ("LOC", 3, 4), ("LOC", 4, 5)]),
    "BILOU": ("B-PER L-PER U-LOC O", [("PER", 0, 2), ("LOC", 2, 3)]),
    "an end by itself": ("O E-PER E-PER I-PER", [("PER", 1, 2), ("PER", 2, 3), ("PER", 3, 4)]),
    "one by itself in an open one": (
        "B-PER U-PER I-PER S-PER",
        [("PER", 0, 1), ("PER", 1, 2), ("PER", 2, 3), ("PER", 3, 4)],
    ),
    "a kind with a hyphen": ("B-A-B I-A-B", [("A-B", 0, 2)]),
    "to the end": ("O B-PER I-PER", [("PER", 1, 3)]),
    "nothing": ("O O", []),
    "no word": ("", []),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_spans_of_a_sentence(name):
    text, want = SENTENCES[name]
    assert losses.spans(text.split()) == want


def test_span_f1_counts_whole_entities():
    labels = [t.split() for t in ("B-PER I-PER O B-LOC", "B-ORG O", "O O")]
    said = [t.split() for t in ("B-PER I-PER O B-ORG", "B-ORG I-ORG", "B-LOC O")]
    precision, recall, f1 = losses.span_f1(said, labels)  # 1 of 4 said, 1 of 3 there
    np.testing.assert_allclose((precision, recall, f1), (1 / 4, 1 / 3, 2 / 7))
    assert losses.span_f1(labels, labels) == (1.0, 1.0, 1.0)
    assert losses.span_f1([["O"]], [["O"]]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    "attempt, message",
    [
        (lambda: losses.spans(["PER"]), "got 'PER'"),
        (lambda: losses.spans(["B-"]), "got 'B-'"),
        (lambda: losses.spans(["X-PER"]), "got 'X-PER'"),
        (lambda: losses.span_f1([["O"]], [["O", "O"]]), "one tag for each word"),
        (lambda: losses.confusion_matrix([0, 2], [0, 1], 2), "of 2 classes"),
        (lambda: losses.confusion_matrix([0, -1], [0, 1], 2), "of 2 classes"),
        (lambda: losses.confusion_matrix([0], [0, 1], 2), "one shape"),
        (lambda: losses.confusion_matrix([0.5], [0], 2), "integers"),
    ],
)
def test_what_cannot_be_is_refused(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()
