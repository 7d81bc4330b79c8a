"""The compiled programs of a group: those of a single run, mapped over all members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax import training
from rnnjax.app import Config, build_setup
from rnnjax.app._programs import DATA_TAG, VALID_TAG
from rnnjax.app._setup import Build, trainer
from rnnjax.app._state import RunState, new_state, score_in, with_score
from rnnjax.base import PyTree
from rnnjax.base._seq import tree_zeros
from rnnjax.training import population

_Record = dict[str, jax.Array]


class State(NamedTuple):
    """One member in training; a group of them has a leading axis on every leaf.

    Attributes:
      numbers: its own numbers, by name.
      run: the state of a single run; its score is that of `--score` on validation, or in training
        without validation.
      best_params: the parameters with the best score.
    """

    numbers: dict[str, jax.Array]
    run: RunState
    best_params: PyTree


class GroupPrograms(NamedTuple):
    """The compiled functions of a group.

    Attributes:
      init: (numbers, data) -> State.
      steps: (State, n [members], data) -> State; consumes its state. A member stops when its loss is not finite.
      measure: (State, live [members], data) -> (State, record): the training metrics since the last call, and
        validation metrics; it updates the best parameters. Members that are not live are unchanged, with nan records.
    """

    init: Callable[[dict[str, Any], PyTree], State]
    steps: Callable[[State, Any, PyTree], State]
    measure: Callable[[State, Any, PyTree], tuple[State, _Record]]


def group_programs(
    build: Build, config: Config, strategy: str = "auto", member_batch: int = 0, seeded: bool = False
) -> GroupPrograms:
    """Returns the programs of a group; nothing compiles before the first call.

    Args:
      build: of the experiment.
      config: of any member.
      strategy, member_batch: see `population`.
      seeded: whether data or build depend on the seed; then all members share it, and `build` gets its concrete value.

    Example: two members with different learning rates, three steps each.
      >>> import numpy as np, rnnjax
      >>> from rnnjax import app, losses, tasks
      >>> def build(config):
      ...     stream = tasks.task_stream(tasks.adding(10), config.batch_size)
      ...     cell = rnnjax.unroll(rnnjax.stack(config.layers(), rnnjax.linear(1)))
      ...     return app.Setup(cell, losses.regress, stream)
      >>> [config] = app.run_configs(app.parse(app.common_flags(cell="gru", hidden_size="4"), ["x", "--optimizer=sgd"]))
      >>> group = group_programs(build, config, strategy="map", member_batch=2)
      >>> own = {k: np.stack([v, v]) for k, v in config.numbers().items()}
      >>> own |= {"learning_rate": np.array([0.1, 0.01]), "seed": np.array([0, 1])}
      >>> members = group.steps(group.init(own, ()), np.full(2, 3, np.int32), ())
      >>> members.run.progress.state.step.tolist()
      [3, 3]
    """

    def own(numbers: dict[str, Any]) -> Config:
        return config.with_numbers({k: v for k, v in numbers.items() if not (seeded and k == "seed")})

    def trainer_of(numbers: dict[str, Any]) -> training.Trainer:
        return trainer(build, own(numbers))

    def init(numbers: dict[str, Any], data: PyTree) -> State:
        key = jax.random.fold_in(jax.random.key(numbers["seed"]), DATA_TAG)
        progress = training.init(trainer_of(numbers), data, key)
        return State(numbers, new_state(progress), progress.state.params)

    def steps(at: tuple[State, jax.Array], data: PyTree) -> State:
        state, n = at
        progress = training.loop(trainer_of(state.numbers), state.run.progress, data, n)
        return state._replace(run=state.run._replace(progress=progress))

    def measured(state: State, data: PyTree) -> tuple[State, _Record]:
        progress = state.run.progress
        record = _mean_metrics(progress.metrics) | _validated(build, own(state.numbers), state, data)
        criterion = config.criterion()
        run, better = with_score(state.run, criterion.cost(score_in(criterion, record)))
        run = run._replace(progress=progress._replace(metrics=tree_zeros(progress.metrics)))
        params = jax.tree.map(lambda new, old: jnp.where(better, new, old), progress.state.averaged, state.best_params)
        return state._replace(run=run, best_params=params), record

    def measure(at: tuple[State, jax.Array], data: PyTree) -> tuple[State, _Record]:
        state, live = at
        _, like = jax.eval_shape(measured, state, data)
        nothing = jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), like)
        return jax.lax.cond(live, lambda: measured(state, data), lambda: (state, nothing))

    over = [population(f, strategy, member_batch) for f in (init, steps, measure)]
    first, second = (
        jax.jit(lambda state, n, data: over[1]((state, n), data), donate_argnums=(0,)),
        jax.jit(lambda state, live, data: over[2]((state, live), data)),
    )
    return GroupPrograms(jax.jit(over[0]), first, second)


def _mean_metrics(metrics: Any) -> _Record:
    """Returns the metrics since the last report as numbers."""
    return {name: m.value() for name, m in metrics.items()}


def _validated(build: Build, config: Config, state: State, data: PyTree) -> _Record:
    """Evaluates on the validation set, on the examples that a single run would use."""
    setup = build_setup(build, config)
    if setup.valid is None:
        return {}
    key = jax.random.fold_in(jax.random.key(state.numbers["seed"]), VALID_TAG)
    metrics = training.evaluate(setup.cell, setup.objective, setup.valid)(state.run.progress.state.averaged, data, key)
    return {f"valid_{name}": value for name, value in _mean_metrics(metrics).items()}
