"""Work in units, shared out over processes and machines through a folder that all of them see.

    folder/units/NAME.json     what there is to do
    folder/claims/NAME.K       the K-th try: who does it; a claim that is not touched for a lease is no longer held
    folder/ends/NAME.json      what came of it: {"result": ...} or {"failed": why}
    folder/open                touched by the coordinator while it lives; gone when there is nothing more to do

A worker claims a unit by creating the file of its next try, which one alone can do, and touches it while it works. So a
process or a machine that disappears costs the units it held: another takes them, and after `tries` of them the unit has
failed. Ages are differences of times of the file system, so clocks need not agree. What a unit gives is written at once
or not at all, and stays: a study that is started again does what is left.
"""

from __future__ import annotations

import importlib
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rnnjax.errors import UserError, refusing
from rnnjax.workdir import atomic_write, plain

Unit = dict[str, Any]
Task = Callable[[Unit], Any]
ENGINES = ("local", "slurm")
LEASE, TRIES, POLL, BEAT = 60.0, 3, 0.2, 2.0


class Claim(NamedTuple):
    """A unit that a worker holds: its name, what there is to do, and the file that says so."""

    name: str
    unit: Unit
    path: Path


class Queue:
    """Units in a folder; any number of processes may hold one.

    Args:
      folder: made where it is not there.
      lease: seconds after which a claim that nobody has touched is given up.
      tries: how often a unit is claimed before it counts as failed.

    Example: one unit from beginning to end.
      >>> import tempfile
      >>> queue = Queue(Path(tempfile.mkdtemp()))
      >>> queue.put({"a": {"x": 2}})
      >>> claim = queue.claim("worker 0")
      >>> queue.claim("worker 1") is None, queue.left()
      (True, ['a'])
      >>> queue.end(claim.name, result=claim.unit["x"] ** 2)
      >>> queue.ends(), queue.left()
      ({'a': {'result': 4}}, [])
    """

    def __init__(self, folder: Path, lease: float = LEASE, tries: int = TRIES) -> None:
        self.folder, self.lease, self.tries = folder, lease, tries
        with refusing("write", folder):
            for name in ("units", "claims", "ends"):
                (folder / name).mkdir(parents=True, exist_ok=True)

    def put(self, units: Mapping[str, Unit]) -> None:
        """Adds units; one that is there already is left alone. Names are file names without a dot."""
        for name in units.keys() - set(self._names("units")):
            atomic_write(self.folder / "units" / f"{name}.json", json.dumps(plain(units[name])))

    def left(self) -> list[str]:
        """The units that have not come to an end, in the order of their names."""
        ended = set(self._names("ends"))
        return [name for name in self._names("units") if name not in ended]

    def claim(self, owner: str) -> Claim | None:
        """The first unit that nobody holds; None: there is none at present.

        Args:
          owner: who claims it, see `give_up`.
        """
        tried, now = self._tried(), None
        for name in self.left():
            k = tried.get(name, 0)
            if k:
                now = self._now(owner) if now is None else now
                if self._touched(name, k) > now - self.lease:
                    continue
            if k >= self.tries:
                self.end(name, failed=f"each of the {k} processes that took it disappeared")
            elif self._create(name, k + 1, owner):
                path = self.folder / "units" / f"{name}.json"
                return Claim(name, json.loads(path.read_bytes()), self._claim(name, k + 1))
        return None

    def holds(self, claim: Claim) -> bool:
        """Touches a claim; whether it is still the last one of its unit."""
        os.utime(claim.path)
        name, k = _split(claim.path)
        return not self._claim(name, k + 1).exists()

    def give_up(self, owner: str) -> None:
        """Frees at once what an owner holds who is known to be gone."""
        for name, k in self._tried().items():
            path = self._claim(name, k)
            if path.read_text(encoding="utf-8") == owner:
                os.utime(path, (0, 0))

    def end(self, name: str, **what: Any) -> None:
        """Writes what came of a unit: `result=` anything that JSON can say, or `failed=` a line."""
        atomic_write(self.folder / "ends" / f"{name}.json", json.dumps(plain(what)))

    def ends(self, known: Collection[str] = ()) -> dict[str, dict[str, Any]]:
        """What came of the units that have come to an end, but for those that are known already."""
        names = (name for name in self._names("ends") if name not in known)
        return {name: json.loads((self.folder / "ends" / f"{name}.json").read_bytes()) for name in names}

    def claims(self) -> int:
        """How often units were claimed."""
        return sum(self._tried().values())

    def open(self, session: str = "") -> None:
        """Says that the coordinator lives; called again and again. It has no use for workers of other sessions."""
        path = self.folder / "open"
        if path.exists() and path.read_text(encoding="utf-8") == session:
            os.utime(path)
        else:
            atomic_write(path, session)

    def close(self) -> None:
        """Says that there will be nothing more to do."""
        (self.folder / "open").unlink(missing_ok=True)

    def is_closed(self) -> bool:
        """Whether the coordinator has said so."""
        return not (self.folder / "open").exists()

    def is_open(self, owner: str) -> bool:
        """Whether there may be more to do: the coordinator has not closed the queue, lives, and started this worker."""
        path = self.folder / "open"
        try:
            lives = path.stat().st_mtime > self._now(owner) - 2 * self.lease
            return lives and owner.startswith(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False

    def _names(self, kind: str) -> list[str]:
        files = (path.name for path in (self.folder / kind).iterdir())
        return sorted(name.removesuffix(".json") for name in files if not name.startswith("."))

    def _tried(self) -> dict[str, int]:
        """The last try of each unit that was claimed."""
        tried: dict[str, int] = {}
        for name, k in map(_split, (self.folder / "claims").glob("[!.]*")):
            tried[name] = max(k, tried.get(name, 0))
        return tried

    def _claim(self, name: str, k: int) -> Path:
        return self.folder / "claims" / f"{name}.{k}"

    def _touched(self, name: str, k: int) -> float:
        return self._claim(name, k).stat().st_mtime

    def _create(self, name: str, k: int, owner: str) -> bool:
        """Makes a claim, whole from the start; False: another was first."""
        mine = self.folder / "claims" / f".{name}.{k}.{_safe(owner)}"
        mine.write_text(owner, encoding="utf-8")
        try:
            os.link(mine, self._claim(name, k))
        except FileExistsError:
            return False
        finally:
            mine.unlink()
        return True

    def _now(self, owner: str) -> float:
        """The time by the clock of the file system."""
        probe = self.folder / f".clock.{_safe(owner)}"
        probe.touch()
        return probe.stat().st_mtime


def _split(path: Path) -> tuple[str, int]:
    name, _, k = path.name.rpartition(".")
    return name, int(k)


def _safe(owner: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in owner)


def work(folder: str, task: str, owner: str, lease: float = LEASE, tries: int = TRIES) -> int:
    """What a worker does: claims units and ends them, until the queue is closed or its coordinator is gone.

    Args:
      folder: of the queue.
      task: "module:function", from a unit to its result; a `UserError` or another exception is the unit's failure.
      owner: the name of this worker.
      lease, tries: of the queue.

    Returns:
      How many units it ended.
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
            except UserError as error:
                what = {"failed": str(error)}
            except Exception as error:
                what = {"failed": f"{type(error).__name__}: {error}"}
        queue.end(claim.name, **what)
        ended += 1
    return ended


class Alive(AbstractContextManager[None]):
    """Touches a claim while the unit is worked on; ends the process if that is no longer wanted.

    A process that was frozen for a lease is one that others have given up: it must not write any more. One whose
    coordinator was stopped gives its unit back.
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
                os.utime(self.claim.path, (0, 0))
                os._exit(4)


class Pool(AbstractContextManager["Pool"]):
    """Workers of a queue, started by an engine and started again when they disappear.

    Args:
      queue: of which this process is the coordinator.
      task: see `work`.
      workers: how many.
      engine: local: on this machine; slurm: jobs of a cluster. Both through submitit.
      options: of submitit's `update_parameters`: timeout_min, gpus_per_node, cpus_per_task, slurm_partition, ...

    Raises:
      UserError: submitit is not installed, or refuses.
    """

    def __init__(
        self, queue: Queue, task: str, workers: int, engine: str = "local", options: Mapping[str, Any] | None = None
    ) -> None:
        self.queue, self.task, self.engine, self.options = queue, task, engine, dict(options or {})
        self.jobs: dict[str, Any] = {}
        self.started, self.idle_deaths, self.seen = 0, 0, -1
        self.workers, self.session = workers, f"{os.uname().nodename}-{os.getpid()}"

    def __enter__(self) -> Pool:
        self.queue.open(self.session)
        try:
            for place in range(self.workers):
                self._start(place)
        except BaseException:
            self.queue.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.queue.close()
        for job in self.jobs.values():
            if error is None and self.engine == "local":
                job.wait()
            else:  # it may still stand in the line of a cluster
                job.cancel()
        for owner in self.jobs:
            self.queue.give_up(owner)
        self.jobs.clear()

    def run(
        self, units: Mapping[str, Unit], meanwhile: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The ends of units, as they come: (name, {"result": ...} or {"failed": ...}). Those of before come first.

        Args:
          units: by name.
          meanwhile: called again and again while this waits; what it raises stops the workers.
        """
        self.queue.put(units)
        known: set[str] = set()
        while True:
            new = self.queue.ends(known)
            known |= new.keys()
            yield from ((name, end) for name, end in new.items() if name in units)
            if known >= units.keys():
                return
            self.queue.open(self.session)
            self.mind()
            meanwhile()
            time.sleep(POLL)

    def mind(self) -> None:
        """Starts workers in place of those that are gone, and frees what those held."""
        for owner, job in list(self.jobs.items()):
            if job.done():
                del self.jobs[owner]
                self.queue.give_up(owner)
                self._assert_of_use(job)
                self._start(int(owner.rpartition("-")[2]) % self.workers)

    def _assert_of_use(self, job: Any) -> None:
        """Complains where worker after worker ends and no unit does."""
        count = self.queue.claims()
        self.idle_deaths = 0 if count > self.seen else self.idle_deaths + 1
        self.seen = count
        if self.idle_deaths > self.workers + 1:
            lines = (job.stderr() or "").strip().splitlines() or ["they left no word"]
            raise UserError(f"the workers of --engine={self.engine} end before they have done anything: {lines[-1]}")

    def _start(self, place: int) -> None:
        # the place is the remainder of the number, so that a successor has the same devices
        number = place + self.workers * self.started
        self.started += 1
        owner = f"{self.session}-{number}"
        arguments = (str(self.queue.folder), self.task, owner, self.queue.lease, self.queue.tries)
        try:
            self.jobs[owner] = self._executor(place).submit(work, *arguments)
        except UserError:
            raise
        except Exception as error:  # whatever a cluster says no with
            raise UserError(f"--engine={self.engine}: {' '.join(str(error).split())}") from error

    def _executor(self, place: int) -> Any:
        os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")  # it would print its own lines among ours
        try:
            import submitit
        except ImportError as error:
            raise UserError("workers need a package that is not installed: pip install 'rnnjax[cluster]'") from error
        executor = submitit.AutoExecutor(folder=self.queue.folder / "jobs", cluster=self.engine)
        options: dict[str, Any] = {"name": "rnnjax", "timeout_min": 24 * 60} | self.options
        gpus = options.get("gpus_per_node", 0)
        if self.engine == "local" and gpus:  # submitit would give all workers the same ones
            options["visible_gpus"] = list(range(place * gpus, (place + 1) * gpus))
        executor.update_parameters(**options)
        return executor
