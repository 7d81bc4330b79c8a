"""The sets of flags that experiments and studies have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from absl import flags

from rnnjax import estimators
from rnnjax.app._reports import REPORTS
from rnnjax.training._optimizers import DIRECTIONS


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
      >>> from rnnjax.app import parse
      >>> config = parse(FLAGS, ["copying.py", "--delay=200"])
      >>> config.cell, config.delay
      (['gru'], 200)
    """
    return _defined((*_MODEL, *_LEARNING, *_RUN), defaults)


def study_flags(network: bool = True, **defaults: Any) -> flags.FlagValues:
    """The flags of a script that is no training run: those of the network, the seed and the workdir.

    Args:
      network: whether there is a network to choose.
      **defaults: other defaults, by name.

    Raises:
      KeyError: a default for no flag.

    Example:
      >>> from rnnjax.app import parse
      >>> parse(study_flags(cell="vanilla"), ["audit.py", "--seed=3"]).seed
      3
    """
    return _defined((*_MODEL, *_PLACE) if network else _PLACE, defaults)


def _defined(rows: tuple[_Define, ...], defaults: dict[str, Any]) -> flags.FlagValues:
    """A new set of flags, some of them with other defaults."""
    values = flags.FlagValues()
    for define in rows:
        define(values)
    for name, value in defaults.items():
        values.set_default(name, value)
    return values


_Define = Callable[[flags.FlagValues], Any]  # defines one flag in a set


def _list(name: str, default: list[str]) -> _Define:
    """Texts between commas."""
    return lambda v: flags.DEFINE_list(name, default, _HELP[name], flag_values=v)


def _many(name: str, default: list[str]) -> _Define:
    """A text; the flag may be repeated."""
    return lambda v: flags.DEFINE_multi_string(name, default, _HELP[name], flag_values=v)


def _text(name: str, default: str) -> _Define:
    """A text."""
    return lambda v: flags.DEFINE_string(name, default, _HELP[name], flag_values=v)


def _one_of(name: str, default: str, choices: list[str]) -> _Define:
    """One of some texts."""
    return lambda v: flags.DEFINE_enum(name, default, choices, _HELP[name], flag_values=v)


def _switch(name: str, default: bool) -> _Define:
    """Yes or no."""
    return lambda v: flags.DEFINE_boolean(name, default, _HELP[name], flag_values=v)


def _whole(name: str, default: int, least: int) -> _Define:
    """A whole number, not below the least."""
    return lambda v: flags.DEFINE_integer(name, default, _HELP[name], least, flag_values=v)


def _number(name: str, default: float, least: float, most: float | None = None) -> _Define:
    """A number within limits."""
    return lambda v: flags.DEFINE_float(name, default, _HELP[name], least, most, flag_values=v)


# Of the network.
_MODEL = (
    _list("cell", ["lstm"]),
    _list("hidden_size", ["128"]),
    _whole("num_layers", 1, least=1),
    _text("cell_args", ""),
    _number("dropout", 0.0, least=0.0, most=0.999),
)

# Of the start, the gradient and the optimiser.
_LEARNING = (
    _number("init_scale", 1.0, least=0.0),
    _text("start_from", ""),
    _switch("start_partial", False),
    _text("rule", "bptt"),
    _whole("truncation", 0, least=0),
    _text("optimizer", "adam"),
    _number("learning_rate", 1e-3, least=0.0),
    _one_of("schedule", "constant", ["constant", "linear", "cosine", "exponential"]),
    _number("final_rate", 0.1, least=0.0),
    _whole("warmup_steps", 0, least=0),
    _number("clip_norm", 1.0, least=0.0),
    _number("weight_decay", 0.0, least=0.0),
    _many("lr_scale", []),
    _whole("batch_size", 64, least=1),
    _whole("num_steps", 1000, least=1),
    _whole("patience", 0, least=0),
)

# Of anything that runs: its numbers, its seed, and where it lives.
_PLACE = (
    _one_of("dtype", "float32", ["float32", "bfloat16", "float64"]),
    _one_of("matmul_precision", "default", ["default", "high", "highest"]),
    _whole("seed", 0, least=0),
    _text("workdir", ""),
    _switch("allow_other_code", False),
    _one_of("picture", "png", ["png", "pdf", "svg"]),
    _text("compilation_cache", ""),
)

# Of the devices and processes that a run is shared out over.
_DEVICES = (
    _whole("devices", 0, least=0),
    _text("coordinator", ""),
    _whole("num_processes", 0, least=0),
    _whole("process_id", -1, least=-1),
    _whole("lost_after", 100, least=1),
)

