"""What strikes a process: it is killed, or a call of the file system fails, at a point that a plan names.

Nothing of this is in the library: Python reports each call of the file system to audit hooks, and a hook may kill the
process or raise the error. Points between two such calls are reached by wrapping one function of the library here.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_CALLS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.utime")
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}


class Strike(NamedTuple):
    """What happens, and when.

    Attributes:
      kind: kill, ENOSPC or EIO; none only counts.
      point: call, before a call of the file system that changes the folder; row, in the middle of a line of a log;
        save, between the arrays of a checkpoint and its manifest; ask, between drawing trials and writing them down.
      at: the number of the point in this process, from 1.
      seed: of what else is drawn.
    """

    kind: str = "none"
    point: str = "call"
    at: int = 0
    seed: int = 0


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Armed:
    """This process, which can be struck once a launch, at a point in the folder.

    Attributes:
      strike: what is to fall on it; replaced by a strike that only counts when it has fallen.
      passed: the number of points it has passed, by name.
      killed: ends the process.
    """

    def __init__(self, strike: Strike, folder: Path, killed: Callable[[], None] = _killed) -> None:
        self.folder, self.killed = folder, killed
        self.aim(strike)
        _wrap(self)
        sys.addaudithook(self._heard)

    def aim(self, strike: Strike) -> None:
        """Begins another launch."""
        self.strike, self.passed = strike, Counter[str]()

    def at(self, point: str, path: object = None) -> None:
        """Counts a point, where the strike may fall."""
        self.passed[point] += 1
        strike = self.strike
        if point != strike.point or self.passed[point] != strike.at or strike.kind == "none":
            return
        self.strike = Strike()
        if strike.kind == "kill":
            self.killed()
        else:
            raise OSError(ERRORS[strike.kind], os.strerror(ERRORS[strike.kind]), path)

    def _heard(self, name: str, given: tuple[Any, ...]) -> None:
        if name in _CALLS and _changes(name, given, self.folder):
            self.at("call", given[0])


def _changes(name: str, given: tuple[Any, ...], folder: Path) -> bool:
    """Whether a call changes something in the folder."""
    path = given[0]
    if not isinstance(path, (str, bytes, os.PathLike)):
        return False
    if not os.path.abspath(os.fsdecode(path)).startswith(str(folder)):
        return False
    return name != "open" or bool(given[2] & (os.O_WRONLY | os.O_RDWR))


def _wrap(armed: Armed) -> None:
    """Makes the points that lie between two calls."""
    from rnnjax.runs import _leaves, _log
    from rnnjax.studies._search import Search

    add, digests, drawn = _log.Log.add, _leaves._digests, Search.drawn

    def add_half(log: _log.Log, records: Any) -> None:
        """A row is struck when some of it has been written."""
        before = log.path.stat().st_size if log.path.exists() else 0
        add(log, records)
        strike = armed.strike
        if (strike.point, strike.at) == ("row", armed.passed["row"] + 1) and log.path.stat().st_size > before:
            os.truncate(log.path, random.Random(strike.seed).randrange(before, log.path.stat().st_size))
        armed.at("row", str(log.path))

    def digests_after_arrays(place: Path) -> dict[str, str]:
        if place.name.endswith(".new"):
            armed.at("save", str(place))
        return digests(place)

    def drawn_then(search: Search, *given: Any) -> Any:
        found = drawn(search, *given)
        armed.at("ask", str(search.folder))
        return found

    _log.Log.add = add_half  # type: ignore[method-assign]
    _leaves._digests = digests_after_arrays
    Search.drawn = drawn_then  # type: ignore[method-assign]


def flip(folder: Path, seed: int) -> tuple[Path, bytes] | None:
    """Flips a bit of a file in the folder; returns the file and what it held. Hidden and empty files are left alone."""
    draw = random.Random(seed)
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.stat().st_size and not _hidden(p, folder)]
    files = [p for p in files if not p.name.startswith(("events.", "study.db")) and p.suffix != ".png"]
    if not files:
        return None
    path = draw.choice(files)
    data = path.read_bytes()
    at = draw.randrange(len(data))
    path.write_bytes(data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :])
    return path, data


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
