"""Laws of a study: members are the runs of the script, killed and resumed it is the same, what is wrong is a line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import _user_experiment as studied
import pytest
from _launching import launch, summary

from rnnjax import app
from rnnjax.studies import EXPERIMENT as SWEEP
from rnnjax.studies import Results, _compiler, group_programs
from rnnjax.studies._packs import Pack
from rnnjax.studies._plan import make_plan

ROOT = Path(__file__).parents[2]
GRID = [
    "--experiment=_user_experiment",
    "--set=dropout=0.2",
    "--grid=delay=3,13",
    "--grid=learning_rate=0.01,1e38,0.1",
    "--set=clip_norm=0",
    "--set=optimizer=sgd",
    "--member_batch=2",
]


def rows(workdir: Path) -> list[dict[str, str]]:
    """results.csv without the clock."""
    with (workdir / "results.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return f"--compilation_cache={tmp_path_factory.mktemp('cache')}"


compiled = []


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cache) -> Path:
    """A study of six members; one diverges, and half of them cannot be built."""
    path = tmp_path_factory.mktemp("study") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            _compiler, "group_programs", lambda *a, **k: compiled.append(group_programs(*a, **k)) or compiled[-1]
        )
        assert launch("sweep", *GRID, cache, f"--workdir={path}") == 0
    return path


def test_a_group_is_compiled_once_however_many_packs_there_are(whole):
    assert [[f._cache_size() for f in programs] for programs in compiled] == [[1, 1, 1]]


def test_a_member_is_the_run_of_the_script(whole, tmp_path, cache, optimized):
    flags = ["--dropout=0.2", "--delay=3", "--learning_rate=0.1", "--clip_norm=0", "--optimizer=sgd"]
    assert launch(studied.EXPERIMENT, *flags, cache, f"--workdir={tmp_path / 'run'}", "--writers=jsonl") == 0
    run = summary(tmp_path / "run")
    best = json.loads((whole / "summary.json").read_text())["best"]
    assert best["flags"] == {"delay": "3", "learning_rate": "0.1"}
    assert best["score"] == run["best"]["valid_loss"] and best["best_step"] == run["best"]["step"]
    assert best["test"] == run["test"]


@pytest.mark.slow
def test_a_member_whose_data_are_drawn_with_its_seed_is_the_run_of_the_script(tmp_path, cache, monkeypatch, optimized):
    def load(config):
        return {"delay": 3 + config.seed}, ()

    def build(config, facts):
        return studied.build(config.replace(delay=facts["delay"]))

    monkeypatch.setattr(studied, "EXPERIMENT", studied.EXPERIMENT._replace(build=build, load=load))
    given = ["--experiment=_user_experiment", "--grid=seed=0,1", cache, f"--workdir={tmp_path / 'study'}"]
    assert launch("sweep", *given) == 0
    flags = ["--seed=1", cache, f"--workdir={tmp_path / 'run'}", "--writers=jsonl"]
    assert launch(studied.EXPERIMENT, *flags) == 0
    run = summary(tmp_path / "run")
    assert float(rows(tmp_path / "study")[1]["score"]) == run["best"]["valid_loss"]


def test_what_fails_or_diverges_is_said_and_the_others_are_kept(whole):
    found = rows(whole)
    assert [row["status"] for row in found] == ["done", "diverged", "done"] + ["failed"] * 3
    assert found[3]["note"] == "RuntimeError: thirteen" and found[1]["steps"] in "12345"
    assert {"flags.png", "learning.png"} <= {path.name for path in whole.iterdir()}
    assert [path.name for path in (whole / "best").iterdir()] == [found[2]["member"]]


class Killed(BaseException):
    """As good as kill -9: nothing of ours catches it."""


def test_killed_and_started_again_nothing_is_lost_or_repeated(whole, tmp_path, cache, monkeypatch, optimized):
    advance, steps = Pack.advance, []

    def counted(self, target):
        if len(steps) == 4:
            steps.append(None)
            raise Killed
        advance(self, target)
        self.save()
        steps.append(self.step)

    monkeypatch.setattr(Pack, "advance", counted)
    monkeypatch.setattr("rnnjax.studies._packs.CALL_SECONDS", 0.0)  # one step a call
    command = [*GRID, cache, f"--workdir={tmp_path / 'cut'}"]
    with pytest.raises(Killed):
        launch("sweep", *command)
    assert launch("sweep", *command) == 0
    assert steps == [1, 2, 3, 4, None, 5, 6, 1, 2, 3, 4, 5, 6]  # two packs, the first cut
    assert rows(tmp_path / "cut") == rows(whole)
    assert launch("sweep", *command) == 0 and len(steps) == 13  # nothing is left to train


def test_settings_are_listed_with_their_size_their_interval_and_what_was_measured(tmp_path):
    results = Results(tmp_path, ["cell", "seed"])
    scores = [("gru", 0.1), ("gru", 0.3), ("gru", 0.2), ("lstm", 0.5)]
    results.add(
        {
            "member": i,
            "flags": {"cell": cell, "seed": str(i)},
            "status": "done",
            "parameters": 7,
            "score": score,
            "valid_loss": score,
            "valid_accuracy": 1 - score,
        }
        for i, (cell, score) in enumerate(scores)
    )
    results.add([{"member": 4, "flags": {"cell": "urnn", "seed": "4"}, "status": "failed", "note": "no"}])
    first, second, last = results.settings()
    assert first == pytest.approx(
        {"cell": "gru", "members": 3, "parameters": 7, "score": 0.2, "low": 0.1, "high": 0.3, "accuracy": 0.8}
    )
    assert second == {"cell": "lstm", "members": 1, "parameters": 7, "score": 0.5, "accuracy": 0.5}
    assert last == {"cell": "urnn", "members": 1, "score": float("inf")}


TOY = "--experiment=_user_experiment --grid=learning_rate=0.1,0.2"
BAD = [
    ("", "--experiment=NAME is needed"),
    ("--experiment=nosuch --grid=seed=0,1", "neither an experiment nor an importable module"),
    ("--experiment=audit --grid=seed=0,1", "has no EXPERIMENT that trains members"),
    ("--experiment=copying --grid=seed=0,1", "trains several cells (urnn,lstm)"),
    ("--experiment=copying --grid=cell=lstm,lstmm", "unknown --cell=lstmm: did you mean lstm?"),
    ("--experiment=copying --set=cell=gru --grid=cell_args.rate=0.1,0.2", "unexpected keyword argument 'rate'"),
    (f"{TOY} --grid=weight_decay=0.001,1e-3", "the same value twice"),
    (f"{TOY} --learning_rate=0.1", "did you mean --set=learning_rate=0.1?"),
    (f"{TOY} --cell lstm", "did you mean --set=cell=VALUE?"),
    ("--experiment=_user_experiment", "nothing to vary"),
    (f"{TOY} --grid=dellay=1,2", "no flag --dellay: did you mean delay?"),
    (f"{TOY} --grid=workdir=a,b", "--workdir cannot be varied in a study"),
    (f"{TOY} --grid=eval_every=1,2", "--eval_every cannot be varied in a study"),
    (f"{TOY} --set=dtype=float64", "give --dtype to the study itself"),
    (f"{TOY} --set=learning_rate=1", "both set and varied"),
    (f"{TOY} --set=delay=0", "delay"),
    (f"{TOY} --grid=learning_rate=0.3,0.4", "varied twice"),
    (f"{TOY} --grid=delay=3,3", "the same value twice"),
    (f"{TOY} --grid=delay", "write flag=v1,v2"),
    (f"{TOY} --grid=delay=3,ten", "delay"),
    (f"{TOY} --grid=hidden_size=4,-4", "--hidden_size=-4: one positive number"),
    (f"{TOY} --grid=weight_decay=log:0:1:3", "begins above 0"),
    (f"{TOY} --grid=weight_decay=log:1:0.1:3", "lower end below its upper end"),
    (f"{TOY} --grid=weight_decay=log:1:x:3", "write log:lo:hi:n with numbers"),
    (f"{TOY} --grid=seed=int:0:99999 --grid=delay=int:1:5000", "the grid has 1,000,000,000 points: at most 10,000"),
    (f"{TOY} --space=weight_decay=log:1e-3:1", "--space and --trials belong together"),
    (f"{TOY} --space=weight_decay=lag:1:2 --trials=3", "write flag=log:lo:hi"),
    (f"{TOY} --space=weight_decay=choice:0.1:0.10 --trials=3", "the same value twice"),
    (f"{TOY} --space=dropout=lin:0:2 --trials=3", "dropout"),
    (f"{TOY} --halving=2", "a rung that is a multiple"),
    (f"{TOY} --rung=2", "--rung=2 needs --halving"),
    (f"{TOY} --engine=slurm", "--engine=slurm needs --workers"),
    (f"{TOY} --engine_args=timeout_min=1", "--engine_args=timeout_min=1 needs --workers"),
    (f"{TOY} --grid=rule=bptt,bpttt", "unknown --rule=bpttt: did you mean bptt?"),
    (f"{TOY} --grid=optimizer=sgd,adamm", "unknown --optimizer=adamm: did you mean adam?"),
    (f"{TOY} --grid=rule=bptt,math:cos", "--rule=math:cos: "),
    (f"{TOY} --grid=rule=bptt,math:pi", "--rule=math:pi: "),
    (f"{TOY} --grid=optimizer=sgd,math:cos", "--optimizer=math:cos: "),
    ("--experiment=adding --grid=cell=lstm,os:getcwd", "--cell=os:getcwd "),
    (f"{TOY} --pbt=3", "needs --space with --trials"),
    (f"{TOY} --strategy=pmap", "strategy"),
]


def test_whole_numbers_of_a_space_are_written_as_such():
    flags = ["--experiment=adding", "--set=cell=gru", "--space=seed=int:0:4000000000", "--trials=2"]
    [config] = app.run_configs(app.parse(SWEEP.flags, ["sweep", *flags]))
    assert make_plan(config).ranges[0].ends() == ("0", "4000000000")


@pytest.mark.parametrize(("flags", "message"), BAD, ids=[flags for flags, _ in BAD])
def test_a_wrong_study(flags, message, capsys, tmp_path):
    assert launch("sweep", f"--workdir={tmp_path / 'study'}", *flags.split()) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("workdir: ")]
    assert len(lines) == 1 and lines[0].startswith("sweep: ") and message in lines[0]
    assert not (tmp_path / "study").exists()


def test_a_workdir_of_another_study(whole, capsys):
    assert launch("sweep", *GRID, "--grid=seed=0,1", f"--workdir={whole}") == 1
    assert "was begun with other flags: --grid" in capsys.readouterr().err


HALVING = [
    "--experiment=_user_experiment",
    "--grid=learning_rate=0.01,0.03,0.1,0.3",
    "--grid=seed=0,1",
    "--set=num_steps=12",
    "--member_batch=4",
]


@pytest.mark.slow
def test_halving_lets_the_best_go_on_as_they_were(tmp_path, cache):
    for name, more in (("all", []), ("halved", ["--halving=2", "--rung=3"])):
        assert launch("sweep", *HALVING, *more, cache, f"--workdir={tmp_path / name}") == 0
    full, halved = rows(tmp_path / "all"), rows(tmp_path / "halved")
    assert sorted(row["steps"] for row in halved) == sorted(["3"] * 4 + ["6"] * 2 + ["12"] * 2)
    for a, b in zip(full, halved):
        assert b["steps"] != "12" or b == a
    early = [json.loads(line) for line in (tmp_path / "all" / "members.jsonl").read_text().splitlines()]
    first = {row["member"]: row["curve"]["valid_loss"][0] for row in early}
    assert {int(r["member"]) for r in halved if r["steps"] == "3"} == set(sorted(first, key=first.get)[4:])


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--pbt=3", "--sampler=random", "--trials=8"], ["--sampler=cmaes"]], ids=str)
def test_a_search_killed_and_started_again_is_the_same(more, tmp_path, cache, monkeypatch):
    pytest.importorskip("optuna")
    flags = [
        "--experiment=_user_experiment",
        "--space=learning_rate=log:1e-3:1",
        "--set=num_steps=12",
        "--trials=6",
        "--ask=3",
        cache,
    ]
    assert launch("sweep", *flags, *more, f"--workdir={tmp_path / 'whole'}") == 0
    for stop in (2, 5):
        calls = []
        advance = Pack.advance

        def counted(self, target, stop=stop, calls=calls, advance=advance):
            calls.append(self.step)
            if len(calls) == stop:
                raise Killed
            advance(self, target)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Pack, "advance", counted)
            launch("sweep", *flags, *more, f"--workdir={tmp_path / 'cut'}")
    assert launch("sweep", *flags, *more, f"--workdir={tmp_path / 'cut'}") == 0
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


@pytest.mark.slow
def test_kill_9_at_any_moment(tmp_path, cache):
    flags = [
        "--experiment=_user_experiment",
        "--grid=learning_rate=log:0.01:1:8",
        "--set=num_steps=4000",
        "--set=eval_every=500",
        "--member_batch=2",
        cache,
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}

    def start(workdir: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "experiments.sweep", *flags, f"--workdir={tmp_path / workdir}"]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )

    assert start("whole").wait() == 0
    cut = tmp_path / "cut"
    for enough in (1, 4):  # members finished before the axe falls, wherever the next pack then is
        process = start("cut")
        while process.poll() is None and finished(cut) < enough:
            time.sleep(0.002)
        assert process.poll() is None, "the study was over before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert finished(cut) < 8
    assert start("cut").wait() == 0
    assert rows(cut) == rows(tmp_path / "whole")


def finished(workdir: Path) -> int:
    """How many members are in the results."""
    path = workdir / "members.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0
