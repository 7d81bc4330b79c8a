"""Trials of stimuli on two rings: what is shown when, and where the response goes. Times are in milliseconds.

Each family turns numbers `[DRAWS]`, drawn from [0, 1), into a trial, so that one call of the random generator serves
all tasks. The variant of a family is two integers, and may be traced.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

DRAWS = 14
RESPONSE = 500  # the time of a response
_NEVER = 1e6  # the time of what does not happen in a trial
_SHORT, _LONG = (200, 400, 600), (200, 400, 800, 1600)  # of a stimulus, or before it; of a delay
_WEAK, _STRONG = (0.01, 0.02, 0.04, 0.08), (0.08, 0.16, 0.32)  # half the difference of two strengths
FIXATION, STIMULUS, DELAY = range(3)  # variants of `_reach`
FIRST_ALONE, SECOND_ALONE, FIRST, SECOND, BOTH = range(5)  # variants of `_decision`


class Trial(NamedTuple):
    """A trial; angles are from 0 to 2 pi.

    Attributes:
      on, off: `[2]`, when each stimulus appears and disappears.
      angle: `[2]`, where each stimulus is.
      strength: `[2, 2]`, of each stimulus on each ring.
      go: when the response begins.
      released: when the fixation input disappears.
      response: the angle of the response.
      moves: whether there is a response; if not, fixation is kept.
    """

    on: jax.Array
    off: jax.Array
    angle: jax.Array
    strength: jax.Array
    go: jax.Array
    released: jax.Array
    response: jax.Array
    moves: jax.Array


def _one_of(u: jax.Array, values: Sequence[float]) -> jax.Array:
    """Returns one of some values."""
    return jnp.array(values, jnp.float32)[(u * len(values)).astype(int)]


def _within(u: jax.Array, low: float, high: float) -> jax.Array:
    """Returns a number between two."""
    return low + (high - low) * u


def _sign(u: jax.Array) -> jax.Array:
    """Returns 1 or -1."""
    return jnp.where(u < 0.5, 1.0, -1.0)


def _turned(angle: jax.Array, by: jax.Array) -> jax.Array:
    """Returns an angle from 0 to 2 pi."""
    return (angle + by) % (2 * math.pi)


def _on_a_ring(u: jax.Array) -> jax.Array:
    """Returns the strengths on both rings of stimuli `[n]`, each on one of them, as `[n, 2]`."""
    return jnp.stack([u < 0.5, u >= 0.5], axis=-1).astype(jnp.float32)


def _reach(u: jax.Array, signal: jax.Array, anti: jax.Array) -> Trial:
    """One stimulus, and a response to it or away from it.

    Args:
      u: numbers `[DRAWS]`.
      signal: FIXATION: respond when the fixation input disappears, the stimulus stays; STIMULUS: respond when the
        stimulus appears; DELAY: the stimulus disappears before the fixation input does.
      anti: 1: the response goes to the opposite direction.
    """
    angle, never = 2 * math.pi * u[0], jnp.array(_NEVER)
    shown = _one_of(u[2], (300, 500, 700))
    on = jnp.stack([_within(u[2], 300, 700), _within(u[2], 500, 2500), shown])[signal]
    off = jnp.where(signal == DELAY, shown + _one_of(u[3], _SHORT), _NEVER)
    go = jnp.stack([on + _within(u[3], 500, 1500), on, off + _one_of(u[4], _LONG)])[signal]
    return Trial(
        on=jnp.stack([on, never]),
        off=jnp.stack([off, never]),
        angle=jnp.stack([angle, angle]),
        strength=_on_a_ring(u[1:3]),
        go=go,
        released=jnp.where(signal == STIMULUS, _NEVER, go),
        response=_turned(angle, jnp.where(anti == 1, math.pi, 0.0)),
        moves=jnp.array(True),
    )


def _decision(u: jax.Array, rings: jax.Array, delayed: jax.Array) -> Trial:
    """Two stimuli, and a response to the stronger one.

    Args:
      u: numbers `[DRAWS]`.
      rings: FIRST_ALONE, SECOND_ALONE: shown there; FIRST, SECOND: shown on both, only one counts; BOTH: the sum
        counts.
      delayed: 1: they are shown one after the other, with a delay between them.
    """
    angle = _two_angles(u[:2], math.pi / 2)
    strength, counts = _strengths(u[2:9], rings, delayed)
    on, off = _one_after_the_other(u[9:13])
    at = _within(u[9], 100, 400)
    go = jnp.where(delayed == 1, off[1] + _within(u[13], 100, 300), at + _one_of(u[10], (400, 800, 1600)))
    on, off = jnp.where(delayed == 1, on, at), jnp.where(delayed == 1, off, go)
    return Trial(on, off, angle, strength, go, go, angle[counts.argmax()], jnp.array(True))


def _two_angles(u: jax.Array, least: float) -> jax.Array:
    """Returns two directions, `[2]`, at least some angle apart."""
    first = 2 * math.pi * u[0]
    return jnp.stack([first, _turned(first, _within(u[1], least, 2 * math.pi - least))])


def _one_after_the_other(u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns when two stimuli appear and disappear, with a delay between them."""
    on = _one_of(u[0], _SHORT)
    off = on + _one_of(u[1], _SHORT)
    again = off + _one_of(u[2], _LONG)
    return jnp.stack([on, again]), jnp.stack([off, again + _one_of(u[3], _SHORT)])


