"""Law: SnAp kept as lists of places is RTRL with a mask in full, for dense and sparse cells; and it is as small."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, apart, close, draw, loss, moved
from jax.flatten_util import ravel_pytree

import rnnjax
from rnnjax import Seq, learn_carry, linear, lstm, snap, sparse, stack, unroll, vanilla, vanilla_core
from rnnjax.credit._attached import NotAdmitted, attach_influence

VALID, FIRST = (1, 1, 0, 1, 1, 1), (0, 0, 0, 0, 1, 0)
SPARSE = np.random.default_rng(0).random((6, 6)) < 0.25


def irregular():
    return stack(linear(6), learn_carry(sparse(vanilla_core(6), u=SPARSE)))


def masks(f, w, h, start, n):
    """Where I or the start, and D n - 1 times after it, are other than zero at one of twenty points."""
    rng = np.random.default_rng(1)
    at = [jnp.asarray(rng.normal(size=(20, *a.shape)), a.dtype) for a in (w, h)]
    touched = jax.jit(lambda *at: [(a != 0).any(0) for a in jax.vmap(jax.jacobian(f, (0, 1)))(*at)])
    i, d = touched(*at)
    i |= jax.jacobian(start)(w) != 0
    for _ in range(n - 1):
        i = i | (d.astype(float) @ i.astype(float) > 0)
    return i


def dense(cell, params, xs, n):
    """The gradient of the loss of a window under SnAp-n, its influence kept in full."""
    weights, pull = jax.vjp(cell.weights, params)
    w, unflat = ravel_pytree(weights)
    h0, shape = ravel_pytree(cell.initial_carry(weights, xs[0]))

    def start(w):
        return ravel_pytree(cell.initial_carry(unflat(w), xs[0]))[0]

    def step(w, h, x):
        h, y = cell.step(unflat(w), shape(h), x)
        return ravel_pytree(h)[0], y

    symbols = jnp.arange(5) if jnp.issubdtype(xs.dtype, jnp.integer) else xs[:1]
    seen = [masks(lambda w, h, x=x: step(w, h, x)[0], w, h0, start, n) for x in symbols]
    mask = jnp.stack(seen).any(0).astype(w.dtype)

    def total(w, still):
        h, j, ys = start(w), jax.jacobian(start)(still), []
        for t, (valid, first) in enumerate(zip(VALID, FIRST)):
            if first:
                h, j = start(w), jax.jacobian(start)(still)
            if not valid:
                ys.append(jnp.zeros_like(ys[-1]))
                continue
            held = jax.lax.stop_gradient(h)
            h, y = step(w, attach_influence([w], held, [j]), xs[t])
            i, d = jax.jacobian(lambda w, h, t=t: step(w, h, xs[t])[0], (0, 1))(still, held)
            j = jax.lax.stop_gradient((i + d @ j) * mask)
            ys.append(y)
        return loss(jnp.stack(ys))

    return pull(unflat(jax.jit(jax.grad(total))(w, w)))[0]


SLOW = pytest.mark.slow
SYMBOLS = jnp.array([0, 3, 1, 1, 4, 2])
CASES = {
    "sparse-2": (irregular, 2, draw((6, 2))),
    "lstm-symbols": (lambda: stack(rnnjax.one_hot(5), lstm(3)), 1, SYMBOLS),
    "sparse": pytest.param(irregular, 1, draw((6, 2)), marks=SLOW),
    "vanilla": pytest.param(lambda: vanilla(4, jax.nn.relu), 1, draw((6, 2)), marks=SLOW),
    "gru": pytest.param(lambda: rnnjax.gru(3), 1, draw((6, 2)), marks=SLOW),
    "two-layers": pytest.param(lambda: stack(vanilla(3), lstm(2)), 1, draw((6, 2)), marks=SLOW),
    "table": pytest.param(lambda: stack(rnnjax.embed(5, 8), rnnjax.lstm_core(2)), 1, SYMBOLS, marks=SLOW),
    "sparse-3": pytest.param(irregular, 3, draw((6, 2)), marks=SLOW),
    "urnn": pytest.param(lambda: rnnjax.urnn(3), 1, draw((6, 2)), marks=SLOW),
}


@pytest.mark.slow
@pytest.mark.parametrize("make, n, xs", CASES.values(), ids=CASES)
def test_what_is_kept_in_places_is_what_a_mask_keeps_in_full(make, n, xs):
    cell = make()
    params = moved(cell.init(KEY, xs[0]))
    seq = Seq(xs, jnp.array(VALID, bool), jnp.array(FIRST, bool))

    def gradient(cell):
        return jax.jit(jax.grad(lambda p: loss(rnnjax.run(unroll(cell), p, seq)[1].x)))(params)

    got = gradient(snap(cell, n))
    close(got, dense(cell, params, xs, n))
    if make is irregular and n < 3:
        apart(got, gradient(cell))


def kept(cell, x):
    """How many numbers the influence has."""
    weights = jax.eval_shape(lambda k: cell.weights(cell.init(k, x)), KEY)
    return sum(a.size for a in jax.tree.leaves(jax.eval_shape(cell.initial_carry, weights, x).influence))


def test_the_influence_is_as_small_as_its_pattern():
    x, n, d = jnp.zeros(3), 16, 3
    assert kept(snap(vanilla(n)), x) == n * (n + d + 1)
    assert kept(snap(lstm(n)), x) == 7 * n * (n + d + 1)  # three gates act on c and h, the output gate on h alone
    assert kept(rnnjax.eprop(lstm(n)), x) == 7 * n * (n + d + 1)
    ring = np.eye(n, k=1) + np.eye(n, k=1 - n)
    around = stack(linear(n, bias=False), sparse(vanilla_core(n), u=ring))
    assert [kept(snap(around, k), x) for k in (1, 2, 3)] == [k * n * (1 + d) for k in (1, 2, 3)]
    assert kept(rnnjax.rtrl(around), x) == n * n * (1 + d)
    with pytest.raises(NotAdmitted, match=r"0.000002 GB|2.05e-06 GB"):
        kept(snap(around, 8, limit=2000), x)


def test_a_number_that_is_a_tracer_does_not_hide_the_pattern():
    xs = draw((4, 3))
    params = moved(lstm(3).init(KEY, xs[0]))

    def slope(b):
        cell = unroll(snap(lstm(3, forget_bias=b)))
        return jax.grad(lambda p: loss(rnnjax.run(cell, p, xs)[1]))(params)

    many = jax.jit(jax.vmap(slope))(jnp.array([0.0, 1.0]))
    close(jax.tree.map(lambda a: a[1], many), jax.jit(lambda: slope(1.0))())
