"""zoneout: the output is that of the held units, whatever is around the step; where nobody knows it, it is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, draw, inputs, rows
from _rows import H
from _table import STEPS

import rnnjax
from rnnjax import Cell, run, with_step, zoneout

AROUND = {"jit": jax.jit, "remat": jax.checkpoint, "both": lambda f: jax.jit(jax.checkpoint(f))}
HELD = [r for r in STEPS if r.make().output is not None and not r.name.startswith("zoneout")]


def held(cell, x):
    """(carry before, carry after, output, what the cell says of the carry before) at rate 1."""
    zoned = zoneout(cell, 1.0)
    params = zoned.init(KEY, x)
    weights = zoned.weights(params)
    carry = jax.tree.map(lambda a: a + draw(a.shape, a.dtype), zoned.initial_carry(weights, x))
    return (carry, *zoned.step(weights, carry, x, KEY))


@rows(HELD)
def test_at_rate_one_nothing_moves_and_the_output_shows_it(row):
    cell, x = row.make(), inputs(row)[0]
    before, after, y = held(cell, x)
    jax.tree.map(np.testing.assert_array_equal, after, before)
    jax.tree.map(np.testing.assert_array_equal, y, cell.output(before))


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_what_is_around_a_step_makes_no_difference(around):
    core, rates = rnnjax.lstm_core(H), rnnjax.recurrent(H, around(lambda p, h, z: 2 * (jnp.tanh(z + h @ p["u"]),)))
    replaced = core.replace(step=around(core.step))
    own = Cell(core.init, core.initial_carry, around(core.step))
    for cell, width in (replaced, 4 * H), (with_step(core, around(core.step)), 4 * H), (own, 4 * H), (rates, H):
        before, after, y = held(cell, draw((width,)))
        jax.tree.map(np.testing.assert_array_equal, after, before)
        np.testing.assert_array_equal(y, getattr(before, "h", before))


def test_a_step_wrapped_between_two_others_is_zoned():
    cell = rnnjax.stack(rnnjax.linear(H), rnnjax.remat(rnnjax.vanilla_core(H)))
    before, _, y = held(cell, draw((3,)))
    np.testing.assert_array_equal(y, before[1])


def rates(p, h, z):
    """An update whose output is the rate of its units."""
    return h + z + jnp.tanh(h) @ p["u"], jnp.tanh(h)


def halved(cell):
    """Half the output of a cell."""

    def step(w, carry, x, key=None):
        carry, y = cell.step(w, carry, x, key)
        return carry, y / 2

    return with_step(cell, step)


MORE = {
    "rates": (rnnjax.recurrent(H, rates), (H,)),
    "halved": (halved(rnnjax.vanilla(H)), (H,)),
    "residual": (rnnjax.residual(rnnjax.vanilla(H)), (H,)),
    "readout": (rnnjax.stack(rnnjax.lstm(H), rnnjax.linear(H)), (H,)),
    "window": (rnnjax.unroll(rnnjax.lstm(H)), (12, H)),
}


@pytest.mark.parametrize("cell, shape", MORE.values(), ids=MORE)
def test_an_output_that_is_more_than_the_carry_is_refused(cell, shape):
    assert cell.output is None
    with pytest.raises(ValueError, match="put zoneout around the core or layer inside"):
        held(cell, draw(shape))


def test_an_output_may_be_said():
    cell = rnnjax.recurrent(H, rates, output=jnp.tanh)
    before, _, y = held(cell, draw((H,)))
    np.testing.assert_array_equal(y, jnp.tanh(before))


def test_nothing_is_held_where_nothing_is_kept():
    x = draw((3,))
    params = rnnjax.linear(2).init(KEY, x)
    np.testing.assert_array_equal(
        run(zoneout(rnnjax.linear(2), 0.5), params, x, key=KEY)[1], run(rnnjax.linear(2), params, x)[1]
    )
