"""Laws of gradient flow, of exponents and fixed points, and of what a run reports of itself while it trains."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import build, close, draw, inputs, moved, rows
from _launching import launch, records
from _table import BODIES, FEW

import rnnjax
from rnnjax import lstm, scornn, unroll, urnn, vanilla
from rnnjax.app._reports import REPORTS
from rnnjax.dynamics import (
    activation_bound,
    cell_lyapunov,
    fixed_points,
    free_run,
    gingerbread,
    gradient_flow,
    henon,
    jacobian_bound,
    jacobians,
    lorenz,
    lorenz96,
    loss_flow,
    lyapunov,
    mackey_glass,
    orbit,
    powers,
    rk4,
    spectra,
    trajectory,
    valid_time,
)


@rows(BODIES, FEW)
def test_gradient_flow_is_the_ordered_product_of_the_jacobians(row):
    cell, xs = build(row), inputs(row, (4,))
    params = moved(cell.init(jax.random.key(0), xs[0]), 0.2)
    weights = cell.weights(params)
    h, unflat = jax.flatten_util.ravel_pytree(cell.initial_carry(weights, xs[0]))
    states, products = [h], []
    for x in xs:

        def step(h, x=x):
            return jax.flatten_util.ravel_pytree(cell.step(weights, unflat(h), x, None)[0])[0]

        jacobian = jax.jit(jax.jacrev(step))(h)
        products = [jacobian @ p for p in products] + [jacobian]
        h = step(h)
        states.append(h)
    products.append(jnp.eye(h.size))
    norms = [np.linalg.norm(p) / h.size**0.5 for p in products]
    flow = gradient_flow(cell, params, xs)
    close(flow.norms, jnp.stack(norms))
    close(flow.states, jnp.linalg.norm(jnp.stack(states), axis=1))


def test_a_unitary_recurrence_keeps_gradients_and_states():
    cell, xs = urnn(16, bias=False), jnp.zeros((200, 3))
    params = cell.init(jax.random.key(0), xs[0])
    params = (params[0], params[1] | {"b": jnp.zeros(16)})
    flow = gradient_flow(cell, params, xs)
    close(flow.norms, jnp.ones(201), rtol=1e-4)
    close(flow.states, jnp.full(201, flow.states[0]), rtol=1e-4)


def test_drift_is_the_worst_of_all_recurrent_matrices_bound_factors_among_them():
    cell, xs = unroll(vanilla(3)), jnp.zeros((2, 4, 3))
    params = cell.init(jax.random.key(0), xs[0])
    twice = jax.tree.map(lambda a: 2 * jnp.eye(3) if a.shape == (3, 3) else a, params)
    assert REPORTS["drift"](cell, twice, xs)["drift"] == 3
    wave = unroll(urnn(8))
    assert 0 < REPORTS["drift"](wave, wave.init(jax.random.key(0), xs[0]), xs)["drift"] < 1e-5
    gated = unroll(lstm(3))
    with pytest.raises(ValueError, match="no square recurrent matrix"):
        REPORTS["drift"](gated, gated.init(jax.random.key(0), xs[0]), xs)


def test_the_condition_of_a_cayley_transform_is_reported():
    cell, xs = unroll(scornn(4, negative=0)), jnp.zeros((1, 3, 2))
    params = cell.init(jax.random.key(0), xs[0])
    near = jax.tree.map(lambda a: jnp.array([1e4, 0, 0, 0, 0, 0.0]) if a.shape == (6,) else a, params)
    told = [float(REPORTS["cayley_condition"](cell, p, xs)["cayley_condition"]) for p in (params, near)]
    assert told[0] > 1e-2 and told[1] < 2e-4
    with pytest.raises(ValueError, match="comes from a Cayley"):
        REPORTS["cayley_condition"](unroll(vanilla(3)), {"u": jnp.eye(3)}, xs)


@pytest.mark.slow
def test_a_run_writes_its_reports_with_each_evaluation(tmp_path):
    flags = ["--cell=urnn", "--hidden_size=4", "--delay=5", "--num_steps=4", "--eval_every=2", "--eval_batches=1"]
    assert launch("copying", f"--workdir={tmp_path}", *flags, "--report=drift,state_norm,gradient_flow") == 0
    told = [r for r in records(tmp_path) if "drift" in r]
    assert [r["step"] for r in told] == [2, 4]
    for record in told:
        assert record["drift"] < 1e-5 and record["state_norm"] > 0
        assert 0 < record["flow_whole"] < record["flow_half"] < 1  # the dead zone of modReLU loses some
    chex.assert_tree_all_finite(told)


def rotated(n, values, steps, seed=0):
    """Jacobians `[steps, n, n]` whose products J_T .. J_{t+1} have the singular values values^(T - t)."""
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((steps + 1, n, n)))[0]
    return jnp.asarray(q[1:] @ np.diag(values) @ np.swapaxes(q[:-1], 1, 2))


def test_spectra_of_products_far_outside_the_range_of_floats():
    js = rotated(4, [2.0, 1.0, 0.7, 0.1], 500).astype(jnp.float32)
    want = np.log([2.0, 1.0, 0.7, 0.1]) * np.arange(500, -1, -1)[:, None]
    np.testing.assert_allclose(jax.jit(spectra)(js), want, rtol=1e-3, atol=1e-3)
    js = rotated(4, [100.0, 1.0, 0.9, 0.8], 6).astype(jnp.float32)  # three close ones, too far below for an SVD
    np.testing.assert_allclose(spectra(js)[0], 6 * np.log([100, 1, 0.9, 0.8]), atol=5e-3)


def test_spectra_are_those_of_the_ordered_product():
    js = draw((3, 16, 16)) / 4  # values close to each other
    product, want = np.eye(16), [np.zeros(16)]
    for j in np.asarray(js)[::-1]:
        product = product @ j
        want.insert(0, np.log(np.linalg.svd(product)[1]))
    np.testing.assert_allclose(jax.jit(spectra)(js), want, atol=3e-4)


def test_the_measured_norm_lies_under_its_bounds_and_meets_them_where_it_must():
    cell, xs = vanilla(6), draw((12, 3))
    params = top, rec = moved(cell.init(jax.random.key(0), xs[0]), 0.3)
    states, js = jax.jit(lambda p: (trajectory(cell, p, xs)[1], jacobians(cell, p, xs)))(params)
    a = xs @ top["w"] + jnp.broadcast_to(top["b"], (12, 6)) + states[:-1] @ rec["u"]
    norms, by_jacobians = spectra(js)[:, 0], jacobian_bound(js)
    by_activations = activation_bound(jnp.tanh, rec["u"], a)
    assert (norms[:-2] < by_jacobians[:-2] - 1e-2).all() and (by_jacobians[:-1] < by_activations[:-1] - 1e-2).all()
    close(norms[-2:], by_jacobians[-2:], atol=1e-4)
    rotation = rotated(6, [0.9] * 6, 1).astype(jnp.float32)[0]
    still = jnp.zeros((12, 6))  # tanh' is 1 there, and no inequality loses anything
    close(activation_bound(jnp.tanh, rotation, still), jnp.arange(12.0, -1, -1) * np.float32(np.log(0.9)), rtol=1e-4)


def test_what_of_a_loss_reaches_each_state():
    cell, xs = vanilla(4), draw((5, 3))
    params = moved(cell.init(jax.random.key(0), xs[0]))
    js, c = jax.jit(lambda p: jacobians(cell, p, xs))(params), draw((5, 4))
    reach = [c[4]]
    for t in (3, 2, 1, 0):
        reach.insert(0, reach[0] @ js[t + 1] + c[t])
    reach.insert(0, reach[0] @ js[0])
    got = jax.jit(lambda p: loss_flow(lambda hs, ys: (hs[1] * c).sum(), cell, p, xs))(params)
    close(got, jnp.linalg.norm(jnp.stack(reach), axis=1))


def test_the_cell_of_an_lstm_is_a_part_of_its_carry():
    cell, xs = lstm(3), draw((6, 2))
    params = moved(cell.init(jax.random.key(0), xs[0]))
    product, want = np.eye(6), [1.0]
    js, states = jax.jit(lambda p: (jacobians(cell, p, xs), trajectory(cell, p, xs)[1]))(params)
    for j in np.asarray(js)[::-1]:
        product = product @ j
        want.insert(0, np.linalg.norm(product[:3, :3]) / 3**0.5)  # c stands first
    part = jax.jit(lambda p: gradient_flow(cell, p, xs, part=lambda carry: carry[1].c))(params)
    close(part.norms, jnp.array(want, jnp.float32))
    close(part.states, jnp.linalg.norm(states[:, :3], axis=1))


def test_powers_below_and_above_one_and_of_a_matrix_that_is_not_normal():
    h = jnp.ones(2) / 2**0.5
    close(jax.jit(lambda a: powers(a, h, 100))(0.9 * jnp.eye(2))[-1], jnp.float32(0.9**100), rtol=1e-4)
    close(powers(1.2 * jnp.eye(2), h, 100)[-1], jnp.float32(1.2**100), rtol=1e-4)
    held = powers(1.2 * jnp.eye(2), h, 100, jnp.tanh)[-1]  # each unit at the root of x = tanh(1.2 x)
    close(held, jnp.float32(2**0.5 * 0.658565), rtol=1e-4)
    close(powers(0.9 * jnp.eye(2), h, 100, jnp.tanh)[-1] < 1e-4, jnp.array(True))
    grown = powers(jnp.array([[0.9, 10.0], [0.0, 0.9]]), jnp.array([0.0, 1.0]), 300)
    close(
        grown[:200], jnp.array([np.hypot(10 * k * 0.9 ** (k - 1), 0.9**k) for k in range(200)], jnp.float32), rtol=1e-4
    )
    assert grown.max() > 38 and grown[-1] < 1e-9


def test_known_exponents_of_maps():
    ring = rotated(3, [1.0] * 3, 1)[0]
    a = (ring @ jnp.diag(jnp.array([1.5, 0.5, -0.2])) @ ring.T).astype(jnp.float32)
    got = jax.jit(lambda h: lyapunov(lambda h: a @ h, h, 100, 100, dt=2.0))(jnp.zeros(3))
    close(got, jnp.log(jnp.array([1.5, 0.5, 0.2])) / 2, rtol=1e-4)
    got = jax.jit(lambda h: lyapunov(henon, h, 40_000, 100, every=2))(jnp.zeros(2))
    np.testing.assert_allclose(got, [0.419, -1.623], rtol=0.01)
    np.testing.assert_allclose(got.sum(), np.log(0.3), rtol=1e-4)
    chaos = jax.jit(lambda h: lyapunov(gingerbread, h, 400_000, 100))
    np.testing.assert_allclose(chaos(jnp.array([0.5, 3.7])), [0.075, -0.075], rtol=0.05)
    np.testing.assert_allclose(chaos(jnp.array([0.1, 0.1])), [0, 0], atol=1e-4)


def test_lorenz_96_goes_around_a_circle_and_its_advection_keeps_the_energy():
    x = np.random.default_rng(0).normal(size=7)
    want = [(x[(i + 1) % 7] - x[i - 2]) * x[i - 1] - x[i] + 8 for i in range(7)]
    found = np.asarray(lorenz96(jnp.asarray(x, jnp.float32)))
    np.testing.assert_allclose(found, want, atol=1e-5)
    assert abs(x @ (found + x - 8)) < 1e-4
    np.testing.assert_allclose(lorenz96(jnp.roll(jnp.asarray(x, jnp.float32), 3)), np.roll(want, 3), atol=1e-5)
    with pytest.raises(ValueError, match="at least 4"):
        lorenz96(jnp.ones(3))


def test_known_exponents_of_lorenz():
    starts = jnp.array([[1.0, 1.0, 20.0]]) + draw((32, 3))
    spectrum = jax.vmap(lambda h: lyapunov(rk4(lorenz, 0.01), h, 6000, 1000, dt=0.01, every=10))
    got = jax.jit(lambda h: spectrum(h).mean(0))(starts)
    np.testing.assert_allclose(got[jnp.array([0, 2])], [0.906, -14.572], rtol=0.01)
    assert abs(got[1]) < 0.01
    np.testing.assert_allclose(got.sum(), -(10 + 1 + 8 / 3), rtol=1e-3)  # the divergence of the field


def test_exponents_of_a_cell_see_its_inputs_and_count_only_what_is_asked_for():
    cell = rnnjax.recurrent(2, lambda p, h, z: (h @ p["u"] * z[0],) * 2)
    u, xs = jnp.diag(jnp.array([0.5, 2.0])), jnp.full((40, 2), 3.0).at[:10].set(7.0)
    close(cell_lyapunov(cell, {"u": u}, xs, discard=10), jnp.log(jnp.array([6.0, 1.5])), rtol=1e-4)
    sheared = jnp.array([[2.0, 1.0], [0.0, 0.5]])
    close(cell_lyapunov(cell, {"u": sheared}, xs, discard=10, count=1), jnp.log(jnp.array([6.0])), rtol=1e-4)
    cell, xs = urnn(8), jnp.zeros((50, 2))
    params = cell.init(jax.random.key(0), xs[0])
    params = (params[0], params[1] | {"b": jnp.zeros(8)})
    close(jax.jit(lambda p: cell_lyapunov(cell, p, xs))(params), jnp.zeros(16), atol=1e-4)


def test_all_fixed_points_of_a_flip_flop_of_three_bits():
    turn = rotated(3, [1.0] * 3, 1)[0].astype(jnp.float32)
    starts = 1.5 * draw((300, 3))
    points = fixed_points(lambda h: turn @ jnp.tanh(2 * (turn.T @ h)), starts)
    root = 0.957504  # of x = tanh(2 x)
    bits = np.round(points.h @ np.asarray(turn) / root) + 0.0
    assert len(points.h) == 27 == len({tuple(b) for b in bits.tolist()})
    np.testing.assert_allclose(points.h @ np.asarray(turn), bits * root, atol=1e-3)
    np.testing.assert_array_equal(points.unstable, (bits == 0).sum(1))
    assert (points.unstable == 0).sum() == 8 and points.starts.sum() == 300
    for saddles, value in zip(range(4), points.eigenvalues[np.searchsorted(points.unstable, range(4))]):
        np.testing.assert_allclose(value, [2] * saddles + [2 * (1 - root**2)] * (3 - saddles), rtol=1e-2)


def test_points_that_move_are_left_out_unless_they_are_slow_enough():
    def ghost(h):
        return h + 0.01 + h * h  # no fixed point; slowest at 0

    starts = jnp.linspace(-1, 1, 9)[:, None]
    assert len(fixed_points(ghost, starts).h) == 0
    slow = fixed_points(ghost, starts, tolerance=0.02)
    np.testing.assert_allclose(slow.h, [[0]], atol=1e-2)
    np.testing.assert_allclose(slow.speed, [0.01], rtol=1e-2)


def test_the_delayed_feedback_reads_what_is_a_delay_old():
    h = jnp.full(21, 0.5)
    got = orbit(mackey_glass(2.0), h, 40)[:, -1]
    fed = 0.2 * 0.5 / (1 + 0.5**10) / 0.1
    t = np.arange(1, 21) * 0.1
    np.testing.assert_allclose(got[:20], fed + (0.5 - fed) * np.exp(-0.1 * t), rtol=1e-6)
    old = jnp.concatenate([h[-1:], got])  # from t = 2 on a step reads what was stored 20 steps before
    slope = (got[31] - got[29]) / 0.2
    np.testing.assert_allclose(slope, 0.2 * old[11] / (1 + old[11] ** 10) - 0.1 * got[30], rtol=1e-3)


def test_a_network_left_alone_reads_its_own_outputs():
    cell, xs = rnnjax.stack(vanilla(4), rnnjax.linear(2)), draw((5, 2))
    params = moved(cell.init(jax.random.key(0), xs[0]))
    carry, step = cell.initial_carry(params, xs[0]), jax.jit(cell.step)
    want = []
    for t in range(8):
        carry, y = step(params, carry, xs[t] if t < 5 else want[-1])
        want.append(y)
    close(jax.jit(lambda p: free_run(cell, p, xs, 4))(params), jnp.stack(want[4:]))


def test_a_forecast_holds_until_it_is_first_wrong_or_no_number():
    truth = draw((6, 2))
    off = jnp.array([0.3, 0.39, 0.41, 0.0, 0.0, 0.0])[:, None] * jnp.ones((6, 2))
    assert valid_time(truth + off, truth) == 2
    assert valid_time(truth, truth) == 6
    assert valid_time(truth.at[4, 1].set(jnp.nan), truth) == 4


@pytest.mark.slow
def test_the_study_tells_the_truth_and_refuses_in_one_line(tmp_path, capsys):
    toy = ["--hidden_size=1", "--length=6", "--points=1000", "--steps=2000", "--picture=svg", "--unfold=2"]
    assert launch("dynamics", *toy, "--cell=vanilla", f"--workdir={tmp_path / 'run'}") == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    (network,) = summary["networks"]
    np.testing.assert_allclose(network["log10 norm"], network["log10 bound"], rtol=1e-4)  # of one unit there is no less
    found = {row[""]: row["exponent 1"] for row in summary["systems"]}
    np.testing.assert_allclose([found["henon"], found["lorenz"]], [0.419, 0.906], rtol=0.1)
    for name in ("flow", "powers", "gingerbread", "graph-vanilla"):
        assert (tmp_path / "run" / f"{name}.svg").read_text().startswith("<?xml")
    wrong = {
        "--systems=henn": "did you mean henon",
        "--dropout=0.5": "without noise",
        "--length=1": "length",
        "--dtype=bfloat16": "at least single",
    }
    for i, (flag, message) in enumerate(wrong.items()):
        assert launch("dynamics", *toy, flag, f"--workdir={tmp_path / str(i)}") == 1
        assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("diagonal", [(0.2, 0.9, 0.5, 1.1), (1.1, 0.2, 0.9, 0.5), (0.2, 0.2, 0.2, 1.1)])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_count_of_exponents_is_the_head_of_the_spectrum_of_a_diagonal_system_too(diagonal, count):
    # The slowest of these turns by (0.9 / 1.1)^t: 2e-9 after the 100 steps that are discarded.
    u, xs = jnp.array(diagonal), jnp.zeros((200, 4))
    cell = rnnjax.recurrent(4, lambda p, h, z: (h * p["u"] + z,) * 2)
    got = jax.jit(lambda u: cell_lyapunov(cell, {"u": u}, xs, discard=100, count=count))(u)
    close(got, jnp.log(-jnp.sort(-u))[:count], rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="count=5 exponents of a state of 4 numbers"):
        cell_lyapunov(cell, {"u": u}, xs, count=5)
