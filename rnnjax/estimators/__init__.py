"""From a batch to a gradient: backpropagation, evolution strategies, score functions, buckets.

Belongs here: a function that estimates a gradient. Does not belong here: the loop that uses it (`training`).
"""

from rnnjax.estimators._anneal import anneal, cooling
from rnnjax.estimators._audit import Lag, Quality, by_lag, compare, delivered, estimates, groups
from rnnjax.estimators._backprop import backprop, lookback
from rnnjax.estimators._base import Estimate, Estimator, score
from rnnjax.estimators._bucketed import bucketed
from rnnjax.estimators._cost import Update, flops, seconds, update
from rnnjax.estimators._evolution import es, forward, nres, pes
from rnnjax.estimators._rules import RULES
from rnnjax.estimators._score_function import score_function

__all__ = [
    "RULES",
    "Estimate",
    "Estimator",
    "Lag",
    "Quality",
    "Update",
    "anneal",
    "backprop",
    "bucketed",
    "by_lag",
    "compare",
    "cooling",
    "delivered",
    "es",
    "estimates",
    "flops",
    "forward",
    "groups",
    "lookback",
    "nres",
    "pes",
    "score",
    "score_function",
    "seconds",
    "update",
]
