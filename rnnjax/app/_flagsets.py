"""The flags that experiments and studies share."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from absl import flags

from rnnjax.app._flag_texts import HELP
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
    return _defined(_TOPICS, defaults)


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
    return _defined((_MODEL, _PLACE) if network else (_PLACE,), defaults)


@dataclasses.dataclass(frozen=True)
class _Topic:
    """Flags that belong together, under a title of `--help`."""

    title: str
    rows: tuple[_Define, ...]


def _defined(topics: tuple[_Topic, ...], defaults: dict[str, Any]) -> flags.FlagValues:
    """Returns a new set of flags, some of them with other defaults."""
    values = flags.FlagValues()
    for topic in topics:
        for define in topic.rows:
            define(values, topic.title)
    for name, value in defaults.items():
        values.set_default(name, value)
    return values


_Define = Callable[[flags.FlagValues, str], Any]  # defines one flag in a set, under the title of a topic


def _list(name: str, default: list[str]) -> _Define:
    """A list of comma-separated strings."""
    return lambda v, t: flags.DEFINE_list(name, default, HELP[name], flag_values=v, module_name=t)


def _multi_string(name: str, default: list[str]) -> _Define:
    """A string; the flag may be repeated."""
    return lambda v, t: flags.DEFINE_multi_string(name, default, HELP[name], flag_values=v, module_name=t)


def _string(name: str, default: str) -> _Define:
    """A string."""
    return lambda v, t: flags.DEFINE_string(name, default, HELP[name], flag_values=v, module_name=t)


def _one_of(name: str, default: str, choices: list[str]) -> _Define:
    """One of several strings."""
    return lambda v, t: flags.DEFINE_enum(name, default, choices, HELP[name], flag_values=v, module_name=t)


def _switch(name: str, default: bool) -> _Define:
    """A boolean."""
    return lambda v, t: flags.DEFINE_boolean(name, default, HELP[name], flag_values=v, module_name=t)


def _integer(name: str, default: int, least: int) -> _Define:
    """An integer of at least `least`."""
    return lambda v, t: flags.DEFINE_integer(name, default, HELP[name], least, flag_values=v, module_name=t)


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
    return lambda v, t: flags.DEFINE(kind, name, default, HELP[name], flag_values=v, serializer=written, module_name=t)


def _number(name: str, default: float, least: float, most: float | None = None) -> _Define:
    """A number within limits."""
    return lambda v, t: flags.DEFINE_float(name, default, HELP[name], least, most, flag_values=v, module_name=t)


_MODEL = _Topic(
    "The network",
    (
        _list("cell", ["lstm"]),
        _list("hidden_size", ["128"]),
        _integer("num_layers", 1, least=1),
        _one_of("block", "plain", ["plain", *sorted(BLOCKS)]),
        _string("cell_args", ""),
        _number("dropout", 0.0, least=0.0, most=0.999),
    ),
)
_START = _Topic(
    "What the network starts from",
    (
        _number("init_scale", 1.0, least=0.0),
        _string("start_from", ""),
        _switch("start_partial", False),
    ),
)
_LEARNING = _Topic(
    "The gradient and the optimiser",
    (
        _string("rule", "bptt"),
        _integer("truncation", 0, least=0),
        _string("optimizer", "adam"),
        _number("learning_rate", 1e-3, least=0.0),
        _multi_string("lr_scale", []),
        _number("clip_norm", 1.0, least=0.0),
        _number("weight_decay", 0.0, least=0.0),
        _integer("batch_size", 64, least=1),
        _integer("accumulate", 1, least=1),
        _number("ema", 0.0, least=0.0, most=1.0),
        _switch("find_lr", False),
    ),
)
_SCHEDULE = _Topic(
    "How long, and how the rate decays",
    (
        _integer("num_steps", 1000, least=1),
        _one_of("schedule", "constant", ["constant", "linear", "cosine", "exponential"]),
        _number("final_rate", 0.1, least=0.0),
        _integer("warmup_steps", 0, least=0),
        _integer("horizon", 0, least=0),
        _integer("patience", 0, least=0),
        _string("score", "loss"),
    ),
)
_PLACE = _Topic(
    "The folder of the run, and numbers",
    (
        _string("workdir", ""),
        _integer("seed", 0, least=0),
        _switch("allow_other_code", False),
        _switch("describe", False),
        _one_of("picture", "png", ["png", "pdf", "svg"]),
        _one_of("dtype", "float32", ["float32", "bfloat16", "float64"]),
        _one_of("matmul_precision", "default", ["default", "high", "highest"]),
        _string("compilation_cache", ""),
    ),
)
_RUN = _Topic(
    "Data, evaluations and checkpoints",
    (
        _string("data_dir", os.environ.get("RNNJAX_DATA", "")),
        _string("encoding", "utf-8"),
        _integer("log_every", 20, least=1),
        _integer("eval_every", 100, least=1),
        _integer("eval_batches", 10, least=1),
        _integer("checkpoint_every", 500, least=1),
        _integer("keep_checkpoints", 3, least=1),
        _list("writers", ["jsonl", "tensorboard"]),
    ),
)
_LOOKING = _Topic(
    "To look at the run",
    (
        _list("report", []),
        _list("plot", ["loss"]),
        _switch("analyse", False),
        _switch("profile", False),
        _switch("debug_nans", False),
    ),
)
_DEVICES = _Topic(
    "Devices and processes that share the run",
    (
        _auto_or_whole("devices", "auto"),
        _string("coordinator", ""),
        _integer("num_processes", 0, least=0),
        _integer("process_id", -1, least=-1),
        _integer("lost_after", 100, least=1),
    ),
)
_TOPICS = (_MODEL, _START, _LEARNING, _SCHEDULE, _RUN, _LOOKING, _PLACE, _DEVICES)


def help_of(values: flags.FlagValues) -> str:
    """Returns the help texts of flags by topic, those of the experiment itself first.

    Example:
      >>> print(help_of(study_flags(network=False)).splitlines()[1])
      The folder of the run, and numbers:
    """
    titles, modules = [topic.title for topic in _TOPICS], values.flags_by_module_dict()
    own = [module for module in modules if module not in titles]
    shared = [values.module_help(title) for title in titles if title in modules]
    return "\n".join([*(_titled(values.module_help(module), module) for module in own), *shared])


def _titled(text: str, module: str) -> str:
    """Returns the help of a module's flags under a title in place of its path."""
    return text.replace(f"{module}:", "This command:", 1)
