"""Law: a fused window is the scan of its step in every composition of transformations, over several pieces."""

import functools

import jax
import jax.numpy as jnp
import pytest
from _helpers import close, draw, gappy, loss, moved

from rnnjax import (
    Seq,
    chunk,
    gru,
    gru_core,
    irnn,
    learn_carry,
    lstm,
    lstm_core,
    run,
    truncate,
    unroll,
    vanilla,
    vanilla_core,
    zoneout,
)
from rnnjax.cells._fused_window import piece_length

B, T, D, H = 2, 43, 3, 4
ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}
CELLS = {
    "lstm": lambda: lstm(H),
    "lstm without bias": lambda: lstm(H, 0.5, bias=False),
    "lstm core": lambda: lstm_core(H),
    "irnn": lambda: irnn(H),
    "learned carry": lambda: learn_carry(lstm(H)),
    **{f"vanilla {name}": lambda f=f: vanilla(H, f) for name, f in ACTIVATIONS.items()},
    "vanilla core": lambda: vanilla_core(H),
    **{f"gru {a} {k}": lambda a=a, k=k: gru(H, a, k) for a in (True, False) for k in (True, False)},
    "gru of cudnn": lambda: gru(H, reset_after=True, recurrent_bias=True, bias=False),
    "gru core": lambda: gru_core(H),
    "gru core of cudnn": lambda: gru_core(H, reset_after=True, keep=False, recurrent_bias=True),
    "lstm norm": lambda: lstm(H, 0.5, layer_norm=True),
    "lstm core norm": lambda: lstm_core(H, layer_norm=True),
    "vanilla norm": lambda: vanilla(H, layer_norm=True),
    "vanilla norm of many inputs": lambda: vanilla(D - 1, layer_norm=True),
    "gru norm": lambda: gru(H, True, recurrent_bias=True, layer_norm=True),
    "gru core norm": lambda: gru_core(H, True, False, layer_norm=True),
}
WIDTHS = {"lstm core": 4 * H, "gru core": 3 * H, "gru core of cudnn": 3 * H, "vanilla core": H} | {
    "lstm core norm": 4 * H,
    "gru core norm": 3 * H,
}


def both(name):
    """The window cell as it comes, and the scan of its step."""
    cell = CELLS[name]()
    assert cell.window is not None
    return unroll(cell), unroll(cell.replace(window=None))


@functools.cache
def arguments(name, steps=T):
    """A batch of inputs, params and a carry in double precision, away from where they start; marks for a Seq."""
    xs = draw((B, steps, WIDTHS.get(name, D)), jnp.float64)
    cell = both(name)[1]
    params = moved(cell.init(jax.random.key(0), xs[0]), 0.2)
    return params, moved(cell.initial_carry(cell.weights(params), xs[0])), xs


def marks(xs):
    """A window with gaps and restarts in every piece."""
    steps = xs.shape[0]
    valid, first = (tuple((i * k) % 7 != j for i in range(steps)) for k, j in ((3, 2), (5, 0)))
    return gappy(xs, valid, tuple(not f for f in first))


def total(cell, params, carry, xs):
    """A loss of all outputs and the last carry, plain and as a Seq, nonlinear so that second derivatives matter."""

    def of(xs):
        last, ys = run(cell, params, xs, carry)
        return loss(jax.tree.map(lambda a: a + a**3, (last, ys.x if isinstance(ys, Seq) else ys)))

    return of(xs) + of(marks(xs))


NEAR = {n for n in CELLS if "core" in n} | {"vanilla norm", "gru norm", "lstm without bias", "irnn", "vanilla sigmoid"}
NEAR |= {
    "vanilla norm of many inputs",
    "gru True False",
    "gru False False",
    "gru of cudnn",
}  # near to others: for the long suite


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in NEAR)) for n in CELLS])
def test_values_and_gradients(name, x64, optimized):
    params, carry, xs = arguments(name)
    fast, slow = (jax.jit(jax.value_and_grad(functools.partial(total, c), (0, 1, 2))) for c in both(name))
    close(fast(params, carry, xs[0]), slow(params, carry, xs[0]), rtol=1e-12, atol=1e-12)


