"""The command `python -m rnnjax.runs`: lists the runs in a folder with their state."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from rnnjax.base import UserError
from rnnjax.runs._ending import ending, is_running
from rnnjax.runs._files import folder_given
from rnnjax.runs._flags_file import flag_value, read_flags
from rnnjax.runs._progress import format_duration, print_table
from rnnjax.runs._summary import read_summary
from rnnjax.runs._workdir import read_records

_DEEPEST = 4  # levels of folders below the given one


class RunState(NamedTuple):
    """A run in a folder, as `list_runs` returns it.

    Attributes:
      path: its folder.
      state: "running", "finished", "stopped" (also: killed), "failed", "diverged" or "damaged".
      step: the last step that was logged; for a study, the members that are done.
      steps: the steps that were asked for; None for a study.
      loss: the best validation loss so far, or without validation the last training loss; None if there is none.
      age: seconds since a file of the run was last written.
      note: why it failed, diverged or is damaged, or what stopped it.
    """

    path: Path
    state: str
    step: int
    steps: int | None
    loss: float | None
    age: float
    note: str = ""


def list_runs(folder: str | os.PathLike[str] = "runs") -> list[RunState]:
    """Returns the runs and studies in a folder and its subfolders, the one that was written to last first.

    Args:
      folder: of runs, or a run itself.

    Raises:
      UserError: there is no such folder, or no run in it.

    Example:
      >>> import tempfile
      >>> from rnnjax.runs import Workdir
      >>> folder = tempfile.mkdtemp()
      >>> with Workdir(f"{folder}/a", {"num_steps": "--num_steps=9"}) as workdir:
      ...     workdir.log(3, {"loss": 0.5})
      ...     [(run.path.name, run.state, run.step, run.steps, run.loss) for run in list_runs(folder)]
      [('a', 'running', 3, 9, 0.5)]
      >>> [run.state for run in list_runs(folder)]
      ['stopped']
    """
    folder = folder_given("list_runs", folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder" if folder.exists() else f"there is no folder {folder}")
    found = [_state(path) for path in run_folders(folder)]
    if not found:
        raise UserError(f"there is no run in {folder}")
    return sorted(found, key=lambda run: (run.age, run.path))


def run_folders(folder: Path, depth: int = 0) -> Iterator[Path]:
    """Yields the folders of runs, in order; a launch of several cells gives the folder of each."""
    inner: list[Path] = []
    if depth < _DEEPEST:
        try:
            below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        except OSError:  # not ours to read
            below = []
        inner = [run for path in below for run in run_folders(path, depth + 1)]
    if (folder / "flags.cfg").exists() and not inner:
        yield folder
    yield from inner


def _state(path: Path) -> RunState:
    """Returns the state of the run in a folder."""
    age, running = max(0.0, time.time() - _last_written(path)), is_running(path)
    try:
        flags = read_flags(path / "flags.cfg", ())
        if (path / "members.jsonl").exists() or ("experiment" in flags and "grid" in flags):
            return _study_state(path, age, running)
        records = read_records(path / "metrics.jsonl")
        done = read_summary(path / "summary.json").get("runs", {})
    except UserError as error:
        return RunState(path, "damaged", 0, None, None, age, str(error))
    step = max((record["step"] for record in records), default=0)
    steps = flag_value("num_steps", flags.get("num_steps", ""))
    ended = ending(path)
    finished = _is_finished(path, [run.get("steps", 0) for run in done.values()], step)
    state = "running" if running else ended.get("state", "finished" if finished else "stopped")
    asked = int(steps) if steps.isdecimal() else None
    return RunState(path, state, step, asked, _loss(records), age, "" if running else ended.get("line", ""))


def _is_finished(path: Path, ends: list[int], step: int) -> bool:
    """Returns whether the summary is that of the last step, and the run was not prolonged since."""
    if not ends or max(ends) < step:
        return False
    return (path / "summary.json").stat().st_mtime_ns >= (path / "flags.cfg").stat().st_mtime_ns


def _study_state(path: Path, age: float, running: bool) -> RunState:
    """Returns the state of a study: its step is the number of members, its loss the best score."""
    records = read_records(path / "metrics.jsonl")
    done = bool(read_summary(path / "summary.json"))
    scores = [record[name] for record in records for name in ("score", "valid_loss") if record.get(name) is not None]
    state = "running" if running else "finished" if done else "stopped"
    return RunState(path, state, len(records), None, min(scores, default=None), age)


def _last_written(path: Path) -> float:
    """Returns when a file of a run was last written, in seconds since the epoch."""
    times = [path.stat().st_mtime]
    for name in ("metrics.jsonl", "summary.json", "flags.cfg", "checkpoints"):
        if (path / name).exists():
            times.append((path / name).stat().st_mtime)
    return max(times)


def _loss(records: Sequence[dict[str, Any]]) -> float | None:
    """Returns the best validation loss; without validation, the last training loss."""
    valid = [record["valid_loss"] for record in records if record.get("valid_loss") is not None]
    train = [record["loss"] for record in records if record.get("loss") is not None]
    return min(valid) if valid else train[-1] if train else None


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a `UserError`."""

    def error(self, message: str) -> NoReturn:
        """Raises the error of a command line.

        Raises:
          UserError: always.
        """
        raise UserError(message)


def parser() -> Parser:
    """Returns the command line of `python -m rnnjax.runs`."""
    found = Parser(prog="python -m rnnjax.runs", description="Lists the runs in a folder, the latest first.")
    found.add_argument("folder", nargs="?", default="runs", help="The folder of the runs; runs by default.")
    return found


def runs_command(argv: Sequence[str] | None = None) -> int:
    """The command `python -m rnnjax.runs [FOLDER]`: prints a table of the runs in a folder; returns its exit status.

    Args:
      argv: the arguments; None for those of this process.

    Example: a folder that is not there.
      >>> runs_command(["nowhere"])
      1
    """
    try:
        folder = parser().parse_args(sys.argv[1:] if argv is None else argv).folder
        found = list_runs(folder)
    except UserError as error:
        print(f"runs: {error}", file=sys.stderr)
        return 1
    print_table([_row(run, Path(folder)) for run in found])
    return 0


def _row(run: RunState, folder: Path) -> dict[str, object]:
    name = os.fspath(run.path.relative_to(folder)) if run.path != folder else os.fspath(run.path)
    step = f"{run.step:,} members" if run.steps is None and run.state != "damaged" else f"{run.step:,}"
    of = f" of {run.steps:,}" if run.steps is not None else ""
    return {
        "run": name,
        "state": run.state,
        "step": f"{step}{of}",
        "loss": run.loss,
        "age": f"{format_duration(run.age)}" if run.age < 86400 else f"{run.age / 86400:.0f} days",
        "note": run.note if len(run.note) <= 100 else f"{run.note[:99]}…",
    }
