"""From a batch to a gradient: backpropagation, evolution strategies, score functions, buckets.

Belongs here: a function that estimates a gradient. Does not belong here: the loop that uses it (`training`).
"""

from rnnjax.estimators._anneal import anneal, cooling
from rnnjax.estimators._audit import (
    Lag,
    Marks,
    Quality,
    by_lag,
    chancy,
    compare,
    delivered,
    estimates,
    gated,
    groups,
    severed,
)
from rnnjax.estimators._backprop import Replay, backprop, lookback
from rnnjax.estimators._base import Estimate, Estimator, in_windows, keys_of, score
from rnnjax.estimators._bucketed import bucketed
from rnnjax.estimators._cost import Update, flops, seconds, update
from rnnjax.estimators._evolution import Walk, es, forward, nres, pes
from rnnjax.estimators._rules import RULES
from rnnjax.estimators._score_function import score_function

__all__ = [
    "RULES",
    "Estimate",
    "Estimator",
    "Lag",
    "Marks",
    "Quality",
    "Replay",
    "Update",
    "Walk",
    "anneal",
    "backprop",
    "bucketed",
    "by_lag",
    "chancy",
    "compare",
    "cooling",
    "delivered",
    "es",
    "estimates",
    "flops",
    "forward",
    "gated",
    "groups",
    "in_windows",
    "keys_of",
    "lookback",
    "nres",
    "pes",
    "score",
    "score_function",
    "seconds",
    "severed",
    "update",
]
