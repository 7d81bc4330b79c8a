"""Every writer gets every point once, also when a run is killed and resumed."""

import json
import struct
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from _launching import launch, user_experiment
from tensorboardX.proto.event_pb2 import Event

from rnnjax.base import UserError
from rnnjax.runs import Workdir, make_writer, make_writers
from rnnjax.runs._writers import WRITERS, All, Writer

FLAGS = {"seed": "--seed=3", "tied": "--notied", "note": ""}


def events(file: Path) -> list[Event]:
    """The events of a file: length, its checksum, the message, its checksum."""
    data, out = file.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        out.append(Event.FromString(data[12 : 12 + size]))
        data = data[12 + size + 4 :]
    return out


def shown(folder: Path) -> list[tuple[str, int, float]]:
    """The points that TensorBoard shows: a session that starts at a step purges what stands there and later."""
    points: list[tuple[str, int, float]] = []
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for event in events(file):
            if event.HasField("session_log") and event.session_log.status == event.session_log.START:
                points = [point for point in points if point[1] < event.step]
            points += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return points


def train(workdir: Workdir, name: str, restored: int | None, stop: int, close: bool = True) -> Writer:
    writer = make_writer(name, workdir, restored)
    for step in range(0 if restored is None else restored + 10, stop, 10):
        writer.write(step, {"loss": np.float32(1 / (1 + step)), "valid_loss": jnp.float32(step)})
    if close:
        writer.close()
    return writer


@pytest.mark.parametrize("restored", [None, 0, 20])
def test_tensorboard_shows_each_point_once_after_a_kill(tmp_path: Path, restored: int | None) -> None:
    before = set(threading.enumerate())
    with Workdir(tmp_path / "cut", FLAGS) as workdir:
        killed = train(workdir, "tensorboard", None, 50, close=False)
        assert len(shown(workdir.path)) == 10, "a killed run loses nothing that was written"
        train(workdir, "tensorboard", restored, 100)
        killed.close()
    with Workdir(tmp_path / "whole", FLAGS) as workdir:
        train(workdir, "tensorboard", None, 100)
    assert shown(tmp_path / "cut") == shown(tmp_path / "whole")
    assert shown(tmp_path / "whole")[2:4] == [("loss", 10, np.float32(1 / 11)), ("valid_loss", 10, 10.0)]
    assert set(threading.enumerate()) == before


def test_jsonl_goes_through_the_workdir_and_is_rewound(tmp_path: Path) -> None:
    for name, stops in (("cut", [(None, 50), (20, 100)]), ("whole", [(None, 100)])):
        with Workdir(tmp_path / name, FLAGS) as workdir:
            for restored, stop in stops:
                train(workdir, "jsonl", restored, stop)
    records = []
    for name in ("cut", "whole"):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        records.append([{k: v for k, v in json.loads(line).items() if k not in ("seconds", "check")} for line in lines])
    assert records[0] == records[1] and [record["step"] for record in records[0]] == list(range(0, 100, 10))


