"""One run: from flags and a workdir to trained parameters, over as many sessions as it takes."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rnnjax import distributed
from rnnjax.app._config import Config
from rnnjax.app._programs import Programs, plain_metrics, programs
from rnnjax.app._setup import Build, Load, Setup, build_setup, load_data
from rnnjax.base import PyTree, UserError, count
from rnnjax.base._seq import tree_zeros
from rnnjax.distributed._checkpoints import Shared
from rnnjax.distributed._parallel import to_local
from rnnjax.distributed._runtime import from_leader, is_leader, max_over_processes, running
from rnnjax.runs import Checkpoints, Workdir, make_writers, provenance
from rnnjax.runs import Progress as Bar
from rnnjax.runs._writers import Writer
from rnnjax.training import Progress

_CALL_SECONDS = 0.25  # how long one call of the loop should take: between calls progress is shown and signals are heard
_STOPS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")  # where the platform has them


class _Saved(NamedTuple):
    """What a checkpoint holds: the run, and what early stopping has seen of it."""

    progress: Progress
    best: Any
    stale: Any


class Interrupted(Exception):
    """The run was told to stop and has been saved."""

    def __init__(self, signum: int) -> None:
        self.status = 128 + signum


class Result(NamedTuple):
    """What is left when a run has ended.

    Attributes:
      setup: of the run.
      params: the best on validation, or the last.
      data: what loading gave.
      config: with what loading found out.
      summary: what summary.json says.
    """

    setup: Setup
    params: PyTree
    data: PyTree
    config: Config
    summary: dict[str, Any]


@contextlib.contextmanager
def signals() -> Iterator[list[int]]:
    """Signals that ask for a stop are noted in the list that this gives; nothing under way is broken off.

    A batch system sends SIGUSR1 or SIGUSR2 before a time limit. Python hears signals in its main thread alone: in
    another thread the list stays empty, and handlers stay as they are.
    """
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    known = [getattr(signal, name) for name in _STOPS if hasattr(signal, name)]
    before = {s: signal.signal(s, lambda signum, frame: heard.append(signum)) for s in known}
    try:
        yield heard
    finally:
        for s, handler in before.items():
            signal.signal(s, signal.SIG_DFL if handler is None else handler)  # None: not set from Python


class Pace:
    """Steps a second of calls of the loop; the first call, which compiles, is left out."""

    def __init__(self) -> None:
        self.calls, self.steps, self.seconds = 0, 0, 0.0

    def add(self, steps: int, seconds: float) -> None:
        """One call has been made."""
        if self.calls:
            self.steps, self.seconds = self.steps + steps, self.seconds + seconds
        self.calls += 1

    def rate(self) -> float | None:
        """Steps a second; None: not known yet."""
        return self.steps / self.seconds if self.seconds else None


class Session:
    """A run under way in its workdir: the host's side of the loop. It is made first, and given its place then."""

    workdir: Workdir
    checkpoints: Checkpoints
    best: Checkpoints

    def __init__(self, build: Build, load: Load | None, config: Config) -> None:
        self.build = build
        self.config, data = load_data(load, config)
        self.devices = distributed.mesh(config.devices)
        self.data = distributed.replicate(data, self.devices)
        self.setup: Setup = build_setup(build, self.config)
        self.programs: Programs = programs(build, self.config, self.devices)
        self.pace = Pace()

    def check(self) -> None:
        """Traces what will be compiled, so that what is refused is refused before there is a folder.

        Raises:
          UserError: a part of the network or of its training is not as it must be, or too large.
        """
        try:
            like = jax.eval_shape(self.programs.init, self.data)
            jax.eval_shape(self.programs.report, like.state.params, self.data)
        except OverflowError as error:
            raise UserError(f"a size is too large: {error}") from error
        size, there = sum(math.prod(a.shape) * 4 for a in jax.tree.leaves(like)), _memory()
        if there and size > there:
            raise UserError(f"the network and its optimiser need {size / 2**30:,.0f} GiB; this machine has "
                            f"{there / 2**30:,.0f}")  # fmt: skip

    def place(self, workdir: Workdir) -> None:
        """Says where the run lives."""
        self.workdir = workdir
        kept = Shared if running() else Checkpoints
        self.checkpoints = kept(workdir.file("checkpoints"), self.config.keep_checkpoints)
        self.best = kept(workdir.file("best"), keep=1)

    def fresh(self) -> _Saved:
        """The run before its first step."""
        return _Saved(self.programs.init(self.data), np.float64(np.inf), np.int64(0))

    def restore(self) -> tuple[_Saved, int | None]:
        """The run as it was last saved, and the step of that, or a new one and None."""
        fresh = self.fresh()
        found = self.checkpoints.restore(fresh)
        return (fresh, None) if found is None else (found[1], found[0])

    def train(self) -> Result:
        """Trains to the end, and scores the test set once, with the best parameters."""
        saved, restored = self.restore()
        if restored is not None and self.over(saved):
            known = self.workdir.summary() or {}
            scored = from_leader(known.get("steps") == restored)
            return self.result(saved, known if scored else None)
        writer = make_writers(self.config.writers if is_leader() else [], self.workdir, restored)
        with signals() as heard, contextlib.closing(writer), self.bar(restored or 0) as bar:
            while not self.over(saved):
                saved = self.advance(saved, writer, bar)
                self.heed(heard, saved)
        return self.result(saved, None)

    def over(self, saved: _Saved) -> bool:
        """Whether there is nothing left to train."""
        patience = self.config.patience
        return int(saved.progress.state.step) >= self.config.num_steps or bool(patience and saved.stale >= patience)

    def bar(self, start: int) -> Bar:
        """Progress of this run, for the eye."""
        mode = "auto" if is_leader() else "none"
        return Bar(self.config.num_steps, description=self.config.cell, start=start, mode=mode)

    def advance(self, saved: _Saved, writer: Writer, bar: Bar) -> _Saved:
        """One call of the loop, and what falls due after it: metrics, evaluation, checkpoint."""
        start = int(saved.progress.state.step)
        progress = self.call(saved.progress, from_leader(self.call_steps(start)))
        step, end = int(progress.state.step), self.config.num_steps
        due = {name: step % every == 0 or step == end for name, every in self.schedule().items()}
        record: dict[str, float] = {}
        saved = saved._replace(progress=progress)
        if due["log"] or due["eval"]:
            record |= plain_metrics(progress.metrics)
            saved = saved._replace(progress=progress._replace(metrics=tree_zeros(progress.metrics)))
        if due["eval"]:
            saved, scores = self.evaluate(saved)
            record |= scores | jax.tree.map(float, self.programs.report(saved.progress.state.params, self.data))
        if record:
            writer.write(step, record)
            bar.update(step, **{k: v for k, v in record.items() if k in ("loss", "valid_loss")})
        if due["eval"] and self.programs.valid:
            bar.say(f"{self.config.cell} step {step}: " + ", ".join(f"{k} {v:.4g}" for k, v in record.items()))
        if due["checkpoint"] or self.over(saved):
            self.checkpoints.save(step, saved)
        return saved

    def schedule(self) -> dict[str, int]:
        """What falls due every so many steps."""
        c = self.config
        return {"log": c.log_every, "eval": c.eval_every, "checkpoint": c.checkpoint_every}

    def call_steps(self, step: int) -> int:
        """Steps of the next call: to the next thing due, and not much longer than `_CALL_SECONDS`."""
        rate = self.pace.rate()
        if self.config.debug_nans or rate is None:
            return 1
        due = [every - step % every for every in self.schedule().values()]
        return max(1, min([int(_CALL_SECONDS * rate), self.config.num_steps - step, *due]))

    def call(self, progress: Progress, n: int) -> Progress:
        """n steps; a step that breaks ends the run with one line that says where."""
        before = jax.tree.map(lambda a: a.copy(), progress) if self.config.debug_nans else None
        start, begun = int(progress.state.step), time.perf_counter()
        with self.profiled():
            progress = jax.block_until_ready(self.programs.steps(progress, self.data, n))
        self.pace.add(n, time.perf_counter() - begun)
        if not bool(progress.finite):
            raise UserError(self.broken(start, int(progress.state.step), before))
        return progress

    def profiled(self) -> contextlib.AbstractContextManager[Any]:
        """A trace of the third call, where the flag asks for it: the first compiles, the second finds the pace."""
        wanted = self.config.profile and self.pace.calls == 2
        return jax.profiler.trace(str(self.workdir.file("profile"))) if wanted else contextlib.nullcontext()

    def broken(self, start: int, step: int, before: Progress | None) -> str:
        """What to say of a step whose loss or gradient is not finite."""
        if before is not None:
            name = self.programs.blame(before, self.data)
            return f"step {step}: {name} is the first value that is not finite ({self.last_good()})"
        return (
            f"the loss or its gradient is not finite at step {step}; {self.last_good()}. A lower --learning_rate or "
            "--clip_norm may help; --debug_nans names the value"
        )

    def last_good(self) -> str:
        """Where the last good state lies."""
        latest = self.checkpoints.latest()
        return f"the last good checkpoint is {latest}" if latest else "no checkpoint was written before it"

    def evaluate(self, saved: _Saved) -> tuple[_Saved, dict[str, float]]:
        """Scores the validation set and keeps the parameters if they are the best so far."""
        if self.programs.valid is None:
            return saved, {}
        params, step = saved.progress.state.params, int(saved.progress.state.step)
        scores = {f"valid_{name}": value for name, value in self.programs.valid(params, self.data).items()}
        if not scores["valid_loss"] < saved.best:
            return saved._replace(stale=np.int64(saved.stale + 1)), scores
        self.best.save(step, params)
        return saved._replace(best=np.float64(scores["valid_loss"]), stale=np.int64(0)), scores

    def heed(self, heard: list[int], saved: _Saved) -> None:
        """Saves and stops if a signal has come."""
        signum = max_over_processes(heard[0] if heard else 0)
        if signum:
            self.checkpoints.save(int(saved.progress.state.step), saved)
            raise Interrupted(signum)

    def result(self, saved: _Saved, known: Mapping[str, Any] | None) -> Result:
        """The best parameters, scored on the test set unless that was done before."""
        found = self.best.restore(saved.progress.state.params)
        step, params = found or (int(saved.progress.state.step), saved.progress.state.params)
        summary = dict(self.summary(saved, params, step) if known is None else known)
        if known is None:
            self.workdir.write_summary(summary)
        params, data = to_local((params, self.data), self.devices)
        return Result(self.setup, params, data, self.config, summary)

    def summary(self, saved: _Saved, params: PyTree, best_step: int) -> dict[str, Any]:
        """All there is to say about a run that has ended."""
        records = self.workdir.records()
        finals = {k: v for k, v in records[-1].items() if k not in ("step", "seconds")} if records else {}
        return {
            "cell": self.config.cell,
            "hidden_size": self.config.hidden_size,
            "steps": int(saved.progress.state.step),
            "final": finals,
            "best": {"step": best_step} | _best_record(records, best_step),
            "test": self.programs.test(params, self.data) if self.programs.test else {},
            "baseline": {"name": self.setup.baseline_name, "loss": self.setup.baseline},
            "published": [p._asdict() for p in self.setup.published],
            "parameters": count(params),
            "steps_per_second": self.pace.rate(),
            "seconds": self.workdir.seconds(),
            "workdir": str(Path(self.workdir.path)),
            **provenance(),
        }


def _memory() -> int:
    """The memory of this machine in bytes; 0 where it is not known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _best_record(records: list[dict[str, Any]], step: int) -> dict[str, Any]:
    """The validation metrics of a step."""
    return {k: v for r in records if r["step"] == step for k, v in r.items() if k.startswith("valid_")}
