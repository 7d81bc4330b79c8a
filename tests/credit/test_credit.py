"""Law: an exact rule is backpropagation at windows shorter than the sequence; truncation is a loop that forgets."""

import functools

import jax
import jax.numpy as jnp
import pytest
from _helpers import KEY, apart, close, floats, gappy, inputs, loss, rows, setup, total
from _rows import T
from _table import BODIES, RULES, TWO
from jax import lax

from rnnjax import Seq, chunk, learn_carry, run, truncate, unroll, vanilla


def gradient(cell, params, carry, xs, key):
    """Of the loss of a ragged window in params, first carry, and inputs where they are floats; or in params alone."""
    marks = gappy(xs)[1:]

    def value(params, carry, x):
        end, ys = run(cell, params, Seq(x, *marks), carry, key)
        return loss((end, ys.x)) if carry is not None else loss(ys.x)

    which = (0,) if carry is None else (0, 1, 2) if floats(xs) else (0, 1)
    return jax.jit(jax.grad(value, which))(params, carry, xs)


@functools.cache
def backpropagation(row, own_carry, keyed):
    """A row's example, without a carry where a rule has one of its own, and its gradient."""
    xs = inputs(row)
    cell, params, carry = setup(row, xs)
    example = params, None if own_carry else carry, xs, KEY if row.noisy or keyed else None
    return example, gradient(cell, *example)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@rows(BODIES, fast=TWO)
def test_an_exact_rule_is_backpropagation_and_any_other_is_not(row, rule):
    example, want = backpropagation(row, rule.own_carry, rule.keyed)
    (close if rule.exact else apart)(gradient(rule.wrap(row.make()), *example), want)


@functools.cache
def windowed(row, rule):
    """Value and gradient in the params of a window under a rule: k, "step" for truncation at every step, or None."""
    xs, keys = inputs(row), jax.random.split(KEY, T) if row.noisy else None
    whole, params, _ = setup(row, xs)
    rules = {None: lambda: whole, "step": lambda: unroll(truncate(row.make()))}
    cell = rules.get(rule, lambda: chunk(truncate(whole), rule))()

    def value(params):
        weights = cell.weights(params)
        return loss(cell.step(weights, cell.initial_carry(weights, xs), xs, keys))

    return jax.jit(jax.value_and_grad(value))(params)


def looped(row, k):
    """The same for a plain loop that stops the gradient of the carry every k steps."""
    xs, keys = inputs(row), jax.random.split(KEY, T) if row.noisy else None
    cell, params = row.make(), setup(row, xs)[1]

    def value(params):
        weights, ys = cell.weights(params), []
        carry = cell.initial_carry(weights, xs[0])
        for t in range(T):
            carry = lax.stop_gradient(carry) if t % k == 0 else carry
            carry, y = cell.step(weights, carry, xs[t], None if keys is None else keys[t])
            ys.append(y)
        return loss((carry, jnp.stack(ys)))

    with jax.disable_jit():
        return jax.value_and_grad(value)(params)


@pytest.mark.parametrize("rule, k", [(5, 5), (1, 1), ("step", 1)])
@rows(BODIES, fast=TWO)
def test_truncation_is_a_loop_with_stop_gradient(row, rule, k):
    got, want = windowed(row, rule), windowed(row, None)
    close(got, looped(row, k))
    close(got[0], want[0])
    apart(got[1], want[1])


def test_under_truncation_a_learned_carry_learns_where_a_seq_starts_anew():
    cell = chunk(truncate(unroll(learn_carry(vanilla(4)))), 5)
    xs = jnp.ones((T, 3))
    params = cell.init(KEY, xs)

    def slope(first):
        seq = Seq(xs, first=jnp.arange(T) == first)
        return jax.grad(lambda p: total(cell, p, None, seq))(params)["carry"][1]

    assert not slope(T).any()
    assert abs(slope(7)).min() > 1e-3
