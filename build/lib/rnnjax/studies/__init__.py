"""Studies: many runs over a grid or a space of flags, and the command that trains them.

Belongs here: the choice of flags, scheduling and results of many runs. Does not belong here: training a single run.
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.studies._main import EXPERIMENT, main
from rnnjax.studies._programs import GroupPrograms, State, group_programs
from rnnjax.studies._results import Results, Row
from rnnjax.studies._trained_study import TrainedMember, TrainedStudy, load_study

__all__ = [
    "EXPERIMENT",
    "GroupPrograms",
    "Results",
    "Row",
    "State",
    "TrainedMember",
    "TrainedStudy",
    "group_programs",
    "load_study",
    "main",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
