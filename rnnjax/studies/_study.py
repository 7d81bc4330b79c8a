"""A running study: members in groups, groups in packs, successive halving, and the results of each member."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from rnnjax.app import Experiment, load_data, programs
from rnnjax.app._programs import Programs
from rnnjax.app._signals import Interrupted
from rnnjax.base import PyTree, UserError
from rnnjax.base._errors import is_machines_fault
from rnnjax.runs import Checkpoints, Workdir
from rnnjax.runs._writers import Writer
from rnnjax.studies._compiler import Compiler
from rnnjax.studies._display import Display
from rnnjax.studies._members import Member
from rnnjax.studies._packs import Pack, Row, repacked
from rnnjax.studies._results import Results
from rnnjax.training._population import survivors


class Options(NamedTuple):
    """How a study runs.

    Attributes:
      strategy: see `population`.
      member_batch: members at once; 0 for the default of the backend.
      halving: the best 1/halving of the members go on from each rung; 0 trains all to the end.
      rung: steps of the first rung.
    """

    strategy: str = "auto"
    member_batch: int = 0
    halving: int = 0
    rung: int = 0


class Study:
    """Trains members and stores their results.

    Args:
      experiment: of all members.
      workdir: of the study.
      results: in the workdir.
      options: how the study runs.
      display: shows the progress.
      writer: for TensorBoard and metrics.jsonl; its steps are finished members.
      heard: signals received so far.
    """

    def __init__(
        self,
        experiment: Experiment,
        workdir: Workdir,
        results: Results,
        options: Options,
        display: Display,
        writer: Writer,
        heard: list[int],
    ) -> None:
        self.experiment, self.workdir, self.results = experiment, workdir, results
        self.options, self.display, self.writer, self.heard = options, display, writer, heard
        self.compiler = Compiler(experiment, options.strategy, options.member_batch)
        self.packs_folder = workdir.file("packs")

    def train(self, members: Sequence[Member]) -> None:
        """Trains members to their end, rung by rung; those that are in the results already are skipped."""
        if all(m.id in self.results for m in members):
            self.clear()
            return
        alive, before = list(members), list[Pack]()
        for rung, target in enumerate(self.rungs(members)):
            last = rung == len(self.rungs(members)) - 1
            packs = self.packs(alive, rung)
            trained = [pack for pack in packs if self.train_pack(pack, target, before, last)]
            if last:
                break
            alive = self.halve(trained)
            before = trained
        self.clear()

    def clear(self) -> None:
        """Removes the files of finished members."""
        shutil.rmtree(self.packs_folder, ignore_errors=True)
        self.clear_best()

    def clear_best(self) -> None:
        """Removes the parameters of all members but the best."""
        kept = self.results.best()
        for folder in self.workdir.file("best").glob("*"):
            if kept is not None and folder.name != str(kept["member"]):
                shutil.rmtree(folder)

    def rungs(self, members: Sequence[Member]) -> list[int]:
        """Returns the steps at which rungs end; 0 trains each member to its own end."""
        if not self.options.halving:
            return [0]
        last = members[0].config.num_steps
        steps = [self.options.rung]
        while steps[-1] * self.options.halving < last:
            steps.append(steps[-1] * self.options.halving)
        return [*steps, last]

    def packs(self, members: Sequence[Member], rung: int) -> list[Pack]:
        """Divides the members of each group into packs of limited size."""
        packs = []
        for compiled, some in self.compiler.parts(members, self.fail):
            name = hashlib.sha256(repr([m.id for m in some]).encode()).hexdigest()[:12]
            packs.append(Pack(compiled, some, self.packs_folder / f"{rung}-{some[0].id}-{name}"))
        return packs

    def train_pack(self, pack: Pack, target: int, before: Sequence[Pack], last: bool) -> bool:
        """Trains a pack up to a rung, records members that finish there, and returns whether it succeeded."""
        ids = [m.id for m in pack.members]
        if last and all(i in self.results for i in ids):
            return True
        try:
            pack.begin((lambda: repacked(pack, before)) if before else None)
            self.display.add(pack.step * len(ids) if pack.saved >= 0 and not before else 0)
            self.advance(pack, target or pack.compiled.config.num_steps)
        except (Interrupted, KeyboardInterrupt):
            raise
        except Exception as error:
            self.fail(pack.members, error)
            return False
        if last:
            self.finish(pack, pack.rows())
            pack.drop()
            del pack.state
        else:
            pack.save()
        return True

    def advance(self, pack: Pack, target: int) -> None:
        """Trains a pack while handling progress and signals."""
        seen = pack.step

        def after(pack: Pack) -> None:
            nonlocal seen
            self.display.add((pack.step - seen) * len(pack.members))
            seen = pack.step
            self.workdir.assert_there()
            if self.heard:
                pack.save()
                raise Interrupted(self.heard[0])

        pack.train(target, after)

    def halve(self, packs: Sequence[Pack]) -> list[Member]:
        """Returns the members that go on from a rung; records the results of the others."""
        rows = {row["member"]: (pack, row) for pack in packs for row in pack.rows()}
        ids = list(rows)
        costs = [self.results.cost(row) for _, row in rows.values()]
        going = [ids[i] for i in survivors(costs, self.options.halving)] if ids else []
        going = [i for i in going if rows[i][1]["status"] != "diverged"]
        for pack in packs:
            own = [row for p, row in rows.values() if p is pack and row["member"] not in going]
            self.finish(pack, [row | {"status": _stopped(row)} for row in own])
            del pack.state
        return [m for pack in packs for m in pack.members if m.id in going]

    def finish(self, pack: Pack, rows: Sequence[Row]) -> None:
        """Records finished members, and keeps the parameters of the best one so far."""
        places = {m.id: i for i, m in enumerate(pack.members)}

        def keep(member: int) -> None:
            step, params = pack.params(places[member])
            Checkpoints(self.best_folder(member)).save(step, params)

        self.put_down(rows, keep)

    def put_down(self, rows: Sequence[Row], keep: Callable[[int], None]) -> None:
        """Adds rows to the results, after calling `keep` to save the parameters of a new best member."""
        self.workdir.assert_there()
        best, cost = self.results.best(), self.results.cost
        ahead = min(rows, key=cost, default=None)
        if ahead is not None and np.isfinite(cost(ahead)) and (best is None or cost(ahead) < cost(best)):
            keep(ahead["member"])
        known = len(self.results.rows)
        self.results.add(rows)
        self.write_scores(known)
        self.clear_best()
        for row in rows:
            if row["status"] == "diverged":
                self.display.say(f"member {row['member']} diverged at step {row['steps']}")

    def write_scores(self, start: int) -> None:
        """Writes the metrics of finished members with a score, from index `start` on, in the order of finishing."""
        costs, value = [self.results.cost(row) for row in self.results.rows.values()], self.results.criterion.cost
        for i in range(start, len(costs)):
            if np.isfinite(costs[i]):
                self.writer.write(i + 1, {"best": value(min(costs[: i + 1])), "score": value(costs[i])})

    def fail(self, members: Sequence[Member], error: Exception) -> None:
        """Reports members that cannot be trained, in one line; the others go on.

        Raises:
          UserError: the machine is at fault, and the same command may work later.
        """
        if is_machines_fault(error):
            raise UserError(f"{_first_line(error)}; the same command continues from here") from error
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        note = " ".join(said.split())[:300]
        own = [m for m in members if m.id not in self.results]
        self.results.add({"member": m.id, "flags": m.flags, "status": "failed", "note": note} for m in own)
        if own:
            which = f"member {own[0].id}" + (f" and {len(own) - 1} more" if len(own) > 1 else "")
            self.display.say(f"{which} failed: {note}")

    def best_folder(self, member: int) -> Path:
        """Returns the folder with the parameters of the best member."""
        return self.workdir.file("best") / str(member)

    def run_alone(self, member: Member) -> tuple[Programs, PyTree]:
        """Returns the programs and data of a member as in a single run."""
        facts, data = load_data(self.experiment.load, member.config)
        return programs(self.experiment.build_with(facts), member.config), data

    def test(self, member: Member, run: Programs, data: PyTree) -> dict[str, float]:
        """Scores a member on the test set with its best parameters, as a single run would."""
        like: PyTree = jax.eval_shape(run.init, data).state.params
        found = Checkpoints(self.best_folder(member.id)).restore(like)
        return {} if run.test is None or found is None else run.test(found[1], data)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _stopped(row: Row) -> str:
    """Returns the status of a member that does not go on from a rung."""
    return "diverged" if row["status"] == "diverged" else "halved"
