"""Laws: workers of any engine give back what they hold when they are stopped, and say in a line what they lack."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from _launching import launch

from rnnjax import app, studies
from rnnjax.base import UserError
from rnnjax.runs import Pool, Queue, run_worker
from rnnjax.runs._engines import _Call, check_engine, without_memory
from rnnjax.runs._workers import _giving_up, join
from rnnjax.studies._search import sampler

ROOT = Path(__file__).parents[2]
STUDY = ["--experiment=adding", "--set=cell=vanilla", "--set=hidden_size=3", "--set=length=4", "--set=batch_size=4"]
STUDY += ["--set=eval_batches=1", "--set=num_steps=40", "--set=eval_every=10", "--grid=seed=0,1,2,3"]
STUDY += ["--strategy=map", "--member_batch=1", "--compilation_cache=off"]


def held(folder: Path, owner: str) -> Queue:
    """A queue whose only unit has an owner."""
    queue = Queue(folder)
    queue.put({"a": {"x": 1}})
    assert queue.claim(owner) is not None and queue.claim("another") is None
    return queue


def test_a_job_that_is_queued_again_gives_its_units_back(tmp_path):
    pytest.importorskip("submitit")
    queue = held(tmp_path, "me")
    again = _Call(run_worker, {}).checkpoint(str(tmp_path), "builtins:sorted", "me", 60.0, 3)
    assert again.args[2] == "me" and isinstance(again.function, _Call)
    assert queue.claim("another") is not None


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_gives_its_units_back(tmp_path, monkeypatch, signum):
    left = []
    monkeypatch.setattr(os, "_exit", left.append)
    queue = held(tmp_path, "me")
    with _giving_up(queue, "me"):
        os.kill(os.getpid(), signum)
    assert left == [128 + signum] and queue.claim("another") is not None


def test_a_worker_without_a_coordinator_says_so(tmp_path, capsys):
    with pytest.raises(UserError, match=r"no coordinator has opened this queue for 0\.1 seconds"):
        join(str(tmp_path / "workers"), "builtins:sorted", patience=0.1)
    assert not (tmp_path / "workers").exists()
    with pytest.raises(SystemExit) as stop:
        studies.run_study(["--worker"])
    assert stop.value.code == 1 and "--worker needs --workdir" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-1", "2", "True", "nan", "half"])
def test_a_part_of_the_memory_is_above_0_and_at_most_1(tmp_path, capsys, value):
    given = ["--workers=2", f"--engine_args=memory_fraction={value}", f"--workdir={tmp_path / 'study'}"]
    assert launch("sweep", *STUDY, *given) == 1
    assert "memory_fraction=" in capsys.readouterr().err and not (tmp_path / "study").exists()
    assert without_memory({"memory_fraction": 1})[1] == {"XLA_PYTHON_CLIENT_MEM_FRACTION": "1"}


def test_an_engine_that_is_not_installed_is_refused_before_anything_is_made(tmp_path, capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else find(name, *more))
    assert launch("sweep", *STUDY, "--workers=2", "--engine=ray", f"--workdir={tmp_path / 'study'}") == 1
    assert "pip install 'rnnjax[ray]'" in capsys.readouterr().err and not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    "name, imported",
    [
        ("submitit", lambda: check_engine("local", {})),
        ("ray", lambda: check_engine("ray", {})),
        ("optuna", lambda: sampler("tpe", 0)),
    ],
)
def test_a_file_of_a_packages_name_is_refused_and_never_run(name, imported, tmp_path, monkeypatch):
    (tmp_path / f"{name}.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UserError, match=f"in this folder hides the package {name}"):
        imported()


@pytest.mark.parametrize("name", ["adding", "char_lm", "speech", "sweep"])
def test_an_agent_of_wandb_can_set_every_flag(name):
    """It writes --name=value, with the value as Python prints it: True, 1e-05, 3."""
    known = importlib.import_module(f"experiments.{name}").EXPERIMENT.flags
    values = {flag: app.parse(known, [name]).values[flag] for flag in known if known[flag].value is not None}
    words = [f"--{flag}={','.join(map(str, v)) if isinstance(v, list) else v}" for flag, v in values.items() if v != []]
    assert app.parse(known, [name, *words]).values == app.parse(known, [name]).values


@pytest.mark.slow
def test_workers_that_were_started_by_hand_train_a_study(tmp_path):
    command = [sys.executable, "-m", "rnnjax.studies", f"--workdir={tmp_path / 'study'}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    coordinator = subprocess.Popen([*command, *STUDY, "--workers=2", "--engine=none"], env=environment)
    hands = [subprocess.Popen([*command, "--worker"], env=environment) for _ in range(2)]
    assert [process.wait(300) for process in (coordinator, *hands)] == [0, 0, 0]
    assert launch("sweep", *STUDY, f"--workdir={tmp_path / 'alone'}") == 0
    one, other = ((tmp_path / name / "results.csv").read_text().splitlines() for name in ("study", "alone"))
    assert len(one) == len(other) == 5
    assert [line.split(",")[:7] for line in one] == [line.split(",")[:7] for line in other]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_replaces_workers_that_die(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*map(str, (ROOT, ROOT / "tests")), os.environ["PYTHONPATH"]]))
    wanted = {f"{i:03}": {"x": i} for i in range(3)} | {"100": {"x": 9, "die": True}}
    try:
        with Pool(Queue(tmp_path / "queue", tries=2), "_units:squared", workers=2, engine="ray") as pool:
            found = dict(pool.run(wanted))
    finally:
        ray.shutdown()
    assert {name: found[name] for name in sorted(found)[:3]} == {f"{i:03}": {"result": i**2} for i in range(3)}
    assert "each of the 2 processes" in found["100"]["failed"]
