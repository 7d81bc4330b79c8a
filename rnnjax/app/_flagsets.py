"""The flags that experiments and studies share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from absl import flags

from rnnjax import estimators
from rnnjax.app._reports import REPORTS
from rnnjax.training._optimizers import DIRECTIONS
from rnnjax.wrappers import BLOCKS


def common_flags(**defaults: Any) -> flags.FlagValues:
    """Returns a new set of the flags that every experiment has, to which it adds its own.

    Args:
      **defaults: other default values, by name.

    Raises:
      KeyError: there is no such flag.

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
    """Returns the flags of a script that is not a training run: those of the network, the seed and the workdir.

    Args:
      network: whether the script has a network to choose.
      **defaults: other default values, by name.

    Raises:
      KeyError: there is no such flag.

    Example:
      >>> from rnnjax.app import parse
      >>> parse(study_flags(cell="vanilla"), ["audit.py", "--seed=3"]).seed
      3
    """
    return _defined((*_MODEL, *_PLACE) if network else _PLACE, defaults)


def _defined(rows: tuple[_Define, ...], defaults: dict[str, Any]) -> flags.FlagValues:
    """Returns a new set of flags, some of them with other defaults."""
    values = flags.FlagValues()
    for define in rows:
        define(values)
    for name, value in defaults.items():
        values.set_default(name, value)
    return values


_Define = Callable[[flags.FlagValues], Any]  # defines one flag in a set


def _list(name: str, default: list[str]) -> _Define:
    """A list of comma-separated strings."""
    return lambda v: flags.DEFINE_list(name, default, _HELP[name], flag_values=v)


def _multi_string(name: str, default: list[str]) -> _Define:
    """A string; the flag may be repeated."""
    return lambda v: flags.DEFINE_multi_string(name, default, _HELP[name], flag_values=v)


def _string(name: str, default: str) -> _Define:
    """A string."""
    return lambda v: flags.DEFINE_string(name, default, _HELP[name], flag_values=v)


def _one_of(name: str, default: str, choices: list[str]) -> _Define:
    """One of several strings."""
    return lambda v: flags.DEFINE_enum(name, default, choices, _HELP[name], flag_values=v)


def _switch(name: str, default: bool) -> _Define:
    """A boolean."""
    return lambda v: flags.DEFINE_boolean(name, default, _HELP[name], flag_values=v)


def _integer(name: str, default: int, least: int) -> _Define:
    """An integer of at least `least`."""
    return lambda v: flags.DEFINE_integer(name, default, _HELP[name], least, flag_values=v)


class _AutoOrWhole(flags.ArgumentParser):
    """Parses `auto`, or an integer that is not negative."""

    syntactic_help = "auto or a whole number"

    def parse(self, argument: Any) -> str | int:
        text = str(argument)
        if text != "auto" and not (text.isascii() and text.isdecimal()):
            raise ValueError("expected auto or a whole number, at least 0")
        return text if text == "auto" else int(text)

    def flag_type(self) -> str:
        return "auto or int"


def _auto_or_whole(name: str, default: str) -> _Define:
    """The word auto, or an integer of at least 0."""
    kind, written = _AutoOrWhole(), flags.ArgumentSerializer()
    return lambda v: flags.DEFINE(kind, name, default, _HELP[name], flag_values=v, serializer=written)


def _number(name: str, default: float, least: float, most: float | None = None) -> _Define:
    """A number within limits."""
    return lambda v: flags.DEFINE_float(name, default, _HELP[name], least, most, flag_values=v)


# The network.
_MODEL = (
    _list("cell", ["lstm"]),
    _list("hidden_size", ["128"]),
    _integer("num_layers", 1, least=1),
    _one_of("block", "plain", ["plain", *sorted(BLOCKS)]),
    _string("cell_args", ""),
    _number("dropout", 0.0, least=0.0, most=0.999),
)

