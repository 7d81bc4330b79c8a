"""Studies: many runs over a grid or a space of flags, and the command that trains them.

Belongs here: what is varied, who trains when, what came out. Does not belong here: the training of one run.
"""

from rnnjax.studies._display import Display
from rnnjax.studies._evolution import evolve, moved_beside, numbers_of
from rnnjax.studies._main import main
from rnnjax.studies._members import Group, Member, command, groups
from rnnjax.studies._packs import Compiled, Pack, places
from rnnjax.studies._plan import Plan, plan
from rnnjax.studies._plots import draw, positions
from rnnjax.studies._programs import GroupPrograms, State, group_programs
from rnnjax.studies._results import Results, Row
from rnnjax.studies._search import SAMPLERS, Search
from rnnjax.studies._space import Assignment, Axis, Range, axis, drawn_range, points
from rnnjax.studies._study import Options, Study
from rnnjax.studies._workers import SharedStudy, train_unit

__all__ = [
    "SAMPLERS",
    "Assignment",
    "Axis",
    "Compiled",
    "Display",
    "Group",
    "GroupPrograms",
    "Member",
    "Options",
    "Pack",
    "Plan",
    "Range",
    "Results",
    "Row",
    "Search",
    "SharedStudy",
    "State",
    "Study",
    "axis",
    "command",
    "draw",
    "drawn_range",
    "evolve",
    "group_programs",
    "groups",
    "main",
    "moved_beside",
    "numbers_of",
    "places",
    "plan",
    "points",
    "positions",
    "train_unit",
]
