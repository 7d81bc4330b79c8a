"""The list of runs: their states, and what is no run."""

import os
import subprocess
import sys
import time

import pytest

from rnnjax.base import UserError
from rnnjax.runs import Workdir, list_runs, runs_command
from rnnjax.runs._ending import Diverged, Stopped, noted_ending


def begin(path, steps=2, asked=9):
    workdir = Workdir(path, {"num_steps": f"--num_steps={asked}"})
    for step in range(1, steps + 1):
        workdir.log(step, {"loss": 1.0 / step, "valid_loss": 5.0 - step if step < 3 else 9.0})
    return workdir


def end(workdir, error):
    with pytest.raises(type(error)), workdir, noted_ending(workdir):
        raise error


def state(path):
    (run,) = list_runs(path)
    return run


def test_every_state(tmp_path):
    with begin(tmp_path / "running") as running:
        assert state(running.path).state == "running"
    assert state(running.path).state == "stopped"  # killed: nothing was noted
    end(begin(tmp_path / "stopped"), Stopped())
    end(begin(tmp_path / "failed"), RuntimeError("out of luck"))
    end(begin(tmp_path / "diverged"), Diverged("step 3 is not finite"))
    with begin(tmp_path / "finished", steps=4, asked=4) as finished:
        finished.write_summary({"runs": {"lstm": {"steps": 4}}})
    found = {run.path.name: run for run in list_runs(tmp_path)}
    assert {name: run.state for name, run in found.items()} == {name: name for name in found} | {"running": "stopped"}
    assert found["failed"].note == "RuntimeError: out of luck" and found["diverged"].note == "step 3 is not finite"
    assert (found["finished"].step, found["finished"].steps, found["finished"].loss) == (4, 4, 3.0)
    assert (found["stopped"].step, found["stopped"].steps, found["stopped"].loss) == (2, 9, 3.0)
    with begin(tmp_path / "diverged", steps=0) as again, noted_ending(again):
        assert state(tmp_path / "diverged").state == "running"
    assert state(tmp_path / "diverged")[1:3] == ("stopped", 2) and not state(tmp_path / "diverged").note


def test_a_finished_run_that_is_prolonged_is_not_finished(tmp_path):
    with begin(tmp_path / "run", steps=2, asked=2) as workdir:
        workdir.write_summary({"runs": {"lstm": {"steps": 2}}})
    assert state(tmp_path).state == "finished"
    with Workdir(tmp_path / "run", {"num_steps": "--num_steps=4"}, free=("num_steps",)) as workdir:
        pass
    assert state(tmp_path)[1:4] == ("stopped", 2, 4)


def test_damage_is_said_and_the_others_are_listed(tmp_path, capsys):
    begin(tmp_path / "a").close()
    begin(tmp_path / "b").close()
    (tmp_path / "a" / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    assert {run.path.name: run.state for run in list_runs(tmp_path)} == {"a": "damaged", "b": "stopped"}
    assert runs_command([str(tmp_path)]) == 0
    assert "metrics.jsonl is damaged" in capsys.readouterr().out


def test_several_cells_a_run_itself_and_deep_folders(tmp_path):
    begin(tmp_path / "x" / "y" / "run").close()
    begin(tmp_path / "both", steps=0).close()
    begin(tmp_path / "both" / "gru").close()
    begin(tmp_path / "both" / "lstm").close()
    names = {os.fspath(run.path.relative_to(tmp_path)) for run in list_runs(tmp_path)}
    assert names == {"x/y/run", "both/gru", "both/lstm"}
    assert [run.path.name for run in list_runs(tmp_path / "both" / "gru")] == ["gru"]


def test_the_latest_is_first_and_its_age_is_that_of_its_files(tmp_path):
    for name, age in (("old", 5000), ("new", 100)):
        begin(tmp_path / name).close()
        for path in [tmp_path / name, *(tmp_path / name).iterdir()]:
            os.utime(path, (time.time() - age, time.time() - age))
    assert [(run.path.name, round(run.age, -2)) for run in list_runs(tmp_path)] == [("new", 100.0), ("old", 5000.0)]


@pytest.mark.parametrize("make", [lambda p: p / "no", lambda p: p, lambda p: (p / "f").write_text("") or p / "f"])
def test_what_is_no_folder_of_runs_is_one_line(make, tmp_path, capsys):
    assert runs_command([str(make(tmp_path))]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(UserError):
        list_runs(make(tmp_path))


def test_looking_does_not_disturb_a_run_nor_write(tmp_path):
    with begin(tmp_path / "run") as workdir:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        list_runs(tmp_path)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
        workdir.log(3, {"loss": 0.1})


@pytest.mark.slow
def test_the_command(tmp_path):
    begin(tmp_path / "run").close()
    done = subprocess.run([sys.executable, "-m", "rnnjax.runs", tmp_path], capture_output=True, text=True, check=True)
    assert "run  stopped  2 of 9" in " ".join(done.stdout.split("\n"))
