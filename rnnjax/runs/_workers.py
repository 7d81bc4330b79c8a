"""Worker processes for a queue: what each does, and a pool that keeps some of them running."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from rnnjax.base import UserError
from rnnjax.base._errors import is_machines_fault
from rnnjax.runs._claims import excuse
from rnnjax.runs._engines import Job, errors_of_engine, make_engine
from rnnjax.runs._queue import BEAT, LEASE, POLL, TRIES, Claim, Queue, Task, Unit

_PATIENCE = 600.0  # seconds that a worker waits for a coordinator


def run_worker(folder: str, task: str, owner: str, lease: float = LEASE, tries: int = TRIES) -> int:
    """Runs a worker: claims and finishes units until the queue is closed or its coordinator is gone.

    Args:
      folder: of the queue.
      task: "module:function", from a unit to its result; an exception makes the unit fail.
      owner: the name of this worker.
      lease, tries: of the queue.

    Returns:
      The number of units that it finished.

    Example: one unit; the coordinator closes the queue half a second later.
      >>> import tempfile, threading
      >>> queue = Queue(Path(tempfile.mkdtemp()))
      >>> queue.put({"a": {"x.py": 1}})
      >>> queue.open()
      >>> threading.Timer(0.5, queue.close).start()
      >>> run_worker(str(queue.folder), "builtins:sorted", "worker 0")
      1
      >>> queue.ends()
      {'a': {'result': ['x.py']}}
    """
    queue, ended = Queue(Path(folder), lease, tries), 0
    module, _, name = task.partition(":")
    function: Task = getattr(importlib.import_module(module), name)
    while queue.is_open(owner):
        claim = queue.claim(owner)
        if claim is None:
            time.sleep(POLL)
            continue
        with Alive(queue, claim):
            try:
                what = {"result": function(claim.unit)}
            except Exception as error:
                line = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                what = {"fault" if is_machines_fault(error) else "failed": line}
        queue.end(claim.name, **what)
        ended += 1
    return ended


class Alive(AbstractContextManager[None]):
    """Touches a claim while its unit is worked on, and ends the process if it has lost the unit.

    A process that was frozen for longer than a lease has lost its unit and must not write any more. A process whose
    coordinator has stopped gives its unit back.
    """

    def __init__(self, queue: Queue, claim: Claim) -> None:
        self.queue, self.claim, self.over = queue, claim, threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)
        self.thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.over.set()
        self.thread.join()

    def _beat(self) -> None:
        while not self.over.wait(min(self.queue.lease / 6, BEAT)):
            if not self.queue.holds(self.claim):
                os._exit(3)
            if self.queue.is_closed():
                excuse(self.claim.path, stopped=True)
                os._exit(4)


def join(folder: str, task: str, patience: float = _PATIENCE) -> int:
    """Runs a worker that no engine has started, for one coordinator after another, until one closes the queue.

    SIGTERM, and the signals that batch systems send before a time limit, give its unit back and end the process.

    Args:
      folder: of the queue; a coordinator makes it.
      task: see `run_worker`.
      patience: seconds to wait for a coordinator.

    Returns:
      The number of units that it finished.

    Raises:
      UserError: no coordinator came.

    Example: the coordinator opens the queue after the worker has come.
      >>> import tempfile, threading
      >>> queue = Queue(Path(tempfile.mkdtemp()))
      >>> queue.put({"a": {"x.py": 1}})
      >>> for when, what in ((0.1, queue.open), (1.0, queue.close)):
      ...     threading.Timer(when, what).start()
      >>> join(str(queue.folder), "builtins:sorted")
      1
    """
    ended, came, me = 0, False, f"-by-hand-{os.uname().nodename}-{os.getpid()}"
    end = time.monotonic() + patience
    while time.monotonic() < end:
        queue = Queue(Path(folder)) if Path(folder).is_dir() else None
        session = queue.session() if queue is not None else None
        if session is not None and queue is not None and queue.is_open(session + me):
            with _giving_up(queue, session + me):
                ended += run_worker(folder, task, session + me)
            came, end = True, time.monotonic() + patience
        elif came and session is None:
            return ended
        else:
            time.sleep(POLL)
    raise UserError(f"{folder}: no coordinator has opened this queue for {patience:g} seconds")


@contextlib.contextmanager
def _giving_up(queue: Queue, owner: str) -> Iterator[None]:
    """Inside this block, a signal that asks for a stop gives the units of a worker back and ends the process."""

    def leave(signum: int, frame: object) -> None:
        queue.give_up(owner, stopped=True)
        os._exit(128 + signum)

    main = threading.current_thread() is threading.main_thread()
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2) if main else ()
    before = {s: signal.signal(s, leave) for s in stops}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, signal.SIG_DFL if handler is None else handler)


class Pool(AbstractContextManager["Pool"]):
    """Workers of a queue, which an engine starts, and restarts if they disappear.

    Args:
      queue: coordinated by this process.
      task: see `run_worker`.
      workers: number of workers.
      engine: local, on this machine, or slurm, as jobs of a cluster, both through submitit; ray; or none: workers are
        started by hand, see `join`.
      options: of submitit's `update_parameters`: timeout_min, gpus_per_node, cpus_per_task, slurm_partition, ...; or
        of a Ray task. `memory_fraction`: the part of a GPU's memory that each worker takes.

    Raises:
      UserError: the engine is not installed, or raises an error, or an option is malformed.

    Example: the workers run inside its context.
      >>> import tempfile
      >>> pool = Pool(Queue(Path(tempfile.mkdtemp())), "builtins:sorted", workers=2, engine="local")
      >>> pool.queue.left()
      []
    """

    def __init__(
        self, queue: Queue, task: str, workers: int, engine: str = "local", options: Mapping[str, Any] | None = None
    ) -> None:
        self.queue, self.task, self.engine = queue, task, engine
        self.starter = make_engine(engine, queue.folder / "jobs", options or {})
        self.jobs: dict[str, Job] = {}
        self.started, self.idle_deaths, self.seen = 0, 0, -1
        self.workers, self.session = workers, f"{os.uname().nodename}-{os.getpid()}"

    def __enter__(self) -> Pool:
        self.queue.forgive(self.session)
        self.queue.forget_faults()  # those that other workers met while an earlier session stopped
        self.queue.open(self.session)
        try:
            for place in range(self.workers if self.engine != "none" else 0):
                self._start(place)
        except BaseException:
            self.queue.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.queue.close()
        patience = time.monotonic() + 3 * BEAT if error is not None else math.inf
        for job in self.jobs.values():  # a local worker sees that the queue is closed, and exits
            while self.engine == "local" and not job.done() and time.monotonic() < patience:
                time.sleep(POLL)
            if not job.done():  # it may still be waiting in a cluster's queue
                job.cancel()
        for owner in self.jobs:
            self.queue.give_up(owner, stopped=True)
        self.jobs.clear()

    def run(
        self, units: Mapping[str, Unit], meanwhile: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields outcomes of units as they arrive, earlier ones first: (name, {"result": ...} or {"failed": ...}).

        Raises:
          UserError: a machine failed, for example with a full disk; the unit is still to be done.

        Args:
          units: by name.
          meanwhile: called repeatedly while this waits; an exception in it stops the workers.
        """
        self.queue.put(units)
        known: set[str] = set()
        while True:
            new = self.queue.ends(known)
            known |= new.keys()
            for name, end in new.items():
                if "fault" in end:
                    self.queue.again(name)
                    raise UserError(f"a worker stopped: {end['fault']}; the same command continues from here")
            yield from ((name, end) for name, end in new.items() if name in units)
            if known >= units.keys():
                return
            self.queue.open(self.session)
            self.mind()
            meanwhile()
            time.sleep(POLL)

    def mind(self) -> None:
        """Replaces workers that are gone, and frees their units."""
        for owner, job in list(self.jobs.items()):
            if job.done():
                del self.jobs[owner]
                self.queue.give_up(owner)
                self._assert_of_use(job)
                self._start(int(owner.rpartition("-")[2]) % self.workers)

    def _assert_of_use(self, job: Job) -> None:
        """Raises an error if workers keep ending without finishing a unit."""
        count = self.queue.claims()
        self.idle_deaths = 0 if count > self.seen else self.idle_deaths + 1
        self.seen = count
        if self.idle_deaths > self.workers + 1:
            lines = (job.stderr() or "").strip().splitlines() or ["they left no word"]
            raise UserError(f"the workers of --engine={self.engine} end before they have done anything: {lines[-1]}")

    def _start(self, place: int) -> None:
        # the place is the number modulo the number of workers, so a successor gets the same devices
        number = place + self.workers * self.started
        self.started += 1
        owner = f"{self.session}-{number}"
        arguments = (str(self.queue.folder), self.task, owner, self.queue.lease, self.queue.tries)
        with errors_of_engine(self.engine):
            self.jobs[owner] = self.starter.start(place, run_worker, *arguments)
