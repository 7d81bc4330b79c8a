"""Objectives and their means over valid steps, with the CTC loss.

Belongs here: a function of outputs and targets. Does not belong here: gradients (`estimators`) or optimizers
(`training`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
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

__all__ = [
    "Mean",
    "Metrics",
    "Objective",
    "binary_cross_entropy",
    "check_lengths",
    "classify",
    "counted_mask",
    "cross_entropy",
    "ctc",
    "edit_distance",
    "frames_needed",
    "label_ctc",
    "mean",
    "regress",
    "squared_error",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
