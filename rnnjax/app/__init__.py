"""What an experiment script is built from: flags, configurations, sessions, the closing table.

Belongs here: the command line. Does not belong here: mathematics.
"""

from rnnjax.app._analysis import is_plain, lines
from rnnjax.app._config import Config, allow_infinite, of_cell, parse, runs
from rnnjax.app._experiment import Experiment, Study
from rnnjax.app._flagsets import common_flags, study_flags
from rnnjax.app._main import main, status
from rnnjax.app._programs import Programs, programs
from rnnjax.app._registry import arguments, check_arguments, kind_of, made, make_cell, numbers, resolve
from rnnjax.app._session import Result, signals
from rnnjax.app._setup import Published, Setup, finished, loaded

__all__ = [
    "Config",
    "Experiment",
    "Programs",
    "Published",
    "Result",
    "Setup",
    "Study",
    "allow_infinite",
    "arguments",
    "check_arguments",
    "common_flags",
    "finished",
    "is_plain",
    "kind_of",
    "lines",
    "loaded",
    "made",
    "main",
    "make_cell",
    "numbers",
    "of_cell",
    "parse",
    "programs",
    "resolve",
    "runs",
    "signals",
    "status",
    "study_flags",
]
