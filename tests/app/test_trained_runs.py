"""Laws of a trained run as an object: what it gives is what training had; what is damaged or gone is said in a line."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import _user_experiment
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _launching import launch, one_line, records, refusal, there_and_back

import rnnjax
from rnnjax.compare import compare_runs
from rnnjax.interop import load_params
from rnnjax.runs import list_runs
from rnnjax.runs._kept import kept_arrays

pytestmark = pytest.mark.usefixtures("shared_programs")

ROOT = Path(__file__).parents[2]
TEXT = "to be or not to be, that is the question:\nwhether 'tis nobler in the mind to suffer\n" * 12
SIZES = ("--cell=gru", "--hidden_size=5", "--num_layers=1", "--batch_size=4", "--truncation=8", "--num_steps=3")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run of a language model on a text of ours, and that text."""
    folder = tmp_path_factory.mktemp("written")
    text = folder / "text.txt"
    text.write_text(TEXT)
    flags = (*SIZES, "--eval_every=3", "--sample=20", f"--data={text}", "--seed=3")
    assert launch("char_lm", f"--workdir={folder / 'run'}", *flags) == 0
    return folder / "run", text


def equal(a, b):
    """Two trees, bit for bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_a_loaded_run_is_what_its_session_ended_with(trained):
    folder, result = trained
    run = rnnjax.load_run(folder)
    equal(run.params, result.params)
    assert run.config == result.config
    assert run.summary["test"] == run.evaluate("test") == result.summary["test"]
    assert run.evaluate("valid")["loss"] == min(run.curve("valid_loss")[1])
    x = run.batch("test").x[0]
    equal(run.apply(x), jax.jit(lambda p: rnnjax.run(result.setup.cell, p, x)[1])(result.params))
    assert run.provenance["versions"]["jax"] == jax.__version__


def test_the_metrics_are_arrays_with_a_hole_where_nothing_was_measured(trained):
    run, written = rnnjax.load_run(trained[0]), records(trained[0])
    assert run.metrics["step"].tolist() == [r["step"] for r in written]
    steps, values = run.curve("valid_loss")
    assert dict(zip(steps.tolist(), values.tolist())) == {
        r["step"]: r["valid_loss"] for r in written if "valid_loss" in r
    }
    assert "has no metric valid_lost: it has step" in refusal(lambda: run.curve("valid_lost"))


def test_parameters_of_every_step_that_is_kept(trained):
    run = rnnjax.load_run(trained[0])
    assert run.steps == [2, 4, 6]
    kept = {step: run.at(step).params for step in run.steps}
    equal(run.at("last").params, kept[6])
    assert run.at(2).step == 2 and run.step in (3, 6)
    assert not np.array_equal(jax.tree.leaves(kept[2])[0], jax.tree.leaves(kept[4])[0])
    equal(run.params, rnnjax.load_run(trained[0]).params)  # looking at others leaves it alone
    for step in (5, "best ", -2):
        assert f"step {step} of {run.path} is not kept: best, last, 2, 4, 6 are" == refusal(lambda s=step: run.at(s))


def test_without_its_experiment_numbers_are_there_and_the_rest_says_what_is_missing(copied, trained, tmp_path):
    (copied / "run.json").unlink()  # as a version before wrote it
    run = rnnjax.load_run(copied)
    assert run.summary["steps"] == 6 and run.metrics["loss"].size and run.flags["delay"] == "3"
    assert "does not name its experiment" in refusal(lambda: run.cell)
    run.save_params(tmp_path / "p.npz")
    equal(load_params(tmp_path / "p.npz", trained[1].params), trained[1].params)
    given = rnnjax.load_run(copied, _user_experiment.EXPERIMENT)
    assert given.evaluate() == trained[1].summary["test"]
    assert "does not belong to this experiment" in refusal(lambda: rnnjax.load_run(copied, there_and_back()).config)


@pytest.mark.parametrize(
    "part, value, said",
    [
        ("module", "nowhere.at_all", "nowhere.at_all, the experiment of .* cannot be imported"),
        ("module", "json", "is not in json any more"),
        ("name", "EXPERIMENTS", "is not in _user_experiment any more"),
        ("module", None, "rnnjax_gone"),
    ],
)
def test_an_experiment_that_is_gone(copied, part, value, said):
    origin = json.loads((copied / "run.json").read_text())
    origin["experiment"][part] = value
    if value is None:
        origin["experiment"]["file"] = "/rnnjax_gone.py"
    (copied / "run.json").write_text(json.dumps(origin))
    run = rnnjax.load_run(copied)
    line = refusal(lambda: run.config)
    assert re.search(said, line) and "does not belong" not in line and line.endswith("experiment=EXPERIMENT)")
    assert run.arrays() and run.metrics


def test_a_run_stands_for_its_folder(trained):
    run = rnnjax.load_run(trained[0])
    assert rnnjax.load_run(run).path == run.path == list_runs(run)[0].path
    assert len(compare_runs(run).groups) == 1


def test_changed_code_is_said(copied):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rnnjax.load_run(copied)
    origin = json.loads((copied / "run.json").read_text())
    assert set(origin["code"]) == {_user_experiment.__file__, "rnnjax"}
    origin["code"][_user_experiment.__file__] = "0" * 64
    (copied / "run.json").write_text(json.dumps(origin))
    with pytest.warns(UserWarning, match=r"code has changed since .*: .*_user_experiment.py$"):
        rnnjax.load_run(copied)


def test_flags_of_an_earlier_version_are_read_by_todays_names(tmp_path, capsys):
    from experiments.char_lm import EXPERIMENT

    text = "--cell=bag\n--hidden_size=5\n--window=9\n--rule=lookback\n"
    header = f"# The flags of a run of rnnjax; not to be edited: sha256 {hashlib.sha256(text.encode()).hexdigest()}\n"
    (tmp_path / "flags.cfg").write_text(header + text)
    config = rnnjax.load_run(tmp_path, EXPERIMENT).config
    assert (config.truncation, config.rule) == (9, "sliding_tbptt")
    assert "--window is called --truncation" in capsys.readouterr().err


def test_a_run_under_way_can_be_looked_at(copied):
    (copied / "summary.json").unlink()
    run = rnnjax.load_run(copied)
    assert run.summary == {} and run.provenance == {} and run.at(4).step == 4 and "6 steps" in repr(run)


def test_several_cells_are_several_runs(tmp_path):
    flags = ("--cell=gru,lstm", "--num_steps=1", f"--workdir={tmp_path / 'run'}")
    assert launch(_user_experiment.EXPERIMENT, *flags) == 0
    assert "holds several runs (gru, lstm)" in refusal(lambda: rnnjax.load_run(tmp_path / "run"))
    runs = rnnjax.load_runs(tmp_path / "run")
    assert list(runs) == ["gru", "lstm"]
    assert all(run.evaluate() == run.summary["test"] and run.config.cell == name for name, run in runs.items())
    assert list(rnnjax.load_runs(tmp_path / "run" / "lstm")) == ["lstm"]
    assert "lstm is a run: load_run(" in refusal(lambda: rnnjax.load_study(tmp_path / "run" / "lstm"))


def test_a_language_model_writes_as_its_run_did(written):
    run = rnnjax.load_run(written[0])
    assert run.vocabulary.characters == "".join(sorted(set(TEXT)))
    assert run.generate(length=20, temperature=0.7, seed=3) == run.summary["sample"]
    assert run.generate("to be", 4, temperature=0.0).startswith("to be")
    assert run.generate(length=9, seed=1) != run.generate(length=9, seed=2)
    assert "'X' is not in the text" in refusal(lambda: run.generate("X"))
    for wrong in ({"length": 0}, {"temperature": -1.0}, {"temperature": float("nan")}):
        assert "at least 1 and 0" in refusal(lambda wrong=wrong: run.generate(**wrong))


def test_a_task_without_a_vocabulary_does_not_write(trained):
    run = rnnjax.load_run(trained[0])
    assert "has no vocabulary" in refusal(lambda: run.generate())
    assert "split is 'tset'" in refusal(lambda: run.evaluate("tset"))


def test_other_data_than_in_training_are_refused_by_name(written, tmp_path):
    folder, text = written
    before = text.read_bytes()
    try:
        text.write_text(TEXT.replace("q", "Q") + "Z" * 40)
        run = rnnjax.load_run(folder)
        line = refusal(lambda: run.cell)
        assert "are not those it was trained on: alphabet" in line
        assert run.vocabulary.characters == "".join(sorted(set(TEXT)))  # as it was then
        text.write_text(TEXT[1:] + "t")
        with pytest.warns(UserWarning, match="not bit for bit those"):
            rnnjax.load_run(folder).evaluate()
        text.unlink()
        assert "cannot read" in refusal(lambda: rnnjax.load_run(folder).evaluate())
        assert rnnjax.load_run(folder).arrays()
    finally:
        text.write_bytes(before)


def test_a_study_is_rows_curves_and_its_best_member(tmp_path):
    flags = ("--experiment=_user_experiment", "--set=cell=gru", "--grid=learning_rate=1e-3,1e-2", "--grid=seed=0,1")
    assert launch("sweep", *flags, f"--workdir={tmp_path / 'study'}") == 0
    study = rnnjax.load_study(tmp_path / "study")
    assert [row["member"] for row in study.rows] == [0, 1, 2, 3]
    assert study.columns["learning_rate"].tolist() == [1e-3, 1e-3, 1e-2, 1e-2]
    assert study.curves[2]["step"].tolist() == [3, 6] and study.curves[2]["valid_loss"].shape == (2,)
    assert study.best.row["score"] == min(study.columns["score"]) and len(study.settings) == 2
    assert study.best.evaluate() == study.summary["best"]["test"]
    assert f"{study.best.config.learning_rate:g}" == f"{float(study.best_row['flags']['learning_rate']):g}"
    assert study.best.apply(study.best.batch().x[0]).shape[-1] == 4
    assert "is a study: load_study" in refusal(lambda: rnnjax.load_run(tmp_path / "study"))
    _, arrays = kept_arrays(tmp_path / "study", "best")  # what --start_from takes
    jax.tree.map(np.testing.assert_array_equal, arrays, study.best.arrays())
    assert "keeps only the parameters of its best member" in refusal(lambda: kept_arrays(tmp_path / "study", "last"))
    with (tmp_path / "study" / "members.jsonl").open("r+") as file:
        file.write("[")
    assert "line 1 is not as it was written" in refusal(lambda: rnnjax.load_study(tmp_path / "study"))


def test_importing_the_package_does_not_import_what_loads_runs():
    code = "import sys, rnnjax; assert 'load_study' in dir(rnnjax) and 'rnnjax.app' not in sys.modules; rnnjax.load_run"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_run_in_double_precision_is_loaded_as_such(tmp_path):
    assert launch(_user_experiment.EXPERIMENT, f"--workdir={tmp_path}", "--dtype=float64", "--num_steps=2") == 0
    run = rnnjax.load_run(tmp_path)
    assert not jax.config.jax_enable_x64
    with jax.numpy_dtype_promotion("standard"):  # this experiment's one-hot symbols are float32
        assert {a.dtype for a in jax.tree.leaves(run.params)} == {jnp.dtype("float64")}
        assert run.evaluate() == run.summary["test"] and run.apply(run.batch().x[0]).dtype == jnp.float64


NO_START = {
    "nowhere": "nowhere is not a run: there is no such folder",
    "empty": "empty is not a run: it has no flags.cfg",
    "two": "two holds several runs (gru): name one, such as two/gru",
    "two/gru": "two/gru has no parameters yet",
    "two/gru:7": "two/gru has no parameters yet",
}


@pytest.mark.parametrize("given", NO_START)
def test_an_unfinished_launch_leaves_no_folder(given, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "two/gru"):
        Path(folder).mkdir(parents=True)
    for folder in ("two", "two/gru"):
        Path(folder, "flags.cfg").write_text("--cell=gru\n")
    assert launch(_user_experiment.EXPERIMENT, "--workdir=x", f"--start_from={given}") == 1
    assert one_line(capsys) == f"user: --start_from={given}: {NO_START[given]}"
    assert not Path("x").exists()
