"""Destinations of metrics during a run: JSON lines, TensorBoard, Weights & Biases, MLflow.

Each one continues a resumed run from the restored step, so that no point appears twice.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs._extras import import_extra
from rnnjax.runs._files import atomic_write
from rnnjax.runs._flags_file import flag_value
from rnnjax.runs._workdir import Workdir

_Metrics = Mapping[str, Any]


class Writer(Protocol):
    """A destination of metrics."""

    def write(self, step: int, metrics: _Metrics, /) -> None:
        """Writes the metrics of a step; steps increase."""

    def conclude(self, score: float, /) -> None:
        """Writes the score of a run that has come to its end under the name `score`, unless its files say it."""

    def close(self) -> None:
        """Writes what is pending and releases its resources."""


class _Jsonl:
    """Writes to metrics.jsonl in the workdir."""

    def __init__(self, workdir: Workdir, step: int | None) -> None:
        self.workdir = workdir
        workdir.rewind(step)

    def write(self, step: int, metrics: _Metrics, /) -> None:
        """Appends a line."""
        self.workdir.log(step, metrics)

    def conclude(self, score: float, /) -> None:
        """Does nothing: summary.json has the score."""

    def close(self) -> None:
        """Does nothing: every line has been written."""


class _TensorBoard:
    """Writes an event file in the workdir, record by record: a killed run loses none, and no thread remains."""

    def __init__(self, workdir: Workdir, step: int | None) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        count = len(list(workdir.path.glob("events.out.tfevents.*")))
        self.path = workdir.path
        with as_user_error("write", self.path):
            self.events = EventsWriter(str(workdir.file("events")), f".{count:04d}")
        if count:  # makes TensorBoard discard what an earlier session wrote from this step on
            start = 0 if step is None else step + 1
            self._write(Event(step=start, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, metrics: _Metrics, /) -> None:
        """Adds a point to the curve of each metric."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=float(value)) for name, value in metrics.items()]
        self._write(Event(step=step, summary=Summary(value=values)))

    end = write

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        with as_user_error("write", self.path):
            self.events.write_event(event)
            self.events.flush()

    def conclude(self, score: float, /) -> None:
        """Does nothing: the curves end in the score."""

    def close(self) -> None:
        """Closes the event file."""
        with as_user_error("write", self.path):
            self.events.close()


class _Wandb:
    """Logs to Weights & Biases; project and account are set in its environment variables.

    A resumed run continues under its id; W&B itself ignores steps that it has already.
    """

    def __init__(self, workdir: Workdir, step: int | None) -> None:
        wandb = import_extra("wandb", "the writer wandb", "wandb")
        with _one_line("wandb"):
            self.run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "rnnjax"),
                id=_remembered(workdir, "wandb_id") or _remember(workdir, "wandb_id", uuid.uuid4().hex),
                name=workdir.path.name,
                dir=str(workdir.path),
                config=_config(workdir),
                resume="allow",
            )

    def write(self, step: int, metrics: _Metrics, /) -> None:
        """Logs the metrics of a step."""
        with _one_line("wandb"):
            self.run.log({name: float(value) for name, value in metrics.items()}, step=step)

    def conclude(self, score: float, /) -> None:
        """Sets `score` in the summary of the run, where a sweep looks for its metric."""
        with _one_line("wandb"):
            self.run.summary["score"] = score

    def close(self) -> None:
        """Sends what is pending."""
        with _one_line("wandb"):
            self.run.finish()


class _MLflow:
    """Logs to MLflow; server and experiment are set in its environment variables.

    MLflow keeps everything it receives, so steps that a killed session has logged already are skipped.
    """

    def __init__(self, workdir: Workdir, step: int | None) -> None:
        self.mlflow = import_extra("mlflow", "the writer mlflow", "mlflow")
        known = _remembered(workdir, "mlflow_id")
        with _one_line("mlflow"):
            run = self.mlflow.start_run(run_id=known, run_name=None if known else workdir.path.name)
            self.last = self._last_step(known) if known else -1
            if not known:
                self.mlflow.log_params(_config(workdir))
        _remember(workdir, "mlflow_id", run.info.run_id)

    def _last_step(self, run_id: str) -> int:
        client = self.mlflow.MlflowClient()
        names = client.get_run(run_id).data.metrics
        return max((point.step for name in names for point in client.get_metric_history(run_id, name)), default=-1)

    def write(self, step: int, metrics: _Metrics, /) -> None:
        """Logs the metrics of a step that MLflow does not have."""
        if step > self.last:
            with _one_line("mlflow"):
                self.mlflow.log_metrics({name: float(value) for name, value in metrics.items()}, step=step)

    def conclude(self, score: float, /) -> None:
        """Logs the metric `score`."""
        with _one_line("mlflow"):
            self.mlflow.log_metrics({"score": score})

    def close(self) -> None:
        """Ends the run."""
        with _one_line("mlflow"):
            self.mlflow.end_run()


