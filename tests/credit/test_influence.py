"""Law: an influence carried forward is the gradient that it names: exact, masked, local, or right on average."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, apart, build, close, draw, gappy, inputs, loss, moved, outputs, rows
from _rows import H
from _table import BODIES, INFLUENCES, STEPS, TWO, leaky
from jax import lax

import rnnjax
from rnnjax import Seq, chunk, learn_carry, linear, rtrl, snap, stack, unroll, vanilla, vanilla_core
from rnnjax.base import without_fast
from rnnjax.base._unroll import as_step_cell
from rnnjax.credit._attached import NotAdmitted
from rnnjax.credit._kronecker import least_variance_split, orthogonal_complement, orthonormal_axes, small_svd


def value(cell, params, xs, key):
    """The loss of the outputs of a window, from the cell's own start."""
    weights = cell.weights(params, None if key is None else KEY)
    _, ys = cell.step(weights, cell.initial_carry(weights, xs), xs, key)
    return loss(outputs(ys))


def case(row, dtype=jnp.float32):
    """A row's params, ragged inputs and key."""
    xs = inputs(row, dtype=dtype)
    params = moved(unroll(build(row, dtype)).init(jax.random.key(0), xs), 0.2)
    return params, gappy(xs), KEY if row.noisy else None


@rows(STEPS, fast=TWO)
def test_rtrl_is_backpropagation_at_windows_of_one_and_three_and_forward_mode_is_its_transpose(row, x64):
    params, xs, key = case(row, jnp.float64)
    cell = build(row, jnp.float64)

    def grad(cell):
        return jax.grad(lambda p: value(cell, p, xs, key))(params)

    @jax.jit
    def gradients():
        direction = jax.tree.map(lambda a: draw(a.shape, a.dtype, 3), params)
        slope = jax.jvp(lambda p: value(without_fast(unroll(cell)), p, xs, key), (params,), (direction,))[1]
        exact = grad(unroll(cell))
        along = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(direction)))
        return exact, grad(unroll(rtrl(cell))), grad(chunk(rtrl(unroll(cell)), 3)), slope, jnp.asarray(along, float)

    exact, by_step, by_window, slope, along = gradients()
    close(by_step, exact, rtol=1e-10, atol=1e-12)
    close(by_window, exact, rtol=1e-10, atol=1e-12)
    close(slope, along, rtol=1e-10, atol=1e-12)


@functools.cache
def plain(row):
    """A body's case, its values and gradient, and what they are under truncation at every step."""
    params, xs, key = case(row)
    both = jax.jit(lambda p: [jax.value_and_grad(lambda p, c=c: value(c, p, xs, key))(p) for c in cells])
    cells = unroll(row.make()), unroll(rnnjax.truncate(row.make()))
    (want, exact), (_, truncated) = both(params)
    return (params, xs, key), want, exact, truncated


@pytest.mark.parametrize("rule", INFLUENCES, ids=lambda rule: rule.name)
@rows(BODIES, fast=TWO[:1])
def test_a_rule_leaves_values_alone_and_changes_the_gradient_as_it_says(row, rule):
    (params, xs, key), want, exact, truncated = plain(row)
    cell = rule.wrap(row.make())
    if row.name in rule.refuses:
        with pytest.raises(NotAdmitted, match=rule.name.replace("-", "_")):
            cell.initial_carry(cell.weights(params), xs)
        return
    if rule.keyed and key is None:
        close(jax.jit(lambda p: value(cell, p, xs, key))(params), want)
        with pytest.raises(NotAdmitted, match="key"):
            jax.grad(lambda p: value(cell, p, xs, key))(params)
        return
    got, gradient = jax.jit(jax.value_and_grad(lambda p: value(cell, p, xs, key)))(params)
    close(got, want)
    (close if rule.exact else apart)(gradient, exact)
    memoryless = row.name == "vanilla" and rule.name in ("eprop", "rflo")
    (close if memoryless else apart)(gradient, truncated)


@pytest.mark.parametrize("row", [r for r in BODIES if r.name in ("vanilla", "learn-carry-deep")], ids=lambda r: r.name)
def test_a_single_step_of_a_window_is_the_step(row):
    (params, xs, key), want, exact, _ = plain(row)
    cell = unroll(rtrl(as_step_cell(unroll(row.make()))))
    got, gradient = jax.jit(jax.value_and_grad(lambda p: value(cell, p, xs, key)))(params)
    close(got, want)
    close(gradient, exact)


