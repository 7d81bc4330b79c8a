"""Law: `without_fast` leaves no hand-written backward pass in any part, and then forward mode works in any order."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, close, draw, floats, inputs, loss, outputs, rows, setup, window
from _rows import D, H, T
from _table import BODIES, FEW, INFLUENCES, ROWS, RULES

import rnnjax
from rnnjax import run, unroll
from rnnjax.base import without_fast, wrapper
from rnnjax.base._unroll import as_step_cell


def program(cell, xs, key):
    """What a window computes, as text."""
    return str(jax.make_jaxpr(lambda k, xs: run(cell, cell.init(k, xs), xs, key=key))(KEY, xs))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_part_of_a_cell_keeps_a_fast_window(row):
    assert "custom_vjp" not in program(without_fast(window(row)), inputs(row), KEY if row.noisy else None)


@pytest.mark.parametrize("rule", [*RULES, *INFLUENCES], ids=lambda rule: rule.name)
def test_no_rule_keeps_a_fast_window(rule):
    for row in BODIES:
        if row.name not in rule.refuses:
            assert "custom_vjp" not in program(without_fast(rule.wrap(row.make())), inputs(row), KEY)


def test_a_fast_window_is_seen():
    row = next(r for r in ROWS if r.name == "lstm")
    assert "custom_vjp" in program(window(row), inputs(row), None)


@rows([r for r in ROWS if floats(inputs(r))], fast=FEW[:2])
@pytest.mark.parametrize("forward_first", [True, False], ids=["forward-first", "forward-last"])
def test_forward_mode_in_whatever_order_functions_are_traced(row, forward_first, x64):
    xs = inputs(row, dtype=jnp.float64)
    cell, params, _ = setup(row, xs, jnp.float64)
    key = KEY if row.noisy else None
    v = jax.tree.map(lambda a: draw(a.shape, a.dtype, 3), (params, xs))

    def value(cell):
        return jax.jit(lambda p, xs: loss(outputs(run(cell, p, xs, key=key)[1])))

    fast, slow = value(cell), value(without_fast(cell))

    def backward():
        slopes = jax.grad(fast, (0, 1))(params, xs), jax.grad(slow, (0, 1))(params, xs)
        return [sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(s), jax.tree.leaves(v))) for s in slopes]

    def forward():
        def along(f):
            return lambda t: f(*jax.tree.map(lambda a, b: a + t * b, (params, xs), v))

        zero = jnp.zeros((), jnp.float64)
        return [
            jax.jvp(slow, (params, xs), v)[1],
            jax.jit(lambda: jax.jvp(slow, (params, xs), v)[1])(),
            jax.linearize(slow, params, xs)[1](*v),
            jax.jit(lambda: jax.linearize(slow, params, xs)[1](*v))(),
            jax.jacfwd(along(slow))(zero),
            jax.jit(jax.jacfwd(along(slow)))(zero),
        ]

    slopes = forward() if forward_first else backward()
    slopes = [*slopes, *(backward() if forward_first else forward())]
    rtol = 1e-4 if row.name.startswith("newton") else 1e-9  # its window is found to 1e-6, here of states of order one
    for slope in slopes[1:]:
        close(slope, slopes[0], rtol=rtol, atol=rtol / 100)


def test_a_function_traced_before_has_a_forward_mode():
    cell, xs = without_fast(unroll(rnnjax.lstm(H))), draw((T, D))
    params = cell.init(KEY, xs)
    f = jax.jit(lambda p: run(cell, p, xs)[1].sum())
    jax.grad(f)(params)  # traced here
    slope = jax.jvp(f, (params,), (params,))[1]
    close(slope, jax.jit(lambda p: jax.jvp(f, (p,), (p,))[1])(params))


@wrapper
def doubled(cell):
    """A user's wrapper of windows, which keeps the cell in a closure."""

    def step(w, carry, xs, key=None):
        carry, ys = cell.step(w, carry, xs, key)
        return carry, 2 * ys

    return rnnjax.with_step(cell, step)


def test_a_wrapper_of_users_is_made_again_and_keeps_what_was_changed_after():
    xs = draw((T, D))
    cell = doubled(unroll(rnnjax.gru(H))).replace(weights=lambda p, key=None: jax.tree.map(lambda a: a / 2, p))
    params = cell.init(KEY, xs)
    np.testing.assert_allclose(run(without_fast(cell), params, xs)[1], run(cell, params, xs)[1], rtol=1e-5)
    assert jax.jvp(lambda p: run(without_fast(cell), p, xs)[1], (params,), (params,))[1].shape == (T, H)


def test_a_window_of_one_step_is_the_step_without_a_loop():
    cell, x = as_step_cell(unroll(rnnjax.stack(rnnjax.lstm(H), rnnjax.linear(2)))), draw((D,))
    assert "scan" not in program(cell, x, None)


def test_an_encoder_decoder_is_made_again_with_its_decoder():
    def make(memory):
        return rnnjax.luong(rnnjax.lstm(H), rnnjax.seq2seq.dot(), memory, width=D)

    net = rnnjax.encoder_decoder(unroll(rnnjax.lstm(H)), make, rnnjax.seq2seq.dot())
    x = rnnjax.SourceTarget(draw((T, D)), draw((5, D), seed=1))
    params = net.init(KEY, x)
    slow = without_fast(net)
    np.testing.assert_allclose(run(slow, params, x)[1], run(net, params, x)[1], rtol=1e-4, atol=1e-6)
    assert "custom_vjp" not in program(slow, x, None) and "custom_vjp" in program(net, x, None)
    assert isinstance(slow, rnnjax.seq2seq.EncoderDecoder)
