"""summary.json: the results of a run, in one shape whatever the number of runs in the folder.

version   of this shape
runs      by name, for a training run: what `TrainedRun.summary` returns; a study has entries of its own instead
sha256    of all else
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs._files import is_sealed, read_sealed, write_sealed

_VERSION = 1
_Summary = dict[str, Any]


def write_summary(file: Path, summary: Mapping[str, Any]) -> None:
    """Writes summary.json with its version."""
    write_sealed(file, {"version": _VERSION, **summary})


def intact_summary(file: Path) -> _Summary | None:
    """Returns the content of summary.json; None if there is none, or it has changed since it was written.

    Raises:
      UserError: it is of a later version.
    """
    found = read_sealed(file)
    if found is not None:
        _check_version(file, found)
    return found


def read_summary(file: Path) -> _Summary:
    """Returns the content of summary.json in the shape of today; empty if there is none.

    Raises:
      UserError: the file is damaged, or of a later version.
    """
    if not file.exists():
        return {}
    with as_user_error("read", file):
        content = file.read_bytes()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is damaged: it is not JSON ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict):
        raise UserError(f"{file} is damaged: it is not an object of JSON")
    _check_version(file, found)
    if "sha256" in found and not is_sealed(found):
        raise UserError(f"{file} is damaged: its content is not as it was written")
    if "version" not in found and "cell" in found and "steps" in found:  # of one run, before there were versions
        return {"version": _VERSION, "runs": {str(found["cell"]): found}}
    runs = found.get("runs", {})
    if not isinstance(runs, dict) or not all(isinstance(run, dict) for run in runs.values()):
        raise UserError(f"{file} is damaged: its runs are not objects by name")
    return found


def _check_version(file: Path, found: Mapping[str, Any]) -> None:
    version = found.get("version", _VERSION)
    if version != _VERSION:
        raise UserError(
            f"{file} has version {version!r}, this rnnjax reads version {_VERSION}: use the rnnjax that wrote it"
        )
