"""Records finished runs in docs/results/data, where `tables.py` reads them.

    python docs/results/record.py NAME WORKDIR [WORKDIR ...]
    python docs/results/record.py NAME study=experiments.balancing WORKDIR [WORKDIR ...]

A workdir of several cells gives one run for each of them. `--study` names the script of a workdir that has findings of
its own in place of runs; a study of many members (`rnnjax.studies`) needs no such word. The same NAME again adds what
is new and replaces what is the same run (cell, size, seed and flags). Runs of unfinished code, or that are not
finished, are refused.
"""

from __future__ import annotations

import datetime
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import rnnjax
from rnnjax import app
from rnnjax.base import UserError

DATA = Path(__file__).parent / "data"
PLACES = ("workdir", "data_dir", "compilation_cache", "coordinator", "devices", "flagfile", "picture", "writers")
KEPT_POINTS = 200  # of a curve
KEPT_TEXT = 20_000  # characters of a finding; longer ones are not numbers for a table
KEPT = ("cell", "hidden_size", "parameters", "steps", "test", "best", "baseline", "published", "device")
LEFT = ("final", "score", "steps_per_second", "seconds", "workdir", "code", "rnnjax", "versions", "version", "sha256")


def changed_flags(flags: Any, config: Any) -> dict[str, str]:
    """Returns the flags that differ from the defaults of the script, without the places of files."""
    now = config.values
    defaults = flags.flag_values_dict() | ({} if isinstance(config, app.Config) else app.parse(flags, ["x"]).values)
    return {
        name: str(now[name])
        for name in sorted(now)
        if name not in PLACES and now[name] != defaults.get(name, now[name])
    }


def findings(summary: dict[str, Any]) -> dict[str, Any]:
    """Returns what a script added to its summary: numbers for tables."""
    own = {name: value for name, value in summary.items() if name not in KEPT + LEFT}
    return {name: value for name, value in own.items() if len(json.dumps(value)) < KEPT_TEXT}


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


def origin(path: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Returns where and when a summary was made.

    Raises:
      ValueError: it is not there yet, or its code was not committed.
    """
    if not summary:
        raise ValueError(f"{path}: not finished")
    if summary["code"]["dirty"] or summary["rnnjax"]["dirty"]:
        raise ValueError(f"{path}: its code was edited after the commit {summary['rnnjax']['commit'][:7]}")
    finished = datetime.date.fromtimestamp((path / "summary.json").stat().st_mtime)
    return {
        "device": summary["device"],
        "commit": summary["rnnjax"]["commit"],
        "versions": {name: summary["versions"][name] for name in ("python", "jax", "rnnjax")},
        "date": finished.isoformat(),
    }


def recorded(run: rnnjax.TrainedRun) -> dict[str, Any]:
    """Returns the record of one run; without a test set it has its best score on validation and its findings.

    Raises:
      ValueError: the run is not finished, or its code was not committed.
    """
    s = run.summary
    about = origin(run.path, s)
    return {
        **{name: s[name] for name in KEPT if name in s},
        "experiment": run.origin["experiment"]["module"],
        "flags": {k: run.flags[k] for k in changed_flags(run.experiment.flags, run.config)},
        "seed": int(run.flags["seed"]),
        "minutes": round(s["seconds"] / 60, 2),
        "found": findings(s),
        "curve": curve(run),
        **about,
    }


def recorded_study(path: Path, script: str) -> dict[str, Any]:
    """Returns the record of a script that trains in its own way, or not at all.

    Raises:
      ValueError: it is not finished, or its code was not committed.
    """
    flags = importlib.import_module(script).EXPERIMENT.flags
    launch = [script, f"--flagfile={path / 'flags.cfg'}"]
    several = len(app.run_configs(app.parse(flags, launch))) > 1
    config = app.parse(flags, launch) if several else app.read_config(flags, path)
    summary = json.loads((path / "summary.json").read_text()) if (path / "summary.json").exists() else {}
    about = {"experiment": script, "flags": changed_flags(flags, config), "seed": int(config.values.get("seed", 0))}
    return about | {"found": findings(summary)} | origin(path, summary)


def recorded_members(path: Path) -> dict[str, Any]:
    """Returns the record of a study of many members.

    Raises:
      ValueError: it is not finished, or its code was not committed.
    """
    study = rnnjax.load_study(path)
    s = study.summary
    found = {"members": s.get("members"), "settings": study.settings, "test": s.get("best", {}).get("test")}
    about = {"experiment": study.config.experiment, "flags": {}, "seed": 0, "baseline": s.get("baseline")}
    return about | {"found": found} | origin(path, s)


def records_of(workdir: str, script: str) -> list[dict[str, Any]]:
    """Returns the records of a workdir."""
    path = Path(workdir)
    if script:
        return [recorded_study(path, script)]
    if (path / "results.csv").exists():
        return [recorded_members(path)]
    return [recorded(run) for run in rnnjax.load_runs(path).values()]


def identity(record: dict[str, Any]) -> str:
    """Returns what makes two records the same run."""
    return json.dumps([record.get(k) for k in ("experiment", "cell", "hidden_size", "seed", "flags")], sort_keys=True)


def record(name: str, workdirs: list[str], script: str = "") -> int:
    """Adds the runs of some workdirs to a file; returns how many it has now."""
    path = DATA / f"{name}.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    runs = {identity(r): r for r in known}
    runs |= {identity(r): r for workdir in workdirs for r in records_of(workdir, script)}
    DATA.mkdir(exist_ok=True)
    path.write_text(json.dumps(list(runs.values()), indent=1) + "\n", encoding="utf-8")
    return len(runs)


def main(argv: list[str]) -> None:
    """Runs the command."""
    scripts = [word.removeprefix("study=") for word in argv if word.startswith("study=")]
    name, *workdirs = [word for word in argv if not word.startswith("study=")] or [""]
    if not workdirs or len(scripts) > 1:
        sys.exit("usage: python docs/results/record.py NAME [study=MODULE] WORKDIR [WORKDIR ...]")
    try:
        print(f"{name}: {record(name, workdirs, *scripts)} runs")
    except (UserError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
