"""Newton on a window: the scan in value and gradient, few iterations where a network forgets, nan where it fails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import close, draw, gappy, moved, total

from rnnjax import deer, gru, run, unroll, vanilla, with_step
from rnnjax.wrappers._deer import matrix_scan

STEPS, WIDTH = 12, 3


def given(cell, steps=STEPS):
    xs = draw((steps, WIDTH))
    return xs, moved(cell.init(jax.random.key(0), xs[0]), 0.2)


@pytest.mark.parametrize("diagonal", [False, True])
def test_it_is_the_scan_in_value_and_gradient_on_a_ragged_window(diagonal):
    xs, params = given(gru(4))
    carry = ((), draw((4,)))

    def gradient(cell):
        return jax.jit(jax.value_and_grad(lambda p, h: total(unroll(cell), p, h, gappy(xs)), (0, 1)))(params, carry)

    close(gradient(deer(gru(4), 1e-7, diagonal)), gradient(gru(4).replace(window=None)))


def test_a_network_that_forgets_needs_few_iterations():
    xs, params = given(vanilla(4), steps=200)
    params = (params[0], {"u": params[1]["u"] * 0.3})
    want = run(unroll(vanilla(4)), params, xs)
    close(run(unroll(deer(vanilla(4), iterations=8)), params, xs), want, rtol=1e-4, atol=1e-5)
    one = run(unroll(deer(vanilla(4), iterations=1)), params, xs)
    assert np.abs(one[1] - want[1]).max() > 1e-3  # so the count of iterations is what it says


def test_as_many_iterations_as_steps_suffice_for_chaos():
    xs, params = given(vanilla(4))
    params = (params[0], {"u": params[1]["u"] * 4})
    close(run(unroll(deer(vanilla(4), 0.0)), params, xs), run(unroll(vanilla(4)), params, xs), rtol=1e-3, atol=1e-4)


def test_what_is_not_a_number_is_not_hidden():
    cell = with_step(gru(4), lambda w, h, x, key=None: gru(4).step(w, h, x * jnp.inf))
    xs, params = given(gru(4))
    assert np.isnan(run(unroll(deer(cell)), params, xs)[1]).all()


def test_both_ways_to_sum_are_a_loop():
    a, b = draw((STEPS, WIDTH, WIDTH)), draw((STEPS, WIDTH), seed=1)
    d, want = np.zeros(WIDTH), []
    for a_t, b_t in zip(np.asarray(a), np.asarray(b)):
        d = a_t @ d + b_t
        want.append(d)
    np.testing.assert_allclose(matrix_scan(a, b), np.stack(want), rtol=1e-4, atol=1e-4)
    elsewhere = jax.export.export(jax.jit(matrix_scan), platforms=["cuda"])(a, b).mlir_module()
    assert "while" not in elsewhere and "while" in jax.jit(matrix_scan).lower(a, b).as_text()
