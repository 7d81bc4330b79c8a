"""Gradient estimators: backpropagation, evolution strategies, score functions, bucketing.

Belongs here: functions that estimate a gradient from a batch. Does not belong here: the training loop (`training`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.estimators._adaptive import adaptive_tbptt, cut_off, decay_of_gradient
from rnnjax.estimators._anneal import anneal, exponential_cooling
from rnnjax.estimators._audit import Quality, compare, compare_leaves, estimates
from rnnjax.estimators._backprop import backprop, sliding_tbptt
from rnnjax.estimators._base import Estimate, Estimator, score
from rnnjax.estimators._bucketed import bucketed
from rnnjax.estimators._cost import Update, compile_update, flops, median_seconds
from rnnjax.estimators._evolution import es, forward, nres, pes
from rnnjax.estimators._lags import Lag, by_lag, credit_delivered
from rnnjax.estimators._rules import RULES
from rnnjax.estimators._score_function import score_function

__all__ = [
    "RULES",
    "Estimate",
    "Estimator",
    "Lag",
    "Quality",
    "Update",
    "adaptive_tbptt",
    "anneal",
    "backprop",
    "bucketed",
    "by_lag",
    "compare",
    "compare_leaves",
    "compile_update",
    "credit_delivered",
    "cut_off",
    "decay_of_gradient",
    "es",
    "estimates",
    "exponential_cooling",
    "flops",
    "forward",
    "median_seconds",
    "nres",
    "pes",
    "score",
    "score_function",
    "sliding_tbptt",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
