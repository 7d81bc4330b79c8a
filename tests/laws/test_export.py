"""Law: every row lowers for CPU, CUDA and TPU, on a machine that need not have one of them."""

import jax
import pytest
from _helpers import KEY, build, close, inputs, rows, total, window
from _table import FEW, ROWS, STEPS
from jax import export

from rnnjax import run, unroll
from rnnjax.interop._program import _window

PLATFORMS = ("cpu", "cuda", "tpu")


def lower(row, cell):
    """The gradient step of a batch."""
    batch = inputs(row, (2, 12))

    def step(xs, key):
        params = cell.init(key, xs[0])

        def mean(params):
            return jax.vmap(lambda x: total(cell, params, None, x, key if row.noisy else None))(xs).mean()

        return jax.tree.map(lambda p, g: p - 0.01 * g, params, jax.grad(mean)(params))

    exported = export.export(jax.jit(step), platforms=PLATFORMS)(batch, KEY)
    assert exported.platforms == PLATFORMS


@rows(ROWS)
def test_a_row_lowers_for_every_platform(row):
    lower(row, window(row))


@pytest.mark.slow
@rows([r for r in STEPS if r.make().window], fast=FEW)
def test_the_scan_of_a_row_lowers_for_every_platform(row):
    lower(row, unroll(build(row).replace(window=None)))


@rows(ROWS, fast=[r for r in ROWS if r.name in ("lstm", "gru", "lru")])
def test_an_exported_row_takes_windows_of_any_length(row):
    cell, batch = window(row), inputs(row, (2, 7))
    params = cell.init(KEY, inputs(row))
    program, time = _window(cell, params, inputs(row))
    assert time == "any length"
    got = jax.tree.leaves(program.call(*jax.tree.leaves(batch)))
    close(got, jax.tree.leaves(jax.jit(jax.vmap(lambda x: run(cell, params, x)[1]))(batch)))
