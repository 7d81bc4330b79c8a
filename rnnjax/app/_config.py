"""From flags to a frozen config, all of them checked together."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

from absl import flags

import rnnjax
from rnnjax import estimators, training
from rnnjax._deprecated import argument_of_today
from rnnjax.app import _registry as registry
from rnnjax.app._reports import REPORTS, Report
from rnnjax.base import Cell, UserError
from rnnjax.losses import Objective
from rnnjax.training._optimizers import DIRECTIONS

ARGUMENT = "cell_args."  # before the name of an argument of the cell
# Numbers that enter the compiled program as arguments: another value needs no compilation.
NUMBERS = ("learning_rate", "final_rate", "clip_norm", "weight_decay", "init_scale")


@dataclasses.dataclass(frozen=True)
class Config:
    """The flags of one run, by attribute; numbers among them may be tracers.

    Example:
      >>> config = Config({"delay": 100})
      >>> config.delay, config.replace(delay=200).delay
      (100, 200)
    """

    values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "values")[name]
        except KeyError:
            raise AttributeError(f"no flag --{name}") from None

    def replace(self, **changes: Any) -> Config:
        """The same config with some values changed or added."""
        return Config({**self.values, **changes})

    def numbers(self) -> dict[str, float]:
        """The values that are arguments of the compiled program, by name; "cell_args.forget_bias" is one of the cell's.

        Dropout is among them if there is any, and so is what the factory of the cell takes as a number.
        """
        plain = {name: float(self.values[name]) for name in NUMBERS if name in self.values}
        if self.values.get("dropout"):
            plain["dropout"] = float(self.dropout)
        return plain | {ARGUMENT + name: value for name, value in self.cell_numbers().items()}

    def cell_numbers(self) -> dict[str, float]:
        """The numbers among `--cell_args`; none where an experiment has cells of its own kind, such as a tree's."""
        given, known = registry.parse_arguments("cell_args", self.values.get("cell_args", "")), registry.cells()
        ours = self.cell in known or ":" in self.cell
        return registry.numeric_arguments(registry.resolve("cell", self.cell, known), given) if given and ours else {}

    def with_numbers(self, numbers: Mapping[str, Any]) -> Config:
        """The config with other numbers, perhaps tracers.

        Example:
          >>> config = Config({"cell": "lstm", "cell_args": "forget_bias=2.0", "learning_rate": 0.1})
          >>> config.numbers()
          {'learning_rate': 0.1, 'cell_args.forget_bias': 2.0}
          >>> config.with_numbers({"cell_args.forget_bias": 0.0}).cell_args
          {'forget_bias': 0.0}
        """
        plain = {name: value for name, value in numbers.items() if not name.startswith(ARGUMENT)}
        own = {name.removeprefix(ARGUMENT): value for name, value in numbers.items() if name.startswith(ARGUMENT)}
        if own:
            plain["cell_args"] = registry.parse_arguments("cell_args", self.cell_args) | own
        return self.replace(**plain)

    def layers(self) -> Cell:
        """`--num_layers` layers of `--cell`, dropout after each if there is any."""
        layer = registry.make_cell(self.cell, self.hidden_size, self.cell_args)
        return rnnjax.stack(*[layer, *self.noise()] * self.num_layers)

    def noise(self) -> list[Cell]:
        """Dropout as a layer, if there is any; its rate may be a tracer."""
        off = isinstance(self.dropout, (int, float)) and self.dropout == 0
        return [] if off else [rnnjax.dropout(self.dropout)]

    def make_optimizer(self) -> Any:
        """The optimiser that the flags describe."""
        direction = registry.resolve("optimizer", self.optimizer, DIRECTIONS)
        rate = training.decayed(self.learning_rate, self.schedule, self.num_steps, self.warmup_steps, self.final_rate)
        scales = _lr_scales(self.lr_scale)
        try:
            return training.optimizer(direction, rate, self.clip_norm, self.weight_decay, scales=scales)
        except (TypeError, ValueError) as error:
            raise UserError(f"--optimizer={self.optimizer}: {error}") from error

    def reports(self) -> dict[str, Report]:
        """What `--report` names, by those names."""
        return {name: registry.resolve("report", name, REPORTS) for name in self.report}

    def make_estimator(self, cell: Cell, objective: Objective) -> estimators.Estimator:
        """The gradient estimator that `--rule` and `--truncation` name."""
        rule = registry.resolve("rule", self.rule, estimators.RULES)
        if self.rule in estimators.RULES:
            return rule(cell, objective, self.truncation)
        try:
            made = rule(cell, objective, self.truncation)
        except (TypeError, ValueError) as error:
            raise UserError(f"--rule={self.rule}: {error}") from error
        if not isinstance(made, estimators.Estimator):
            raise UserError(f"--rule={self.rule} gives {type(made).__name__}, not a rnnjax.estimators.Estimator")
        return made


def _lr_scales(settings: list[str]) -> dict[str, float]:
    """`--lr_scale` settings: from `pattern=factor` to {pattern: factor}."""
    scales = {}
    for setting in settings:
        pattern, _, factor = setting.rpartition("=")
        try:
            scales[pattern] = float(factor)
            if not math.isfinite(scales[pattern]):
                raise ValueError("a finite factor, please")
            re.compile(pattern or "(")
        except (ValueError, re.error) as error:
            raise UserError(f"--lr_scale={setting}: write PATTERN=FACTOR, as in u$=0.1 ({error})") from error
    return scales


