"""Groups of members that one program trains, each compiled once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

import jax
import numpy as np

from rnnjax.app import Config, Experiment, build_setup, load_data
from rnnjax.app._setup import traceable
from rnnjax.studies._members import Group, Member, groups, load_noting, numbers
from rnnjax.studies._packs import Compiled
from rnnjax.studies._programs import group_programs
from rnnjax.training._population import chosen, replicated

_MEMBER_BATCH = {"cpu": 16}  # members at once if --member_batch is 0
_ELSEWHERE = 64
_Fail = Callable[[Sequence[Member], Exception], None]


def members_at_once(member_batch: int) -> int:
    """Returns how many members are in memory at once; 0 stands for the default of the backend."""
    return member_batch or _MEMBER_BATCH.get(jax.default_backend(), _ELSEWHERE)


class Compiler:
    """Divides members into groups and packs, and compiles the program of each group once.

    Args:
      experiment: of all members.
      strategy: see `population`.
      member_batch: members at once; 0 for the default of the backend.
    """

    def __init__(self, experiment: Experiment, strategy: str, member_batch: int) -> None:
        self.experiment, self.strategy, self.member_batch = experiment, chosen(strategy), member_batch
        self.capacity = 0  # places in each pack, set by the first members
        self.compiled: dict[Hashable, Compiled] = {}
        self.known: dict[Hashable, frozenset[str]] = {}

    def parts(self, members: Sequence[Member], fail: _Fail) -> Iterator[tuple[Compiled, list[Member]]]:
        """Yields the members of each pack, with the program that trains them.

        Args:
          members: of the study.
          fail: called with members that cannot be built, and why; the others go on.
        """
        found = self.groups(members, fail)
        self.capacity = self.capacity or self.places(max((len(g.members) for g, _ in found), default=1))
        for group, structural in found:
            try:
                compiled = self.compile(group, structural)
            except Exception as error:
                fail(group.members, error)
                continue
            for i in range(0, len(group.members), self.capacity):
                yield compiled, group.members[i : i + self.capacity]

    def groups(self, members: Sequence[Member], fail: _Fail) -> list[tuple[Group, frozenset[str]]]:
        """Groups members that share a program, each group with the numbers that are not arguments of it."""
        found = []
        for group in groups(self.experiment, members):
            try:
                structural = self.structural(group)
            except Exception as error:  # any error of a user's load or build; the other groups go on
                fail(group.members, error)
                continue
            found += [(g, structural) for g in groups(self.experiment, group.members, structural)]
        return found

    def places(self, most: int) -> int:
        """Returns the places of a pack: a multiple of the devices, at most as many as requested or needed."""
        devices = jax.local_device_count() if self.strategy == "shard" else 1
        return max(1, -(-min(members_at_once(self.member_batch), most) // devices)) * devices

    def structural(self, group: Group) -> frozenset[str]:
        """Returns the numbers of a group that its data depend on, or on which its build branches."""
        if group.key not in self.known:
            config = group.members[0].config
            facts, read = load_noting(self.experiment, config)
            build = self.experiment.build_with(facts)
            build_setup(build, config)  # raises its errors now
            own = numbers(self.experiment, config)
            taken = traceable(build, config, {k: v for k, v in own.items() if k not in read})
            self.known[group.key] = frozenset(own.keys() - taken.keys())
        return self.known[group.key]

    def compile(self, group: Group, structural: frozenset[str]) -> Compiled:
        """Returns what the packs of a group share, compiled once."""
        if group.key not in self.compiled:
            self.compiled[group.key] = self.made(group.members[0].config, structural)
        return self.compiled[group.key]

    def made(self, config: Config, structural: frozenset[str]) -> Compiled:
        """Returns the programs of a group, its data, and the shapes of its packs."""

        def own(config: Config) -> dict[str, np.generic]:
            given = numbers(self.experiment, config).items()
            return {k: v for k, v in given if k not in structural or k == "seed"}  # keys are derived from the seed

        facts, data = load_data(self.experiment.load, config)
        config.make_optimizer()  # raises its errors now
        data, many = replicated(data, self.strategy), (self.capacity,)
        run = group_programs(self.experiment.build_with(facts), config, self.strategy, seeded="seed" in structural)
        given = {k: jax.ShapeDtypeStruct(many, v.dtype) for k, v in own(config).items()}
        like = jax.eval_shape(run.init, given, data)
        record = jax.eval_shape(run.measure, like, jax.ShapeDtypeStruct(many, bool), data)[1]
        return Compiled(config, data, run, own, self.capacity, self.strategy, like, list(record))
