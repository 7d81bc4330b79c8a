"""Writes files atomically: a killed process leaves either the old file or the new one."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error


def atomic_write(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Writes a file atomically: the old one stays until the new one is complete.

    Raises:
      UserError: it cannot be written.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "a.json"
      >>> atomic_write(path, "{}")
      >>> path.read_text()
      '{}'
    """
    path = Path(path)
    new = path.with_name(f".{path.name}.new")
    with as_user_error("write", path):
        with new.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def folder_given(where: str, given: Any) -> Path:
    """Returns the folder of a run that a user gave: a path, or an object that stands for one.

    Raises:
      UserError: it is neither.

    Example:
      >>> folder_given("load_run", None)
      Traceback (most recent call last):
      rnnjax.base.UserError: load_run takes the folder of a run, as text or a path, got None
    """
    try:
        path = os.fspath(given)
        if isinstance(path, str) and "\0" not in path:
            return Path(path)
    except TypeError:
        pass
    shown = " ".join(repr(given).split())
    shown = shown if len(shown) <= 60 else f"an object of {type(given).__name__}"
    raise UserError(f"{where} takes the folder of a run, as text or a path, got {shown}")


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON object together with its digest; see `read_sealed`."""
    plain = _without_seal(to_json_value(value))
    text = json.dumps({**plain, "sha256": _digest(plain)}, indent=2, allow_nan=False)
    atomic_write(path, f"{text}\n")


def read_sealed(path: Path) -> dict[str, Any] | None:
    """Returns the object that `write_sealed` wrote; None if the file cannot be read or has changed.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "a.json"
      >>> write_sealed(path, {"loss": 0.5})
      >>> read_sealed(path), path.write_text(path.read_text().replace("0.5", "0.4")) > 0, read_sealed(path)
      ({'loss': 0.5}, True, None)
    """
    try:
        value = json.loads(path.read_bytes())
        return _without_seal(value) if is_sealed(value) else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def is_sealed(value: Mapping[str, Any]) -> bool:
    """Returns whether an object has a digest, and that of its content."""
    return "sha256" in value and value["sha256"] == _digest(_without_seal(value))


def _without_seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an object without its digest."""
    return {name: item for name, item in value.items() if name != "sha256"}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def to_json_value(value: Any) -> Any:
    """Converts a value for JSON: arrays to lists, NumPy and JAX numbers to Python's, nan and inf to None.

    Example:
      >>> import numpy as np
      >>> to_json_value({"loss": np.float32(0.5), "ppl": float("inf"), "shape": (2, 3), "file": Path("a.txt")})
      {'loss': 0.5, 'ppl': None, 'shape': [2, 3], 'file': 'a.txt'}
    """
    if isinstance(value, Mapping):
        return {str(name): to_json_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json_value(item) for item in value]
    if hasattr(value, "tolist"):
        return to_json_value(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return os.fspath(value) if isinstance(value, os.PathLike) else value
