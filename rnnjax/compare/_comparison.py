"""Runs side by side: groups of runs that differ in their seed only, with intervals."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from rnnjax.app import TrainedRun, common_flags
from rnnjax.app._experiment import RESUMABLE_FLAGS
from rnnjax.base import UserError
from rnnjax.plotting import CurvePanel, Run, draw_panels
from rnnjax.runs._files import folder_given
from rnnjax.runs._listing import run_folders
from rnnjax.training import bootstrap, interquartile_mean

_LONG = 25  # characters of a value in a name
_MOST = 24  # runs that a picture can hold apart by colour and style


class Group(NamedTuple):
    """Runs that differ in their seed only.

    Attributes:
      name: what sets it apart: the experiment, the cell, flags; for a single group its cell.
      runs: its runs.
    """

    name: str
    runs: tuple[TrainedRun, ...]

    def best(self, metric: str) -> list[float]:
        """Returns for each run a metric at the step with the best validation loss; without validation, at the end."""
        return [_at_best(run, metric) for run in self.runs]

    def curve(self, metric: str) -> Run:
        """Returns the interquartile mean over the runs with its 95 % interval, at the steps that all have."""
        curves = [_curve(run, metric) for run in self.runs]
        steps = sorted(set.intersection(*(set(steps) for steps, _ in curves)))
        values = np.array([[dict(zip(*curve))[step] for step in steps] for curve in curves])
        if len(self.runs) == 1:
            return Run((), (), steps, values[0])
        middle = [interquartile_mean(column) for column in values.T]
        low, high = zip(*(bootstrap(column) for column in values.T)) if steps else ((), ())
        return Run((), (), steps, middle, low, high)


class Comparison:
    """Runs side by side, as `compare_runs` returns them.

    Attributes:
      groups: in the order given; runs that differ in their seed only are one group.
      warnings: lines about what makes the losses of the runs not comparable; empty if nothing does.

    Example: see `compare_runs`.
      >>> Comparison([]).rows()
      []
    """

    def __init__(self, runs: Sequence[TrainedRun]) -> None:
        self.groups = _grouped(runs)
        self.warnings = _differences(runs)

    def metrics(self) -> list[str]:
        """Returns the metrics that all runs have measured, without the prefix of validation."""
        names = [
            {name.removeprefix("valid_") for name in run.metrics} - {"step", "seconds", "check"}
            for group in self.groups
            for run in group.runs
        ]
        return sorted(set.intersection(*names)) if names else []

    def rows(self) -> list[dict[str, object]]:
        """Returns a table: a row per group, with its interval where it has several runs."""
        several = any(len(group.runs) > 1 for group in self.groups)
        return [_row(group, several) for group in self.groups]

    def figure(self, metrics: Sequence[str] = ("loss",), title: str = "") -> Figure:
        """Returns the learning curves of all groups, one panel per metric, with a band for the interval over seeds.

        Raises:
          UserError: a run has not measured a metric.
        """
        known = self.metrics()
        for name in metrics:
            if name not in known:
                raise UserError(
                    f"there is no metric {name} in all of these runs: there are {', '.join(known) or 'none'}"
                )
        panels = [CurvePanel(_ylabel(self, name), {g.name: g.curve(name) for g in self.groups}) for name in metrics]
        several = any(len(group.runs) > 1 for group in self.groups)
        return draw_panels(panels, title=title, note="band: 95 % interval over seeds" if several else "")


def compare_runs(*paths: str | os.PathLike[str]) -> Comparison:
    """Returns runs side by side; neither their data nor their code are needed.

    Args:
      *paths: folders of runs; a folder of several runs stands for all of them.

    Raises:
      UserError: a folder is not a run, is damaged, has no metrics yet, or is given twice.

    Example:
      >>> import tempfile, rnnjax
      >>> from rnnjax import app, losses, tasks
      >>> def build(config):
      ...     streams = [tasks.task_stream(tasks.adding(8), 4, length) for length in (0, 2)]
      ...     return app.Setup(rnnjax.unroll(rnnjax.stack(config.layers(), rnnjax.linear(1))), losses.regress, *streams)
      >>> adding = app.Experiment(build, app.common_flags(cell="gru", hidden_size="4", num_steps=2, optimizer="sgd"))
      >>> folder = tempfile.mkdtemp()
      >>> for seed in (0, 1):
      ...     _ = app.train(adding, f"{folder}/{seed}", progress="none", seed=seed)
      >>> [(group.name, len(group.runs)) for group in compare_runs(folder).groups]
      [('gru', 2)]
    """
    runs: dict[Path, TrainedRun] = {}
    for path in paths:
        for folder in _folders(folder_given("compare_runs", path)):
            if folder.resolve() in runs:
                raise UserError(f"{folder} is given twice")
            runs[folder.resolve()] = _loaded(folder)
    if not runs:
        raise UserError("give the folders of the runs to compare: runs/a runs/b")
    found = Comparison(list(runs.values()))
    if len(found.groups) > _MOST:
        raise UserError(f"{len(found.groups)} runs or groups of runs are too many for one picture: at most {_MOST}")
    return found


def _folders(path: Path) -> list[Path]:
    """Returns the runs in a folder, which may be a run itself."""
    if not path.is_dir():
        raise UserError(f"{path} is no run: there is no such folder")
    return list(run_folders(path)) or [path]  # TrainedRun says what is wrong with it


def _loaded(folder: Path) -> TrainedRun:
    """Returns a run whose files have been read."""
    run = TrainedRun(folder)
    if not len(run.metrics.get("step", ())):
        raise UserError(f"{folder} has no metrics yet")
    assert run.summary is not None  # a damaged one is refused here
    return run


def _grouped(runs: Sequence[TrainedRun]) -> list[Group]:
    """Returns the groups of runs that differ in their seed only, named by the flags that set them apart."""
    found: dict[Any, list[TrainedRun]] = {}
    for run in runs:
        found.setdefault((_task(run), tuple(sorted(_settings(run).items()))), []).append(run)
    groups = list(found.values())
    names = _names([group[0] for group in groups])
    return [Group(name, tuple(group)) for name, group in zip(names, groups)]


def _names(runs: Sequence[TrainedRun]) -> list[str]:
    """Returns the name of each group, of which a run is given: only what sets it apart.

    That is the experiment, if there are several, then among those of one experiment the cell and other flags.
    """
    tasks = [_task(run) for run in runs]
    names = []
    for run, task in zip(runs, tasks):
        peers = [_settings(other) for other, name in zip(runs, tasks) if name == task]
        parts = [task] if len(set(tasks)) > 1 else []
        for flag in sorted(_varying(peers), key=lambda flag: flag != "cell"):
            if run.flags.get(flag):  # an empty one is not given
                value = _short([each[flag] for each in peers if flag in each])[run.flags[flag]]
                parts.append(value if flag == "cell" else f"{flag}={value}")
        names.append(" ".join(parts) or run.flags.get("cell") or run.path.name)
    return names


def _short(values: Iterable[str]) -> dict[str, str]:
    """Returns short forms of values that still differ: the last part of a path, or both ends of a long text.

    Example:
      >>> _short(["runs/copying-cell=gru-delay=20/a", "runs/copying-cell=gru-delay=20/b", "c"])
      {'runs/copying-cell=gru-delay=20/a': 'a', 'runs/copying-cell=gru-delay=20/b': 'b', 'c': 'c'}
    """
    values = list(dict.fromkeys(values))
    ends: tuple[Callable[[str], str], ...] = (lambda v: Path(v).name, lambda v: v, lambda v: f"{v[:12]}…{v[-12:]}")
    for cut in ends:
        short = {value: value if len(value) <= _LONG else cut(value) for value in values}
        if len(set(short.values())) == len(values) and max(map(len, short.values())) <= _LONG:
            return short
    return dict(zip(values, values))


def _settings(run: TrainedRun) -> dict[str, str]:
    """Returns the flags that make a run what it is, without its seed."""
    return {name: value for name, value in run.flags.items() if name not in ("seed", *RESUMABLE_FLAGS)}


def _varying(flags: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns the flags that are not the same everywhere."""
    names = dict.fromkeys(name for each in flags for name in each)
    return [name for name in names if len({each.get(name) for each in flags}) > 1]


