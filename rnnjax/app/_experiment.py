"""Experiment and Study, the two kinds of script that `main` runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from rnnjax.app._config import Config
from rnnjax.app._setup import Build, Load, Setup
from rnnjax.base import Cell, PyTree, UserError
from rnnjax.runs import Workdir

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Result(NamedTuple):
    """The result of a finished run.

    Attributes:
      setup: of the run.
      params: the best on validation, or the last.
      data: as loaded.
      config: of the run.
      summary: the content of summary.json.
      facts: as loaded.
      records: the metrics, one dict per line of metrics.jsonl.
    """

    setup: Setup
    params: PyTree
    data: PyTree
    config: Config
    summary: dict[str, Any]
    facts: Any = None
    records: Sequence[dict[str, Any]] = ()


_Finish = Callable[[Result], dict[str, Any]]


# Flags that identify this process. They are not part of the run, so flags.cfg omits them.
PROCESS_FLAGS = ("coordinator", "num_processes", "process_id", "lost_after")


# Flags that may change when a run is resumed, since they do not change what it computes.
RESUMABLE_FLAGS = (
    "workdir", "data_dir", "writers", "profile", "debug_nans", "compilation_cache", "checkpoint_every",
    "keep_checkpoints", "analyse", "picture", "plot", "describe", "devices", "allow_other_code",
    "find_lr", *PROCESS_FLAGS,
)  # fmt: skip


# Flags that are newer than 0.1.0. flags.cfg contains them only if given, so that older folders can be resumed.
LATER_FLAGS = (
    "plot",
    "start_from",
    "start_partial",
    "block",
    "ema",
    "accumulate",
    "horizon",
    "score",
    "mixed_losses",
    "find_lr",
)


class Experiment(NamedTuple):
    """The definition of an experiment; studies look it up in the module under the name EXPERIMENT.

    Attributes:
      build: config -> Setup; with `load`: (config, facts) -> Setup. It is called while tracing, so it must be pure and
        must not branch on the numbers of the config.
      flags: `common_flags(...)` and the experiment's own.
      load: config -> (facts, data): reads files. Facts are what `build` needs to know about the data, such as a
        vocabulary, in an object of the experiment's own type. None if there is nothing to load; `build` then takes the
        config only.
      finish: Result -> dict: runs after training and returns additional entries for the summary.
      free: names of the experiment's own flags that may change between sessions of one run.
      numbers: names of its own flags that `build` accepts as tracers, so that a study of them compiles once.
      description: the text above the flags in `--help`; usually the script's `__doc__`.

    Example: a whole script except its last line, `if __name__ == "__main__": app.main(EXPERIMENT)`.
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
        """Returns `build` as a function of the config only, with the facts that `load` returned.

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
    """The results of a study, which `main` writes to files.

    Attributes:
      summary: entries of summary.json, beside the versions and the device.
      figures: by file name without extension.
    """

    summary: Mapping[str, Any]
    figures: Mapping[str, Figure] = {}


class Study(NamedTuple):
    """A script that is launched like an `Experiment` but does not train in the same way.

    Attributes:
      run: (configs by name, one per cell, or a single one under "" without a network; the workdir) -> Findings, or None
        if it has written all its results itself.
      flags: `study_flags(...)` and the study's own.
      free: names of its own flags that may change when it is started again in its workdir.
      description: the text above the flags in `--help`.
      check: configs -> None: raises a `UserError` for flags that `run` would refuse, before the workdir is created.
      networks: configs -> {name: (cell, one input or its shape)}: the networks of the study, for `--describe`.
    """

    run: Callable[[dict[str, Config], Workdir], Findings | None]
    flags: flags.FlagValues
    free: tuple[str, ...] = ()
    description: str | None = None
    check: Callable[[dict[str, Config]], object] | None = None
    networks: Callable[[dict[str, Config]], Mapping[str, tuple[Cell, PyTree]]] | None = None


def check_experiment(where: str, given: Any, kinds: tuple[type, ...] = (Experiment,)) -> None:
    """Refuses what is not an experiment, and says how to get one.

    Args:
      where: the function that it was given to, for the message.
      given: to check.
      kinds: what the function takes.

    Raises:
      UserError: it is something else.

    Example:
      >>> check_experiment("train", "adding")
      Traceback (most recent call last):
      rnnjax.base.UserError: train takes an app.Experiment, got 'adding': from experiments.adding import EXPERIMENT
    """
    if isinstance(given, kinds):
        return
    hint = "define one with app.Experiment(build, flags)"
    if isinstance(given, str) and given.removeprefix("experiments.").isidentifier():
        hint = f"from experiments.{given.removeprefix('experiments.')} import EXPERIMENT"
    elif hasattr(given, "EXPERIMENT"):
        hint = f"give {getattr(given, '__name__', 'it')}.EXPERIMENT"
    elif isinstance(given, Study):
        hint = "a Study trains no single run: its command line runs it"
    shown = repr(given) if isinstance(given, str) else type(given).__name__
    raise UserError(f"{where} takes an app.{kinds[0].__name__}, got {shown}: {hint}")
