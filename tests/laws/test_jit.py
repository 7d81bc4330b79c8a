"""Law: a jitted cell is the cell; a batch is each example by itself; a key makes noise where a cell has some."""

import jax
from _helpers import KEY, apart, close, inputs, rows, setup
from _rows import T
from _table import KINDS, ROWS

from rnnjax import run

BATCH = 2


@rows(ROWS, fast=KINDS)
def test_jit_equals_no_jit_and_vmap_equals_a_loop(row):
    batch = inputs(row, (BATCH, T))
    cell, params, _ = setup(row, batch[0])
    keys = jax.random.split(KEY, BATCH)

    def both(xs, key):
        return run(cell, params, xs), run(cell, params, xs, key=key) if row.noisy else None

    one = jax.jit(both)
    alone = [one(xs, key) for xs, key in zip(batch, keys)]
    with jax.disable_jit():
        close(alone[0], both(batch[0], keys[0]))
    together = jax.jit(jax.vmap(both))(batch, keys)
    for i, want in enumerate(alone):
        close(jax.tree.map(lambda a, i=i: a[i], together), want)
    if row.noisy:
        (_, quiet), (_, noisy) = alone[0]
        apart(noisy, quiet, by=1e-2)
        apart(noisy, one(batch[0], keys[1])[1][1], by=1e-2)
        close(one(batch[0], keys[0])[1][1], noisy, rtol=0, atol=0)


@rows([r for r in ROWS if not r.noisy], fast=KINDS)
def test_without_noise_a_key_changes_nothing(row):
    xs = inputs(row)
    cell, params, _ = setup(row, xs)
    with jax.disable_jit():
        close(run(cell, params, xs, key=KEY), run(cell, params, xs), rtol=0, atol=0)
