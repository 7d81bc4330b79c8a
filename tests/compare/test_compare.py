"""Runs side by side: groups, intervals, what is not comparable, and folders that are no run."""

import json

import numpy as np
import pytest

from rnnjax.base import UserError
from rnnjax.compare import compare_command, compare_runs
from rnnjax.runs import Workdir, atomic_write
from rnnjax.training import bootstrap, interquartile_mean


def make(path, losses=(3.0, 2.0, 2.5), module="experiments.copying", data="d", finished=True, **flags):
    """A run as training leaves it, without its network."""
    flags = {"cell": "lstm", "seed": 0, "delay": 5, "num_steps": len(losses), **flags}
    with Workdir(path, {name: f"--{name}={value}" for name, value in flags.items()}) as workdir:
        origin = {"format": 1, "experiment": {"module": module, "file": None, "name": "EXPERIMENT"}}
        atomic_write(path / "run.json", json.dumps(origin | {"code": {}, "facts": {}, "data": data}))
        for step, loss in enumerate(losses, 1):
            workdir.log(step, {"loss": loss + 1, "accuracy": 0.1, "valid_loss": loss, "valid_accuracy": 1 / loss})
        if finished:
            workdir.write_summary({"runs": {flags["cell"]: {"test": {"loss": min(losses)}, "parameters": 9}}})
    return path


def test_seeds_are_grouped_with_an_interval(tmp_path):
    scores = [2.0, 1.0, 4.0]
    for seed, score in enumerate(scores):
        make(tmp_path / str(seed), (9.0, score, score + 1), seed=seed)
    make(tmp_path / "gru", (5.0, 3.0), cell="gru", hidden_size=8)
    found = compare_runs(*(tmp_path / name for name in ("0", "gru", "1", "2")))
    assert [(group.name, len(group.runs)) for group in found.groups] == [
        ("lstm num_steps=3", 3),
        ("gru num_steps=2 hidden_size=8", 1),
    ]
    row = found.rows()[0]
    assert (row["seeds"], row["steps"], row["parameters"]) == (3, 3, 9)
    assert (row["low"], row["high"]) == bootstrap(scores)
    np.testing.assert_allclose(row["valid loss"], interquartile_mean(scores))
    np.testing.assert_allclose(
        row["valid accuracy"], interquartile_mean([1 / score for score in scores])
    )  # at that step
    curve = found.groups[0].curve("loss")
    assert list(curve.valid_steps) == [1, 2, 3]
    np.testing.assert_allclose(curve.valid[1], interquartile_mean(scores))
    assert (curve.low[1], curve.high[1]) == bootstrap(scores)
    assert curve.low[0] == curve.high[0] == 9.0
    assert found.warnings == []


A, B = "/runs/copying-delay=1000-hidden_size=128/first", "/runs/copying-delay=1000-hidden_size=128/second"


@pytest.mark.parametrize(
    "changes, names",
    [
        ([{}, {"seed": 1}], ["lstm"]),
        ([{}, {"delay": 9}], ["delay=5", "delay=9"]),
        ([{}, {"cell": "gru"}], ["lstm", "gru"]),
        ([{"delay": 9}, {"cell": "gru"}], ["lstm delay=9", "gru delay=5"]),
        ([{}, {"ema": 0.9}], ["lstm", "ema=0.9"]),
        ([{"cell_args": ""}, {"cell_args": "forget_bias=2"}], ["lstm", "cell_args=forget_bias=2"]),
        ([{}, {"module": "experiments.adding", "length": 9, "data_dir": "x"}], ["copying", "adding"]),
        (
            [{}, {"delay": 9}, {"module": "experiments.adding", "length": 9}],
            ["copying delay=5", "copying delay=9", "adding"],
        ),
        ([{"start_from": A}, {"start_from": B}], ["start_from=first", "start_from=second"]),
        (
            [{"start_from": A}, {"start_from": f"{A}/../first"}],
            ["start_from=/runs/copyin…ze=128/first", "start_from=/runs/copyin…rst/../first"],
        ),
        ([{"report": "a" * 40 + "b"}, {"report": "c"}], ["report=aaaaaaaaaaaa…aaaaaaaaaaab", "report=c"]),
    ],
)
def test_a_name_says_what_sets_apart_and_no_more(changes, names, tmp_path):
    found = compare_runs(*(make(tmp_path / str(i), **change) for i, change in enumerate(changes)))
    assert [group.name for group in found.groups] == names


