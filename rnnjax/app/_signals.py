"""Signals that ask a run to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from rnnjax.runs._ending import Stopped

_STOPS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")  # those that the platform has


class Interrupted(Stopped):
    """The run was asked to stop by a signal and has been saved."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)  # pickled by it
        self.status = 128 + signum

    def __str__(self) -> str:
        return signal.Signals(self.args[0]).name


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """Records signals that ask for a stop in the list that it returns, without interrupting anything.

    Batch systems send SIGUSR1 or SIGUSR2 before a time limit. Python only receives signals in its main thread: in
    other threads the list stays empty and handlers are unchanged.
    """
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    known = [getattr(signal, name) for name in _STOPS if hasattr(signal, name)]
    before = {s: signal.signal(s, lambda signum, frame: heard.append(signum)) for s in known}
    try:
        yield heard
    finally:
        for s, handler in before.items():
            signal.signal(s, signal.SIG_DFL if handler is None else handler)  # None: it was not set from Python
