"""The state of a run in progress, and its pace. A session has one; a study has one per member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import UserError
from rnnjax.losses import Criterion
from rnnjax.training import Progress


class RunState(NamedTuple):
    """A run in progress, with the state of early stopping.

    Attributes:
      progress: parameters, optimiser, position in the data.
      best: the cost of the best score so far, see `losses.Criterion`; lower is better.
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


def with_score(state: RunState, cost: Any) -> tuple[RunState, jax.Array]:
    """Returns the state after an evaluation, and whether its cost is the best so far. A cost of nan never is."""
    cost = jnp.asarray(cost, state.best.dtype)
    better, step = cost < state.best, state.progress.state.step
    return state._replace(
        best=jnp.where(better, cost, state.best),
        best_step=jnp.where(better, step, state.best_step),
        stale=jnp.where(better, 0, state.stale + 1),
    ), better


def score_in(criterion: Criterion, record: Mapping[str, Any]) -> Any:
    """Returns the score in a record: the metric on validation, or in training if there is no validation.

    Raises:
      UserError: it is not measured.

    Example:
      >>> from rnnjax.losses import criterion
      >>> score_in(criterion("accuracy"), {"loss": 2.0, "valid_loss": 1.0, "valid_accuracy": 0.5})
      0.5
    """
    checked = any(name.startswith("valid_") for name in record)
    name = f"valid_{criterion.metric}" if checked else criterion.metric
    if name not in record:
        there = [n.removeprefix("valid_") for n in record if n.startswith("valid_") == checked and n != "grad_norm"]
        raise UserError(f"--score={criterion.metric} is not measured: there is {', '.join(there)}")
    return record[name]


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
