"""What kind of folder a user named: that of a run, that of several runs, or another."""

from __future__ import annotations

from pathlib import Path

from rnnjax.base import UserError


def check_is_run(path: Path) -> None:
    """Refuses a folder without the flags of a run.

    Raises:
      UserError: it has none.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a run: there is no such folder")
    if not (path / "flags.cfg").exists():
        raise UserError(f"{path} is not a run: it has no flags.cfg")


def inner_runs(path: Path) -> list[str]:
    """Returns the runs in the subfolders of a folder, in the order of training."""
    if not (path / "flags.cfg").exists():
        return []
    inner = [file.parent for file in path.glob("*/flags.cfg")]
    return [folder.name for folder in sorted(inner, key=lambda folder: (folder / "flags.cfg").stat().st_mtime_ns)]
