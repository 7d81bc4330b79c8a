"""What a workdir holds, without the clock: two of one command are equal."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

from rnnjax.runs import Checkpoints

_CLOCK = ("seconds", "steps_per_second", "check", "sha256", "workdir", "time", "date", "begun")


def contents(folder: Path) -> dict[str, Any]:
    """Returns the files of a workdir by name, in a form that can be compared.

    Left out: event files, which have one part a session (their points are in metrics.jsonl); study.db, a copy of
    trials.jsonl; what is hidden; and the folder of a queue, whose claims count the tries.
    """
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or any(part.startswith(".") for part in name.split("/")) or name.startswith("workers/"):
            continue
        if not path.name.startswith(("events.out.", "study.db")) and "/arrays/" not in name:
            found[name] = _content(path)
    if (folder / "workers").exists():  # then the order in which members finish is one of chance
        lines = found.pop("metrics.jsonl", [])
        found["scores"] = sorted(line["score"] for line in lines)
    return found


def _content(path: Path) -> Any:
    if path.name == "manifest.json":
        arrays = Checkpoints(path.parent.parent).arrays(int(path.parent.name))
        return {name: hashlib.sha256(a.tobytes()).hexdigest() for name, a in arrays.items()}
    if path.suffix == ".jsonl":
        lines = [_plain(json.loads(line)) for line in path.read_text().splitlines()]
        return sorted(lines, key=lambda line: line["member"]) if path.name == "members.jsonl" else lines
    if path.suffix == ".json":
        return _plain(json.loads(path.read_text()))
    if path.suffix == ".csv":
        return [{k: v for k, v in row.items() if k not in _CLOCK} for row in csv.DictReader(path.open())]
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _plain(value: Any) -> Any:
    """Returns a value of JSON without what the clock wrote."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if name not in _CLOCK}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def differences(one: dict[str, Any], other: dict[str, Any], kept: bool = True) -> list[str]:
    """Returns the files that differ, with what they hold.

    Args:
      one, other: what `contents` returns.
      kept: whether the same checkpoints are kept. Where one was damaged and set aside, an older one stays in its place.
    """
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    names = [name for name in names if kept or "checkpoints/" not in name or {name} <= one.keys() & other.keys()]
    return [f"{name}: {_apart(one.get(name), other.get(name))}" for name in names]


def _apart(one: Any, other: Any) -> str:
    """Returns where two values begin to differ: the path to it, and what each has there.

    Example:
      >>> _apart({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3]})
      'b: 1: 2 is not 3'
    """
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if isinstance(one, dict) and isinstance(other, dict):
        name = next(name for name in one | other if one.get(name, "nothing") != other.get(name, "nothing"))
        return f"{name}: {_apart(one.get(name, 'nothing'), other.get(name, 'nothing'))}"
    return f"{str(one)[:200]} is not {str(other)[:200]}"
