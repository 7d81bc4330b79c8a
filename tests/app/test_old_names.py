"""Laws of names that changed: an old flag, rule or cell runs as the new one does, and a line says the new name."""

from __future__ import annotations

import pytest

from rnnjax import app
from rnnjax.app._registry import CELLS
from rnnjax.studies import EXPERIMENT
from rnnjax.studies._plan import make_plan


@pytest.mark.parametrize(
    ("old", "new", "flag", "value"),
    [
        ("--window=5", "--truncation", "truncation", 5),
        ("-window=5", "--truncation", "truncation", 5),
        ("--rule=lookback", "sliding_tbptt", "rule", "sliding_tbptt"),
        ("--rule=ok", "optimal_kronecker", "rule", "optimal_kronecker"),
    ],
)
def test_an_old_flag_parses_and_says_the_new_one(old, new, flag, value, capsys):
    assert app.parse(app.common_flags(), ["x", old]).values[flag] == value
    assert f"{new} from 0.2.0 on" in capsys.readouterr().err.replace("is called ", "").replace("--rule=", "")


@pytest.mark.parametrize("old, new", [("bag", "bag_of_inputs"), ("time_window", "time_delay")])
def test_an_old_cell_is_the_new_one(old, new, capsys):
    assert app.resolve("cell", old, CELLS) is CELLS[new]
    assert f"--cell={old} is called {new} from 0.2.0 on" in capsys.readouterr().err


def test_a_cell_of_a_script_keeps_its_name(capsys):
    assert app.resolve("cell", "bag", {"bag": 1, "bag_of_inputs": 2}) == 1
    assert not capsys.readouterr().err


def test_a_study_takes_old_flags_too(capsys):
    flags = ["--experiment=char_lm", "--set=rule=tbptt", "--grid=window=5,10"]
    asked = make_plan(app.parse(EXPERIMENT.flags, ["sweep", *flags]))
    assert [asked.member(i, own).config.truncation for i, own in enumerate(asked.points)] == [5, 10]
    assert "--window is called --truncation" in capsys.readouterr().err
