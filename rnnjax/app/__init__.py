"""What an experiment script is built from: flags, configurations, sessions, the closing table.

Belongs here: the command line. Does not belong here: mathematics.
"""

from rnnjax.app._analysis import is_plain, lines
from rnnjax.app._config import Config, allow_infinite, parse, runs
from rnnjax.app._experiment import Experiment, Study
from rnnjax.app._flagsets import common_flags, study_flags
from rnnjax.app._main import main, status
from rnnjax.app._programs import programs
from rnnjax.app._registry import made, make_cell, resolve
from rnnjax.app._session import Result
from rnnjax.app._setup import Published, Setup, finished, loaded

__all__ = [
    "Config",
    "Experiment",
    "Published",
    "Result",
    "Setup",
    "Study",
    "allow_infinite",
    "common_flags",
    "finished",
    "is_plain",
    "lines",
    "loaded",
    "made",
    "main",
    "make_cell",
    "parse",
    "programs",
    "resolve",
    "runs",
    "status",
    "study_flags",
]
