"""Standard streams and the interrupt key around a launch: a closed stream is no fault, Ctrl-C is a clean exit."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def steady_terminal() -> Iterator[None]:
    """Inside, printing to a stream whose reader is gone is no error, and Ctrl-C ends the process with status 130.

    Where there is something to save, `signals` of a session takes Ctrl-C over.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Steady(_opened(sys.stdout, 1)), _Steady(_opened(sys.stderr, 2))
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, _leave) if main else None
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
        if main:
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)


class _Steady:
    """A text stream; when it cannot be written any more, what comes is dropped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, or drops."""
        try:
            self._stream.write(text)
        except OSError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Flushes, or drops."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._drop()

    def _drop(self) -> None:
        """What the stream still holds, and all that comes, goes nowhere."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _opened(stream: Any, descriptor: int) -> Any:
    """The stream; one that was closed when Python started becomes one to nowhere, and keeps its number."""
    if stream is not None and not stream.closed:
        return stream
    try:
        os.fstat(descriptor)
    except OSError:  # else the next file that is opened would be written to by whoever complains
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return open(os.devnull, "w", encoding="utf-8")


def _leave(signum: int, frame: FrameType | None) -> None:
    """Nothing is under way that could be saved; an exception would be lost in code that catches all of them."""
    os._exit(128 + signum)
