"""Law: where a cell says its output, it is that of the new carry; where it does not, no tracing finds one."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from _helpers import KEY, build, inputs, rows
from _table import STEPS

from rnnjax import unroll
from rnnjax.base._outputs import output_in_carry


def at_a_step(row):
    """A cell with what its step takes, a few steps after the start."""
    cell, xs = build(row), inputs(row)
    params = cell.init(KEY, jax.tree.map(lambda a: a[0], xs))
    weights, (carry, _) = cell.weights(params), jax.jit(lambda xs: run_some(cell, params, xs))(xs)
    return cell, (weights, carry, jax.tree.map(lambda a: a[-1], xs), KEY if row.noisy else None)


def run_some(cell, params, xs):
    """The carry after all inputs but the last."""
    whole, before = unroll(cell), jax.tree.map(lambda a: a[:-1], xs)
    weights = whole.weights(params)
    return whole.step(weights, whole.initial_carry(weights, before), before, None)


@rows(STEPS)
def test_the_output_is_that_of_the_carry(row):
    cell, args = at_a_step(row)
    if cell.output is None:
        assert not jax.tree.leaves(args[1]) or output_in_carry(cell.step, *args) is None
        return
    carry, y = cell.step(*args)
    jax.tree.map(np.testing.assert_array_equal, cell.output(carry), y)


CORES = [row for row in STEPS if row.name.endswith("-core") or row.name in ("leaky", "indrnn", "ctrnn", "goru", "eunn")]


@pytest.mark.parametrize("row", CORES, ids=lambda row: row.name)
def test_a_core_says_its_output(row):
    assert row.name == "zoneout-core" or build(row).output is not None  # that one ends in dropout
