"""Names that changed in 0.2.0: each old one works until 0.3.0, with a warning that says the new one."""

from __future__ import annotations

import difflib
import functools
import importlib
import sys
import types
import warnings
from collections.abc import Callable, Container
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

NEW_NAMES = {
    "rnnjax.Both": "rnnjax.Directions",
    "rnnjax.Pair": "rnnjax.SourceTarget",
    "rnnjax.bag": "rnnjax.bag_of_inputs",
    "rnnjax.checkpoint": "rnnjax.runs",
    "rnnjax.ctc": "rnnjax.losses",
    "rnnjax.data.bucketed": "rnnjax.data.bucketed_batches",
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
    "rnnjax.plotting.draw_against_window": "rnnjax.plotting.draw_against_truncation",
    "rnnjax.population": "rnnjax.training",
    "rnnjax.runs.Progress": "rnnjax.runs.ProgressBar",
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
    "rnnjax.studies.main": "rnnjax.studies.run_study",
    "rnnjax.tasks.COLOURS": "rnnjax.tasks.SHAPE_COLOURS",
    "rnnjax.teaching": "rnnjax.wrappers",
    "rnnjax.tie": "rnnjax.tie_weights",
    "rnnjax.time_window": "rnnjax.time_delay",
    "rnnjax.topology": "rnnjax.seq2seq",
    "rnnjax.training.drawn": "rnnjax.tasks.task_stream",
    "rnnjax.trees.dealt": "rnnjax.trees.balanced_groups",
    "rnnjax.trees.in_order": "rnnjax.data.in_order",
    "rnnjax.trees.parse": "rnnjax.trees.parse_trees",
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

# A picture that took the file to write first; now a figure is returned, and `save` writes it.
NEW_PICTURES = {
    "rnnjax.plotting.against_window": "rnnjax.plotting.draw_against_truncation",
    "rnnjax.plotting.alignment": "rnnjax.plotting.draw_alignment",
    "rnnjax.plotting.audits": "rnnjax.plotting.draw_audits",
    "rnnjax.plotting.bifurcations": "rnnjax.plotting.draw_bifurcations",
    "rnnjax.plotting.clouds": "rnnjax.plotting.draw_clouds",
    "rnnjax.plotting.curves": "rnnjax.plotting.draw_curves",
    "rnnjax.plotting.flows": "rnnjax.plotting.draw_flows",
    "rnnjax.plotting.gallery": "rnnjax.plotting.draw_gallery",
    "rnnjax.plotting.portrait": "rnnjax.plotting.draw_portrait",
    "rnnjax.plotting.projection": "rnnjax.plotting.draw_projection",
    "rnnjax.plotting.sentence": "rnnjax.plotting.draw_sentence",
    "rnnjax.plotting.singular_values": "rnnjax.plotting.draw_singular_values",
    "rnnjax.plotting.unfolded": "rnnjax.plotting.draw_unfolded",
}

NEW_ARGUMENTS = {
    "rnnjax.estimators.backprop": {"window": "truncation"},
    "rnnjax.estimators.es": {"window": "truncation"},
    "rnnjax.estimators.forward": {"window": "truncation"},
    "rnnjax.estimators.nres": {"window": "truncation"},
    "rnnjax.estimators.pes": {"window": "truncation"},
    "rnnjax.estimators.sliding_tbptt": {"look": "truncation"},
    "rnnjax.plotting.draw_gallery": {"said": "predicted"},
}
NEW_FLAGS = {"window": "truncation", "windows": "truncations"}
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


def with_old_arguments(function: F) -> F:
    """A public function that takes the old names of its arguments too, each with a warning that says the new one."""
    path = f"{function.__module__.rpartition('.')[0]}.{function.__name__}"
    changes, warn = NEW_ARGUMENTS[path], warnings.warn

    def renamed(*args: Any, **options: Any) -> Any:
        for old in changes.keys() & options.keys():
            new = changes[old]
            if new in options:
                raise TypeError(f"{path}: {old} is called {new}; give {new} alone")
            warn(f"{path}: the argument {old} is called {new} from 0.2.0 on", DeprecationWarning, stacklevel=2)
            options[new] = options.pop(old)
        return function(*args, **options)

    # with the globals of its module, or doctest would take it for an import and skip its example
    here = types.FunctionType(renamed.__code__, function.__globals__, function.__name__, None, renamed.__closure__)
    return cast(F, functools.wraps(function)(here))


def getattr_of(module: str) -> Callable[..., Any]:
    """The `__getattr__` of a module: a renamed attribute with a warning, or an error with the nearest name."""

    def attribute(name: str, level: int = 2) -> Any:
        old = f"{module}.{name}"
        if old in NEW_NAMES:
            warnings.warn(f"{old} is called {NEW_NAMES[old]} from 0.2.0 on", DeprecationWarning, stacklevel=level)
            return _resolve(NEW_NAMES[old])
        if old in NEW_PICTURES:
            message = f"{old}(path, ...) is rnnjax.plotting.save(path, {NEW_PICTURES[old]}(...)) from 0.2.0 on"
            warnings.warn(message, DeprecationWarning, stacklevel=level)
            return _saved(_resolve(NEW_PICTURES[old]))
        raise AttributeError(_no_attribute(module, name))

    return attribute


def _saved(draw: Callable[..., Any]) -> Callable[..., None]:
    """A function that draws a figure, as one that takes the file to write before all else."""

    def write(path: Any, *args: Any, **options: Any) -> None:
        _resolve("rnnjax.plotting.save")(path, draw(*args, **options))

    return write


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
