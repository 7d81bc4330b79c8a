"""Laws of --score: a study ranks by any metric in its own direction, and never by losses that are not one quantity."""

from __future__ import annotations

import _user_experiment
import numpy as np
import pytest
from _launching import launch, one_line

import rnnjax
from rnnjax import app
from rnnjax.base import UserError
from rnnjax.losses import HIGHER_IS_BETTER, criterion
from rnnjax.studies import EXPERIMENT as SWEEP
from rnnjax.studies._comparable import _Quantity, _same_quantity, refuse_mixed_losses
from rnnjax.studies._plan import make_plan
from rnnjax.studies._results import Results

TOY = ["--experiment=_user_experiment", "--set=cell=vanilla", "--compilation_cache=off"]


@pytest.mark.parametrize("name", ["loss", "accuracy", "max:loss", "min:accuracy"])
def test_rows_and_settings_are_ranked_in_the_direction_of_the_metric(name, tmp_path):
    results = Results(tmp_path, ["cell", "seed"], criterion(name))
    scores = [("gru", 0.1), ("gru", 0.3), ("lstm", 0.5), ("vanilla", None), ("urnn", 0.2)]
    results.add(
        {"member": i, "flags": {"cell": cell, "seed": str(i)}, "status": "done", "score": score}
        for i, (cell, score) in enumerate(scores)
    )
    high = name in ("accuracy", "max:loss")
    assert results.best()["member"] == (2 if high else 0)
    middles = [row["score"] for row in results.settings()]
    assert middles[:-1] == sorted(middles[:-1], reverse=high) and middles[-1] == (-np.inf if high else np.inf)


def test_every_metric_in_the_table_is_its_own_criterion():
    assert all(criterion(name) == (name, higher) for name, higher in HIGHER_IS_BETTER.items())
    assert all(criterion(name).cost(criterion(name).cost(0.3)) == 0.3 for name in HIGHER_IS_BETTER)


@pytest.mark.slow
def test_a_study_by_accuracy_and_its_best_member_alone(tmp_path, capsys):
    grid = ["--grid=learning_rate=0.001,0.1", "--set=eval_every=2", "--score=accuracy"]
    assert launch("sweep", *TOY, *grid, f"--workdir={tmp_path / 'study'}") == 0
    study = rnnjax.load_study(tmp_path / "study")
    assert [row["score"] for row in study.rows] == [max(row["curve"]["valid_accuracy"]) for row in study.rows]
    assert study.best_row["score"] == max(row["score"] for row in study.rows)
    assert study.summary["score"] == "accuracy, higher is better"
    said = capsys.readouterr().out
    assert "accuracy, higher is better" in said and "--score=accuracy" in study.summary["best"]["command"]
    flags = ["--cell=vanilla", "--eval_every=2", "--score=accuracy", "--writers=jsonl"]
    own = [f"--{name}={value}" for name, value in study.best_row["flags"].items()]
    assert launch(_user_experiment.EXPERIMENT, *flags, *own, f"--workdir={tmp_path / 'alone'}") == 0
    alone = rnnjax.load_run(tmp_path / "alone", _user_experiment.EXPERIMENT)
    assert alone.summary["score"] == study.best_row["score"] and alone.step == study.best_row["best_step"]
    assert study.best.evaluate("test") == alone.summary["test"]


COPYING = ["--experiment=copying", "--set=cell=vanilla"]
REFUSED = [
    ([*COPYING, "--grid=delay=3,5"], "the loss is another quantity with --delay=5 ("),
    ([*COPYING, "--grid=delay=3,5", "--grid=seed=0,1"], "rank by another --score, make a study of each"),
    ([*TOY, "--grid=delay=3,5"], "(loss, targets [9]) than with --delay=3 (loss, targets [7])"),
    ([*TOY, "--grid=seed=0,1", "--score=distance"], "--score=distance: write max:distance or min:distance"),
    ([*TOY, "--grid=seed=0,1", "--set=score=accuracy"], "give --score to the study itself"),
    ([*TOY, "--grid=score=accuracy,loss"], "give --score to the study itself"),
]


@pytest.mark.parametrize("flags, said", REFUSED, ids=[" ".join(flags[2:]) for flags, _ in REFUSED])
def test_refused_in_one_line(flags, said, tmp_path, capsys):
    assert launch("sweep", *flags, f"--workdir={tmp_path / 'study'}") == 1
    assert said in one_line(capsys) and not (tmp_path / "study").exists()


PASSED = [
    ["--grid=delay=3,5", "--score=accuracy"],
    ["--grid=delay=3,5", "--mixed_losses"],
    ["--grid=learning_rate=0.1,0.2", "--grid=hidden_size=3,4", "--grid=cell_args.forget_bias=0,1"],
]


@pytest.mark.parametrize("flags", [*PASSED, ["--space=delay=int:2:5", "--trials=2"]], ids=" ".join)
def test_what_may_be_ranked(flags):
    [config] = app.run_configs(app.parse(SWEEP.flags, ["sweep", "--experiment=copying", "--set=cell=lstm", *flags]))
    if flags in PASSED:
        return refuse_mixed_losses(make_plan(config), config)
    with pytest.raises(UserError, match="another quantity"):  # the ends of a range
        refuse_mixed_losses(make_plan(config), config)


def test_what_the_losses_of_a_study_measure():
    """Units, baselines, kinds of target and alphabets; not sizes, rates, or what no flag of the task changes."""
    base = _Quantity("nats", ("guessing", 0.5), [("int32", ())], "abc")
    assert _same_quantity(base, base._replace(baseline=("guessing twice", 0.50001)))
    others = [
        base._replace(label="bits"),
        base._replace(baseline=("guessing", 0.6)),
        base._replace(baseline=("guessing", None)),
        base._replace(targets=[("float32", (1,))]),
        base._replace(symbols="abcd"),
    ]
    assert not any(_same_quantity(base, other) for other in others)
