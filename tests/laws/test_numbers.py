"""Law: every number may be a tracer: a study builds its cells under vmap."""

import functools

import jax
import jax.numpy as jnp
import pytest
from _helpers import KEY, close, inputs, window
from _table import NEAR, ROWS

from rnnjax import run

NUMBERS = [
    pytest.param(row, name, id=f"{row.name}-{name}", marks=[pytest.mark.slow] * (row.name in NEAR))
    for row in ROWS
    for name in row.numbers
]


@pytest.mark.parametrize("row, name", NUMBERS)
def test_a_cell_is_built_under_vmap_over_a_number(row, name):
    xs = inputs(row)

    def build_and_run(value):
        cell = window(row, **{name: value})
        params = cell.init(jax.random.key(0), xs)
        ran = run(cell, params, xs, key=KEY)
        # A number of a surrogate derivative shows in the slopes alone.
        return (ran, jax.grad(lambda xs: run(cell, params, xs)[1].sum())(xs)) if row.surrogate else ran

    values = jnp.asarray(row.numbers[name], jnp.float32)
    together = jax.jit(jax.vmap(build_and_run))(values)
    alone = [jax.jit(functools.partial(build_and_run, float(value)))() for value in values]
    close(together, jax.tree.map(lambda *a: jnp.stack(a), *alone))
    assert abs(jax.tree.leaves(alone[0][1])[0] - jax.tree.leaves(alone[1][1])[0]).max() > 1e-3
