"""Frozen configs: the flags of a launch and of a single run, and the parts of a run that depend on flags only."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, TypeVar

import jax

import rnnjax
from rnnjax import estimators, training
from rnnjax.app import _registry as registry
from rnnjax.app._refusals import refused_as
from rnnjax.app._reports import REPORTS, Report
from rnnjax.base import Cell, UserError
from rnnjax.credit import NotAdmitted
from rnnjax.losses import Criterion, Objective, criterion
from rnnjax.training._optimizers import DIRECTIONS
from rnnjax.wrappers import blocks

ARGUMENT = "cell_args."  # prefix of the name of a cell argument
# Numbers that are arguments of the compiled program: another value does not recompile it.
NUMBERS = ("learning_rate", "final_rate", "clip_norm", "weight_decay", "init_scale")


_Number = float | jax.Array  # a plain number, or a tracer while a program is compiled
_Self = TypeVar("_Self", bound="Flags")


@dataclasses.dataclass(frozen=True)
class Flags:
    """The values of flags as attributes.

    Attributes:
      values: of the flags, by name.
      overrides: numbers that replace values and may be tracers. "cell_args.forget_bias" is an argument of the cell.

    Example:
      >>> given = Flags({"delay": 100})
      >>> given.delay, given.replace(delay=200).delay
      (100, 200)
    """

    values: Mapping[str, Any]
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        for known in (object.__getattribute__(self, "overrides"), object.__getattribute__(self, "values")):
            if name in known:
                return known[name]
        raise AttributeError(f"no flag --{name}")

    def replace(self: _Self, **changes: Any) -> _Self:
        """Returns the flags with some values changed; overrides of these values are dropped."""
        kept = {name: value for name, value in self.overrides.items() if name.split(".")[0] not in changes}
        return dataclasses.replace(self, values={**self.values, **changes}, overrides=kept)

    def criterion(self) -> Criterion:
        """Returns the metric of `--score` and its direction."""
        text = self.values.get("score") or "loss"
        try:
            return criterion(text)
        except ValueError as error:
            raise UserError(f"--score={text}: {error}") from error


class LaunchConfig(Flags):
    """The flags of a launch as given: several cells, with a hidden size for each. See `run_configs`."""

    cell: list[str]
    hidden_size: list[int]


class Config(Flags):
    """The flags of one run: a single cell and its hidden size. The flags that all experiments share are typed.

    Example:
      >>> config = Config({"cell": "lstm", "cell_args": "forget_bias=2.0", "learning_rate": 0.1})
      >>> config.numbers()
      {'learning_rate': 0.1, 'cell_args.forget_bias': 2.0}
      >>> config.with_numbers({"cell_args.forget_bias": 0.0}).cell_arguments()
      {'forget_bias': 0.0}
    """

    cell: str
    hidden_size: int
    num_layers: int
    block: str
    cell_args: str
    dropout: _Number
    init_scale: _Number
    rule: str
    truncation: int
    optimizer: str
    ema: _Number
    accumulate: int
    score: str
    find_lr: bool
    learning_rate: _Number
    horizon: int
    schedule: str
    final_rate: _Number
    warmup_steps: int
    clip_norm: _Number
    weight_decay: _Number
    lr_scale: list[str]
    batch_size: int
    num_steps: int
    patience: int
    dtype: str
    matmul_precision: str
    seed: int
    workdir: str
    picture: str
    compilation_cache: str
    data_dir: str
    encoding: str
    log_every: int
    eval_every: int
    eval_batches: int
    report: list[str]
    plot: list[str]
    analyse: bool
    describe: bool
    checkpoint_every: int
    keep_checkpoints: int
    start_from: str
    start_partial: bool
    allow_other_code: bool
    writers: list[str]
    devices: int | str
    coordinator: str
    num_processes: int
    process_id: int
    lost_after: int
    profile: bool
    debug_nans: bool

    def numbers(self) -> dict[str, float]:
        """Returns the values that are arguments of the compiled program, by name.

        They include nonzero rates of dropout and of the average, and the numeric arguments of the cell's factory.
        """
        plain = {name: float(self.values[name]) for name in NUMBERS if name in self.values}
        plain |= {name: float(self.values[name]) for name in ("dropout", "ema") if self.values.get(name)}
        return plain | {ARGUMENT + name: value for name, value in self.cell_numbers().items()}

    def cell_numbers(self) -> dict[str, float]:
        """Returns the numbers in `--cell_args`; empty for experiments with their own kinds of cell, such as trees."""
        given, known = registry.parse_arguments("cell_args", self.values.get("cell_args", "")), registry.CELLS
        ours = self.cell in known or ":" in self.cell
        return registry.numeric_arguments(registry.resolve("cell", self.cell, known), given) if given and ours else {}

    def with_numbers(self, numbers: Mapping[str, Any]) -> Config:
        """Returns the config with numbers, which may be tracers, in place of some of its values."""
        return dataclasses.replace(self, overrides={**self.overrides, **numbers})

    def cell_arguments(self) -> dict[str, Any]:
        """Returns `--cell_args` by name, for the factory of the cell."""
        own = {n.removeprefix(ARGUMENT): value for n, value in self.overrides.items() if n.startswith(ARGUMENT)}
        return registry.parse_arguments("cell_args", self.cell_args) | own

    def without(self, numbers: Collection[str]) -> Hashable:
        """Returns all values except some numbers: configs with equal results share one compiled program.

        Example:
          >>> a, b = (Config({"delay": 9, "learning_rate": rate}) for rate in (0.1, 0.2))
          >>> a.without(["learning_rate"]) == b.without(["learning_rate"])
          True
        """
        rest = {name: value for name, value in self.values.items() if name not in numbers}
        if any(name.startswith(ARGUMENT) for name in numbers):
            own = registry.parse_arguments("cell_args", self.cell_args)
            rest["cell_args"] = {name: value for name, value in own.items() if ARGUMENT + name not in numbers}
        return _hashable(rest)

    def layers(self) -> Cell:
        """Returns `--num_layers` layers of `--cell`: each followed by dropout if there is any, or each in a block."""
        if self._plain():
            return rnnjax.stack(*[self.layer(self.hidden_size), *self.noise()] * self.num_layers)
        return blocks(self.block, self.layer, self.hidden_size, self.num_layers, self.dropout)

    def layer(self, units: int) -> Cell:
        """Returns one layer of `--cell`; in a block without its first linear map, which the block has itself."""
        given = self.cell_arguments()
        factory = registry.resolve("cell", self.cell, registry.CELLS)
        if not self._plain() and "input_map" in registry.parameters(factory):
            given = {"input_map": False} | given
        return registry.make_cell(self.cell, units, given)

    def _plain(self) -> bool:
        """Returns whether there is nothing around a layer; so it was before there was `--block`."""
        return bool(self.values.get("block", "plain") == "plain")

    def single_layer(self, units: int | None = None) -> Cell:
        """Returns one layer of `--cell`, for networks that put their own things around each layer.

        Raises:
          UserError: `--block` asks for more than the layer.
        """
        if not self._plain():
            raise UserError(f"--block={self.block}: this network is made of plain layers")
        return self.layer(self.hidden_size if units is None else units)

    def noise(self) -> list[Cell]:
        """Returns dropout as a list of one layer, or an empty list; the rate may be a tracer."""
        off = isinstance(self.dropout, (int, float)) and self.dropout == 0
        return [] if off else [rnnjax.dropout(self.dropout)]

    def make_schedule(self) -> Callable[[jax.Array], jax.Array]:
        """Returns the learning rate of each step."""
        steps = self.values.get("horizon") or self.num_steps
        return training.decayed(self.learning_rate, self.schedule, steps, self.warmup_steps, self.final_rate)

    def make_optimizer(self, schedule: Callable[[jax.Array], jax.Array] | None = None) -> Any:
        """Returns the optimiser that the flags describe, or one with another schedule and no average."""
        direction, rate = registry.resolve("optimizer", self.optimizer, DIRECTIONS), schedule or self.make_schedule()
        scales = _lr_scales(self.lr_scale)
        try:
            made = training.optimizer(direction, rate, self.clip_norm, self.weight_decay, scales=scales)
        except (TypeError, ValueError) as error:
            raise UserError(f"--optimizer={self.optimizer}: {error}") from error
        made = made._replace(init=_refusing(made.init, f"--lr_scale={' '.join(self.lr_scale)}", ValueError))
        return made if schedule or not self.values.get("ema") else training.average_params(made, self.ema)

    def reports(self) -> dict[str, Report]:
        """Returns the reports of `--report` by name."""
        return {name: registry.resolve("report", name, REPORTS) for name in self.report}

    def make_estimator(self, cell: Cell, objective: Objective) -> estimators.Estimator:
        """Returns the gradient estimator of `--rule` and `--truncation`."""
        rule = registry.resolve("rule", self.rule, estimators.RULES)
        try:
            made = rule(cell, objective, self.truncation)
        except (TypeError, ValueError) as error:
            raise UserError(f"--rule={self.rule} --truncation={self.truncation}: {error}") from error
        if not isinstance(made, estimators.Estimator):
            raise UserError(f"--rule={self.rule} gives {type(made).__name__}, not a rnnjax.estimators.Estimator")
        return made._replace(init=_refusing(made.init, f"--rule={self.rule}", NotAdmitted))


def _refusing(f: Callable[..., Any], flag: str, error: type[Exception]) -> Callable[..., Any]:
    """Returns f with errors of one kind turned into a `UserError` that names the flag."""

    def named(*args: Any) -> Any:
        with refused_as(f"{flag}: ", (error,)):
            return f(*args)

    return named


def _hashable(value: Any) -> Hashable:
    """Returns a flag value of dicts, lists and scalars as nested tuples, in which True, 1 and 1.0 differ."""
    if isinstance(value, Mapping):
        return tuple((name, _hashable(value[name])) for name in sorted(value))
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(v) for v in value)
    return type(value).__name__, value


def _lr_scales(settings: list[str]) -> dict[str, float]:
    """Parses the `--lr_scale` settings, `pattern=factor`, into {pattern: factor}."""
    scales = {}
    for setting in settings:
        pattern, _, factor = setting.rpartition("=")
        try:
            scales[pattern] = float(factor)
            if not math.isfinite(scales[pattern]):
                raise ValueError("the factor must be finite")
            re.compile(pattern or "(")
        except (ValueError, re.error) as error:
            raise UserError(f"--lr_scale={setting}: write PATTERN=FACTOR, as in u$=0.1 ({error})") from error
    return scales
