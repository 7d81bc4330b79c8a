"""Engines that start worker processes: submitit, on this machine or a SLURM cluster; Ray; or nobody, for workers that
are started by hand, such as an array of jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from rnnjax.base import UserError
from rnnjax.runs._extras import import_extra
from rnnjax.runs._queue import Queue

ENGINES = ("local", "slurm", "ray", "none")
_MEMORY = "memory_fraction"
_Work = Callable[..., int]


class Job(Protocol):
    """A worker process that an engine has started."""

    def done(self) -> bool:
        """Returns whether it has ended, in whatever way."""

    def cancel(self) -> Any:
        """Ends it, or takes it out of a queue."""

    def stderr(self) -> str | None:
        """Returns what it left on standard error."""


class _Engine(Protocol):
    """Starts workers."""

    def start(self, place: int, work: _Work, *arguments: Any) -> Job:
        """Starts work(*arguments) in another process; `place` numbers the workers that run at the same time."""

    def check(self) -> None:
        """Raises the errors of a start, and starts nothing."""


class _Call:
    """A call of `work` in another process. Before a time limit, SLURM sends SIGUSR2: then it is queued again.

    Args:
      work: what to call.
      environment: variables to set before.
    """

    def __init__(self, work: _Work, environment: Mapping[str, str]) -> None:
        self.work, self.environment = work, dict(environment)

    def __call__(self, *arguments: Any) -> int:
        os.environ.update(self.environment)
        return self.work(*arguments)

    def checkpoint(self, folder: str, task: str, owner: str, *more: Any) -> Any:
        """Frees the units of this worker, which goes on from their checkpoints, and returns the same call for later."""
        import submitit

        Queue(Path(folder)).give_up(owner, stopped=True)
        return submitit.helpers.DelayedSubmission(self, folder, task, owner, *more)


class _Submitit:
    """Starts workers by submitit; `options` are those of its `update_parameters`."""

    def __init__(self, cluster: str, folder: Path, options: Mapping[str, Any]) -> None:
        self.cluster, self.folder = cluster, folder
        self.options, self.environment = without_memory(options)

    def start(self, place: int, work: _Work, *arguments: Any) -> Job:
        """Starts a worker as a process of this machine or a job of the cluster."""
        executor = self._executor(place)
        with _without_interrupts():
            job: Job = executor.submit(_Call(work, self.environment), *arguments)
        return job

    def check(self) -> None:
        """Raises the errors of a start, and starts nothing."""
        self._executor(0)

    def _executor(self, place: int) -> Any:
        """Returns what submits a worker."""
        os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")  # keeps its log lines out of ours
        submitit = import_extra("submitit", f"--engine={self.cluster}", "cluster")
        executor = submitit.AutoExecutor(folder=self.folder, cluster=self.cluster)
        options: dict[str, Any] = {"name": "rnnjax", "timeout_min": 24 * 60} | self.options
        gpus = options.get("gpus_per_node", 0)
        if self.cluster == "local" and gpus:  # submitit would give all workers the same GPUs
            options["visible_gpus"] = list(range(place * gpus, (place + 1) * gpus))
        executor.update_parameters(**options)
        return executor


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started inside this block do not hear Ctrl-C, which a terminal sends to all: the coordinator does."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def without_memory(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the options of an engine, and the variables of a worker that shares its GPU with others.

    Raises:
      UserError: the fraction of the memory is not one.

    Example:
      >>> without_memory({"timeout_min": 600, "memory_fraction": 0.3})
      ({'timeout_min': 600}, {'XLA_PYTHON_CLIENT_MEM_FRACTION': '0.3'})
    """
    rest = {name: value for name, value in options.items() if name != _MEMORY}
    if _MEMORY not in options:
        return rest, {}
    fraction = options[_MEMORY]
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 < fraction <= 1:
        raise UserError(f"--engine_args={_MEMORY}={fraction}: a number above 0 and at most 1")
    return rest, {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{fraction:g}"}


@contextlib.contextmanager
def errors_of_engine(name: str) -> Iterator[None]:
    """Turns any error of an engine into a line that names it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"--engine={name}: {' '.join(str(error).split())}") from error


def check_engine(name: str, options: Mapping[str, Any]) -> None:
    """Refuses an engine that cannot start workers here, and options that it does not take; creates nothing.

    Raises:
      UserError: it is not installed, or says why.

    Example:
      >>> check_engine("none", {"timeout_min": 600})
      Traceback (most recent call last):
      rnnjax.base.UserError: --engine_args=timeout_min=...: workers that are started by hand take no options
    """
    if name == "none":
        for option in options:
            raise UserError(f"--engine_args={option}=...: workers that are started by hand take no options")
        return
    with tempfile.TemporaryDirectory() as folder, errors_of_engine(name):
        make_engine(name, Path(folder), options).check()


def make_engine(name: str, folder: Path, options: Mapping[str, Any]) -> _Engine:
    """Returns an engine by name.

    Args:
      name: local, slurm, ray or none.
      folder: for files of submitit.
      options: of submitit's `update_parameters`, or of a Ray task; `memory_fraction`: of a GPU, for each worker.

    Raises:
      UserError: an option is malformed.
    """
    if name == "ray":
        from rnnjax.runs._ray import Ray

        return Ray(*without_memory(options))
    return _Submitit(name, folder, options)
