"""The files of a run and its display in the terminal.

Work directory, metrics, checkpoints, progress, provenance, job queue. Belongs here: files and processes. Does not
belong here: cells, flags, mathematics.
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.runs._checkpoint import Checkpoints
from rnnjax.runs._files import atomic_write
from rnnjax.runs._flags_file import flag_lines
from rnnjax.runs._listing import RunState, list_runs, runs_command
from rnnjax.runs._progress import ProgressBar, format_duration, print_table
from rnnjax.runs._provenance import code_version, describe_devices, provenance, usable_cores, versions
from rnnjax.runs._queue import Queue
from rnnjax.runs._workdir import Workdir
from rnnjax.runs._workers import Pool, run_worker
from rnnjax.runs._writers import make_writer, make_writers

__all__ = [
    "Checkpoints",
    "Pool",
    "ProgressBar",
    "Queue",
    "RunState",
    "Workdir",
    "atomic_write",
    "code_version",
    "describe_devices",
    "flag_lines",
    "format_duration",
    "list_runs",
    "make_writer",
    "make_writers",
    "print_table",
    "provenance",
    "run_worker",
    "runs_command",
    "usable_cores",
    "versions",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
