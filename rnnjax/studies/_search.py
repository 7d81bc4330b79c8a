"""Trials proposed by optuna, in batches. trials.jsonl holds the proposals; study.db is a copy for optuna's dashboard.

The proposals of a batch are a function of earlier proposals and their results. A study that was killed at any moment
therefore resumes with the same trials.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rnnjax.base import UserError
from rnnjax.runs._extras import import_extra
from rnnjax.runs._log import Log
from rnnjax.studies._results import Results
from rnnjax.studies._space import Assignment, Range
from rnnjax.training import interquartile_mean

SAMPLERS = ("tpe", "random", "cmaes")


def _optuna() -> Any:
    """Imports optuna.

    Raises:
      UserError: it is not installed.
    """
    module = import_extra("optuna", "--trials", "studies")
    module.logging.set_verbosity(module.logging.WARNING)
    return module


def sampler(name: str, seed: int) -> Any:
    """Returns a sampler; each batch needs another seed, or it would repeat the draws of the one before."""
    samplers = _optuna().samplers
    if name == "cmaes":
        import_extra("cmaes", "--sampler=cmaes", "studies")
        return samplers.CmaEsSampler(seed=seed)
    return samplers.TPESampler(seed=seed, constant_liar=True) if name == "tpe" else samplers.RandomSampler(seed=seed)


def _distribution(r: Range) -> Any:
    """Returns a range in optuna's form."""
    distributions = _optuna().distributions
    if r.kind == "choice":
        return distributions.CategoricalDistribution(r.choices)
    if r.kind == "int":
        return distributions.IntDistribution(int(r.low), int(r.high))
    return distributions.FloatDistribution(r.low, r.high, log=r.kind == "log")


def _as_flag_value(value: Any) -> str:
    """Returns a value as on a command line."""
    return repr(value) if isinstance(value, float) else str(value)


class Search:
    """Trials of a space, each at every point of the grid.

    Args:
      folder: of the study; it contains trials.jsonl and study.db.
      ranges: the space.
      points: of the grid; a single empty point without a grid.
      trials: total number.
      name: of the sampler.
      seed: of the sampler.

    Raises:
      UserError: trials.jsonl is damaged.
    """

    def __init__(
        self, folder: Path, ranges: Sequence[Range], points: Sequence[Assignment], trials: int, name: str, seed: int
    ) -> None:
        self.folder, self.space = folder, {r.flag: _distribution(r) for r in ranges}
        self.points, self.trials, self.name, self.seed = list(points), trials, name, seed
        self.log = Log(folder / "trials.jsonl")
        for i, trial in enumerate(self.log.records):
            if trial.get("trial") != i or trial.get("params", {}).keys() != self.space.keys():
                raise UserError(f"{self.log.path} is damaged: line {i + 1} is not trial {i}")

    def run(self, batch: int, results: Results, train: Callable[[dict[int, Assignment]], None]) -> None:
        """Proposes and trains until there are enough trials."""
        for start in range(0, self.trials, batch):
            end = min(start + batch, self.trials)
            if len(self.log.records) < end:  # killed in the middle of a batch: the same batch is drawn again
                self.log.cut(start)
                self.log.add(self.drawn(start, end - start, results))
            train({i: own for trial in range(start, end) for i, own in self.members(trial).items()})
            self.copy(end, results)

    def drawn(self, start: int, count: int, results: Results) -> list[dict[str, Any]]:
        """Returns the next trials, once those before `start` have finished."""
        study = _optuna().create_study(sampler=sampler(self.name, self.seed + start))
        study.add_trials([self.ended(trial, results) for trial in range(start)])
        for _ in range(count):
            study.ask(self.space)
        asked = study.get_trials(deepcopy=False)[start:]
        return [{"trial": t.number, "params": t.params, "attributes": t.system_attrs} for t in asked]

    def ended(self, trial: int, results: Results) -> Any:
        """Returns a trial in optuna's form, with the interquartile mean of its members' costs, which it minimises."""
        module, told = _optuna(), self.log.records[trial]
        value = interquartile_mean([results.cost(results.rows[i]) for i in self.members(trial)])
        good = math.isfinite(value)
        return module.trial.create_trial(
            state=module.trial.TrialState.COMPLETE if good else module.trial.TrialState.FAIL,
            value=value if good else None,
            params=told["params"],
            distributions=self.space,
            system_attrs=told["attributes"],
        )

    def members(self, trial: int) -> dict[int, Assignment]:
        """Returns the members of a trial by their numbers."""
        own = {flag: _as_flag_value(value) for flag, value in self.log.records[trial]["params"].items()}
        return {trial * len(self.points) + i: own | point for i, point in enumerate(self.points)}

    def copy(self, end: int, results: Results) -> None:
        """Updates study.db. Nothing reads it, so errors are reported and ignored."""
        try:
            storage = f"sqlite:///{self.folder / 'study.db'}"
            study = _optuna().create_study(storage=storage, study_name="study", load_if_exists=True)
            known = len(study.get_trials(deepcopy=False))
            study.add_trials([self.ended(trial, results) for trial in range(known, end)])
        except Exception as error:  # database errors: a damaged file, a full disk, a lock
            said = " ".join(str(error).split())[:200]
            print(f"{self.folder / 'study.db'}, the copy for optuna's dashboard, is not kept: {said}", file=sys.stderr)