# Initialisation, gradient and optimiser.
_LEARNING = (
    _number("init_scale", 1.0, least=0.0),
    _string("start_from", ""),
    _switch("start_partial", False),
    _string("rule", "bptt"),
    _integer("truncation", 0, least=0),
    _string("optimizer", "adam"),
    _number("ema", 0.0, least=0.0, most=1.0),
    _integer("accumulate", 1, least=1),
    _number("learning_rate", 1e-3, least=0.0),
    _switch("find_lr", False),
    _one_of("schedule", "constant", ["constant", "linear", "cosine", "exponential"]),
    _integer("horizon", 0, least=0),
    _number("final_rate", 0.1, least=0.0),
    _integer("warmup_steps", 0, least=0),
    _number("clip_norm", 1.0, least=0.0),
    _number("weight_decay", 0.0, least=0.0),
    _multi_string("lr_scale", []),
    _integer("batch_size", 64, least=1),
    _integer("num_steps", 1000, least=1),
    _integer("patience", 0, least=0),
    _string("score", "loss"),
)

# Everything that runs: numerics, seed and workdir.
_PLACE = (
    _one_of("dtype", "float32", ["float32", "bfloat16", "float64"]),
    _one_of("matmul_precision", "default", ["default", "high", "highest"]),
    _integer("seed", 0, least=0),
    _string("workdir", ""),
    _switch("allow_other_code", False),
    _switch("describe", False),
    _one_of("picture", "png", ["png", "pdf", "svg"]),
    _string("compilation_cache", ""),
)

# The devices and processes that share a run.
_DEVICES = (
    _auto_or_whole("devices", "auto"),
    _string("coordinator", ""),
    _integer("num_processes", 0, least=0),
    _integer("process_id", -1, least=-1),
    _integer("lost_after", 100, least=1),
)

# A training run: duration, intervals, data.
_RUN = (
    *_PLACE,
    _string("data_dir", os.environ.get("RNNJAX_DATA", "")),
    _string("encoding", "utf-8"),
    _integer("log_every", 20, least=1),
    _integer("eval_every", 100, least=1),
    _integer("eval_batches", 10, least=1),
    _list("report", []),
    _list("plot", ["loss"]),
    _switch("analyse", False),
    _integer("checkpoint_every", 500, least=1),
    _integer("keep_checkpoints", 3, least=1),
    _list("writers", ["jsonl", "tensorboard"]),
    *_DEVICES,
    _switch("profile", False),
    _switch("debug_nans", False),
)

