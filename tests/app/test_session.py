"""Laws of a run on the host's side: kill -9, damage, early stopping, the best parameters, a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from _launching import launch, records, summary, there_and_back

from rnnjax.app._session import Session

ROOT = Path(__file__).parents[2]


def test_patience_stops_and_the_best_parameters_are_tested(tmp_path):
    assert launch(there_and_back(), f"--workdir={tmp_path / 'run'}", "--patience=3") == 0
    found = summary(tmp_path / "run")
    valid = {r["step"]: r["valid_loss"] for r in records(tmp_path / "run")}
    best = min(valid, key=lambda step: valid[step])
    assert 1 < best < 190 and found["steps"] == best + 3
    assert found["best"]["step"] == best
    np.testing.assert_allclose(found["test"]["loss"], valid[best], rtol=1e-6)
    assert valid[best] < valid[best + 3]


def test_early_stopping_resumes_with_its_count(tmp_path, monkeypatch):
    assert launch(there_and_back(), f"--workdir={tmp_path / 'whole'}", "--patience=3") == 0
    advance = Session.advance

    def interrupted(self, saved, writer, bar):
        saved = advance(self, saved, writer, bar)
        if int(saved.stale) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return saved

    monkeypatch.setattr(Session, "advance", interrupted)
    assert launch(there_and_back(), f"--workdir={tmp_path / 'cut'}", "--patience=3") == 130
    assert launch(there_and_back(), f"--workdir={tmp_path / 'cut'}", "--patience=3") == 0
    assert records(tmp_path / "cut") == records(tmp_path / "whole")


def test_a_flipped_bit_in_the_newest_checkpoint_costs_the_steps_since_the_one_before(tmp_path, capsys):
    flags = [f"--workdir={tmp_path / 'run'}", "--num_steps=20"]
    assert launch(there_and_back(), *flags) == 0
    whole = records(tmp_path / "run")
    newest = max((tmp_path / "run" / "checkpoints").iterdir(), key=lambda f: int(f.name))
    victim = max((f for f in newest.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    (tmp_path / "run" / "summary.json").unlink()
    capsys.readouterr()
    assert launch(there_and_back(), *flags) == 0
    assert "checkpoint 20 is damaged" in capsys.readouterr().err
    assert records(tmp_path / "run") == whole


def test_a_trace_for_tensorboard(tmp_path):
    assert launch(there_and_back(), f"--workdir={tmp_path / 'run'}", "--num_steps=6", "--profile") == 0
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))


@pytest.mark.slow
def test_killed_at_any_moment_and_started_again_nothing_is_lost(tmp_path):
    flags = "--num_steps=250 --length=8 --cell=vanilla --hidden_size=3 --batch_size=2 --eval_batches=1 --log_every=5"
    command = [sys.executable, "-m", "experiments.adding", *flags.split(), "--eval_every=25", "--checkpoint_every=10",
               "--writers=jsonl", f"--compilation_cache={tmp_path / 'cache'}"]  # fmt: skip

    def start(workdir: str) -> subprocess.Popen:
        return subprocess.Popen([*command, f"--workdir={tmp_path / workdir}"], cwd=ROOT, stderr=subprocess.DEVNULL)

    assert start("whole").wait() == 0
    cut = tmp_path / "cut"
    for enough in (3, 12):  # checkpoints seen before the axe falls, wherever the run then is
        process = start("cut")
        while process.poll() is None and steps(cut) < 10 * enough:
            time.sleep(0.002)
        assert process.poll() is None, "the run was over before it could be killed"
        process.kill()
        process.wait()
    assert start("cut").wait() == 0
    assert records(cut) == records(tmp_path / "whole")


def steps(workdir: Path) -> int:
    """The newest checkpoint of a run."""
    folder = workdir / "checkpoints"
    return max([int(f.name) for f in folder.iterdir() if f.name.isdigit()] if folder.exists() else [0], default=0)
