"""Law: what the name of a parameter means stands in one file, and the cells keep to it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from _helpers import KEY, inputs, window
from _table import ROWS

import rnnjax
from rnnjax.base._paths import NOT_DECAYED, RECURRENT, is_recurrent
from rnnjax.base._pytrees import path_name
from rnnjax.training import optimizer

LIBRARY = sorted((Path(__file__).parents[2] / "rnnjax").glob("*/*.py"))

# Vectors that are no biases: of unitary and non-normal maps, linear recurrences, attention, learned carries of more
# than one array, of an LMU, and of two rows of the table.
KNOWN = {"re", "im", "theta", "phi", "gamma", "t", "nu", "d", "step", "c", "v", "h", "1", "a", "s", "e_h", "e_m"}


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_no_other_file_says_which_name_is_special(path):
    if path.name != "_paths.py":
        code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL)
        assert not re.search(r"""==\s*["']u["']|["']\(\^\|/\)""", code)


def test_weight_decay_and_dropconnect_take_their_names_from_the_contract():
    assert inspect.signature(optimizer).parameters["no_decay"].default == NOT_DECAYED
    dropped = rnnjax.dropconnect(rnnjax.vanilla_core(3), 0.9).weights({RECURRENT: jnp.ones((3, 3))}, KEY)
    assert not dropped[RECURRENT].all()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_vector_that_decays_is_a_recurrence_or_known(row):
    """Biases and gains are vectors: a new one under an unknown name would decay without anybody's wish."""
    params = jax.eval_shape(window(row).init, KEY, inputs(row))
    decays = {
        path_name(path[-1:])
        for path, a in jax.tree.leaves_with_path(params)
        if a.ndim < 2 and not re.search(NOT_DECAYED, path_name(path)) and not is_recurrent(path)
    }
    assert decays <= KNOWN, decays
