"""A study as an object: `load_study` reads its members, their curves and the best network."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import numpy as np

from rnnjax.app import Config, Experiment, LaunchConfig, TrainedNetwork, parse
from rnnjax.app._experiment import check_experiment
from rnnjax.base import UserError
from rnnjax.runs import Checkpoints
from rnnjax.runs._files import folder_given
from rnnjax.runs._flags_file import is_study, read_flags
from rnnjax.runs._leaves import DamagedError
from rnnjax.runs._summary import read_summary
from rnnjax.studies._main import EXPERIMENT
from rnnjax.studies._members import Member, member
from rnnjax.studies._plan import find_experiment, shared_with_members
from rnnjax.studies._results import Results, Row, best_of, settings_of
from rnnjax.studies._space import split_flag


class TrainedStudy:
    """A study on disk, as `load_study` returns it: read-only, finished or in progress.

    Attributes:
      path: its folder.
      rows: the finished members in order, as in results.csv: member, flags, status, score, metrics.

    Example: see `load_study`.
      >>> TrainedStudy("nowhere")
      Traceback (most recent call last):
      rnnjax.base.UserError: nowhere is not a study: there is no such folder
    """

    def __init__(self, path: str | os.PathLike[str], experiment: Experiment | None = None) -> None:
        folder = folder_given("load_study", path)
        _check_is_study(folder)
        self.path, self._given = folder.absolute(), experiment
        self._lines = read_flags(self.path / "flags.cfg", ())
        rows = Results(self.path, [], repair=False).rows
        self.rows = [rows[i] for i in sorted(rows)]

    def __repr__(self) -> str:
        best = self.best_row
        note = "" if best is None else f", best member {best['member']} with {best['score']:.4g}"
        return f"<TrainedStudy {self.path}: {len(self.rows)} members{note}>"

    @functools.cached_property
    def config(self) -> LaunchConfig:
        """The flags of the study."""
        lines = [line for lines in self._lines.values() for line in lines.split("\n")]
        return parse(EXPERIMENT.flags, ["study", *lines])

    @functools.cached_property
    def experiment(self) -> Experiment:
        """The experiment of its members.

        Raises:
          UserError: it cannot be imported.
        """
        if self._given is not None:
            return self._given
        try:
            return find_experiment(self.config.experiment)[0]
        except UserError as error:
            raise UserError(f"{error}: give load_study({os.fspath(self.path)!r}, experiment=EXPERIMENT)") from error

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """The content of summary.json; empty while the study is in progress.

        Raises:
          UserError: the file is damaged, or of a later version.
        """
        return read_summary(self.path / "summary.json")

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The rows as columns, for a table: numbers as float64, nan where one is missing; all else as strings."""
        flat = [{k: v for k, v in row.items() if k not in ("flags", "curve")} | row["flags"] for row in self.rows]
        names = dict.fromkeys(name for row in flat for name in row)
        return {name: _column([row.get(name) for row in flat]) for name in names}

    @property
    def curves(self) -> dict[int, dict[str, np.ndarray]]:
        """The measurements of each member at its evaluations: "step", "loss", "valid_loss"; nan if not finite."""
        return {
            row["member"]: {name: _column(values) for name, values in row["curve"].items()}
            for row in self.rows
            if row.get("curve")
        }

    @property
    def settings(self) -> list[Row]:
        """Returns settings with the interquartile mean of their scores over seeds, the best first."""
        return settings_of(self.rows, self.config.criterion())

    @property
    def best_row(self) -> Row | None:
        """The row of the member with the best score on validation; None if there is none yet."""
        return best_of(self.rows, self.config.criterion())

    @functools.cached_property
    def best(self) -> TrainedMember:
        """The network of the best member: apply, evaluate, generate, export.

        Raises:
          UserError: no member has a score yet.
        """
        row = self.best_row
        if row is None:
            raise UserError(f"no member of {self.path} has a score")
        return TrainedMember(self, row)


class TrainedMember(TrainedNetwork):
    """The network of a member of a study.

    Attributes:
      path: the folder of the study.
      row: the results of the member.

    Example: see `load_study`.
      >>> TrainedMember.__base__.__name__
      'TrainedNetwork'
    """

    def __init__(self, study: TrainedStudy, row: Row) -> None:
        self.path, self.study, self.row = study.path, study, row
        self.origin: dict[str, Any] = {}

    @property
    def experiment(self) -> Experiment:
        """The experiment of the study."""
        return self.study.experiment

    @functools.cached_property
    def config(self) -> Config:
        """The flags of the member: the shared ones and its own."""
        return self._member.config

    @functools.cached_property
    def _member(self) -> Member:
        study = self.study.config
        fixed = [split_flag("set", text, "flag=value") for text in study.set]
        fixed += shared_with_members(study)
        return member(self.experiment, self.row["member"], fixed, self.row["flags"])

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the parameters by path."""
        kept = Checkpoints(self.path / "best" / str(self.row["member"]))
        try:
            return kept.arrays(kept.steps()[-1])
        except IndexError as error:
            raise UserError(f"{kept.directory} holds no parameters") from error
        except DamagedError as damage:
            raise UserError(f"{kept.latest()} is damaged ({damage})") from damage


def load_study(path: str | os.PathLike[str], experiment: Experiment | None = None) -> TrainedStudy:
    """Loads a study from its folder: its members, their learning curves, and the network of the best one.

    Args:
      path: the `--workdir` of the study.
      experiment: used in place of the one that `--experiment` names.

    Raises:
      UserError: the folder is not a study, or is damaged.

    Example:
      >>> load_study("nowhere")
      Traceback (most recent call last):
      rnnjax.base.UserError: nowhere is not a study: there is no such folder
    """
    if experiment is not None:
        check_experiment("load_study", experiment)
    return TrainedStudy(path, experiment)


def _column(values: list[Any]) -> np.ndarray:
    """Returns an array of numbers if all values are numbers or strings of numbers, otherwise of strings."""
    try:
        return np.array([np.nan if value is None or value == "" else float(value) for value in values])
    except (TypeError, ValueError):
        return np.array(["" if value is None else str(value) for value in values])


def _check_is_study(folder: Path) -> None:
    """Refuses a folder without finished members, and says what it is instead."""
    if (folder / "members.jsonl").exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is not a study: there is no such folder")
    if not (folder / "flags.cfg").exists():
        raise UserError(f"{folder} is not a study: it has no members.jsonl")
    if is_study(read_flags(folder / "flags.cfg", ())):
        raise UserError(f"{folder} has no finished members yet")
    raise UserError(f"{folder} is a run: load_run({os.fspath(folder)!r})")
