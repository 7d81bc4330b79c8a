"""Law: a jitted cell is the cell, and a batch of examples is each of them by itself."""

import jax
from helpers import KEY, close, inputs, rows, setup
from table import ROWS

from rnnjax import run

BATCH = 3


@rows(ROWS)
def test_jit_equals_no_jit_and_vmap_equals_a_loop(row):
    batch = inputs(row, (BATCH, 12))
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


@rows([r for r in ROWS if r.noisy])
def test_a_key_makes_noise_and_the_same_key_makes_the_same(row):
    xs = inputs(row)
    cell, params, _ = setup(row, xs)
    noisy = [run(cell, params, xs, key=k)[1] for k in (KEY, KEY, jax.random.key(8))]
    close(noisy[0], noisy[1], rtol=0, atol=0)
    for quiet in (noisy[2], run(cell, params, xs)[1]):
        assert max(abs(a - b).max() for a, b in zip(jax.tree.leaves(noisy[0]), jax.tree.leaves(quiet))) > 1e-2


@rows([r for r in ROWS if not r.noisy])
def test_without_noise_a_key_changes_nothing(row):
    xs = inputs(row)
    cell, params, _ = setup(row, xs)
    close(run(cell, params, xs, key=KEY), run(cell, params, xs), rtol=0, atol=0)