def _pair(u: jax.Array, delayed: jax.Array) -> jax.Array:
    """Returns the strengths of two stimuli, `[2]`: mean + c and mean - c."""
    c = jnp.where(delayed == 1, _one_of(u[1], _STRONG), _one_of(u[1], _WEAK)) * _sign(u[2])
    return _within(u[0], 0.8, 1.2) + jnp.stack([c, -c])


def _strengths(u: jax.Array, rings: jax.Array, delayed: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the strengths of two stimuli on two rings, `[2, 2]`, and those that count, `[2]`."""
    counts, others, none = _pair(u[:3], delayed), _pair(u[3:6], delayed), jnp.zeros(2)
    apart = counts * _within(u[3:5], 0.2, 0.8) * _sign(u[5:7])
    first = jnp.stack([counts, none, counts, others, counts + apart / 2])[rings]
    second = jnp.stack([none, counts, others, counts, counts - apart / 2])[rings]
    return jnp.stack([first, second], axis=1), counts


def _match(u: jax.Array, category: jax.Array, wanted: jax.Array) -> Trial:
    """Two stimuli one after the other, and a response to the second if they match, or if they do not.

    Args:
      u: numbers `[DRAWS]`.
      category: 1: those on the same half of the ring match; 0: those in the same direction.
      wanted: 1: a match is the reason to respond; 0: a difference is.
    """
    (on, off), tenths = _one_after_the_other(u[9:13]), (u[:2] * 10).astype(int)
    apart, same = _two_angles(u[:2], math.pi / 9), u[2] < 0.5
    angle = jnp.where(
        category == 1, (tenths.astype(jnp.float32) + 0.5) * (math.pi / 5), jnp.where(same, apart[0], apart)
    )
    matches = jnp.where(category == 1, tenths[0] // 5 == tenths[1] // 5, same)
    moves, never = matches == (wanted == 1), jnp.array(_NEVER)
    return Trial(on, off.at[1].set(_NEVER), angle, _on_a_ring(u[3:5]), on[1], never, angle[1], moves)


_FAMILIES = (_reach, _decision, _match)


def trial(u: jax.Array, family: jax.Array, variant: jax.Array, sub: jax.Array) -> Trial:
    """Returns a trial of a family of `_FAMILIES`, given by its number, in one of its variants."""
    kinds = [make(u, variant, sub) for make in _FAMILIES]
    return jax.tree.map(lambda *parts: jnp.stack([jnp.asarray(p) for p in parts])[family], *kinds)
