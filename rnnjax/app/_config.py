"""From flags to a frozen config, all of them checked together."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import re
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, TypeVar

import jax
from absl import flags

import rnnjax
from rnnjax import estimators, training
from rnnjax._deprecated import argument_of_today
from rnnjax.app import _registry as registry
from rnnjax.app._reports import REPORTS, Report
from rnnjax.base import Cell, UserError
from rnnjax.credit import NotAdmitted
from rnnjax.losses import Objective
from rnnjax.training._optimizers import DIRECTIONS

ARGUMENT = "cell_args."  # before the name of an argument of the cell
# Numbers that enter the compiled program as arguments: another value needs no compilation.
NUMBERS = ("learning_rate", "final_rate", "clip_norm", "weight_decay", "init_scale")


_Number = float | jax.Array  # a plain number, or a tracer while a program is compiled
_Self = TypeVar("_Self", bound="Flags")


@dataclasses.dataclass(frozen=True)
class Flags:
    """The values of flags, by attribute.

    Attributes:
      values: of the flags, by name.
      overrides: numbers that stand in for values; they may be tracers. "cell_args.forget_bias" is one of the cell's.

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
        """The same flags with some values changed; whatever stood in for these goes."""
        kept = {name: value for name, value in self.overrides.items() if name.split(".")[0] not in changes}
        return dataclasses.replace(self, values={**self.values, **changes}, overrides=kept)


class LaunchConfig(Flags):
    """The flags of a launch as given: several cells, and a hidden size for each. See `run_configs`."""

    cell: list[str]
    hidden_size: list[int]


