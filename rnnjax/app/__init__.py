"""What an experiment script stands on: common flags, the run, the workdir, the closing table."""

from rnnjax.app.config import Config, allow_infinite, parse
from rnnjax.app.flagsets import common_flags, study_flags
from rnnjax.app.main import Experiment, Study, main, status
from rnnjax.app.names import make_cell, resolve
from rnnjax.app.session import Result
from rnnjax.app.setup import Published, Setup

__all__ = [
    "Config",
    "Experiment",
    "Published",
    "Result",
    "Setup",
    "Study",
    "allow_infinite",
    "common_flags",
    "main",
    "make_cell",
    "parse",
    "resolve",
    "status",
    "study_flags",
]
