"""Laws of linear probes of the past, and of the task that asks for it."""

import jax
import numpy as np
import pytest
from _helpers import draw

from rnnjax.dynamics import memory_capacity, memory_curve
from rnnjax.tasks import echo


def test_a_probe_is_ridge_regression_scored_on_other_sequences():
    xs = np.asarray(draw((8, 30)), np.float64)
    held = np.stack([np.roll(xs, k, axis=1) for k in range(4)], axis=-1)
    mixed = held @ np.asarray(draw((4, 5)), np.float64) + 0.3 * np.asarray(draw((8, 30, 5)), np.float64) + 2
    got = jax.jit(lambda h, x: memory_curve(h, x, 6, ridge=0.1))(mixed.astype(np.float32), xs.astype(np.float32))
    h, want = mixed[:, 5:], []
    fit, score = (np.reshape(a, (-1, 5)) for a in (h[:4], h[4:]))
    for k in range(6):
        y = xs[:, 5 - k : 30 - k]
        a, b = fit - fit.mean(0), y[:4].ravel() - y[:4].mean()
        w = np.linalg.solve(a.T @ a + 0.1 * len(a) * np.eye(5), a.T @ b)
        error = y[4:].ravel() - y[:4].mean() - (score - fit.mean(0)) @ w
        want.append(1 - (error**2).mean() / y[4:].var())
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)
    assert got[:4].min() > 0.1 > got[4:].max()
    np.testing.assert_allclose(memory_capacity(got), np.maximum(want, 0).sum(), rtol=1e-3)


def test_a_rotation_holds_as_many_inputs_as_it_has_numbers_though_it_never_forgets():
    xs, turn = np.asarray(draw((60, 100))), np.linalg.qr(np.asarray(draw((6, 6))))[0] * 0.98
    h, states = np.zeros((60, 6)), []
    for x in xs.T:
        h = h @ turn
        h[:, 0] += x
        states.append(h)
    r2 = memory_curve(np.stack(states, 1).astype(np.float32), xs, 60)
    np.testing.assert_allclose(memory_capacity(r2), 6, rtol=0.1)


def test_a_probe_needs_sequences_to_score_it_on_and_steps_to_look_back():
    for shape, lags in (((1, 30), 5), ((4, 5), 5)):
        with pytest.raises(ValueError, match="more steps than lags"):
            memory_curve(draw((*shape, 2)), draw(shape), lags)


def test_an_echo_is_masked_until_there_is_one():
    x, y, mask, *_ = echo(7, 3, features=2).sample(jax.random.key(0))
    np.testing.assert_array_equal(y[3:], x[:4, :1])
    np.testing.assert_array_equal(mask, np.arange(7) >= 3)
