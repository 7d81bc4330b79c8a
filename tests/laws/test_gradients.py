"""Law: a gradient is the slope of the values: central differences in double precision, along random directions."""

import jax
import jax.numpy as jnp
import numpy as np
from _helpers import KEY, draw, floats, inputs, rows, setup, total, window
from _table import KINDS, ROWS

STEP, DIRECTIONS = 1e-5, 3


@rows([row for row in ROWS if not row.surrogate], fast=KINDS)
def test_gradients_are_finite_differences(row, x64):
    xs = inputs(row, dtype=jnp.float64)
    _, params, carry = setup(row, xs, jnp.float64)
    numbers = {name: jnp.float64((low + high) / 2) for name, (low, high) in row.numbers.items()}
    if row.name == "newton":
        numbers = {}  # the gradient is that of the solution, not of where a loose tolerance stops

    theta = (params, carry, numbers, xs if floats(xs) else ())

    def value(theta):
        params, carry, numbers, x = theta
        cell, x = window(row, jnp.float64, **numbers), x if floats(xs) else xs
        start = cell.initial_carry(cell.weights(params), x)
        carry = jax.tree.map(jnp.add, start, carry)
        return total(cell, params, carry, x) + (total(cell, params, carry, x, KEY) if row.noisy else 0.0)

    def slopes(direction):
        def along(e):
            return value(jax.tree.map(lambda a, d: a + e * d, theta, direction))

        after, before = jax.vmap(along)(jnp.array([STEP, -STEP]))
        return jnp.stack([(after - before) / (2 * STEP), jax.grad(along)(0.0)])

    directions = jax.tree.map(lambda a: draw((DIRECTIONS, *a.shape), a.dtype, 3), theta)
    differences, gradients = jax.jit(jax.vmap(slopes, out_axes=1))(directions)
    assert abs(gradients).min() > 1e-4
    np.testing.assert_allclose(gradients, differences, rtol=1e-6, atol=1e-7)
