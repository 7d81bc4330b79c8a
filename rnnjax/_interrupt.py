"""Ctrl-C while a command of ours is still importing ends it with status 130, without a traceback.

Only commands are treated so: `python -m experiments.NAME`, `python experiments/NAME.py` and `python -m rnnjax.NAME`.
Whoever imports the package in a program or a notebook keeps Python's own handler.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Sequence

_SCRIPTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "experiments")


def _is_command(words: Sequence[str]) -> bool:
    """Returns whether the command line of a process starts an experiment or a module of this package.

    Example:
      >>> _is_command(["python", "-m", "experiments.copying"]), _is_command(["python", "-m", "pytest"])
      (True, False)
    """
    for before, word in itertools.pairwise(words):
        if before in ("-m", "-c"):
            return before == "-m" and word.partition(".")[0] in ("experiments", "rnnjax")
        if not word.startswith("-"):
            return os.path.dirname(os.path.abspath(word)) == _SCRIPTS
    return False


if (
    _is_command(sys.orig_argv)
    and threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, lambda signum, frame: os._exit(128 + signum))
