"""Whether the losses of members are one quantity, so that they can be ranked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from rnnjax.app import Config, Setup, build_setup, common_flags, load_data
from rnnjax.app._digest import digest, vocabularies_of
from rnnjax.base import UserError, without_marks
from rnnjax.studies._members import Member
from rnnjax.studies._plan import Plan


class _Quantity(NamedTuple):
    """What a loss measures: its unit, the baseline, the kind of target, and its length where there is no baseline."""

    label: str
    baseline: tuple[str, float | None]
    targets: Any
    symbols: str

    def __str__(self) -> str:
        name, value = self.baseline
        shapes = ", ".join(f"targets {list(shape)}" for _, shape in self.targets)
        return f"{self.label}, {shapes}" if value is None else f"{self.label}, {name} {value:.4g}"


def refuse_mixed_losses(plan: Plan, config: Config) -> None:
    """Refuses a ranking by the loss if the members' own flags of the task make it another quantity.

    Only flags of the experiment itself can do so: their members are built, not trained. A member that cannot be built
    is left to training, which reports it.

    Raises:
      UserError: two members have losses of another unit, baseline, kind of target or set of symbols.
    """
    if config.mixed_losses or config.criterion().metric != "loss":
        return
    known: list[tuple[Member, _Quantity]] = []
    for member in _members(plan):
        try:
            quantity = _quantity(plan, member.config)
        except Exception:  # any error of a user's load or build
            continue
        for other, first in known[:1]:
            if not _same_quantity(first, quantity):
                ours, theirs = (" ".join(f"--{f}={v}" for f, v in m.flags.items()) for m in (other, member))
                raise UserError(
                    f"the loss is another quantity with {theirs} ({quantity}) than with {ours} ({first}): rank by "
                    "another --score, make a study of each, or give --mixed_losses"
                )
        known.append((member, quantity))


def _members(plan: Plan) -> Iterator[Member]:
    """Yields a member for each combination of the experiment's own flags, with the ends of drawn ranges."""
    shared = {*common_flags(), *plan.experiment.numbers}
    own = [flag for flag in plan.flags() if flag not in shared and not flag.startswith("cell_args.")]
    ends = [{r.flag: end} for r in plan.ranges if r.flag in own for end in r.ends()]
    first = {r.flag: r.ends()[0] for r in plan.ranges}
    seen = set()
    for point in plan.points if own else ():
        for end in ends or [{}]:
            flags = first | end | point
            if (chosen := tuple(flags[flag] for flag in own)) not in seen:
                seen.add(chosen)
                yield plan.member(0, flags)._replace(flags={flag: flags[flag] for flag in own})


def _quantity(plan: Plan, config: Config) -> _Quantity:
    """Returns what the loss of a member measures."""
    facts, data = load_data(plan.experiment.load, config)
    setup: Setup = build_setup(plan.experiment.build_with(facts), config)
    stream = setup.valid or setup.train
    batch = jax.eval_shape(lambda data: stream.next(data, stream.init(data), jax.random.key(0))[0], data)
    told = 2 if setup.baseline is not None else 1  # without a baseline, other lengths may be another task
    targets = [(str(y.dtype), y.shape[told:]) for y in jax.tree.leaves(without_marks(batch.y))]
    return _Quantity(
        setup.loss_label, (setup.baseline_name, setup.baseline), targets, digest(list(vocabularies_of(facts).values()))
    )


def _same_quantity(a: _Quantity, b: _Quantity) -> bool:
    """Returns whether two losses are one quantity; baselines may differ by rounding, and their names by numbers."""
    ours, theirs = a.baseline[1], b.baseline[1]
    same = ours is theirs or (ours is not None and theirs is not None and math.isclose(ours, theirs, rel_tol=1e-3))
    return same and (a.label, a.targets, a.symbols) == (b.label, b.targets, b.symbols)
