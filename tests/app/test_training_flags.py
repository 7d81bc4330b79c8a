"""Laws of --ema, --accumulate, --horizon, --score, --find_lr and --cell_args of one of several cells."""

from __future__ import annotations

import _user_experiment
import jax
import numpy as np
import pytest
from _launching import launch, one_line, records, there_and_back

import rnnjax
from rnnjax import app
from rnnjax.base import UserError
from rnnjax.runs import Checkpoints, _writers

THERE = there_and_back()
KEPT = {"checkpoint_every": 1, "keep_checkpoints": 9, "writers": "jsonl", "compilation_cache": "off"}


@pytest.fixture(autouse=True)
def standard():
    """optax has not been written for strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def train(workdir, experiment=THERE, **flags):
    return app.train(experiment, workdir, progress="none", **{**KEPT, **flags})


def w(run, which="best") -> float:
    return float(run.at(which).arrays()["w"].item())


def leaves(run, step: int) -> dict:
    return Checkpoints(run.path / "checkpoints").arrays(step)


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name], equal_nan=True) for name in a)


def by_hand(rates) -> np.ndarray:
    """The weight of `there_and_back` after each update: its bias is the same number, so y = 2 w is to be 1."""
    seen = [0.0]
    for rate in rates:
        seen.append(seen[-1] + rate * 2 * (1 - 2 * seen[-1]))
    return np.array(seen[1:])


def test_the_average_is_what_is_evaluated_and_kept_and_it_resumes_bit_for_bit(tmp_path):
    run = train(tmp_path / "run", num_steps=4, ema=0.5)
    seen = by_hand([0.05] * 4)
    means = np.array([np.average(seen[:n], weights=0.5 ** np.arange(n)[::-1]) for n in range(1, 5)])
    np.testing.assert_allclose([w(run, step) for step in run.steps], means, rtol=1e-5)
    np.testing.assert_allclose(run.curve("valid_loss")[1], np.square(2 * means - 0.5), rtol=1e-3, atol=1e-6)
    assert w(run, "last") == w(run, 4) and w(run) == pytest.approx(means[run.step - 1])
    assert run.evaluate("test") == run.summary["test"]
    train(tmp_path / "cut", num_steps=2, ema=0.5)
    cut = train(tmp_path / "cut", num_steps=4, ema=0.5)
    assert equal(leaves(run, 4), leaves(cut, 4)) and cut.summary["test"] == run.summary["test"]


def test_a_decaying_run_is_prolonged_by_its_horizon_alone(tmp_path):
    train(tmp_path, num_steps=3, schedule="linear")
    with pytest.raises(UserError, match=r"--num_steps: 3 -> 6; .* say by --horizon"):
        train(tmp_path, num_steps=6, schedule="linear")
    with pytest.raises(UserError, match="ends before its warm-up does"):
        train(tmp_path, num_steps=6, schedule="linear", horizon=2, warmup_steps=3)
    longer = train(tmp_path, num_steps=6, schedule="linear", horizon=6)
    rates = [0.05 * (1 - 0.9 * step / (3 if step < 3 else 6)) for step in range(6)]
    np.testing.assert_allclose([w(longer, step) for step in longer.steps], by_hand(rates), rtol=1e-5)
    part = train(tmp_path / "part", num_steps=2, schedule="linear", horizon=6)  # it decays as if it went on
    rates = [0.05 * (1 - 0.9 * step / 6) for step in range(2)]
    np.testing.assert_allclose([w(part, step) for step in part.steps], by_hand(rates), rtol=1e-5)


def test_the_score_decides_which_params_are_best(tmp_path, monkeypatch):
    said = {}

    class Noted:
        def __init__(self, workdir, step):
            pass

        def write(self, step, metrics):
            assert "score" not in metrics

        def conclude(self, score):
            said.update(score=score)

        def close(self):
            pass

    monkeypatch.setitem(_writers.WRITERS, "noted", Noted)
    run = train(tmp_path / "low", num_steps=8, writers="jsonl,noted")
    losses = run.curve("valid_loss")[1]
    assert run.summary["score"] == said["score"] == losses.min()
    high = train(tmp_path / "high", num_steps=8, score="max:loss", writers="jsonl,noted")
    assert high.summary["score"] == said["score"] == losses.max() and high.step == 1 + losses.argmax()
    assert all("score" not in record for record in records(tmp_path / "low"))


@pytest.mark.parametrize(
    "flags, said",
    [
        ({"score": "distance"}, "write max:distance or min:distance"),
        ({"score": "accuracy"}, "--score=accuracy is not measured: there is loss"),
        ({"accumulate": 0}, "accumulate"),
        ({"ema": 1.5}, "ema"),
        ({"find_lr": True}, "find_learning_rate"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_refused_in_one_line_before_there_is_a_folder(flags, said, tmp_path):
    with pytest.raises(UserError, match=said) as error:
        train(tmp_path / "run", **flags)
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_several_batches_an_update_by_flag(tmp_path, capsys):
    flags = ["--accumulate=2", "--debug_nans", "--learning_rate=1e38", "--clip_norm=0", "--num_steps=9"]
    assert launch(THERE, *flags, "--writers=jsonl", f"--workdir={tmp_path}") == 1
    assert "metrics/loss/total is the first value that is not finite" in capsys.readouterr().err
    assert rnnjax.load_run(tmp_path, THERE).config.accumulate == 2


def test_a_test_of_learning_rates_prints_draws_and_leaves_the_folder_of_the_run_alone(tmp_path, capsys):
    assert launch(THERE, "--find_lr", f"--workdir={tmp_path / 'run'}") == 0
    said = capsys.readouterr().out
    assert "the loss falls fastest at --learning_rate=" in said and said.count("e-0") > 10
    assert not (tmp_path / "run").exists()
    assert {path.name for path in (tmp_path / "run-find_lr").iterdir()} == {"rates.csv", "rates.png"}
    assert len((tmp_path / "run-find_lr" / "rates.csv").read_text().splitlines()) == 101
    own = ["--find_lr", "--optimizer=optax.contrib:cocob", f"--workdir={tmp_path / 'own'}"]
    assert launch(THERE, *own) == 1
    assert "has a learning rate of its own" in one_line(capsys)
    assert not any("own" in path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "text, of_lstm, of_gru",
    [
        ("", {}, {}),
        ("layer_norm=True", {"layer_norm": True}, {"layer_norm": True}),
        ("lstm:forget_bias=2.0", {"forget_bias": 2.0}, {}),
        ("gru:reset_after=True,layer_norm=True", {}, {"reset_after": True, "layer_norm": True}),
        ("layer_norm=True, lstm:forget_bias=2.0, gru:reset_after=True",
         {"layer_norm": True, "forget_bias": 2.0}, {"layer_norm": True, "reset_after": True}),
        ("gru:a=(1,2),b='x,lstm:y'", {}, {"a": (1, 2), "b": "x,lstm:y"}),
    ],
)  # fmt: skip
def test_arguments_of_one_of_several_cells(text, of_lstm, of_gru):
    configs = app.run_configs(app.parse(app.common_flags(), ["x", "--cell=lstm,gru", f"--cell_args={text}"]))
    assert [config.cell_arguments() for config in configs] == [of_lstm, of_gru]


def test_arguments_of_a_cell_that_is_not_trained_are_refused(tmp_path, capsys):
    given = ["--cell=lstm,gru", "--cell_args=urnn:x=1", f"--workdir={tmp_path / 'run'}"]
    assert launch(_user_experiment.EXPERIMENT, *given) == 1
    assert "urnn is none of --cell=lstm,gru" in one_line(capsys) and not (tmp_path / "run").exists()


def test_the_folder_of_one_of_several_cells_has_its_own_arguments(tmp_path):
    cells = ["--cell=lstm,gru", "--cell_args=lstm:forget_bias=2.0", "--num_steps=1", "--writers=jsonl"]
    assert launch(_user_experiment.EXPERIMENT, *cells, f"--workdir={tmp_path}") == 0
    runs = rnnjax.load_runs(tmp_path)
    assert {name: run.config.cell_arguments() for name, run in runs.items()} == {
        "lstm": {"forget_bias": 2.0},
        "gru": {},
    }
