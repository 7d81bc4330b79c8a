"""A trained run as an object: `load_run` reads what a run left on disk, when it is asked for."""

from __future__ import annotations

import copy
import functools
import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from rnnjax.app._config import Config
from rnnjax.app._experiment import Experiment
from rnnjax.app._origin import Origin, changed_code, find_experiment, read_origin
from rnnjax.app._parsing import read_config
from rnnjax.app._trained_network import TrainedNetwork
from rnnjax.base import UserError
from rnnjax.runs import Checkpoints
from rnnjax.runs._kept import kept_arrays, kept_place
from rnnjax.runs._workdir import flag_value, read_flags, read_records


class TrainedRun(TrainedNetwork):
    """A run on disk, as `load_run` and `train` give it: read only, whether it has ended or is under way.

    What needs neither the data nor the code of the experiment works without them: `flags`, `metrics`, `summary`,
    `provenance`, `steps`, `arrays`, `save_params`, `vocabulary`.

    Attributes:
      path: its folder.
      origin: what run.json says: the experiment, digests of code and data, the vocabularies.

    Example:
      >>> import tempfile, jax, rnnjax
      >>> from rnnjax import app, losses, tasks
      >>> def build(config):
      ...     task = tasks.adding(8)
      ...     streams = [tasks.task_stream(task, 4, length) for length in (0, 2, 2)]
      ...     cell = rnnjax.unroll(rnnjax.stack(config.layers(), rnnjax.linear(1)))
      ...     return app.Setup(cell, losses.regress, *streams)
      >>> adding = app.Experiment(build, app.common_flags(cell="gru", hidden_size="4", optimizer="sgd"))
      >>> run = app.train(adding, tempfile.mkdtemp(), num_steps=3, eval_every=1, progress="none")
      >>> run.steps, run.metrics["step"].tolist(), run.evaluate("test") == run.summary["test"]
      ([3], [1.0, 2.0, 3.0], True)
      >>> jax.vmap(run.apply)(run.batch("test").x).shape
      (4, 8, 1)
    """

    def __init__(self, path: str | os.PathLike[str], experiment: Experiment | None = None) -> None:
        self._lines = _flags_of(Path(path))
        self.path = Path(path).absolute()
        self.origin: Origin = read_origin(self.path)
        self._given, self._which = experiment, "best"

    @property
    def flags(self) -> dict[str, str]:
        """The flags of the run as texts, by name."""
        return {name: flag_value(name, lines) for name, lines in self._lines.items()}

    def __repr__(self) -> str:
        name = (self.origin.get("experiment") or {}).get("module") or "an experiment"
        seen = f"{self.steps[-1]} steps" if self.steps else "nothing saved yet"
        best = self.summary.get("best", {}).get("valid_loss")
        note = "" if best is None else f", best valid_loss {best:.4g}"
        return f"<TrainedRun {self.path}: {name} --cell={self.flags.get('cell', '')}, {seen}{note}>"

    @functools.cached_property
    def experiment(self) -> Experiment:
        """The experiment it is of: the one that was given, or the one that run.json names, imported.

        Raises:
          UserError: it cannot be found.
        """
        return find_experiment(self.origin, self.path) if self._given is None else self._given

    @functools.cached_property
    def config(self) -> Config:
        """The flags of the run, parsed."""
        try:
            return read_config(self.experiment.flags, self.path)
        except UserError as error:
            raise UserError(f"{self.path} does not belong to this experiment: {error}") from error

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """What summary.json says; empty while the run is under way.

        Raises:
          UserError: it is damaged.
        """
        file = self.path / "summary.json"
        if not file.exists():
            return {}
        try:
            return dict(json.loads(file.read_bytes()))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} is damaged: {error}") from error

    @property
    def provenance(self) -> dict[str, Any]:
        """Commits, versions of packages, the device; empty while the run is under way."""
        return {name: self.summary[name] for name in ("code", "rnnjax", "versions", "device") if name in self.summary}

    @functools.cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """All that was measured, by name, float64 `[records]`: nan where it was not; "step" and "seconds" too."""
        records = read_records(self.path / "metrics.jsonl")
        names = dict.fromkeys(name for record in records for name in record)
        rows = {name: [record.get(name) for record in records] for name in names}
        return {name: np.array([np.nan if v is None else v for v in row], float) for name, row in rows.items()}

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The steps at which a metric was measured, and what it was.

        Raises:
          UserError: it never was.
        """
        if name not in self.metrics:
            raise UserError(f"{self.path} has no metric {name}: it has {', '.join(self.metrics) or 'none yet'}")
        there = ~np.isnan(self.metrics[name])
        return self.metrics["step"][there].astype(int), self.metrics[name][there]

    @property
    def steps(self) -> list[int]:
        """The steps whose parameters are kept, in order; the best ones aside."""
        return Checkpoints(self.path / "checkpoints").steps()

    @property
    def step(self) -> int:
        """The step that `params` are of."""
        return kept_place(self.path, self._which)[1]

    def at(self, which: str | int) -> TrainedRun:
        """The same run with other parameters: "best" on validation, as `load_run` gives it, "last", or one of `steps`.

        Raises:
          UserError: these are not kept.
        """
        other = copy.copy(self)
        for name in ("params", "_arrays"):
            other.__dict__.pop(name, None)
        other._which = str(which)
        kept_place(self.path, other._which)
        return other

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by the names of their paths, as {"0/w": ...}; neither data nor code are needed for that."""
        return dict(self._arrays)

    @functools.cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return kept_arrays(self.path, self._which)[1]


