"""Names that changed in 0.2.0: each old one works until 0.3.0, with a warning that says the new one."""

from __future__ import annotations

import difflib
import importlib
import sys
import warnings
from collections.abc import Callable, Container
from typing import Any

NEW_NAMES = {
    "rnnjax.Both": "rnnjax.Directions",
    "rnnjax.Pair": "rnnjax.SourceTarget",
    "rnnjax.bag": "rnnjax.bag_of_inputs",
    "rnnjax.checkpoint": "rnnjax.runs",
    "rnnjax.ctc": "rnnjax.losses",
    "rnnjax.data.contents": "rnnjax.data.read_bytes",
    "rnnjax.data.lines": "rnnjax.data.read_lines",
    "rnnjax.decoding.Pick": "rnnjax.decoding.Sampler",
    "rnnjax.decoding.Written": "rnnjax.decoding.Decoded",
    "rnnjax.decoding.write": "rnnjax.decoding.decode",
    "rnnjax.dense": "rnnjax.concat_skip",
    "rnnjax.dynamics.forgetting": "rnnjax.dynamics.memory_curve",
    "rnnjax.kronecker_sum": "rnnjax.optimal_kronecker",
    "rnnjax.memoryless": "rnnjax.stateless",
    "rnnjax.newton": "rnnjax.deer",
    "rnnjax.optimizers": "rnnjax.training",
    "rnnjax.population": "rnnjax.training",
    "rnnjax.segmented": "rnnjax.with_resets",
    "rnnjax.seq2seq.Attending": "rnnjax.seq2seq.CarryWithAttention",
    "rnnjax.seq2seq.Pair": "rnnjax.base.SourceTarget",
    "rnnjax.seq2seq.clockwork": "rnnjax.cells.clockwork",
    "rnnjax.seq2seq.clockwork_core": "rnnjax.cells.clockwork_core",
    "rnnjax.seq2seq.condition": "rnnjax.wrappers.condition",
    "rnnjax.seq2seq.deep_transition": "rnnjax.cells.deep_transition",
    "rnnjax.seq2seq.deep_transition_core": "rnnjax.cells.deep_transition_core",
    "rnnjax.seq2seq.dense": "rnnjax.wrappers.concat_skip",
    "rnnjax.seq2seq.feedback": "rnnjax.cells.feedback",
    "rnnjax.seq2seq.jordan": "rnnjax.cells.jordan",
    "rnnjax.seq2seq.remember": "rnnjax.seq2seq.encode_memory",
    "rnnjax.seq2seq.teacher_forced": "rnnjax.cells.teacher_forced",
    "rnnjax.stochastic": "rnnjax.cells",
    "rnnjax.teaching": "rnnjax.wrappers",
    "rnnjax.tie": "rnnjax.tie_weights",
    "rnnjax.time_window": "rnnjax.time_delay",
    "rnnjax.topology": "rnnjax.seq2seq",
    "rnnjax.training.drawn": "rnnjax.tasks.task_stream",
    "rnnjax.trees.dealt": "rnnjax.trees.balanced_groups",
    "rnnjax.trees.in_order": "rnnjax.data.in_order",
    "rnnjax.trees.read": "rnnjax.trees.read_trees",
    "rnnjax.trees.shuffled": "rnnjax.data.shuffled",
    "rnnjax.trees.upward": "rnnjax.trees.fold_forest",
    "rnnjax.trees.valued": "rnnjax.trees.with_values",
    "rnnjax.trees.write": "rnnjax.trees.to_brackets",
    "rnnjax.unitary.Bound": "rnnjax.unitary.BoundFactor",
    "rnnjax.unitary.Pair": "rnnjax.unitary.ComplexPair",
    "rnnjax.unitary.drift": "rnnjax.unitary.orthogonality_error",
    "rnnjax.unitary.free": "rnnjax.unitary.unconstrained",
    "rnnjax.unshared": "rnnjax.per_position",
    "rnnjax.wrappers.falling": "rnnjax.wrappers.sampling_schedule",
    "rnnjax.wrappers.taught": "rnnjax.wrappers.with_sampling",
    "rnnjax.writers": "rnnjax.runs",
}

NEW_FLAGS = {"window": "truncation"}
NEW_VALUES = {
    "cell": {"bag": "bag_of_inputs", "time_window": "time_delay", "unshared": "per_position"},
    "rule": {"lookback": "sliding_tbptt", "ok": "optimal_kronecker"},
}


def flag_of_today(flag: str, known: Container[str]) -> str:
    """The name that a flag has now; an old one is said on standard error. A flag that is still known stays."""
    name = NEW_FLAGS.get(flag, flag)
    if flag in known or name not in known:
        return flag
    if name != flag:
        print(f"warning: --{flag} is called --{name} from 0.2.0 on", file=sys.stderr)
    return name


def value_of_today(flag: str, value: str) -> str:
    """The name that a value of a flag has now: a cell or a rule; an old one is said on standard error."""
    name = NEW_VALUES.get(flag, {}).get(value, value)
    if name != value:
        print(f"warning: --{flag}={value} is called {name} from 0.2.0 on", file=sys.stderr)
    return name


def argument_of_today(argument: str, known: Container[str]) -> str:
    """An argument of a command line, `--flag=value`, in today's spelling."""
    flag, equals, value = argument.partition("=")
    if not flag.startswith("-"):
        return argument
    name = flag_of_today(flag.lstrip("-"), known)
    return f"--{name}{equals}{value_of_today(name, value) if name == 'rule' else value}"


def getattr_of(module: str) -> Callable[..., Any]:
    """The `__getattr__` of a module: a renamed attribute with a warning, or an error with the nearest name."""

    def attribute(name: str, level: int = 2) -> Any:
        old = f"{module}.{name}"
        if old in NEW_NAMES:
            warnings.warn(f"{old} is called {NEW_NAMES[old]} from 0.2.0 on", DeprecationWarning, stacklevel=level)
            return _resolve(NEW_NAMES[old])
        raise AttributeError(_no_attribute(module, name))

    return attribute


def _resolve(path: str) -> Any:
    """What a dotted path leads to: a module, or an attribute of one."""
    parent, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(parent), name)
    except AttributeError:
        return importlib.import_module(path)


def _no_attribute(module: str, name: str) -> str:
    names = list(getattr(sys.modules[module], "__all__", ()))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"module {module!r} has no attribute {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
