"""Turns the flags of a study into a plan."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
from typing import Any, NamedTuple

from rnnjax._deprecated import argument_of_today
from rnnjax.app import CELLS, Config, Experiment
from rnnjax.app._config import Flags
from rnnjax.app._registry import resolve
from rnnjax.base import UserError
from rnnjax.estimators import RULES
from rnnjax.studies._members import Member, member, refuse
from rnnjax.studies._space import Assignment, Axis, Range, axis, drawn_range, points, split_flag, swept


class Plan(NamedTuple):
    """The plan of a study.

    Attributes:
      experiment: of all members.
      name: of its module.
      fixed: flags that all members share.
      axes: of the grid.
      ranges: of the space.
      points: of the grid.
    """

    experiment: Experiment
    name: str
    fixed: list[tuple[str, str]]
    axes: list[Axis]
    ranges: list[Range]
    points: list[Assignment]

    def flags(self) -> list[str]:
        """Returns the flags that vary."""
        return swept(self.axes, self.ranges)

    def member(self, number: int, own: Assignment) -> Member:
        """Returns a member of the study."""
        return member(self.experiment, number, self.fixed, own)

    def drawn(self) -> list[Member]:
        """Returns members as they may be drawn: one for each choice of each range at each point of the grid."""
        first = {r.flag: r.drawn()[0] for r in self.ranges}
        every = [first | own | {r.flag: value} for own in self.points for r in self.ranges for value in r.drawn()]
        return [self.member(i, own) for i, own in enumerate(every)]


def find_experiment(name: str) -> tuple[Experiment, str]:
    """Returns an experiment by name, from this repository or a module of the user, and its module.

    Raises:
      UserError: there is no such module, or it has no EXPERIMENT.
    """
    if not name:
        raise UserError("--experiment=NAME is needed: copying, adding, ... or an importable module")
    try:
        ours = "." not in name and importlib.util.find_spec(f"experiments.{name}") is not None
    except (ImportError, ValueError):
        ours = False
    module = f"experiments.{name}" if ours else name
    try:
        experiment: Any = getattr(importlib.import_module(module), "EXPERIMENT", None)
    except Exception as error:  # a relative name, or any error of a user's module
        raise UserError(f"--experiment={name}: neither an experiment nor an importable module ({error})") from error
    if not isinstance(experiment, Experiment):
        raise UserError(f"--experiment={name}: {module} has no EXPERIMENT that trains members")
    return experiment, module


def shared_with_members(config: Flags) -> list[tuple[str, str]]:
    """Returns the flags of a study that its members share."""
    names = ("dtype", "matmul_precision", *(["score"] if config.values.get("score", "loss") != "loss" else []))
    return [(name, str(config.values[name])) for name in names]


def make_plan(config: Config) -> Plan:
    """Returns the plan of a study after checking all its flags.

    Raises:
      UserError: a flag is unknown or cannot vary, a range is malformed, or there are too many members.
    """
    experiment, module = find_experiment(config.experiment)
    given = {
        option: [argument_of_today(f"--{text}", experiment.flags)[2:] for text in config.values[option]]
        for option in ("set", "grid", "space")
    }
    fixed = [split_flag("set", text, "flag=value") for text in given["set"]]
    axes, ranges = [axis(text) for text in given["grid"]], [drawn_range(text) for text in given["space"]]
    for flag, _ in fixed:
        refuse(experiment, flag, "set")
    for flag in swept(axes, ranges):
        refuse(experiment, flag, "space" if flag in [r.flag for r in ranges] else "grid")
        if flag in dict(fixed):
            raise UserError(f"--{flag} is both set and varied")
    if bool(ranges) != bool(config.trials):
        raise UserError("--space and --trials belong together: where to draw from, and how often")
    if not axes and not ranges:
        raise UserError("nothing to vary: give --grid=flag=v1,v2 or --space=flag=log:lo:hi with --trials=N")
    own = points(axes, config.max_members)
    if len(own) * max(config.trials, 1) > config.max_members:
        raise UserError(f"{len(own) * config.trials:,} members: at most {config.max_members:,} (--max_members)")
    fixed += shared_with_members(config)
    config.criterion()  # raises its error now
    made = Plan(experiment, module, fixed, axes, ranges, own)
    _check(made, config)
    return made


def _check_names(plan: Plan, one: Member) -> None:
    """Makes a member's cell and optimiser and looks up its rule, so that wrong ones are refused before any is trained.

    Whether they suit the experiment is seen when the member is built.
    """
    given = one.config.values
    if "optimizer" in given:
        one.config.make_optimizer()
    if "rule" in given:
        _check_rule(given["rule"])
    flags = plan.experiment.flags
    ours = "cell" in flags and set(flags["cell"].default or ()) <= set(CELLS)  # else the script has cells of its own
    if ours:
        one.config.replace(num_layers=1).layers()


def _check_rule(name: str) -> None:
    """Looks up a rule, and refuses one that takes other arguments than a cell, an objective and a truncation."""
    rule = resolve("rule", name, RULES)
    try:
        with contextlib.suppress(ValueError):  # it has no signature to look at
            inspect.signature(rule).bind(None, None, 0)
    except TypeError as error:
        raise UserError(f"--rule={name}: {error}; a rule is a function of a cell, an objective and a number") from error


def _check(plan: Plan, config: Config) -> None:
    """Parses every member of a grid, or the ends of the space, and checks the flags of halving and populations."""
    ends = {r.flag: r.ends()[0] for r in plan.ranges}
    for i, own in enumerate(plan.points):
        one = plan.member(i, ends | own)
        _check_names(plan, one)
    for r in plan.ranges:
        for end in dict.fromkeys((*r.ends(), *r.drawn())):
            _check_names(plan, plan.member(0, {**ends, **own, r.flag: end}))
    every, steps = one.config.eval_every, one.config.num_steps
    if config.halving and (config.halving < 2 or not 0 < config.rung < steps or config.rung % every):
        raise UserError(
            f"--halving={config.halving} --rung={config.rung}: at least 2, and a rung that is a multiple of the "
            f"{every} steps between evaluations and below the {steps} of a whole run"
        )
    if config.rung and not config.halving:
        raise UserError(f"--rung={config.rung} needs --halving: without it all members train to the end")
    if config.halving and "num_steps" in plan.flags():
        raise UserError("--halving: all members have the same --num_steps")
    if config.pbt and (not plan.ranges or config.pbt % every or config.halving):
        raise UserError(
            f"--pbt={config.pbt}: needs --space with --trials, a multiple of the {every} steps between evaluations, "
            "and no --halving"
        )
    if config.pbt and 0 < config.member_batch < config.trials * len(plan.points):
        raise UserError(f"--member_batch={config.member_batch}: with --pbt all members are in memory at once")
