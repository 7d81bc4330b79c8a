"""What single families promise: their equations by hand, a volume, a radius, a slope, a delay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import draw, moved
from _papers import D, H, given, sigmoid

import rnnjax
from rnnjax import run, unroll
from rnnjax.cells import ridge, spike

STEPS = 75  # more steps than two chunks of a matrix memory, and no multiple of one


def test_the_qrnn_sees_the_input_before(x64):
    cell = rnnjax.qrnn(H, 2)
    xs, params = given(cell, STEPS)
    x, affine, c = np.asarray(xs), jax.tree.map(np.asarray, params[1]), np.zeros(H)
    for t, y in enumerate(run(unroll(cell), params, xs)[1]):
        seen = np.concatenate([x[t], x[t - 1] if t else np.zeros(D)])
        z, f, o = np.split(seen @ affine["w"] + affine["b"], 3)
        c = sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(z)
        np.testing.assert_allclose(y, sigmoid(o) * c, rtol=1e-9, atol=1e-11)


def test_a_reflection_keeps_parity_for_ever():
    """One write of strength 2 at one key turns the sign of what is there, and never tires: Grazzi et al. 2024."""
    cell = rnnjax.deltanet(1, strength=2.0)
    w = jnp.array([[0.0, 0.0, 0.0, 80.0]])  # q, k, v, beta
    params = ({"w": w, "b": jnp.array([9.0, 9.0, 0.0, -40.0])}, ())
    bits = jnp.asarray(np.random.default_rng(0).integers(0, 2, (500, 1)), jnp.float32)
    _, ys = run(unroll(cell), params, bits, ((), jnp.ones((1, 1, 1))))
    np.testing.assert_allclose(ys[:, 0], 1 - 2 * (np.cumsum(bits) % 2), atol=1e-2)


def test_an_unicornn_keeps_volume(x64):
    cell = rnnjax.unicornn(H)
    xs, params = given(cell, STEPS)
    core = cell.step

    def onward(flat):
        carry = rnnjax.cells.OscillatorCarry(flat[:H], flat[H:])
        (_, s), _ = core(params, ((), carry), xs[0])
        return jnp.concatenate([s.y, s.z])

    assert abs(jnp.linalg.det(jax.jacobian(onward)(draw((2 * H,), jnp.float64))) - 1) < 1e-12


def test_a_reservoir_is_the_leaky_network_of_its_weights_and_forgets_where_it_began(x64):
    cell = unroll(rnnjax.esn(30, 0.8, 0.6, 0.5, degree=4))
    xs = draw((300, D), jnp.float64)
    _, ys = run(cell, (), xs)
    other = run(cell, (), xs, carry=draw((30,), jnp.float64))[1]
    np.testing.assert_allclose(other[-1], ys[-1], atol=1e-9)
    slope = jax.jacobian(lambda h: run(rnnjax.esn(30, 0.8, 1.0, 0.0, degree=4), (), xs[0], h)[0])(jnp.zeros(30))
    assert abs(np.abs(np.linalg.eigvals(slope)).max() - 0.8) < 1e-9
    assert (np.count_nonzero(slope, axis=1) <= 4).all()  # a row is a unit
    assert abs(run(unroll(rnnjax.esn(30, seed=1)), (), xs)[1] - run(unroll(rnnjax.esn(30)), (), xs)[1]).max() > 0.1


def test_ridge_is_least_squares_with_a_penalty_on_the_weights_alone(x64):
    x, y = np.asarray(draw((4, 20, 5), jnp.float64)), np.asarray(draw((4, 20, 2), jnp.float64))
    got = ridge(jnp.asarray(x), jnp.asarray(y), 0.3)
    rows = np.concatenate([np.concatenate([x.reshape(80, 5), np.ones((80, 1))], 1), np.sqrt(0.3) * np.eye(6)[:5]])
    want = np.linalg.lstsq(rows, np.concatenate([y.reshape(80, 2), np.zeros((5, 2))]), rcond=None)[0]
    np.testing.assert_allclose(np.concatenate([got["w"], got["b"][None]]), want, rtol=1e-9)


def test_an_lmu_by_hand_and_its_memory_is_the_delay(x64):
    """The delay network is that of the paper; read by the polynomials at their far end it gives u(t - length)."""
    order, length = 8, 40
    cell = rnnjax.lmu(H, order, length)
    xs, params = given(cell, STEPS)
    affine, p = jax.tree.map(np.asarray, params)
    i, j = np.arange(order)[:, None], np.arange(order)[None]
    a = (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1)) / length
    b = ((2 * i + 1) * (-1.0) ** i)[:, 0] / length
    values, vectors = np.linalg.eig(a)
    step = (vectors @ np.diag(np.exp(values)) @ np.linalg.inv(vectors)).real
    drive = np.linalg.solve(a, (step - np.eye(order)) @ b)
    h, m = np.zeros(H), np.zeros(order)
    for x, y in zip(np.asarray(xs), run(unroll(cell), params, xs)[1]):
        z = x @ affine["w"] + affine["b"]
        m = step @ m + drive * (z[0] + h @ p["e_h"] + m @ p["e_m"])
        h = np.tanh(z[1:] + h @ p["w_h"] + m @ p["w_m"])
        np.testing.assert_allclose(y, h, rtol=1e-8, atol=1e-10)
    m, signal = np.zeros(order), np.sin(0.05 * np.arange(400))
    for t, u in enumerate(signal):
        m = step @ m + drive * u
        if t > 3 * length:
            assert abs(m.sum() - signal[t - length]) < 0.05  # all shifted Legendre polynomials are 1 at the far end


def images(x, w, v, b, h):
    """One convolution after the other, by hand, in one dimension."""
    out = np.tile(b, (len(x), 1))
    for t in range(len(x)):
        for k in range(3):
            if 0 <= t + k - 1 < len(x):
                out[t] += x[t + k - 1] @ w[k] + h[t + k - 1] @ v[k]
    return out


def test_a_convolutional_lstm_by_hand(x64):
    cell, film = unroll(rnnjax.conv_lstm(2, 3, dimensions=1)), draw((6, 5, 3), jnp.float64)
    params = moved(cell.init(jax.random.key(0), film), 0.1)
    p, c, h = jax.tree.map(np.asarray, params), np.zeros((5, 2)), np.zeros((5, 2))
    for x, y in zip(np.asarray(film), run(cell, params, film)[1]):
        i, f, g, o = np.split(images(x, p["w"], p["v"], p["b"], h), 4, axis=1)
        c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        np.testing.assert_allclose(y, h, rtol=1e-9, atol=1e-12)


def test_a_convolutional_gru_by_hand(x64):
    cell, film = unroll(rnnjax.conv_gru(2, 3, dimensions=1)), draw((6, 5, 3), jnp.float64)
    params = moved(cell.init(jax.random.key(0), film), 0.1)
    p, h, none = jax.tree.map(np.asarray, params), np.zeros((5, 2)), np.zeros((3, 2, 2))
    (w_r, w_z, w_n), (v_r, v_z, v_n) = (np.split(p[n], 3, axis=-1) for n in "wv")
    b_r, b_z, b_n = np.split(p["b"], 3)
    for x, y in zip(np.asarray(film), run(cell, params, film)[1]):
        r, z = sigmoid(images(x, w_r, v_r, b_r, h)), sigmoid(images(x, w_z, v_z, b_z, h))
        n = np.tanh(images(x, w_n, none, b_n, h) + images(r * h, v_n, none, 0 * b_n, h))
        h = z * h + (1 - z) * n
        np.testing.assert_allclose(y, h, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("make", [rnnjax.conv_lstm, rnnjax.conv_gru])
def test_a_side_of_one_in_a_convolution_is_the_plain_cell_at_each_place(make, dimensions):
    space = (2, 3, 2)[:dimensions]
    film = draw((4, *space, 3))
    cell = unroll(make(2, 1, dimensions))
    params = cell.init(jax.random.key(0), film)
    whole = run(cell, params, film)[1]
    assert whole.shape == (4, *space, 2)
    point = unroll(make(2, 1, 1))
    flat = {n: a.reshape(1, *a.shape[-2:]) if a.ndim > 1 else a for n, a in params.items()}
    np.testing.assert_allclose(
        run(point, flat, film.reshape(4, -1, 3))[1].reshape(whole.shape), whole, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("make", [rnnjax.ltc, rnnjax.cfc, rnnjax.phased_lstm])
def test_a_time_that_comes_with_the_input_is_that_of_the_flag(make, x64):
    """A step of two units of time, once as a number, once as the last feature; no time at all, and one before."""
    xs = draw((9, D), jnp.float64)
    plain, timed = unroll(make(H, dt=2.0)), unroll(make(H, timed=True))
    params = moved(plain.init(jax.random.key(0), xs), 0.1)
    both = jnp.concatenate([xs, jnp.full((9, 1), 2.0)], 1)
    assert jax.tree.map(jnp.shape, timed.init(jax.random.key(0), both)) == jax.tree.map(jnp.shape, params)
    ys = run(timed, params, both)[1]
    np.testing.assert_allclose(ys, run(plain, params, xs)[1], rtol=1e-12)
    assert jnp.isnan(run(timed, params, both.at[4, -1].set(-1.0))[1][4:]).all()
    assert abs(run(timed, params, both.at[4, -1].set(0.1))[1][4] - ys[4]).max() > 1e-6


def test_no_time_changes_no_state_of_an_ltc(x64):
    cell, x = rnnjax.ltc(H, timed=True), draw((D + 1,), jnp.float64).at[-1].set(0.0)
    params, h = moved(cell.init(jax.random.key(0), x), 0.1), draw((H,), jnp.float64)
    np.testing.assert_array_equal(run(cell, params, x, ((), h))[1], h)


def test_a_spike_has_the_slope_of_a_triangle(x64):
    v = jnp.array([-1.5, -1.0, -0.25, 0.0, 0.25, 2.0])
    np.testing.assert_array_equal(spike(v, 0.3), [0, 0, 0, 0, 1, 1])
    slope = jax.vmap(jax.grad(spike), (0, None))(v, 0.3)
    np.testing.assert_allclose(slope, 0.3 * np.maximum(1 - abs(v), 0), rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(jax.jacfwd(spike), (0, None))(v, 0.3), slope, rtol=1e-12)


def test_a_surrogate_gradient_of_a_membrane_by_hand(x64):
    """Two steps of one neuron: dy_2/dx_1 goes along the membrane and along the spike, with its reset."""
    params = ({"w": jnp.ones((1, 1)), "b": jnp.zeros(1)}, {"u": jnp.full((1, 1), 0.5)})
    cell = unroll(rnnjax.lif(1, 0.8, 0.6, 0.9))
    slope = jax.grad(lambda xs: run(cell, params, xs)[1][1, 0])(jnp.array([[0.7], [0.4]]))
    v1 = 0.7
    v2 = 0.8 * v1 + 0.4 + 0.5 - 0.6
    psi = [0.9 / 0.6 * max(0, 1 - abs(v / 0.6 - 1)) for v in (v1, v2)]
    np.testing.assert_allclose(slope.ravel(), [psi[1] * (0.8 + (0.5 - 0.6) * psi[0]), psi[1]], rtol=1e-12)


def test_linoss_neither_grows_nor_forgets_fast(x64):
    cell = rnnjax.linoss(H, 3)
    xs, params = given(cell, STEPS)
    p = jax.tree.map(np.asarray, params)
    slope = np.linalg.eigvals(jax.jacobian(lambda h: run(cell, params, xs[0], h)[0])(jnp.zeros(6)))
    want = 1 / np.sqrt(1 + (p["frequency"] * sigmoid(p["step"])) ** 2)
    np.testing.assert_allclose(np.sort(abs(slope)), np.sort(np.repeat(want, 2)), rtol=1e-9)
