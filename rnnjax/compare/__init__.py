"""Compares trained runs: one figure, one table, seeds grouped with intervals.

    python -m rnnjax.compare runs/lstm-0 runs/lstm-1 runs/gru-0 runs/gru-1 --metric=loss,accuracy

Belongs here: reading several runs, finished or not. Does not belong here: training them (`app`, `studies`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.compare._comparison import Comparison, Group, compare_runs
from rnnjax.compare._main import compare_command

__all__ = [
    "Comparison",
    "Group",
    "compare_command",
    "compare_runs",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
