"""Launches of a command: each is a fork of a process that has imported everything and not yet used JAX."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import _work
from _compare import contents
from _strikes import Armed, Strike
from _xla import quick_flags

_IMPORTED = ("matplotlib.backends.backend_agg", "matplotlib.figure", "orbax.checkpoint", "optuna", "scipy.stats",
             "tensorboardX.event_file_writer", "experiments.adding", "experiments.sweep")  # fmt: skip


class Ended(NamedTuple):
    """How a launch ended: the status (negative: the signal), what it said, and the points that it passed."""

    status: int
    said: str
    passed: dict[str, int]


def prepare(cache: Path) -> None:
    """Imports everything, and keeps compiled programs in a folder. Call it once, before any fork.

    What is imported here is what every launch executes, even if its file is edited meanwhile.
    """
    os.environ["XLA_FLAGS"] = quick_flags()
    import jax

    from rnnjax.app import _process
    from rnnjax.runs import _sources
    from rnnjax.studies import _packs

    for name in _IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _sources.sources()
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    _process.use_compilation_cache = lambda config: None
    _packs._SAVE_SECONDS, _packs.CALL_SECONDS = 0.0, 0.0  # a checkpoint after each call, and short calls
    _set_lease(6.0)


def _set_lease(seconds: float) -> None:
    """Makes the lease of units short; when a unit is given up is tested elsewhere."""
    from rnnjax.runs import _queue, run_worker

    _queue.Queue.__init__.__defaults__ = (seconds, 100)  # type: ignore[misc]
    run_worker.__defaults__ = (seconds, 100)


def launched(argv: list[str], folder: Path, strike: Strike) -> tuple[int, int, Path]:
    """Starts a command in a fork of this process; returns its number, the pipe of its report and what it says."""
    told, tell = os.pipe()
    words = Path(tempfile.mkstemp(prefix="said", dir=folder.parent)[1])
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(tell)
        return pid, told, words
    status = 70
    try:
        os.setpgid(0, 0)
        os.chdir(folder.parent)
        out = os.open(words, os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        armed = Armed(strike, folder)
        status = called(argv)
        os.write(tell, json.dumps(dict(armed.passed)).encode())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def called(argv: list[str]) -> int:
    """The exit status of a command in this process; an error that nobody caught is 71, with its traceback."""
    from rnnjax import app, studies

    try:
        if argv[0] == "queue":
            _set_lease(1.5)
            return _work.main("--worker" in argv, Path(argv[-1].partition("=")[2]))
        if "--worker" in argv:
            try:
                studies.run_study(argv[1:])
            except SystemExit as left:
                return int(left.code or 0)
        return app.status(importlib.import_module(f"experiments.{argv[0]}").EXPERIMENT, argv)
    except BaseException:
        traceback.print_exc()
        return 71


def waited(pid: int, told: int, words: Path, seconds: float = 300.0) -> Ended:
    """Waits for a launch; one that does not end is killed, which is a fault: status 72."""
    end, status = time.monotonic() + seconds, None
    while status is None:
        done, raw = os.waitpid(pid, os.WNOHANG)
        if done:
            status = os.waitstatus_to_exitcode(raw)
        elif time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            status = 72
        else:
            time.sleep(0.01)
    with os.fdopen(told, "rb") as pipe:
        report = pipe.read()
    said = words.read_text(errors="replace")
    words.unlink()
    return Ended(status, said, json.loads(report) if report else {})


def in_fork(function: Callable[..., Any], *given: Any) -> Any:
    """Returns the JSON value that a function returns in a fork of this process, which may use JAX; None if it dies."""
    told, tell = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os.close(told)
        try:
            with os.fdopen(tell, "w") as report:
                json.dump(function(*given), report)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as report:
        text = report.read()
    os.waitpid(pid, 0)
    return json.loads(text) if text else None


def held(folder: Path) -> dict[str, Any]:
    """Returns what a workdir holds; read in a fork, because reading checkpoints begins to use JAX."""
    return in_fork(contents, folder) or {"nothing can be read": str(folder)}


def go(commands: list[list[str]], folder: Path, strike: Strike, victim: int = 0) -> list[Ended]:
    """Launches all processes of a thing, one of which is struck, and waits for all."""
    group = []
    if "--process_id=0" in commands[0]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = [f"--coordinator=127.0.0.1:{free.getsockname()[1]}", f"--num_processes={len(commands)}"]
    else:
        place = []
    for i, command in enumerate(commands):
        argv = [*command, *place, f"--workdir={folder.name}"]
        group.append(launched(argv, folder, strike if i == victim else Strike()))
    ends = [waited(*group[0])]
    if "--worker" in commands[-1]:  # the coordinator has ended, in whatever way; a killed one cannot tell its workers
        for pid, _, _ in group[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    return ends + [waited(*one) for one in group[1:]]


class Way(NamedTuple):
    """How things are launched, and how their folders are read: in forks, or all in this process, see `_replay`."""

    go: Callable[..., list[Ended]]
    held: Callable[[Path], dict[str, Any]]


FORKS = Way(go, held)


@contextlib.contextmanager
def place_of() -> Iterator[Path]:
    """The path of a workdir that is not there yet: one for all launches, since a summary names it."""
    place = Path(tempfile.mkdtemp(prefix="storm"))
    (place / "here").mkdir()
    try:
        yield place / "here" / "w"
    finally:
        shutil.rmtree(place, ignore_errors=True)
