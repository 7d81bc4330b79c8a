"""The storm within one process: where a kill would fall, the folder is copied, and the next launch finds the copy.

What a killed process leaves is its folder, so a copy of the folder at that point stands for a kill there. Launches of
one process share their compiled programs: each costs a tenth of a fork's.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from _compare import contents
from _launches import Ended, Way, called
from _strikes import Armed, Strike


class _Gone(BaseException):
    """The process would have ended here."""


class _Replay:
    """Launches in this process."""

    def __init__(self) -> None:
        self.folder = Path()
        self.armed: Armed | None = None

    def go(self, commands: list[list[str]], folder: Path, strike: Strike, victim: int = 0) -> list[Ended]:
        """Launches a command, and leaves its folder as it was where it was killed."""
        assert len(commands) == 1, "several processes need forks"
        self.folder = folder
        os.chdir(folder.parent)
        if self.armed is None:
            self.armed = Armed(strike, folder, self.killed)
        self.armed.folder = folder
        self.armed.aim(strike)
        words = io.StringIO()
        with contextlib.redirect_stdout(words), contextlib.redirect_stderr(words):
            status = called([*commands[0], f"--workdir={folder.name}"])
        passed = dict(self.armed.passed)
        self.armed.aim(Strike())  # what has not fallen is not to fall on this process itself
        if self.copy.exists():
            shutil.rmtree(folder)
            self.copy.rename(folder)
            status = -signal.SIGKILL
        return [Ended(status, words.getvalue(), passed)]

    @property
    def copy(self) -> Path:
        """Where the folder is copied."""
        return self.folder.parents[1] / "copy"

    def killed(self) -> None:
        """Copies the folder, and leaves the launch if this is the thread that can."""
        self.folder.mkdir(exist_ok=True)
        shutil.copytree(self.folder, self.copy, symlinks=True)
        if threading.current_thread() is threading.main_thread():
            raise _Gone


def _sharing(patch: pytest.MonkeyPatch) -> None:
    """Launches share what they have compiled and checked, and the paths of the modules that they have imported."""
    from rnnjax.app import _session
    from rnnjax.runs import _sources
    from rnnjax.studies._compiler import Compiler

    begin, check, known, checked = Compiler.__init__, _session.check_traced, dict[Any, Compiler](), dict[int, Any]()

    def sharing(compiler: Compiler, experiment: Any, strategy: str, member_batch: int) -> None:
        begin(compiler, experiment, strategy, member_batch)
        first = known.setdefault((strategy, member_batch), compiler)
        compiler.compiled, compiler.known = first.compiled, first.known

    def checked_once(config: Any, programs: Any, *more: Any) -> None:
        if id(programs) not in checked:
            check(config, programs, *more)
        checked[id(programs)] = programs

    patch.setattr(Compiler, "__init__", sharing)
    patch.setattr(_session, "check_traced", checked_once)
    for name in ("_source", "_is_installed"):
        patch.setattr(_sources, name, functools.cache(getattr(_sources, name)))


def replayed(thing: str, kinds: list[str], count: int, seed: int, seconds: float) -> list[tuple[int, list[str]]]:
    """Strikes a thing in this process under each kind, see `storm`; returns how often, and what went wrong."""
    from _launching import shared
    from _storm import storm

    way = Way(_Replay().go, contents)
    with shared(), pytest.MonkeyPatch.context() as patch:
        _sharing(patch)
        return [tuple(storm(thing, kind, count, seed, seconds, way)) for kind in kinds]  # type: ignore[misc]
