"""The common flags, and the frozen config made of them."""

from __future__ import annotations

import copy
import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

from absl import flags

import rnnjax
from rnnjax import estimators, optimizers
from rnnjax.app import names
from rnnjax.app.reports import REPORTS, Report
from rnnjax.base import Cell
from rnnjax.errors import UserError
from rnnjax.losses import Objective

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
        given, known = names.arguments("cell_args", self.values.get("cell_args", "")), names.cells()
        ours = self.cell in known or ":" in self.cell
        return names.numbers(names.resolve("cell", self.cell, known), given) if given and ours else {}

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
            plain["cell_args"] = names.arguments("cell_args", self.cell_args) | own
        return self.replace(**plain)

    def layers(self) -> Cell:
        """`--num_layers` layers of `--cell`, dropout after each if there is any."""
        layer = names.make_cell(self.cell, self.hidden_size, self.cell_args)
        return rnnjax.stack(*[layer, *self.noise()] * self.num_layers)

    def noise(self) -> list[Cell]:
        """Dropout as a layer, if there is any; its rate may be a tracer."""
        off = isinstance(self.dropout, (int, float)) and self.dropout == 0
        return [] if off else [rnnjax.dropout(self.dropout)]

    def make_optimizer(self) -> Any:
        """The optimiser that the flags describe."""
        direction = names.resolve("optimizer", self.optimizer, optimizers.DIRECTIONS)
        rate = optimizers.decayed(self.learning_rate, self.schedule, self.num_steps, self.warmup_steps, self.final_rate)
        scales = lr_scales(self.lr_scale)
        try:
            return optimizers.optimizer(direction, rate, self.clip_norm, self.weight_decay, scales=scales)
        except (TypeError, ValueError) as error:
            raise UserError(f"--optimizer={self.optimizer}: {error}") from error

    def reports(self) -> list[Report]:
        """What `--report` names."""
        return [names.resolve("report", name, REPORTS) for name in self.report]

    def make_estimator(self, cell: Cell, objective: Objective) -> estimators.Estimator:
        """The gradient estimator that `--rule` and `--window` name."""
        return names.resolve("rule", self.rule, estimators.RULES)(cell, objective, self.window)


def lr_scales(settings: list[str]) -> dict[str, float]:
    """`--lr_scale` settings: from `pattern=factor` to {pattern: factor}."""
    scales = {}
    for setting in settings:
        pattern, _, factor = setting.rpartition("=")
        try:
            scales[pattern] = float(factor)
            re.compile(pattern or "(")
        except (ValueError, re.error) as error:
            raise UserError(f"--lr_scale={setting}: write PATTERN=FACTOR, as in u$=0.1 ({error})") from error
    return scales


def common_flags(**defaults: Any) -> flags.FlagValues:
    """The flags that every experiment has, as a new set to which it adds its own.

    Args:
      **defaults: other defaults, by name.

    Raises:
      KeyError: a default for no flag.

    Example:
      >>> from absl import flags
      >>> FLAGS = common_flags(cell="gru", batch_size=32)
      >>> _ = flags.DEFINE_integer("delay", 100, "Steps to remember.", lower_bound=1, flag_values=FLAGS)
      >>> config = parse(FLAGS, ["copying.py", "--delay=200"])
      >>> config.cell, config.delay
      (['gru'], 200)
    """
    values = flags.FlagValues()
    define_model(values)
    define_learning(values)
    define_run(values)
    for name, value in defaults.items():
        values.set_default(name, value)
    return values


def define_model(v: flags.FlagValues) -> None:
    """Flags of the network."""
    flags.DEFINE_list(
        "cell",
        ["lstm"],
        "Recurrent layer: a name in rnnjax (lstm, gru, vanilla, urnn, ...) or an import "
        "path (mylab.cells:leaky). Several, comma-separated, are trained one after another and compared.",
        flag_values=v,
    )
    flags.DEFINE_list("hidden_size", ["128"], "Units of each layer: one number, or one for each --cell.", flag_values=v)
    flags.DEFINE_integer("num_layers", 1, "Recurrent layers, one on another.", lower_bound=1, flag_values=v)
    flags.DEFINE_string(
        "cell_args", "", "Further arguments of the cell, as in forget_bias=2.0,layer_norm=True.", flag_values=v
    )
    flags.DEFINE_float(
        "dropout", 0.0, "Rate of dropout between layers, in [0, 1).", lower_bound=0.0, upper_bound=0.999, flag_values=v
    )


