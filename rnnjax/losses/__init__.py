"""Losses, metrics and their means over valid steps: CTC, confusion matrix, macro F1 and F1 of spans.

Belongs here: functions of outputs and targets. Does not belong here: gradients (`estimators`) or optimisers
(`training`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.losses._criteria import HIGHER_IS_BETTER, Criterion, criterion
from rnnjax.losses._ctc import check_lengths, ctc, edit_distance, frames_needed, label_ctc
from rnnjax.losses._losses import (
    Mean,
    Metrics,
    Objective,
    binary_cross_entropy,
    classify,
    counted_mask,
    cross_entropy,
    mean,
    regress,
    squared_error,
)
from rnnjax.losses._measures import F1, confusion_matrix, macro_f1, span_f1, spans

__all__ = [
    "F1",
    "HIGHER_IS_BETTER",
    "Criterion",
    "Mean",
    "Metrics",
    "Objective",
    "binary_cross_entropy",
    "check_lengths",
    "classify",
    "confusion_matrix",
    "counted_mask",
    "criterion",
    "cross_entropy",
    "ctc",
    "edit_distance",
    "frames_needed",
    "label_ctc",
    "macro_f1",
    "mean",
    "regress",
    "span_f1",
    "spans",
    "squared_error",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
