"""Laws of the flip-flop task and of the study of the network that was trained on it."""

import jax
import numpy as np
import pytest
from _helpers import draw
from _launching import launch, summary

from experiments.flipflop import between
from rnnjax.plotting._states import principal
from rnnjax.tasks import flipflop


def test_a_flip_flop_holds_the_last_pulse_of_each_wire_and_its_baseline_is_exact():
    task = flipflop(30, bits=2, rate=0.3)
    x, y = (np.asarray(a) for a in jax.jit(lambda key: task.batch(key, 400))(jax.random.key(0))[:2])
    held = x[:, 0]
    assert (abs(held) == 1).all()
    for t in range(30):
        held = np.where(x[:, t] != 0, x[:, t], held)
        np.testing.assert_array_equal(y[:, t], held)
    np.testing.assert_allclose(((y - x) ** 2).mean(), task.baseline, rtol=0.02)
    np.testing.assert_allclose([(x == 1).mean(), (x == -1).mean()], (1 - task.baseline) / 2, rtol=0.05)


def test_starts_lie_near_visited_states_and_between_them():
    ends = np.array([[1.0, 0.0], [-1.0, 0.0]])
    starts = np.asarray(between(jax.random.key(0), jax.numpy.asarray(ends), 400))
    noise = 0.3 * ends.std()
    near, mixed = starts[::2], starts[1::2]
    assert (abs(abs(near[:, 0]) - 1) < 5 * noise).all() and abs(starts[:, 1]).max() < 5 * noise
    assert (abs(mixed[:, 0]) < 0.5).mean() > 0.15 > (abs(near[:, 0]) < 0.1).mean()


def test_principal_axes_hold_the_variance_in_order():
    turn = np.linalg.qr(np.asarray(draw((4, 4))))[0]
    states = np.asarray(draw((500, 4))) @ np.diag([3, 2, 1, 0.1]) @ turn + 5
    mean, axes, shares = principal(states)
    np.testing.assert_allclose(abs(axes.T @ turn.T)[:, :3], np.eye(3), atol=0.15)
    np.testing.assert_allclose(((states - mean) @ axes).var(0) / states.var(0).sum(), shares, rtol=1e-4)


def test_too_few_units_for_a_picture_are_refused(tmp_path, capsys):
    assert launch("flipflop", "--hidden_size=2", "--cell=gru", f"--workdir={tmp_path}") == 1
    assert "three units" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gru", "vanilla"])
def test_a_trained_flip_flop_has_a_stable_point_for_each_memory(cell, tmp_path):
    flags = ["--bits=2", "--hidden_size=12", "--num_steps=1000", f"--cell={cell}", "--length=30", "--starts=400"]
    assert launch("flipflop", *flags, f"--workdir={tmp_path}") == 0
    found = summary(tmp_path)
    assert found["best"]["valid_loss"] < 1e-2
    assert found["points"]["0"] == 4 == found["memories"] and sum(found["points"].values()) > 4
    assert found["exponents"][0] < 0
    assert (tmp_path / "points.png").stat().st_size > 1000
