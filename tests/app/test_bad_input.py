"""Law: what is wrong is said in one line on standard error, with exit status 1, before anything is trained."""

from __future__ import annotations

import numpy as np
import pytest
from _launching import launch, one_line, user_experiment

from rnnjax import app

COPYING = [
    ("--cell=lstn", "unknown --cell=lstn: did you mean lstm?"),
    ("--cell=nolab.cells:leaky", "--cell=nolab.cells:leaky: No module named 'nolab'"),
    ("--cell=math:cos", "--cell=math:cos gives float, not a rnnjax.Cell"),
    ("--cell=rnnjax:vanilla_core --hidden_size=4", "--cell=rnnjax:vanilla_core: vanilla_core with 4 units takes"),
    ("--cell=lstm,lstm --hidden_size=4", "names a cell twice"),
    ("--cell_args=1+", "write name=value"),
    ("--cell=gru --hidden_size=4 --cell_args=forget=1", "unexpected keyword argument 'forget'"),
    ("--rule=btpt", "unknown --rule=btpt: did you mean"),
    ("--rule=tbptt", "--rule=tbptt --truncation=0: tbptt needs a truncation"),
    ("--truncation=5", "--rule=bptt --truncation=5: bptt looks back over the whole sequence"),
    ("--truncation=-1", "truncation"),
    ("--optimizer=adm", "did you mean adam"),
    ("--hidden_size=-3", "--hidden_size=-3: one positive number"),
    ("--hidden_size=many", "--hidden_size=many: expected whole numbers"),
    ("--hidden_size=1,2,3", "one for each of the 2 cells"),
    ("--batch_size=0", "batch_size"),
    ("--num_steps=0", "num_steps"),
    ("--warmup_steps=100 --num_steps=4", "--warmup_steps=100 --num_steps=4: the run ends before"),
    ("--warmup_steps=1001", "--warmup_steps=1001 --num_steps=600"),
    ("--delay=0", "delay"),
    ("--delay=ten", "flag --delay=ten: expected a whole number"),
    ("--batch_size=4.5", "flag --batch_size=4.5: expected a whole number"),
    ("--learning_rate=-1", "learning_rate"),
    ("--learning_rate=1e-3x", "flag --learning_rate=1e-3x: expected a number"),
    ("--dropout=1", "dropout"),
    ("--dtype=float16", "dtype"),
    ("--lr_scale=u", "write PATTERN=FACTOR"),
    ("--lr_scale=zzz=0", "no parameter is named like 'zzz'"),
    ("--writers=jsonl,tensorbord", "did you mean tensorboard"),
    ("--nosuchflag=1", "Unknown command line flag 'nosuchflag'"),
    ("delay", "unexpected argument 'delay': flags are written --name=value"),
]


@pytest.mark.parametrize(("flags", "message"), COPYING, ids=[flags for flags, _ in COPYING])
def test_a_wrong_flag(flags, message, capsys, tmp_path):
    assert launch("copying", f"--workdir={tmp_path / 'run'}", *flags.split()) == 1
    line = one_line(capsys)
    assert line.startswith("copying: ") and message in line
    assert not list(tmp_path.rglob("checkpoints"))


@pytest.mark.parametrize("argv", [None, [], "x --cell=lstm", ["x", 5]])
def test_a_command_line_of_another_kind(argv, capsys):
    assert app.status(user_experiment(), argv) == 1
    assert "a command line is a list of texts, first the program's name, got " in one_line(capsys)


TEXTS = [
    (b"", "--truncation=5", "text.txt is empty"),
    (b"caf\xe9 au lait", "--truncation=5", "not UTF-8"),
    (b"to be", "--truncation=5", "the train part of the text has 4 characters, fewer than one --truncation of 5"),
    (b"to be or not to be" * 9, "--truncation=0", "--truncation=0"),
    (b"to be or not to be" * 9, "--rule=bptt", "--rule=bptt would look back to the beginning of the text"),
    (b"to be or not to be" * 9, "--truncation=5 --text=x", "the character 'x' is not in the text"),
    (b"to be or not to be" * 9, "--truncation=5 --prime=?", "the character '?' is not in the text"),
    (None, "", "No such file"),
]


@pytest.mark.parametrize(("content", "flags", "message"), TEXTS, ids=[message for *_, message in TEXTS])
def test_a_text_that_will_not_do(content, flags, message, capsys, tmp_path):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    assert launch("char_lm", f"--workdir={tmp_path / 'run'}", f"--data={path}", *flags.split()) == 1
    assert message in one_line(capsys)


def test_a_workdir_that_is_something_else_or_cannot_be_written(capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    assert launch("adding", f"--workdir={tmp_path}") == 1
    assert "holds other things" in one_line(capsys)
    assert launch("adding", "--workdir=/proc/nowhere") == 1
    assert "/proc" in one_line(capsys)


def test_nan_in_the_data_is_named(capsys, tmp_path):
    assert launch(user_experiment(np.float32("nan")), f"--workdir={tmp_path / 'run'}") == 1
    assert "the data hold nan in x at index [0, 0, 0]" in one_line(capsys)


DIVERGING = ["--optimizer=sgd", "--learning_rate=1e9", "--clip_norm=0"]


def test_a_run_that_diverges_names_the_step_and_the_last_good_checkpoint(capsys, tmp_path):
    assert launch(user_experiment(), f"--workdir={tmp_path / 'run'}", *DIVERGING) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    step = int(line.split("at step ")[1].split(";")[0])
    assert f"the last good checkpoint is {tmp_path / 'run' / 'checkpoints' / str(step - 1)}" in line
    assert (tmp_path / "run" / "checkpoints" / str(step - 1)).is_dir()


def test_debug_nans_names_the_value(capsys, tmp_path):
    assert launch(user_experiment(), f"--workdir={tmp_path / 'run'}", *DIVERGING, "--debug_nans") == 1
    assert "metrics/loss/total is the first value that is not finite" in capsys.readouterr().err.splitlines()[-1]


def test_other_flags_in_the_same_workdir_are_refused_by_name(capsys, tmp_path):
    flags = [f"--workdir={tmp_path / 'run'}", "--num_steps=2"]
    assert launch(user_experiment(), *flags) == 0
    capsys.readouterr()
    assert launch(user_experiment(), *flags, "--batch_size=7") == 1
    assert "--batch_size: 64 -> 7" in one_line(capsys)
    assert launch(user_experiment(), *flags, "--num_steps=3") == 0  # longer, at a constant rate, is the same run
    assert launch(user_experiment(), *flags, "--num_steps=4", "--schedule=cosine") == 1
