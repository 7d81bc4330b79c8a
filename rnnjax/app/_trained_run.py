"""A trained run as an object, which `load_run` reads lazily from disk."""

from __future__ import annotations

import copy
import functools
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from rnnjax.app._config import Config
from rnnjax.app._experiment import Experiment, check_experiment
from rnnjax.app._origin import Origin, changed_code, find_experiment, read_origin
from rnnjax.app._parsing import read_config
from rnnjax.app._run_folder import check_is_run, inner_runs
from rnnjax.app._trained_network import TrainedNetwork
from rnnjax.base import UserError
from rnnjax.runs import Checkpoints
from rnnjax.runs._files import folder_given
from rnnjax.runs._flags_file import flag_value, is_study, read_flags
from rnnjax.runs._kept import kept_arrays, kept_place
from rnnjax.runs._summary import read_summary
from rnnjax.runs._workdir import read_records


class TrainedRun(TrainedNetwork):
    """A run on disk, as `load_run` and `train` return it: read-only, finished or in progress.

    What takes the folder of a run takes the run too, such as `start_from` and `compare_runs`.

    These work without the data and the code of the experiment: `flags`, `metrics`, `summary`, `provenance`, `steps`,
    `arrays`, `save_params`, `vocabulary`.

    Attributes:
      path: its folder.
      origin: the content of run.json: the experiment, digests of code and data, the vocabularies.
      which: the parameters: "best", "last" or a step; see `at`.

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
        folder = folder_given("load_run", path)
        self._lines = _flags_of(folder)
        self.path = folder.absolute()
        self.origin: Origin = read_origin(self.path)
        self._given, self.which = experiment, "best"

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    @property
    def flags(self) -> dict[str, str]:
        """The flags of the run as strings, by name; "" for an empty one."""
        values = {name: flag_value(name, lines) for name, lines in self._lines.items()}
        return {name: "" if value == '""' else value for name, value in values.items()}

    def __repr__(self) -> str:
        name = (self.origin.get("experiment") or {}).get("module") or "an experiment"
        seen = f"{self.steps[-1]} steps" if self.steps else "nothing saved yet"
        try:
            best = self.summary.get("best", {}).get("valid_loss")
        except UserError:  # a repr does not fail
            best = None
        note = "" if best is None else f", best valid_loss {best:.4g}"
        return f"<TrainedRun {self.path}: {name} --cell={self.flags.get('cell', '')}, {seen}{note}>"

    @functools.cached_property
    def experiment(self) -> Experiment:
        """The experiment of the run: the given one, or the one that run.json names, imported.

        Raises:
          UserError: it cannot be found.
        """
        return find_experiment(self.origin, self.path) if self._given is None else self._given

    @functools.cached_property
    def config(self) -> Config:
        """The parsed flags of the run."""
        flags = self.experiment.flags
        try:
            return read_config(flags, self.path)
        except UserError as error:
            raise UserError(f"{self.path} does not belong to this experiment: {error}") from error

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """The results: the entry of the run in summary.json; empty while the run is in progress.

        Raises:
          UserError: the file is damaged, or of a later version.
        """
        runs = read_summary(self.path / "summary.json").get("runs", {})
        return dict(next(iter(runs.values()), {}))

    @property
    def provenance(self) -> dict[str, Any]:
        """Commits, package versions and the device; empty while the run is in progress."""
        return {name: self.summary[name] for name in ("code", "rnnjax", "versions", "device") if name in self.summary}

    @functools.cached_property
    def metrics(self) -> dict[str, np.ndarray]:
        """All metrics by name, float64 `[records]`, with nan where one was not measured; also "step" and "seconds"."""
        records = read_records(self.path / "metrics.jsonl")
        names = dict.fromkeys(name for record in records for name in record)
        rows = {name: [record.get(name) for record in records] for name in names}
        return {name: np.array([np.nan if v is None else v for v in row], float) for name, row in rows.items()}

    def curve(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the steps at which a metric was measured, and its values.

        Raises:
          UserError: it was never measured.
        """
        if name not in self.metrics:
            raise UserError(f"{self.path} has no metric {name}: it has {', '.join(self.metrics) or 'none yet'}")
        there = ~np.isnan(self.metrics[name])
        return self.metrics["step"][there].astype(int), self.metrics[name][there]

    @property
    def steps(self) -> list[int]:
        """The steps whose parameters are kept, in order, apart from the best ones."""
        return Checkpoints(self.path / "checkpoints").steps()

    @property
    def step(self) -> int:
        """The step of `params`."""
        return kept_place(self.path, self.which)[1]

    def at(self, which: str | int) -> TrainedRun:
        """Returns the run with other parameters: the "best" on validation (default), the "last", or those of a step.

        Raises:
          UserError: these parameters are not kept.
        """
        other = copy.copy(self)
        for name in ("params", "_arrays"):
            other.__dict__.pop(name, None)
        other.which = str(which)
        kept_place(self.path, other.which)
        return other

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the parameters by path, such as {"0/w": ...}; this needs neither data nor code."""
        return dict(self._arrays)

    @functools.cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return kept_arrays(self.path, self.which)[1]


def load_run(path: str | os.PathLike[str], experiment: Experiment | None = None) -> TrainedRun:
    """Loads a run from its folder: config, network, parameters, metrics; warns if the code has changed since.

    The experiment is the one in run.json: its module or script is imported, and whatever the flags name. If this fails,
    everything that does not need the experiment still works.

    Args:
      path: the `--workdir` of the run.
      experiment: used in place of the experiment in run.json.

    Raises:
      UserError: the folder is not a run, is a study or holds several runs, is damaged, or of a later version.

    Example:
      >>> load_run("nowhere")
      Traceback (most recent call last):
      rnnjax.base.UserError: nowhere is not a run: there is no such folder
    """
    path = folder_given("load_run", path)
    if experiment is not None:
        check_experiment("load_run", experiment)
    inner = inner_runs(path)
    if inner:
        raise UserError(
            f"{path} holds several runs ({', '.join(inner)}): load_run({os.fspath(path / inner[0])!r}), or "
            "load_runs for all"
        )
    run = TrainedRun(path, experiment)
    changed = changed_code(run.origin)
    if changed:
        warnings.warn(f"code has changed since {path} was trained: {', '.join(changed)}", stacklevel=2)
    return run


def load_runs(path: str | os.PathLike[str], experiment: Experiment | None = None) -> dict[str, TrainedRun]:
    """Loads the runs of a folder by name, for a launch with several `--cell`; a single run has the name of its cell.

    Args:
      path: the `--workdir` of the launch.
      experiment: see `load_run`.

    Raises:
      UserError: see `load_run`.

    Example:
      >>> load_runs("nowhere")
      Traceback (most recent call last):
      rnnjax.base.UserError: nowhere is not a run: there is no such folder
    """
    folder = folder_given("load_runs", path)
    names = inner_runs(folder)
    if names:
        return {name: load_run(folder / name, experiment) for name in names}
    run = load_run(path, experiment)
    return {run.flags.get("cell", ""): run}


def _flags_of(path: Path) -> dict[str, str]:
    """Returns the flags in the flags.cfg of a run, by name."""
    check_is_run(path)
    flags = read_flags(path / "flags.cfg", ())
    if is_study(flags):
        raise UserError(f"{path} is a study: load_study({os.fspath(path)!r})")
    return flags
