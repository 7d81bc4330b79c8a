"""A study whose members are trained by workers on one or more machines; each takes a few of one group at a time."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, cast

from rnnjax.app import Config
from rnnjax.app._process import configure
from rnnjax.app._registry import parse_arguments
from rnnjax.app._signals import Interrupted
from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs import Pool, Queue, Workdir, make_writers, usable_cores
from rnnjax.runs._engines import check_engine
from rnnjax.runs._writers import Writer
from rnnjax.studies._compiler import Compiler, members_at_once
from rnnjax.studies._display import Display
from rnnjax.studies._members import Member, member
from rnnjax.studies._plan import Plan, find_experiment
from rnnjax.studies._results import Results
from rnnjax.studies._study import Options, Study

TASK = "rnnjax.studies._workers:train_unit"


class _Folder(NamedTuple):
    """The folder in which a worker trains a unit; it provides only the files of a workdir.

    It has no lock: the queue says who holds the unit, and a machine that disappears would never release a lock.
    """

    path: Path

    def file(self, name: str) -> Path:
        """Returns the path of a file in this folder."""
        return self.path / name

    def assert_there(self) -> None:
        """Checks that the folder was not removed while this process works."""
        with as_user_error("write", self.path):
            self.path.stat()


class SharedStudy(Study, AbstractContextManager["SharedStudy"]):
    """A `Study` that leaves training to workers, which run while its `with` block is open.

    Args:
      plan: of the study.
      config: of the study: --workers, --engine, --engine_args and how members run.
      workdir, results, display, writer, heard: as for a `Study`.

    Raises:
      UserError: see `refuse_workers`.
    """

    def __init__(
        self,
        plan: Plan,
        config: Config,
        workdir: Workdir,
        results: Results,
        display: Display,
        writer: Writer,
        heard: list[int],
    ) -> None:
        super().__init__(
            plan.experiment, workdir, results, Options(config.strategy, config.member_batch), display, writer, heard
        )
        self.plan, self.config, self.members = plan, config, dict[str, list[Member]]()
        self.folder = workdir.file("workers")
        options = parse_arguments("engine_args", config.engine_args)
        queue = Queue(self.folder)
        most = len(plan.points) * max(config.trials, 1)
        self.pool = Pool(queue, TASK, min(config.workers, most), config.engine, options)

    def __enter__(self) -> SharedStudy:
        self.pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.pool.__exit__(kind, error, traceback)

    def train(self, members: Sequence[Member]) -> None:
        """Lets workers train members to their end; those that are in the results already are skipped."""
        units = self.units(members)
        try:
            for name, end in self.pool.run(units, self.heed):
                self.take(name, end)
        except OSError:
            self.workdir.assert_there()
            raise
        self.clear()

    def clear(self) -> None:
        """Removes the files of finished members."""
        for folder in self.folder.glob("[0-9]*-*"):
            shutil.rmtree(folder, ignore_errors=True)
        self.clear_best()

    def heed(self) -> None:
        """Stops if a signal has arrived, or if the workdir is gone."""
        self.workdir.assert_there()
        if self.heard:
            raise Interrupted(self.heard[0])

    def units(self, members: Sequence[Member]) -> dict[str, dict[str, Any]]:
        """Divides the members of each group evenly into units; units whose members are all finished are skipped."""
        units, most = {}, members_at_once(self.options.member_batch)
        for group, _ in self.compiler.groups(members, self.fail):
            size = min(most, -(-len(group.members) // self.config.workers))
            for i in range(0, len(group.members), size):
                some = group.members[i : i + size]
                if all(m.id in self.results for m in some):
                    continue
                name = f"{some[0].id}-{hashlib.sha256(repr([m.id for m in some]).encode()).hexdigest()[:12]}"
                self.members[name] = some
                units[name] = self.unit(name, some, size)
        return units

    def unit(self, name: str, members: Sequence[Member], size: int) -> dict[str, Any]:
        """Returns the description of a unit for a worker."""
        return {
            "folder": os.fspath(self.folder / name),
            "experiment": self.plan.name,
            "fixed": self.plan.fixed,
            "members": [[m.id, m.flags] for m in members],
            "places": size,
            "strategy": self.config.strategy,
            "compilation_cache": self.config.compilation_cache,
        }

    def take(self, name: str, end: dict[str, Any]) -> None:
        """Records the results of a unit."""
        if "failed" in end:
            self.fail(self.members[name], UserError(end["failed"]))
            return
        rows = [row for row in end["result"] if row["member"] not in self.results]

        def keep(member: int) -> None:
            shutil.rmtree(self.best_folder(member), ignore_errors=True)
            with as_user_error("write", self.best_folder(member)):  # errors of copytree have no number
                shutil.copytree(self.folder / name / "best" / str(member), self.best_folder(member))

        for row in rows:
            if row["status"] == "failed":
                self.display.say(f"member {row['member']} failed: {row['note']}")
        self.put_down(rows, keep)
        self.display.add(sum(row.get("steps", 0) for row in rows))


def refuse_workers(config: Config) -> None:
    """Refuses flags that workers cannot handle.

    Raises:
      UserError: halving or a population, in which members wait for one another; too many workers; malformed options; or
        an engine that is not installed.
    """
    if config.workers and (config.halving or config.pbt):
        raise UserError("--workers go with neither --halving nor --pbt, in which members wait for one another")
    most = max(16, 4 * usable_cores()) if config.engine == "local" else 10_000
    if config.workers > most:
        raise UserError(f"--workers={config.workers}: at most {most:,} with --engine={config.engine}")
    if config.workers:
        check_engine(config.engine, parse_arguments("engine_args", config.engine_args))
    elif config.engine != "local" or config.engine_args:
        given = f"--engine_args={config.engine_args}" if config.engine_args else f"--engine={config.engine}"
        raise UserError(f"{given} needs --workers: without them this process trains the members")


_COMPILERS: dict[str, Compiler] = {}  # of this worker, so that units of one group compile once


def train_unit(unit: dict[str, Any]) -> list[dict[str, Any]]:
    """Trains the members of a unit in a worker, resuming where another has stopped, and returns their rows.

    Args:
      unit: as `SharedStudy.unit` returns it.
    """
    folder, experiment = Path(unit["folder"]), find_experiment(unit["experiment"])[0]
    fixed = [(name, value) for name, value in unit["fixed"]]
    members = [member(experiment, number, fixed, own) for number, own in unit["members"]]
    configure(members[0].config.replace(compilation_cache=unit["compilation_cache"]))
    folder.mkdir(exist_ok=True)
    place = cast(Workdir, _Folder(folder))
    results = Results(folder, list(members[0].flags), members[0].config.criterion())
    with open(os.devnull, "w") as nowhere, Display(results, len(members), 1, file=nowhere) as display:
        options = Options(unit["strategy"], unit["places"])
        study = Study(experiment, place, results, options, display, make_writers([], place), [])
        study.compiler = _COMPILERS.setdefault(repr((unit["experiment"], unit["places"])), study.compiler)
        study.compiler.capacity = unit["places"]
        study.train(members)
    return [results.rows[m.id] for m in members]
