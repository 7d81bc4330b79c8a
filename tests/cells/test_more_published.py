"""More cells beside what their papers write, once more in numpy, step by step, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import draw, moved
from _papers import D, H, by_paper, given, sigmoid, state

import rnnjax
from rnnjax import run, unroll
from rnnjax.cells import spike

STEPS = 40


def ltc(p, z, h):
    """Algorithm 1 of the paper: dx/dt = -x / tau - f x + f A, by the fused solver."""
    h, tau = np.zeros(H) if h is None else h, np.exp(-p["rate"])
    for _ in range(3):
        f, s = sigmoid(z + h @ p["u"]), 0.7 / 3
        h = (h + s * f * p["a"]) / (1 + s * (1 / tau + f))
    return h, h


def cfc(p, z, h):
    h = np.zeros(H) if h is None else h
    z = 1.7159 * np.tanh(2 / 3 * (z + h @ p["u"]))
    g, k, r, s = np.split(z @ p["v"] + p["b_g"], 4)
    gate = sigmoid(-(r * 0.7 + s))
    h = gate * np.tanh(g) + (1 - gate) * np.tanh(k)
    return h, h


def phased_lstm(p, z, s):
    c, h, t = s or (np.zeros(H), np.zeros(H), 0.0)
    t += 0.37
    phi = np.mod(t / np.exp(-p["rate"]) - p["phase"], 1)
    k = np.where(phi < 0.3, 2 * phi / 0.6, np.where(phi < 0.6, 2 - 2 * phi / 0.6, 0.1 * phi))
    i, f, g, o = np.split(z + h @ p["u"], 4)
    new_c = sigmoid(f + 1 + p["p"][1] * c) * c + sigmoid(i + p["p"][0] * c) * np.tanh(g)
    new_h = sigmoid(o + p["p"][2] * new_c) * np.tanh(new_c)
    c, h = k * new_c + (1 - k) * c, k * new_h + (1 - k) * h
    return (c, h, t), h


def lif(p, z, s):
    v, y = s or (np.zeros(H), np.zeros(H))
    v = 0.8 * v + z + y @ p["u"] - 0.6 * y
    y = (v > 0.6).astype(float)
    return (v, y), y


def alif(p, z, s):
    v, a, y = s or (np.zeros(H), np.zeros(H), np.zeros(H))
    v, a = 0.8 * v + z + y @ p["u"] - 0.6 * y, 0.9 * a + y
    y = (v > 0.6 + 0.2 * a).astype(float)
    return (v, a, y), y


@state
def mut1(p, a, h):
    z, r, n = np.split(a, 3)
    z, r = sigmoid(z), sigmoid(r + h @ p["u"])
    return np.tanh((r * h) @ p["v"] + np.tanh(n)) * z + h * (1 - z)


@state
def mut3(p, a, h):
    (z, r, n), (u_z, u_r, u_n) = np.split(a, 3), np.split(p["u"], 3, axis=1)
    z, r = sigmoid(z + np.tanh(h) @ u_z), sigmoid(r + h @ u_r)
    return np.tanh((r * h) @ u_n + n) * z + h * (1 - z)


def narx(p, z, hs):
    hs = hs or []
    past = [hs[-k] if k <= len(hs) else np.zeros(H) for k in (1, 2, 3)]
    h = np.tanh(z + sum(h @ v for h, v in zip(past, np.split(p["v"], 3))))
    return [*hs, h], h


def tau_gru(p, z, hs):
    hs = hs or []
    h, late = (hs[-k] if k <= len(hs) else np.zeros(H) for k in (1, 3))
    (g, a, n, d), (u_g, u_a, u_n) = np.split(z, 4), np.split(p["u"], 3, axis=1)
    g, a = sigmoid(g + h @ u_g), sigmoid(a + h @ u_a)
    h = (1 - g) * h + g * (np.tanh(n + h @ u_n) + a * np.tanh(d + late @ p["v"]))
    return [*hs, h], h


@state
def rhn(p, z, s):
    for i, u in enumerate(p["v"]):
        n, t = np.split(s @ u + (z if i == 0 else p["bias"][i - 1]), 2)
        n, t = np.tanh(n), sigmoid(t - 1)
        s = n * t + s * (1 - t)
    return s


def hgrn(p, z, h):
    f, c, g = np.split(z, [2, 6])
    f, c = 0.2 + 0.8 * sigmoid(f), c * sigmoid(c)
    h = f * np.exp(1j * p["phase"]) * (0 if h is None else h) + (1 - f) * (c[:2] + 1j * c[2:])
    return h, sigmoid(g) * np.concatenate([h.real, h.imag])


def linoss(p, x, s):
    """The implicit step of the paper, by its matrix: z depends on the new position."""
    z, q = s or (np.zeros(3), np.zeros(3))
    dt, square = sigmoid(p["step"]), p["frequency"] ** 2
    share = 1 / (1 + dt**2 * square)
    z, q = share * (z - dt * square * q + dt * (x @ p["b"])), share * (dt * z + q + dt**2 * (x @ p["b"]))
    return (z, q), q @ p["c"] + x @ p["d"]


def plrnn(straight):
    @state
    def step(p, z, h):
        phi = np.where(np.arange(H) < straight, h, np.maximum(h, 0))
        return p["a"] * h + phi @ (p["u"] - np.diag(np.diag(p["u"]))) + z

    return step


def stack_rnn(p, z, s):
    h, stack = s or (np.zeros(H), [np.zeros(2)] * 3)
    h = np.tanh(z + h @ p["u"] + stack[0] @ p["v"])
    push, pop, stay = np.exp(h @ p["q"] + p["b_r"]) / np.exp(h @ p["q"] + p["b_r"]).sum()
    value = sigmoid(h @ p["r"] + p["b_i"])
    above, below = [value, *stack[:-1]], [*stack[1:], np.zeros(2)]
    stack = [push * a + pop * b + stay * s for a, b, s in zip(above, below, stack)]
    return (h, stack), h


def tape_rnn(p, z, s):
    h, tape = s or (np.zeros(H), [np.zeros(2)] * 4)
    h = np.tanh(z + h @ p["u"] + tape[0] @ p["v"])
    stay, left, right, far_left, far_right = softmax(h @ p["q"] + p["b_r"])
    tape = [h @ p["r"] + p["b_i"], *tape[1:]]
    tape = [
        stay * tape[i]
        + left * tape[(i + 1) % 4]
        + right * tape[i - 1]
        + far_left * tape[(i + 2) % 4]
        + far_right * tape[i - 2]
        for i in range(4)
    ]
    return (h, tape), h


def softmax(a):
    return np.exp(a) / np.exp(a).sum()


def softplus(a):
    return np.log1p(np.exp(a))


def lstm(p, z, c, h, read):
    i, f, g, o = np.split(z + h @ p["u"] + read @ p["v"], 4)
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(c)


def content(memory, key, strength):
    lengths = np.sqrt((memory**2).sum(1) * (key**2).sum() + 1e-12)
    return softmax(strength * (memory @ key) / lengths)


def ntm(p, z, s):
    slots, width = 4, 2
    start = np.eye(slots)[0]
    c, h, read, memory, *heads = s or (
        np.zeros(H), np.zeros(H), np.zeros(width), np.full((slots, width), 1e-6), start, start
    )  # fmt: skip
    c, h = lstm(p, z, c, h, read)
    emitted, new = list(h @ p["q"] + p["b_r"]), []
    for before in heads:
        key, (beta, g, a, b, d, gamma) = np.array(emitted[:width]), emitted[width : width + 6]
        emitted = emitted[width + 6 :]
        mixed = sigmoid(g) * content(memory, key, softplus(beta)) + (1 - sigmoid(g)) * before
        back, stay, on = softmax(np.array([a, b, d]))
        moved = np.array([back * mixed[(i + 1) % slots] + stay * mixed[i] + on * mixed[i - 1] for i in range(slots)])
        new.append(moved ** (1 + softplus(gamma)) / (moved ** (1 + softplus(gamma))).sum())
    read = new[0] @ memory
    erase, add = sigmoid(np.array(emitted[:width])), np.array(emitted[width:])
    memory = np.array([row * (1 - w * erase) + w * add for row, w in zip(memory, new[1])])
    return (c, h, read, memory, *new), np.append(h, read)


def dnc(p, z, s):
    """The methods of the paper, slot by slot."""
    n, width, heads = 3, 2, 2
    c, h, read, memory, usage, links, order, reading, writing = s or (
        np.zeros(H), np.zeros(H), np.zeros((heads, width)), np.full((n, width), 1e-6), np.zeros(n), np.zeros((n, n)),
        np.zeros(n), np.zeros((heads, n)), np.zeros(n),
    )  # fmt: skip
    c, h = lstm(p, z, c, h, read.reshape(-1))
    e = h @ p["q"] + p["b_r"]
    keys, strengths, free, modes = e[:4].reshape(2, 2), e[4:6], e[6:8], e[8:14].reshape(2, 3)
    key, strength, erase, add, allocate, write = e[14:16], e[16], e[17:19], e[19:21], e[21], e[22]
    retention = np.prod([1 - sigmoid(f) * r for f, r in zip(free, reading)], axis=0)
    usage = (usage + writing - usage * writing) * retention
    allocation, product = np.zeros(n), 1.0
    for slot in np.argsort(usage, kind="stable"):
        allocation[slot], product = (1 - usage[slot]) * product, product * usage[slot]
    gate = sigmoid(allocate)
    writing = sigmoid(write) * (gate * allocation + (1 - gate) * content(memory, key, 1 + softplus(strength)))
    memory = np.array([row * (1 - w * sigmoid(erase)) + w * add for row, w in zip(memory, writing)])
    links = np.array([
        [0 if i == j else (1 - writing[i] - writing[j]) * links[i, j] + writing[i] * order[j] for j in range(n)]
        for i in range(n)
    ])  # fmt: skip
    order = (1 - writing.sum()) * order + writing
    new = []
    for k, beta, mode, r in zip(keys, strengths, modes, reading):
        back, by_key, on = softmax(mode)
        new.append(back * (links.T @ r) + by_key * content(memory, k, 1 + softplus(beta)) + on * (links @ r))
    reading = np.array(new)
    read = reading @ memory
    return (c, h, read, memory, usage, links, order, reading, writing), np.append(h, read)


CELLS = {
    "ltc": (rnnjax.ltc(H, 0.7, 3), ltc),
    "cfc": (rnnjax.cfc(H, 5, 0.7), cfc),
    "phased_lstm": (rnnjax.phased_lstm(H, 1.0, 0.1, 0.6, 0.37, longest=9.0), phased_lstm),
    "lif": (rnnjax.lif(H, 0.8, 0.6), lif),
    "alif": (rnnjax.alif(H, 0.8, 0.9, 0.2, 0.6), alif),
    "mut1": (rnnjax.mut1(H), mut1),
    "mut3": (rnnjax.mut3(H), mut3),
    "narx": (rnnjax.narx(H, 3), narx),
    "tau_gru": (rnnjax.tau_gru(H, 3), tau_gru),
    "rhn": (rnnjax.rhn(H, 3, -1.0), rhn),
    "hgrn": (rnnjax.hgrn(H, 0.2), hgrn),
    "linoss": (rnnjax.linoss(H, 3), linoss),
    "plrnn": (rnnjax.plrnn(H), plrnn(0)),
    "plrnn, two rectified": (rnnjax.plrnn(H, 2), plrnn(2)),
    "stack_rnn": (rnnjax.stack_rnn(H, 2, 3), stack_rnn),
    "tape_rnn": (rnnjax.tape_rnn(H, 2, 4, jump=2), tape_rnn),
    "ntm": (rnnjax.ntm(H, 4, 2), ntm),
    "dnc": (rnnjax.dnc(H, 3, 2, reads=2), dnc),
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
    cell, at = CELLS[name][0], 20
    xs, params = given(cell, STEPS)
    both = jax.jit(lambda xs: run(unroll(cell), params, xs)[1])
    ys = both(xs.at[at, 1].set(jnp.nan))
    np.testing.assert_array_equal(ys[:at], both(xs)[:at])
    assert jnp.isnan(ys[at:]).any(1).all()


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


REFUSED = {
    "odd": (lambda: rnnjax.hgrn(5), "even number"),
    "bound": (lambda: rnnjax.hgrn(4, 1.0), "lower_bound is a number"),
    "rectified": (lambda: rnnjax.plrnn(4, 5), "at most all of its 4 units, not 5"),
    "no oscillator": (lambda: rnnjax.linoss(4, 0), "states is an integer"),
    "no depth": (lambda: rnnjax.rhn(4, 0), "depth is an integer"),
    "no delay": (lambda: rnnjax.tau_gru(4, 0), "delay is an integer"),
    "four dimensions": (lambda: rnnjax.conv_lstm(4, 3, 4), "dimensions is 1, 2 or 3, got 4"),
    "negative time": (lambda: rnnjax.ltc(4, dt=-1.0), "dt is a number above 0"),
    "no period": (lambda: rnnjax.phased_lstm(4, longest=0.5), "longest is a number from 1"),
    "never open": (lambda: rnnjax.phased_lstm(4, open_ratio=0.0), "open_ratio is a number above 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_sizes_that_a_family_cannot_have_are_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_an_image_without_channels_and_a_time_without_features_are_refused():
    with pytest.raises(ValueError, match=r"\[8, 8\]"):
        rnnjax.conv_lstm(2).init(jax.random.key(0), jnp.ones((8, 8)))
    with pytest.raises(ValueError, match="timed=True takes features and then the time"):
        rnnjax.ltc(4, timed=True).init(jax.random.key(0), jnp.ones(1))
