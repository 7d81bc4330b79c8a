"""Cognitive tasks: plain numpy finds every answer; the best observer is as good as is said."""

import jax
import numpy as np
import pytest

from rnnjax import tasks

GO = 3  # steps of the answer


def trials(task, n=300):
    batch = jax.device_get(jax.jit(lambda key: task.batch(key, n))(jax.random.key(0)))
    steps = batch.x.shape[1]
    assert (batch.mask == (np.arange(steps) >= steps - GO)).all() and (batch.x[:, :, -1] == batch.mask).all()
    assert (batch.y == batch.y[:, :1]).all()
    return batch.x, batch.y[:, -1]


def test_a_decision_is_the_sign_of_the_evidence():
    x, y = trials(tasks.perceptual_decision(5, noise=0.0))
    assert (x[:, :5, 0] == x[:, :1, 0]).all() and (x[:, 5:, 0] == 0).all()
    assert ((x[:, 0, 0] > 0) == y).all() and set(abs(x[:, 0, 0])) == set(tasks.COHERENCES)


@pytest.mark.parametrize("length, noise, c", [(20, 1.0, 0.25), (5, 2.0, -0.5), (9, 0.5, 0.0625)])
def test_the_best_observer_of_a_decision(length, noise, c):
    x, y = trials(tasks.perceptual_decision(length, noise, c), 4000)
    right = ((x[:, :length, 0].sum(1) > 0) == y).mean()
    best = tasks.ideal_accuracy(c, length, noise)
    assert abs(right - best) < 4 * np.sqrt(best * (1 - best) / 4000)


def test_a_context_says_which_evidence_counts():
    x, y = trials(tasks.context_integration(4, noise=0.0))
    which = x[:, 0, 2:4].argmax(1)
    assert (x[:, :4, 2:4].sum(2) == 1).all() and (x[:, 4:, :4] == 0).all() and 0.3 < which.mean() < 0.7
    assert ((x[np.arange(len(x)), 0, which] > 0) == y).all()
    assert ((x[np.arange(len(x)), 0, 1 - which] > 0) == y).mean() < 0.6
    x, y = trials(tasks.context_integration(4, 0.0, coherence=-0.3, other=0.7))
    which = x[:, 0, 2:4].argmax(1)
    assert (y == 0).all() and np.allclose(x[np.arange(len(x)), 0, 1 - which], 0.7)


def test_a_match_is_the_same_direction():
    x, y = trials(tasks.delayed_match(4, 6, noise=0.0))
    sample, test = x[:, 0, :2], x[:, 9, :2]
    assert (np.isclose(sample, test, atol=1e-5).all(1) == y).all() and 0.35 < y.mean() < 0.65
    assert (x[:, 5:9, :2] == 0).all() and np.allclose((test**2).sum(1), 1, atol=1e-5)


def test_a_comparison_is_of_two_values():
    x, y = trials(tasks.delayed_comparison(4, 0.3, noise=0.0))
    difference = x[:, 0, 0] - x[:, 9, 0]
    assert ((difference > 0) == y).all() and np.allclose(abs(difference), 0.3, atol=1e-5)
    assert (x[:, 5:9, 0] == 0).all() and 0.35 < y.mean() < 0.65


def test_an_anti_reach_goes_the_other_way():
    x, y = trials(tasks.anti_reach(4, 6, noise=0.0))
    direction = np.round(np.arctan2(x[:, 0, 1], x[:, 0, 0]) / (np.pi / 3)).astype(int) % 6
    rule = x[:, 0, 2].astype(int)
    assert (y == (direction + 3 * rule) % 6).all() and 0.3 < rule.mean() < 0.7 and (x[:, 5:, :3] == 0).all()


def test_noise_has_its_size():
    x, _ = trials(tasks.perceptual_decision(20, 0.7, 0.5))
    assert abs((x[:, :20, 0] - 0.5).std() - 0.7) < 4 * 0.7 / np.sqrt(2 * 300 * 20)


BAD = {
    "length": (lambda: tasks.perceptual_decision(0), "length is an integer from 1"),
    "noise": (lambda: tasks.context_integration(noise=-1.0), "noise is a number from 0"),
    "delay": (lambda: tasks.delayed_match(0), "delay is an integer from 1"),
    "one": (lambda: tasks.delayed_match(directions=1), "directions is an integer from 2"),
    "gap": (lambda: tasks.delayed_comparison(gap=0.0), "gap is a number above 0"),
    "odd": (lambda: tasks.anti_reach(directions=3), "even number"),
    "nan": (lambda: tasks.perceptual_decision(coherence=float("nan")), "coherence is a finite number"),
}


@pytest.mark.parametrize("name", BAD)
def test_trials_that_cannot_be_are_refused(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()
