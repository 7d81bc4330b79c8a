"""Law: a memory policy or a rule of credit leaves values alone, plain and Seq, with noise and without."""

import jax
import pytest
from helpers import KEY, close, gappy, inputs, rows, setup
from table import BODIES, RULES

from rnnjax import chunk, run, unroll


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@rows(BODIES)
def test_a_rule_leaves_values_alone(row, rule):
    xs = inputs(row)
    plain, params, carry = setup(row, xs)
    ruled = rule.wrap(row.make())
    for x in (xs, gappy(xs)):
        for key in (None, KEY) if row.noisy else (None,):
            got, want = (run(cell, params, x, carry, key) for cell in (ruled, plain))
            close(got, want)
    close(ruled.initial_carry(ruled.weights(params), xs), plain.initial_carry(plain.weights(params), xs))


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
