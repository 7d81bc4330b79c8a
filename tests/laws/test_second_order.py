"""Law: forward mode works on the scan, and second derivatives agree however they are taken, through the windows too."""

from __future__ import annotations

import jax
import jax.flatten_util
import jax.numpy as jnp
from _helpers import KEY, close, draw, inputs, loss, rows, setup
from _table import BODIES, STEPS

from rnnjax import run
from rnnjax.base import without_fast

WITH_PARAMS = [r for r in STEPS if not r.surrogate and r.name not in ("pointwise", "dropout", "esn")]


@rows(WITH_PARAMS, fast=[r for r in BODIES if r.name in ("vanilla", "lstm")])
def test_hessian_vector_products_and_jacfwd(row, x64):
    xs = inputs(row, shape=(5,), dtype=jnp.float64)
    cell, params, _ = setup(row, xs, jnp.float64)
    flat, unflat = jax.flatten_util.ravel_pytree(params)
    v, key = draw(flat.shape, flat.dtype, 3), KEY if row.noisy else None

    def value(flat, cell=cell):
        return loss(run(cell, unflat(flat), xs, key=key)[1])

    def stepwise(flat):
        return value(flat, without_fast(cell))

    @jax.jit
    def products():
        by_windows = jax.grad(lambda p: jnp.vdot(jax.grad(value)(p), v))(flat)  # reverse over reverse
        e = 1e-5
        slopes = (jax.grad(value)(flat + e * v) - jax.grad(value)(flat - e * v)) / (2 * e)
        by_scan = jax.jvp(jax.grad(stepwise), (flat,), (v,))[1]  # forward over reverse
        back = jax.grad(lambda p: jax.jvp(stepwise, (p,), (v,))[1])(flat)  # reverse over forward
        columns = jax.jacfwd(stepwise)(flat)
        return by_windows, by_scan, back, slopes, columns, jax.grad(value)(flat)

    by_windows, by_scan, back, slopes, columns, gradient = products()
    close(by_scan, slopes, rtol=1e-5, atol=1e-7)
    close(by_windows, by_scan, rtol=1e-8, atol=1e-10)
    close(back, by_scan, rtol=1e-8, atol=1e-10)
    close(columns, gradient, rtol=1e-9, atol=1e-11)
