"""Handles closed standard streams and Ctrl-C during a launch: the first is no error, the second a clean exit."""

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
    """Inside this block, printing to a closed pipe is not an error, and Ctrl-C ends the process with status 130.

    While there is something to save, `signals` of the session handles Ctrl-C instead.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Steady(_opened(sys.stdout, 1)), _Steady(_opened(sys.stderr, 2))
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, _exit_now) if main else None
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
        if main:
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)


class _Steady:
    """A text stream that drops its output once it cannot be written any more."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes the text, or drops it."""
        try:
            self._stream.write(text)
        except OSError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Flushes the stream if it is open."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._drop()

    def _drop(self) -> None:
        """Discards the buffer of the stream, and all further output."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _opened(stream: Any, descriptor: int) -> Any:
    """Returns the stream; one that was closed when Python started is redirected to nowhere with its old number."""
    if stream is not None and not stream.closed:
        return stream
    try:
        os.fstat(descriptor)
    except OSError:  # otherwise error messages would go into the next file that is opened
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return open(os.devnull, "w", encoding="utf-8")


def _exit_now(signum: int, frame: FrameType | None) -> None:
    """Exits at once: there is nothing to save, and an exception could be swallowed by a broad except clause."""
    os._exit(128 + signum)
