"""The twenty tasks: from what a trial shows, plain numpy finds what the paper asks for, at every step."""

import jax
import numpy as np
import pytest

from rnnjax import tasks

STEP, UNITS, N = 20, 32, 400
PREFERRED = np.arange(UNITS) * 2 * np.pi / UNITS
SPARE = 5  # steps that a response does not count at first, and a trial


def circular(a, b):
    gap = abs(a - b) % (2 * np.pi)
    return np.minimum(gap, 2 * np.pi - gap)


def bump(angle):
    return 0.8 * np.exp(-((circular(angle, PREFERRED) / (np.pi / 8)) ** 2) / 2)


@jax.jit
def drawn(key, noise):
    return tasks.twenty_tasks(step=STEP, units=UNITS, noise=noise).batch(key, N)


@pytest.fixture(scope="module")
def trials():
    return jax.device_get(drawn(jax.random.key(0), 0.0))


def stimuli(rings):
    """Returns the stretches `(on, off, frame)` of the steps `[T, 2, UNITS]` in which what is shown is the same."""
    shown, out, t = rings.reshape(len(rings), -1), [], 0
    for end in range(1, len(shown) + 1):
        if end == len(shown) or abs(shown[end] - shown[t]).max() > 1e-6:
            if abs(shown[t]).max() > 0:
                out.append((t, end, rings[t]))
            t = end
    return out


def angle_of(frame):
    """Returns the direction of a single bump on either ring."""
    ring = frame.sum(0)
    return np.angle((ring * np.exp(1j * PREFERRED)).sum()) % (2 * np.pi)


GRID = np.linspace(0, 2 * np.pi, 180, endpoint=False)
SHAPES = np.stack([bump(a) for a in GRID], 1)
GRAM = SHAPES.T @ SHAPES
FAR = circular(GRID[:, None], GRID) >= np.pi / 2 - 0.04  # two stimuli are a quarter of the ring apart
DETERMINANT = np.where(FAR, np.outer(np.diag(GRAM), np.diag(GRAM)) - GRAM**2, 1)


def pair_of(ring):
    """Returns the directions and strengths of two bumps on a ring: the least squares over all pairs of a grid."""
    seen = SHAPES.T @ ring
    first = (np.diag(GRAM) * seen[:, None] - GRAM * seen) / DETERMINANT  # its strength, beside each other one
    error = np.where(FAR, -(first * seen[:, None] + first.T * seen), np.inf)
    i, j = np.unravel_index(error.argmin(), error.shape)
    return (GRID[i], GRID[j]), (first[i, j], first[j, i])


def asked(rule, x):
    """Returns when the response of a trial begins, and its direction, or None to keep fixation."""
    end = int((x[:, 1 + 2 * UNITS :].sum(1) > 0).sum())
    rings = x[:end, 1 : 1 + 2 * UNITS].reshape(end, 2, UNITS)
    shown = stimuli(rings)
    off = int(x[:end, 0].sum())  # fixation is 1 and then 0
    name = rule.removeprefix("rt_").removeprefix("ctx_").removeprefix("dly_")
    if name in ("go", "anti"):
        [(on, gone, frame)] = shown
        assert (gone == end) == ("dly" not in rule) and (off == end) == ("rt" in rule)
        turned = np.pi if "anti" in rule else 0
        return on if "rt" in rule else off, angle_of(frame) + turned
    if name[:2] in ("dm", "mu") and name not in ("dms", "dmc"):
        which = {"1": [0], "2": [1]}.get(rule[-1], [0, 1])
        other = [1 - which[0]] if len(which) == 1 else []
        assert all((abs(frame[r]).max() > 0) == ("ctx" in rule) for _, _, frame in shown for r in other)
        if "dly" in rule:
            angles, strengths = zip(*((angle_of(frame[which]), frame[which].sum()) for _, _, frame in shown))
        else:
            assert shown[0][1] == off
            angles, strengths = pair_of(shown[0][2][which].sum(0))
        return off, angles[int(np.argmax(strengths))]
    (_, _, first), (on, gone, second) = shown
    a, b = angle_of(first), angle_of(second)
    same = (a < np.pi) == (b < np.pi) if name[-1] == "c" else circular(a, b) < 1e-3
    assert gone == off == end
    return on, b if same == (name[1] == "m") else None


