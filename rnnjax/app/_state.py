"""What is known of a run under way: its state, and how fast it goes. A session has one; a study has one a member."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.training import Progress


class RunState(NamedTuple):
    """A run under way, and what early stopping has seen of it.

    Attributes:
      progress: parameters, optimiser, place in the data.
      best: the best score so far, the lower the better.
      best_step: where that was; 0: nowhere yet.
      stale: evaluations since then.
    """

    progress: Progress
    best: Any
    best_step: Any
    stale: Any


def new_state(progress: Progress) -> RunState:
    """A run before its first step; its scores are kept in float32, or in float64 where JAX has that."""
    none = jnp.zeros((), jnp.int32)
    return RunState(progress, jnp.asarray(jnp.inf, jnp.result_type(float)), none, none)


def with_score(state: RunState, score: Any) -> tuple[RunState, jax.Array]:
    """The state after an evaluation, and whether its score is the best so far. A score of nan never is."""
    score = jnp.asarray(score, state.best.dtype)
    better, step = score < state.best, state.progress.state.step
    return state._replace(
        best=jnp.where(better, score, state.best),
        best_step=jnp.where(better, step, state.best_step),
        stale=jnp.where(better, 0, state.stale + 1),
    ), better


class Pace:
    """Steps a second of calls of the loop; the first call, which compiles, is left out.

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
        """One call has been made."""
        if self.calls:
            self.steps, self.seconds = self.steps + steps, self.seconds + seconds
        self.calls += 1

    def rate(self) -> float | None:
        """Steps a second; None: not known yet."""
        return self.steps / self.seconds if self.seconds else None

    def steps_in(self, seconds: float, *limits: int) -> int:
        """Steps that take so long, within the limits, but one at least; one while the pace is not known."""
        rate = self.rate()
        return 1 if rate is None else max(1, min(int(seconds * rate), *limits))
