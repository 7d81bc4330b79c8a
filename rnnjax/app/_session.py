"""One run: from flags and a workdir to trained parameters, over as many sessions as it takes."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rnnjax import distributed
from rnnjax.app._config import Config
from rnnjax.app._experiment import Experiment, Result
from rnnjax.app._programs import Programs, plain_metrics, programs
from rnnjax.app._setup import load_data
from rnnjax.app._start import check_start, starting_params
from rnnjax.app._state import Pace, RunState, new_state, with_score
from rnnjax.base import PyTree, UserError, count
from rnnjax.base._seq import tree_zeros
from rnnjax.distributed._checkpoints import Shared
from rnnjax.distributed._parallel import to_local
from rnnjax.distributed._runtime import from_leader, is_leader, max_over_processes, running
from rnnjax.runs import Checkpoints, Workdir, make_writers, provenance
from rnnjax.runs import Progress as Bar
from rnnjax.runs._checkpoint import AllDamagedError
from rnnjax.runs._files import to_json_value
from rnnjax.runs._writers import Writer
from rnnjax.training import Progress

_CALL_SECONDS = 0.25  # how long one call of the loop should take: between calls progress is shown and signals are heard
_STOPS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")  # where the platform has them


class Interrupted(Exception):
    """The run was told to stop and has been saved."""

    def __init__(self, signum: int) -> None:
        self.status = 128 + signum


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


class Session:
    """A run under way in its workdir: the host's side of the loop. It is made first, and given its place then."""

    workdir: Workdir
    checkpoints: Checkpoints
    best: Checkpoints
    progress = "auto"  # how it is shown: a mode of `runs.Progress`

    def __init__(self, experiment: Experiment, config: Config) -> None:
        self.config = config
        self.facts, data = load_data(experiment.load, config)
        self.build = experiment.build_with(self.facts)
        self.devices = distributed.mesh(config.devices)
        self.data = distributed.replicate(data, self.devices)
        self.programs: Programs = programs(self.build, config, self.devices)
        self.setup = self.programs.setup
        self.pace = Pace()
        self.records: list[dict[str, Any]] = []

    def check(self) -> None:
        """Traces what will be compiled, so that what is refused is refused before there is a folder.

        Raises:
          UserError: a part of the network or of its training is not as it must be, or too large.
        """
        try:
            like = jax.eval_shape(self.programs.init, self.data)
            jax.eval_shape(self.programs.report, like.state.params, self.data)
            check_start(self.config, like.state.params)
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

    def fresh(self) -> RunState:
        """The run before its first step."""
        return _on_host(new_state(self.programs.init(self.data, self.start())))

    def start(self) -> PyTree:
        """The params that `--start_from` asks for; None: those drawn anew. A run under way does not need them."""
        if not self.config.values.get("start_from") or self.under_way():
            return None
        return starting_params(self.config, self.programs.init(self.data).state.params)

    def under_way(self) -> bool:
        """Whether the run has a place, and a checkpoint in it."""
        return hasattr(self, "checkpoints") and bool(self.checkpoints.steps())

    def restore(self) -> tuple[RunState, int | None]:
        """The run as it was last saved, and the step of that, or a new one and None."""
        fresh = self.fresh()
        found = self.checkpoints.restore(fresh)
        return (fresh, None) if found is None else (found[1], found[0])

    def train(self) -> Result:
        """Trains to the end, and scores the test set once, with the best parameters."""
        saved, restored = self.restore()
        if restored is not None and self.over(saved):
            self.records = self.workdir.records()
            known = self.workdir.summary() or {}
            scored = from_leader(known.get("steps") == restored)
            self.tell("finished already, nothing trained")
            return self.result(saved, known if scored else None)
        self.tell_of_lost_records(restored or 0)
        writer = make_writers(self.config.writers if is_leader() else [], self.workdir, restored)
        self.records = [r for r in self.workdir.records() if restored is not None and r["step"] <= restored]
        with signals() as heard, contextlib.closing(writer), self.bar(restored or 0) as bar:
            while not self.over(saved):
                saved = self.advance(saved, writer, bar)
                self.heed(heard, saved)
        return self.result(saved, None)

    def tell(self, line: str) -> None:
        """A line on standard error, once for all processes."""
        if is_leader():
            print(f"{self.config.cell}: {line}", file=sys.stderr)

    def tell_of_lost_records(self, step: int) -> None:
        """Says that metrics.jsonl does not reach the step restored; the run itself is whole."""
        if not step or not is_leader() or "jsonl" not in self.config.writers:
            return
        last = max((record["step"] for record in self.workdir.records()), default=0)
        due = max(step - step % every for every in (self.config.log_every, self.config.eval_every))
        if last < due:
            self.tell(f"{self.workdir.file('metrics.jsonl')} has lost the records after step {last}; the run goes on "
                      f"from step {step}")  # fmt: skip

    def over(self, saved: RunState) -> bool:
        """Whether there is nothing left to train."""
        patience = self.config.patience
        return int(saved.progress.state.step) >= self.config.num_steps or bool(patience and saved.stale >= patience)

    def bar(self, start: int) -> Bar:
        """Progress of this run, for the eye."""
        mode = self.progress if is_leader() else "none"
        return Bar(self.config.num_steps, description=self.config.cell, start=start, mode=mode)

    def advance(self, saved: RunState, writer: Writer, bar: Bar) -> RunState:
        """One call of the loop, and what falls due after it: metrics, evaluation, checkpoint."""
        n = from_leader(self.call_steps(int(saved.progress.state.step)))
        saved = saved._replace(progress=self.call(saved.progress, n))
        step = int(saved.progress.state.step)
        due = {name: step % every == 0 or step == self.config.num_steps for name, every in self.schedule().items()}
        if due["log"] or due["eval"]:
            saved, record = self.measure(saved, due["eval"])
            self.show(step, record, writer, bar)
        if due["checkpoint"] or self.over(saved):
            self.workdir.assert_there()
            self.checkpoints.save(step, saved)
        return saved

    def measure(self, saved: RunState, evaluate: bool) -> tuple[RunState, dict[str, float]]:
        """Metrics since they were last asked for, and where it is time the scores of an evaluation with the reports."""
        progress = saved.progress
        record = plain_metrics(progress.metrics)
        saved = saved._replace(progress=progress._replace(metrics=tree_zeros(progress.metrics)))
        if not evaluate:
            return saved, record
        saved, scores = self.evaluate(saved)
        reports = jax.tree.map(float, self.programs.report(saved.progress.state.params, self.data))
        return saved, record | scores | reports

    def show(self, step: int, record: dict[str, float], writer: Writer, bar: Bar) -> None:
        """Hands a record to whoever wants it: the writers, the eye, the end of the run."""
        writer.write(step, record)
        self.records.append({"step": step} | to_json_value(record))
        bar.update(step, **{k: v for k, v in record.items() if k in ("loss", "valid_loss")})
        if "valid_loss" in record:
            bar.say(f"{self.config.cell} step {step}: " + ", ".join(f"{k} {v:.4g}" for k, v in record.items()))

    def schedule(self) -> dict[str, int]:
        """What falls due every so many steps."""
        c = self.config
        return {"log": c.log_every, "eval": c.eval_every, "checkpoint": c.checkpoint_every}

    def call_steps(self, step: int) -> int:
        """Steps of the next call: to the next thing due, and not much longer than `_CALL_SECONDS`."""
        if self.config.debug_nans:
            return 1
        due = [every - step % every for every in self.schedule().values()]
        return self.pace.steps_in(_CALL_SECONDS, self.config.num_steps - step, *due)

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

    def evaluate(self, saved: RunState) -> tuple[RunState, dict[str, float]]:
        """Scores the validation set and keeps the parameters if they are the best so far."""
        if self.programs.valid is None:
            return saved, {}
        params = saved.progress.state.params
        scores = {f"valid_{name}": value for name, value in self.programs.valid(params, self.data).items()}
        saved, better = with_score(saved, scores["valid_loss"])
        if better:
            self.best.save(int(saved.progress.state.step), params)
        return _on_host(saved), scores

    def heed(self, heard: list[int], saved: RunState) -> None:
        """Saves and stops if a signal has come."""
        signum = max_over_processes(heard[0] if heard else 0)
        if signum:
            self.workdir.assert_there()
            self.checkpoints.save(int(saved.progress.state.step), saved)
            raise Interrupted(signum)

    def result(self, saved: RunState, known: Mapping[str, Any] | None) -> Result:
        """The best parameters, scored on the test set unless that was done before."""
        last = int(saved.progress.state.step), saved.progress.state.params
        found = self.best_saved(saved)
        known = None if found is None and math.isfinite(saved.best) else known
        step, params = found or last
        summary = dict(self.summary(saved, params, step) if known is None else known)
        if known is None:
            self.workdir.write_summary(summary)
        params, data = to_local((params, self.data), self.devices)
        return Result(self.setup, params, data, self.config, summary, self.facts, self.records)

    def best_saved(self, saved: RunState) -> tuple[int, PyTree] | None:
        """The best parameters and their step; None: there are none, or they are lost, which is said."""
        try:
            found = self.best.restore(saved.progress.state.params)
        except AllDamagedError as error:
            self.tell(f"{error}; the last parameters stand in for the best")
            return None
        if found is None and math.isfinite(saved.best):
            self.tell(f"{self.best.directory} is gone: the last parameters stand in for the best")
        return found

    def summary(self, saved: RunState, params: PyTree, best_step: int) -> dict[str, Any]:
        """All there is to say about a run that has ended."""
        last = self.records[-1] if self.records else {}
        return {
            "cell": self.config.cell,
            "hidden_size": self.config.hidden_size,
            "steps": int(saved.progress.state.step),
            "final": {k: v for k, v in last.items() if k not in ("step", "seconds")},
            "best": {"step": best_step} | _best_record(self.records, best_step),
            "test": self.programs.test(params, self.data) if self.programs.test else {},
            "baseline": {"name": self.setup.baseline_name, "loss": self.setup.baseline},
            "published": [p._asdict() for p in self.setup.published],
            "parameters": count(params),
            "steps_per_second": self.pace.rate(),
            "seconds": self.workdir.seconds(),
            "workdir": str(Path(self.workdir.path)),
            **provenance(),
        }


def _on_host(state: RunState) -> RunState:
    """The state with its scores as NumPy numbers, which belong to no device."""
    scores = (np.asarray(a)[()] for a in (state.best, state.best_step, state.stale))
    return RunState(state.progress, *scores)


def _memory() -> int:
    """The memory of this machine in bytes; 0 where it is not known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _best_record(records: list[dict[str, Any]], step: int) -> dict[str, Any]:
    """The validation metrics of a step."""
    return {k: v for r in records if r["step"] == step for k, v in r.items() if k.startswith("valid_")}
