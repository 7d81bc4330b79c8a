"""A queue of work units for several processes and machines, in a folder that all of them share.

    folder/units/NAME.json     the work
    folder/claims/NAME.K       the K-th try, see `Claims`
    folder/ends/NAME.json      the outcome: {"result": ...}, {"failed": why}, or {"fault": why} for a fault of a machine
    folder/open                touched by the coordinator while it is alive; removed when there is no more work

A worker claims a unit by creating the file of its next try, which only one process can do, and touches the file while
it works. If a process or a machine disappears, other workers take over its units. A unit fails after `tries` claims
without progress; a claim does not count if it was stopped or its coordinator is gone. Ages are differences between
times of the file system, so clocks need not agree. A result is written atomically and kept, so a study that is started
again only does the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rnnjax.base._errors import as_user_error
from rnnjax.runs._claims import Claims, progress_mark, safe
from rnnjax.runs._files import atomic_write, read_sealed, write_sealed

Unit = dict[str, Any]
Task = Callable[[Unit], Any]
LEASE, TRIES, POLL, BEAT = 60.0, 3, 0.2, 2.0


class Claim(NamedTuple):
    """A unit that a worker holds: its name, the work, and the file of the claim."""

    name: str
    unit: Unit
    path: Path


class Queue:
    """Units in a folder, which any number of processes can work on.

    Args:
      folder: created if necessary.
      lease: seconds without a touch after which a claim expires.
      tries: how often a unit is claimed before it fails.

    Example: one unit from beginning to end.
      >>> import tempfile
      >>> queue = Queue(Path(tempfile.mkdtemp()))
      >>> queue.put({"a": {"x": 2}})
      >>> claim = queue.claim("worker 0")
      >>> queue.claim("worker 1") is None, queue.left()
      (True, ['a'])
      >>> queue.end(claim.name, result=claim.unit["x"] ** 2)
      >>> queue.ends(), queue.left()
      ({'a': {'result': 4}}, [])
    """

    def __init__(self, folder: Path, lease: float = LEASE, tries: int = TRIES) -> None:
        self.folder, self.lease, self.tries = folder, lease, tries
        self._claims = Claims(folder / "claims")
        with as_user_error("write", folder):
            for name in ("units", "claims", "ends", "jobs"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / "jobs").chmod(0o700)  # an engine keeps pickles there, and whoever writes them can run code

    def put(self, units: Mapping[str, Unit]) -> None:
        """Adds units; existing ones are left alone. Names are file names without a dot."""
        for name in units:
            if read_sealed(self._file("units", name)) is None:
                write_sealed(self._file("units", name), {"unit": units[name]})

    def left(self) -> list[str]:
        """Returns the names of unfinished units, sorted."""
        ended = set(self._names("ends"))
        return [name for name in self._names("units") if name not in ended]

    def again(self, name: str) -> None:
        """Deletes the outcome of a unit, so that it is tried again."""
        self._file("ends", name).unlink(missing_ok=True)
        self._claims.remove(name)

    def forget_faults(self) -> None:
        """Makes units ready to be tried again whose last try met a fault of a machine."""
        for name, end in self.ends().items():
            if "fault" in end:
                self.again(name)

    def claim(self, owner: str) -> Claim | None:
        """Claims the first free unit; returns None if there is none at present.

        Args:
          owner: the name of the worker, see `give_up`.
        """
        tried, now = self._claims.latest(), None
        for name in self.left():
            k = tried.get(name, 0)
            if k:
                now = self._now(owner) if now is None else now
                if self._claims.touched(name, k) > now - self.lease:
                    continue
            said = read_sealed(self._file("units", name))
            if said is None:  # damaged: the coordinator writes it again when it starts
                continue
            mark = progress_mark(said["unit"])
            if self._claims.counted(name, k, mark) >= self.tries:
                self.end(name, failed=f"each of the {self.tries} processes that took it disappeared")
            elif (path := self._claims.create(name, k + 1, owner, mark)) is not None:
                return Claim(name, said["unit"], path)
        return None

    def holds(self, claim: Claim) -> bool:
        """Touches a claim, and returns whether it is still the latest of its unit."""
        return self._claims.holds(claim.path)

    def give_up(self, owner: str, stopped: bool = False) -> None:
        """Frees all units of an owner that is gone; with stopped=True, on request, so the claims are not counted."""
        self._claims.give_up(owner, stopped)

    def forgive(self, session: str) -> None:
        """Does not count claims of other sessions, whose workers ended with them."""
        self._claims.forgive(session)

    def end(self, name: str, **what: Any) -> None:
        """Writes the outcome of a unit: `result=` any JSON value, or `failed=` or `fault=` with a line of text."""
        write_sealed(self._file("ends", name), what)

    def ends(self, known: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """Returns the outcomes of finished units, except those that are known already."""
        found = {name: read_sealed(self._file("ends", name)) for name in self._names("ends") if name not in known}
        for name in (name for name, end in found.items() if end is None):
            self.again(name)  # damaged
        return {name: end for name, end in found.items() if end is not None}

    def claims(self) -> int:
        """Returns the number of claims."""
        return sum(self._claims.latest().values())

    def open(self, session: str = "") -> None:
        """Shows that the coordinator is alive; call it regularly. Workers of other sessions are then unwanted."""
        path = self.folder / "open"
        if path.exists() and path.read_text(encoding="utf-8") == session:
            os.utime(path)
        else:
            atomic_write(path, session)

    def session(self) -> str | None:
        """Returns the session of the coordinator; None if the queue is closed."""
        try:
            return (self.folder / "open").read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def close(self) -> None:
        """Declares that there will be no more work."""
        (self.folder / "open").unlink(missing_ok=True)

    def is_closed(self) -> bool:
        """Returns whether the coordinator has closed the queue."""
        return not (self.folder / "open").exists()

    def is_open(self, owner: str) -> bool:
        """Returns whether there may be more work: the queue is open, its coordinator alive, and this worker's own."""
        path = self.folder / "open"
        try:
            lives = path.stat().st_mtime > self._now(owner) - 2 * self.lease
            return lives and owner.startswith(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False

    def _names(self, kind: str) -> list[str]:
        files = (path.name for path in (self.folder / kind).iterdir())
        return sorted(name.removesuffix(".json") for name in files if not name.startswith("."))

    def _file(self, kind: str, name: str) -> Path:
        return self.folder / kind / f"{name}.json"

    def _now(self, owner: str) -> float:
        """Returns the time of the file system's clock."""
        probe = self.folder / f".clock.{safe(owner)}"
        probe.touch()
        return probe.stat().st_mtime
