"""The folder of a run: its flags, its metrics, its summary, and a lock against other processes.

flags.cfg        the flags, one --name=value per line: --flagfile=flags.cfg repeats the run
run.json         the experiment, its code and its data
metrics.jsonl    one JSON object per line: step, seconds of work since the run began, every metric
summary.json     the results
ended.json       how the last session ended, if not at the end of the training
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs._ending import ENDED
from rnnjax.runs._flags_file import allowed_changes, write_flags
from rnnjax.runs._log import Log
from rnnjax.runs._summary import intact_summary, write_summary

_Record = dict[str, Any]
_CLAIM = ("flags.cfg", "run.json", "code.json", ENDED, ".lock")  # the files of a folder before its run begins


class Workdir:
    """The folder of one run, locked for this process until it is closed or the process ends.

    Args:
      path: the folder: missing, empty (apart from hidden files and logs), or of the same run.
      flags: the flags of the run, as `flag_lines` returns them.
      free: names of flags that may change when the run is started again.

    Raises:
      UserError: the folder contains something else, cannot be written, is in use, or has a run with other flags.

    Example:
      >>> import tempfile
      >>> path = tempfile.mkdtemp()
      >>> with Workdir(path, {"seed": "--seed=3"}) as workdir:
      ...     workdir.log(10, {"loss": 2.5})
      ...     [(record["step"], record["loss"]) for record in workdir.records()]
      [(10, 2.5)]
      >>> Workdir(path, {"seed": "--seed=4"})  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      rnnjax.base.UserError: ... was begun with other flags: --seed: 3 -> 4; go back ... or give another --workdir
    """

    def __init__(self, path: str | os.PathLike[str], flags: Mapping[str, str], free: Collection[str] = ()) -> None:
        self.path = Path(path).absolute()
        self.flags = dict(flags)
        self._made = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
        with as_user_error("write", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            _assert_ours(self.path)
            self._lock: int | None = _locked(self.path)
        try:
            self.resumed = self._claim(free)
        except BaseException:
            self.close()
            raise
        self._before, self._start = 0.0, time.monotonic()
        self._metrics: Log | None = None

    def file(self, name: str) -> Path:
        """Returns the path of a file in this folder."""
        return self.path / name

    def close(self) -> None:
        """Releases the folder for other processes."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None

    def __enter__(self) -> Workdir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and not self.resumed:
            self.withdraw()
        self.close()

    def withdraw(self) -> None:
        """Removes a folder in which no run has begun, or restores it. Otherwise nothing changes."""
        if not self.path.is_dir():
            return
        begun = [entry for entry in self.path.iterdir() if not (entry.name in _CLAIM and entry.is_file())]
        if begun and any(entry.is_dir() or entry.stat().st_size for entry in begun):
            return
        for file in (*begun, *(self.path / name for name in _CLAIM)):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # there are other files
            for folder in self._made:
                folder.rmdir()

    def rewind(self, step: int | None) -> None:
        """Drops the metrics after the restored step, and an incomplete last line; None drops all metrics.

        Raises:
          UserError: metrics.jsonl is damaged, or cannot be read or written.
        """
        self._metrics = None  # read them from disk
        log = self._log()
        kept = [record for record in log.records if step is not None and record["step"] <= step]
        self._before, self._start = (kept[-1]["seconds"] if kept else 0.0), time.monotonic()
        log.cut(len(kept))

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Appends a line to metrics.jsonl; numbers that are not finite become null, since JSON has none.

        Log the metrics of a step before saving its checkpoint; a run that is killed in between then loses nothing.
        """
        self.assert_there()
        self._log().add([{"step": int(step), "seconds": round(self.seconds(), 3), **metrics}])

    def records(self) -> list[_Record]:
        """Returns the metrics so far, one dict per line."""
        self._metrics = None  # read them from disk
        return list(self._log().records)

    def assert_there(self) -> None:
        """Checks that the folder was not removed while this process works; output would be lost.

        Raises:
          UserError: the folder was removed or replaced.
        """
        if self._lock is not None and not _is_locked(self.path, self._lock):
            with as_user_error("write", self.path):
                raise FileNotFoundError(errno.ENOENT, "it was removed or replaced while the run was under way")

    def seconds(self) -> float:
        """Returns the seconds of work on this run, including earlier sessions."""
        return self._before + time.monotonic() - self._start

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json; it may contain NumPy and JAX numbers, and those that are not finite become null.

        The entry `version` is added; training runs give `runs`, their entries by name.
        """
        self.assert_there()
        write_summary(self.file("summary.json"), summary)

    def summary(self) -> _Record | None:
        """Returns the content of summary.json; None if it cannot be read or has changed.

        Raises:
          UserError: it is of a later version.
        """
        return intact_summary(self.file("summary.json"))

    def _claim(self, free: Collection[str]) -> bool:
        """Writes flags.cfg, or compares the flags with it; returns whether it existed."""
        path, resumed = self.file("flags.cfg"), self.file("flags.cfg").exists()
        changes = allowed_changes(self.path, self.flags, free) if resumed else {}
        if changes or not resumed:
            write_flags(path, self.flags)
        return resumed

    def _log(self) -> Log:
        """Returns the metrics, which are read once."""
        if self._metrics is None:
            self._metrics = _metrics_log(self.file("metrics.jsonl"), repair=True)
        return self._metrics


def read_records(path: Path) -> list[_Record]:
    """Returns the records of a metrics.jsonl without changing the file; an incomplete last line is ignored.

    Raises:
      UserError: the file is damaged, or cannot be read.
    """
    return _metrics_log(path, repair=False).records


def _metrics_log(path: Path, repair: bool) -> Log:
    log = Log(path, sync=False, repair=repair)
    for i, record in enumerate(log.records):
        if not (isinstance(record.get("step"), int) and isinstance(record.get("seconds"), (int, float))):
            raise UserError(f"{log.path} is damaged: line {i + 1} is not a record")
    return log


def refuse_other_run(path: str | os.PathLike[str], flags: Mapping[str, str], free: Collection[str] = ()) -> None:
    """Refuses a folder that `Workdir` would refuse, and writes nothing.

    Raises:
      UserError: the folder contains something else, or belongs to a run with other flags.
    """
    path = Path(path).absolute()
    with as_user_error("read", path):
        if path.is_dir():
            _assert_ours(path)
        if (path / "flags.cfg").exists():
            allowed_changes(path, flags, free)


def _is_locked(path: Path, descriptor: int) -> bool:
    """Returns whether the lock file of a folder is still the one that this process holds."""
    try:
        there, held = (path / ".lock").stat(), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def _assert_ours(path: Path) -> None:
    names = [entry.name for entry in path.iterdir() if not entry.name.startswith(".") and entry.suffix != ".log"]
    if names and "flags.cfg" not in names:
        raise UserError(f"{path} holds other things and no flags.cfg of a run: give another --workdir")


def _locked(path: Path) -> int:
    """Locks the folder until the process ends, in whatever way."""
    descriptor = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(descriptor, 100).decode(errors="replace").strip()
        os.close(descriptor)
        raise UserError(f"{path} is in use by process {owner}: wait for it, or give another --workdir") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
