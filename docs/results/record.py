"""Records finished runs in docs/results/data, where `tables.py` reads them.

    python docs/results/record.py NAME WORKDIR [WORKDIR ...]

A workdir of several cells gives one run for each of them. The same NAME again adds what is new and replaces what is
the same run (cell, size, seed and flags). Runs of unfinished code, or that are not finished, are refused.
"""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import rnnjax
from rnnjax.base import UserError

DATA = Path(__file__).parent / "data"
PLACES = ("workdir", "data_dir", "compilation_cache", "coordinator", "flagfile", "picture", "writers")
KEPT_POINTS = 200  # of a curve


def changed_flags(run: rnnjax.TrainedRun) -> dict[str, str]:
    """Returns the flags that differ from the defaults of the experiment, without the places of files."""
    defaults = run.experiment.flags.flag_values_dict()
    now = run.config.values
    return {
        name: run.flags[name]
        for name in run.flags
        if name not in PLACES and name in defaults and now.get(name) != defaults[name]
    }


def curve(run: rnnjax.TrainedRun) -> dict[str, list[float]]:
    """Returns what was measured on validation, with the step and the minutes of each point."""
    metrics = run.metrics
    names = [name for name in metrics if name.startswith("valid_")]
    if not names:
        return {}
    at = np.flatnonzero(~np.isnan(metrics[names[0]]))
    at = at[:: max(1, len(at) // KEPT_POINTS)]
    points = {"step": metrics["step"], "minutes": metrics["seconds"] / 60} | {name: metrics[name] for name in names}
    return {name: [float(f"{value:.6g}") for value in values[at]] for name, values in points.items()}


def recorded(run: rnnjax.TrainedRun) -> dict[str, Any]:
    """Returns the record of one run.

    Raises:
      ValueError: the run is not finished, or its code was not committed.
    """
    s = run.summary
    if not s or not s.get("test"):
        raise ValueError(f"{run.path}: not finished, or never tested")
    if s["code"]["dirty"] or s["rnnjax"]["dirty"]:
        raise ValueError(f"{run.path}: its code was edited after the commit {s['rnnjax']['commit'][:7]}")
    finished = datetime.date.fromtimestamp((run.path / "summary.json").stat().st_mtime)
    kept = ("cell", "hidden_size", "parameters", "steps", "test", "best", "baseline", "published", "device")
    return {
        **{name: s[name] for name in kept if name in s},
        "experiment": run.origin["experiment"]["module"],
        "flags": changed_flags(run),
        "seed": int(run.flags["seed"]),
        "minutes": round(s["seconds"] / 60, 2),
        "commit": s["rnnjax"]["commit"],
        "versions": {name: s["versions"][name] for name in ("python", "jax", "rnnjax")},
        "date": finished.isoformat(),
        "curve": curve(run),
    }


def identity(record: dict[str, Any]) -> str:
    """Returns what makes two records the same run."""
    return json.dumps([record[k] for k in ("experiment", "cell", "hidden_size", "seed", "flags")], sort_keys=True)


def record(name: str, workdirs: list[str]) -> int:
    """Adds the runs of some workdirs to a file; returns how many it has now."""
    path = DATA / f"{name}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    runs = {identity(r): r for r in known}
    for workdir in workdirs:
        for run in rnnjax.load_runs(workdir).values():
            one = recorded(run)
            runs[identity(one)] = one
    DATA.mkdir(exist_ok=True)
    path.write_text(json.dumps(list(runs.values()), indent=1) + "\n", encoding="utf-8")
    return len(runs)


def main(argv: list[str]) -> None:
    """Runs the command."""
    if len(argv) < 2:
        sys.exit("usage: python docs/results/record.py NAME WORKDIR [WORKDIR ...]")
    try:
        print(f"{argv[0]}: {record(argv[0], argv[1:])} runs")
    except (UserError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
