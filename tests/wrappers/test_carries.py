"""What a carry says of itself: its own fields and memory cells are marked; the name of a field means nothing."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, draw
from _rows import H
from _table import INFLUENCES

import rnnjax
from rnnjax import Cell, condition
from rnnjax.base import memory_carry, wrapping_carry
from rnnjax.base._carries import is_wrapper_carry, memory_cells
from rnnjax.wrappers._conditioning import recurrent_leaves, with_recurrent_leaves


class Ship(NamedTuple):
    """A user's state, whose names mean something else."""

    carry: jax.Array  # of passengers
    c: jax.Array  # the speed of light
    h: jax.Array


@wrapping_carry
class Counted(NamedTuple):
    """A wrapper's carry, as a user writes it."""

    carry: rnnjax.LSTMCarry
    steps: jax.Array


@memory_carry
class Peeking(NamedTuple):
    """A carry with memory cells, as a user writes it."""

    c: jax.Array
    h: jax.Array


STATE = Ship(*(jnp.full(2, float(i)) for i in range(3)))


def test_a_state_of_its_own_is_left_alone():
    assert len(recurrent_leaves(STATE)) == 3 and not memory_cells(STATE) and not is_wrapper_carry(STATE)
    changed = with_recurrent_leaves(STATE, [a + 1 for a in STATE])
    assert type(changed) is Ship
    jax.tree.map(np.testing.assert_array_equal, changed, jax.tree.map(lambda a: a + 1, STATE))


def test_a_condition_starts_every_array_of_it():
    cell = Cell(
        lambda key, x: (),
        lambda w, x: jax.tree.map(jnp.zeros_like, STATE),
        lambda w, s, x, key=None: (s, s.h + x),
    )
    around = condition(cell, jnp.ones(3), "carry")
    start = around.initial_carry(around.weights(around.init(KEY, draw((2,)))), draw((2,)))
    assert type(start) is Ship and all(a.any() for a in start)


def test_what_a_wrapper_marks_is_its_own():
    counted = Counted(rnnjax.LSTMCarry(jnp.zeros(2), jnp.ones(2)), jnp.zeros(()))
    assert len(recurrent_leaves(counted)) == 2 and len(memory_cells((counted, Peeking(jnp.ones(1), jnp.ones(1))))) == 2


@pytest.mark.parametrize("rule", [r for r in INFLUENCES if r.name != "random"], ids=lambda rule: rule.name)
def test_every_rule_marks_its_carry(rule):
    cell, xs = rule.wrap(rnnjax.vanilla(H)), draw((3, 2))
    carry = jax.eval_shape(lambda xs: cell.initial_carry(cell.weights(cell.init(KEY, xs)), xs), xs)
    assert is_wrapper_carry(carry) and len(recurrent_leaves(carry)) == 1


@pytest.mark.parametrize("mark", [wrapping_carry, memory_carry], ids=lambda mark: mark.__name__)
def test_a_mark_needs_its_field(mark):
    with pytest.raises(ValueError, match=mark.__name__ + " marks a NamedTuple with a field"):
        mark(rnnjax.SourceTarget)
