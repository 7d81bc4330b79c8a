"""Linear recurrences against what their papers write, in numpy, and both ways to run one against a loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import close, draw, moved

from rnnjax import lru, mingru, minlstm, run, s4d, unroll
from rnnjax.cells import linear_scan
from rnnjax.cells._linear_scan import in_parallel, one_by_one

STEPS, WIDTH = 11, 3


def loop(a, b, h):
    """h_t = a_t h_{t-1} + b_t; where a_t is zero nothing of the past is read."""
    states = []
    for a_t, b_t in zip(a, b):
        h = np.where(a_t == 0, b_t, a_t * h + b_t)
        states.append(h)
    return np.stack(states)


def turned_by(a, phase):
    """A real array times exp(i phase)."""
    return jax.lax.complex(a * np.float32(np.cos(phase)), a * np.float32(np.sin(phase)))


def coefficients(complex_numbers):
    a, b, h = draw((STEPS, WIDTH)), draw((STEPS, WIDTH), seed=1), draw((WIDTH,), seed=2)
    a = a.at[4, 1].set(0.0)
    if not complex_numbers:
        return a, b, h
    return turned_by(a, 0.7), jax.lax.complex(b, b[::-1]), turned_by(h, 0.2)


@pytest.mark.parametrize("complex_numbers", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("way", [one_by_one, in_parallel])
def test_the_scan_is_a_loop(way, reverse, complex_numbers):
    a, b, h = coefficients(complex_numbers)
    turned = slice(None, None, -1 if reverse else 1)
    want = loop(np.asarray(a)[turned], np.asarray(b)[turned], np.asarray(h))[turned]
    got = np.asarray(jax.jit(way, static_argnums=4)(a, b, h, None, reverse))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lost", [np.inf, np.nan])
@pytest.mark.parametrize("way", [one_by_one, in_parallel])
def test_nothing_passes_a_first_step_and_what_is_no_number_passes_all_others(way, lost):
    a, b = jnp.array([1.0, 0.0, 0.5, 0.0]), jnp.array([lost, 2.0, 1.0, 3.0])
    states = way(a, b, jnp.float32(0), jnp.arange(4) == 1, False)
    close(states[1:], jnp.array([2.0, 2.0, 3.0]))
    assert jnp.isnan(way(a, b, jnp.float32(0), None, False)[1:]).all()
    assert jnp.isfinite(way(a, b[::-1], jnp.float32(0), jnp.arange(4) == 2, True)[:3]).all()


@pytest.mark.parametrize("first", [None, np.arange(STEPS) % 3 == 2], ids=["whole", "parts"])
@pytest.mark.parametrize("reverse", [False, True])
def test_its_gradient_is_that_of_the_loop(reverse, first):
    a, b, h = coefficients(True)
    weight = turned_by(draw((STEPS, WIDTH), seed=5), 1.1)

    def value(scan):
        return lambda *args: (scan(*args) * weight).sum().real

    got, want = (
        jax.jit(jax.grad(value(f), (0, 1, 2)))(a, b, h)
        for f in (
            lambda a, b, h: linear_scan(a, b, h, reverse, first),
            lambda a, b, h: one_by_one(a, b, h, first, reverse),
        )
    )
    close(got, want)


def test_a_gradient_does_not_pass_a_first_step_either():
    first = jnp.arange(4) == 2

    def value(a, b, h):
        return linear_scan(a, b, h, False, first)[:2].sum()

    slopes = jax.grad(value, (0, 1, 2))(jnp.ones(4), jnp.array([1.0, 2.0, 3.0, jnp.nan]), jnp.float32(1))
    close(slopes, (jnp.array([2.0, 2.0, 0.0, 0.0]), jnp.array([2.0, 1.0, 0.0, 0.0]), jnp.float32(2)))


def output(cell, x):
    params = moved(cell.init(jax.random.key(3), x[0]), 0.1)
    return jax.tree.map(np.asarray, params), np.asarray(run(unroll(cell), params, x)[1])


def test_lru_is_a_sum_over_powers_of_lambda():
    x = draw((STEPS, WIDTH))
    p, got = output(lru(4, 0.3, 0.9), x)
    pole = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    drive = np.exp(p["gamma"]) * (np.asarray(x) @ (p["b_re"] + 1j * p["b_im"]))
    for t in range(STEPS):
        h = sum(pole ** (t - s) * drive[s] for s in range(t + 1))
        want = (h @ (p["c_re"] + 1j * p["c_im"])).real + np.asarray(x)[t] @ p["d"]
        np.testing.assert_allclose(got[t], want, rtol=2e-4, atol=2e-5)


def test_s4d_is_the_convolution_with_its_kernel():
    x = draw((STEPS, WIDTH))
    (affine, p), got = output(s4d(4, states=3), x)
    z = np.asarray(x) @ affine["w"] + affine["b"]
    pole, dt = -np.exp(p["decay"]) + 1j * p["frequency"], np.exp(p["step"])[:, None]
    weight = (p["c_re"] + 1j * p["c_im"]) * (np.exp(dt * pole) - 1) / pole
    kernel = np.stack([2 * (weight * np.exp(t * dt * pole)).sum(-1).real for t in range(STEPS)])
    for t in range(STEPS):
        want = sum(kernel[t - s] * z[s] for s in range(t + 1)) + p["d"] * z[t]
        np.testing.assert_allclose(got[t], want, rtol=2e-4, atol=2e-5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_mingru_and_minlstm_as_written():
    x = draw((STEPS, WIDTH))
    (affine, _), got = output(mingru(4), x)
    z, n = np.split(np.asarray(x) @ affine["w"] + affine["b"], 2, axis=-1)
    np.testing.assert_allclose(got, loop(1 - sigmoid(z), sigmoid(z) * n, 0.0), rtol=1e-4, atol=1e-5)
    (affine, _), got = output(minlstm(4, forget_bias=0.5), x)
    f, i, n = np.split(np.asarray(x) @ affine["w"] + affine["b"], 3, axis=-1)
    f, i = sigmoid(f + 0.5), sigmoid(i)
    np.testing.assert_allclose(got, loop(f / (f + i), i / (f + i) * n, 0.0), rtol=1e-4, atol=1e-5)


def test_minlstm_with_both_gates_shut_still_takes_its_whole():
    """Sigmoids that are zero in single precision must not give 0 / 0."""
    params = ({"w": jnp.zeros((1, 3)), "b": jnp.array([-200.0, -200.0, 6.0])}, ())
    close(run(minlstm(1, forget_bias=0.0), params, jnp.ones(1))[1], jnp.array([3.0]))