def _differences(runs: Sequence[TrainedRun]) -> list[str]:
    """Returns lines about what the runs do not share of their task: the experiment, its own flags, the data."""
    tasks = dict.fromkeys(map(_task, runs))
    if len(tasks) > 1:  # a flag of the same name is another flag there
        return [f"different experiments: {', '.join(tasks)}; their losses are not comparable"]
    shared, lines = set(common_flags()), []
    own = [{name: value for name, value in _settings(run).items() if name not in shared} for run in runs]
    for name in _varying(own):
        values = dict.fromkeys(flags.get(name, "not given") or "none" for flags in own)
        lines.append(f"different --{name}: {', '.join(values)}")
    data = {run.origin["data"] for run in runs if run.origin.get("data")}
    if len(data) > 1 and not lines:
        lines.append("different data")
    return [f"{line}; their losses are not comparable" for line in lines]


def _task(run: TrainedRun) -> str:
    """Returns the name of the experiment of a run."""
    where = run.origin.get("experiment") or {}
    return str(where.get("module") or Path(where.get("file") or "experiment").stem).rpartition(".")[2]


def _curve(run: TrainedRun, metric: str) -> tuple[list[int], list[float]]:
    """Returns the steps and values of a metric, on the validation data if it was measured there."""
    steps, values = run.curve(f"valid_{metric}" if f"valid_{metric}" in run.metrics else metric)
    return steps.tolist(), values.tolist()


