"""Networks whose outputs come back, and networks deep in other ways, beside what their papers write, in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, close, draw, moved

from rnnjax import (
    clockwork,
    deep_transition,
    elman,
    feedback,
    gru,
    jordan,
    linear,
    pointwise,
    run,
    stack,
    truncate,
    unroll,
)
from rnnjax.cells import teacher_forced

STEPS, FEATURES, HIDDEN, OUTPUTS = 9, 3, 4, 2


def given(cell):
    xs = draw((STEPS, FEATURES))
    return np.asarray(xs), jax.tree.map(np.asarray, moved(cell.init(jax.random.key(0), xs[0]), 0.2))


def test_a_jordan_network_by_hand():
    cell = jordan(HIDDEN, OUTPUTS, decay=0.4)
    xs, params = given(cell)
    (w, _, v), context, want = params, np.zeros(OUTPUTS), []
    for x in xs:
        want.append(np.tanh(np.concatenate([x, context]) @ w["w"] + w["b"]) @ v["w"] + v["b"])
        context = 0.4 * context + want[-1]
    (_, last), got = run(unroll(cell), params, xs)
    np.testing.assert_allclose(got, np.stack(want), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, context, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_network_that_is_told_what_it_would_have_said_says_it(recurrent):
    inner = stack(gru(HIDDEN) if recurrent else linear(HIDDEN), pointwise(jnp.tanh), linear(OUTPUTS))
    free, y0 = feedback(inner, np.ones(OUTPUTS), decay=0.3), np.ones(OUTPUTS)
    xs, params = given(free)
    said = run(unroll(free), params, xs)[1]
    close(run(unroll(inner), params, teacher_forced(jnp.asarray(xs), said, y0, 0.3))[1], said)


def test_without_hidden_recurrence_a_window_that_is_told_has_no_loop():
    def program(inner):
        xs = jnp.ones((STEPS, FEATURES + OUTPUTS))
        return jax.jit(lambda p: run(unroll(inner), p, xs)[1]).lower(inner.init(KEY, xs[0])).as_text()

    assert "while" not in program(stack(linear(HIDDEN), pointwise(jnp.tanh), linear(OUTPUTS)))
    assert "while" in program(stack(gru(HIDDEN), linear(OUTPUTS)))


def test_a_sample_comes_back_as_a_unit_vector_drawn_anew_with_each_key():
    cell = feedback(stack(linear(HIDDEN), linear(OUTPUTS)), np.zeros(OUTPUTS), "sample")
    xs, params = given(cell)
    drawn = jax.vmap(lambda key: run(unroll(cell), params, xs, key=key)[0][1])(jax.random.split(KEY, 200))
    assert set(np.unique(drawn)) == {0.0, 1.0} and (drawn.sum(-1) == 1).all()
    share = jax.nn.softmax(
        jax.vmap(lambda key: run(unroll(cell), params, xs, key=key)[1][-1])(jax.random.split(KEY, 200))
    )
    np.testing.assert_allclose(drawn.mean(0), share.mean(0), atol=4 * 0.5 / 200**0.5)
    with pytest.raises(ValueError, match="needs a key"):
        run(unroll(cell), params, xs)


@pytest.mark.parametrize("skip", [False, True])
def test_a_deep_transition_by_hand(skip):
    cell = deep_transition(HIDDEN, 3, skip)
    xs, params = given(cell)
    (w, p), h, want = params, np.zeros(HIDDEN), []
    for x in xs:
        a = x @ w["w"] + w["b"] + h @ p["u"]
        s = np.tanh(np.tanh(a) @ p["deep"][0] + p["b"][0])
        h = np.tanh(s @ p["deep"][1] + p["b"][1] + (a if skip else 0))
        want.append(h)
    np.testing.assert_allclose(run(unroll(cell), params, xs)[1], np.stack(want), rtol=1e-5, atol=1e-6)


def test_a_clockwork_network_by_hand():
    cell = clockwork(HIDDEN, (1, 3))
    xs, params = given(cell)
    (w, p), h, want = params, np.zeros(HIDDEN), []
    for t, x in enumerate(xs):
        z, old = x @ w["w"] + w["b"], h.copy()
        h[:2] = np.tanh(z[:2] + old @ p["u"][:, :2])  # the fast group hears all
        if t % 3 == 0:
            h[2:] = np.tanh(z[2:] + old[2:] @ p["u"][2:, 2:])  # the slow one itself alone
        want.append(h.copy())
    np.testing.assert_allclose(run(unroll(cell), params, xs)[1], np.stack(want), rtol=1e-5, atol=1e-6)


def test_an_elman_network_that_looks_back_one_step_learns_as_a_feed_forward_net_with_its_context_as_input():
    cell = elman(HIDDEN)
    xs, params = given(cell)
    contexts = np.concatenate([np.zeros((1, HIDDEN)), run(unroll(cell), params, xs)[1][:-1]]).astype(np.float32)

    def feed_forward(params):
        (w, u) = params
        return (jax.nn.sigmoid(xs @ w["w"] + jnp.broadcast_to(w["b"], (STEPS, HIDDEN)) + contexts @ u["u"]) ** 2).sum()

    got = jax.grad(lambda p: (run(unroll(truncate(cell)), p, xs)[1] ** 2).sum())(params)
    close(got, jax.grad(feed_forward)(params))