# The help texts.
_HELP = {
    "cell": "Recurrent layer: a name in rnnjax (lstm, gru, vanilla, urnn, ...) or an import "
    "path (mylab.cells:leaky). Several, comma-separated, are trained one after another and compared.",
    "hidden_size": "Units of each layer: one number, or one for each --cell.",
    "num_layers": "Number of stacked recurrent layers, or of blocks.",
    "block": "What is around each recurrent layer: plain: nothing; or the norm, convolution, gate, MLP and residual "
    "connection of a paper, with --hidden_size features between blocks (griffin, mamba, s5, transformer, xlstm).",
    "cell_args": "Further arguments of the cell, as in forget_bias=2.0,layer_norm=True; what follows CELL: is for one "
    "of several --cell, as in lstm:forget_bias=2.0,gru:reset_after=False.",
    "dropout": "Dropout rate between layers, in [0, 1).",
    "init_scale": "Factor on all initial parameters of the network.",
    "start_from": "RUN, RUN:last or RUN:STEP: the folder of a run, whose parameters (the best, by default) initialise "
    "this run, matched by name and shape.",
    "start_partial": "Initialise at random the parameters that --start_from lacks or has in another shape.",
    "rule": f"How the gradient is estimated: {', '.join(estimators.RULES)}, or an import path. tbptt, sliding_tbptt, "
    "pes and nres need --truncation; adaptive_tbptt chooses it, up to --truncation if that is given.",
    "truncation": "How many steps back a truncated gradient looks at most; 0: all.",
    "optimizer": f"One of {', '.join(sorted(DIRECTIONS))}, or an import path to a function "
    "that returns an optax transformation: a direction, such as optax:scale_by_yogi, or a full optimiser, such as "
    "optax:yogi, which is given --learning_rate if it needs one, and otherwise keeps its own.",
    "learning_rate": "Peak learning rate.",
    "ema": "Rate of the moving average of the parameters that is evaluated, kept and exported in their place, such as "
    "0.999; 1: the mean of all; 0: no average.",
    "accumulate": "Batches of each update: their gradients are added up, as those of one batch of all their examples.",
    "horizon": "Step at which the schedule ends; 0: --num_steps. With it a run whose rate decays can be prolonged: the "
    "schedule of the new horizon holds from there on.",
    "find_lr": "Train 100 steps in which the learning rate grows from 1e-6 to 1, print and draw the loss at each, and "
    "exit: the rate at which it falls fastest is a start for --learning_rate.",
    "schedule": "How the learning rate decays from its peak to final_rate times the peak.",
    "final_rate": "Final learning rate as a fraction of the peak; ignored by constant.",
    "warmup_steps": "Steps of linear warm-up.",
    "clip_norm": "Largest global norm of the gradient; 0: no limit.",
    "weight_decay": "Decoupled weight decay, times the learning rate; not applied to biases and gains.",
    "lr_scale": "PATTERN=FACTOR: scales the learning rate of the parameters whose name matches the "
    "regular expression; 0 freezes them. CELL:PATTERN=FACTOR: for one of several --cell. May be repeated.",
    "batch_size": "Examples per step.",
    "num_steps": "Updates in the whole run.",
    "patience": "Stop after this many evaluations without a better --score; 0: never.",
    "score": "Metric on validation that decides which parameters are the best, such as accuracy; max:NAME or min:NAME "
    "says which is better.",
    "dtype": "Dtype of the network's computations; parameters are kept in at least float32.",
    "matmul_precision": "Precision of float32 matrix products where the hardware offers a choice.",
    "seed": "Seed of everything random in the run.",
    "workdir": "Folder of the run, which resumes if started again. Default: under runs/, named after the flags.",
    "allow_other_code": "Resume a run even if its code was edited after it began.",
    "picture": "Format of curves and other pictures of the run.",
    "compilation_cache": "Folder that keeps compiled programs between runs; empty: in the user's cache "
    "folder; off: none.",
    "devices": "Devices that share each batch; on a machine with only a CPU, the number of its cores to use. auto: as "
    "many cores as make a step faster, or the number that flags.cfg has of a run that is resumed; one where there is "
    "more than a CPU. 0: one, or with --coordinator those of all processes.",
    "coordinator": "HOST:PORT of process 0, if several processes train one run; auto or slurm: JAX reads everything "
    "from the environment. Default: this process only.",
    "num_processes": "Number of processes, with --coordinator=HOST:PORT.",
    "process_id": "Index of this process, from 0; process 0 leads and writes.",
    "lost_after": "Seconds without a message after which another process counts as lost.",
    "data_dir": "Folder of data sets. Default: $RNNJAX_DATA.",
    "encoding": "Encoding of texts without a byte order mark, such as latin-1 or cp1252.",
    "log_every": "Steps between lines of metrics.jsonl.",
    "eval_every": "Steps between evaluations.",
    "eval_batches": "Batches of each evaluation, if the data set does not determine it.",
    "report": f"Further measurements at each evaluation: {', '.join(REPORTS)} (norms of d h_T / d h_t over the whole "
    "window and half of it), or an import path to a function (cell, params, x) -> {name: number}.",
    "plot": "Metrics to draw, one panel each, as in loss,accuracy: those of metrics.jsonl.",
    "describe": "Print the parts of the network with their shapes and sizes, and stop: no file is written.",
    "analyse": "Draw, for one sequence, the trained network beside the untrained one: gradient flow and its bound, "
    "singular values of d h_T / d h_t, eigenvalues in the complex plane. A finished run can be started again with it.",
    "checkpoint_every": "Steps between checkpoints.",
    "keep_checkpoints": "Number of checkpoints to keep.",
    "writers": "Where to write metrics: jsonl, tensorboard, wandb, mlflow.",
    "profile": "Write a trace of a quarter of a second to profile/ in the workdir, for TensorBoard.",
    "debug_nans": "Run step by step, and name the step and the value at which nan or inf appears; slow.",
}