# Of a training run: how long, how often, where.
_RUN = (
    *_PLACE,
    _text("data_dir", os.environ.get("RNNJAX_DATA", "")),
    _text("encoding", "utf-8"),
    _whole("log_every", 20, least=1),
    _whole("eval_every", 100, least=1),
    _whole("eval_batches", 10, least=1),
    _list("report", []),
    _switch("analyse", False),
    _whole("checkpoint_every", 500, least=1),
    _whole("keep_checkpoints", 3, least=1),
    _list("writers", ["jsonl", "tensorboard"]),
    *_DEVICES,
    _switch("profile", False),
    _switch("debug_nans", False),
)

# What `--help` says of each.
_HELP = {
    "cell": "Recurrent layer: a name in rnnjax (lstm, gru, vanilla, urnn, ...) or an import "
    "path (mylab.cells:leaky). Several, comma-separated, are trained one after another and compared.",
    "hidden_size": "Units of each layer: one number, or one for each --cell.",
    "num_layers": "Recurrent layers, one on another.",
    "cell_args": "Further arguments of the cell, as in forget_bias=2.0,layer_norm=True.",
    "dropout": "Rate of dropout between layers, in [0, 1).",
    "init_scale": "Factor on all initial parameters of the network.",
    "start_from": "RUN, RUN:last or RUN:STEP: the folder of a run whose parameters, the best ones, this run starts "
    "from, each by its name and shape.",
    "start_partial": "Draw anew what --start_from has not, or has in another shape.",
    "rule": f"How the gradient is estimated: {', '.join(estimators.RULES)}, or an import path. tbptt, sliding_tbptt, "
    "pes "
    "and nres need --truncation.",
    "truncation": "Steps a truncated gradient looks back at most; 0: all.",
    "optimizer": f"One of {', '.join(sorted(DIRECTIONS))}, or an import path to a function "
    "that gives an optax transformation: a direction, as optax:scale_by_yogi, or a full optimiser, as optax:yogi, "
    "which is given --learning_rate if it needs one, and else keeps its own.",
    "learning_rate": "Peak learning rate.",
    "schedule": "How the learning rate goes from its peak to final_rate times that.",
    "final_rate": "Last learning rate as a fraction of the peak; not used by constant.",
    "warmup_steps": "Steps of linear warm-up.",
    "clip_norm": "Largest global norm of the gradient; 0: no limit.",
    "weight_decay": "Decoupled weight decay, times the learning rate; not on biases and gains.",
    "lr_scale": "PATTERN=FACTOR: scales the learning rate of the parameters whose name matches the "
    "regular expression; 0 freezes them. CELL:PATTERN=FACTOR: for one of several --cell. May be repeated.",
    "batch_size": "Examples a step.",
    "num_steps": "Updates in the whole run.",
    "patience": "Stop after so many evaluations without a better validation loss; 0: never.",
    "dtype": "What the network computes in; parameters are kept in float32 at least.",
    "matmul_precision": "Precision of matrix products in float32 where the hardware offers a choice.",
    "seed": "Seed of everything random in the run.",
    "workdir": "Where the run lives; started again there, it resumes. Default: under runs/, named after the flags.",
    "allow_other_code": "Go on with a run though its code was edited after it began.",
    "picture": "Format of curves and other pictures of the run.",
    "compilation_cache": "Folder that keeps compiled programs from one run to the next; empty: in the user's cache "
    "folder; off: none.",
    "devices": "Devices that share out each batch; where there is only a CPU, so many of its cores: networks of up "
    "to some "
    "200 units are then 1.2 to 1.7 times as fast. 0: one, or all of all processes where there is a --coordinator.",
    "coordinator": "HOST:PORT of process 0, where several processes train one run; auto or slurm: JAX finds all of "
    "it in the "
    "environment. Default: this process alone.",
    "num_processes": "How many processes, with --coordinator=HOST:PORT.",
    "process_id": "Which of them this is, from 0; 0 leads and writes.",
    "lost_after": "Seconds without a word after which another process counts as lost.",
    "data_dir": "Where data sets lie. Default: $RNNJAX_DATA.",
    "encoding": "Of texts without a byte order mark: latin-1, cp1252.",
    "log_every": "Steps between lines of metrics.jsonl.",
    "eval_every": "Steps between evaluations.",
    "eval_batches": "Batches of each evaluation, where the data set does not set it.",
    "report": f"What else to say at each evaluation: {', '.join(REPORTS)} (norms of d h_T / d h_t over the whole "
    "window and "
    "half of it), or an import path to a function (cell, params, x) -> {name: number}.",
    "analyse": "Draw, for one sequence, the trained network beside the untrained one: how gradients flow and under "
    "which "
    "bound, singular values of d h_T / d h_t, eigenvalues in the complex plane. A run that has ended can be "
    "started again with it.",
    "checkpoint_every": "Steps between checkpoints.",
    "keep_checkpoints": "How many checkpoints are kept.",
    "writers": "Where metrics go: jsonl, tensorboard, wandb, mlflow.",
    "profile": "Write a trace of a quarter of a second, which TensorBoard opens, to profile/ in the workdir.",
    "debug_nans": "Go step by step, and name the step and the value at which nan or inf appears; slow.",
}
