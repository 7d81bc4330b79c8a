"""The state of a run in progress, and its pace. A session has one; a study has one per member."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.training import Progress


class RunState(NamedTuple):
    """A run in progress, with the state of early stopping.

    Attributes:
      progress: parameters, optimiser, position in the data.
      best: the best score so far; lower is better.
      best_step: the step of that score; 0 before the first.
      stale: number of evaluations since then.
    """

    progress: Progress
    best: Any
    best_step: Any
    stale: Any


def new_state(progress: Progress) -> RunState:
    """Returns a run before its first step; scores are kept in float32, or in float64 if JAX has it enabled."""
    none = jnp.zeros((), jnp.int32)
    return RunState(progress, jnp.asarray(jnp.inf, jnp.result_type(float)), none, none)


def final_score(state: RunState, records: Sequence[Mapping[str, Any]]) -> float:
    """Returns the best validation loss, or without validation the last training loss; nan if there is none.

    Example:
      >>> final_score(RunState(None, math.inf, 0, 0), [{"loss": 2.0}, {"loss": 0.5}])
      0.5
    """
    best = float(state.best)
    losses = [r["loss"] for r in records if r.get("loss") is not None]
    return best if math.isfinite(best) else float(losses[-1]) if losses else math.nan


def with_score(state: RunState, score: Any) -> tuple[RunState, jax.Array]:
    """Returns the state after an evaluation, and whether its score is the best so far. A score of nan never is."""
    score = jnp.asarray(score, state.best.dtype)
    better, step = score < state.best, state.progress.state.step
    return state._replace(
        best=jnp.where(better, score, state.best),
        best_step=jnp.where(better, step, state.best_step),
        stale=jnp.where(better, 0, state.stale + 1),
    ), better


class Pace:
    """Steps per second over calls of the loop, without the first call, which compiles.

    Example:
      >>> pace = Pace()
      >>> pace.add(1, 9.0)
      >>> pace.add(10, 0.5)
      >>> pace.rate(), pace.steps_in(2.0, 100, 25), pace.steps_in(2.0, 100)
      (20.0, 25, 40)
    """

    def __init__(self) -> None:
        self.calls, self.steps, self.seconds = 0, 0, 0.0

    def add(self, steps: int, seconds: float) -> None:
        """Adds one call."""
        if self.calls:
            self.steps, self.seconds = self.steps + steps, self.seconds + seconds
        self.calls += 1

    def rate(self) -> float | None:
        """Returns the steps per second; None if unknown so far."""
        return self.steps / self.seconds if self.seconds else None

    def steps_in(self, seconds: float, *limits: int) -> int:
        """Returns the steps that take this long, within the limits but at least one; one while the pace is unknown."""
        rate = self.rate()
        return 1 if rate is None else max(1, min(int(seconds * rate), *limits))
