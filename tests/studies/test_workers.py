"""Laws of a study that workers train: what one process finds, whoever is killed."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from _launching import launch

ROOT = Path(__file__).parents[2]
needs_submitit = pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="needs submitit")
SET = [
    "cell=vanilla",
    "hidden_size=3",
    "length=4",
    "batch_size=4",
    "eval_batches=1",
    "num_steps=2000",
    "eval_every=100",
]
STUDY = ["--experiment=adding", *(f"--set={flag}" for flag in SET), "--grid=learning_rate=1e-3,1e-2"]
STUDY += ["--grid=seed=0,1,2", "--strategy=map", "--member_batch=1", "--compilation_cache=off"]


def start(workdir: Path, workers: int) -> subprocess.Popen:
    """The study, with workers or without."""
    env = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    command = [sys.executable, "-m", "experiments.sweep", *STUDY, f"--workers={workers}", f"--workdir={workdir}"]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def table(workdir: Path) -> list[dict[str, str]]:
    """The members, without the clock."""
    with (workdir / "results.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def ended(workdir: Path) -> int:
    """Units that have come to an end."""
    return len(list((workdir / "workers" / "ends").glob("[!.]*")))


def worker(coordinator: subprocess.Popen) -> int:
    """A process that trains: a child of one of submitit's controllers, which are children of the coordinator."""
    psutil = pytest.importorskip("psutil")
    found = psutil.Process(coordinator.pid).children(recursive=True)
    return next(p.pid for p in found if "submitit.core._submit" in p.cmdline())


@pytest.mark.slow
@needs_submitit
def test_workers_find_what_one_process_finds_whoever_is_killed(tmp_path):
    assert start(tmp_path / "one", 0).wait() == 0
    first = start(tmp_path / "many", 2)
    for enough, victim in ((1, worker), (3, lambda coordinator: coordinator.pid)):
        while ended(tmp_path / "many") < enough:
            assert first.poll() is None, "the study was over before anyone could be killed"
            time.sleep(0.01)
        os.kill(victim(first), signal.SIGKILL)
    first.wait()
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "many" / "workers" / "ends").glob("[!.]*")}
    assert start(tmp_path / "many", 2).wait() == 0
    assert table(tmp_path / "many") == table(tmp_path / "one")
    assert all((tmp_path / "many/workers/ends" / name).stat().st_mtime_ns == at for name, at in before.items())
    one, many = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "many"))
    assert many["best"]["member"] == one["best"]["member"] and many["best"]["test"] == one["best"]["test"]


@pytest.mark.parametrize(
    "more, line",
    [
        (["--halving=2", "--rung=100"], "--workers go with neither"),
        (["--workers=-1"], "flag --workers=-1"),
        (["--engine_args=gpus"], "--engine_args=gpus"),
        (["--engine=none", "--engine_args=timeout_min=1"], "started by hand take no options"),
        pytest.param(["--engine_args=nonsense=1"], "'nonsense'", marks=needs_submitit),
    ],
)
def test_what_workers_refuse_is_one_line(tmp_path, capsys, more, line):
    assert launch("sweep", *STUDY, "--workers=2", *more, f"--workdir={tmp_path / 'study'}") == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("sweep: ") and line in said and not (tmp_path / "study").exists()


@needs_submitit
def test_a_cluster_that_is_not_there_is_one_line(tmp_path, capsys):
    assert launch("sweep", *STUDY, "--workers=2", "--engine=slurm", f"--workdir={tmp_path / 'study'}") == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("sweep: --engine=slurm: ")
    assert not (tmp_path / "study").exists()