def _at_best(run: TrainedRun, metric: str) -> float:
    steps, values = _curve(run, metric)
    if "valid_loss" not in run.metrics:
        return values[-1] if values else math.nan
    at, losses = _curve(run, "loss")
    best = at[int(np.argmin(losses))] if losses else -1
    return dict(zip(steps, values)).get(best, math.nan)


def _row(group: Group, several: bool) -> dict[str, object]:
    """Returns the row of a group: validation at the best step, test, size and time."""
    names = [name for name in ("loss", "accuracy") if all(name in _measured(run) for run in group.runs)]
    row: dict[str, object] = {"run": group.name, "seeds": len(group.runs), "steps": _range(_steps(group.runs))}
    for name in names:
        scores = group.best(name)
        row[f"valid {name}" if f"valid_{name}" in group.runs[0].metrics else name] = interquartile_mean(scores)
        if name == "loss" and several:
            row |= dict(zip(("low", "high"), bootstrap(scores) if len(scores) > 1 else (None, None)))
    tests = [run.summary["test"]["loss"] for run in group.runs if run.summary.get("test")]
    sizes = {run.summary["parameters"] for run in group.runs if "parameters" in run.summary}
    minutes = [float(run.metrics["seconds"][-1]) / 60 for run in group.runs]
    return row | {
        "test loss": interquartile_mean(tests) if len(tests) == len(group.runs) else None,
        "parameters": _range(sizes),
        "minutes": sum(minutes) / len(minutes),
    }


def _measured(run: TrainedRun) -> set[str]:
    return {name.removeprefix("valid_") for name in run.metrics}


def _steps(runs: Iterable[TrainedRun]) -> set[int]:
    return {int(run.metrics["step"][-1]) for run in runs}


def _range(values: Iterable[int]) -> object:
    """Returns a number, or the text of a range where there are several; None without any."""
    ordered = sorted(values)
    if len(ordered) < 2:
        return ordered[0] if ordered else None
    return f"{ordered[0]:,} to {ordered[-1]:,}"


def _ylabel(comparison: Comparison, metric: str) -> str:
    """Returns the label of an axis: the metric, and whether it was measured on the validation data."""
    runs = [run for group in comparison.groups for run in group.runs]
    valid = [f"valid_{metric}" in run.metrics for run in runs]
    return f"{metric} ({'validation' if all(valid) else 'training' if not any(valid) else 'validation or training'})"
