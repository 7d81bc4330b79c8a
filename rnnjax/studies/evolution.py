"""Population based training: the worst members go on from the best, with numbers a little different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.errors import UserError
from rnnjax.population import exploit, explore, spread
from rnnjax.studies.members import Member
from rnnjax.studies.packs import Pack, Row
from rnnjax.studies.programs import State
from rnnjax.studies.study import Study

Bounds = Mapping[str, tuple[float, float]]
PARENT = "parent"  # the record of whom a member goes on from


def evolve(study: Study, members: Sequence[Member], bounds: Bounds, every: int, seed: int) -> None:
    """Trains all members side by side; every so many steps the worst quarter takes over from the best quarter.

    A member that takes over has the parameters and the optimiser of its parent, numbers close to the parent's, and
    still its own seed.

    Args:
      study: in which they are trained.
      members: differ in numbers alone, and have a place in one pack.
      bounds: of the numbers that may change, by flag.
      every: steps, a multiple of the steps between evaluations.
      seed: of the draws.

    Raises:
      UserError: they cannot be trained in one pack, or a flag is no number.
    """
    if all(m.id in study.results for m in members):
        return
    packs = study.packs(members, 0)
    if len(packs) != 1:
        raise UserError("--pbt: members must differ in numbers alone, or there is no taking over from one another")
    pack = Pack(packs[0].compiled, packs[0].members, packs[0].folder, (PARENT, *bounds))
    config = pack.compiled.config
    for flag in bounds:
        if flag not in pack.numbers():
            raise UserError(f"--space={flag}=...: --{flag} is no number that --pbt can change while training")
    pack.begin()
    for target in [*range(every, config.num_steps, every), config.num_steps]:
        if target < pack.step:
            continue
        study.advance(pack, target)
        if target < config.num_steps:
            generation(
                pack, bounds, (target - 1) // config.eval_every, jax.random.fold_in(jax.random.key(seed), target)
            )
    study.finish(pack, [row | finals(pack, row, bounds) for row in pack.rows()])
    pack.drop()


def generation(pack: Pack, bounds: Bounds, column: int, key: jax.Array) -> None:
    """One round of taking over, unless it was done before the pack was saved."""
    at = pack.places
    if np.isfinite(pack.records[PARENT][at, column]).all():
        return
    scores = pack.records.get("valid_loss", pack.records["loss"])[at, column]
    parents = np.asarray(exploit(key, jnp.asarray(scores)))
    pack.state = spread(taken_over(pack.state, at, parents, bounds, key), pack.compiled.strategy)
    pack.records[PARENT][at, column] = [pack.members[i].id for i in parents]
    for flag in bounds:
        pack.records[flag][at, column] = np.asarray(pack.state.numbers[flag])[at]
    pack.saved = -1
    pack.save()


def taken_over(state: State, at: np.ndarray, parents: np.ndarray, bounds: Bounds, key: jax.Array) -> State:
    """The state in which each member goes on from its parent; those that do from another with other numbers."""
    source = np.arange(state.best.shape[0])
    source[at] = at[parents]
    moved = source != np.arange(len(source))
    new = jax.tree.map(lambda a: a[source], state)
    numbers = dict(state.numbers)
    for i, (flag, (low, high)) in enumerate(bounds.items()):
        tried = explore(jax.random.fold_in(key, i), new.numbers[flag], low, high)
        numbers[flag] = jnp.where(moved, tried, state.numbers[flag])
    run = new.progress.state._replace(key=state.progress.state.key)
    return new._replace(numbers=numbers, progress=new.progress._replace(state=run))


def finals(pack: Pack, row: Row, bounds: Bounds) -> Row:
    """The numbers that a member ended with."""
    place = pack.places[[m.id for m in pack.members].index(row["member"])]
    return {f"last_{flag}": float(pack.state.numbers[flag][place]) for flag in bounds}
