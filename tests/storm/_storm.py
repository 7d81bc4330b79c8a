"""Runs a command under strikes, restarts it until it ends, and compares its folder with an undisturbed twin.

Each launch is a fork of a process that has imported everything and not yet used JAX, so that a kill costs a second.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from _compare import contents, differences
from _strikes import ERRORS, Strike, arm, flip

TOY = ["--cell=vanilla", "--hidden_size=3", "--length=4", "--batch_size=4", "--eval_batches=1", "--num_steps=12"]
RUN = [*TOY, "--log_every=2", "--eval_every=4", "--checkpoint_every=2"]
STUDY = ["--experiment=adding", *(f"--set={flag[2:]}" for flag in TOY), "--set=eval_every=4"]
GRID = [*STUDY, "--grid=learning_rate=1e-3,1e-2", "--grid=seed=0,1", "--member_batch=2"]
DRAWN = [*STUDY, "--space=learning_rate=log:1e-3:1e-1", "--trials=4"]
THINGS = {
    "run": [["adding", *RUN]],
    "run of two cells": [["adding", *RUN, "--cell=vanilla,irnn"]],
    "study, map": [["sweep", *GRID, "--strategy=map"]],
    "study, vmap": [["sweep", *GRID, "--strategy=vmap"]],
    "study, halving": [["sweep", *GRID, "--strategy=map", "--halving=2", "--rung=4"]],
    "study, pbt": [["sweep", *DRAWN, "--strategy=vmap", "--pbt=4", "--sampler=random"]],
    "study, tpe": [["sweep", *DRAWN, "--strategy=map", "--ask=2"]],
    "study, four workers": [
        ["sweep", *GRID, "--strategy=map", "--member_batch=1", "--workers=4", "--engine=none"],
        *[["sweep", "--worker"]] * 4,
    ],
    "two processes": [["adding", *RUN, "--lost_after=20", f"--process_id={i}"] for i in range(2)],
}
_IMPORTED = ("matplotlib.backends.backend_agg", "matplotlib.figure", "orbax.checkpoint", "optuna", "scipy.stats",
             "tensorboardX.event_file_writer", "experiments.adding", "experiments.sweep")  # fmt: skip
MOST_LAUNCHES = 40


class Ended(NamedTuple):
    """How a launch ended: the status (negative: the signal), what it said, and the points that it passed."""

    status: int
    said: str
    passed: dict[str, int]


def prepare(cache: Path) -> None:
    """Imports everything, and keeps compiled programs in a folder. Call it once, before any fork."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"
    import jax

    from rnnjax.app import _process
    from rnnjax.runs import _queue, work
    from rnnjax.studies import _packs

    for name in _IMPORTED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    _process.use_compilation_cache = lambda config: None
    _packs._SAVE_SECONDS, _packs.CALL_SECONDS = 0.0, 0.0  # a checkpoint after each call, and short calls
    _queue.Queue.__init__.__defaults__ = (6.0, 100)  # a short lease; when a unit is given up is tested elsewhere
    work.__defaults__ = (6.0, 100)


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


def held(folder: Path) -> dict[str, Any]:
    """Returns what a workdir holds; read in a fork, because reading checkpoints begins to use JAX."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException), os.fdopen(tell, "w") as report:
            json.dump(contents(folder), report)
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as report:
        text = report.read()
    os.waitpid(pid, 0)
    return dict(json.loads(text)) if text else {"nothing can be read": str(folder)}


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


class Tally(NamedTuple):
    """What became of the strikes of a kind: how many fell, and what went wrong."""

    fell: int
    faults: list[str]


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="storm"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def storm(thing: str, kind: str, count: int, seed: int = 0) -> Tally:
    """Strikes a thing until so many strikes have fallen, on as many runs as that takes.

    Args:
      thing: a name in THINGS.
      kind: kill, ENOSPC, EIO or flip.
      count: of strikes.
      seed: of everything that is drawn.
    """
    commands, draw, fell, faults = THINGS[thing], random.Random(f"{thing} {kind} {seed}"), 0, list[str]()
    with _place() as place:
        folder = place / "here" / "w"  # one path for all, since a summary names it
        folder.parent.mkdir()
        ends = go(commands, folder, Strike())
        if ends[0].status:
            return Tally(0, [f"the twin ends with {ends[0].status}: {ends[0].said[-500:]}"])
        wanted, points = held(folder), ends[0].passed
        while fell < count and not faults:
            shutil.rmtree(folder)
            fallen, faults = _struck(commands, folder, kind, points, draw, count - fell)
            fell += fallen
            faults = faults or [f"differs: {name}" for name in differences(held(folder), wanted)]
    return Tally(fell, faults)


def _struck(
    commands: list[list[str]], folder: Path, kind: str, points: dict[str, int], draw: random.Random, most: int
) -> tuple[int, list[str]]:
    """Strikes one run again and again until it has ended; returns how often, and what went wrong."""
    fell = 0
    for _ in range(MOST_LAUNCHES):
        strike, victim = _drawn(kind, points, draw, len(commands)) if fell < most else (Strike(), 0)
        ends = go(commands, folder, strike, victim)
        fault = _wrong(ends, strike, victim)
        if fault:
            return fell, [f"{strike} on process {victim}: {fault}"]
        fell += ends[victim].status != 0 and kind != "flip"
        if all(end.status == 0 for end in ends[: 1 if "--worker" in commands[-1] else None]):
            return fell, []
        if kind == "flip" and fell < most and folder.exists():
            fault, flipped = _flipped(commands, folder, draw)
            fell += flipped
            if fault:
                return fell, [fault]
    return fell, [f"it has not ended after {MOST_LAUNCHES} launches"]


def _drawn(kind: str, points: dict[str, int], draw: random.Random, processes: int) -> tuple[Strike, int]:
    """Draws a strike, and the process that it falls on."""
    point = draw.choice([p for p in points if points[p]] + ["call"])
    strike = Strike("kill" if kind == "flip" else kind, point, draw.randint(1, points[point]), draw.getrandbits(32))
    return strike, draw.randrange(processes)


def _wrong(ends: list[Ended], strike: Strike, victim: int) -> str:
    """Says what no launch may do: end without a word, with a traceback, or never."""
    for i, end in enumerate(ends):
        hit = i == victim and end.status == -signal.SIGKILL and strike.kind == "kill"
        if not hit and (end.status not in (0, 1, 3, 4, 143, -signal.SIGTERM) or "Traceback" in end.said):
            return f"process {i} ends with {end.status}: {end.said[-700:]}"
        if end.status == 1 and strike.kind in ERRORS and len(end.said.splitlines()) > 6:
            return f"process {i} says more than a line: {end.said[-700:]}"
    return ""


def _flipped(commands: list[list[str]], folder: Path, draw: random.Random) -> tuple[str, int]:
    """Flips a bit, and launches: the file is made again, or named; a named one is put back."""
    found = flip(folder, draw.getrandbits(32))
    if found is None:
        return "", 0
    path, data = found
    changed, ends = path.read_bytes(), go(commands, folder, Strike())
    if ends[0].status == 0:  # it was made again, or nobody had to read it: a checkpoint says so when it is read
        if path.name != "results.csv" and path.exists() and path.read_bytes() == changed:
            path.write_bytes(data)
        return "", 1
    name = path.relative_to(folder).parts[0]
    if ends[0].status != 1 or "Traceback" in ends[0].said or name not in ends[0].said:
        return f"a bit of {path.relative_to(folder)}: status {ends[0].status}: {ends[0].said[-500:]}", 1
    if path.exists() and path.read_bytes() == changed:
        path.write_bytes(data)
    return "", 1
