"""Law: a cell computes its equation: against plain numpy written from the papers, and against literals by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, draw, moved

import rnnjax
from rnnjax import bidirectional, chunk, dropconnect, dropout, run, stack, tie_weights, unroll, zoneout

H, T, D = 4, 6, 3


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def relu(x):
    return np.maximum(x, 0)


def normalise(x, epsilon=1e-5):
    return (x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean() + epsilon)


def vanilla(activation):
    def step(layer, core, h, x):
        h = activation(x @ layer["w"] + layer["b"] + h @ core["u"])
        return h, h

    return step


def vanilla_normalised(layer, norm, core, h, x):
    a = normalise(x @ layer["w"]) * norm["gain"] + norm["bias"]
    h = np.tanh(a + normalise(h @ core["u"]) * core["gain"])
    return h, h


def lstm(bias):
    def step(layer, core, state, x):
        c, h = state
        a = x @ layer["w"] + layer["b"] + h @ core["u"]
        i, f, g, o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
        c = sigmoid(f + bias) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (c, h), h

    return step


def lstm_normalised(layer, norm, core, state, x):
    c, h = state
    a = normalise(x @ layer["w"]) * norm["gain"] + norm["bias"] + normalise(h @ core["u"]) * core["gain"]
    i, f, g, o = np.reshape(a, (4, H))
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(normalise(c) * core["c_gain"] + core["c_bias"])
    return (c, h), h


def peephole(layer, core, state, x):
    c, h = state
    i, f, g, o = np.reshape(x @ layer["w"] + layer["b"] + h @ core["u"], (4, H))
    to_i, to_f, to_o = core["p"]
    c_new = sigmoid(f + to_f * c + 1) * c + sigmoid(i + to_i * c) * np.tanh(g)
    h = sigmoid(o + to_o * c_new) * np.tanh(c_new)
    return (c_new, h), h


def gru(reset_after, keep):
    def step(layer, core, h, x):
        a, u = np.reshape(x @ layer["w"] + layer["b"], (3, H)), np.split(core["u"], 3, axis=1)
        r, z = sigmoid(a[0] + h @ u[0]), sigmoid(a[1] + h @ u[1])
        inside = r * (h @ u[2] + core.get("b", 0)) if reset_after else (r * h) @ u[2]
        n = np.tanh(a[2] + inside)
        h = z * h + (1 - z) * n if keep else (1 - z) * h + z * n
        return h, h

    return step


def gru_normalised(layer, norm, core, h, x):
    a = np.reshape(normalise(x @ layer["w"]) * norm["gain"] + norm["bias"], (3, H))
    v = np.reshape(normalise(h @ core["u"]) * core["gain"], (3, H))
    r, z = sigmoid(a[0] + v[0]), sigmoid(a[1] + v[1])
    h = z * h + (1 - z) * np.tanh(a[2] + r * v[2])
    return h, h


def mgu(layer, core, h, x):
    a, u = np.reshape(x @ layer["w"] + layer["b"], (2, H)), np.split(core["u"], 2, axis=1)
    f = sigmoid(a[0] + h @ u[0])
    h = (1 - f) * h + f * np.tanh(a[1] + (f * h) @ u[1])
    return h, h


ZERO = np.zeros(H)
REFERENCES = {
    "vanilla": (rnnjax.vanilla(H), vanilla(np.tanh), ZERO),
    "vanilla-relu": (rnnjax.vanilla(H, jax.nn.relu), vanilla(relu), ZERO),
    "vanilla-sigmoid": (rnnjax.vanilla(H, jax.nn.sigmoid), vanilla(sigmoid), ZERO),
    "vanilla-layer-norm": (rnnjax.vanilla(H, layer_norm=True), vanilla_normalised, ZERO),
    "irnn": (rnnjax.irnn(H), vanilla(relu), ZERO),
    "lstm": (rnnjax.lstm(H), lstm(1.0), (ZERO, ZERO)),
    "lstm-no-forget-bias": (rnnjax.lstm(H, forget_bias=0.0), lstm(0.0), (ZERO, ZERO)),
    "lstm-layer-norm": (rnnjax.lstm(H, layer_norm=True), lstm_normalised, (ZERO, ZERO)),
    "peephole": (rnnjax.peephole_lstm(H), peephole, (ZERO, ZERO)),
    "gru": (rnnjax.gru(H), gru(False, True), ZERO),
    "gru-replace": (rnnjax.gru(H, keep=False), gru(False, False), ZERO),
    "gru-after": (rnnjax.gru(H, reset_after=True), gru(True, True), ZERO),
    "gru-after-bias": (rnnjax.gru(H, reset_after=True, recurrent_bias=True), gru(True, True), ZERO),
    "gru-after-replace": (rnnjax.gru(H, reset_after=True, keep=False), gru(True, False), ZERO),
    "gru-layer-norm": (rnnjax.gru(H, reset_after=True, layer_norm=True), gru_normalised, ZERO),
    "mgu": (rnnjax.mgu(H), mgu, ZERO),
}


def followed(step, params, state, xs):
    """A numpy step along a window, in double precision."""
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
    ys = []
    for x in np.asarray(xs, np.float64):
        state, y = step(*params, state, x)
        ys.append(y)
    return state, np.stack(ys)


def example(cell, xs):
    """Params away from zeros, ones and identities."""
    return moved(cell.init(jax.random.key(0), xs), 0.5)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_layer_is_its_equation(name):
    cell, step, start = REFERENCES[name]
    xs, cell = draw((T, D)), unroll(cell)
    params = example(cell, xs)
    carry, ys = run(cell, params, xs)
    state, want = followed(step, params, start, xs)
    np.testing.assert_allclose(ys, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jnp.stack(jax.tree.leaves(carry[-1])), np.reshape(state, (-1, H)), rtol=1e-5, atol=1e-6)


def number(cell, params, x, carry=None):
    """The output of one step of one unit."""
    carry, y = run(cell, params, jnp.array([x]) if np.isscalar(x) else jnp.array(x), carry)
    return float(y[0])


@pytest.mark.parametrize(
    "got, want",
    [
        # tanh(2 * 0.5 + 0.1 + 0.5 * -1) = tanh(0.6)
        (lambda: number(rnnjax.vanilla_core(1), {"u": jnp.array([[0.5]])}, 1.1, jnp.array([-1.0])), 0.53704957),
        # c = sigmoid(1) 2 + sigmoid(0) tanh(1) = 1.46211716 + 0.38079708; h = sigmoid(2) tanh(c)
        (
            lambda: number(
                rnnjax.lstm_core(1),
                {"u": jnp.zeros((1, 4))},
                [0.0, 0.0, 1.0, 2.0],
                rnnjax.LSTMCarry(jnp.array([2.0]), jnp.array([9.0])),
            ),
            0.83770329,
        ),
        # z = sigmoid(ln 3) = 3/4 keeps 3/4 of 2, n = tanh(0) = 0
        (lambda: number(rnnjax.gru_core(1), {"u": jnp.zeros((1, 3))}, [0.0, np.log(3), 0.0], jnp.array([2.0])), 1.5),
        # keep=False: z replaces 3/4 of 2
        (
            lambda: number(
                rnnjax.gru_core(1, keep=False), {"u": jnp.zeros((1, 3))}, [0.0, np.log(3), 0.0], jnp.array([2.0])
            ),
            0.5,
        ),
        # f = 1/4: (1 - f) 2 + f tanh(f 2) = 1.5 + 0.25 tanh(0.5)
        (
            lambda: number(rnnjax.mgu_core(1), {"u": jnp.array([[0.0, 1.0]])}, [-np.log(3), 0.0], jnp.array([2.0])),
            1.61552929,
        ),
        # relu(1 + 2) and relu(-4 + 2)
        (lambda: number(rnnjax.vanilla_core(1, jax.nn.relu), {"u": jnp.eye(1)}, 1.0, jnp.array([2.0])), 3.0),
        (lambda: number(rnnjax.vanilla_core(1, jax.nn.relu), {"u": jnp.eye(1)}, -4.0, jnp.array([2.0])), 0.0),
    ],
)
def test_one_unit_by_hand(got, want):
    np.testing.assert_allclose(got(), want, rtol=1e-6)


def test_highway_is_a_gate_between_cell_and_input():
    cell, x = rnnjax.highway(rnnjax.vanilla(D), gate_bias=-0.5), draw((D,))
    p = example(cell, x)
    _, y = run(cell, p, x)
    t = sigmoid(x @ p["gate"]["w"] + p["gate"]["b"] - 0.5)
    inner = np.tanh(x @ p["cell"][0]["w"] + p["cell"][0]["b"])
    np.testing.assert_allclose(y, t * inner + (1 - t) * x, rtol=1e-5)


def test_residual_adds_the_input():
    cell, x = rnnjax.residual(rnnjax.vanilla(D)), draw((D,))
    p = example(cell, x)
    np.testing.assert_allclose(run(cell, p, x)[1], x + np.tanh(x @ p[0]["w"] + p[0]["b"]), rtol=1e-5)


def test_layer_norm_has_mean_bias_and_deviation_gain():
    cell, x = rnnjax.layer_norm(), jnp.array([1.0, 2.0, 3.0, 6.0])
    y = run(cell, {"gain": jnp.full(4, 2.0), "bias": jnp.full(4, 5.0)}, x)[1]
    # mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5
    np.testing.assert_allclose(y, 5 + 2 * np.array([-2, -1, 0, 3]) / np.sqrt(3.5), rtol=1e-5)


def test_zoneout_without_a_key_is_the_mean_of_old_and_new():
    cell, p = zoneout(rnnjax.vanilla_core(2), 0.25), {"u": jnp.eye(2)}
    z, old = jnp.array([0.3, -0.2]), jnp.array([0.8, -0.4])
    want = 0.25 * old + 0.75 * np.tanh(z + old)
    h, y = run(cell, p, z, old)
    np.testing.assert_allclose(h, want, rtol=1e-6)
    np.testing.assert_allclose(y, want, rtol=1e-6)


def test_zoneout_with_a_key_keeps_each_unit_or_takes_the_new_one():
    n, rate = 1000, 0.25
    cell, p = zoneout(rnnjax.lstm_core(n), rate), {"u": jnp.zeros((n, 4 * n))}
    z, old = jnp.ones(4 * n), rnnjax.LSTMCarry(jnp.full(n, 0.7), jnp.full(n, -0.7))
    (new, _), (zoned, y) = run(rnnjax.lstm_core(n), p, z, old), run(cell, p, z, old, KEY)
    kept = [np.asarray(a == b) for a, b in zip(zoned, old)]
    for leaf, fresh, mask in zip(zoned, new, kept):
        np.testing.assert_array_equal(leaf[~mask], fresh[~mask])
        assert abs(mask.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / n)
    assert abs((kept[0] == kept[1]).mean() - (rate**2 + (1 - rate) ** 2)) < 0.05
    np.testing.assert_array_equal(y, zoned.h)


def test_dropout_keeps_the_expectation():
    n, rate, x = 10_000, 0.3, 2.0
    y = np.asarray(run(dropout(rate), (), jnp.full(n, x), key=KEY)[1])
    assert set(np.unique(y)) == {np.float32(0), np.float32(x) / np.float32(1 - rate)}
    assert abs(y.mean() - x) < 4 * x * np.sqrt(rate / (1 - rate) / n)


def test_dropout_is_another_at_each_step_and_the_same_in_any_chunks():
    xs = jnp.ones((12, 50))
    cell = unroll(dropout(0.5))
    ys = run(cell, (), xs, key=KEY)[1]
    assert len({tuple(np.asarray(y)) for y in ys}) == 12
    np.testing.assert_array_equal(run(chunk(cell, 5), (), xs, key=KEY)[1], ys)


def test_dropconnect_draws_one_mask_a_window_and_keeps_the_expectation():
    n, rate = 100, 0.25
    core = dropconnect(rnnjax.vanilla_core(n, lambda z: z), rate)
    u = np.asarray(core.weights({"u": jnp.full((n, n), 3.0)}, KEY)["u"])
    np.testing.assert_allclose(np.unique(u), [0.0, 4.0], rtol=1e-6)
    assert abs(u.mean() - 3) < 4 * 3 * np.sqrt(rate / (1 - rate)) / n
    # one mask for all steps: from an eye on the diagonal, h_t = u_ii^t or 0
    h, _ = run(unroll(core), {"u": jnp.eye(n)}, jnp.zeros((3, n)), jnp.ones(n), KEY)
    assert set(np.round(np.unique(h), 4)) == {0.0, np.round(np.float32((4 / 3) ** 3), 4)}


def test_bidirectional_reads_from_both_ends():
    xs, cell = draw((T, D)), bidirectional(rnnjax.vanilla(H), rnnjax.mgu(H))
    p = example(cell, xs)
    _, forth = followed(vanilla(np.tanh), p.forward, ZERO, xs)
    _, back = followed(mgu, p.backward, ZERO, xs[::-1])
    np.testing.assert_allclose(run(cell, p, xs)[1], np.concatenate([forth, back[::-1]], 1), rtol=1e-5, atol=1e-6)
    both = bidirectional(rnnjax.vanilla(H), rnnjax.mgu(H), last=True)
    np.testing.assert_allclose(run(both, p, xs)[1], np.concatenate([forth[-1], back[-1]]), rtol=1e-5, atol=1e-6)


def test_the_two_directions_draw_noise_of_their_own():
    ys = run(bidirectional(dropout(0.5)), rnnjax.Directions((), ()), jnp.ones((T, 50)), key=KEY)[1]
    assert (ys[:, :50] != ys[:, 50:]).any()


def test_tied_weights_are_one_array_with_the_sum_of_both_gradients():
    net = stack(embed=rnnjax.embed(5, H), read=rnnjax.linear(5, bias=False))
    tied = tie_weights(net, lambda p, w: {**p, "read": {"w": w}}, lambda p: p["embed"]["w"].T)
    p = tied.init(KEY, jnp.int32(0))
    assert p["read"]["w"] is None
    w, c = p["embed"]["w"], draw((5,))
    slope = jax.grad(lambda p: run(tied, p, jnp.int32(3))[1] @ c)(p)["embed"]["w"]
    np.testing.assert_allclose(run(tied, p, jnp.int32(3))[1], w @ w[3], rtol=1e-5)
    # d/dw c^T w w_3 = c (x) w_3, and w^T c more in row 3
    want = np.outer(c, w[3])
    want[3] += w.T @ c
    np.testing.assert_allclose(slope, want, rtol=1e-5, atol=1e-6)


def test_starts():
    w, core = rnnjax.irnn(H, 0.5).init(KEY, jnp.ones(2000))
    np.testing.assert_array_equal(core["u"], 0.5 * np.eye(H))
    assert abs(w["w"].std() - 1e-3) < 4e-5
    for name in ("lstm", "gru", "mgu", "vanilla"):
        _, core = getattr(rnnjax, name)(H).init(KEY, jnp.ones(D))
        for block in np.split(np.asarray(core["u"]), core["u"].shape[1] // H, axis=1):
            np.testing.assert_allclose(block.T @ block, np.eye(H), atol=1e-5)
