"""Law: the window is the step, one after another: in value and gradient, with noise and without, plain and Seq."""

import functools

import jax
import jax.numpy as jnp
from _helpers import KEY, build, close, floats, gappy, inputs, rows, setup, total
from _rows import T
from _table import KINDS, ROWS, STEPS

from rnnjax import Seq, run, unroll, with_resets


@functools.cache
def bound(row):
    """A row's weights, bound once as noise in the weights needs, a carry, and its jitted window."""
    cell, params, carry = setup(row, inputs(row))
    weights = cell.weights(params, KEY)
    return weights, carry, jax.jit(lambda h, xs, keys: cell.step(weights, h, xs, keys))


def noises(row):
    """No keys, and, for a row that uses them, a key for each step."""
    return (None, jax.random.split(KEY, T)) if row.noisy else (None,)


def at(tree, t):
    """A tree at a time, or at a slice of times."""
    return jax.tree.map(lambda a: a[t], tree)


@rows(STEPS, fast=KINDS)
def test_a_window_is_a_loop_of_steps(row):
    xs, cell = inputs(row), build(row)
    weights, start, window = bound(row)
    for keys in noises(row):
        carry, ys = start, []
        with jax.disable_jit():
            for t in range(T):
                carry, y = cell.step(weights, carry, xs[t], at(keys, t))
                ys.append(y)
        close(window(start, xs, keys), (carry, jnp.stack(ys)))


@rows(STEPS, fast=KINDS)
def test_a_ragged_window_is_a_loop_of_segmented_steps(row):
    xs, keys, cell = gappy(inputs(row)), noises(row)[-1], with_resets(build(row))
    weights, start, window = bound(row)
    anew = cell.initial_carry(weights, at(xs, 0))
    carry, ys = start, []
    for t in range(T):
        before = anew if xs.first[t] else carry
        with jax.disable_jit():
            carry, y = cell.step(weights, carry, at(xs, t), at(keys, t))
        ys.append(y.x)
        if not xs.valid[t]:
            close(carry, before, rtol=0, atol=0)
            assert not y.x.any()
    last, got = window(start, xs, keys)
    close((last, got.x), (carry, jnp.stack(ys)))
    assert got.valid is not None and got.first is not None


@rows([r for r in ROWS if r.causal])
def test_a_window_cut_in_two_is_one_window(row):
    _, start, window = bound(row)
    xs, keys = inputs(row), noises(row)[-1]
    carry, ys = window(start, xs, keys)
    middle, head = window(start, *at((xs, keys), slice(T // 2)))
    end, tail = window(middle, *at((xs, keys), slice(T // 2, T)))
    close((end, jnp.concatenate([head, tail]) if row.each else tail), (carry, ys))


@rows([r for r in STEPS if r.make().window], fast=KINDS)
def test_the_window_of_a_cell_is_the_scan_of_its_step(row):
    """On Seq; plain, the window is a loop of steps by the law above, and test_gradients.py has its gradient."""
    xs, key = inputs(row), KEY if row.noisy else None
    _, params, carry = setup(row, xs)
    marks = gappy(xs)[1:]

    def gradient(cell):
        def value(params, carry, x):
            return total(unroll(cell), params, carry, Seq(x, *marks), key)

        return jax.value_and_grad(value, (0, 1, 2) if floats(xs) else (0, 1))

    got, want = (jax.jit(gradient(cell))(params, carry, xs) for cell in (build(row), build(row).replace(window=None)))
    close(got, want)


def test_a_given_carry_is_where_a_window_starts():
    row = next(r for r in STEPS if r.name == "lstm")
    xs = inputs(row)
    cell, params, carry = setup(row, xs)
    weights = cell.weights(params)
    close(run(cell, params, xs), cell.step(weights, cell.initial_carry(weights, xs), xs))
    assert abs(run(cell, params, xs, carry)[1] - run(cell, params, xs)[1]).max() > 1e-2