def directional(f, params, carry, xs):
    """The slope of f along one direction of all its arguments."""
    args = (params, carry, xs)
    return loss(jax.grad(lambda args: f(*args))(args), seed=5)


def batched(f):
    return lambda params, carry, xs: jax.vmap(f, (None, None, 0))(params, carry, xs).sum()


def members(params):
    return jax.tree.map(lambda a: jnp.stack([a, a / 2]), params)


EVERYTHING = (0, 1, 2)
COMPOSITIONS = {
    "a batch": lambda f: jax.grad(batched(f), EVERYTHING),
    "per example": lambda f: jax.vmap(jax.grad(f, EVERYTHING), (None, None, 0)),
    "a population": lambda f: lambda p, h, xs: jax.vmap(jax.grad(batched(f)), (0, None, None))(members(p), h, xs),
    "recomputed": lambda f: jax.grad(batched(jax.checkpoint(f)), EVERYTHING),
    "twice": lambda f: lambda p, h, xs: jax.grad(lambda *a: directional(f, *a), EVERYTHING)(p, h, xs[0]),
}


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize(
    "name", ["lstm", *(pytest.param(n, marks=pytest.mark.slow) for n in ("gru False True", "lstm norm"))]
)
def test_compositions(name, composition, x64):
    args = arguments(name, 60)
    fast, slow = (jax.jit(COMPOSITIONS[composition](functools.partial(total, c))) for c in both(name))
    close(fast(*args), slow(*args), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("core", [False, True])
def test_a_forget_bias_may_be_a_tracer(core, x64):
    make = lstm_core if core else lstm
    params, carry, xs = arguments("lstm core" if core else "lstm")

    def gradients(change):
        def of(bias, params):
            cell = unroll(change(make(H, forget_bias=bias)))
            return jax.vmap(lambda x: total(cell, params, carry, x))(xs).sum()

        return jax.jit(jax.vmap(jax.grad(of, (0, 1)), (0, None)))(jnp.array([0.0, 1.0, 2.0]), params)

    close(gradients(lambda c: c), gradients(lambda c: c.replace(window=None)), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vanilla tanh", "lstm", "lstm norm", "gru True False"])
def test_units_are_held_over_several_pieces(name, x64):
    params, carry, xs = arguments(name)
    keys = jax.random.split(jax.random.key(5), T)

    def gradient(change):
        cell = unroll(change(zoneout(CELLS[name](), 0.3)))

        def of(params, carry, x):
            (last, ys), (end, held) = (run(cell, params, s, carry, keys) for s in (x, marks(x)))
            return loss(jax.tree.map(lambda a: a + a**3, (last, ys, end, held.x)))

        return jax.jit(jax.value_and_grad(of, (0, 1, 2)))(params, carry, xs[0])

    close(gradient(lambda c: c), gradient(lambda c: c.replace(window=None)), rtol=1e-11, atol=1e-11)


def test_truncation_stops_at_its_edges(x64):
    params, carry, xs = arguments("lstm")

    def gradient(cell):
        cut = chunk(truncate(cell), 11)
        return jax.jit(jax.grad(lambda p: total(cut, p, carry, xs[0])))(params)

    fast, slow = map(gradient, both("lstm"))
    close(fast, slow, rtol=1e-12, atol=1e-12)


def test_an_activation_of_the_users_is_scanned():
    assert vanilla(H, lambda a: jnp.tanh(a) / 2).window is not None  # layer by layer
    assert vanilla_core(H, lambda a: jnp.tanh(a) / 2).window is None


def test_wrong_pre_activations_are_refused_by_the_window_too():
    cell = unroll(lstm_core(H))
    with pytest.raises(ValueError, match="params are for 16 features"):
        run(cell, {"u": jnp.zeros((H, 4 * H))}, jnp.zeros((T, 3 * H)))


def test_pieces_are_about_twenty_steps():
    lengths = {steps: piece_length(steps) for steps in (1, 35, 50, 100, 101, 220, 784, 1000)}
    assert lengths == {1: 1, 35: 35, 50: 25, 100: 20, 101: 20, 220: 20, 784: 16, 1000: 20}
