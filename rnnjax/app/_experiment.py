"""Experiment and Study: what a script hands to `main`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from rnnjax.app._config import Config
from rnnjax.app._setup import Build, Load, Setup
from rnnjax.base import PyTree
from rnnjax.runs import Workdir

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Result(NamedTuple):
    """What is left when a run has ended.

    Attributes:
      setup: of the run.
      params: the best on validation, or the last.
      data: what loading gave.
      config: of the run.
      summary: what summary.json says.
      facts: what loading found out.
      records: the metrics, one dict a line of metrics.jsonl.
    """

    setup: Setup
    params: PyTree
    data: PyTree
    config: Config
    summary: dict[str, Any]
    facts: Any = None
    records: Sequence[dict[str, Any]] = ()


_Finish = Callable[[Result], dict[str, Any]]


# Flags that say which process this is: they are not written into flags.cfg, for they are no part of the run.
PROCESS_FLAGS = ("coordinator", "num_processes", "process_id", "lost_after")


# Flags that may change when a run is taken up again: they do not change what it computes.
RESUMABLE_FLAGS = (
    "workdir", "data_dir", "writers", "profile", "debug_nans", "compilation_cache", "checkpoint_every",
    "keep_checkpoints", "analyse", "picture", "devices", "allow_other_code", *PROCESS_FLAGS,
)  # fmt: skip


# Flags that came after 0.1.0: flags.cfg says them where they are given, so that folders from before can be resumed.
LATER_FLAGS = ("start_from", "start_partial")


class Experiment(NamedTuple):
    """Everything an experiment script says; a sweep finds it in the module as EXPERIMENT.

    Attributes:
      build: config -> Setup; with `load`: (config, facts) -> Setup. It is called while tracing: pure, and without
        branches on the numbers of the config.
      flags: `common_flags(...)` and the experiment's own.
      load: config -> (facts, data): reads files. Facts are what it finds out and `build` must know, such as a
        vocabulary: an object of the experiment's own. None: there is nothing to load, and `build` takes the config
        alone.
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

    build: Callable[..., Setup]
    flags: flags.FlagValues
    load: Load | None = None
    finish: _Finish | None = None
    free: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    description: str | None = None

    def build_with(self, facts: Any) -> Build:
        """`build` as a function of the config alone, given what `load` found out.

        Example:
          >>> from rnnjax import app
          >>> def build(config, facts):
          ...     return facts["symbols"]
          >>> experiment = Experiment(build, app.common_flags(), load=lambda config: ({"symbols": 9}, ()))
          >>> experiment.build_with({"symbols": 9})(None)
          9
        """
        return self.build if self.load is None else lambda config: self.build(config, facts)


class Findings(NamedTuple):
    """What a study has found out; `main` writes it down and says where.

    Attributes:
      summary: for summary.json, beside the versions and the device.
      figures: by the name of their file, without its ending.
    """

    summary: Mapping[str, Any]
    figures: Mapping[str, Figure] = {}


class Study(NamedTuple):
    """A script that trains nothing in the way of an `Experiment`, and is launched like one.

    Attributes:
      run: (configs, one for each cell, by name, or one under "" without a network; the workdir) -> Findings. None: all
        there is to write down is written.
      flags: `study_flags(...)` and the study's own.
      free: names of its own flags that may change when it is started again in its workdir.
      description: what `--help` prints above the flags.
      check: configs -> None: refuses, by a `UserError`, what `run` would refuse, before there is a workdir.
    """

    run: Callable[[dict[str, Config], Workdir], Findings | None]
    flags: flags.FlagValues
    free: tuple[str, ...] = ()
    description: str | None = None
    check: Callable[[dict[str, Config]], object] | None = None
