"""--describe, --plot, curves while a run trains, what is said of steps, and faults in the code of a user."""

import json
import os
import re
import signal

import pytest
from _launching import launch, summary, there_and_back

import rnnjax
from rnnjax import app
from rnnjax.app._session import Session
from rnnjax.base import UserError
from rnnjax.runs import Workdir, list_runs

QUICK = ["--hidden_size=4", "--delay=3", "--num_steps=2", "--batch_size=2", "--eval_batches=1", "--eval_every=1"]


def said(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if not line.startswith("workdir: ")]


@pytest.mark.parametrize("experiment", ["copying", "adding"])
def test_describe_prints_the_parts_and_leaves_nothing(experiment, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["--cell=vanilla,gru", "--hidden_size=4", "--describe"]
    assert launch(experiment, *argv, f"--workdir={tmp_path / 'run'}") == 0
    text = capsys.readouterr().out
    assert "vanilla(4)" in text and "gru(4)" in text and text.count("\ntotal") == 2
    assert not list(tmp_path.iterdir())


STUDIES = {
    "depth": ["--depths=1,2", "--shortcuts=plain,highway"],
    "audit": ["--cell=vanilla,gru"],
    "online_copy": [],
    "feedback": [],
    "sweep": ["--experiment=copying", "--set=delay=3", "--grid=cell=gru,lstm", "--grid=seed=0,1"],
}
COUNTS = {"depth": 4, "audit": 2, "online_copy": 1, "feedback": 3 * 5, "sweep": 2}


@pytest.mark.parametrize("name", STUDIES)
def test_describe_prints_the_networks_of_a_study_and_leaves_nothing(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert launch(name, *STUDIES[name], "--describe") == 0
    assert capsys.readouterr().out.count("\ntotal") == COUNTS[name]
    assert not list(tmp_path.iterdir())


def test_describe_of_a_study_without_a_network_is_refused(capsys, tmp_path):
    assert launch("bifurcation", "--describe", f"--workdir={tmp_path / 'run'}") == 1
    assert said(capsys) == ["bifurcation: --describe: bifurcation has no network to describe"]
    assert not list(tmp_path.iterdir())


def test_describe_of_a_network_that_is_refused(capsys, tmp_path):
    assert launch("copying", "--cell=lstmm", "--describe", f"--workdir={tmp_path / 'run'}") == 1
    assert len(said(capsys)) == 1 and not list(tmp_path.iterdir())


def test_describe_looks_at_a_folder_of_another_run_without_touching_it(capsys, tmp_path):
    assert launch(there_and_back(), f"--workdir={tmp_path / 'run'}", "--num_steps=2") == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert launch(there_and_back(), f"--workdir={tmp_path / 'run'}", "--num_steps=9", "--seed=4", "--describe") == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_parts_are_the_first_thing_that_a_run_says_and_no_flag_of_it(capfd, tmp_path):
    assert launch(there_and_back(), f"--workdir={tmp_path / 'run'}", "--num_steps=1") == 0
    first = capfd.readouterr().out.splitlines()[0]
    assert re.fullmatch(r"lstm: \[3, 1\] -> \[3, 1\], 2 parameters, carry of 0 B in 0 arrays; .*", first)
    assert "describe" not in (tmp_path / "run" / "flags.cfg").read_text()


@pytest.mark.parametrize("plot", ["loss,acc", "", "valid_grad_norm"])
def test_a_metric_that_is_not_measured_is_refused_with_those_that_are(plot, capsys, tmp_path):
    assert launch("copying", *QUICK, f"--plot={plot}", f"--workdir={tmp_path / 'run'}") == 1
    (line,) = said(capsys)
    assert all(name in line for name in ("--plot=", "accuracy", "loss", "grad_norm", "valid_accuracy"))
    assert not list(tmp_path.iterdir())


def test_the_metrics_of_a_picture(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "rnnjax.plotting.save", lambda path, figure: drawn.append([a.get_ylabel() for a in figure.axes])
    )
    plot = "--plot=loss,accuracy,valid_accuracy,state_norm"
    assert launch("copying", *QUICK, plot, "--report=state_norm", f"--workdir={tmp_path / 'run'}") == 0
    assert drawn[-1] == ["cross-entropy (nats a step)", "accuracy", "valid_accuracy", "state_norm"]


def test_curves_are_drawn_while_a_run_trains_and_after_a_signal(tmp_path, monkeypatch):
    advance, there = Session.advance, []

    def stopped(self, *args):
        saved = advance(self, *args)
        there.append((tmp_path / "run" / "curves.png").exists())
        if len(there) == 3:
            (tmp_path / "run" / "curves.png").unlink()
            os.kill(os.getpid(), signal.SIGTERM)
        return saved

    monkeypatch.setattr(Session, "advance", stopped)
    monkeypatch.setattr(Session, "call_steps", lambda self, step: 1)
    assert launch(there_and_back(), f"--workdir={tmp_path / 'run'}") == 143
    assert there == [True] * 3
    assert (tmp_path / "run" / "curves.png").read_bytes()[:4] == b"\x89PNG"
    (run,) = list_runs(tmp_path)
    assert (run.state, run.step, run.steps) == ("stopped", 3, 200)


def test_drawing_takes_a_small_part_of_the_time(tmp_path, monkeypatch):
    times, drawn = iter(range(1000)), []
    picture = app._pictures.Picture(tmp_path / "a.png", None, ["loss"], "")
    monkeypatch.setattr(app._pictures.Picture, "draw", lambda self, runs: drawn.append(0))
    monkeypatch.setattr("rnnjax.app._pictures.time.monotonic", lambda: float(next(times)))
    for _ in range(100):
        picture.refresh("lstm", [])
    assert 2 <= len(drawn) <= 8


def test_what_is_said_of_the_steps(capsys, tmp_path):
    workdir = f"--workdir={tmp_path / 'run'}"
    assert launch(there_and_back(), workdir, "--num_steps=3") == 0
    assert not [line for line in said(capsys) if "goes on" in line]
    assert launch(there_and_back(), workdir, "--num_steps=3") == 0
    assert "lstm: finished already, nothing trained: 3 steps asked for, 3 done" in said(capsys)
    assert launch(there_and_back(), workdir, "--num_steps=2") == 0
    assert "lstm: finished already, nothing trained: 2 steps asked for, 3 done" in said(capsys)
    assert launch(there_and_back(), workdir, "--num_steps=5") == 0
    assert "lstm: goes on from step 3 of 5" in said(capsys)


FAULTS = {
    "name": ("def f(n):\n    return nothing(n)\n", "NameError: name 'nothing' is not defined", 2),
    "key": ("def f(n):\n    x = 1\n    return {}[n]\n", "KeyError: 4", 3),
    "raised": ("def f(n):\n    raise RuntimeError('one\\ntwo')\n", "RuntimeError: one", 2),
    "value": ("def f(n):\n    raise ValueError('no')\n", "no", 2),
    "syntax": ("import rnnjax\ndef f(n:\n", "SyntaxError: ", 2),
    "import": ("\nimport nowhere_at_all\n", "ModuleNotFoundError: No module named 'nowhere_at_all'", 2),
    "at import": ("x = 1\ny = x / 0\n", "ZeroDivisionError: division by zero", 2),
    "exit": ("import sys\n\nsys.exit('bye')\n", "SystemExit: bye", 3),
    "step": (
        "import rnnjax\n\ndef f(n):\n    def step(w, h, x, key=None):\n        return h.nothing, x\n"
        "    return rnnjax.with_step(rnnjax.lstm(n), step)\n",
        "has no attribute 'nothing'",
        5,
    ),
    "init": (
        "import rnnjax\n\ndef f(n):\n    def init(key, x):\n        raise RuntimeError('late')\n"
        "    return rnnjax.lstm(n).replace(init=init)\n",
        "RuntimeError: late",
        5,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_users_cell_is_one_line_with_its_place(name, capsys, tmp_path, monkeypatch):
    source, message, line = FAULTS[name]
    module = f"faulty_{name.replace(' ', '_')}"
    (tmp_path / f"{module}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert launch("copying", *QUICK, f"--cell={module}:f", f"--workdir={tmp_path / 'run'}") == 1
    (text,) = said(capsys)
    assert f"--cell={module}:f" in text and message in text
    assert text.endswith(f"({tmp_path / module}.py, line {line})")
    assert not (tmp_path / "run").exists()


def test_a_fault_in_a_users_report_is_one_line_with_its_place(capsys, tmp_path, monkeypatch):
    (tmp_path / "reporting.py").write_text("def f(cell, params, x):\n    return {'a': nothing}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert launch("copying", *QUICK, "--report=reporting:f", f"--workdir={tmp_path / 'run'}") == 1
    (text,) = said(capsys)
    assert text.endswith("line 2)") and "--report=reporting:f: NameError" in text


@pytest.mark.parametrize("call", [app.train, lambda given: rnnjax.load_run(".", given)])
@pytest.mark.parametrize(
    "given, hint",
    [
        ("adding", "from experiments.adding import EXPERIMENT"),
        ("experiments.adding", "from experiments.adding import EXPERIMENT"),
        (3, "app.Experiment"),
        (app, "got module"),
        (lambda config: None, "got function"),
        (app.Study(lambda configs, workdir: None, app.study_flags()), "its command line"),
    ],
)
def test_what_is_no_experiment_is_refused_with_a_hint(given, hint, call):
    with pytest.raises(UserError, match=hint) as refusal:
        call(given)
    assert "takes an app.Experiment" in str(refusal.value) and "\n" not in str(refusal.value)


ENTRIES = {
    "cell", "hidden_size", "steps", "final", "score", "best", "test", "baseline", "published", "parameters",
    "steps_per_second", "seconds", "workdir", "code", "rnnjax", "versions", "device",
}  # fmt: skip


def test_the_summary_has_one_shape_and_the_page_says_which(tmp_path, pytestconfig):
    one, two = tmp_path / "one", tmp_path / "two"
    assert launch(there_and_back(), f"--workdir={one}", "--num_steps=1") == 0
    assert launch(there_and_back(), f"--workdir={two}", "--num_steps=1", "--cell=gru,vanilla") == 0
    files = {path: json.loads((path / "summary.json").read_text()) for path in (one, two, two / "gru")}
    for found in files.values():
        assert set(found) == {"version", "runs", "sha256"} and found["version"] == 1
        assert all(set(run) == ENTRIES for run in found["runs"].values())
    assert [list(found["runs"]) for found in files.values()] == [["lstm"], ["gru", "vanilla"], ["gru"]]
    assert files[two]["runs"]["gru"] == summary(two / "gru")
    page = (pytestconfig.rootpath / "docs" / "trained_runs.md").read_text()
    rows = page.partition("## summary.json")[2].partition("\n## ")[0].split("\n| `")[1:]
    assert {name for row in rows for name in re.findall(r"\w+", row.partition("|")[0])} == ENTRIES


def test_a_summary_of_another_version(tmp_path, capsys):
    there = tmp_path / "run"
    assert launch(there_and_back(), f"--workdir={there}", "--num_steps=1") == 0
    entry = summary(there)
    with Workdir(there, app.TrainedRun(there)._lines) as workdir:
        workdir.write_summary({"version": 2, "runs": {}})
    for look in (lambda: rnnjax.load_run(there, there_and_back()).summary, lambda: Workdir.summary(workdir)):
        with pytest.raises(UserError, match="has version 2, this rnnjax reads version 1"):
            look()
    assert "TrainedRun" in repr(rnnjax.load_run(there, there_and_back()))
    capsys.readouterr()
    assert launch(there_and_back(), f"--workdir={there}", "--num_steps=1") == 1
    assert len(said(capsys)) == 1
    (there / "summary.json").write_text(json.dumps(entry))  # as 0.1.0 wrote it
    assert rnnjax.load_run(there, there_and_back()).summary["test"] == entry["test"]