@pytest.mark.parametrize("rule", tasks.TWENTY_TASKS)
def test_the_paper_asks_for_this(rule, trials):
    number = tasks.TWENTY_TASKS.index(rule)
    own = np.flatnonzero(trials.x[:, 0, 1 + 2 * UNITS + number])
    assert len(own) > 5
    for i in own[:6]:
        x, y, weight = trials.x[i], trials.y.output[i], trials.y.weight[i]
        go, direction = asked(rule, x)
        steps = np.arange(len(x))
        want = np.full((len(x), 1 + UNITS), 0.05)
        want[:, 0] = 0.8
        if direction is not None:
            want[go:, 0], want[go:, 1:] = 0.05, 0.05 + bump(direction)
        end = go + 500 // STEP
        assert (x[end:] == 0).all() and (x[:end, 1 + 2 * UNITS + number] == 1).all()
        close = 0.03 if "dm" in rule and "dly" not in rule else 1e-4  # the grid above is of two degrees
        np.testing.assert_allclose(y[:end], want[:end], atol=close)
        counts = 1.0 * ((steps >= SPARE) & (steps < go)) + 5.0 * ((steps >= go + SPARE) & (steps < end))
        np.testing.assert_array_equal(weight[:, 1:], np.repeat(counts[:, None], UNITS, 1))
        np.testing.assert_array_equal(weight[:, 0], 2 * counts)
        np.testing.assert_array_equal(trials.mask[i], counts > 0)


def test_strengths_and_times_have_the_range_of_the_paper(trials):
    x = trials.x
    rule = x[:, 0, 1 + 2 * UNITS :].argmax(1)
    for name, evidence in (("dly_dm_1", {0.08, 0.16, 0.32}), ("dly_dm_2", {0.08, 0.16, 0.32})):
        found = set()
        for i in np.flatnonzero(rule == tasks.TWENTY_TASKS.index(name)):
            (on, off, a), (again, gone, b) = stimuli(x[i, :, 1 : 1 + 2 * UNITS].reshape(-1, 2, UNITS))
            one, two = (frame.sum() / bump(0).sum() for frame in (a, b))
            found.add(round(abs(one - two) / 2, 3))
            assert 0.8 <= (one + two) / 2 <= 1.2
            assert {on * STEP, (off - on) * STEP, (gone - again) * STEP} <= {200, 400, 600}
            assert (again - off) * STEP in (200, 400, 800, 1600)
        assert found == evidence
    for name in ("multsen_dly_dm",):
        for i in np.flatnonzero(rule == tasks.TWENTY_TASKS.index(name)):
            for _, _, frame in stimuli(x[i, :, 1 : 1 + 2 * UNITS].reshape(-1, 2, UNITS)):
                first, second = frame.sum(1)
                assert 0.2 - 1e-4 <= abs(first - second) / ((first + second) / 2) <= 0.8 + 1e-4


def test_noise_is_that_of_the_time_constant(trials):
    x = np.asarray(drawn(jax.random.key(0), 0.02).x)
    alive = trials.x[:, :, 1 + 2 * UNITS :].any(2)
    noise, want = (x - trials.x)[alive], 0.02 * np.sqrt(2 * 100 / STEP)
    assert abs(noise.std() - want) < 4 * want / np.sqrt(2 * noise.size) and (x[~alive] == 0).all()


def test_a_response_is_judged_by_its_direction_and_its_fixation():
    wanted = np.concatenate([[0.05], 0.05 + bump(1.0)])
    keep = np.concatenate([[0.8], np.full(UNITS, 0.05)])
    for turn, right in ((0.6, True), (-0.6, True), (0.66, False), (np.pi, False)):
        said = np.concatenate([[0.4], bump(1.0 + turn)])
        assert bool(tasks.right_response(said, wanted)) is right
        assert not tasks.right_response(np.concatenate([[0.6], bump(1.0)]), wanted)
        assert not tasks.right_response(said, keep)
    around = np.concatenate([[0.0], bump(2 * np.pi - 0.2)])
    assert tasks.right_response(around, np.concatenate([[0.05], bump(0.2)]))  # across zero
    assert tasks.right_response(keep, keep)


BAD = {
    "no rule": (lambda: tasks.twenty_tasks([]), "rules"),
    "unknown": (lambda: tasks.twenty_tasks(["go", "gone"]), "unknown 'gone'"),
    "twice": (lambda: tasks.twenty_tasks(["go", "go"]), "the same rule twice"),
    "a name": (lambda: tasks.twenty_tasks("go"), "rules"),
    "long step": (lambda: tasks.twenty_tasks(step=200), "at most 100 ms"),
    "no step": (lambda: tasks.twenty_tasks(step=0), "step is an integer from 1"),
    "one unit": (lambda: tasks.twenty_tasks(units=1), "units is an integer from 2"),
    "noise": (lambda: tasks.twenty_tasks(noise=-1.0), "noise is a number from 0"),
    "shapes": (lambda: tasks.right_response(np.zeros(5), np.zeros(6)), "1 \\+ units"),
    "no ring": (lambda: tasks.right_response(np.zeros(1), np.zeros(1)), "1 \\+ units"),
}


@pytest.mark.parametrize("name", BAD)
def test_trials_that_cannot_be_are_refused(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()