def define_learning(v: flags.FlagValues) -> None:
    """Flags of the start, the gradient and the optimiser."""
    flags.DEFINE_float(
        "init_scale", 1.0, "Factor on all initial parameters of the network.", lower_bound=0.0, flag_values=v
    )
    flags.DEFINE_string(
        "rule",
        "bptt",
        f"How the gradient is estimated: {', '.join(estimators.RULES)}, or an import path. tbptt, lookback, pes and "
        "nres need --window.",
        flag_values=v,
    )
    flags.DEFINE_integer(
        "window", 0, "Steps a truncated gradient looks back at most; 0: all.", lower_bound=0, flag_values=v
    )
    flags.DEFINE_string(
        "optimizer",
        "adam",
        f"One of {', '.join(sorted(optimizers.DIRECTIONS))}, or an import path to a function "
        "that gives an optax transformation: a direction, as optax:scale_by_yogi, or a full optimiser, as optax:yogi, "
        "which is given --learning_rate if it needs one, and else keeps its own.",
        flag_values=v,
    )
    flags.DEFINE_float("learning_rate", 1e-3, "Peak learning rate.", lower_bound=0.0, flag_values=v)
    flags.DEFINE_enum(
        "schedule",
        "constant",
        ["constant", "linear", "cosine", "exponential"],
        "How the learning rate goes from its peak to final_rate times that.",
        flag_values=v,
    )
    flags.DEFINE_float(
        "final_rate",
        0.1,
        "Last learning rate as a fraction of the peak; not used by constant.",
        lower_bound=0.0,
        flag_values=v,
    )
    flags.DEFINE_integer("warmup_steps", 0, "Steps of linear warm-up.", lower_bound=0, flag_values=v)
    flags.DEFINE_float(
        "clip_norm", 1.0, "Largest global norm of the gradient; 0: no limit.", lower_bound=0.0, flag_values=v
    )
    flags.DEFINE_float(
        "weight_decay",
        0.0,
        "Decoupled weight decay, times the learning rate; not on biases and gains.",
        lower_bound=0.0,
        flag_values=v,
    )
    flags.DEFINE_multi_string(
        "lr_scale",
        [],
        "PATTERN=FACTOR: scales the learning rate of the parameters whose name matches the "
        "regular expression; 0 freezes them. CELL:PATTERN=FACTOR: for one of several --cell. May be repeated.",
        flag_values=v,
    )
    flags.DEFINE_integer("batch_size", 64, "Examples a step.", lower_bound=1, flag_values=v)
    flags.DEFINE_integer("num_steps", 1000, "Updates in the whole run.", lower_bound=1, flag_values=v)
    flags.DEFINE_integer(
        "patience",
        0,
        "Stop after so many evaluations without a better validation loss; 0: never.",
        lower_bound=0,
        flag_values=v,
    )


def study_flags(network: bool = True, **defaults: Any) -> flags.FlagValues:
    """The flags of a script that is no training run: those of the network, the seed and the workdir.

    Args:
      network: whether there is a network to choose.
      **defaults: other defaults, by name.

    Raises:
      KeyError: a default for no flag.

    Example:
      >>> parse(study_flags(cell="vanilla"), ["audit.py", "--seed=3"]).seed
      3
    """
    values = flags.FlagValues()
    if network:
        define_model(values)
    define_place(values)
    for name, value in defaults.items():
        values.set_default(name, value)
    return values


def define_place(v: flags.FlagValues) -> None:
    """Flags of anything that runs: its numbers, its seed, and where it lives."""
    flags.DEFINE_enum(
        "dtype",
        "float32",
        ["float32", "bfloat16", "float64"],
        "What the network computes in; parameters are kept in float32 at least.",
        flag_values=v,
    )
    flags.DEFINE_enum(
        "matmul_precision",
        "default",
        ["default", "high", "highest"],
        "Precision of matrix products in float32 where the hardware offers a choice.",
        flag_values=v,
    )
    flags.DEFINE_integer("seed", 0, "Seed of everything random in the run.", lower_bound=0, flag_values=v)
    flags.DEFINE_string(
        "workdir",
        "",
        "Where the run lives; started again there, it resumes. Default: under runs/, named after the flags.",
        flag_values=v,
    )
    flags.DEFINE_enum(
        "picture", "png", ["png", "pdf", "svg"], "Format of curves and other pictures of the run.", flag_values=v
    )
    flags.DEFINE_string(
        "compilation_cache",
        "",
        "Folder that keeps compiled programs from one run to the next; empty: in the user's cache folder; off: none.",
        flag_values=v,
    )


def define_run(v: flags.FlagValues) -> None:
    """Flags of the run: how long, how often, where."""
    define_place(v)
    flags.DEFINE_string(
        "data_dir", os.environ.get("RNNJAX_DATA", ""), "Where data sets lie. Default: $RNNJAX_DATA.", flag_values=v
    )
    flags.DEFINE_string("encoding", "utf-8", "Of texts without a byte order mark: latin-1, cp1252.", flag_values=v)
    flags.DEFINE_integer("log_every", 20, "Steps between lines of metrics.jsonl.", lower_bound=1, flag_values=v)
    flags.DEFINE_integer("eval_every", 100, "Steps between evaluations.", lower_bound=1, flag_values=v)
    flags.DEFINE_integer(
        "eval_batches",
        10,
        "Batches of each evaluation, where the data set does not set it.",
        lower_bound=1,
        flag_values=v,
    )
    flags.DEFINE_list(
        "report",
        [],
        f"What else to say at each evaluation: {', '.join(REPORTS)} (norms of d h_T / d h_t over the whole window and "
        "half of it), or an import path to a function (cell, params, x) -> {name: number}.",
        flag_values=v,
    )
    flags.DEFINE_boolean(
        "analyse",
        False,
        "Draw, for one sequence, the trained network beside the untrained one: how gradients flow and under which "
        "bound, singular values of d h_T / d h_t, eigenvalues in the complex plane. A run that has ended can be "
        "started again with it.",
        flag_values=v,
    )
    flags.DEFINE_integer("checkpoint_every", 500, "Steps between checkpoints.", lower_bound=1, flag_values=v)
    flags.DEFINE_integer("keep_checkpoints", 3, "How many checkpoints are kept.", lower_bound=1, flag_values=v)
    flags.DEFINE_list(
        "writers", ["jsonl", "tensorboard"], "Where metrics go: jsonl, tensorboard, wandb, mlflow.", flag_values=v
    )
    define_devices(v)
    flags.DEFINE_boolean(
        "profile",
        False,
        "Write a trace of a quarter of a second, which TensorBoard opens, to profile/ in the workdir.",
        flag_values=v,
    )
    flags.DEFINE_boolean(
        "debug_nans",
        False,
        "Go step by step, and name the step and the value at which nan or inf appears; slow.",
        flag_values=v,
    )


