"""Population based training: the worst members continue from the best, with slightly changed numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.app import Experiment
from rnnjax.app._state import score_in
from rnnjax.base import UserError
from rnnjax.studies._compiler import Compiler
from rnnjax.studies._members import Member, numbers
from rnnjax.studies._packs import Pack, Row
from rnnjax.studies._programs import State
from rnnjax.studies._space import Range
from rnnjax.studies._study import Study
from rnnjax.training import exploit, spread
from rnnjax.training._population import explore

_Space = Mapping[str, Range]
_PARENT = "parent"  # the record of the member that a member continued from
_APART = "--pbt: members must differ in numbers only, so that one can continue from another"


def evolve(study: Study, members: Sequence[Member], space: _Space, every: int, seed: int) -> None:
    """Trains all members side by side; every few steps the worst quarter continues from the best quarter.

    Such a member copies the parameters and the optimiser state of its parent, and perturbs its parent's numbers. It
    keeps its own seed.

    Args:
      study: trains the members.
      members: fit in one pack, see `check_population`.
      space: the ranges of the numbers that may change, by flag. Among choices, a number moves to a neighbour.
      every: steps, a multiple of the steps between evaluations.
      seed: for the random draws.

    Raises:
      UserError: the members cannot be trained in one pack.
    """
    if all(m.id in study.results for m in members):
        study.clear()
        return
    packs = study.packs(members, 0)
    if len(packs) != 1:
        raise UserError(_APART)
    pack = Pack(packs[0].compiled, packs[0].members, packs[0].folder, (_PARENT, *space))
    config = pack.compiled.config
    pack.begin()
    for target in [*range(every, config.num_steps, every), config.num_steps]:
        if target < pack.step:
            continue
        study.advance(pack, target)
        if target < config.num_steps:
            _generation(
                pack, space, (target - 1) // config.eval_every, jax.random.fold_in(jax.random.key(seed), target)
            )
    study.finish(pack, [row | _finals(pack, row, space) for row in pack.rows()])
    study.clear()


def check_population(experiment: Experiment, members: Sequence[Member], space: _Space) -> None:
    """Refuses members that cannot continue from one another; loads their data and builds them, and writes nothing.

    Args:
      experiment: of the members.
      members: one for each value of which the space has few, such as a choice.
      space: see `evolve`.

    Raises:
      UserError: a member cannot be built, they have several programs, or what is drawn is not a number.
    """
    for r in space.values():
        _numbers_of(r)  # refuses choices that are not numbers

    def refuse(members: Sequence[Member], error: Exception) -> None:
        raise UserError(" ".join(str(error).split()) or type(error).__name__) from error

    found = Compiler(experiment, "map", len(members)).groups(members, refuse)
    for flag in space:
        if any(flag not in numbers(experiment, g.members[0].config).keys() - structural for g, structural in found):
            raise UserError(f"--space={flag}=...: --{flag} is not a number that --pbt can change while training")
    if len(found) != 1:
        raise UserError(_APART)


def _numbers_of(r: Range) -> np.ndarray:
    """Returns the choices of a range as sorted numbers; empty for another kind of range.

    Raises:
      UserError: a choice is not a number.

    Example:
      >>> _numbers_of(Range("learning_rate", "choice", choices=("0.1", "3e-3"))).tolist()
      [0.003, 0.1]
    """
    try:
        return np.unique([float(text) for text in r.choices])
    except ValueError as error:
        raise UserError(f"--space={r.flag}=choice:{':'.join(r.choices)}: --pbt changes numbers ({error})") from error


def moved_beside(key: jax.Array, values: jax.Array, choices: np.ndarray) -> jax.Array:
    """Moves each value to the choice below or above it; at an end, to the only neighbour.

    Example:
      >>> moved_beside(jax.random.key(0), jnp.array([1.0, 3.0]), np.array([1.0, 2.0, 3.0])).tolist()
      [2.0, 2.0]
    """
    known = jnp.asarray(choices, values.dtype)
    at = jnp.abs(values[:, None] - known[None]).argmin(1)
    aside = at + jnp.where(jax.random.bernoulli(key, 0.5, values.shape), 1, -1)
    last = len(choices) - 1
    inside = jnp.where(aside < 0, 1, jnp.where(aside > last, last - 1, aside))
    return known[jnp.clip(inside, 0, last)]


def _generation(pack: Pack, space: _Space, column: int, key: jax.Array) -> None:
    """Replaces the worst members once, unless that was done before the pack was saved."""
    at = pack.places
    if np.isfinite(pack.records[_PARENT][at, column]).all():
        return
    criterion = pack.compiled.config.criterion()
    costs = criterion.cost(score_in(criterion, pack.records))[at, column]
    parents = np.asarray(exploit(key, jnp.asarray(costs)))
    pack.state = spread(taken_over(pack.state, at, parents, space, key), pack.compiled.strategy)
    pack.records[_PARENT][at, column] = [pack.members[i].id for i in parents]
    for flag in space:
        pack.records[flag][at, column] = np.asarray(pack.state.numbers[flag])[at]
    pack.saved = -1
    pack.save()


def taken_over(state: State, at: np.ndarray, parents: np.ndarray, space: _Space, key: jax.Array) -> State:
    """Returns the state in which each member continues from its parent; the numbers of those that switch change."""
    source = np.arange(state.run.best.shape[0])
    source[at] = at[parents]
    moved = source != np.arange(len(source))
    new = jax.tree.map(lambda a: a[source], state)
    numbers = dict(state.numbers)
    for i, (flag, r) in enumerate(space.items()):
        own, now = jax.random.fold_in(key, i), new.numbers[flag]
        tried = moved_beside(own, now, _numbers_of(r)) if r.choices else explore(own, now, r.low, r.high)
        numbers[flag] = jnp.where(moved, tried, state.numbers[flag])
    own_keys = new.run.progress.state._replace(key=state.run.progress.state.key)
    run = new.run._replace(progress=new.run.progress._replace(state=own_keys))
    return new._replace(numbers=numbers, run=run)


def _finals(pack: Pack, row: Row, space: _Space) -> Row:
    """Returns the row with the numbers that a member ended with."""
    place = pack.places[[m.id for m in pack.members].index(row["member"])]
    return {f"last_{flag}": float(pack.state.numbers[flag][place]) for flag in space}
