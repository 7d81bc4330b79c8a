"""Measures the quick forms of the flag files, experiments/flags/*_quick.cfg, and records them in data/quick.json.

    python docs/results/quick.py                        all of them
    python docs/results/quick.py adding_200 copying_100 --workdir=runs/quick --record=quick.json

Each runs alone, in a process of its own, from an empty workdir. Its minutes are those of a processor, of all cores
together, and a program is compiled anew. The data are in $RNNJAX_DATA. A file says which point its run reaches:

    # Reaches test.loss below 0.01.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import record  # noqa: E402
import tables  # noqa: E402

from rnnjax.base import UserError  # noqa: E402

ROOT = HERE.parents[1]
FLAGS = ROOT / "experiments" / "flags"
POINT = re.compile(r"^# Reaches (?P<what>[\w.]+) (?P<side>below|above) (?P<level>[\d.]*\d)\.$", re.M)


def script_of(name: str) -> str:
    """Returns the module that a flag file is for: the longest whose name its own begins with."""
    names = sorted((path.stem for path in (ROOT / "experiments").glob("*.py")), key=len, reverse=True)
    return f"experiments.{next(n for n in names if name.startswith(f'{n}_'))}"


def point_of(name: str) -> tuple[str, str, float]:
    """Returns the point of a quick form: the path of a value in its record, below or above, and the level."""
    found = POINT.search((FLAGS / f"{name}_quick.cfg").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{name}_quick.cfg: a line such as '# Reaches test.loss below 0.01.' is wanted")
    return found["what"], found["side"], float(found["level"])


def reached(value: float, side: str, level: float) -> bool:
    """Returns whether a value is at its point."""
    return value < level if side == "below" else value > level


def minutes_of(command: list[str]) -> float:
    """Runs a command and returns the minutes that processors worked for it."""
    before = os.times()
    subprocess.run(command, cwd=ROOT, check=True)
    after = os.times()
    return (after.children_user + after.children_system - before.children_user - before.children_system) / 60


def measured(name: str, folder: Path) -> dict[str, Any]:
    """Runs a quick form and returns its record.

    Raises:
      ValueError: its code was not committed, or something is in the folder.
    """
    if folder.exists():
        raise ValueError(f"{folder} is there: minutes are counted from an empty workdir")
    (what, side, level), module = point_of(name), script_of(name)
    flags = [f"--flagfile=experiments/flags/{name}_quick.cfg", f"--workdir={folder}", "--compilation_cache=off"]
    minutes = minutes_of([sys.executable, "-m", module, *flags])
    run = record.records_of(str(folder), "")[0]
    value = tables.look_up(run, what)
    if not reached(value, side, level):
        print(f"{name}_quick.cfg: {what} is {value}, not {side} {level}", file=sys.stderr)
    kept = ("seed", "device", "commit", "versions", "date")
    row = {"file": f"{name}_quick.cfg", "value": value, "what": what, "point": f"{side} {level:g}", "cpu": minutes}
    return {"experiment": module, "flags": {"file": name}, "found": {"rows": [row]}} | {k: run[k] for k in kept}


def main(argv: list[str]) -> None:
    """Runs the command."""
    given = dict(word.removeprefix("--").split("=", 1) for word in argv if word.startswith("--"))
    names = [word for word in argv if not word.startswith("--")]
    top, path = Path(given.get("workdir") or tempfile.mkdtemp()), Path(given.get("record", record.DATA / "quick.json"))
    for name in names or sorted(p.stem.removesuffix("_quick") for p in FLAGS.glob("*_quick.cfg")):
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        try:
            new = measured(name, top / name)
        except (UserError, ValueError, subprocess.CalledProcessError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        runs = {r["flags"]["file"]: r for r in [*known, new]}
        path.write_text(json.dumps([runs[k] for k in sorted(runs)], indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {new['found']['rows'][0]}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
