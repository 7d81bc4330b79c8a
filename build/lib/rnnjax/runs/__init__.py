"""The files of a run and its display in the terminal.

Work directory, metrics, checkpoints, progress, provenance, job queue. Belongs here: files and processes. Does not
belong here: cells, flags, mathematics.
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.runs._checkpoint import Checkpoints
from rnnjax.runs._files import atomic_write
from rnnjax.runs._progress import Progress, format_duration, print_table
from rnnjax.runs._provenance import code_version, describe_devices, provenance, usable_cores, versions
from rnnjax.runs._queue import Queue
from rnnjax.runs._workdir import Workdir, flag_lines
from rnnjax.runs._workers import Pool, work
from rnnjax.runs._writers import make_writer, make_writers

__all__ = [
    "Checkpoints",
    "Pool",
    "Progress",
    "Queue",
    "Workdir",
    "atomic_write",
    "code_version",
    "describe_devices",
    "flag_lines",
    "format_duration",
    "make_writer",
    "make_writers",
    "print_table",
    "provenance",
    "usable_cores",
    "versions",
    "work",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
