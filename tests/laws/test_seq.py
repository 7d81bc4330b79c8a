"""Law: documents packed into one window, padded into a batch, or run one by one are the same, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
from _helpers import KEY, build, close, draw, floats, inputs, moved, outputs, rows
from _table import BODIES, FEW, KINDS, STEPS, WINDOWS

from rnnjax import Seq, bidirectional, run, stack, unroll, vanilla

BOUNDS = ((0, 5), (5, 6), (6, 11), (11, 11))  # four documents, the last without a step
PACKED = ((1, 2, 4, 5, 7), (8,), (9, 11, 12, 15, 16), ())  # where their steps stand in a window of 18
PADDED = ((0, 1, 2, 3, 4), (3,), (1, 4, 5, 6, 7), ())  # and in rows of 8: right, both sides, left and a gap, empty
STEPS_OF_ALL = BOUNDS[-1][1]


def layout(documents, slots, length):
    """Which step of all documents stands where in a window; and the marks of the window."""
    order, valid, first = np.zeros(length, int), np.zeros(length, bool), np.zeros(length, bool)
    for (begin, end), at in zip(documents, slots):
        order[list(at)] = range(begin, end)
        valid[list(at)] = True
        first[list(at[:1])] = True
    return order, jnp.array(valid), jnp.array(first)


def poisoned(x, valid):
    """What is not valid is nan, or an index that no table has."""
    poison = jnp.asarray(999 if jnp.issubdtype(x.dtype, jnp.integer) else jnp.nan, x.dtype)
    return jnp.where(jnp.reshape(valid, valid.shape + (1,) * (x.ndim - valid.ndim)), x, poison)


def check(row, cell, carry_of=None, padded=True):
    """Packed and padded against one by one; carry_of: whose carry a packed window ends with."""
    x = inputs(row, (STEPS_OF_ALL,))
    c = draw((STEPS_OF_ALL, 32)) if row.each else jnp.broadcast_to(draw((32,)), (STEPS_OF_ALL, 32))
    keys = jax.random.split(KEY, STEPS_OF_ALL) if row.noisy else None
    params = moved(cell.init(jax.random.key(0), x), 0.2)

    def loss(params, x, marks, c, keys):
        weights, xs = cell.weights(params, KEY if row.noisy else None), Seq(x, *marks) if marks else x
        carry, ys = cell.step(weights, cell.initial_carry(weights, xs), xs, keys)
        ys = outputs(ys)
        c = c[..., : ys.shape[-1]]
        return jnp.sum(ys * (c if row.each else c[0])), (ys, carry)

    which = (0, 1) if floats(x) else (0,)
    gradient = jax.value_and_grad(loss, which, has_aux=True)
    one, batch = jax.jit(gradient), jax.jit(jax.vmap(gradient, (None, 0, 0, 0, 0)))

    documents = [jax.tree.map(lambda a, b=b, e=e: a[b:e], (x, c, keys)) for b, e in BOUNDS[:-1]]
    alone = [one(params, x, (), c, keys) for x, c, keys in documents]
    ys, carries = zip(*(aux for (_, aux), _ in alone))
    slopes = jax.tree.map(lambda *g: sum(g), *(g[0] for _, g in alone))
    x_slopes = jnp.concatenate([g[1] for _, g in alone]) if floats(x) else None

    weights = cell.weights(params)
    carries = (*carries, cell.initial_carry(weights, x))

    def compare(result, at, valid, each):
        (_, (got, carry)), g = result
        if row.each:
            close(got[at], jnp.concatenate(ys))
            assert not got[~valid].any()
        else:
            close(got, jnp.stack([*ys, jnp.zeros_like(ys[0])]))
        if each is not None:
            close(carry, each)
        close(g[0], slopes)
        if floats(x):
            close(g[1][at], x_slopes)
            assert not g[1][~valid].any()

    if row.each:
        order, valid, first = layout(BOUNDS, PACKED, 18)
        xs = poisoned(x[order], valid)
        result = one(params, xs, (valid, first), c[order], None if keys is None else keys[order])
        compare(result, np.concatenate(PACKED).astype(int), valid, None if carry_of is None else carries[carry_of])

    if not padded:
        return
    order, valid, _ = (jnp.stack(a) for a in zip(*(layout([b], [at], 8) for b, at in zip(BOUNDS, PADDED))))
    result = batch(params, poisoned(x[order], valid), (valid,), c[order], None if keys is None else keys[order])
    result = result[0], (jax.tree.map(lambda g: g.sum(0), result[1][0]), *result[1][1:])
    rows_of = np.repeat(np.arange(len(BOUNDS)), [e - b for b, e in BOUNDS])
    at = (rows_of, np.concatenate(PADDED).astype(int))
    compare(result, at, valid, jax.tree.map(lambda *h: jnp.stack(h), *carries))


@rows(STEPS, fast=KINDS)
def test_forward(row):
    check(row, unroll(build(row)), carry_of=2, padded=row in BODIES)


@rows(BODIES, fast=[r for r in FEW if r.name == "lstm"])
def test_two_layers_of_both_directions(row):
    check(row, stack(bidirectional(build(row)), bidirectional(vanilla(2))))


@rows(BODIES)
def test_backward(row):
    check(row, unroll(build(row), reverse=True), carry_of=0)


@rows(WINDOWS)
def test_windows(row):
    check(row, row.make())


# Newton says nan for the whole window: test_newton.py.
@rows([r for r in STEPS if not r.name.startswith("newton")], fast=KINDS)
def test_an_inf_before_a_restart_does_not_reach_the_values_after_it(row):
    xs, cell = inputs(row), unroll(build(row))
    params = moved(cell.init(jax.random.key(0), xs), 0.2)
    alone = run(cell, params, xs[6:])
    bad = xs.at[3].set(jnp.inf) if floats(xs) else xs
    carry = jax.tree.map(lambda h: jnp.full_like(h, jnp.inf), alone[0])
    last, ys = run(cell, params, Seq(bad, first=jnp.arange(12) == 6), carry)
    close((last, ys.x[6:]), alone)


def test_a_step_that_is_first_but_not_valid_starts_anew_and_holds():
    row = next(r for r in STEPS if r.name == "lstm")
    xs, cell = inputs(row), unroll(build(row))
    params = cell.init(jax.random.key(0), xs)
    marks = Seq(xs, valid=jnp.arange(12) < 6, first=jnp.arange(12) == 6)
    carry, ys = run(cell, params, marks)
    close(carry, cell.initial_carry(params, xs), rtol=0, atol=0)
    close(ys.x[:6], run(cell, params, xs[:6])[1])
