"""What `--cell` and `--cell_args` take: an explicit table, and arguments of the right type."""

from __future__ import annotations

import inspect

import jax.numpy as jnp
import pytest
from _launching import launch, one_line
from _user_experiment import EXPERIMENT

import rnnjax
from rnnjax import app
from rnnjax.app import make_cell
from rnnjax.app._registry import CELLS, numeric_arguments, parameters
from rnnjax.studies._members import groups, member


def leaky(hidden, rate=0.1, deep=2, bias=True):
    """The README's cell: no annotations."""

    def update(p, h, z):
        h = (1 - rate) * h + rate * jnp.tanh(z + h @ p["u"])
        return h, h

    return rnnjax.stack(rnnjax.linear(hidden), rnnjax.recurrent(hidden, update))


def test_the_table_has_every_public_layer_and_no_building_block():
    layers = {n: getattr(rnnjax, n) for n in rnnjax.__all__ if not n.endswith("_core")}
    found = {n for n, f in layers.items() if inspect.isfunction(f) and next(iter(parameters(f)), "") == "hidden"}
    assert CELLS.keys() == found - {"recurrent"}
    assert all(isinstance(factory(4), rnnjax.Cell) for factory in CELLS.values())


def test_an_argument_whose_default_is_a_float_is_a_number_of_the_program():
    config = app.Config({"cell": f"{__name__}:leaky", "cell_args": "rate=0.5,deep=3,bias=False"})
    assert config.cell_numbers() == {"rate": 0.5}
    assert numeric_arguments(lambda hidden, rate=0.1: None, {"rate": 1}) == {"rate": 1.0}
    assert numeric_arguments(lambda hidden, on=False, n=1: None, {"on": 1.0, "n": 2}) == {}


def test_a_study_of_such_an_argument_is_one_group():
    fixed = [("cell", f"{__name__}:leaky")]
    own = [member(EXPERIMENT, i, fixed, {"cell_args.rate": r}) for i, r in enumerate(["0.1", "0.5", "0.9"])]
    assert len(groups(EXPERIMENT, own)) == 1
    own = [member(EXPERIMENT, i, fixed, {"cell_args.deep": n}) for i, n in enumerate(["1", "2"])]
    assert len(groups(EXPERIMENT, own)) == 2


WRONG = {
    "--cell=lstm --cell_args=layer_norm=maybe": "layer_norm=maybe: expected True or False",
    "--cell=lstm --cell_args=layer_norm=1": "layer_norm=1: expected True or False",
    "--cell=lstm --cell_args=forget_bias='x'": "forget_bias=x: expected a number",
    "--cell=lstm --cell_args=forget_bias=True": "forget_bias=True: expected a number",
    "--cell=lstm --cell_args=forget_bias=1e999": "a finite number",
    f"--cell={__name__}:leaky --cell_args=deep=1.5": "deep=1.5: expected a whole number",
    f"--cell={__name__}:leaky --cell_args=rate=nan": "rate=nan: expected a number",
    "--cell=rnnjax:stack": "--cell=rnnjax:stack",
    "--cell=builtins:dict": "--cell=builtins:dict",
    "--cell=recurrent": "unknown --cell=recurrent",
}


@pytest.mark.parametrize("flags", WRONG)
def test_refused_in_one_line(flags, capsys, tmp_path):
    assert launch("copying", f"--workdir={tmp_path / 'run'}", "--hidden_size=4", *flags.split()) == 1
    assert WRONG[flags] in one_line(capsys)


@pytest.mark.parametrize("given", ["layer_norm=True,forget_bias=2", "layer_norm=False", "forget_bias=-1.5", ""])
def test_right_values_pass(given):
    assert isinstance(make_cell("lstm", 4, given), rnnjax.Cell)
