"""The claims of the units of a queue: a file for each try, which only one process can create.

folder/NAME.K    the K-th try of a unit: its owner, and the progress of the unit at that time; empty if it does not
                 count as a try. A claim expires if it is not touched for the duration of a lease
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any


class Claims:
    """The claims in a folder.

    Args:
      folder: of the claims; it exists.

    Example: the second try of a unit is free when the first owner has given it up.
      >>> import tempfile
      >>> claims = Claims(Path(tempfile.mkdtemp()))
      >>> claims.create("a", 1, "worker 0", "") is None, claims.create("a", 1, "worker 1", "") is None
      (False, True)
      >>> claims.give_up("worker 0", stopped=True)
      >>> claims.latest(), claims.counted("a", 1, mark="")
      ({'a': 1}, 0)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def latest(self) -> dict[str, int]:
        """Returns the number of the latest try of each claimed unit."""
        tried: dict[str, int] = {}
        for name, k in map(_split, self.folder.glob("[!.]*")):
            tried[name] = max(k, tried.get(name, 0))
        return tried

    def touched(self, name: str, k: int) -> float:
        """Returns when a claim was last touched, on the clock of the file system."""
        return self._path(name, k).stat().st_mtime

    def counted(self, name: str, last: int, mark: str) -> int:
        """Returns how many tries up to the last one count and began at the same progress of the unit."""
        return sum(self._said(name, k + 1)[1:] == [mark] for k in range(last))

    def create(self, name: str, k: int, owner: str, mark: str) -> Path | None:
        """Creates a claim atomically; returns None if another process was first."""
        mine = self.folder / f".{name}.{k}.{safe(owner)}"
        mine.write_text(f"{owner}\n{mark}", encoding="utf-8")
        try:
            os.link(mine, self._path(name, k))
        except FileExistsError:
            return None
        finally:
            mine.unlink()
        return self._path(name, k)

    def holds(self, path: Path) -> bool:
        """Touches a claim, and returns whether it is still the latest of its unit."""
        os.utime(path)
        name, k = _split(path)
        return not self._path(name, k + 1).exists()

    def give_up(self, owner: str, stopped: bool) -> None:
        """Frees all units of an owner; with stopped=True the claims are not counted."""
        for name, k in self.latest().items():
            if self._said(name, k)[:1] == [owner]:
                excuse(self._path(name, k), stopped)

    def forgive(self, session: str) -> None:
        """Does not count claims of owners whose names do not begin with the session."""
        for name, last in self.latest().items():
            for path in (self._path(name, k + 1) for k in range(last)):
                if path.exists() and not path.read_text(encoding="utf-8").startswith(session):
                    at = path.stat().st_mtime_ns
                    os.truncate(path, 0)
                    os.utime(path, ns=(at, at))

    def remove(self, name: str) -> None:
        """Removes all claims of a unit."""
        for path in self.folder.glob(f"{name}.*"):
            path.unlink()

    def _path(self, name: str, k: int) -> Path:
        return self.folder / f"{name}.{k}"

    def _said(self, name: str, k: int) -> list[str]:
        """Returns owner and progress mark of a claim; empty if it does not count."""
        try:
            return self._path(name, k).read_text(encoding="utf-8").split("\n")[:2]
        except FileNotFoundError:
            return []


def excuse(path: Path, stopped: bool) -> None:
    """Frees a claim; if it was stopped, it does not count. This works on a full disk too."""
    if stopped:
        os.truncate(path, 0)
    os.utime(path, (0, 0))


def progress_mark(unit: dict[str, Any]) -> str:
    """Returns a mark of a unit's progress: the content of its folder, if it names one.

    Example:
      >>> progress_mark({"x": 1})
      ''
    """
    folder = Path(unit["folder"]) if isinstance(unit, dict) and isinstance(unit.get("folder"), str) else None
    if folder is None or not folder.is_dir():
        return ""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.glob("[!.]*/[!.]*/[!.]*"))
    sizes = [path.stat().st_size for path in sorted(folder.glob("*.jsonl"))]
    return hashlib.sha256(repr((paths, sizes)).encode()).hexdigest()[:16]


def safe(owner: str) -> str:
    """Returns the name of an owner in a form that can be part of a file name."""
    return "".join(c if c.isalnum() else "_" for c in owner)


def _split(path: Path) -> tuple[str, int]:
    name, _, k = path.name.rpartition(".")
    return name, int(k)
