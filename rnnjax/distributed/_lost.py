"""One line instead of a native abort: JAX's runtime ends a process that has lost process 0 by `abort`, with a stack."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TextIO

_kept: list[Any] = []  # what C code points to must not be collected


def instead_of_abort(end: Callable[[], None]) -> None:
    """Calls `end`, which leaves the process, where native code aborts; hides what native code prints before.

    What Python prints still reaches standard error.

    Args:
      end: runs in the thread that aborts.
    """
    sys.stderr.flush()
    words = os.dup(2)
    os.set_inheritable(words, True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = _line_by_line(words)
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda signum: end())
    _kept.append(handler)
    ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)


def _line_by_line(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
