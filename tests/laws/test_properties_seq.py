"""Properties of Seq on random marks, for every cell: a gap changes nothing, a restart forgets what was before.

One program a row: all examples have the same shape, and what is compared runs through it.
"""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from _helpers import close, inputs, moved, outputs, rows, window
from _table import KINDS, ROWS
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnjax import Seq, run

STEPS = 6
MARKS = st.lists(st.booleans(), min_size=STEPS, max_size=STEPS).map(np.array)


@cache
def program(row):
    """The window of a row, its inputs and a carry away from where it starts."""
    xs, cell = inputs(row, (STEPS,)), window(row)
    params = moved(cell.init(jax.random.key(0), xs), 0.2)
    carry = moved(cell.initial_carry(cell.weights(params), xs)) if row.causal else None

    @jax.jit
    def over(x, valid, first):
        carry_now, ys = run(cell, params, Seq(x, valid, first), carry)
        return carry_now, outputs(ys)

    return over, np.asarray(xs)


def poisoned(xs, valid, poison):
    """Inputs whose steps that are not valid hold what must never be read."""
    bad = np.full_like(xs, poison if np.issubdtype(xs.dtype, np.floating) else 999)
    return jnp.asarray(np.where(np.reshape(valid, (-1,) + (1,) * (xs.ndim - 1)), xs, bad))


def without_gaps(xs, valid, first):
    """The same steps from the beginning of the window; one begins a document if a mark came since the one before it."""
    order = np.argsort(~valid, kind="stable")
    marks = np.zeros(STEPS, bool)
    seen, place = False, 0
    for is_valid, is_first in zip(valid, first):
        seen |= is_first
        if is_valid:
            marks[place], seen, place = seen, False, place + 1
    if seen and place < STEPS:
        marks[place] = True  # a mark after the last step: the carry starts anew
    return xs[order], np.arange(STEPS) < place, marks


@rows(ROWS, fast=KINDS)
@settings(max_examples=8)
@given(MARKS, MARKS, st.sampled_from([np.nan, np.inf, 1e30]))
def test_a_window_with_gaps_is_the_window_without_them(row, valid, first, poison):
    over, xs = program(row)
    carry, ys = over(poisoned(xs, valid, poison), valid, first)
    closed, kept, marks = without_gaps(xs, valid, first)
    expected_carry, expected = over(poisoned(closed, kept, 0.0), kept, marks)
    if row.each:
        close(ys[valid], expected[: valid.sum()])
        assert not np.asarray(ys)[~valid].any()
    elif valid.any():
        close(ys, expected)
    if row.causal:
        close(carry, expected_carry)


@rows([row for row in ROWS if row.causal and row.each], fast=KINDS)
@settings(max_examples=8)
@given(MARKS, st.integers(0, STEPS - 1))
def test_what_was_before_a_restart_has_no_part_in_what_follows(row, valid, at):
    over, xs = program(row)
    first = np.arange(STEPS) == at
    other = np.where(np.reshape(np.arange(STEPS) < at, (-1,) + (1,) * (xs.ndim - 1)), xs[::-1], xs)
    carry, ys = over(poisoned(xs, valid, np.nan), valid, first)
    changed, zs = over(poisoned(other, valid | (np.arange(STEPS) < at), np.nan), valid | (np.arange(STEPS) < at), first)
    close((carry, ys[at:]), (changed, zs[at:]))
