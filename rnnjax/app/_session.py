"""A training run, from flags and a workdir to trained parameters, over any number of sessions."""

from __future__ import annotations

import contextlib
import functools
import math
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from rnnjax import distributed
from rnnjax.app._config import Config
from rnnjax.app._devices import AUTO, taken_devices
from rnnjax.app._experiment import Experiment, Result
from rnnjax.app._faults import named_faults
from rnnjax.app._opened import example_of
from rnnjax.app._pictures import Picture
from rnnjax.app._programs import Programs, plain_metrics, programs
from rnnjax.app._refusals import refused_as
from rnnjax.app._run_summary import summary_of
from rnnjax.app._setup import load_data, trainer
from rnnjax.app._signals import Interrupted, signals
from rnnjax.app._start import starting_params
from rnnjax.app._state import Pace, RunState, new_state, score_in, with_score
from rnnjax.app._traced import check_traced
from rnnjax.base import Description, PyTree, describe
from rnnjax.base._seq import tree_zeros
from rnnjax.distributed._checkpoints import Shared
from rnnjax.distributed._parallel import to_local
from rnnjax.distributed._runtime import from_leader, is_leader, max_over_processes, running
from rnnjax.runs import Checkpoints, Workdir, make_writers
from rnnjax.runs import ProgressBar as Bar
from rnnjax.runs._checkpoint import AllDamagedError
from rnnjax.runs._ending import Diverged
from rnnjax.runs._files import to_json_value
from rnnjax.runs._writers import Writer, tell_services
from rnnjax.training import Progress

_CALL_SECONDS = 0.25  # target duration of one call of the loop; progress and signals are handled between calls


