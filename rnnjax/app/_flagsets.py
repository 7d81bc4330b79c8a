"""The sets of flags that experiments and studies have in common."""

from __future__ import annotations

import os
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
    values = flags.FlagValues()
    _define_model(values)
    _define_learning(values)
    _define_run(values)
    for name, value in defaults.items():
        values.set_default(name, value)
    return values


def _define_model(v: flags.FlagValues) -> None:
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


def _define_learning(v: flags.FlagValues) -> None:
    """Flags of the start, the gradient and the optimiser."""
    flags.DEFINE_float(
        "init_scale", 1.0, "Factor on all initial parameters of the network.", lower_bound=0.0, flag_values=v
    )
    flags.DEFINE_string(
        "rule",
        "bptt",
        f"How the gradient is estimated: {', '.join(estimators.RULES)}, or an import path. tbptt, sliding_tbptt, pes "
        "and nres need --truncation.",
        flag_values=v,
    )
    flags.DEFINE_integer(
        "truncation", 0, "Steps a truncated gradient looks back at most; 0: all.", lower_bound=0, flag_values=v
    )
    flags.DEFINE_string(
        "optimizer",
        "adam",
        f"One of {', '.join(sorted(DIRECTIONS))}, or an import path to a function "
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
      >>> from rnnjax.app import parse
      >>> parse(study_flags(cell="vanilla"), ["audit.py", "--seed=3"]).seed
      3
    """
    values = flags.FlagValues()
    if network:
        _define_model(values)
    _define_place(values)
    for name, value in defaults.items():
        values.set_default(name, value)
    return values


def _define_place(v: flags.FlagValues) -> None:
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


def _define_run(v: flags.FlagValues) -> None:
    """Flags of the run: how long, how often, where."""
    _define_place(v)
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
    _define_devices(v)
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


def _define_devices(v: flags.FlagValues) -> None:
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
