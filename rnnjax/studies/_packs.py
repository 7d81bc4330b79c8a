"""Members trained together: a pack fills the places of one compiled program, and is saved and resumed as a whole."""

from __future__ import annotations

import errno
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.app import Config
from rnnjax.app._state import Pace
from rnnjax.base import PyTree, count
from rnnjax.runs import Checkpoints
from rnnjax.runs._checkpoint import AllDamagedError
from rnnjax.runs._leaves import to_stderr
from rnnjax.studies._members import Member
from rnnjax.studies._programs import GroupPrograms, State
from rnnjax.training import spread

CALL_SECONDS = 2.0  # target duration of one call; progress and signals are handled between calls
_SAVE_SECONDS = 10.0  # between two checkpoints of a running pack
Row = dict[str, Any]


class Compiled(NamedTuple):
    """What the packs of a group share.

    Attributes:
      config: of any member.
      data: on the device.
      programs: of the group.
      number: config -> numbers of a member.
      capacity: number of places in a pack, the same for all, so that nothing compiles twice.
      strategy: how its members run.
      like: the shapes of the state of a pack.
      names: of the measured values.
    """

    config: Config
    data: PyTree
    programs: GroupPrograms
    number: Callable[[Config], dict[str, np.generic]]
    capacity: int
    strategy: str
    like: State
    names: list[str]


def _places(count: int, capacity: int, devices: int) -> np.ndarray:
    """Returns the places of some members, spread evenly over devices that hold consecutive places.

    Example:
      >>> _places(3, capacity=8, devices=2).tolist()
      [0, 4, 1]
    """
    return np.arange(capacity).reshape(devices, -1).T.ravel()[:count]


