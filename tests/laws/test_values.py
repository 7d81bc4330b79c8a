"""Law: a memory policy or a rule of credit leaves values alone, plain and Seq, with noise and without."""

import functools

import jax
import pytest
from _helpers import KEY, close, gappy, inputs, rows, setup
from _table import BODIES, FEW, RULES

from rnnjax import chunk, run, unroll


@functools.cache
def values(row, carried):
    """A row's params and carry, its inputs plain without noise and ragged with a key, and what comes of them."""
    xs = inputs(row)
    cell, params, carry = setup(row, xs)
    carry = carry if carried else None
    cases = ((xs, None), (gappy(xs), KEY))
    return params, carry, [(x, key, run(cell, params, x, carry, key)) for x, key in cases]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@rows(BODIES, fast=FEW)
def test_a_rule_leaves_values_alone(row, rule):
    params, carry, cases = values(row, not rule.own_carry)
    cell, plain = rule.wrap(row.make()), unroll(row.make())
    for x, key, want in cases[1:] if rule.keyed else cases:
        got = run(cell, params, x, carry, key)
        close(*((got[1], want[1]) if rule.own_carry else (got, want)))
    if not rule.own_carry:
        close(cell.initial_carry(cell.weights(params), x), plain.initial_carry(plain.weights(params), x))


@rows(BODIES)
def test_a_rule_initialises_as_the_cell_does(row):
    xs = inputs(row)
    want = unroll(row.make()).init(KEY, xs)
    for rule in RULES:
        close(rule.wrap(row.make()).init(KEY, xs), want, rtol=0, atol=0)


@pytest.mark.parametrize("length", [1, 7, 12, 100])
def test_a_chunk_of_any_length_leaves_values_alone(length):
    row = next(r for r in BODIES if r.name == "stack-named")
    xs = inputs(row)
    plain, params, carry = setup(row, xs)
    got = jax.jit(lambda xs: run(chunk(plain, length), params, xs, carry, KEY))(xs)
    close(got, run(plain, params, xs, carry, KEY))
