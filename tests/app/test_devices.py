"""Laws of --devices=auto: the number is written down, a run keeps the number it began with, and no run is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest
from _launching import launch, records, there_and_back

from rnnjax import app, training
from rnnjax.app import _devices as devices
from rnnjax.runs._flags_file import read_flags, write_flags
from rnnjax.studies import EXPERIMENT as STUDY
from rnnjax.studies._plan import make_plan

ROOT = Path(__file__).parents[2]


def recorded(workdir: Path) -> str:
    return read_flags(workdir / "flags.cfg", ())["devices"]


def rerecord(workdir: Path, line: str):
    """Makes a finished run one that was begun with another number of devices; "" for none."""
    write_flags(workdir / "flags.cfg", read_flags(workdir / "flags.cfg", ()) | {"devices": line})


@pytest.mark.parametrize("units", [1, 200, 201, 650])
@pytest.mark.parametrize("examples", [1, 7, 16, 20, 64, 96, 512])
def test_the_number_divides_the_batch_and_grows_with_the_cores(examples, units):
    taken = [training.helpful_devices(examples, units, cores) for cores in range(1, 12)]
    assert all(1 <= n <= cores and examples % n == 0 for cores, n in enumerate(taken, 1))
    assert taken == sorted(taken) and taken[-1] <= 8
    assert all(n == 1 or examples // n >= 8 for n in taken)


def test_a_large_layer_with_few_examples_stays_on_one_core():
    assert [training.helpful_devices(20, units, 2) for units in (200, 201, 650)] == [2, 1, 1]
    assert [training.helpful_devices(128, units, 2) for units in (512, 1280, 1281)] == [2, 2, 1]


def test_a_run_keeps_the_number_it_began_with(shared_programs, tmp_path, capsys):
    experiment, run = there_and_back(), tmp_path / "run"
    flags = [f"--workdir={run}", "--eval_every=5", "--log_every=5"]
    assert launch(experiment, *flags, "--num_steps=5") == 0
    assert recorded(run) == "--devices=1"
    for steps, known, said in ((10, "--devices=0", 0), (15, "--devices=4", 1)):
        rerecord(run, known)
        capsys.readouterr()
        assert launch(experiment, *flags, f"--num_steps={steps}") == 0
        assert capsys.readouterr().err.count("flags.cfg has --devices=4, this machine has fewer") == said
        assert recorded(run) == known
    assert launch(experiment, *flags[1:], f"--workdir={tmp_path / 'whole'}", "--num_steps=15") == 0
    assert records(run) == records(tmp_path / "whole")
    rerecord(run, "")
    assert devices.recorded_devices(run) == 0 and devices.recorded_devices(tmp_path / "none") is None


def test_training_from_python_takes_what_there_is_and_records_it(tmp_path, capsys):
    with jax.numpy_dtype_promotion("standard"):
        run = app.train(there_and_back(), tmp_path, progress="none", num_steps=2, compilation_cache="off")
    assert (run.config.devices, run.flags["devices"]) == (1, "1")
    assert "devices" not in capsys.readouterr().err


@pytest.mark.parametrize("given", ["-1", "1.5", "two", "AUTO", "", "²"])
def test_anything_else_is_refused_in_one_line(given, tmp_path, capsys):
    assert launch("adding", f"--devices={given}", f"--workdir={tmp_path / 'run'}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected auto or a whole number" in line and not (tmp_path / "run").exists()


def test_auto_counts_the_examples_that_come_not_those_of_the_flag(monkeypatch):
    experiment = there_and_back()  # batches of 4, whatever --batch_size says
    [config] = app.run_configs(app.parse(experiment.flags, ["x", "--batch_size=64"]))
    monkeypatch.setattr(devices.jax, "devices", lambda: [None] * 4)
    monkeypatch.setattr(devices, "usable_cores", lambda: 4)
    taken = [
        devices.taken_devices(c, lambda c=c: devices_trainer(experiment, c), (), None)
        for c in (config, config.replace(coordinator="host:1"), config.replace(devices=3))
    ]
    assert taken == [1, 0, 3]
    assert [devices.taken_devices(config, None, (), known) for known in (0, 1, 4, 6, 16)] == [0, 1, 4, 3, 4]


def devices_trainer(experiment, config):
    from rnnjax.app._setup import trainer

    return trainer(experiment.build, config)


def test_a_member_of_a_study_is_a_run_on_one_device():
    asked = make_plan(app.parse(STUDY.flags, ["sweep", "--experiment=adding", "--grid=seed=0,1"]))
    assert [asked.member(i, own).config.devices for i, own in enumerate(asked.points)] == [1, 1]


@pytest.mark.slow
def test_by_default_a_run_that_was_killed_goes_on_bit_for_bit(tmp_path):
    cores = len(os.sched_getaffinity(0))
    flags = ["--cell=gru", "--hidden_size=4", "--batch_size=16", "--length=4", "--num_steps=200", "--log_every=5",
             "--checkpoint_every=10", "--eval_every=40", "--eval_batches=1", "--writers=jsonl"]  # fmt: skip

    def go(name: str, *more: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "experiments.adding", *flags, *more, f"--workdir={tmp_path / name}"]
        env = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([*command, "--compilation_cache=off"], cwd=ROOT, env=env, stderr=subprocess.DEVNULL)

    assert go("whole").wait() == 0
    assert recorded(tmp_path / "whole") == f"--devices={training.helpful_devices(16, 4, cores)}"
    process = go("cut")
    while not list((tmp_path / "cut").glob("checkpoints/*")):
        assert process.poll() is None, "the run was over before it could be killed"
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert go("cut").wait() == 0
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    assert go("again", f"--flagfile={tmp_path / 'whole' / 'flags.cfg'}").wait() == 0
    assert records(tmp_path / "again") == records(tmp_path / "whole")
