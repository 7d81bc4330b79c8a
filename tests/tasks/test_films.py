"""Laws of films: the labels are what a reading of the pixels says, and no frame alone says how its shape moves."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import tasks
from rnnjax.tasks._films import FASTEST, LARGEST, SLOWEST, SMALLEST, STEP, path
from rnnjax.tasks._shapes import index_from_uniform

WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
FRAMES = 10  # a size comes round the corner once at most


@pytest.fixture(scope="module")
def films():
    """Films of either kind, and paths: one program."""

    def draw(key):
        u = jax.random.uniform(key, (2000, 6))
        way = jax.vmap(lambda u: path(index_from_uniform(u[5], 8), u[:5], FRAMES))(u)
        films = [kind(FRAMES).batch(key, 60) for kind in (tasks.moving_shapes, tasks.shape_events)]
        return *films, (u, *way), tasks.shape_events(FRAMES).batch(key, 2000).y

    return jax.device_get(jax.jit(draw)(jax.random.key(0)))


def where(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each frame `[..., side, side, 3]`: circular mean (x, y) of what is no background, area, colour."""
    mask = (frames.max(-1) > 0.4).astype(float)
    at = np.exp(2j * np.pi * (np.arange(tasks.SIDE) + 0.5) / tasks.SIDE)
    x, y = mask.sum(-2) @ at, mask.sum(-1) @ at
    area = mask.sum((-2, -1))
    pixels = frames.reshape(*area.shape, -1, 3)
    strongest = np.take_along_axis(pixels, pixels.sum(-1).argmax(-1)[..., None, None], -2)
    tint = np.linalg.norm(strongest - np.array(list(tasks.SHAPE_COLOURS.values())), axis=-1).argmin(-1)
    return np.stack([np.angle(x), np.angle(y)], -1) / (2 * np.pi) % 1, area, tint


def moved(places: np.ndarray) -> np.ndarray:
    """From frame to frame, the short way round the torus."""
    return (np.diff(places, axis=-2) + 0.5) % 1 - 0.5


def test_a_movement_is_what_the_pixels_show(films):
    for film, y in zip(films[0].x, films[0].y):
        places, areas, _ = where(film)
        steps, name = moved(places), tasks.MOVES[y]
        if name in WAYS:
            along = steps.mean(0) @ WAYS[name]
            assert 0.045 < along < 0.075 and np.abs(steps.mean(0) - along * np.array(WAYS[name])).max() < 0.01
        elif name in ("clockwise", "anticlockwise"):  # on the screen y goes down
            turn = steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0]
            assert np.median(turn) * (1 if name == "clockwise" else -1) > 0
            assert np.hypot(*steps.T).min() > 0.02
        else:
            assert np.abs(steps.mean(0)).max() < 0.01
            rises = np.sort(np.diff(areas) * (1 if name == "grows" else -1))
            assert rises[1:].min() >= -2 and rises[1:].sum() > 5  # but for one jump


def test_each_movement_is_another_one_played_backwards(films):
    u, centres, halves = films[2]
    moves = (u[:, 5] * 8).astype(int)
    pace = SLOWEST + (FASTEST - SLOWEST) * u[:, 4]
    far = (1 - 2 * (moves % 2)) * pace * (FRAMES - 1)
    begin = u[:, :5] % 1
    begin[:, :2] += np.where((moves < 4)[:, None], centres[:, -1] - centres[:, 0], 0)
    begin[:, 2] += 2 * far * (moves // 2 == 2)
    begin[:, 3] += far * (moves // 2 == 3)
    there = jax.jit(jax.vmap(lambda move, u: path(move, u, FRAMES)))
    back, sizes = jax.device_get(there(jnp.asarray(moves ^ 1), jnp.asarray(begin % 1, jnp.float32)))
    apart = (back - centres[:, ::-1] + 0.5) % 1 - 0.5
    np.testing.assert_allclose(apart, 0, atol=1e-5)
    round_the_corner = np.abs(np.abs(sizes - halves[:, ::-1]) - (LARGEST - SMALLEST)) < 1e-5
    np.testing.assert_allclose(np.where(round_the_corner, 0, sizes - halves[:, ::-1]), 0, atol=1e-5)


def test_one_frame_says_nothing_about_the_movement(films):
    """Every frame of every movement has the uniform distribution of place and size: Kolmogorov's distance says so."""
    u, centres, halves = films[2]
    sizes = (halves - SMALLEST) / (LARGEST - SMALLEST)
    for move in range(8):
        mine = (u[:, 5] * 8).astype(int) == move
        for t in (0, FRAMES - 1):
            for values in (centres[mine, t, 0], centres[mine, t, 1], sizes[mine, t]):
                ordered = np.sort(values)
                distance = np.abs(ordered - (np.arange(len(ordered)) + 0.5) / len(ordered)).max()
                assert distance < 2.1 / np.sqrt(len(ordered))  # exceeded once in 3,000


def test_an_event_is_what_the_pixels_show(films):
    for film, y in zip(films[1].x, films[1].y):
        places, areas, tints = where(film)
        steps, last, before = moved(places), None, None
        for t, said in enumerate(tasks.EVENTS[i] for i in y):
            now, earlier = areas[t] > 3, t > 0 and areas[t - 1] > 3
            if not now:
                expected, before = ("leaves" if earlier else "away"), None
            elif not earlier:
                expected, before = ("comes back" if last == tints[t] else "comes"), None
            else:
                way = tuple(np.round(steps[t - 1] / STEP).astype(int))
                expected = "rests" if way == (0, 0) else "turns" if before not in (None, way) else "moves"
                before = None if expected == "rests" else way
            last = tints[t] if now else last
            assert said == expected, (t, said, expected)


def test_the_yardstick_of_events_is_the_entropy_of_a_label_where_one_sees_whether_a_shape_is_there(films):
    shares = np.bincount(films[3].ravel(), minlength=len(tasks.EVENTS)) / films[3].size
    away = np.array([name in ("away", "leaves") for name in tasks.EVENTS])
    counted = -sum((p * np.log(p / p.sum())).sum() for p in (shares[away], shares[~away]))
    assert abs(counted - tasks.shape_events(FRAMES).baseline) < 0.01


def test_a_film_of_one_frame_is_refused():
    for task in (tasks.moving_shapes, tasks.shape_events):
        with pytest.raises(ValueError, match="frames is an integer from 2, got 1"):
            task(1)