def test_snap_of_one_step_keeps_one_unit_for_each_weight():
    cell, xs = vanilla(3), draw((6, 2))
    params = moved(cell.init(KEY, xs[0]))
    got = jax.grad(lambda p: value(unroll(snap(cell)), p, xs, None))(params)
    (w, b), u = (params[0]["w"], params[0]["b"]), params[1]["u"]
    h, trace, want = jnp.zeros(3), jnp.zeros((6, 3)), jnp.zeros((6, 3))  # of [x, 1, h], for each unit its own weights
    for x, d in zip(xs, draw((6, 3), seed=2)):
        v = jnp.concatenate([x, jnp.ones(1), h])
        h = jnp.tanh(x @ w + b + h @ u)
        for i in range(3):  # this step's loss sees the influence of unit i's weights through all units
            to_all = (1 - h**2) * u[i]
            own = (1 - h[i] ** 2) * v * d[i]
            want = want.at[:, i].add(own + trace[:, i] * (to_all @ d))
        trace = (1 - h**2)[None] * (v[:, None] + trace * jnp.diag(u)[None])
    close(got, ({"w": want[:2], "b": want[2]}, {"u": want[3:]}))


@pytest.mark.slow
def test_snap_of_many_steps_is_rtrl_and_says_so():
    cell, xs = vanilla(3), draw((6, 2))
    params = moved(vanilla(3).init(KEY, xs[0]))
    exact = jax.grad(lambda p: value(unroll(cell), p, xs, None))(params)
    close(jax.grad(lambda p: value(unroll(snap(cell, 2)), p, xs, None))(params), exact)
    with pytest.warns(UserWarning, match="this is RTRL"):
        snap(cell, 2).init(KEY, xs[0])
    with pytest.raises(ValueError, match="is an integer from 1, got"):
        snap(cell, 0)


@pytest.mark.slow
def test_snap_of_two_steps_reaches_the_neighbours_of_a_ring():
    ring = jnp.eye(5) + jnp.roll(jnp.eye(5), 1, axis=1)
    core = rnnjax.recurrent(5, lambda p, h, z: 2 * (jnp.tanh(z + h @ (p["u"] * ring)),))
    xs = draw((12, 5))
    params = moved(core.init(KEY, xs[0]))
    exact = jax.grad(lambda p: value(unroll(core), p, xs, None))(params)["u"]
    gaps = []
    for n in range(1, 6):
        cell = snap(core, n)
        gaps.append(float(abs(jax.grad(lambda p, c=cell: value(unroll(c), p, xs, None))(params)["u"] - exact).max()))
    assert gaps[4] < 1e-5 < 1e-4 < min(gaps[:3])


def stopped_lstm(p, carry, z):
    """An LSTM through whose recurrent matrix no derivative passes."""
    i, f, g, o = jnp.split(z + lax.stop_gradient(carry.h) @ p["u"], 4)
    c = jax.nn.sigmoid(f + 1.0) * carry.c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return rnnjax.LSTMCarry(c, h), h


def stopped_leaky(p, h, z):
    """A leaky integrator through whose recurrent matrix no derivative passes."""
    h = 0.9 * h + 0.1 * jnp.tanh(z + lax.stop_gradient(h) @ p["u"])
    return h, h


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule, make, gates, stopped, start",
    [
        (rnnjax.eprop, lambda: rnnjax.lstm(H), 4, stopped_lstm, lambda h: rnnjax.LSTMCarry(h, h)),
        (rnnjax.rflo, lambda: leaky(H), 1, stopped_leaky, lambda h: h),
    ],
    ids=["eprop", "rflo"],
)
def test_a_local_rule_is_backpropagation_past_the_recurrent_matrix(rule, make, gates, stopped, start):
    xs, read = gappy(draw((12, 3))), linear(2)
    cell = stack(rule(make()), read)
    params = moved(stack(make(), read).init(KEY, xs.x[0]))
    local = stack(stack(linear(gates * H), rnnjax.recurrent(H, stopped, gates, start)), read)
    got, want, exact = (
        jax.grad(lambda p, c=c: value(unroll(c), p, xs, None))(params) for c in (cell, local, stack(make(), read))
    )
    close(got, want)
    apart(got, exact)


def small(core):
    """A learned carry, a restart and a hold: seven steps of two units, four before the restart."""
    cell = stack(linear(2 if core is vanilla_core else 8), learn_carry(core(2)), linear(1))
    marks = (1, 1, 0, 1, 1, 1, 1, 1), (0, 0, 0, 0, 0, 1, 0, 0)
    xs = Seq(draw((8, 2)), *(jnp.array(m, bool) for m in marks))
    return cell, xs, moved(cell.init(KEY, xs.x[0]))


