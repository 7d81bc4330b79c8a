"""Units of work without a network, for workers that are struck: a coordinator, and what its workers do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rnnjax.base import UserError
from rnnjax.runs import Pool, Queue, atomic_write
from rnnjax.runs._log import Log
from rnnjax.runs._workers import join

_UNITS, _STEPS = 8, 6


def stepped(unit: dict[str, Any]) -> int:
    """Adds up some numbers, each of which is kept in a log, so that another worker goes on from it."""
    folder = Path(unit["folder"])
    folder.mkdir(exist_ok=True)
    log = Log(folder / "steps.jsonl")
    for step in range(len(log.records), _STEPS):
        before = log.records[-1]["sum"] if log.records else 0
        log.add([{"step": step, "sum": before + unit["x"] * step}])
    return int(log.records[-1]["sum"])


def main(is_worker: bool, folder: Path) -> int:
    """The exit status of a worker, or of the coordinator, which writes each result down once."""
    folder = folder.absolute()
    try:
        if is_worker:
            join(str(folder / "workers"), "_work:stepped")
        else:
            _coordinate(folder)
    except (UserError, OSError) as error:
        print(f"queue: {error}")
        return 1
    return 0


def _coordinate(folder: Path) -> None:
    queue = Queue(folder / "workers")
    names = {f"{i:02}": {"x": i, "folder": str(queue.folder / f"{i:02}-0")} for i in range(_UNITS)}
    found = Log(folder / "members.jsonl")
    with Pool(queue, "_work:stepped", 4, engine="none") as pool:
        for name, end in pool.run(names):
            if name not in [record["member"] for record in found.records]:
                found.add([{"member": name, **end}])
    results = {record["member"]: record["result"] for record in found.records}
    atomic_write(folder / "sum.txt", f"{sorted(results.items())}\n")
