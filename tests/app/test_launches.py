"""Laws of launches in one process: none sees another's flags, and any thread may launch."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest
from _launching import summary, there_and_back
from absl import flags

from rnnjax import app
from rnnjax.app._session import Session
from rnnjax.base import UserError

QUICK = ["--writers=jsonl", "--compilation_cache=off", "--num_steps=3"]


def status(experiment, *argv):
    return app.status(experiment, ["user.py", *QUICK, *argv])


def test_a_second_launch_has_no_flag_of_the_first(tmp_path):
    experiment = there_and_back()
    flags.DEFINE_multi_string("tag", ["none"], "", flag_values=experiment.flags)
    first = ["--batch_size=7", "--tag=a", "--tag=b", "--nodebug_nans", "--patience=2"]
    assert status(experiment, f"--workdir={tmp_path / 'first'}", *first) == 0
    assert status(experiment, f"--workdir={tmp_path / 'second'}") == 0
    lines = (tmp_path / "second" / "flags.cfg").read_text().splitlines()
    assert "--batch_size=64" in lines and "--tag=none" in lines and "--patience=0" in lines
    assert "--tag=a" not in lines


def test_parsing_leaves_the_flags_as_they_are():
    values = app.common_flags()
    assert app.parse(values, ["x", "--batch_size=7", "--cell=gru"]).batch_size == 7
    second = app.parse(values, ["x"])
    assert second.batch_size == 64 and second.cell == ["lstm"]


def test_a_refused_launch_leaves_no_flag_behind(tmp_path):
    experiment = there_and_back()
    assert status(experiment, f"--workdir={tmp_path / 'a'}", "--batch_size=7", "--learning_rate=-1") == 1
    assert status(experiment, f"--workdir={tmp_path / 'b'}") == 0
    assert "--batch_size=64" in (tmp_path / "b" / "flags.cfg").read_text().splitlines()


def test_a_launch_in_a_thread_trains_and_leaves_the_handlers(tmp_path):
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    ends = []
    run = threading.Thread(target=lambda: ends.append(status(there_and_back(), f"--workdir={tmp_path / 'run'}")))
    run.start()
    run.join()
    assert ends == [0]
    assert summary(tmp_path / "run")["steps"] == 3
    assert {s: signal.getsignal(s) for s in before} == before


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_signal_saves_and_stops(name, tmp_path, monkeypatch):
    advance = Session.advance

    def interrupted(self, saved, writer, bar):
        saved = advance(self, saved, writer, bar)
        os.kill(os.getpid(), getattr(signal, name))
        return saved

    ours = getattr(signal, name)
    known = signal.signal(ours, lambda signum, frame: pytest.fail("the signal went past the run"))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Session, "advance", interrupted)
            assert status(there_and_back(), f"--workdir={tmp_path / 'run'}") == 128 + ours
        assert (tmp_path / "run" / "checkpoints" / "1").is_dir()
        assert status(there_and_back(), f"--workdir={tmp_path / 'run'}") == 0
    finally:
        signal.signal(ours, known)


def test_what_each_run_of_a_launch_says_of_the_same_data_is_printed_once(capsys, tmp_path):
    experiment = there_and_back()

    def load(config):
        print(f"a.csv: 2 lines are left out\na.csv: 2 lines are left out\n{config.cell} reads it")
        if config.cell == "gru":
            raise UserError("enough")
        return None, ()

    experiment = experiment._replace(load=load, build=lambda config, facts: there_and_back().build(config))
    for _ in range(2):  # each launch says it
        assert status(experiment, f"--workdir={tmp_path / 'run'}", "--cell=vanilla,gru") == 1
        said = capsys.readouterr().out.splitlines()
        assert said == [*["a.csv: 2 lines are left out"] * 2, "vanilla reads it", "gru reads it"]
