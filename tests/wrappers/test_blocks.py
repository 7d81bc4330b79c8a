"""Blocks beside their papers, once more in numpy; --block on the command line."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import draw, moved
from _launching import launch

import rnnjax
from rnnjax import app, run, unroll
from rnnjax.wrappers import BLOCKS, blocks, gated

STEPS, W = 9, 6


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def layer_norm(p, x):
    return (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * p["gain"] + p["bias"]


def rms(p, x):
    return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * p["gain"]


def affine(p, x):
    return x @ p["w"] + p.get("b", 0)


def convolution(p, x):
    _, p = p
    padded = np.concatenate([np.zeros((3, x.shape[1])), x])
    return sum(p["w"][i] * padded[3 - i : len(padded) - i] for i in range(4)) + p["b"]


def vanilla(p, x):
    h, hs = 0, []
    for z in affine(p[0], x):
        h = np.tanh(z + h @ p[1]["u"] if len(hs) else z)
        hs.append(h)
    return np.stack(hs)


def mlp(p, x, activation):
    up, down = p
    return affine(down, affine(up["cell"], x) * activation(affine(up["gate"][0], x)))


def s5(p, x):
    norm, layer, _, gate = p
    u = gelu(vanilla(layer, layer_norm(norm, x)))
    return x + u * sigmoid(affine(gate["gate"][0], u))


def griffin(p, x):
    (norm, mixing, out), (last, feed) = p
    n, (enter, taps, layer) = rms(norm, x), mixing["cell"]
    x = x + affine(out, gelu(affine(mixing["gate"][0], n)) * vanilla(layer, convolution(taps, affine(enter, n))))
    return x + mlp(feed, rms(last, x), gelu)


def mamba(p, x):
    norm, mixing, out = p
    n, (enter, taps, _, layer) = rms(norm, x), mixing["cell"]
    y = vanilla(layer, silu(convolution(taps, affine(enter, n))))
    return x + affine(out, y * silu(affine(mixing["gate"][0], n)))


def xlstm(p, x):
    (before, taps, _, layer, after), (last, feed) = p
    x = x + layer_norm(after, vanilla(layer, silu(convolution(taps, layer_norm(before, x)))))
    return x + mlp(feed, layer_norm(last, x), gelu)


def transformer(p, x):
    (norm, layer, out), (last, feed) = p
    x = x + affine(out, vanilla(layer, rms(norm, x)))
    return x + mlp(feed, rms(last, x), silu)


PAPERS = {"s5": s5, "griffin": griffin, "mamba": mamba, "xlstm": xlstm, "transformer": transformer}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_what_its_paper_draws(name, x64):
    cell, xs = unroll(BLOCKS[name](rnnjax.vanilla, W)), draw((STEPS, W), jnp.float64)
    params = moved(cell.init(jax.random.key(3), xs), 0.2)
    want = PAPERS[name](jax.tree.map(np.asarray, params), np.asarray(xs))
    np.testing.assert_allclose(jax.jit(lambda: run(cell, params, xs)[1])(), want, rtol=1e-9, atol=1e-11)


def parameters(cell, features):
    params = jax.eval_shape(cell.init, jax.random.key(0), jnp.ones(features))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


S6, RG_LRU = (functools.partial(f, input_map=False) for f in (rnnjax.s6, rnnjax.rg_lru))
COUNTS = {
    # norm; two maps in, one out; convolution; w_dt, u_dt, w_b, w_c, rate, step, d of 32 units, 16 states, rank 2
    "mamba": (S6, 16 + 3 * 16 * 32 + 5 * 32 + 32 * (2 + 2 + 3 * 16 + 2)),
    # two norms; two maps in, one out; convolution; two gates, decay of 24 units; three maps of the MLP
    "griffin": (RG_LRU, 32 + 2 * 17 * 24 + 25 * 16 + 5 * 24 + 2 * 24 * 25 + 24 + 2 * 17 * 48 + 49 * 16),
    "s5": (rnnjax.vanilla, 32 + 33 * 16 + 17 * 16),
    "xlstm": (rnnjax.vanilla, 3 * 32 + 5 * 16 + 33 * 16 + 2 * 17 * 22 + 23 * 16),
    "transformer": (rnnjax.vanilla, 32 + 33 * 16 + 16 * 16 + 2 * 17 * 43 + 44 * 16),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_parameters_of_a_block_and_of_a_stack(name):
    layer, count = COUNTS[name]
    assert parameters(BLOCKS[name](layer, 16), 16) == count
    norm = 32 if name in ("s5", "xlstm") else 16
    assert parameters(blocks(name, layer, 16, 3), 5) == 6 * 16 + 3 * count + norm


def config(*argv):
    [one] = app.run_configs(app.parse(app.common_flags(), ["x", *argv]))
    return one


@pytest.mark.parametrize("block", BLOCKS)
def test_the_flag_builds_the_stack(block):
    cell = config("--cell=rg_lru", f"--block={block}", "--hidden_size=16", "--num_layers=2").layers()
    assert parameters(cell, 5) == parameters(blocks(block, RG_LRU, 16, 2), 5)


def test_a_layer_keeps_its_map_where_the_flags_say_so_or_where_there_is_no_block():
    plain = parameters(config("--cell=s6", "--hidden_size=16").layers(), 5)
    assert plain == parameters(rnnjax.s6(16), 5) == parameters(rnnjax.s6(16, input_map=False), 16) + 6 * 16
    flags = ("--cell=s6", "--block=mamba", "--hidden_size=16")
    both = [parameters(config(*flags, *more).layers(), 5) for more in ((), ("--cell_args=input_map=True",))]
    assert both[1] - both[0] == 33 * 32


def test_dropout_of_a_block_is_off_without_a_key_and_on_with_one():
    cell = unroll(config("--cell=gru", "--block=griffin", "--hidden_size=8", "--dropout=0.5").layers())
    xs = draw((STEPS, 3))
    params = cell.init(jax.random.key(0), xs)
    twice = [run(cell, params, xs)[1] for _ in range(2)]
    noisy = run(cell, params, xs, key=jax.random.key(1))[1]
    assert (twice[0] == twice[1]).all() and abs(noisy - twice[0]).max() > 0.01


BAD = {
    "no block": (lambda: blocks("mambo", rnnjax.gru, 4, 1), "no block 'mambo'.*griffin"),
    "no depth": (lambda: blocks("s5", rnnjax.gru, 4, 0), "depth is an integer from 1"),
    "heads": (lambda: blocks("s5", lambda n: rnnjax.deltanet(n, 4), 7, 1), "divides its units"),
    "rate": (lambda: BLOCKS["mamba"](rnnjax.gru, 4, 1.5), "rate is a number"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_makes_no_block_is_refused(name):
    make, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_outputs_of_two_shapes_are_not_multiplied():
    cell = gated(rnnjax.linear(3), rnnjax.linear(1))
    with pytest.raises(ValueError, match=r"one shape, got \(3,\) and \(1,\)"):
        run(cell, cell.init(jax.random.key(0), jnp.ones(2)), jnp.ones(2))


@pytest.mark.parametrize(
    "argv, says",
    [
        (["adding", "--block=mambo"], "mambo"),
        (["depth", "--block=s5"], "--block=s5: this network is made of plain layers"),
        (["listops", "--cell=recnn", "--block=s5"], "is a cell of trees: it takes no --block"),
        (["adding", "--cell=deltanet", "--cell_args=heads=4", "--hidden_size=7", "--block=s5"], "divides its units"),
    ],
)
def test_a_block_that_does_not_fit_is_one_line_and_nothing_is_created(argv, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert launch(*argv, "--num_steps=1") != 0
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error
    assert not list(tmp_path.iterdir())