class Config(Flags):
    """The flags of one run: a single cell and its hidden size. Those that every experiment has are typed.

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
    cell_args: str
    dropout: _Number
    init_scale: _Number
    rule: str
    truncation: int
    optimizer: str
    learning_rate: _Number
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
    analyse: bool
    checkpoint_every: int
    keep_checkpoints: int
    writers: list[str]
    devices: int
    coordinator: str
    num_processes: int
    process_id: int
    lost_after: int
    profile: bool
    debug_nans: bool

    def numbers(self) -> dict[str, float]:
        """The values that are arguments of the compiled program, by name.

        Dropout is among them if there is any, and so is what the factory of the cell takes as a number.
        """
        plain = {name: float(self.values[name]) for name in NUMBERS if name in self.values}
        if self.values.get("dropout"):
            plain["dropout"] = float(self.values["dropout"])
        return plain | {ARGUMENT + name: value for name, value in self.cell_numbers().items()}

    def cell_numbers(self) -> dict[str, float]:
        """The numbers among `--cell_args`; none where an experiment has cells of its own kind, such as a tree's."""
        given, known = registry.parse_arguments("cell_args", self.values.get("cell_args", "")), registry.cells()
        ours = self.cell in known or ":" in self.cell
        return registry.numeric_arguments(registry.resolve("cell", self.cell, known), given) if given and ours else {}

    def with_numbers(self, numbers: Mapping[str, Any]) -> Config:
        """The config with numbers, perhaps tracers, in place of some of its values."""
        return dataclasses.replace(self, overrides={**self.overrides, **numbers})

    def cell_arguments(self) -> dict[str, Any]:
        """`--cell_args` by name, for the factory of the cell."""
        own = {n.removeprefix(ARGUMENT): value for n, value in self.overrides.items() if n.startswith(ARGUMENT)}
        return registry.parse_arguments("cell_args", self.cell_args) | own

    def without(self, numbers: Collection[str]) -> Hashable:
        """All values but some numbers: what configs must share to run in one compiled program.

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
        """`--num_layers` layers of `--cell`, dropout after each if there is any."""
        layer = registry.make_cell(self.cell, self.hidden_size, self.cell_arguments())
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
            made = training.optimizer(direction, rate, self.clip_norm, self.weight_decay, scales=scales)
        except (TypeError, ValueError) as error:
            raise UserError(f"--optimizer={self.optimizer}: {error}") from error
        return made._replace(init=_refusing(made.init, f"--lr_scale={' '.join(self.lr_scale)}", ValueError))

    def reports(self) -> dict[str, Report]:
        """What `--report` names, by those names."""
        return {name: registry.resolve("report", name, REPORTS) for name in self.report}

    def make_estimator(self, cell: Cell, objective: Objective) -> estimators.Estimator:
        """The gradient estimator that `--rule` and `--truncation` name."""
        rule = registry.resolve("rule", self.rule, estimators.RULES)
        try:
            made = rule(cell, objective, self.truncation)
        except (TypeError, ValueError) as error:
            raise UserError(f"--rule={self.rule} --truncation={self.truncation}: {error}") from error
        if not isinstance(made, estimators.Estimator):
            raise UserError(f"--rule={self.rule} gives {type(made).__name__}, not a rnnjax.estimators.Estimator")
        return made._replace(init=_refusing(made.init, f"--rule={self.rule}", NotAdmitted))


def _refusing(f: Callable[..., Any], flag: str, error: type[Exception]) -> Callable[..., Any]:
    """f, whose errors of a kind become a `UserError` that names the flag."""

    def named(*args: Any) -> Any:
        try:
            return f(*args)
        except error as refusal:
            raise UserError(f"{flag}: {refusal}") from refusal

    return named


def _hashable(value: Any) -> Hashable:
    """A value of flags, made of dicts, lists and plain values, as tuples; True, 1 and 1.0 stay three things."""
    if isinstance(value, Mapping):
        return tuple((name, _hashable(value[name])) for name in sorted(value))
    if isinstance(value, (list, tuple)):
        return tuple(_hashable(v) for v in value)
    return type(value).__name__, value


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


def parse(values: flags.FlagValues, argv: list[str]) -> LaunchConfig:
    """The flags that a command line gives, all flags checked together. The set of flags stays as it is.

    Raises:
      UserError: an unknown flag, a value out of range, an argument that is no flag.

    Example:
      >>> from rnnjax.app import common_flags
      >>> parse(common_flags(), ["copying.py", "--batch_size=64"]).batch_size
      64
    """
    return parse_into(copy.deepcopy(values), argv)


def parse_into(values: flags.FlagValues, argv: list[str]) -> LaunchConfig:
    """The flags that a command line gives. The values go into the set of flags: see `parse`."""
    try:
        rest = values([argv[0], *(argument_of_today(argument, values) for argument in argv[1:])])
    except (flags.Error, UnicodeError) as error:
        raise UserError(" ".join(str(error).split())) from error
    if rest[1:]:
        raise UserError(f"what is {rest[1]!r}? flags are written --name=value")
    _check_numbers(values)
    given = LaunchConfig({name: values[name].value for name in values if name not in _HELP})
    if "hidden_size" not in values:
        return given
    chosen = values["hidden_size"].value != values["hidden_size"].default
    return given.replace(hidden_size=_sizes(given.cell, values["hidden_size"].value, chosen))


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


def _sizes(cells: list[str], texts: list[str], chosen: bool) -> list[int]:
    """`--hidden_size`, one for each cell; where the user did not choose, the defaults go as far as they go."""
    n, flag = len(cells), f"--hidden_size={','.join(texts)}"
    try:
        numbers = [int(text) for text in texts]
    except ValueError as error:  # of more than 4,300 digits too
        raise UserError(f"{flag}: whole numbers, please") from error
    if not n or not all(cells):
        raise UserError(f"--cell={','.join(cells)}: names of cells, none of them empty")
    if max(map(abs, numbers), default=0) >= 2**31:
        raise UserError(f"{flag}: at most {2**31 - 1:,}")
    if not chosen:
        numbers = (numbers + numbers[-1:] * n)[:n]
    if len(numbers) not in (1, n) or min(numbers) < 1:
        raise UserError(f"{flag}: one positive number, or one for each of the {n} cells")
    return numbers * n if len(numbers) == 1 else numbers


def run_configs(given: LaunchConfig) -> list[Config]:
    """The runs of a launch, one for each cell; the flags of a script without a network give one config.

    Example:
      >>> from rnnjax.app import common_flags
      >>> [(c.cell, c.hidden_size) for c in run_configs(parse(common_flags(), ["x", "--cell=lstm,gru"]))]
      [('lstm', 128), ('gru', 128)]
    """
    if "cell" not in given.values:
        return [Config(given.values)]
    scales = given.values.get("lr_scale", [])
    return [
        Config({**given.values, "cell": cell, "hidden_size": size, "lr_scale": _of_cell(scales, cell, given.cell)})
        for cell, size in zip(given.cell, given.hidden_size)
    ]


def read_config(values: flags.FlagValues, workdir: str | os.PathLike[str]) -> Config:
    """The config of the run in a workdir, from the flags.cfg that it has there.

    Args:
      values: the flags of the experiment.
      workdir: of one run; where several cells were trained, each has a folder in it.

    Raises:
      UserError: there is no such file, or it has other flags or several cells.

    Example:
      >>> import pathlib, tempfile
      >>> from rnnjax.app import common_flags
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> _ = (folder / "flags.cfg").write_text("--cell=gru\\n--hidden_size=9\\n")
      >>> read_config(common_flags(), folder).hidden_size
      9
    """
    configs = run_configs(parse(values, ["flags.cfg", f"--flagfile={os.fspath(workdir)}/flags.cfg"]))
    if len(configs) > 1:
        names = ", ".join(config.cell for config in configs)
        raise UserError(f"{os.fspath(workdir)} has several runs ({names}): name the folder of one of them")
    return configs[0]


def _of_cell(settings: list[str], cell: str, cells: list[str]) -> list[str]:
    """The settings that are meant for a cell: those for all of them, and those that begin with its name.

    Example:
      >>> _of_cell(["u$=0.1", "urnn:h0=0"], "urnn", ["urnn", "lstm"]), _of_cell(["urnn:h0=0"], "lstm", ["urnn", "lstm"])
      (['u$=0.1', 'h0=0'], [])
    """
    others = tuple(f"{other}:" for other in cells if other != cell)
    return [s.removeprefix(f"{cell}:") for s in settings if not s.startswith(others)]
