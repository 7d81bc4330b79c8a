"""Runs a command line and returns an exit status."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from rnnjax import distributed
from rnnjax.app._checked import check_runs, check_study
from rnnjax.app._config import Config, Flags, LaunchConfig
from rnnjax.app._devices import devices_line
from rnnjax.app._experiment import (
    LATER_FLAGS,
    PROCESS_FLAGS,
    RESUMABLE_FLAGS,
    Experiment,
    Result,
    Study,
    check_experiment,
)
from rnnjax.app._find_lr import show_rates, unused_rate
from rnnjax.app._flagsets import help_of
from rnnjax.app._outcome import conclude, report, run_nested, run_session
from rnnjax.app._parsing import check_argv, parse_into, run_configs
from rnnjax.app._process import configure
from rnnjax.app._refusals import refused_as
from rnnjax.app._session import Session
from rnnjax.app._signals import Interrupted
from rnnjax.app._terminal import steady_terminal
from rnnjax.base import Description, UserError, describe
from rnnjax.base._errors import is_machines_fault
from rnnjax.credit import NotAdmitted
from rnnjax.distributed._runtime import agree, fail, is_leader, running, stop, what_happened
from rnnjax.runs import Workdir, flag_lines
from rnnjax.runs._sources import keep_sources, refuse_other_code, sources
from rnnjax.runs._workdir import refuse_other_run

# Flags that may differ between processes: paths on their machines.
_OF_A_PROCESS = ("workdir", "data_dir", "compilation_cache", "writers", "picture", "profile", "allow_other_code")
_UNRECORDED = (*PROCESS_FLAGS, "allow_other_code", "describe")  # flags of a launch that are not part of its run
_NO_BACKEND = "nable to initialize backend"


def main(experiment: Experiment | Study, argv: list[str] | None = None) -> None:
    """Runs an experiment, which trains, evaluates, and leaves tables and pictures, or runs a study; then exits.

    Exit status 0: success; 1: an error, in one line on standard error; 130, 143: interrupted and saved.

    Args:
      experiment: what to run; see `Experiment` for an example.
      argv: command line; None for that of this process.

    Example: a flag out of its range.
      >>> from rnnjax import app
      >>> experiment = app.Experiment(build=lambda config: None, flags=app.common_flags())
      >>> try:
      ...     app.main(experiment, ["copying", "--hidden_size=-1"])
      ... except SystemExit as stop:
      ...     print(stop.code)
      1
    """
    with steady_terminal():
        code = status(experiment, sys.argv if argv is None else argv)
    sys.exit(code)


def status(experiment: Experiment | Study, argv: list[str]) -> int:
    """Returns the exit status of a launch after printing its line on standard error; see `main`.

    Example:
      >>> from rnnjax import app
      >>> experiment = app.Experiment(build=lambda config: None, flags=app.common_flags())
      >>> app.status(experiment, ["copying", "--no_such_flag"])
      1
    """
    name = _name_of(argv)
    try:
        check_experiment("main", experiment, (Experiment, Study))
        _launch(experiment, argv)
    except (UserError, NotAdmitted) as error:  # a script may choose rules itself
        return _report_failure(" ".join(str(error).split()), name)
    except Interrupted as interruption:
        if is_leader():
            print(f"{name}: stopped and saved; the same command continues from here", file=sys.stderr)
        stop()
        return interruption.status
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            return _report_failure("out of memory: a smaller --batch_size or --hidden_size may help", name)
        if is_machines_fault(error):
            return _report_failure(f"{_first_line(error)}; the same command continues from here", name)
        if _is_of_backend(error):
            why = _first_line(error) if str(error) else "JAX cannot use this backend here"
            return _report_failure(f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}: {why}", name)
        if not running():
            raise
        line = what_happened(error)
        if line is None:
            traceback.print_exc()
        return _report_failure(line or f"{type(error).__name__}: {error}", name)
    return 0


def _report_failure(line: str, name: str) -> int:
    """Prints the line of a failed launch and returns its status; among several processes, ends all of them."""
    if running():
        fail(line, name)
    print(f"{name}: {line}", file=sys.stderr)
    return 1


def _is_of_backend(error: BaseException) -> bool:
    """Returns whether JAX could not start what JAX_PLATFORMS names; it may say so by a bare assertion."""
    frames = traceback.extract_tb(error.__traceback__)
    bare = isinstance(error, AssertionError) and bool(frames) and frames[-1].filename.endswith("xla_bridge.py")
    return _NO_BACKEND in str(error) or bare


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _name_of(argv: list[str]) -> str:
    """Returns the name of an experiment, which is that of its script."""
    return Path(str(argv[0])).stem if isinstance(argv, list | tuple) and argv else "rnnjax"


def _launch(experiment: Experiment | Study, argv: list[str]) -> None:
    """Parses the flags, then trains each cell and reports, or runs the study."""
    check_argv(argv)
    if {"--help", "-h", "--helpfull"} & set(argv[1:]):
        print("\n".join(filter(None, (experiment.description, help_of(experiment.flags)))))
        return
    name, experiment = _name_of(argv), experiment._replace(flags=copy.deepcopy(experiment.flags))  # a copy per launch
    given = parse_into(experiment.flags, argv)
    configure(given)
    if given.values.get("describe"):
        for run, parts in _described(experiment, _name_runs(run_configs(given)), name).items():
            print(f"{name}: {run}\n{parts}")
        return
    _join_processes(given, name)
    experiment = experiment._replace(free=free_flags(experiment, given))
    lines = lines_of_flags(experiment)
    root = Path(given.workdir or default_workdir(name, experiment))
    configs = _name_runs(run_configs(given))
    if is_leader():
        refuse_other_run(root, lines, experiment.free)
    with refused_as():
        agree("flags", {name: line for name, line in lines.items() if name not in _OF_A_PROCESS})
    if isinstance(experiment, Study):
        ready = check_study(experiment, configs)
    else:
        ready = check_runs(experiment, configs, root if is_leader() else None)
        lines["devices"] = devices_line(session.recorded_devices for session in ready.values())
    if given.values.get("find_lr") and isinstance(experiment, Experiment):
        show_rates(name, ready, Path(f"{root}-find_lr"))
        return
    for run, session in ready.items() if is_leader() else ():
        session.title = name if len(ready) == 1 else f"{name}: {run}"
        print(f"{run}: {session.described().short()}", flush=True)
    own = unused_rate(next(iter(configs.values()))) if isinstance(experiment, Experiment) and is_leader() else ""
    if own:
        print(own, flush=True)
    with _open_workdir(root, lines, experiment, given) as workdir:
        if isinstance(experiment, Study):
            findings = experiment.run(configs, workdir)
            if findings is not None:
                conclude(findings, workdir, given.picture)
        else:
            results = _train(experiment, configs, ready, workdir, lines)
        keep_sources(workdir.path, sources(_roots(experiment, given)))  # with imports since the launch
        if isinstance(experiment, Study):
            return
        if is_leader():
            report(name, workdir, results)
        stop()


def _described(experiment: Experiment | Study, configs: dict[str, Config], name: str) -> dict[str, Description]:
    """Returns the parts of the network of each run, or of each network of a study.

    Raises:
      UserError: the flags are refused, or the study has no network.
    """
    if isinstance(experiment, Experiment):
        return {run: session.described() for run, session in check_runs(experiment, configs).items()}
    if experiment.networks is None:
        raise UserError(f"--describe: {name} has no network to describe")
    check_study(experiment, configs)
    return {run: describe(cell, x) for run, (cell, x) in experiment.networks(configs).items()}


def free_flags(experiment: Experiment | Study, given: LaunchConfig) -> tuple[str, ...]:
    """Returns the flags that may change when the run is resumed.

    A run may be prolonged. If its learning rate decays, its steps would then differ from the first one on: the horizon
    of the schedule must be given, and holds from now on.
    """
    trains = isinstance(experiment, Experiment)
    fixed = trains and given.schedule != "constant" and not given.values.get("horizon")
    longer = ("num_steps", "horizon") if trains and not fixed else ()
    return RESUMABLE_FLAGS + experiment.free + longer


@contextlib.contextmanager
def _open_workdir(
    root: Path, lines: dict[str, str], experiment: Experiment | Study, given: LaunchConfig
) -> Iterator[Workdir]:
    """Opens the workdir of a launch if the code matches that of the run in it.

    Processes other than the leader use a temporary folder.
    """
    code = sources(_roots(experiment, given))
    if is_leader():
        refuse_other_code(root, code, given.values.get("allow_other_code", False))
    with refused_as():
        agree("code", code)
    with contextlib.ExitStack() as stack:
        if is_leader():
            print(f"workdir: {root}", file=sys.stderr)
        else:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workdir = stack.enter_context(Workdir(root, lines, experiment.free))
        keep_sources(workdir.path, code)
        yield workdir


def _train(
    experiment: Experiment,
    configs: dict[str, Config],
    ready: dict[str, Session],
    workdir: Workdir,
    lines: dict[str, str],
) -> dict[str, Result]:
    """Trains one cell after another, each in its own folder if there are several; each session is freed when done."""
    results = {}
    for name, config in configs.items():
        session = ready.pop(name)
        if len(configs) == 1:
            results[name] = run_session(experiment, session, workdir)
        else:
            results[name] = run_nested(experiment, session, config, workdir, name, lines)
    return results


def _roots(experiment: Experiment | Study, config: Flags) -> set[str]:
    """Returns the modules that the flags and the script name; their source counts even if they are installed."""
    named = [text for value in config.values.values() for text in (value if isinstance(value, list) else [value])]
    found = {text.partition(":")[0] for text in named if isinstance(text, str) and ":" in text}
    functions = (part for part in experiment if callable(part) and part is not experiment.flags)
    found |= {getattr(getattr(part, "func", part), "__module__", None) or "" for part in functions}
    return found & sys.modules.keys()


def _join_processes(config: Flags, name: str) -> None:
    """Joins the other processes of a run, if the flags name any."""
    place = {flag: config.values[flag] for flag in PROCESS_FLAGS if flag in config.values}
    if place.get("coordinator"):
        if config.values.get("analyse"):
            raise UserError("--analyse runs in one process: start the run again with it, alone, when it has ended")
        with refused_as(f"--coordinator={place['coordinator']}: "):
            distributed.start(**place, name=name)
    elif place.get("num_processes"):
        raise UserError(f"--num_processes={place['num_processes']} needs --coordinator, the address of process 0")


def lines_of_flags(experiment: Experiment | Study) -> dict[str, str]:
    """Returns the flags as lines of a flagfile, without values that no line can hold and that do not change the run."""
    lines: dict[str, str] = {}
    for name in (name for name in experiment.flags if name not in _UNRECORDED):
        with contextlib.suppress(UserError) if name in experiment.free else contextlib.nullcontext():
            flag = experiment.flags[name]
            lines |= {name: ""} if name in LATER_FLAGS and flag.value == flag.default else flag_lines([flag])
    return lines


def default_workdir(name: str, experiment: Experiment | Study) -> str:
    """Returns runs/NAME with the flags that are not at their defaults, so that the same flags find the same run."""
    given = [experiment.flags[n] for n in experiment.flags if n not in experiment.free]
    lines = flag_lines(flag for flag in given if flag.value != flag.default).values()
    text = "-".join(re.sub(r"[^\w.,=+-]+", "_", line.lstrip("-")) for line in sorted(lines) if line)
    if len(text) > 120:
        text = text[:100] + "-" + hashlib.sha256(text.encode()).hexdigest()[:10]
    return os.path.join("runs", f"{name}-{text}" if text else name)


def _name_runs(configs: list[Config]) -> dict[str, Config]:
    """Names each run after its cell, and its size if cells repeat; the name is empty without a network."""
    if "cell" not in configs[0].values:
        return {"": configs[0]}
    cells = [c.cell for c in configs]
    names = [c.cell if cells.count(c.cell) == 1 else f"{c.cell}-{c.hidden_size}" for c in configs]
    if len(set(names)) < len(names):
        raise UserError(f"--cell={','.join(cells)}: names a cell twice with the same --hidden_size")
    return {name.replace(":", "."): c for name, c in zip(names, configs)}
