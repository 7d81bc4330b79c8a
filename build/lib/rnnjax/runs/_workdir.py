"""The folder of a run: its flags, its metrics, its summary, and a lock against other processes.

flags.cfg        the flags, one --name=value per line: --flagfile=flags.cfg repeats the run
run.json         the experiment, its code and its data
metrics.jsonl    one JSON object per line: step, seconds of work since the run began, every metric
summary.json     the results
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from absl import flags as absl_flags

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs._files import atomic_write, read_sealed, write_sealed
from rnnjax.runs._log import Log

_Record = dict[str, Any]
_CLAIM = ("flags.cfg", "run.json", "code.json", ".lock")  # the files of a folder before its run begins
_HEADER = "# The flags of a run of rnnjax; not to be edited: sha256 "


def flag_lines(flags: Iterable[absl_flags.Flag]) -> dict[str, str]:
    """Returns flags in the form of a flagfile: by name, the line or lines, separated by `\\n`; "" for None.

    Raises:
      UserError: a flagfile cannot hold a value, because it has a line break or ends in white space.

    Example:
      >>> from absl import flags
      >>> values = flags.FlagValues()
      >>> _ = flags.DEFINE_bool("tied", True, "", flag_values=values)
      >>> _ = flags.DEFINE_multi_string("grid", ["seed=0,1", "delay=9"], "", flag_values=values)
      >>> _ = values(["program", "--notied"])
      >>> flag_lines(values[name] for name in values)
      {'tied': '--notied', 'grid': '--grid=seed=0,1\\n--grid=delay=9'}
    """
    return {flag.name: _sayable(flag) for flag in flags}


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
        if isinstance(error, UserError) and not self.resumed:
            self.withdraw()
        self.close()

    def withdraw(self) -> None:
        """Removes a folder in which no run has begun, or restores it. Otherwise nothing changes."""
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
            raise UserError(f"{self.path} was removed or replaced while the run was under way")

    def seconds(self) -> float:
        """Returns the seconds of work on this run, including earlier sessions."""
        return self._before + time.monotonic() - self._start

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json; it may contain NumPy and JAX numbers, and those that are not finite become null."""
        self.assert_there()
        write_sealed(self.file("summary.json"), summary)

    def summary(self) -> _Record | None:
        """Returns the content of summary.json; None if it cannot be read or has changed."""
        return read_sealed(self.file("summary.json"))

    def _claim(self, free: Collection[str]) -> bool:
        """Writes flags.cfg, or compares the flags with it; returns whether it existed."""
        path, resumed = self.file("flags.cfg"), self.file("flags.cfg").exists()
        changes = _allowed_changes(self.path, self.flags, free) if resumed else {}
        if changes or not resumed:
            text = "".join(f"{lines}\n" for lines in self.flags.values() if lines)
            atomic_write(path, f"{_HEADER}{_sha256(text)}\n{text}")
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
            _allowed_changes(path, flags, free)


def _is_locked(path: Path, descriptor: int) -> bool:
    """Returns whether the lock file of a folder is still the one that this process holds."""
    try:
        there, held = (path / ".lock").stat(), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def _sayable(flag: absl_flags.Flag) -> str:
    text: str = flag.serialize()
    lines = text.split("\n")
    count = len(flag.value or [""]) if isinstance(flag, absl_flags.MultiFlag) else 1
    if len(lines) != count or any(line != line.rstrip() or "\r" in line for line in lines):
        raise UserError(f"--{flag.name} has a line break or ends in white space, which flags.cfg cannot say")
    return text


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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


def _allowed_changes(path: Path, flags: Mapping[str, str], free: Collection[str]) -> dict[str, str]:
    """Returns the flags that differ from flags.cfg; raises an error unless they are free to change."""
    changes = _changes(read_flags(path / "flags.cfg", flags), flags)
    forbidden = "; ".join(change for name, change in changes.items() if name not in free)
    if forbidden:
        raise UserError(f"{path} was begun with other flags: {forbidden}; go back to those, or give another --workdir")
    return changes


def read_flags(path: Path, names: Collection[str]) -> dict[str, str]:
    """Returns the lines of flags.cfg by the name of their flag."""
    with as_user_error("read", path):
        header, _, text = path.read_text(encoding="utf-8").partition("\n")
    if not header.startswith(_HEADER):
        raise UserError(f"{path} is not one that rnnjax wrote: give another --workdir")
    if header.removeprefix(_HEADER) != _sha256(text):
        raise UserError(f"{path} was edited after the run began: undo that, or copy it and give another --workdir")
    lines: dict[str, str] = {}
    for line in filter(None, text.split("\n")):
        name = _name(line, names)
        lines[name] = f"{lines[name]}\n{line}" if name in lines else line
    return lines


def _name(line: str, names: Collection[str]) -> str:
    """Returns the flag of a line: --name=value, --name or --noname."""
    name, equals, _ = line.removeprefix("--").partition("=")
    return name if equals or name in names else name.removeprefix("no")


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Describes by name how the flags differ."""
    names = [name for name in {**old, **new} if old.get(name, "") != new.get(name, "")]
    return {
        name: f"--{name}: {flag_value(name, old.get(name, ''))} -> {flag_value(name, new.get(name, ''))}"
        for name in names
    }


def flag_value(name: str, lines: str) -> str:
    """Formats the value in the line or lines of a flag.

    Example:
      >>> flag_value("seed", "--seed=3"), flag_value("tied", "--notied"), flag_value("text", "--text=")
      ('3', 'false', '""')
    """
    if not lines:
        return "not given"
    if "=" not in lines:
        return "true" if lines == f"--{name}" else "false"
    return " ".join(line.removeprefix(f"--{name}=") or '""' for line in lines.split("\n"))
