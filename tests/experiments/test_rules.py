"""The comparison of gradient rules: its streams, and a run that resumes."""

import json

import jax
import numpy as np
import pytest
from _launching import launch

from experiments.rules import stretches
from rnnjax import tasks


def test_windows_one_after_another_are_whole_sequences():
    stream = stretches(tasks.dyck(6), 3, 6, window=2)
    position, parts = stream.init(()), []
    for i in range(6):
        part, position = stream.next((), position, jax.random.key(i))
        parts.append(part)
    assert [bool(p.restart.all()) for p in parts] == [True, False, False] * 2
    for first in (0, 3):  # the key of the first window draws the sequence
        whole = tasks.dyck(6).batch(jax.random.key(first), 3)
        np.testing.assert_array_equal(np.concatenate([p.x for p in parts[first : first + 3]], 1), whole.x)
        np.testing.assert_array_equal(np.concatenate([p.y for p in parts[first : first + 3]], 1), whole.y)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--windows=5", "expected numbers of steps that divide --length=16"),
        ("--tasks=", "--tasks is empty"),
        ("--tasks=sorting", "sorting"),
        ("--rules=score", "--rules"),
        ("--learning_rates=0", "expected positive numbers"),
        ("--cell=gru,lstm", "--cell takes one cell"),
    ],
)
def test_flags_that_train_nothing_are_refused(flag, message, tmp_path, capsys):
    assert launch("rules", flag, f"--workdir={tmp_path / 'run'}") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_was_measured_is_kept(tmp_path, capsys):
    toy = ["--tasks=adding", "--rules=bptt,tbptt", "--windows=4", "--length=12", "--sequences=8", "--batch_size=4"]
    toy += ["--hidden_size=2", "--learning_rates=0.1", "--seeds=2", f"--workdir={tmp_path}"]
    assert launch("rules", *toy) == 0
    first = json.loads((tmp_path / "summary.json").read_text())["rows"]
    log = (tmp_path / "metrics.jsonl").read_text()
    assert [row["rule"] for row in first] == ["bptt", "tbptt"] and all(len(row["losses"]) == 2 for row in first)
    (tmp_path / "summary.json").unlink()
    assert launch("rules", *toy) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["rows"] == first
    assert (tmp_path / "metrics.jsonl").read_text() == log
