"""Work in units, shared out over processes and machines through a folder that all of them see.

    folder/units/NAME.json     what there is to do
    folder/claims/NAME.K       the K-th try: who does it; a claim that is not touched for a lease is no longer held
    folder/ends/NAME.json      what came of it: {"result": ...} or {"failed": why}
    folder/open                touched by the coordinator while it lives; gone when there is nothing more to do

A worker claims a unit by creating the file of its next try, which one alone can do, and touches it while it works. So a
process or a machine that disappears costs the units it held: another takes them, and after `tries` of them the unit has
failed. Ages are differences of times of the file system, so clocks need not agree. What a unit gives is written at once
or not at all, and stays: a study that is started again does what is left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rnnjax.base._errors import as_user_error
from rnnjax.runs._files import atomic_write, to_json_value

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
            for name in ("units", "claims", "ends"):
                (folder / name).mkdir(parents=True, exist_ok=True)

    def put(self, units: Mapping[str, Unit]) -> None:
        """Adds units; one that is there already is left alone. Names are file names without a dot."""
        for name in units.keys() - set(self._names("units")):
            atomic_write(self.folder / "units" / f"{name}.json", json.dumps(to_json_value(units[name])))

    def left(self) -> list[str]:
        """The units that have not come to an end, in the order of their names."""
        ended = set(self._names("ends"))
        return [name for name in self._names("units") if name not in ended]

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
            if k >= self.tries:
                self.end(name, failed=f"each of the {k} processes that took it disappeared")
            elif self._create(name, k + 1, owner):
                path = self.folder / "units" / f"{name}.json"
                return Claim(name, json.loads(path.read_bytes()), self._claim(name, k + 1))
        return None

    def holds(self, claim: Claim) -> bool:
        """Touches a claim; whether it is still the last one of its unit."""
        os.utime(claim.path)
        name, k = _split(claim.path)
        return not self._claim(name, k + 1).exists()

    def give_up(self, owner: str) -> None:
        """Frees at once what an owner holds who is known to be gone."""
        for name, k in self._tried().items():
            path = self._claim(name, k)
            if path.read_text(encoding="utf-8") == owner:
                os.utime(path, (0, 0))

    def end(self, name: str, **what: Any) -> None:
        """Writes what came of a unit: `result=` anything that JSON can say, or `failed=` a line."""
        atomic_write(self.folder / "ends" / f"{name}.json", json.dumps(to_json_value(what)))

    def ends(self, known: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """What came of the units that have come to an end, but for those that are known already."""
        names = (name for name in self._names("ends") if name not in known)
        return {name: json.loads((self.folder / "ends" / f"{name}.json").read_bytes()) for name in names}

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

    def _create(self, name: str, k: int, owner: str) -> bool:
        """Makes a claim, whole from the start; False: another was first."""
        mine = self.folder / "claims" / f".{name}.{k}.{_safe(owner)}"
        mine.write_text(owner, encoding="utf-8")
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


def _split(path: Path) -> tuple[str, int]:
    name, _, k = path.name.rpartition(".")
    return name, int(k)


def _safe(owner: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in owner)