def parse(values: flags.FlagValues, argv: list[str]) -> Config:
    """The config that a command line gives, all flags checked together. The set of flags stays as it is.

    Raises:
      UserError: an unknown flag, a value out of range, an argument that is no flag.

    Example:
      >>> from rnnjax.app import common_flags
      >>> parse(common_flags(), ["copying.py", "--batch_size=64"]).batch_size
      64
    """
    return parse_into(copy.deepcopy(values), argv)


def parse_into(values: flags.FlagValues, argv: list[str]) -> Config:
    """The config that a command line gives. The values go into the set of flags: see `parse`."""
    try:
        rest = values([argv[0], *(argument_of_today(argument, values) for argument in argv[1:])])
    except (flags.Error, UnicodeError) as error:
        raise UserError(" ".join(str(error).split())) from error
    if rest[1:]:
        raise UserError(f"what is {rest[1]!r}? flags are written --name=value")
    _check_numbers(values)
    config = Config({name: values[name].value for name in values if name not in _HELP})
    if "hidden_size" not in values:
        return config
    chosen = values["hidden_size"].value != values["hidden_size"].default
    return config.replace(hidden_size=_sizes(config, chosen))


_LARGEST = {"seed": 2**32 - 1}  # of whole numbers; others have 31 bits


def allow_infinite(values: flags.FlagValues, *names: str) -> None:
    """Says that flags of this set take inf and nan, which all others refuse.

    Example:
      >>> values = flags.FlagValues()
      >>> _ = flags.DEFINE_float("limit", 1.0, "Of time.", flag_values=values)
      >>> allow_infinite(values, "limit")
      >>> parse(values, ["x", "--limit=inf"]).limit
      inf
    """
    for name in names:
        values[name].takes_infinite = True


def _check_numbers(values: flags.FlagValues) -> None:
    """Refuses what no number of a run can be: nan, inf, whole numbers beyond 31 bits, parts that leave nothing.

    Raises:
      UserError: so it is; the message names the flag.
    """
    for name in values:
        given = values[name].value
        for value in given if isinstance(given, list) else [given]:
            if isinstance(value, float) and not math.isfinite(value) and not hasattr(values[name], "takes_infinite"):
                raise UserError(f"--{name}={value}: a finite number, please")
            most = _LARGEST.get(name, 2**31 - 1)
            if isinstance(value, int) and not -(2**31) <= value <= most:
                raise UserError(f"--{name}={value}: at most {most:,}")
    parts = [values[name].value for name in ("valid", "test") if name in values]
    if len(parts) == 2 and all(isinstance(part, float) for part in parts) and sum(parts) >= 1:
        raise UserError(f"--valid={parts[0]:g} --test={parts[1]:g}: nothing is left to learn from")


_HELP = ("help", "helpfull", "helpshort", "?")


def _sizes(config: Config, chosen: bool = True) -> list[int]:
    """`--hidden_size`, one for each cell; where the user did not choose, the defaults go as far as they go."""
    try:
        numbers = [int(text) for text in config.hidden_size]
    except ValueError as error:  # of more than 4,300 digits too
        raise UserError(f"--hidden_size={','.join(config.hidden_size)}: whole numbers, please") from error
    n = len(config.cell)
    if not n or not all(config.cell):
        raise UserError(f"--cell={','.join(config.cell)}: names of cells, none of them empty")
    if max(map(abs, numbers), default=0) >= 2**31:
        raise UserError(f"--hidden_size={','.join(config.hidden_size)}: at most {2**31 - 1:,}")
    if not chosen:
        numbers = (numbers + numbers[-1:] * n)[:n]
    if not n or len(numbers) not in (1, n) or min(numbers) < 1:
        raise UserError(f"--hidden_size={','.join(config.hidden_size)}: one positive number, or one for each of "
                        f"the {n} cells")  # fmt: skip
    return numbers * n if len(numbers) == 1 else numbers


def run_configs(config: Config) -> list[Config]:
    """One config for each cell; in it `cell` and `hidden_size` are single.

    Example:
      >>> from rnnjax.app import common_flags
      >>> [(c.cell, c.hidden_size) for c in run_configs(parse(common_flags(), ["x", "--cell=lstm,gru"]))]
      [('lstm', 128), ('gru', 128)]
    """
    scales = config.values.get("lr_scale", [])
    return [
        config.replace(cell=cell, hidden_size=size, lr_scale=_of_cell(scales, cell, config.cell))
        for cell, size in zip(config.cell, config.hidden_size)
    ]


def _of_cell(settings: list[str], cell: str, cells: list[str]) -> list[str]:
    """The settings that are meant for a cell: those for all of them, and those that begin with its name.

    Example:
      >>> _of_cell(["u$=0.1", "urnn:h0=0"], "urnn", ["urnn", "lstm"]), _of_cell(["urnn:h0=0"], "lstm", ["urnn", "lstm"])
      (['u$=0.1', 'h0=0'], [])
    """
    others = tuple(f"{other}:" for other in cells if other != cell)
    return [s.removeprefix(f"{cell}:") for s in settings if not s.startswith(others)]