@pytest.mark.parametrize(
    "change, line",
    [
        ({"delay": 9}, "different --delay: 5, 9; their losses are not comparable"),
        ({"module": "experiments.adding"}, "different experiments: copying, adding; their losses are not comparable"),
        (
            {"module": "experiments.adding", "delay": 9, "length": 9},
            "different experiments: copying, adding; their losses are not comparable",
        ),
        ({"data": "other"}, "different data; their losses are not comparable"),
        ({"cell": "gru"}, None),
        ({"learning_rate": 0.1}, None),
        ({"seed": 3}, None),
    ],
)
def test_runs_of_different_tasks_are_told(change, line, tmp_path, capsys):
    paths = [str(make(tmp_path / "a")), str(make(tmp_path / "b", **change))]
    assert compare_runs(*paths).warnings == ([line] if line else [])
    assert compare_command([*paths, f"--picture={tmp_path / 'c.svg'}"]) == 0
    assert capsys.readouterr().err == (f"compare: {line}\n" if line else "")


def test_the_command_draws_and_prints(tmp_path, capsys):
    make(tmp_path / "both" / "a")
    make(tmp_path / "both" / "b", (1.0, 1.0), cell="gru", finished=False)
    picture = tmp_path / "c.png"
    assert compare_command([str(tmp_path / "both"), "--plot=loss,accuracy", f"--picture={picture}"]) == 0
    out = capsys.readouterr().out
    assert "lstm num_steps=3" in out and "gru num_steps=2" in out and f"picture: {picture}" in out
    assert picture.read_bytes()[:4] == b"\x89PNG"
    axes = compare_runs(tmp_path / "both").figure(["loss", "accuracy"], "title").axes
    assert [a.get_ylabel() for a in axes] == ["loss (validation)", "accuracy (validation)"]
    assert [a.get_xlabel() for a in axes] == ["", "step"]


def changed(path, name, text):
    (path / name).write_text(text)
    return path


BAD = {
    "missing": lambda d: [d / "nowhere"],
    "a file": lambda d: [changed(d, "a.txt", "") / "a.txt"],
    "no run": lambda d: [d],
    "twice": lambda d: [make(d / "a"), d / "a"],
    "inside twice": lambda d: [make(d / "a"), d],
    "no metrics": lambda d: [make(d / "a", (), finished=False)],
    "a changed log": lambda d: [changed(make(d / "a"), "metrics.jsonl", '{"step": 1}\n{"step": 2}\n')],
    "a log of something else": lambda d: [changed(make(d / "a"), "metrics.jsonl", "\n\n\n")],
    "a damaged summary": lambda d: [changed(make(d / "a"), "summary.json", "{")],
    "a list for a summary": lambda d: [changed(make(d / "a"), "summary.json", "[1]")],
    "a summary of tomorrow": lambda d: [changed(make(d / "a"), "summary.json", '{"version": 7}')],
    "edited flags": lambda d: [changed(make(d / "a"), "flags.cfg", "--cell=gru\n")],
    "a damaged origin": lambda d: [changed(make(d / "a"), "run.json", "{}")],
    "a metric": lambda d: [make(d / "a"), "--plot=loss,acc"],
    "a picture": lambda d: [make(d / "a"), "--picture=a.txt"],
    "a flag": lambda d: [make(d / "a"), "--metrics=loss"],
    "nothing": lambda d: [],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_leaves_no_picture(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = [str(word) for word in BAD[name](tmp_path)]
    assert compare_command(argv) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "incomplete and ignored" not in line]
    assert line.startswith("compare: ")
    assert not (tmp_path / "comparison.png").exists()


def test_what_is_wrong_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match="there is no metric acc in all of these runs: there are accuracy, loss"):
        compare_runs(make(tmp_path / "a")).figure(["acc"])
