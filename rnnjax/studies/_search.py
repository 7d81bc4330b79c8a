"""Members proposed by optuna: asked for in batches, told what came of them, all kept in a database in the workdir."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rnnjax.base import UserError
from rnnjax.studies._results import Results, score
from rnnjax.studies._space import Assignment, Range
from rnnjax.training import interquartile_mean

SAMPLERS = ("tpe", "random", "cmaes")


def _optuna() -> Any:
    """The module.

    Raises:
      UserError: it is not installed.
    """
    try:
        module: Any = importlib.import_module("optuna")
    except ImportError as error:
        raise UserError("--trials needs optuna: pip install 'rnnjax[studies]'") from error
    module.logging.set_verbosity(module.logging.WARNING)
    return module


def _sampler(name: str, seed: int) -> Any:
    """A sampler; another seed for each batch, so that a study taken up again does not repeat its draws."""
    samplers = _optuna().samplers
    if name == "cmaes":
        try:
            importlib.import_module("cmaes")
        except ImportError as error:
            raise UserError("--sampler=cmaes needs cmaes: pip install 'rnnjax[studies]'") from error
        return samplers.CmaEsSampler(seed=seed)
    return samplers.TPESampler(seed=seed, constant_liar=True) if name == "tpe" else samplers.RandomSampler(seed=seed)


def _distribution(r: Range) -> Any:
    """A range as optuna writes it."""
    distributions = _optuna().distributions
    if r.kind == "choice":
        return distributions.CategoricalDistribution(r.choices)
    if r.kind == "int":
        return distributions.IntDistribution(int(r.low), int(r.high))
    return distributions.FloatDistribution(r.low, r.high, log=r.kind == "log")


def _text(value: Any) -> str:
    """A value as on a command line."""
    return repr(value) if isinstance(value, float) else str(value)


class Search:
    """Trials of a space, each of them at every point of the grid.

    Args:
      folder: of the study; study.db is there.
      ranges: the space.
      points: of the grid; one empty point where there is none.
      trials: in all.
      name: of the sampler.
      seed: of the sampler.
    """

    def __init__(
        self, folder: Path, ranges: Sequence[Range], points: Sequence[Assignment], trials: int, name: str, seed: int
    ) -> None:
        module = _optuna()
        self.space = {r.flag: _distribution(r) for r in ranges}
        self.points, self.trials, self.name, self.seed = list(points), trials, name, seed
        storage = f"sqlite:///{folder / 'study.db'}"
        self.study = module.create_study(storage=storage, study_name="study", load_if_exists=True)
        self.states = module.trial.TrialState

    def run(self, batch: int, results: Results, train: Callable[[dict[int, Assignment]], None]) -> None:
        """Asks, trains and tells until there are enough trials."""
        while asked := self.asked(batch):
            members = {i: flags for trial in asked for i, flags in self.members(trial).items()}
            train(members)
            for trial in asked:
                self.tell(trial, results)

    def asked(self, batch: int) -> list[Any]:
        """The trials of the next batch; those that an earlier session asked for and did not finish come first."""
        known = self.study.get_trials(deepcopy=False)
        running = [t for t in known if t.state == self.states.RUNNING]
        for trial in running:
            if trial.params.keys() != self.space.keys():  # killed while it was asked for
                self.study.tell(trial.number, state=self.states.FAIL)
        running = [t for t in running if t.params.keys() == self.space.keys()]
        ended = sum(t.state != self.states.RUNNING and t.params.keys() == self.space.keys() for t in known)
        self.study.sampler = _sampler(self.name, self.seed + len(known))
        wanted = min(batch, self.trials - ended) - len(running)
        return running + [self.study.ask(self.space) for _ in range(wanted)]

    def members(self, trial: Any) -> dict[int, Assignment]:
        """The members of a trial by their numbers."""
        own = {flag: _text(value) for flag, value in trial.params.items()}
        return {trial.number * len(self.points) + i: own | point for i, point in enumerate(self.points)}

    def tell(self, trial: Any, results: Results) -> None:
        """Says what came of a trial: the interquartile mean of its members."""
        value = interquartile_mean([score(results.rows[i]) for i in self.members(trial)])
        if math.isfinite(value):
            self.study.tell(trial.number, value)
        else:
            self.study.tell(trial.number, state=self.states.FAIL)
