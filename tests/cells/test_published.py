"""Cells beside what their papers write, once more in numpy, step by step, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import close, draw
from _papers import D, H, by_paper, given, sigmoid, state

import rnnjax
from rnnjax import Seq, run, unroll
from rnnjax.cells import ridge

STEPS = 75  # more steps than two chunks of a matrix memory, and no multiple of one


def softplus(x):
    return np.log1p(np.exp(x))


def silu(x):
    return x * sigmoid(x)


def unit(x):
    return x / np.sqrt((x * x).sum() + 1e-6)


def cut(z, *widths):
    """Slices of a vector, one after another, and nothing left over."""
    assert sum(widths) == len(z)
    return np.split(z, np.cumsum(widths)[:-1])


def per_head(heads, *parts):
    return zip(*(np.split(p, heads) for p in parts))


def linear_attention(p, z, s, heads=2):
    parts = cut(z, H, H, H)
    s, ys = s or [[np.zeros((2, 2)), np.zeros(2)] for _ in range(heads)], []
    for (m, n), (q, k, v) in zip(s, per_head(heads, *parts)):
        q, k = (np.where(a > 0, a + 1, np.exp(a)) for a in (q, k))
        m += np.outer(k, v)
        n += k
        ys.append(q @ m / (q @ n))
    return s, np.concatenate(ys)


def fading(gates, delta=False, keys=2):
    """A matrix memory from z -> for each head (q, k, v, what remains, how strongly to write)."""

    def step(p, z, s):
        writes = gates(p, z)
        s, ys = s or [np.zeros((keys, 2)) for _ in writes], []
        for i, (q, k, v, alpha, beta) in enumerate(writes):
            m = np.diag(np.broadcast_to(alpha, keys)) @ s[i]
            s[i] = (
                (np.eye(keys) - beta * np.outer(k, k)) @ m + beta * np.outer(k, v)
                if delta
                else m + beta * np.outer(k, v)
            )
            ys.append(q @ s[i])
        return s, np.concatenate(ys)

    return step


def retention(p, z):
    q, k, v = cut(z, H, H, H)
    return [(q, k / np.sqrt(2), v, 1 - 2.0 ** (-5 - i), 1) for i, (q, k, v) in enumerate(per_head(2, q, k, v))]


def gated_attention(p, z):
    q, k, v, a = cut(z, H, H, H, H)
    return [(q / np.sqrt(2), k, v, sigmoid(a) ** (1 / 3), 1) for q, k, v, a in per_head(2, q, k, v, a)]


def delta(p, z):
    q, k, v, b = cut(z, H, H, H, 2)
    return [(unit(silu(q)), unit(silu(k)), v, 1, 2 * sigmoid(b[0])) for q, k, v, b in per_head(2, q, k, v, b)]


def gated_delta(p, z):
    q, k, v, b, a = cut(z, H, H, H, 2, 2)
    alpha = np.exp(-np.exp(p["rate"]) * softplus(a))
    return [
        (unit(silu(q)), unit(silu(k)), v, alpha[0], sigmoid(b[0]))
        for q, k, v, b, alpha in per_head(2, q, k, v, b, alpha)
    ]


def duality(p, z, s):
    v, b, c, dt = cut(z, H, 3, 3, 2)
    dt = softplus(dt)
    writes = [(c, b, v, np.exp(-np.exp(r) * dt), dt) for v, r, dt in zip(np.split(v, 2), p["rate"], dt)]
    s, y = fading(lambda p, z: writes, keys=3)(p, z, s)
    return s, y + np.repeat(p["d"], 2) * v


def delta_product(p, z, s):
    q, rest = z[:H], z[H:].reshape(3, -1)
    s = s or [np.zeros((2, 2)) for _ in range(2)]
    for row in rest:
        for i, (k, v, b) in enumerate(per_head(2, *cut(row, H, H, 2))):
            k, b = unit(silu(k)), 2 * sigmoid(b)
            s[i] = (np.eye(2) - b * np.outer(k, k)) @ s[i] + b * np.outer(k, v)
    return s, np.concatenate([unit(silu(q)) @ m for q, m in zip(np.split(q, 2), s)])


def mlstm(p, z, s):
    """Without the stabiliser: in double precision, over so few steps, nothing overflows."""
    q, k, v, o, i, f = cut(z, H, H, H, H, 2, 2)
    s, ys = s or [[np.zeros((2, 2)), np.zeros(2)] for _ in range(2)], []
    parts = per_head(2, q, k / np.sqrt(2), v, np.exp(i), sigmoid(f + 1))
    for memory, (read, at, value, gain, keep) in zip(s, parts):
        memory[0] = keep * memory[0] + gain * np.outer(at, value)
        memory[1] = keep * memory[1] + gain * at
        ys.append(read @ memory[0] / max(abs(read @ memory[1]), 1))
    return s, sigmoid(o) * np.concatenate(ys)


def slstm(p, z, s):
    """Without the stabiliser, too."""
    c, n, h = s or (np.zeros(H),) * 3
    v = np.concatenate([(a @ u).reshape(4, 2) for a, u in zip(np.split(h, 2), p["u"])], axis=1)
    z, i, f, o = z.reshape(4, H) + v
    c = np.exp(f + 0.5) * c + np.exp(i) * np.tanh(z)
    n = np.exp(f + 0.5) * n + np.exp(i)
    h = sigmoid(o) * c / n
    return (c, n, h), h


def s5(p, x, s):
    pole = -np.exp(p["decay"]) + 1j * p["frequency"]
    a = np.exp(np.exp(p["step"]) * pole)
    h = a * (0 if s is None else s) + (a - 1) / pole * (x @ (p["b_re"] + 1j * p["b_im"]))
    return h, 2 * (h @ (p["c_re"] + 1j * p["c_im"])).real + x @ p["d"]


def s6(p, z, s):
    dt = softplus(z @ p["w_dt"] @ p["u_dt"] + p["step"])
    h = np.exp(-dt[:, None] * np.exp(p["rate"])) * (0 if s is None else s) + np.outer(dt * z, z @ p["w_b"])
    return h, h @ (z @ p["w_c"]) + p["d"] * z


def rg_lru(p, z, s):
    r, i = sigmoid(z @ p["w_r"] + p["b_r"]), sigmoid(z @ p["w_i"] + p["b_i"])
    a = sigmoid(p["decay"]) ** (8 * r)
    h = a * (0 if s is None else s) + np.sqrt(1 - a**2) * i * z
    return h, h


def sru(p, a, c):
    c = np.zeros(H) if c is None else c
    z, f, r, s = np.split(a, 4)
    f, r = sigmoid(f + p["v"][0] * c), sigmoid(r + p["v"][1] * c)
    c = f * c + (1 - f) * z
    return c, r * c + (1 - r) * s


def rtu(p, z, s):
    r, theta = np.exp(-np.exp(p["nu"])), np.exp(p["phase"])
    a, b = s or (0, 0)
    u, v = np.split(z, 2)
    a, b = (
        r * (np.cos(theta) * a - np.sin(theta) * b) + np.sqrt(1 - r**2) * u,
        r * (np.cos(theta) * b + np.sin(theta) * a) + np.sqrt(1 - r**2) * v,
    )
    return (a, b), np.maximum(np.concatenate([a, b]), 0)


def cornn(p, x, s):
    y, z = s or (np.zeros(H), np.zeros(H))
    z = z + 0.1 * (np.tanh(x + y @ p["u"] + z @ p["v"]) - 2.0 * y - 3.0 * z)
    return (y + 0.1 * z, z), y + 0.1 * z


def unicornn(p, x, s):
    y, z = s or (np.zeros(H), np.zeros(H))
    dt = 0.19 * (0.5 + 0.5 * np.tanh(p["c"] / 2))
    z = z - dt * (np.tanh(p["u"] * y + x) + 30.65 * y)
    return (y + dt * z, z), y + dt * z


def lem(p, x, s):
    y, z = s or (np.zeros(H), np.zeros(H))
    (a, c, g, n), (u_a, u_c, u_g, u_n) = np.split(x, 4), np.split(p["u"], 4, axis=1)
    d_z, d_y = 0.7 * sigmoid(a + y @ u_a), 0.7 * sigmoid(c + y @ u_c)
    z = (1 - d_z) * z + d_z * np.tanh(g + y @ u_g)
    y = (1 - d_y) * y + d_y * np.tanh(n + z @ u_n)
    return (y, z), y


def antisymmetric(gated):
    def step(p, x, h):
        h = np.zeros(H) if h is None else h
        s = h @ (p["u"] - p["u"].T - 0.01 * np.eye(H))
        gate = sigmoid(x[:H] + s) if gated else 1
        h = h + 0.1 * gate * np.tanh(x[-H:] + s)
        return h, h

    return step


@state
def janet(p, z, h):
    f, g = np.split(z + h @ p["u"], 2)
    return sigmoid(f + 1) * h + (1 - sigmoid(f + 1 - 0.5)) * np.tanh(g)


@state
def ligru(p, z, h):
    g, n = np.split(z + h @ p["u"], 2)
    return sigmoid(g) * h + (1 - sigmoid(g)) * np.maximum(n, 0)


@state
def ugrnn(p, z, h):
    g, c = np.split(z + h @ p["u"], 2)
    return sigmoid(g + 1) * h + (1 - sigmoid(g + 1)) * np.tanh(c)


@state
def minimal_rnn(p, z, h):
    code = np.tanh(z)
    g = sigmoid(h @ p["u"] + code @ p["v"] + p["b_g"])
    return g * h + (1 - g) * code


def ran(p, z, c):
    c = np.zeros(H) if c is None else c
    i, f, n = np.split(z, 3)
    u_i, u_f = np.split(p["u"], 2, axis=1)
    h = np.tanh(c)
    c = sigmoid(i + h @ u_i) * n + sigmoid(f + h @ u_f) * c
    return c, np.tanh(c)


@state
def star(p, a, h):
    k, z = np.split(a, 2)
    k = sigmoid(k + h @ p["u"])
    return np.tanh((1 - k) * h + k * np.tanh(z))


@state
def atr(p, z, h):
    q = h @ p["u"]
    return sigmoid(z + q) * z + sigmoid(z - q) * h


@state
def cfn(p, z, h):
    f, i, n = np.split(z, 3)
    u_f, u_i = np.split(p["u"], 2, axis=1)
    return sigmoid(f + h @ u_f) * np.tanh(h) + sigmoid(i + h @ u_i) * np.tanh(n)


@state
def fastrnn(p, z, h):
    return sigmoid(p["alpha"]) * np.tanh(z + h @ p["u"]) + sigmoid(p["beta"]) * h


@state
def fastgrnn(p, z, h):
    g = sigmoid(z + h @ p["u"] + p["b_g"])
    new = np.tanh(z + h @ p["u"] + p["b_h"])
    return (sigmoid(p["zeta"]) * (1 - g) + sigmoid(p["nu"])) * new + g * h


@state
def brc(p, z, h):
    a, c, n = np.split(z, 3)
    a, c = 1 + np.tanh(a + p["v"][0] * h), sigmoid(c + p["v"][1] * h)
    return c * h + (1 - c) * np.tanh(n + a * h)


@state
def nbrc(p, z, h):
    (a, c, n), (u_a, u_c) = np.split(z, 3), np.split(p["u"], 2, axis=1)
    a, c = 1 + np.tanh(a + h @ u_a), sigmoid(c + h @ u_c)
    return c * h + (1 - c) * np.tanh(n + a * h)


CELLS = {
    "linear_attention": (rnnjax.linear_attention(H, 2), linear_attention),
    "retnet": (rnnjax.retnet(H, 2), fading(retention)),
    "gla": (rnnjax.gla(H, 2, 3.0), fading(gated_attention)),
    "mamba2": (rnnjax.mamba2(H, 3, 2), duality),
    "deltanet": (rnnjax.deltanet(H, 2, 2.0), fading(delta, delta=True)),
    "gated_deltanet": (rnnjax.gated_deltanet(H, 2), fading(gated_delta, delta=True)),
    "delta_product": (rnnjax.delta_product(H, 2, 3), delta_product),
    "mlstm": (rnnjax.mlstm(H, 2), mlstm),
    "slstm": (rnnjax.slstm(H, 2, 0.5), slstm),
    "s5": (rnnjax.s5(H, 3), s5),
    "s6": (rnnjax.s6(H, 3, 2), s6),
    "rg_lru": (rnnjax.rg_lru(H), rg_lru),
    "sru": (rnnjax.sru(H), sru),
    "rtu": (rnnjax.rtu(H), rtu),
    "cornn": (rnnjax.cornn(H, 0.1, 2.0, 3.0), cornn),
    "unicornn": (rnnjax.unicornn(H), unicornn),
    "lem": (rnnjax.lem(H, 0.7), lem),
    "antisymmetric_rnn": (rnnjax.antisymmetric_rnn(H), antisymmetric(False)),
    "antisymmetric_rnn, gated": (rnnjax.antisymmetric_rnn(H, gated=True), antisymmetric(True)),
    "janet": (rnnjax.janet(H, 1.0, 0.5), janet),
    "ligru": (rnnjax.ligru(H), ligru),
    "ugrnn": (rnnjax.ugrnn(H), ugrnn),
    "minimal_rnn": (rnnjax.minimal_rnn(H), minimal_rnn),
    "ran": (rnnjax.ran(H), ran),
    "star": (rnnjax.star(H), star),
    "atr": (rnnjax.atr(H), atr),
    "cfn": (rnnjax.cfn(H), cfn),
    "fastrnn": (rnnjax.fastrnn(H), fastrnn),
    "fastgrnn": (rnnjax.fastgrnn(H), fastgrnn),
    "brc": (rnnjax.brc(H), brc),
    "nbrc": (rnnjax.nbrc(H), nbrc),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_what_its_paper_writes(name, x64):
    cell, step = CELLS[name]
    xs, params = given(cell, STEPS)
    got = jax.jit(lambda: run(unroll(cell), params, xs)[1])()
    assert got.dtype == jnp.float64
    np.testing.assert_allclose(got, by_paper(step, params, xs), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", CELLS)
def test_a_nan_reaches_what_comes_after_it_and_nothing_before(name, x64):
    cell, at = CELLS[name][0], 40
    xs, params = given(cell, STEPS)
    both = jax.jit(lambda xs: run(unroll(cell), params, xs))
    carry, ys = both(xs.at[at, 1].set(jnp.nan))
    np.testing.assert_allclose(ys[:at], both(xs)[1][:at], rtol=1e-9, atol=1e-11)
    assert jnp.isnan(ys[at:]).any(1).all()
    assert any(jnp.isnan(leaf).any() for leaf in jax.tree.leaves(carry))


def test_the_qrnn_sees_the_input_before(x64):
    cell = rnnjax.qrnn(H, 2)
    xs, params = given(cell, STEPS)
    x, affine, c = np.asarray(xs), jax.tree.map(np.asarray, params[1]), np.zeros(H)
    for t, y in enumerate(run(unroll(cell), params, xs)[1]):
        seen = np.concatenate([x[t], x[t - 1] if t else np.zeros(D)])
        z, f, o = np.split(seen @ affine["w"] + affine["b"], 3)
        c = sigmoid(f) * c + (1 - sigmoid(f)) * np.tanh(z)
        np.testing.assert_allclose(y, sigmoid(o) * c, rtol=1e-9, atol=1e-11)


MATRICES = ["gla", "deltanet", "gated_deltanet", "delta_product", "mlstm"]


@pytest.mark.parametrize("name", MATRICES)
def test_chunks_restart_and_hold_where_a_seq_says(name, x64):
    """Starts and gaps inside chunks, at their edges and next to each other, in value and gradient."""
    cell = CELLS[name][0]
    xs, params = given(cell, STEPS)
    first = jnp.zeros(STEPS, bool).at[jnp.array([0, 5, 31, 32, 33, 64, 70])].set(True)
    valid = jnp.ones(STEPS, bool).at[jnp.array([3, 31, 40, 41, 64, 74])].set(False)
    weight = draw((STEPS, H), jnp.float64, 5)

    def total(cell):
        def value(params):
            carry, ys = run(unroll(cell), params, Seq(xs, valid, first))
            return (ys.x * weight).sum() + sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(carry))

        return jax.jit(jax.value_and_grad(value))(params)

    close(total(cell), total(cell.replace(window=None)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["mlstm", "slstm"])
def test_gates_of_any_size_do_not_overflow(name):
    """exp(1000) has no place in any floating type: the stabiliser must keep it out."""
    cell = CELLS[name][0]
    xs = 1000 * draw((STEPS, D))
    params = cell.init(jax.random.key(3), xs[0])
    value, slope = jax.value_and_grad(lambda p: run(unroll(cell), p, xs)[1].sum())(params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((value, slope)))


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


REFUSED = {
    "heads": (lambda: rnnjax.deltanet(10, heads=3), "divides its units, got 3 heads of 10"),
    "no heads": (lambda: rnnjax.mlstm(4, heads=0), "heads is an integer from 1"),
    "no state": (lambda: rnnjax.s6(4, states=0), "states is an integer"),
    "no mode": (lambda: rnnjax.s5(4, states=0), "states is an integer"),
    "odd": (lambda: rnnjax.rtu(5), "even number"),
    "no connection": (lambda: rnnjax.esn(5, degree=0), "degree is an integer"),
    "no write": (lambda: rnnjax.delta_product(4, writes=0), "writes is an integer"),
    "no order": (lambda: rnnjax.lmu(4, order=0), "order is an integer"),
    "no input": (lambda: rnnjax.qrnn(4, width=0), "width is an integer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_sizes_that_a_family_cannot_have_are_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", CELLS)
def test_a_window_without_unroll_is_refused_by_name(name):
    cell, xs = CELLS[name][0], jnp.ones((7, D))
    with pytest.raises(ValueError, match="unroll"):
        run(cell, cell.init(jax.random.key(0), xs), xs)
