"""One line instead of a native abort: JAX's runtime ends a process that has lost another by `abort`, with a stack."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

_kept: list[Any] = []  # what C code points to must not be collected


def instead_of_abort(end: Callable[[], None]) -> Callable[[], None]:
    """Calls `end`, which leaves the process, where native code aborts; hides what native code prints before.

    What Python prints still reaches standard error. Returns a function that undoes all of this.

    Args:
      end: runs in the thread that aborts.
    """
    before = sys.stderr
    before.flush()
    words = os.dup(2)
    os.set_inheritable(words, True)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    own = _Words(io.FileIO(words, "w"), encoding="utf-8", errors="backslashreplace", write_through=True)
    sys.stderr = own
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda signum: end())
    _kept.append(handler)
    ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)

    def undo() -> None:
        ctypes.CDLL(None).signal(int(signal.SIGABRT), None)  # the default
        os.dup2(words, 2)
        sys.stderr = before
        own.close()

    return undo


class _Words(io.TextIOWrapper):
    """Standard error, which drops what cannot be written."""

    def write(self, text: str, /) -> int:
        """Writes the text, or drops it."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)
