"""From a command line to an exit status."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import flags

from rnnjax import distributed, population, provenance
from rnnjax.app.analysis import Analyser
from rnnjax.app.config import Config, runs, take
from rnnjax.app.session import Interrupted, Result, Session
from rnnjax.app.setup import Build, Load
from rnnjax.errors import UserError
from rnnjax.plotting import Run, curves
from rnnjax.progress import table
from rnnjax.provenance import processor
from rnnjax.workdir import Workdir, flag_lines, refuse_other_run

Finish = Callable[[Result], dict[str, Any]]

# Flags that say which process this is: they are not written into flags.cfg, for they are no part of the run.
PLACE = ("coordinator", "num_processes", "process_id", "lost_after")

# Flags that may change when a run is taken up again: they do not change what it computes.
FREE = (
    "workdir", "data_dir", "writers", "profile", "debug_nans", "compilation_cache", "checkpoint_every",
    "keep_checkpoints", "analyse", "picture", "devices", *PLACE,
)  # fmt: skip


MOST_DEVICES = 8  # of a CPU, if it has no more cores: a thousand take a minute to make


class Experiment(NamedTuple):
    """Everything an experiment script says; a sweep finds it in the module as EXPERIMENT.

    Attributes:
      build: config -> Setup. It is called while tracing: pure, and without branches on the numbers of the config.
      flags: `common_flags(...)` and the experiment's own.
      load: config -> (config, data): reads files; what it finds out may be added to the config.
      finish: what remains to be done with a trained network; what it gives is added to the summary.
      free: names of the experiment's own flags that may change between sessions of one run.
      numbers: names of its own flags that `build` takes as tracers, so that a study of them compiles once.

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
      ...         train=training.drawn(task, config.batch_size),
      ...         valid=training.drawn(task, config.batch_size, config.eval_batches),
      ...         baseline=task.baseline,
      ...     )
      >>> EXPERIMENT = app.Experiment(build, FLAGS)
    """

    build: Build
    flags: flags.FlagValues
    load: Load | None = None
    finish: Finish | None = None
    free: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


class Study(NamedTuple):
    """A script that trains nothing in the way of an `Experiment`, and is launched like one.

    Attributes:
      run: (configs, one for each cell, by name, or one under ""; the workdir) -> None: does all there is to do.
      flags: `study_flags(...)` and the study's own.
      free: names of its own flags that may change when it is started again in its workdir.
    """

    run: Callable[[dict[str, Config], Workdir], None]
    flags: flags.FlagValues
    free: tuple[str, ...] = ()


def main(experiment: Experiment | Study, argv: list[str] | None = None) -> None:
    """Runs an experiment: trains, evaluates, prints the table, leaves the pictures; then exits. Or runs a study.

    Exit status 0: done; 1: one line on standard error says what is wrong; 130, 143: interrupted and saved.

    Args:
      experiment: what to run; see `Experiment` for an example.
      argv: command line; None: this process's.

    Example: a flag out of its range.
      >>> from rnnjax import app
      >>> experiment = app.Experiment(build=lambda config: None, flags=app.common_flags())
      >>> try:
      ...     app.main(experiment, ["copying", "--hidden_size=-1"])
      ... except SystemExit as stop:
      ...     print(stop.code)
      1
    """
    sys.exit(status(experiment, sys.argv if argv is None else argv))


def status(experiment: Experiment | Study, argv: list[str]) -> int:
    """The exit status of a launch, its line on standard error printed; see `main`.

    Example:
      >>> from rnnjax import app
      >>> experiment = app.Experiment(build=lambda config: None, flags=app.common_flags())
      >>> app.status(experiment, ["copying", "--no_such_flag"])
      1
    """
    name = name_of(argv)
    try:
        launch(experiment, argv)
    except UserError as error:
        return failed(" ".join(str(error).split()), name)
    except Interrupted as interruption:
        if distributed.leads():
            print(f"{name}: stopped and saved; the same command goes on from here", file=sys.stderr)
        distributed.stop()
        return interruption.status
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            return failed("out of memory: a smaller --batch_size or --hidden_size may help", name)
        if not distributed.running():
            raise
        line = distributed.what_happened(error)
        if line is None:
            traceback.print_exc()
        return failed(line or f"{type(error).__name__}: {error}", name)
    return 0


def failed(line: str, name: str) -> int:
    """The status of a launch that failed, its line printed; one of several processes ends here, all others with it."""
    if distributed.running():
        distributed.fail(line, name)
    print(f"{name}: {line}", file=sys.stderr)
    return 1


def name_of(argv: list[str]) -> str:
    """The name of an experiment: that of its script."""
    return Path(argv[0]).stem


def launch(experiment: Experiment | Study, argv: list[str]) -> None:
    """Parses the flags, trains each cell, reports; or leaves it to the study."""
    if {"--help", "-h", "--helpfull"} & set(argv[1:]):
        print(f"{sys.modules['__main__'].__doc__}\n{experiment.flags.get_help()}")
        return
    experiment = experiment._replace(flags=copy.deepcopy(experiment.flags))  # launches share nothing
    config = take(experiment.flags, argv)
    configure(config)
    join(config, name_of(argv))
    # A longer run with a decaying rate would be another run from its first step on.
    longer = ("num_steps",) if isinstance(experiment, Experiment) and config.schedule == "constant" else ()
    experiment = experiment._replace(free=FREE + experiment.free + longer)
    lines = said(experiment)
    root = Path(config.workdir or default_workdir(name_of(argv), experiment))
    configs = named(runs(config)) if "cell" in config.values else {"": config}
    if distributed.leads():
        refuse_other_run(root, lines, experiment.free)
    ready = {} if isinstance(experiment, Study) else checked(experiment, configs)
    with contextlib.ExitStack() as stack:
        if distributed.leads():
            print(f"workdir: {root}", file=sys.stderr)
        else:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workdir = stack.enter_context(Workdir(root, lines, experiment.free))
        if isinstance(experiment, Study):
            experiment.run(configs, workdir)
            return
        if len(configs) == 1:
            outcomes = {name: run(experiment, ready.pop(name), workdir) for name in configs}
        else:
            outcomes = {}
            for name, single in configs.items():
                session = ready.pop(name, None) or Session(experiment.build, experiment.load, single)
                outcomes[name] = nested(experiment, session, single, workdir, name, lines)
        if distributed.leads():
            report(name_of(argv), workdir, outcomes)
        distributed.stop()


def checked(experiment: Experiment, configs: dict[str, Config]) -> dict[str, Session]:
    """The session of the first run. Those of the others are made and checked too, but not kept: each has its data.

    Raises:
      UserError: any of them cannot be trained. Nothing is written yet.
    """
    found: dict[str, Session] = {}
    for name, config in configs.items():
        session = Session(experiment.build, experiment.load, config)
        session.check()
        if config.analyse:
            Analyser(session)
        if not found:
            found[name] = session
    return found


def join(config: Config, name: str) -> None:
    """Joins the other processes of a run, where the flags say that there are any."""
    place = {flag: config.values[flag] for flag in PLACE if flag in config.values}
    if place.get("coordinator"):
        if config.values.get("analyse"):
            raise UserError("--analyse is done by one process: start the run again with it, alone, when it has ended")
        distributed.start(**place, name=name)
    elif place.get("num_processes"):
        raise UserError(f"--num_processes={place['num_processes']} needs --coordinator, where process 0 is found")


def said(experiment: Experiment | Study) -> dict[str, str]:
    """The flags as lines of a flagfile. One that does not change the run may have a value that a line cannot say."""
    lines: dict[str, str] = {}
    for name in (name for name in experiment.flags if name not in PLACE):
        with contextlib.suppress(UserError) if name in experiment.free else contextlib.nullcontext():
            lines |= flag_lines([experiment.flags[name]])
    return lines


def configure(config: Config) -> None:
    """Sets what JAX keeps for the whole process."""
    jax.config.update("jax_enable_x64", config.dtype == "float64")
    jax.config.update("jax_default_matmul_precision", config.matmul_precision)
    if config.values.get("devices", 0) > 1 and not config.values.get("coordinator"):
        population.host_devices(min(config.devices, max(provenance.cores(), MOST_DEVICES)))
    if config.compilation_cache == "off":
        jax.config.update("jax_compilation_cache_dir", None)
    else:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        cache = os.path.join(home, "rnnjax", processor())  # JAX does not tell processors apart; homes may be shared
        jax.config.update("jax_compilation_cache_dir", config.compilation_cache or cache)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def default_workdir(name: str, experiment: Experiment | Study) -> str:
    """runs/NAME, with the flags that are not at their defaults: the same flags find the same run again."""
    given = [experiment.flags[n] for n in experiment.flags if n not in experiment.free]
    lines = flag_lines(flag for flag in given if flag.value != flag.default).values()
    text = "-".join(re.sub(r"[^\w.,=+-]+", "_", line.lstrip("-")) for line in sorted(lines) if line)
    if len(text) > 120:
        text = text[:100] + "-" + hashlib.sha256(text.encode()).hexdigest()[:10]
    return os.path.join("runs", f"{name}-{text}" if text else name)


def named(configs: list[Config]) -> dict[str, Config]:
    """A name for each run: its cell, and its size where cells repeat."""
    cells = [c.cell for c in configs]
    names = [c.cell if cells.count(c.cell) == 1 else f"{c.cell}-{c.hidden_size}" for c in configs]
    if len(set(names)) < len(names):
        raise UserError(f"--cell={','.join(cells)}: the same cell twice with the same --hidden_size")
    return {name.replace(":", "."): c for name, c in zip(names, configs)}


class Outcome(NamedTuple):
    """A run that has ended, and its metrics."""

    result: Result
    records: list[dict[str, Any]]


def nested(
    experiment: Experiment, session: Session, config: Config, root: Workdir, name: str, lines: dict[str, str]
) -> Outcome:
    """One run of several, in a folder of its own, which by itself could be taken up and repeated."""
    path = root.file(name)
    own = {"cell": config.cell, "hidden_size": config.hidden_size, "workdir": path}
    scales = {"lr_scale": "\n".join(f"--lr_scale={setting}" for setting in config.lr_scale)}
    with Workdir(path, lines | {k: f"--{k}={v}" for k, v in own.items()} | scales, experiment.free) as workdir:
        return run(experiment, session, workdir)


def run(experiment: Experiment, session: Session, workdir: Workdir) -> Outcome:
    """One run in its workdir."""
    session.place(workdir)
    last = [experiment.finish] if experiment.finish is not None else []
    last += [Analyser(session).finish] if session.config.analyse else []
    result = session.train()
    for finish in last if distributed.leads() else []:
        result.summary.update(finish(result))
        workdir.write_summary(result.summary)
    return Outcome(result, workdir.records())


def report(name: str, workdir: Workdir, outcomes: dict[str, Outcome]) -> None:
    """The picture, the summary of several runs, and the table."""
    setup, setting = first(outcomes).setup, first(outcomes).config
    baselines = {} if setup.baseline is None else {setup.baseline_name: setup.baseline}
    drawn = {name: curve(outcome.records) for name, outcome in outcomes.items()}
    picture = workdir.file(f"curves.{setting.picture}")
    curves(picture, drawn, ylabel=setup.loss_label, title=name, baselines=baselines)
    if len(outcomes) > 1:
        workdir.write_summary({name: outcome.result.summary for name, outcome in outcomes.items()})
    table(rows(outcomes), title=f"{name}: {setup.loss_label}")
    print(f"curves: {picture}\nsummary: {workdir.file('summary.json')}")


def first(outcomes: dict[str, Outcome]) -> Result:
    """The result of the first run: what they share can be read from it."""
    return next(iter(outcomes.values())).result


def curve(records: list[dict[str, Any]]) -> Run:
    """The learning curve in the records of a run."""

    def series(metric: str) -> tuple[list[int], list[float]]:
        points = [(r["step"], float("nan") if r[metric] is None else r[metric]) for r in records if metric in r]
        return [s for s, _ in points], [v for _, v in points]

    steps, train = series("loss")
    valid_steps, valid = series("valid_loss")
    return Run(steps, train, valid_steps, valid)


def rows(outcomes: dict[str, Outcome]) -> list[dict[str, object]]:
    """The closing table: these runs, the baseline, what was published."""
    out: list[dict[str, object]] = []
    for name, (result, _) in outcomes.items():
        s = result.summary
        scores = s["test"] or {k.removeprefix("valid_"): v for k, v in s["best"].items()} or s["final"]
        shown = {k: v for k, v in scores.items() if k not in ("step", "grad_norm")}
        size = {"parameters": s["parameters"], "steps": s["steps"], "minutes": s["seconds"] / 60}
        out.append({"": f"this run: {name}"} | shown | size)
    setup = first(outcomes).setup
    if setup.baseline is not None:
        out.append({"": setup.baseline_name, "loss": setup.baseline})
    marks = {True: "", False: ", unverified"}
    return out + [{"": f"{p.model} ({p.source}{marks[p.verified]})", "loss": p.value} for p in setup.published]
