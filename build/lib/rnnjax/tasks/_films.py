"""Short random films of a shape, to classify its movement in each film or its events in each frame."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import check_size
from rnnjax.data import Batch
from rnnjax.tasks._shapes import COLOURS, SHAPES, SIDE, index_from_uniform, paint
from rnnjax.tasks._synthetic import Task

MOVES = ("left", "right", "up", "down", "clockwise", "anticlockwise", "grows", "shrinks")  # pairs of opposites
EVENTS = ("away", "comes", "comes back", "moves", "turns", "rests", "leaves")
_WAYS = ((-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0), (0.0, 0.0))  # the last one is rest
SMALLEST, LARGEST = 0.07, 0.25  # half the width of a shape, in sides of the frame
_RADIUS = 0.2  # of a circular path
SLOWEST, FASTEST = 0.05, 0.07  # per frame: in sides, in changes of size, or in half turns
STEP = 0.1  # sides per frame, for a movement in `shape_events`
_COMES, _LEAVES, _CHANGES, _BACK = (
    0.4,
    0.2,
    0.4,
    0.5,
)  # probabilities per frame; the last one is that a shape that comes is the one that left

_Arrays = tuple[jax.Array, ...]


def _film(key: jax.Array, kind: jax.Array, half: jax.Array, centre: jax.Array, there: jax.Array) -> jax.Array:
    """Draws frames `[frames, SIDE, SIDE, 3]` of one shape, where present; kind `[frames, 2]` is its colour and form."""
    background = 0.15 + 0.1 * jax.random.uniform(key, (len(kind), SIDE, SIDE, 3))
    tint = jnp.asarray(np.array(list(COLOURS.values()), np.float32))[kind[:, 0]]
    return jax.vmap(paint)(background, kind[:, 1], tint, half, centre, there)


def _colour_and_form(u: jax.Array) -> jax.Array:
    """Returns a colour and a form from two numbers in [0, 1)."""
    return jnp.stack([index_from_uniform(u[0], len(COLOURS)), index_from_uniform(u[1], len(SHAPES))])


def path(move: jax.Array, u: jax.Array, frames: int) -> tuple[jax.Array, jax.Array]:
    """Returns the position of a shape in each frame `[frames, 2]` and half its width `[frames]`.

    A frame is a torus: a shape that leaves on one side returns on the opposite one, and a shape that has grown to the
    largest size restarts at the smallest. A single frame therefore shows any size at any position, whatever the
    movement.

    Args:
      move: an index into `MOVES`.
      u: five numbers in [0, 1): x, y, angle on the circle, size, speed.
      frames: the number of frames.
    """
    t, pace = jnp.arange(frames, dtype=u.dtype), SLOWEST + (FASTEST - SLOWEST) * u[4]
    turns, grows = (jnp.where(move // 2 == pair, 1 - 2 * (move % 2), 0).astype(u.dtype) for pair in (2, 3))
    angle = 2 * math.pi * (u[2] + 2 * turns * pace * t)
    circle = _RADIUS * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)
    way = jnp.asarray(np.array(_WAYS, np.float32), u.dtype)[jnp.minimum(move, len(_WAYS) - 1)]
    centre = u[None, :2] + pace * t[:, None] * way[None] + circle * jnp.abs(turns)
    return centre % 1, SMALLEST + (LARGEST - SMALLEST) * ((u[3] + grows * pace * t) % 1)


def moving_shapes(frames: int = 6) -> Task:
    """Returns a task to classify how a shape changes: it moves left, right, up, down or in a circle, grows or shrinks.

    One frame contains no information about the label: the best guess is correct in 1 of 8 cases. All frames without
    their order narrow the label to two: each movement is another one in reverse, so at most 1 of 2 is correct.

    Args:
      frames: the number of frames per film, at least 2.

    Raises:
      ValueError: fewer than 2 frames.

    Returns:
      A task: x `[frames, 24, 24, 3]` in [0, 1], y an integer index into `MOVES`. The baseline, the loss of the best
      predictor that sees one frame, is ln 8.

    Example:
      >>> import jax
      >>> film = jax.jit(moving_shapes(3).sample)(jax.random.key(1))
      >>> film.x.shape, MOVES[film.y]
      ((3, 24, 24, 3), 'anticlockwise')
    """
    check_size("moving_shapes: frames", frames, 2)

    def sample(key: jax.Array) -> Batch:
        ku, kf = jax.random.split(key)
        u = jax.random.uniform(ku, (8,))
        move = index_from_uniform(u[0], len(MOVES))
        centre, half = path(move, u[3:], frames)
        kind = jnp.tile(_colour_and_form(u[1:3]), (frames, 1))
        return Batch(_film(kf, kind, half, centre, jnp.ones(frames, bool)), move)

    return Task(sample, math.log(len(MOVES)))


def shape_events(frames: int = 16) -> Task:
    """Returns a task to label each frame of a film in which shapes come, move, turn, rest and leave.

    What each label requires: one previous frame tells "leaves" (the first frame without the shape) from "away", and
    "moves" from "rests". "turns" requires two. "comes back" (the colour that left last) and "comes" (another one)
    require memory across the whole gap.

    Args:
      frames: the number of frames per film, at least 2.

    Raises:
      ValueError: fewer than 2 frames.

    Returns:
      A task: x `[frames, 24, 24, 3]` in [0, 1], y integers `[frames]`, indices into `EVENTS`. The baseline is the loss
      of the best predictor that sees one frame, that is, whether a shape is present.

    Example:
      >>> import jax
      >>> film = jax.jit(shape_events(8).sample)(jax.random.key(8))
      >>> film.x.shape, " ".join(EVENTS[y] for y in film.y)
      ((8, 24, 24, 3), 'away comes rests moves moves leaves comes back moves')
    """
    check_size("shape_events: frames", frames, 2)
    away, comes, back, moves, turns, rests, leaves = range(len(EVENTS))
    rest = len(_WAYS) - 1

    def next_frame(carry: _Arrays, u: jax.Array) -> tuple[_Arrays, _Arrays]:
        there, kind, way, centre = carry
        known = kind[0] >= 0
        arrives, departs = ~there & (u[0] < _COMES), there & (u[0] < _LEAVES)
        same = known & (u[1] < _BACK)
        colours = len(COLOURS)
        other = _colour_and_form(u[2:4])
        other = other.at[0].set(
            jnp.where(known, (kind[0] + 1 + index_from_uniform(u[2], colours - 1)) % colours, other[0])
        )
        kind = jnp.where(arrives & ~same, other, kind)
        new = jnp.where(u[4] < _CHANGES, index_from_uniform(u[5], len(_WAYS)), way)
        new = jnp.where(there, new, rest)
        turned = (way != rest) & (new != way)
        moved = jnp.where(new == rest, rests, jnp.where(turned, turns, moves))
        y = jnp.where(there, jnp.where(departs, leaves, moved), jnp.where(arrives, jnp.where(same, back, comes), away))
        stepped = centre + STEP * jnp.asarray(np.array(_WAYS, np.float32))[new]
        centre = jnp.where(arrives, u[6:8], stepped) % 1
        there = arrives | there & ~departs
        return (there, kind, jnp.where(there, new, rest), centre), (y, there, kind, centre)

    def sample(key: jax.Array) -> Batch:
        ku, kf = jax.random.split(key)
        u = jax.random.uniform(ku, (frames, 9))
        nothing: _Arrays = (jnp.array(False), jnp.full(2, -1), jnp.int32(rest), jnp.zeros(2))
        _, (y, there, kind, centre) = jax.lax.scan(next_frame, nothing, u)
        half = jnp.tile(0.12 + 0.06 * u[0, 8], frames)
        return Batch(_film(kf, kind, half, centre, there), y)

    return Task(sample, _entropy_of_a_frame(frames))


def _entropy_of_a_frame(frames: int) -> float:
    """Returns the entropy in nats of a label of `shape_events` given whether a shape is present."""
    away, comes, back, moves, turns, rests, leaves = range(len(EVENTS))
    unknown, gone, resting, going = 1.0, 0.0, 0.0, 0.0  # probabilities before a frame
    counts = np.zeros(len(EVENTS))
    for _ in range(frames):
        new, out = _COMES * (unknown + gone), _LEAVES * (resting + going)
        ways = len(_WAYS)
        stays = (1 - _LEAVES) * np.array([resting, going])
        to_rest = _CHANGES / ways * stays
        turned = _CHANGES * (ways - 2) / ways * stays[1]
        rested = to_rest.sum() + (1 - _CHANGES) * stays[0]
        counts[[comes, back]] += _COMES * np.array([unknown + (1 - _BACK) * gone, _BACK * gone])
        counts[[away, leaves]] += (1 - _COMES) * (unknown + gone), out
        counts[[turns, rests]] += turned, rested
        counts[moves] += stays.sum() - turned - rested
        unknown, gone = (1 - _COMES) * unknown, (1 - _COMES) * gone + out
        resting, going = new + rested, stays.sum() - rested
    p = counts / counts.sum()
    nats = 0.0
    for part in (p[[away, leaves]], p[[comes, back, moves, turns, rests]]):
        nats -= float((part * np.log(part / part.sum())).sum())
    return nats
