"""The building blocks of an experiment script: flags, configs, sessions, the final table.

Belongs here: the command line and the runs that it starts. Does not belong here: mathematics.
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.app._analysis import is_plain, panel_lines
from rnnjax.app._config import Config, LaunchConfig
from rnnjax.app._experiment import Experiment, Findings, Result, Study
from rnnjax.app._flagsets import common_flags, study_flags
from rnnjax.app._main import main, status
from rnnjax.app._on_arrays import on_arrays
from rnnjax.app._parsing import allow_infinite, parse, read_config, run_configs
from rnnjax.app._programs import programs
from rnnjax.app._registry import CELLS, make_cell, make_from, resolve
from rnnjax.app._setup import Published, Setup, build_setup, load_data
from rnnjax.app._train import train
from rnnjax.app._trained_network import TrainedNetwork
from rnnjax.app._trained_run import TrainedRun, load_run, load_runs

__all__ = [
    "CELLS",
    "Config",
    "Experiment",
    "Findings",
    "LaunchConfig",
    "Published",
    "Result",
    "Setup",
    "Study",
    "TrainedNetwork",
    "TrainedRun",
    "allow_infinite",
    "build_setup",
    "common_flags",
    "is_plain",
    "load_data",
    "load_run",
    "load_runs",
    "main",
    "make_cell",
    "make_from",
    "on_arrays",
    "panel_lines",
    "parse",
    "programs",
    "read_config",
    "resolve",
    "run_configs",
    "status",
    "study_flags",
    "train",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
