"""Law: what is refused at the start says so in one line, and leaves no file and no folder."""

from __future__ import annotations

import importlib

import pytest
from _launching import launch, one_line, there_and_back, user_experiment
from absl import flags as absl_flags

from rnnjax import app
from rnnjax.base import UserError

QUICK = ["--hidden_size=4", "--cell=vanilla", "--delay=3", "--num_steps=2", "--batch_size=2", "--eval_batches=1"]
REFUSED = [
    "--cell=lstm,lstmm", "--cell=lstm,", "--cell=,", "--cell=lstm,gru --hidden_size=4,0", "--cell=rnnjax:unroll",
    "--cell=lstm,gru --cell_args=forget_bias=1.0", "--cell=rnnjax:stack", "--cell=recurrent", "--cell=lstm,math:cos",
    "--rule=math:cos", "--rule=builtins:dict", "--rule=btpt", "--rule=sliding_tbptt", "--report=math:cos",
    "--report=builtins:len", "--report=flow", "--optimizer=math:cos", "--optimizer=adm", "--lr_scale=nothing=0.1",
    "--lr_scale=u=nan", "--devices=1000", "--devices=100", "--hidden_size=99999999999999999999",
    "--hidden_size=2000000000", "--num_steps=99999999999999999999", "--num_steps=3000000000",
    "--seed=9223372036854775807", "--delay=99999999999999999999", "--truncation=4294967296", "--num_layers=3000000000",
    "--learning_rate=nan", "--learning_rate=inf", "--clip_norm=nan", "--dropout=nan", "--init_scale=inf",
    "--weight_decay=nan", "--final_rate=nan", "--analyse --cell=lstmm", "--writers=tensorbord",
]  # fmt: skip


@pytest.mark.parametrize("given", REFUSED)
def test_a_refused_launch_leaves_nothing(given, capsys, tmp_path):
    workdir = tmp_path / "new" / "run"
    assert launch("copying", *QUICK, *given.split(), f"--workdir={workdir}") == 1
    assert one_line(capsys).startswith("copying: ")
    assert not list(tmp_path.iterdir())


def test_the_corrected_command_runs_in_the_same_workdir(tmp_path):
    there = tmp_path / "mine"
    there.mkdir()
    for wrong in ("--optimizer=math:cos", "--writers=tensorbord", "--report=math:cos"):
        assert launch(there_and_back(), f"--workdir={there}", wrong) == 1
        assert there.is_dir() and not list(there.iterdir())
    assert launch(there_and_back(), f"--workdir={there}", "--num_steps=2") == 0


def test_a_refusal_leaves_a_run_that_has_begun_as_it_is(tmp_path):
    there = tmp_path / "run"
    assert launch(there_and_back(), f"--workdir={there}", "--num_steps=2") == 0
    before = {path: path.read_bytes() for path in there.rglob("*") if path.is_file()}
    assert launch(there_and_back(), f"--workdir={there}", "--num_steps=2", "--batch_size=7") == 1
    assert launch(there_and_back(), f"--workdir={there}", "--num_steps=2", "--writers=tensorbord") in (0, 1)
    assert before.keys() <= {path for path in there.rglob("*") if path.is_file()}


def test_what_the_data_refuse_leaves_nothing_either(tmp_path):
    assert launch(user_experiment(float("nan")), f"--workdir={tmp_path / 'run'}") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
@pytest.mark.parametrize("name", ["char_lm", "series", "music", "flipflop", "speech", "sweep"])
def test_every_float_flag_of_an_experiment_refuses_what_is_not_finite(name, value):
    module = importlib.import_module(f"experiments.{name}")
    if not hasattr(module, "EXPERIMENT"):
        pytest.skip("no command")
    values = module.EXPERIMENT.flags
    for flag in (f for f in values if values[f].flag_type() == "float"):
        with pytest.raises(UserError, match=flag):
            app.parse(values, ["x", f"--{flag}={value}"])


def test_a_flag_that_says_so_takes_them():
    values = app.common_flags()
    absl_flags.DEFINE_float("farthest", 1.0, "", flag_values=values)
    app.allow_infinite(values, "farthest")
    assert app.parse(values, ["x", "--farthest=inf"]).farthest == float("inf")
    with pytest.raises(UserError, match="learning_rate"):
        app.parse(values, ["x", "--farthest=inf", "--learning_rate=inf"])


def test_parts_that_leave_nothing_to_learn_from(capsys, tmp_path):
    (tmp_path / "text").write_text("to be or not to be\n" * 50)
    flags = [f"--data={tmp_path / 'text'}", "--truncation=5", f"--workdir={tmp_path / 'run'}"]
    assert launch("char_lm", *flags, "--valid=0.5", "--test=0.5") == 1
    assert "--valid=0.5 --test=0.5" in one_line(capsys) and not (tmp_path / "run").exists()


STUDIES = [
    "--experiment=.copying --grid=seed=0,1", "--experiment=.. --grid=seed=0,1", "--experiment=a/b --grid=seed=0,1",
    "--experiment=copying --grid=learning_rate=log:1e-3:1:1000000000000",
    "--experiment=copying --grid=learning_rate=lin:1e-3:1:99999999999999999999",
    "--experiment=copying --grid=seed=int:0:99999 --grid=delay=int:1:99999",
    "--experiment=copying --set=cell=lstm --space=num_layers=log:1:4 --trials=2",
    "--experiment=copying --set=cell=lstm --space=delay=lin:1:9 --trials=2",
    "--experiment=copying --set=cell=lstm --grid=learning_rate=nan,1", "--experiment=copying --trials=3000000000",
]  # fmt: skip


@pytest.mark.parametrize("given", STUDIES)
def test_a_refused_study_leaves_nothing(given, capsys, tmp_path):
    assert launch("sweep", f"--workdir={tmp_path / 'study'}", *given.split()) == 1
    one_line(capsys)
    assert not list(tmp_path.iterdir())
