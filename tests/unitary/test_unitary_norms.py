"""Norms over ten thousand steps: what rounding does to a map, factor by factor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import draw

from rnnjax import unitary
from rnnjax.unitary._pairs import of_norm, unit_circle

LASTING = {
    "diagonal": (unitary.diagonal(), 1, 64),
    "reflection": (unitary.reflection(), 2, 16, 64),
    "fourier": (unitary.product(unitary.fourier(), unitary.diagonal()), 3, 64),
    "fourier-alone": (unitary.fourier(), 60),
    "inverse-fourier": (unitary.inverse_fourier(), 64),
    "evolution": (unitary.evolution(), 2, 16, 100),
    "givens": (unitary.givens(), 2, 64),
    "tunable": (unitary.tunable(8), 4, 64),
    "butterfly": (unitary.butterfly(64), 64),
    "reflections": (unitary.reflections(4), 64),
    "full_capacity": (unitary.full_capacity(), 64),
    "kronecker": (unitary.kronecker((unitary.full_capacity(), 8), (unitary.evolution(), 8)), 64),
}


LASTING_FAST = ("diagonal", "fourier", "butterfly", "reflections")


def ten_thousand(f):
    """A map applied 10,000 times."""
    return jax.jit(lambda w, h: jax.lax.fori_loop(0, 10_000, lambda i, h: f(w, h), h))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            n, marks=[pytest.mark.slow] * (n in ("tunable", "kronecker", "givens", "full_capacity", "evolution"))
        )
        for n in LASTING
    ],
)
def test_a_norm_is_kept_over_ten_thousand_steps_by_factors(name, optimized):
    """A step that is off by 2^-24 would be by 6e-4 after all; 1e-4 takes steps that are right to a sixth of that.

    With the norm corrected at each step, errors are as likely up as down: sqrt(10,000) of 2^-24, 6e-6, and more by the
    part that the sums of squares have in it.
    """
    factor, *sizes = LASTING[name]
    for n, f in zip([*sizes, sizes[-1]], [*[factor.apply] * len(sizes), factor.adjoint]):
        params = jax.tree.map(lambda a: a + 0.3 * draw(a.shape), factor.init(jax.random.key(0), n, jnp.float32))
        h = jax.lax.complex(*draw((2, n)))
        kept = np.linalg.norm(np.asarray(ten_thousand(f)(factor.weights(params), h), complex)) / np.linalg.norm(h)
        np.testing.assert_allclose(kept, 1, rtol=1e-4)


@pytest.mark.parametrize("angle", [2.0**-12, np.pi / 2 + 2.0**-12, -np.pi / 4])
def test_a_turn_that_no_single_numbers_say_keeps_norms(angle):
    d, h = unitary.diagonal(), jax.lax.complex(*draw((2, 16)))
    turned = ten_thousand(d.apply)(d.weights({"theta": jnp.full(16, angle, jnp.float32)}), h)
    np.testing.assert_allclose(np.linalg.norm(np.asarray(turned, complex)), np.linalg.norm(h), rtol=1e-4)


@pytest.mark.parametrize("size", [0.0, 1e-42, 1e-21, 1.0, 1e18, 1e30, np.inf, np.nan])
def test_a_norm_is_corrected_by_rounding_alone(size):
    h = (jnp.asarray(size, jnp.float32) * jnp.linspace(0.5, 1.0, 9)).astype(jnp.complex64)
    y = h.at[4].multiply(jnp.complex64(1 + 3e-7))
    got = np.asarray(jax.jit(of_norm)(y, h))
    np.testing.assert_allclose(got, y, rtol=2e-6)
    np.testing.assert_array_equal(jax.jit(of_norm)(h + h, h), h + h)  # this is not rounding


def test_the_squares_of_a_turn_add_up_to_one():
    angle = jnp.linspace(-40, 40, 9999)
    c, s = (np.asarray(x, np.float64) for x in jax.jit(unit_circle)(angle))
    off = abs(c * c + s * s - 1)
    assert off.max() <= 2.0**-24  # near an axis: c is 1 or 1 - 2^-24, whose squares are 2^-23 apart
    assert off.mean() < 2.0**-27  # cos and sin, each rounded by itself: 2^-25
    np.testing.assert_allclose(c + 1j * s, np.exp(1j * np.asarray(angle, np.float64)), rtol=0, atol=2.0**-20)