class Session:
    """A run in progress: the host's side of the training loop. It is created first, and given its workdir later."""

    workdir: Workdir
    checkpoints: Checkpoints
    best: Checkpoints
    picture: Picture
    progress = "auto"  # the mode of `runs.ProgressBar`
    title = ""  # of the picture

    def __init__(self, experiment: Experiment, config: Config, recorded: int | None = None) -> None:
        """Loads the data and builds the network.

        Args:
          experiment: of the run.
          config: of the run.
          recorded: the devices in its flags.cfg; None for a new run.
        """
        self.config, self.criterion = config, config.criterion()
        self.name = config.cell.replace(":", ".")
        self.facts, data = load_data(experiment.load, config)
        self.build = experiment.build_with(self.facts)
        with named_faults(self.paths()):
            taken = taken_devices(config, functools.partial(trainer, self.build, config), data, recorded)
        self.recorded_devices = taken if recorded is None or config.devices != AUTO else recorded
        self.config = config = config.replace(devices=taken)
        with refused_as(f"--devices={taken}: "):
            self.devices = distributed.mesh(taken)
        with refused_as():
            self.data = distributed.replicate(data, self.devices)
        with named_faults(self.paths()):
            self.programs: Programs = programs(self.build, config, self.devices)
        self.setup = self.programs.setup
        self.pace = Pace()
        self.records: list[dict[str, Any]] = []

    def check(self) -> None:
        """Traces the programs, so that errors are raised before a folder is created.

        Raises:
          UserError: a part of the network or of its training is invalid or too large.
        """
        with named_faults(self.paths()):
            check_traced(self.config, self.programs, self.criterion, self.data)

    def paths(self) -> dict[str, str]:
        """Returns the flags that can be import paths, with their values."""
        names = ("cell", "rule", "optimizer")
        values = {name: self.config.values.get(name, "") for name in names}
        return values | {"report": next((path for path in self.config.values.get("report", []) if ":" in path), "")}

    def described(self) -> Description:
        """Returns the parts of the network."""
        return describe(self.setup.cell, example_of(self.setup, self.data))

    def place(self, workdir: Workdir) -> None:
        """Sets the workdir of the run."""
        self.workdir, file = workdir, workdir.file(f"curves.{self.config.picture}")
        self.picture = Picture(file, self.setup, self.config.plot, self.title or self.name)
        kept = Shared if running() else Checkpoints
        self.checkpoints = kept(workdir.file("checkpoints"), self.config.keep_checkpoints)
        self.best = kept(workdir.file("best"), keep=1)

    def fresh(self) -> RunState:
        """Returns the initial state of the run."""
        return _on_host(new_state(self.programs.init(self.data, self.start())))

    def start(self) -> PyTree:
        """Returns the params that `--start_from` names; None for random ones. A resumed run does not need them."""
        if not self.config.values.get("start_from") or self.under_way():
            return None
        return starting_params(self.config, self.programs.init(self.data).state.params)

    def under_way(self) -> bool:
        """Returns whether the run has a workdir with a checkpoint."""
        return hasattr(self, "checkpoints") and bool(self.checkpoints.steps())

    def restore(self) -> tuple[RunState, int | None]:
        """Returns the last saved state and its step, or an initial state and None."""
        fresh = self.fresh()
        found = self.checkpoints.restore(fresh)
        return (fresh, None) if found is None else (found[1], found[0])

    def train(self) -> Result:
        """Trains to the end, and scores the test set once, with the best parameters."""
        saved, restored = self.restore()
        if int(self.config.devices) < self.recorded_devices:
            self.tell(
                f"flags.cfg has --devices={self.recorded_devices}, this machine has fewer: goes on with "
                f"{self.config.devices}, equal up to rounding"
            )
        if restored is not None and self.over(saved):
            self.records = self.workdir.records()
            known = (self.workdir.summary() or {}).get("runs", {}).get(self.name, {})
            scored = from_leader(known.get("steps") == restored)
            self.tell(f"finished already, nothing trained: {self.said_steps(restored)}")
            if is_leader():
                tell_services(self.config.writers, self.workdir, restored, self.score(saved), told=bool(scored))
            return self.result(saved, known if scored else None)
        if restored is not None:
            self.tell(f"goes on from step {restored:,} of {self.config.num_steps:,}")
        self.tell_of_lost_records(restored or 0)
        writer = make_writers(self.config.writers if is_leader() else [], self.workdir, restored)
        self.records = [r for r in self.workdir.records() if restored is not None and r["step"] <= restored]
        with signals() as heard, contextlib.closing(writer), self.bar(restored or 0) as bar:
            while not self.over(saved):
                saved = self.advance(saved, writer, bar)
                self.heed(heard, saved)
            writer.conclude(self.score(saved))
        return self.result(saved, None)

    def score(self, saved: RunState) -> float:
        """Returns the final score: the best on validation, or the last in training; nan if none was measured."""
        if math.isfinite(saved.best):
            return float(self.criterion.cost(saved.best))
        value = (self.records[-1] if self.records else {}).get(self.criterion.metric)
        return math.nan if value is None else value

    def tell(self, line: str) -> None:
        """Prints a line on standard error, once for all processes."""
        if is_leader():
            print(f"{self.config.cell}: {line}", file=sys.stderr)

    def said_steps(self, done: int) -> str:
        """Returns how many steps were asked for and are done, for a message."""
        asked = self.config.num_steps
        early = f", --patience={self.config.patience} ended it early" if done < asked else ""
        return f"{asked:,} steps asked for, {done:,} done{early}"

    def tell_of_lost_records(self, step: int) -> None:
        """Reports that metrics.jsonl ends before the restored step; the run itself is complete."""
        if not step or not is_leader() or "jsonl" not in self.config.writers:
            return
        last = max((record["step"] for record in self.workdir.records()), default=0)
        due = max(step - step % every for every in (self.config.log_every, self.config.eval_every))
        if last < due:
            self.tell(
                f"{self.workdir.file('metrics.jsonl')} has lost the records after step {last}; the run continues "
                f"from step {step}"
            )

    def over(self, saved: RunState) -> bool:
        """Returns whether there is nothing left to train."""
        patience = self.config.patience
        return int(saved.progress.state.step) >= self.config.num_steps or bool(patience and saved.stale >= patience)

    def bar(self, start: int) -> Bar:
        """Returns the progress bar of this run."""
        mode = self.progress if is_leader() else "none"
        return Bar(self.config.num_steps, description=self.config.cell, start=start, mode=mode)

    def advance(self, saved: RunState, writer: Writer, bar: Bar) -> RunState:
        """Makes one call of the loop, and what is due after it: metrics, evaluation, checkpoint."""
        n = from_leader(self.call_steps(int(saved.progress.state.step)))
        saved = saved._replace(progress=self.call(saved.progress, n))
        step = int(saved.progress.state.step)
        due = {name: step % every == 0 or step == self.config.num_steps for name, every in self.schedule().items()}
        if due["log"] or due["eval"]:
            saved, record = self.measure(saved, due["eval"])
            self.show(step, record, writer, bar)
        if due["eval"] and not self.over(saved) and is_leader():
            self.picture.refresh(self.name, self.records)
        if due["checkpoint"] or self.over(saved):
            self.workdir.assert_there()
            self.checkpoints.save(step, saved)
        return saved

    def measure(self, saved: RunState, evaluate: bool) -> tuple[RunState, dict[str, float]]:
        """Returns the metrics since the last call and, if an evaluation is due, its scores and reports."""
        progress = saved.progress
        record = plain_metrics(progress.metrics)
        saved = saved._replace(progress=progress._replace(metrics=tree_zeros(progress.metrics)))
        if not evaluate:
            return saved, record
        saved, scores = self.evaluate(saved)
        reports = jax.tree.map(float, self.programs.report(saved.progress.state.averaged, self.data))
        return saved, record | scores | reports

    def show(self, step: int, record: dict[str, float], writer: Writer, bar: Bar) -> None:
        """Passes a record to the writers and the progress bar, and keeps it for the end of the run."""
        writer.write(step, record)
        self.records.append({"step": step} | to_json_value(record))
        bar.update(step, **{k: v for k, v in record.items() if k in ("loss", "valid_loss")})
        if "valid_loss" in record:
            bar.say(f"{self.config.cell} step {step}: " + ", ".join(f"{k} {v:.4g}" for k, v in record.items()))

    def schedule(self) -> dict[str, int]:
        """Returns the intervals, in steps, of everything periodic."""
        c = self.config
        return {"log": c.log_every, "eval": c.eval_every, "checkpoint": c.checkpoint_every}

    def call_steps(self, step: int) -> int:
        """Returns the steps of the next call: up to the next due event, and not much longer than `_CALL_SECONDS`."""
        if self.config.debug_nans:
            return 1
        due = [every - step % every for every in self.schedule().values()]
        return self.pace.steps_in(_CALL_SECONDS, self.config.num_steps - step, *due)

    def call(self, progress: Progress, n: int) -> Progress:
        """Trains n steps; a failing step ends the run with a one-line message that names it."""
        before = jax.tree.map(lambda a: a.copy(), progress) if self.config.debug_nans else None
        start, begun = int(progress.state.step), time.perf_counter()
        with self.profiled():
            progress = jax.block_until_ready(self.programs.steps(progress, self.data, n))
        self.pace.add(n, time.perf_counter() - begun)
        if not bool(progress.finite):
            raise Diverged(self.broken(start, int(progress.state.step), before))
        return progress

    def profiled(self) -> contextlib.AbstractContextManager[Any]:
        """Traces the third call if the flag asks for it: the first compiles, the second measures the pace."""
        wanted = self.config.profile and self.pace.calls == 2
        return jax.profiler.trace(str(self.workdir.file("profile"))) if wanted else contextlib.nullcontext()

    def broken(self, start: int, step: int, before: Progress | None) -> str:
        """Returns the message for a step whose loss or gradient is not finite."""
        if before is not None:
            name = self.programs.blame(before, self.data)
            return f"step {step}: {name} is the first value that is not finite ({self.last_good()})"
        return (
            f"the loss or its gradient is not finite at step {step}; {self.last_good()}. A lower --learning_rate or "
            "--clip_norm may help; --debug_nans names the value"
        )

    def last_good(self) -> str:
        """Returns a message that names the last good state."""
        latest = self.checkpoints.latest()
        return f"the last good checkpoint is {latest}" if latest else "no checkpoint was written before it"

    def evaluate(self, saved: RunState) -> tuple[RunState, dict[str, float]]:
        """Scores the validation set and keeps the parameters if they are the best so far."""
        if self.programs.valid is None:
            return saved, {}
        params = saved.progress.state.averaged
        scores = {f"valid_{name}": value for name, value in self.programs.valid(params, self.data).items()}
        saved, better = with_score(saved, self.criterion.cost(score_in(self.criterion, scores)))
        if better:
            self.workdir.assert_there()
            self.best.save(int(saved.progress.state.step), params)
        return _on_host(saved), scores

    def heed(self, heard: list[int], saved: RunState) -> None:
        """Saves and stops if a signal has arrived."""
        signum = max_over_processes(heard[0] if heard else 0)
        if signum:
            self.workdir.assert_there()
            self.checkpoints.save(int(saved.progress.state.step), saved)
            self.draw()
            raise Interrupted(signum)

    def draw(self) -> None:
        """Draws the learning curves."""
        if is_leader():
            self.picture.draw({self.name: self.records})

    def result(self, saved: RunState, known: Mapping[str, Any] | None) -> Result:
        """Returns the result with the best parameters, scored on the test set unless that was done before."""
        last = int(saved.progress.state.step), saved.progress.state.averaged
        found = self.best_saved(saved)
        known = None if found is None and math.isfinite(saved.best) else known
        step, params = found or last
        summary = dict(summary_of(self, saved, params, step) if known is None else known)
        if known is None:
            self.workdir.write_summary({"runs": {self.name: summary}})
        self.draw()
        params, data = to_local((params, self.data), self.devices)
        return Result(self.setup, params, data, self.config, summary, self.facts, self.records)

    def best_saved(self, saved: RunState) -> tuple[int, PyTree] | None:
        """Returns the best parameters and their step; None if there are none or they are lost, which is reported."""
        try:
            found = self.best.restore(saved.progress.state.params)
        except AllDamagedError as error:
            self.tell(f"{error}; the last parameters stand in for the best")
            return None
        if found is None and math.isfinite(saved.best):
            self.tell(f"{self.best.directory} is gone: the last parameters stand in for the best")
        return found


def _on_host(state: RunState) -> RunState:
    """Returns the state with its scores as NumPy numbers, which are on no device."""
    scores = (np.asarray(a)[()] for a in (state.best, state.best_step, state.stale))
    return RunState(state.progress, *scores)