def define_devices(v: flags.FlagValues) -> None:
    """Flags of the devices and the processes that a run is shared out over."""
    flags.DEFINE_integer(
        "devices",
        0,
        "Devices that share out each batch; where there is only a CPU, so many of its cores: networks of up to some "
        "200 units are then 1.2 to 1.7 times as fast. 0: one, or all of all processes where there is a --coordinator.",
        lower_bound=0,
        flag_values=v,
    )
    flags.DEFINE_string(
        "coordinator",
        "",
        "HOST:PORT of process 0, where several processes train one run; auto or slurm: JAX finds all of it in the "
        "environment. Default: this process alone.",
        flag_values=v,
    )
    flags.DEFINE_integer("num_processes", 0, "How many processes, with --coordinator=HOST:PORT.", 0, flag_values=v)
    flags.DEFINE_integer("process_id", -1, "Which of them this is, from 0; 0 leads and writes.", -1, flag_values=v)
    flags.DEFINE_integer(
        "lost_after", 100, "Seconds without a word after which another process counts as lost.", 1, flag_values=v
    )


def parse(values: flags.FlagValues, argv: list[str]) -> Config:
    """The config that a command line gives, all flags checked together. The set of flags stays as it is.

    Raises:
      UserError: an unknown flag, a value out of range, an argument that is no flag.

    Example:
      >>> parse(common_flags(), ["copying.py", "--batch_size=64"]).batch_size
      64
    """
    return take(copy.deepcopy(values), argv)


def take(values: flags.FlagValues, argv: list[str]) -> Config:
    """The config that a command line gives. The values go into the set of flags: see `parse`."""
    try:
        rest = values(argv)
    except flags.Error as error:
        raise UserError(" ".join(str(error).split())) from error
    if rest[1:]:
        raise UserError(f"what is {rest[1]!r}? flags are written --name=value")
    config = Config({name: values[name].value for name in values if name not in HELP})
    if "hidden_size" not in values:
        return config
    chosen = values["hidden_size"].value != values["hidden_size"].default
    return config.replace(hidden_size=sizes(config, chosen))


HELP = ("help", "helpfull", "helpshort", "?")


def sizes(config: Config, chosen: bool = True) -> list[int]:
    """`--hidden_size`, one for each cell; where the user did not choose, the defaults go as far as they go."""
    try:
        numbers = [int(text) for text in config.hidden_size]
    except ValueError as error:
        raise UserError(f"--hidden_size={','.join(config.hidden_size)}: whole numbers, please") from error
    n = len(config.cell)
    if not chosen:
        numbers = (numbers + numbers[-1:] * n)[:n]
    if not n or len(numbers) not in (1, n) or min(numbers) < 1:
        raise UserError(f"--hidden_size={','.join(config.hidden_size)}: one positive number, or one for each of "
                        f"the {n} cells")  # fmt: skip
    return numbers * n if len(numbers) == 1 else numbers


def runs(config: Config) -> list[Config]:
    """One config for each cell; in it `cell` and `hidden_size` are single.

    Example:
      >>> [(c.cell, c.hidden_size) for c in runs(parse(common_flags(), ["x", "--cell=lstm,gru"]))]
      [('lstm', 128), ('gru', 128)]
    """
    scales = config.values.get("lr_scale", [])
    return [
        config.replace(cell=cell, hidden_size=size, lr_scale=of_cell(scales, cell, config.cell))
        for cell, size in zip(config.cell, config.hidden_size)
    ]


def of_cell(settings: list[str], cell: str, cells: list[str]) -> list[str]:
    """The settings that are meant for a cell: those for all of them, and those that begin with its name.

    Example:
      >>> of_cell(["u$=0.1", "urnn:h0=0"], "urnn", ["urnn", "lstm"]), of_cell(["urnn:h0=0"], "lstm", ["urnn", "lstm"])
      (['u$=0.1', 'h0=0'], [])
    """
    others = tuple(f"{other}:" for other in cells if other != cell)
    return [s.removeprefix(f"{cell}:") for s in settings if not s.startswith(others)]