class FakeWandb(types.ModuleType):
    """What the code uses of wandb: points at or before the last step of a run are ignored, as the real one does."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[dict[str, Any]] = []
        self.runs: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.finished, self.summary = 0, dict[str, float]()

    def init(self, *, project: str, id: str, name: str, dir: str, config: dict[str, Any], resume: str) -> Any:
        assert resume == "allow"
        self.calls.append({"project": project, "id": id, "name": name, "dir": dir, "config": config})
        points = self.runs.setdefault(id, [])

        def log(data: dict[str, float], *, step: int) -> None:
            assert all(type(value) is float for value in data.values())
            if not points or step > points[-1][0]:
                points.append((step, data))

        def finish() -> None:
            self.finished += 1

        return types.SimpleNamespace(log=log, finish=finish, summary=self.summary)


def test_wandb_goes_on_under_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    for restored, stop in ((None, 50), (20, 100)):
        with Workdir(tmp_path / "run", FLAGS) as workdir:
            train(workdir, "wandb", restored, stop).conclude(0.25)
    assert fake.summary == {"score": 0.25}  # where a sweep looks for its metric
    (points,) = fake.runs.values()
    assert [step for step, _ in points] == list(range(0, 100, 10)) and points[1][1]["valid_loss"] == 10.0
    assert fake.finished == 2 and fake.calls[0] == fake.calls[1]
    assert fake.calls[0]["project"] == "mine" and fake.calls[0]["name"] == "run"
    assert fake.calls[0]["config"] == {"seed": 3, "tied": False}


def test_an_agent_of_wandb_gets_the_score_of_a_run_that_is_finished_already(tmp_path, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for sweep, cut_off, told in (("", False, True), ("", False, False), ("", True, True), ("abc", False, True)):
        monkeypatch.setenv("WANDB_SWEEP_ID", sweep)
        fake.summary.clear()
        if cut_off:  # killed after its last checkpoint
            (tmp_path / "run" / "summary.json").unlink()
        flags = ["--num_steps=2", "--eval_every=1", "--writers=jsonl,wandb", f"--workdir={tmp_path / 'run'}"]
        assert launch(user_experiment(), *flags) == 0
        assert set(fake.summary) == ({"score"} if told else set())
    assert len(fake.runs) == 1


class FakeMLflow(types.ModuleType):
    """What the code uses of MLflow, which keeps every point that it is told."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.points: dict[str, dict[str, list[int]]] = {}
        self.params: list[dict[str, str]] = []
        self.ended, self.active = 0, ""
        self.MlflowClient = lambda: types.SimpleNamespace(get_run=self.get_run, get_metric_history=self.history)

    def start_run(self, run_id: str | None, run_name: str | None) -> Any:
        assert (run_id is None) == (run_name is not None)
        self.active = run_id or f"run-{len(self.points)}"
        self.points.setdefault(self.active, {})
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=self.active))

    def log_params(self, params: dict[str, str]) -> None:
        self.params.append(params)

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        for name, value in metrics.items():
            assert type(value) is float
            self.points[self.active].setdefault(name, []).append(step)

    def get_run(self, run_id: str) -> Any:
        return types.SimpleNamespace(data=types.SimpleNamespace(metrics=dict.fromkeys(self.points[run_id], 0.0)))

    def history(self, run_id: str, name: str) -> list[Any]:
        return [types.SimpleNamespace(step=step) for step in self.points[run_id][name]]

    def end_run(self) -> None:
        self.ended += 1


def test_mlflow_gets_each_point_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    for restored, stop in ((None, 50), (20, 100), (None, 110)):
        with Workdir(tmp_path / "run", FLAGS) as workdir:
            train(workdir, "mlflow", restored, stop)
    assert fake.points == {"run-0": {name: list(range(0, 110, 10)) for name in ("loss", "valid_loss")}}
    assert fake.params == [{"seed": 3, "tied": False}] and fake.ended == 3


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_package_that_is_not_there_or_a_service_that_fails_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with Workdir(tmp_path, FLAGS) as workdir:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(
            UserError, match=rf"^the writer {name} needs a .* installed: pip install 'rnnjax\[{name}\]'$"
        ):
            make_writer(name, workdir)

        def fail(**kwargs: Any) -> None:
            raise RuntimeError("no API key\nrun login")

        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(init=fail, start_run=fail))
        with pytest.raises(UserError, match=f"^the writer {name} failed: no API key$"):
            make_writer(name, workdir)


def test_an_unknown_writer_suggests_the_nearest(tmp_path: Path) -> None:
    with Workdir(tmp_path, FLAGS) as workdir:
        with pytest.raises(UserError, match=r"^unknown writer wanbd: did you mean wandb\? \(known: jsonl, tensorboard"):
            make_writer("wanbd", workdir)
        with pytest.raises(UserError, match=r"^unknown writer zzz: \(known"):
            make_writer("zzz", workdir)


class Recorder:
    """A writer that remembers."""

    def __init__(self, fails: bool = False) -> None:
        self.steps: list[int] = []
        self.closed, self.fails = 0, fails

    def write(self, step: int, metrics: Any, /) -> None:
        self.steps.append(step)

    def close(self) -> None:
        self.closed += 1
        if self.fails:
            raise UserError("no connection")


def test_several_writers_are_one_and_each_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Recorder(), Recorder(fails=True), Recorder()]
    writer = All(parts)
    writer.write(1, {})
    with pytest.raises(UserError, match="no connection"):
        writer.close()
    assert [(part.steps, part.closed) for part in parts] == [([1], 1)] * 3
    first = Recorder()
    monkeypatch.setitem(WRITERS, "jsonl", lambda workdir, step: first)
    with Workdir(tmp_path, FLAGS) as workdir, pytest.raises(UserError, match="unknown writer x"):
        make_writers(["jsonl", "x"], workdir)
    assert first.closed == 1


def test_the_extras_are_not_imported_unless_used() -> None:
    code = "import sys, rnnjax.runs; print([n for n in ('wandb', 'mlflow', 'tensorboardX') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