class All:
    """Several writers as one."""

    def __init__(self, writers: Sequence[Writer]) -> None:
        self.writers = writers

    def write(self, step: int, metrics: _Metrics, /) -> None:
        """Writes to each."""
        for writer in self.writers:
            writer.write(step, metrics)

    def conclude(self, score: float, /) -> None:
        """Passes the score to each."""
        for writer in self.writers:
            writer.conclude(score)

    def close(self) -> None:
        """Closes each writer, even if others fail."""
        with contextlib.ExitStack() as stack:
            for writer in self.writers:
                stack.callback(writer.close)


WRITERS: dict[str, Callable[[Workdir, int | None], Writer]] = {
    "jsonl": _Jsonl,
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "mlflow": _MLflow,
}


def make_writer(name: str, workdir: Workdir, step: int | None = None) -> Writer:
    """Returns a writer by name.

    Args:
      name: jsonl, tensorboard, wandb or mlflow.
      workdir: of the run.
      step: the restored step; None for a new run.

    Raises:
      UserError: there is no such writer, or a package is not installed, or its service does not respond.

    Example:
      >>> import tempfile
      >>> with Workdir(tempfile.mkdtemp(), {}) as workdir:
      ...     make_writer("tensorbord", workdir)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      rnnjax.base.UserError: unknown writer tensorbord: did you mean tensorboard? (known: jsonl, ...)
    """
    if name not in WRITERS:
        close = difflib.get_close_matches(name, WRITERS, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(f"unknown writer {name}: {hint}(known: {', '.join(WRITERS)})")
    return WRITERS[name](workdir, step)


def make_writers(names: Sequence[str], workdir: Workdir, step: int | None = None) -> Writer:
    """Returns writers by name, as one; if one fails, those before it are closed.

    Example:
      >>> import tempfile
      >>> with Workdir(tempfile.mkdtemp(), {}) as workdir:
      ...     writer = make_writers(["jsonl", "tensorboard"], workdir)
      ...     writer.write(1, {"loss": 0.5})
      ...     writer.close()
      ...     [record["loss"] for record in workdir.records()]
      [0.5]
    """
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(contextlib.closing(make_writer(name, workdir, step))) for name in names]
        stack.pop_all()
    return All(writers)


def tell_services(names: Sequence[str], workdir: Workdir, step: int, score: float, told: bool) -> None:
    """Writes the score of a finished run that is started again, if a service outside its workdir may lack it.

    Args:
      names: of the writers of the run.
      workdir: of the run.
      step: the last one.
      score: see `Writer.conclude`.
      told: whether the run has come to its end before. An agent of W&B waits for the score all the same.
    """
    waiting = ["wandb"] if os.environ.get("WANDB_SWEEP_ID") else []
    services = waiting if told else ["wandb", "mlflow"]
    writer = make_writers([name for name in names if name in services], workdir, step)
    with contextlib.closing(writer):
        writer.conclude(score)


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Reports errors of an external service in one line."""
    try:
        yield
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(f"the writer {name} failed: {reason}") from error


def _config(workdir: Workdir) -> dict[str, Any]:
    return {name: _typed(flag_value(name, lines)) for name, lines in workdir.flags.items() if lines}


def _typed(text: str) -> bool | int | float | str:
    """Returns a number for its text, so that a service can plot it.

    Example:
      >>> [_typed(text) for text in ("3", "1e-3", "false", "lstm")]
      [3, 0.001, False, 'lstm']
    """
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text == "true" if text in ("true", "false") else text


def _remembered(workdir: Workdir, name: str) -> str | None:
    """Returns the id under which an earlier session logged."""
    path = workdir.file(name)
    with as_user_error("read", path):
        return path.read_text(encoding="utf-8").strip() if path.exists() else None


def _remember(workdir: Workdir, name: str, run_id: str) -> str:
    atomic_write(workdir.file(name), f"{run_id}\n")
    return run_id
