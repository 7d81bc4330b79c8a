"""Experiment and Study: what a script hands to `main`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from absl import flags

from rnnjax.app._config import Config
from rnnjax.app._session import Result
from rnnjax.app._setup import Build, Load
from rnnjax.runs import Workdir

_Finish = Callable[[Result], dict[str, Any]]


# Flags that say which process this is: they are not written into flags.cfg, for they are no part of the run.
PROCESS_FLAGS = ("coordinator", "num_processes", "process_id", "lost_after")


# Flags that may change when a run is taken up again: they do not change what it computes.
RESUMABLE_FLAGS = (
    "workdir", "data_dir", "writers", "profile", "debug_nans", "compilation_cache", "checkpoint_every",
    "keep_checkpoints", "analyse", "picture", "devices", *PROCESS_FLAGS,
)  # fmt: skip


class Experiment(NamedTuple):
    """Everything an experiment script says; a sweep finds it in the module as EXPERIMENT.

    Attributes:
      build: config -> Setup. It is called while tracing: pure, and without branches on the numbers of the config.
      flags: `common_flags(...)` and the experiment's own.
      load: config -> (config, data): reads files; what it finds out may be added to the config.
      finish: what remains to be done with a trained network; what it gives is added to the summary.
      free: names of the experiment's own flags that may change between sessions of one run.
      numbers: names of its own flags that `build` takes as tracers, so that a study of them compiles once.
      description: what `--help` prints above the flags; a script's own is `__doc__`.

    Example: a whole script but for its last line, `if __name__ == "__main__": app.main(EXPERIMENT)`.
      >>> import rnnjax
      >>> from absl import flags
      >>> from rnnjax import app, losses, tasks, training
      >>> FLAGS = app.common_flags(cell="gru", batch_size=32)
      >>> _ = flags.DEFINE_integer("delay", 10, "Steps to remember.", lower_bound=1, flag_values=FLAGS)
      >>> def build(config):
      ...     task = tasks.copying(config.delay)
      ...     return app.Setup(
      ...         cell=rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), config.layers(), rnnjax.linear(9))),
      ...         objective=losses.classify,
      ...         train=tasks.task_stream(task, config.batch_size),
      ...         valid=tasks.task_stream(task, config.batch_size, config.eval_batches),
      ...         baseline=task.baseline,
      ...     )
      >>> EXPERIMENT = app.Experiment(build, FLAGS)
    """

    build: Build
    flags: flags.FlagValues
    load: Load | None = None
    finish: _Finish | None = None
    free: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    description: str | None = None


class Study(NamedTuple):
    """A script that trains nothing in the way of an `Experiment`, and is launched like one.

    Attributes:
      run: (configs, one for each cell, by name, or one under ""; the workdir) -> None: does all there is to do.
      flags: `study_flags(...)` and the study's own.
      free: names of its own flags that may change when it is started again in its workdir.
      description: what `--help` prints above the flags.
    """

    run: Callable[[dict[str, Config], Workdir], None]
    flags: flags.FlagValues
    free: tuple[str, ...] = ()
    description: str | None = None
