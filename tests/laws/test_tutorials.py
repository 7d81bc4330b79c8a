"""Law: the tutorials run, from first cell to last; what they claim is asserted inside."""

import runpy
from pathlib import Path

import jax
import pytest

TUTORIALS = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.py"))
SHORT = ("bptt_by_hand", "own_cell")  # the others train a network for some seconds


def row(path):
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem not in SHORT else [])


@pytest.mark.parametrize("path", [row(path) for path in TUTORIALS])
def test_a_tutorial_runs(path, capsys):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # as a reader's session has it
        runpy.run_path(str(path))
    assert capsys.readouterr().out.count("\n") >= 1


def test_there_are_tutorials():
    assert len(TUTORIALS) >= 3


@pytest.mark.slow
def test_the_life_of_a_run_is_a_notebook(tmp_path):
    """As Jupyter runs it, with its progress; the site builds all tutorials in the same way."""
    client = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install rnnjax[docs]")
    jupytext = pytest.importorskip("jupytext", reason="jupytext is not installed: pip install rnnjax[docs]")
    notebook = jupytext.read(Path(__file__).parents[2] / "docs" / "tutorials" / "life_of_a_run.py")
    client.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = "".join(str(output) for output in outputs)
    assert "the other process computed (3, 15, 1)" in said and "image/png" in said
    assert "120/120" in said and not any(output.output_type == "error" for output in outputs)