def load_run(path: str | os.PathLike[str], experiment: Experiment | None = None) -> TrainedRun:
    """A run from its folder: config, network, parameters, metrics; it says when the code has changed since.

    The experiment is the one that run.json names: its module is imported, or its script, and what the flags name. Where
    that cannot be, all works that does not need it.

    Args:
      path: of the run, as `--workdir` was.
      experiment: what the run is of, in place of what run.json names.

    Raises:
      UserError: the folder is no run, is a study or several runs, is damaged, or of a later version.

    Example:
      >>> load_run("nowhere")
      Traceback (most recent call last):
      rnnjax.base.UserError: nowhere is no run: there is no such folder
    """
    path = Path(path)
    inner = _inner_runs(path)
    if inner:
        raise UserError(f"{path} holds several runs ({', '.join(inner)}): load_run({os.fspath(path / inner[0])!r}), or "
                        "load_runs for all")  # fmt: skip
    run = TrainedRun(path, experiment)
    changed = changed_code(run.origin)
    if changed:
        warnings.warn(f"code has changed since {path} was trained: {', '.join(changed)}", stacklevel=2)
    return run


def load_runs(path: str | os.PathLike[str], experiment: Experiment | None = None) -> dict[str, TrainedRun]:
    """The runs of a folder by name, where several `--cell` were trained; of a single run by the name of its cell.

    Args:
      path: as `--workdir` was.
      experiment: see `load_run`.

    Raises:
      UserError: see `load_run`.

    Example:
      >>> load_runs("nowhere")
      Traceback (most recent call last):
      rnnjax.base.UserError: nowhere is no run: there is no such folder
    """
    names = _inner_runs(Path(path))
    if names:
        return {name: load_run(Path(path) / name, experiment) for name in names}
    run = load_run(path, experiment)
    return {run.flags.get("cell", ""): run}


def _inner_runs(path: Path) -> list[str]:
    """The runs in the folders of a folder, if there are any; in the order in which they were trained."""
    if not (path / "flags.cfg").exists():
        return []
    inner = [file.parent for file in path.glob("*/flags.cfg")]
    return [folder.name for folder in sorted(inner, key=lambda folder: (folder / "flags.cfg").stat().st_mtime_ns)]


def _flags_of(path: Path) -> dict[str, str]:
    """The flags of a run as flags.cfg says them, by name."""
    if not path.is_dir():
        raise UserError(f"{path} is no run: there is no such folder")
    if not (path / "flags.cfg").exists():
        raise UserError(f"{path} is no run: it has no flags.cfg")
    flags = read_flags(path / "flags.cfg", ())
    if "experiment" in flags and "grid" in flags:
        raise UserError(f"{path} is a study: load_study({os.fspath(path)!r})")
    return flags
