"""Trains from Python as the command line does."""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rnnjax.app._analysis import Analyser
from rnnjax.app._config import Flags, LaunchConfig
from rnnjax.app._devices import devices_line, make_devices, recorded_devices
from rnnjax.app._experiment import Experiment, check_experiment
from rnnjax.app._main import default_workdir, free_flags, lines_of_flags
from rnnjax.app._opened import numerics
from rnnjax.app._outcome import run_session
from rnnjax.app._parsing import parse_into, run_configs
from rnnjax.app._process import use_compilation_cache
from rnnjax.app._session import Session
from rnnjax.app._signals import Interrupted
from rnnjax.app._trained_run import TrainedRun
from rnnjax.base import Cell, UserError
from rnnjax.runs import Workdir
from rnnjax.runs._files import folder_given
from rnnjax.runs._progress import check_mode
from rnnjax.runs._workdir import refuse_other_run


def train(
    experiment: Experiment, workdir: str | os.PathLike[str] | None = None, progress: str = "auto", **flags: Any
) -> TrainedRun:
    """Trains an experiment like its command line, and returns the run; a second call resumes it.

    A call leaves no state behind, neither flags nor settings of JAX. It works in notebooks and in threads. After an
    interrupt, it saves the run and then raises.

    Args:
      experiment: what to run.
      workdir: folder of the run; None for one under runs/, named after the flags.
      progress: display mode: "auto", "bar", "lines", "notebook" or "none".
      **flags: of the experiment, by name: numbers, strings, booleans, lists; cell_args as a string or a dict.

    Raises:
      UserError: the command line would refuse the flags too.
      KeyboardInterrupt: the run was interrupted and has been saved.

    Example:
      >>> import tempfile, rnnjax
      >>> from rnnjax import app, losses, tasks
      >>> def build(config):
      ...     stream = tasks.task_stream(tasks.adding(8), config.batch_size)
      ...     return app.Setup(rnnjax.unroll(rnnjax.stack(config.layers(), rnnjax.linear(1))), losses.regress, stream)
      >>> adding = app.Experiment(build, app.common_flags(cell="gru", hidden_size="4", optimizer="sgd"))
      >>> run = app.train(adding, tempfile.mkdtemp(), progress="none", num_steps=2, learning_rate=1e-2)
      >>> run.step, run.config.learning_rate
      (2, 0.01)
    """
    check_experiment("train", experiment)
    check_mode(progress)
    experiment = experiment._replace(flags=copy.deepcopy(experiment.flags))
    name = _name_of(experiment)
    config = _parsed(experiment, name, workdir, flags)
    experiment = experiment._replace(free=free_flags(experiment, config))
    lines = lines_of_flags(experiment)
    root = Path(config.workdir or default_workdir(name, experiment))
    configs = run_configs(config)
    if len(configs) > 1:
        raise UserError(f"train() trains one cell, this is {','.join(config.cell)}: give cell={config.cell[-1]!r}")
    refuse_other_run(root, lines, experiment.free)
    with _settings(config):
        recorded = recorded_devices(root)
        make_devices(configs, [recorded])
        session = Session(experiment, configs[0], recorded)
        lines["devices"] = devices_line([session.recorded_devices])
        session.progress, session.title = progress, name
        session.check()
        if config.analyse:
            Analyser(session)
        if progress != "none":
            print(f"{session.name}: {session.described().short()}", flush=True)
        with Workdir(root, lines, experiment.free) as work, _raised(root):
            run_session(experiment, session, work)
    return TrainedRun(root, experiment)