@pytest.mark.parametrize(
    "core",
    [pytest.param(vanilla_core, id="vanilla"), pytest.param(rnnjax.lstm_core, id="lstm", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("rule", [r for r in INFLUENCES if r.keyed], ids=lambda rule: rule.name)
def test_a_random_rule_is_right_on_average(core, rule):
    cell, xs, params = small(core)
    exact, truncated = (
        jax.grad(lambda p, c=c: value(unroll(c), p, xs, None))(params) for c in (cell, rnnjax.truncate(cell))
    )

    def estimate(key):
        return jax.grad(lambda p: value(rule.wrap(cell), p, xs, jax.random.split(key, 8)))(params)

    estimates = jax.jit(jax.vmap(estimate))(jax.random.split(KEY, 4000))
    z, off = [], []
    for got, want, short in zip(*map(jax.tree.leaves, (estimates, exact, truncated))):
        got = np.asarray(got, np.float64)
        error = got.std(0) / np.sqrt(len(got)) + 1e-6
        z.append(np.max(abs(got.mean(0) - want) / error))
        off.append(np.max(abs(np.asarray(short - want)) / error))
    assert max(z) < 4 < 8 < max(off), (z, off)


def spread(wrap, case, keys):
    """The variance of the whole gradient under a random rule."""
    cell, xs, params = case
    gradient = jax.grad(lambda p, k: value(wrap(cell), p, xs, jax.random.split(k, 8)))
    return sum(float(a.var(0).sum()) for a in jax.tree.leaves(jax.jit(jax.vmap(gradient, (None, 0)))(params, keys)))


@pytest.mark.slow
def test_the_best_signs_are_less_noise_and_more_pairs_still_less():
    case, keys = small(vanilla_core), jax.random.split(KEY, 2000)
    rules = [rnnjax.kf_rtrl, rnnjax.optimal_kronecker, lambda cell: rnnjax.optimal_kronecker(cell, 2)]
    kf, one, two = (spread(lambda cell, r=rule: unroll(r(cell)), case, keys) for rule in rules)
    assert two < 0.5 * one < 0.5 * kf


@pytest.mark.parametrize(
    "d", [(3.0, 1.0), (5.0, 0.1, 0.1, 0.1), (1.0, 1.0, 1.0), (9.0, 8.0, 1.0, 0.0), (2.0, 0.0), (0.0, 0.0)]
)
def test_the_signs_of_a_kronecker_sum_average_to_the_sum(d, x64):
    c, z = least_variance_split(jnp.array(d))
    columns = orthogonal_complement(z)
    close(
        jnp.outer(c, c) * (columns @ columns.T),
        jnp.diag(jnp.array(d)) - (1 - jnp.eye(len(d))) * jnp.outer(c * z, c * z),
    )
    close(columns.T @ columns, jnp.eye(len(d) - 1))


@pytest.mark.parametrize("n", [2, 4])
def test_small_matrices_and_their_singular_values(n, x64):
    low = draw((n, n - 1), jnp.float64) @ draw((n - 1, n), jnp.float64)
    for c in (draw((n, n), jnp.float64), low, jnp.zeros((n, n))):
        s, d, t = small_svd(c)
        close(s @ jnp.diag(d) @ t.T, c, atol=1e-10)
        close(d, jnp.linalg.svd(c)[1], atol=1e-10)
        q, r = orthonormal_axes(c)
        close((q @ r).T, c, atol=1e-10)


def test_a_window_of_the_whole_length_leaves_nothing_to_chance():
    cell, xs, params = small(vanilla_core)
    xs = xs._replace(first=None)
    exact = jax.grad(lambda p: value(unroll(cell), p, xs, None))(params)
    for seed in range(3):
        mixed = chunk(rnnjax.uoro(unroll(cell)), 8)
        close(
            jax.grad(lambda p, s=seed, c=mixed: value(c, p, xs, jax.random.split(jax.random.key(s), 8)))(params), exact
        )


def test_an_influence_beyond_the_limit_is_refused_before_it_is_allocated():
    cell = rtrl(vanilla(4096))
    weights = jax.eval_shape(cell.init, KEY, jax.ShapeDtypeStruct((10,), jnp.float32))
    with pytest.raises(NotAdmitted, match=r"16,822,272 weights on 4,096 .* 276 GB .* 8.59 GB"):
        jax.eval_shape(cell.initial_carry, weights, jax.ShapeDtypeStruct((10,), jnp.float32))


def test_a_gated_path_to_a_recurrent_matrix_is_refused():
    xs = draw((3, 2))
    for cell, what in ((rnnjax.gru(4), "reset_after=True"), (rnnjax.eunn(4), "no product")):
        with pytest.raises(NotAdmitted, match=what):
            rnnjax.eprop(cell).initial_carry(cell.weights(cell.init(KEY, xs[0])), xs[0])
    cell = rnnjax.gru(4, reset_after=True)
    rnnjax.eprop(cell).initial_carry(cell.init(KEY, xs[0]), xs[0])
