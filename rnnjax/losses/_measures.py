"""Measures of a classifier besides its loss: confusion matrix, F1 per class, F1 of spans. They run in numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rnnjax.base import check_size
from rnnjax.base._arguments import check_array, check_list


class F1(NamedTuple):
    """Precision, recall and their harmonic mean; 0 where a denominator is 0."""

    precision: float
    recall: float
    f1: float


def confusion_matrix(
    predicted: ArrayLike, labels: ArrayLike, classes: int, mask: ArrayLike | None = None
) -> np.ndarray:
    """Counts how often each class was predicted as each class.

        m_ij = number of examples of class i that were predicted as j

    Args:
      predicted: integers of any shape.
      labels: integers of the same shape.
      classes: number of classes.
      mask: booleans of the same shape; None means that all count.

    Returns:
      integers `[classes, classes]`, a row for each class.

    Raises:
      ValueError: the shapes differ, or a label that counts is not a class.

    Example:
      >>> print(confusion_matrix([0, 1, 1, 0], [0, 1, 0, 9], classes=2, mask=[True, True, True, False]))
      [[1 1]
       [0 1]]
    """
    check_size("confusion_matrix: classes", classes)
    said, true = _counted(predicted, labels, mask)
    wrong = [y for y in (said, true) if y.size and not (y.min() >= 0 and y.max() < classes)]
    if wrong:
        raise ValueError(f"confusion_matrix of {classes} classes: labels from {wrong[0].min()} to {wrong[0].max()}")
    return np.bincount(true * classes + said, minlength=classes * classes).reshape(classes, classes)


def _counted(predicted: ArrayLike, labels: ArrayLike, mask: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the integers that count, flattened."""
    if any(map(np.ma.is_masked, (predicted, labels, mask))):
        raise ValueError("predicted and labels are arrays without masked values: the argument mask says which count")
    said, true = np.asarray(predicted), np.asarray(labels)
    counts = np.ones(true.shape, bool) if mask is None else np.asarray(mask)
    if counts.dtype != bool and counts.size:
        raise ValueError(f"mask is an array of booleans, got {counts.dtype} {list(counts.shape)}")
    if not said.shape == true.shape == counts.shape:
        raise ValueError(
            f"predicted {list(said.shape)}, labels {list(true.shape)}, mask {list(counts.shape)}: one shape"
        )
    if not all(np.issubdtype(y.dtype, np.integer) or not y.size for y in (said, true)):
        raise ValueError(f"predicted and labels are integers, got {said.dtype} and {true.dtype}")
    counts = counts.astype(bool)
    return said[counts].astype(np.int64), true[counts].astype(np.int64)


def macro_f1(confusion: ArrayLike) -> float:
    """Returns the mean F1 over classes, with equal weight for each class.

        F1_i = 2 m_ii / (row sum i + column sum i)

    A class that occurs neither in the labels nor in the predictions does not count.

    Args:
      confusion: `[classes, classes]`, from `confusion_matrix`.

    Returns:
      between 0 and 1; nan where no class counts.

    Raises:
      ValueError: the matrix is not square, or holds something else than finite numbers from 0.

    Example:
      >>> round(macro_f1([[1, 1], [0, 1]]), 4)  # 2/3 and 2/3
      0.6667

    Reference: Yang, Liu, A re-examination of text categorization methods, 1999.
    """
    m = np.asarray(check_array("macro_f1: confusion", confusion), float)
    if m.ndim != 2 or m.shape[0] != m.shape[1] or not (np.isfinite(m) & (m >= 0)).all():
        raise ValueError(f"macro_f1 takes a matrix [classes, classes] of counts, got {list(m.shape)} or a bad count")
    either = m.sum(0) + m.sum(1)
    there = either > 0
    return float((2 * np.diag(m)[there] / either[there]).mean()) if there.any() else float("nan")


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Returns the entities that the tags of a sentence mark, in order.

    B- begins an entity, I- continues it, and O is outside. E- ends one and S- is one by itself (IOBES), as are L- and
    U- (BILOU). An I- or E- of another kind than the open entity, or with no open entity, begins a new one, as in
    CoNLL's own measure.

    Args:
      tags: of one sentence, "O" or a letter, a hyphen and a kind.

    Returns:
      (kind, first word, word after the last) of each.

    Raises:
      ValueError: a tag has another form.

    Example:
      >>> spans(["B-PER", "I-PER", "O", "S-LOC", "I-LOC", "B-LOC"])
      [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5), ('LOC', 5, 6)]

    Reference: Tjong Kim Sang, Buchholz, Introduction to the CoNLL-2000 shared task: chunking, 2000.
    """
    check_list("spans: tags", tags, str)
    return list(_walk(tags))


def _walk(tags: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Yields one entity at a time."""
    kind, start = "", -1  # start -1: outside
    for i, tag in enumerate([*tags, "O"]):
        letter, _, here = tag.partition("-")
        if letter not in ("B", "I", "O", "E", "S", "L", "U") or (letter == "O") == bool(here):
            raise ValueError(f"a tag is O, or one of B-, I-, E-, S-, L-, U- and a kind, got {tag!r}")
        if start >= 0 and (letter in "BOSU" or here != kind):
            yield kind, start, i
            start = -1
        if letter != "O" and start < 0:
            kind, start = here, i
        if letter in "ESLU":
            yield kind, start, i + 1
            start = -1


def span_f1(predicted: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> F1:
    """CoNLL's measure: precision, recall and F1 of whole entities; kind and both boundaries must be correct.

        precision = correct / predicted,  recall = correct / labelled,  F1 = 2 correct / (predicted + labelled)

    Args:
      predicted: tags of each sentence, as `spans` reads them.
      labels: the correct tags.

    Raises:
      ValueError: sentences have different lengths, or a tag has another form.

    Example: one of two entities is correct; the other has a wrong boundary.
      >>> span_f1([["B-PER", "O", "B-LOC"]], [["B-PER", "O", "B-LOC"]])
      F1(precision=1.0, recall=1.0, f1=1.0)
      >>> span_f1([["B-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "B-LOC"]])
      F1(precision=0.5, recall=0.5, f1=0.5)

    Reference: Tjong Kim Sang, De Meulder, Introduction to the CoNLL-2003 shared task, 2003.
    """
    for what, given in (("predicted", predicted), ("labels", labels)):
        check_list(f"span_f1: {what}", given)
        for tags in given:
            check_list(f"span_f1: {what}", tags, str)
    lengths = [len(a) for a in predicted], [len(a) for a in labels]
    if lengths[0] != lengths[1]:
        raise ValueError(f"span_f1: sentences of {lengths[0][:5]} and {lengths[1][:5]} words: one tag for each word")
    right = said = there = 0
    for ours, theirs in zip(predicted, labels):
        a, b = set(_walk(ours)), set(_walk(theirs))
        right, said, there = right + len(a & b), said + len(a), there + len(b)
    return F1(
        *(top / below if below else 0.0 for top, below in ((right, said), (right, there), (2 * right, said + there)))
    )