def _parsed(experiment: Experiment, name: str, workdir: Any, given: Mapping[str, Any]) -> LaunchConfig:
    """Returns the config of flags given in Python, and stores their values in the set of flags."""
    if workdir is not None:
        given = {**given, "workdir": folder_given("train", workdir)}
    words = [word for flag, value in given.items() for word in _as_command_line(experiment, flag, value)]
    config = parse_into(experiment.flags, [name, *words])
    if config.values.get("describe"):
        raise UserError("train() trains: rnnjax.describe(run.cell, run.example()) describes the network of a run")
    if config.values.get("coordinator") or config.values.get("num_processes"):
        raise UserError("train() runs in one process: use the command line to start several")
    if config.values.get("find_lr"):
        raise UserError("train() trains: rnnjax.training.find_learning_rate tests learning rates in Python")
    return config


def _as_command_line(experiment: Experiment, flag: str, value: Any) -> list[str]:
    """Returns a flag in the form of a command line.

    Example:
      >>> from rnnjax import app
      >>> adding = app.Experiment(lambda config: None, app.common_flags())
      >>> _as_command_line(adding, "cell_args", {"forget_bias": 2.0}), _as_command_line(adding, "analyse", False)
      (['--cell_args=forget_bias=2.0'], ['--analyse=false'])
      >>> _as_command_line(adding, "lr_scale", ["u$=0.1", "b$=0"])
      ['--lr_scale=u$=0.1', '--lr_scale=b$=0']
      >>> _as_command_line(adding, "report", ["drift", "flow"])
      ['--report=drift,flow']
    """
    if isinstance(value, Mapping):
        return [f"--{flag}=" + ",".join(f"{name}={_plain(item)!r}" for name, item in value.items())]
    if isinstance(value, (list, tuple)):
        several = flag in experiment.flags and experiment.flags[flag].flag_type().startswith("multi")
        words = [_word(flag, item) for item in value]
        return [f"--{flag}={word}" for word in words] if several else [f"--{flag}={','.join(words)}"]
    return [f"--{flag}={_word(flag, value)}"]


def _word(flag: str, value: Any) -> str:
    """Returns a value as the text of a flag.

    Raises:
      UserError: it is an object that no text of a command line stands for.

    Example:
      >>> _word("seed", np.int64(3)), _word("analyse", True)
      ('3', 'true')
      >>> _word("cell", len)
      Traceback (most recent call last):
      rnnjax.base.UserError: cell=<built-in function len>: a flag takes text or numbers, a function goes by name, \
as in "__main__:leaky"
    """
    if isinstance(value, TrainedRun):
        return os.fspath(value) if value.which == "best" else f"{os.fspath(value)}:{value.which}"
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    value = _plain(value)
    if isinstance(value, (bool, int, float, str)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    shown = " ".join(repr(value).split())
    hint = "leave it out for its default" if value is None else "a flag takes text or numbers"
    named = ', a function goes by name, as in "__main__:leaky"'
    raise UserError(f"{flag}={shown[:80]}: {hint}{named if callable(value) or isinstance(value, Cell) else ''}")


def _plain(value: Any) -> Any:
    """Returns a value with numbers of Python in place of those of NumPy and JAX."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value
    return value.tolist() if isinstance(value, (np.ndarray, np.generic, jax.Array)) else value


def _name_of(experiment: Experiment) -> str:
    """Returns the name of an experiment, which is that of the module with its `build`."""
    module = str(getattr(experiment.build, "__module__", None) or "run")
    return "run" if module == "__main__" else module.rpartition(".")[2]


@contextlib.contextmanager
def _settings(config: Flags) -> Iterator[None]:
    """Configures JAX by the flags inside a `with` block, and restores the settings afterwards."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    use_compilation_cache(config)
    try:
        with numerics(config):
            yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@contextlib.contextmanager
def _raised(root: Path) -> Iterator[None]:
    """Turns an interrupt, after the run was saved, into the exception that Python raises for it."""
    try:
        yield
    except Interrupted as interruption:
        line = f"stopped and saved in {root}; the same call goes on from there"
        if interruption.status == 130:
            raise KeyboardInterrupt(line) from None
        raise SystemExit(interruption.status) from None