class Pack:
    """Some members of a group in training.

    Args:
      compiled: of their group.
      members: at most one per place.
      folder: of its checkpoints.
      extra: names of further records, which the caller fills.
    """

    def __init__(
        self, compiled: Compiled, members: Sequence[Member], folder: Path, extra: tuple[str, ...] = ()
    ) -> None:
        self.compiled, self.members, self.folder, self.extra = compiled, list(members), folder, extra
        self.criterion = compiled.config.criterion()
        devices = jax.local_device_count() if compiled.strategy == "shard" else 1
        self.places = _places(len(self.members), compiled.capacity, devices)
        self.checkpoints = Checkpoints(folder, keep=2)
        self.pace = Pace()
        self.step, self.seconds, self.saved = 0, 0.0, -1
        self.state: State
        self.records: dict[str, np.ndarray] = {}

    def numbers(self) -> dict[str, np.ndarray]:
        """Returns the numbers of all places; places without a member repeat the first."""
        own = [self.compiled.number(m.config) for m in self.members]
        filled = [own[0]] * self.compiled.capacity
        for place, numbers in zip(self.places, own):
            filled[place] = numbers
        return {name: np.stack([numbers[name] for numbers in filled]) for name in own[0]}

    def fresh(self) -> State:
        """Returns the initial state of all members."""
        return self.compiled.programs.init(self.numbers(), self.compiled.data)

    def begin(self, start: Callable[[], tuple[State, dict[str, np.ndarray], int]] | None = None) -> None:
        """Resumes the pack from its checkpoint, or else begins with `start`, or afresh."""
        like, names, config = self.compiled.like, self.compiled.names, self.compiled.config
        rounds = math.ceil(config.num_steps / config.eval_every)
        records = {
            name: np.full((self.compiled.capacity, rounds), np.nan, np.float32) for name in (*names, *self.extra)
        }
        try:
            found = self.checkpoints.restore({"state": like, "records": records, "seconds": np.float64(0)})
        except AllDamagedError as error:
            to_stderr(f"{error}; they are trained again")
            self.drop()
            found = None
        if found is not None:
            self.step, saved = found
            self.state, self.records = spread(saved["state"], self.compiled.strategy), saved["records"]
            self.seconds, self.saved = float(saved["seconds"]), found[0]
        elif start is not None:
            state, self.records, self.step = start()
            self.state = spread(state, self.compiled.strategy)
        else:
            self.state, self.records = self.fresh(), records

    def save(self) -> None:
        """Writes a checkpoint, unless this step has one."""
        if self.saved != self.step:
            saved = {"state": self.state, "records": self.records, "seconds": np.float64(self.seconds)}
            self.checkpoints.save(self.step, saved)
            self.saved = self.step

    def drop(self) -> None:
        """Removes its checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def live(self) -> np.ndarray:
        """Returns which places have a member that is not finished, `[capacity]`."""
        patience = self.compiled.config.patience
        going = np.asarray(self.state.run.progress.finite)
        if patience:
            going = going & (np.asarray(self.state.run.stale) < patience)
        taken = np.zeros(self.compiled.capacity, bool)
        taken[self.places] = True
        return going & taken

    def train(self, target: int, after: Callable[[Pack], None]) -> None:
        """Trains all unfinished members up to a step; `after` runs after each call of the program."""
        written = time.monotonic()
        while self.step < target and self.live().any():
            self.advance(target)
            after(self)
            if time.monotonic() - written > _SAVE_SECONDS:
                self.save()
                written = time.monotonic()
        self.step = max(self.step, target)

    def advance(self, target: int) -> None:
        """Makes one call of the program, and what is due after it."""
        config, begun = self.compiled.config, time.perf_counter()
        n = self.pace.steps_in(CALL_SECONDS, target - self.step, config.eval_every - self.step % config.eval_every)
        steps = np.where(self.live(), n, 0).astype(np.int32)
        self.state = jax.block_until_ready(self.compiled.programs.steps(self.state, steps, self.compiled.data))
        self.pace.add(n, time.perf_counter() - begun)
        self.step += n
        if self.step % config.eval_every == 0 or self.step == config.num_steps:
            self.measure((self.step - 1) // config.eval_every)
        self.seconds += time.perf_counter() - begun

    def measure(self, column: int) -> None:
        """Evaluates all unfinished members."""
        self.state, record = self.compiled.programs.measure(self.state, self.live(), self.compiled.data)
        for name, values in record.items():
            self.records[name][:, column] = np.asarray(values)

    def rows(self) -> list[Row]:
        """Returns the results of each member."""
        run = self.state.run
        arrays = (run.best, run.best_step, run.progress.state.step, run.progress.finite)
        best, best_step, steps, finite = (np.asarray(a)[self.places] for a in arrays)
        parameters = count(self.state.best_params) // self.compiled.capacity
        return [
            {
                "member": member.id,
                "flags": member.flags,
                "status": "done" if finite[i] else "diverged",
                "steps": int(steps[i]),
                "best_step": int(best_step[i]),
                "parameters": parameters,
                "score": self.criterion.cost(float(best[i])),
                **self.scores(i, int(best_step[i])),
                "loss": self.last_loss(i),
                "seconds": self.seconds / len(self.members),
                "curve": self.curve(i),
            }
            for i, member in enumerate(self.members)
        ]

    def measured(self, member: int) -> dict[str, np.ndarray]:
        """Returns the records of the member at an index of the list, `[rounds]` each; nan where not measured."""
        return {name: values[self.places[member]] for name, values in self.records.items()}

    def scores(self, member: int, step: int) -> dict[str, float]:
        """Returns the validation metrics of a member at a step; empty at step 0."""
        round_ = (step - 1) // self.compiled.config.eval_every
        found = {name: values for name, values in self.measured(member).items() if name.startswith("valid_")}
        return {name: float(values[round_]) for name, values in found.items()} if step else {}

    def last_loss(self, member: int) -> float:
        """Returns the last measured training loss of a member."""
        loss = self.measured(member)["loss"]
        known = loss[np.isfinite(loss)]
        return float(known[-1]) if known.size else math.nan

    def curve(self, member: int) -> dict[str, list[float]]:
        """Returns the learning curve of a member: its steps and losses, and the further records."""
        config, shown = self.compiled.config, self.measured(member)
        rounds = np.flatnonzero(np.isfinite(shown["loss"]))
        steps = [min((i + 1) * config.eval_every, config.num_steps) for i in rounds.tolist()]
        drawn = ("loss", "valid_loss", self.criterion.metric, f"valid_{self.criterion.metric}", *self.extra)
        kept = {name: values for name, values in shown.items() if name in drawn}
        return {"step": steps} | {name: values[rounds].tolist() for name, values in kept.items()}

    def params(self, member: int) -> tuple[int, PyTree]:
        """Returns the best parameters of the member at an index of the list, and their step."""
        p = int(self.places[member])
        return int(self.state.run.best_step[p]), jax.tree.map(lambda a: np.asarray(a[p]), self.state.best_params)


def repacked(pack: Pack, before: Sequence[Pack]) -> tuple[State, dict[str, np.ndarray], int]:
    """Moves the members of a pack over from their previous packs; places without a member repeat the first."""
    wanted = {m.id: place for m, place in zip(pack.members, pack.places)}
    parts, records, ids = [], [], []
    for old in before:
        rows = [(m.id, p) for m, p in zip(old.members, old.places) if m.id in wanted]
        if rows and old.compiled is pack.compiled:
            old.begin()
            if old.saved < 0:
                raise OSError(errno.EIO, f"{old.folder} was damaged while the study ran")
            index = np.array([p for _, p in rows])
            parts.append(jax.tree.map(lambda a, index=index: _np_take(a, index), old.state))
            records.append({name: values[index] for name, values in old.records.items()})
            ids += [id for id, _ in rows]
            del old.state
    order = np.zeros(pack.compiled.capacity, int)
    for i, id in enumerate(ids):
        order[wanted[id]] = i
    state = jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[order], *parts)
    return state, {name: np.concatenate([r[name] for r in records])[order] for name in records[0]}, before[0].step


def _np_take(a: jax.Array, index: np.ndarray) -> jax.Array:
    """Returns some rows, on the first device."""
    return jax.device_put(a[index], jax.local_devices()[0])
