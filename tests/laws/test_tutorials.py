"""Law: the tutorials run, from first cell to last; what they claim is asserted inside."""

import runpy
from pathlib import Path

import jax
import pytest

TUTORIALS = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.py"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(path, capsys):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as a reader's session has it
        runpy.run_path(str(path))
    assert capsys.readouterr().out.count("\n") >= 1


def test_there_are_tutorials():
    assert len(TUTORIALS) >= 3
