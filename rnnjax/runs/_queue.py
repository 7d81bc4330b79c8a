"""Work in units, shared out over processes and machines through a folder that all of them see.

    folder/units/NAME.json     what there is to do
    folder/claims/NAME.K       the K-th try: who does it, and how far the unit was; empty: it does not count as a try.
                               A claim that is not touched for a lease is no longer held
    folder/ends/NAME.json      what came of it: {"result": ...}, {"failed": why}, or {"fault": why} of a machine
    folder/open                touched by the coordinator while it lives; gone when there is nothing more to do

A worker claims a unit by creating the file of its next try, which one alone can do, and touches it while it works. So a
process or a machine that disappears costs the units it held: another takes them. After `tries` that got no further the
unit has failed; a try that was stopped, or whose coordinator is gone, is none. Ages are differences of times of the
file system, so clocks need not agree. What a unit gives is written at once or not at all, and stays: a study that is
started again does what is left.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rnnjax.base._errors import as_user_error
from rnnjax.runs._files import atomic_write, read_sealed, write_sealed

Unit = dict[str, Any]
Task = Callable[[Unit], Any]
LEASE, TRIES, POLL, BEAT = 60.0, 3, 0.2, 2.0


class Claim(NamedTuple):
    """A unit that a worker holds: its name, what there is to do, and the file that says so."""

    name: str
    unit: Unit
    path: Path


class Queue:
    """Units in a folder; any number of processes may hold one.

    Args:
      folder: made where it is not there.
      lease: seconds after which a claim that nobody has touched is given up.
      tries: how often a unit is claimed before it counts as failed.

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
        with as_user_error("write", folder):
            for name in ("units", "claims", "ends", "jobs"):
                (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / "jobs").chmod(0o700)  # an engine keeps pickles there: who writes them runs code

    def put(self, units: Mapping[str, Unit]) -> None:
        """Adds units; one that is there already is left alone. Names are file names without a dot."""
        for name in units:
            if read_sealed(self._file("units", name)) is None:
                write_sealed(self._file("units", name), {"unit": units[name]})

    def left(self) -> list[str]:
        """The units that have not come to an end, in the order of their names."""
        ended = set(self._names("ends"))
        return [name for name in self._names("units") if name not in ended]

    def again(self, name: str) -> None:
        """Forgets what came of a unit: there is to be another try."""
        self._file("ends", name).unlink(missing_ok=True)
        for path in (self.folder / "claims").glob(f"{name}.*"):
            path.unlink()

    def claim(self, owner: str) -> Claim | None:
        """The first unit that nobody holds; None: there is none at present.

        Args:
          owner: who claims it, see `give_up`.
        """
        tried, now = self._tried(), None
        for name in self.left():
            k = tried.get(name, 0)
            if k:
                now = self._now(owner) if now is None else now
                if self._touched(name, k) > now - self.lease:
                    continue
            said = read_sealed(self._file("units", name))
            if said is None:  # damaged: the coordinator writes it again when it starts
                continue
            mark = _mark(said["unit"])
            if sum(self._said(name, i + 1)[1:] == [mark] for i in range(k)) >= self.tries:
                self.end(name, failed=f"each of the {self.tries} processes that took it disappeared")
            elif self._create(name, k + 1, f"{owner}\n{mark}"):
                return Claim(name, said["unit"], self._claim(name, k + 1))
        return None

    def holds(self, claim: Claim) -> bool:
        """Touches a claim; whether it is still the last one of its unit."""
        os.utime(claim.path)
        name, k = _split(claim.path)
        return not self._claim(name, k + 1).exists()

    def give_up(self, owner: str, stopped: bool = False) -> None:
        """Frees at once what an owner holds who is known to be gone; stopped: as was wished, so it was no try."""
        for name, k in self._tried().items():
            if self._said(name, k)[:1] == [owner]:
                excuse(self._claim(name, k), stopped)

    def forgive(self, session: str) -> None:
        """The tries of other sessions are none: whoever ended those ended their workers too."""
        for name, k in self._tried().items():
            for path in (self._claim(name, i + 1) for i in range(k)):
                if path.exists() and not path.read_text(encoding="utf-8").startswith(session):
                    at = path.stat().st_mtime_ns
                    os.truncate(path, 0)
                    os.utime(path, ns=(at, at))

    def end(self, name: str, **what: Any) -> None:
        """Writes what came of a unit: `result=` anything that JSON can say, `failed=` or `fault=` a line."""
        write_sealed(self._file("ends", name), what)

    def ends(self, known: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """What came of the units that have come to an end, but for those that are known already."""
        found = {name: read_sealed(self._file("ends", name)) for name in self._names("ends") if name not in known}
        for name in (name for name, end in found.items() if end is None):
            self.again(name)  # damaged
        return {name: end for name, end in found.items() if end is not None}

    def claims(self) -> int:
        """How often units were claimed."""
        return sum(self._tried().values())

    def open(self, session: str = "") -> None:
        """Says that the coordinator lives; called again and again. It has no use for workers of other sessions."""
        path = self.folder / "open"
        if path.exists() and path.read_text(encoding="utf-8") == session:
            os.utime(path)
        else:
            atomic_write(path, session)

    def close(self) -> None:
        """Says that there will be nothing more to do."""
        (self.folder / "open").unlink(missing_ok=True)

    def is_closed(self) -> bool:
        """Whether the coordinator has said so."""
        return not (self.folder / "open").exists()

    def is_open(self, owner: str) -> bool:
        """Whether there may be more to do: the coordinator has not closed the queue, lives, and started this worker."""
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

    def _said(self, name: str, k: int) -> list[str]:
        """Owner and mark of a claim; nothing, where it does not count."""
        try:
            return self._claim(name, k).read_text(encoding="utf-8").split("\n")[:2]
        except FileNotFoundError:
            return []

    def _tried(self) -> dict[str, int]:
        """The last try of each unit that was claimed."""
        tried: dict[str, int] = {}
        for name, k in map(_split, (self.folder / "claims").glob("[!.]*")):
            tried[name] = max(k, tried.get(name, 0))
        return tried

    def _claim(self, name: str, k: int) -> Path:
        return self.folder / "claims" / f"{name}.{k}"

    def _touched(self, name: str, k: int) -> float:
        return self._claim(name, k).stat().st_mtime

    def _create(self, name: str, k: int, text: str) -> bool:
        """Makes a claim, whole from the start; False: another was first."""
        mine = self.folder / "claims" / f".{name}.{k}.{_safe(text)}"
        mine.write_text(text, encoding="utf-8")
        try:
            os.link(mine, self._claim(name, k))
        except FileExistsError:
            return False
        finally:
            mine.unlink()
        return True

    def _now(self, owner: str) -> float:
        """The time by the clock of the file system."""
        probe = self.folder / f".clock.{_safe(owner)}"
        probe.touch()
        return probe.stat().st_mtime


def excuse(path: Path, stopped: bool) -> None:
    """Frees a claim; if it was stopped it is no try. A full disk does not hinder this."""
    if stopped:
        os.truncate(path, 0)
    os.utime(path, (0, 0))


def _mark(unit: Unit) -> str:
    """How far a unit is: what lies in its folder, where it names one."""
    folder = Path(unit["folder"]) if isinstance(unit, dict) and isinstance(unit.get("folder"), str) else None
    if folder is None or not folder.is_dir():
        return ""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.glob("[!.]*/[!.]*/[!.]*"))
    sizes = [path.stat().st_size for path in sorted(folder.glob("*.jsonl"))]
    return hashlib.sha256(repr((paths, sizes)).encode()).hexdigest()[:16]


def _split(path: Path) -> tuple[str, int]:
    name, _, k = path.name.rpartition(".")
    return name, int(k)


def _safe(owner: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in owner)
