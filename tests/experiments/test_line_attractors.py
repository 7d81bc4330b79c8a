"""The search for line attractors finds one that was made by hand, and what moves the state along it."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments._shared.line_attractors import SETTLING, find_line

N, SLOW, FAST = 4, 0.999, 0.5


def made_by_hand():
    """Returns a map that keeps one direction, the others decay, and this direction."""
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))[0]
    rates = np.array([SLOW] + [FAST] * (N - 1))
    # Not normal: what the second input does decays, although it moves the state along the line at first.
    mixed = axes + 0.5 * np.outer(axes[:, 0], [0, 1, 0, 0])
    step = mixed @ np.diag(rates) @ np.linalg.inv(mixed)
    inputs = np.stack([2 * mixed[:, 0], mixed[:, 1]], axis=1)
    step, inputs = jnp.asarray(step, jnp.float32), jnp.asarray(inputs, jnp.float32)
    return lambda h, x: step @ h + inputs @ x, axes[:, 0]


def test_a_line_made_by_hand_is_found():
    advance, axis = made_by_hand()
    starts = jnp.asarray(np.random.default_rng(1).normal(size=(60, N)), jnp.float32)
    line = find_line(advance, jnp.zeros(2), starts, 0.01, axis)
    assert len(line.points) > 20 and line.share > 0.9999
    np.testing.assert_allclose(line.axis, axis, atol=1e-3)
    np.testing.assert_allclose(line.along, SLOW, atol=1e-4)
    np.testing.assert_allclose(line.across, FAST, atol=1e-4)
    assert (np.diff(line.points @ axis) > 0).all() and np.ptp(line.points @ axis) > 2
    np.testing.assert_allclose(line.push, [2 * SLOW**SETTLING, 0.5 * FAST**SETTLING], atol=5e-3)
    opposite = find_line(advance, jnp.zeros(2), starts, 0.01, -axis)
    np.testing.assert_allclose(opposite.push, -line.push, atol=1e-5)


def test_a_point_is_no_line():
    starts = jnp.asarray(np.random.default_rng(1).normal(size=(20, N)), jnp.float32)
    assert find_line(lambda h, x: jnp.tanh(0.5 * h) + x.sum(), jnp.zeros(2), starts, 0.01, np.ones(N)) is None


def test_a_plane_is_no_line():
    rates = jnp.array([SLOW, SLOW, FAST, FAST])
    starts = jnp.asarray(jax.random.normal(jax.random.key(0), (60, N)))
    line = find_line(lambda h, x: rates * h + x.sum(), jnp.zeros(2), starts, 0.01, np.ones(N))
    assert line.share < 0.8 and (line.across > 0.99).all()
