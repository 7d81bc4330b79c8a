"""ended.json: how the last session of a run ended, where it did not reach the end of its training."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from rnnjax.base import UserError
from rnnjax.runs._files import read_sealed, write_sealed

ENDED = "ended.json"


class Diverged(UserError):
    """The loss or its gradient is not finite."""


class Stopped(Exception):
    """The run was asked to stop and has been saved."""


class _Folder(Protocol):
    """What is needed of a workdir, whose own file imports this one."""

    def file(self, name: str, /) -> Path: ...

    def assert_there(self) -> None: ...


@contextlib.contextmanager
def noted_ending(workdir: _Folder) -> Iterator[None]:
    """Notes in ended.json how what happens inside the `with` block ends; a complete one leaves no file."""
    with contextlib.suppress(OSError):
        workdir.file(ENDED).unlink(missing_ok=True)
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(OSError, UserError):  # the first error is the one to report
            workdir.assert_there()
            write_sealed(workdir.file(ENDED), {"state": _state(error), "line": _line(error)})
        raise


def _state(error: BaseException) -> str:
    if isinstance(error, Diverged):
        return "diverged"
    return "stopped" if isinstance(error, (Stopped, KeyboardInterrupt, SystemExit)) else "failed"


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, (UserError, Stopped)) else f"{type(error).__name__}: {text}".removesuffix(": ")


def ending(folder: Path) -> dict[str, Any]:
    """Returns the content of ended.json; empty if the last session reached its end, or was killed."""
    return read_sealed(folder / ENDED) or {}


def is_running(folder: Path) -> bool:
    """Returns whether a process holds the lock of a folder."""
    try:
        descriptor = os.open(folder / ".lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
