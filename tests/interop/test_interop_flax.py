"""flax modules run here, cells run there, and the weights of flax's own cells go either way."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _equations import CLOSE, FEATURES, HIDDEN, XS, T, numbers, outputs, shaken
from flax import linen as nn
from flax import serialization

import rnnjax
from rnnjax import interop, run, unroll

FLAX = pytest.mark.parametrize("theirs", [nn.LSTMCell, nn.OptimizedLSTMCell, nn.GRUCell, nn.SimpleCell])


def flax_variables(module, xs=XS):
    variables = module.init(jax.random.key(0), xs)
    return jax.tree.map(lambda p: p + 0.3 * numbers(*p.shape, seed=2), variables)


@FLAX
def test_flax_weights_in_and_out(theirs):
    module = nn.Bidirectional(nn.RNN(theirs(HIDDEN)), nn.RNN(theirs(HIDDEN)))
    variables = flax_variables(module)
    halves = [variables["params"][name]["cell"] for name in ("forward_rnn", "backward_rnn")]
    (forward, p), (backward, q) = (interop.from_flax_params(tree) for tree in halves)
    ys = outputs(rnnjax.bidirectional(forward, backward), rnnjax.Directions(p, q))
    np.testing.assert_allclose(ys, module.apply(variables, XS), **CLOSE)
    back = {
        "params": {name: {"cell": interop.to_flax_params(p)} for name, p in (("forward_rnn", p), ("backward_rnn", q))}
    }
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), back, variables)


def test_flax_weights_of_two_layers():
    module = nn.Sequential([nn.RNN(nn.LSTMCell(HIDDEN)), nn.RNN(nn.SimpleCell(5, activation_fn=nn.relu))])
    variables = flax_variables(module)
    first, second = (variables["params"][f"layers_{i}"]["cell"] for i in (0, 1))
    (a, p), (b, q) = interop.from_flax_params(first), interop.from_flax_params(second, activation="relu")
    np.testing.assert_allclose(outputs(unroll(rnnjax.stack(a, b)), (p, q)), module.apply(variables, XS), **CLOSE)


@pytest.mark.parametrize("theirs", [nn.LSTMCell, nn.GRUCell, nn.SimpleCell, nn.MGUCell])
def test_from_flax_runs_any_flax_cell(theirs):
    module = theirs(HIDDEN)
    cell = unroll(interop.from_flax(module))
    params = shaken(cell, XS)
    expected = nn.RNN(module, return_carry=True).apply({"params": {"cell": params}}, XS)
    carry, ys = jax.jit(lambda params: run(cell, params, XS))(params)
    np.testing.assert_allclose(ys, expected[1], **CLOSE)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **CLOSE), carry, expected[0])


def test_from_flax_runs_a_convolutional_cell():
    module, xs = nn.ConvLSTMCell(2, (3, 3)), numbers(T, 5, 5, 1)
    cell = unroll(interop.from_flax(module))
    params = shaken(cell, xs)
    expected = nn.RNN(module).apply({"params": {"cell": params}}, xs)
    np.testing.assert_allclose(outputs(cell, params, xs), expected, **CLOSE)


class Encoder(nn.Module):
    """An encoder with every way to say that this is training."""

    @nn.compact
    def __call__(self, x, train=False, *, deterministic=True):
        x = nn.Dropout(0.5, deterministic=False)(nn.Dense(8)(x))  # from_flax alone can turn it off
        return nn.Dropout(0.5)(x, deterministic=deterministic), jnp.float32(train)


def test_from_flax_encodes_without_noise_when_no_key_is_given():
    cell = unroll(interop.from_flax(Encoder()))
    params = cell.init(jax.random.key(0), XS)
    ys, training = outputs(cell, params)
    kernel, bias = map(np.asarray, (params["Dense_0"]["kernel"], params["Dense_0"]["bias"]))
    np.testing.assert_allclose(ys, XS @ kernel + bias, **CLOSE)
    np.testing.assert_array_equal(training, 0)


def test_from_flax_draws_noise_of_its_own_at_each_step_alike_in_windows_and_steps():
    one = interop.from_flax(Encoder())
    cell = unroll(one)
    params = cell.init(jax.random.key(0), XS)
    ys, training = outputs(cell, params, key=jax.random.key(1))
    clean, _ = outputs(cell, params)
    kept = np.asarray(ys) != 0
    np.testing.assert_array_equal(training, 1)
    np.testing.assert_allclose(ys[kept], 4 * clean[kept], **CLOSE)  # two masks of rate a half, both kept
    assert 0.1 < kept.mean() < 0.5 and (kept != kept[0]).any()
    for x, key, y in zip(XS, jax.random.split(jax.random.key(1), T), ys):
        np.testing.assert_allclose(run(one, params, x, key=key)[1][0], y, **CLOSE)


def test_from_flax_feeds_the_named_streams_different_keys():
    class Streams(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jnp.stack([jax.random.normal(self.make_rng(s)) for s in ("params", "other")])

    cell = interop.from_flax(Streams(), streams=("params", "other"))
    a, b = run(cell, {}, jnp.ones(()), key=jax.random.key(0))[1]
    assert a != b


def test_from_flax_stands_in_a_stack_and_has_a_gradient():
    dense = nn.Dense(HIDDEN)
    cell = unroll(rnnjax.stack(encode=interop.from_flax(dense), core=rnnjax.vanilla(HIDDEN)))
    ours = unroll(rnnjax.stack(encode=rnnjax.linear(HIDDEN), core=rnnjax.vanilla(HIDDEN)))
    params = shaken(cell, XS)
    grad = jax.grad(lambda p: (run(cell, p, XS)[1] ** 2).sum())(params)
    same = params | {"encode": {"w": params["encode"]["kernel"], "b": params["encode"]["bias"]}}
    expected = jax.grad(lambda p: (run(ours, p, XS)[1] ** 2).sum())(same)
    np.testing.assert_allclose(grad["encode"]["kernel"], expected["encode"]["w"], **CLOSE)
    np.testing.assert_allclose(grad["core"][1]["u"], expected["core"][1]["u"], **CLOSE)


LEARNED = rnnjax.learn_carry(rnnjax.stack(rnnjax.lstm(HIDDEN), rnnjax.gru(HIDDEN)))


def test_to_flax_computes_the_same_in_value_and_gradient():
    module = nn.RNN(interop.to_flax(LEARNED))
    batch = numbers(2, T, FEATURES)
    params = shaken(unroll(LEARNED), batch[0])
    assert jax.tree.structure(module.init(jax.random.key(0), batch)["params"]["cell"]["cell"]) == jax.tree.structure(
        params
    )

    def theirs(params):
        return (module.apply({"params": {"cell": {"cell": params}}}, batch) ** 3).sum()

    def ours(params):
        return (jax.vmap(lambda xs: run(unroll(LEARNED), params, xs)[1])(batch) ** 3).sum()

    (a, grad), (b, expected) = (jax.jit(jax.value_and_grad(f))(params) for f in (theirs, ours))
    np.testing.assert_allclose(a, b, **CLOSE)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4), grad, expected)
    assert all(abs(a).max() > 1e-3 for a in jax.tree.leaves(expected["carry"]))  # the learned carry reached the loss


def test_to_flax_params_are_a_tree_flax_can_write():
    variables = nn.RNN(interop.to_flax(LEARNED)).init(jax.random.key(0), XS)
    blank = jax.tree.map(jnp.zeros_like, variables)
    back = serialization.from_bytes(blank, serialization.to_bytes(variables))
    jax.tree.map(np.testing.assert_array_equal, back, variables)


def test_to_flax_reads_symbols():
    cell = rnnjax.stack(rnnjax.embed(5, 3), rnnjax.vanilla(HIDDEN))
    xs = jnp.array([[0, 4, 2], [1, 1, 3]])
    module = nn.RNN(interop.to_flax(cell, feature_axes=0, dtype=jnp.int32))
    params = unroll(cell).init(jax.random.key(0), xs[0])
    ys = module.apply({"params": {"cell": {"cell": params}}}, xs)
    np.testing.assert_allclose(ys, jax.vmap(lambda x: run(unroll(cell), params, x)[1])(xs), **CLOSE)


def test_to_flax_draws_noise_from_the_dropout_stream():
    ones, key = jnp.ones((2, T, 16)), jax.random.key(1)
    cell = interop.to_flax(rnnjax.dropout(0.5))
    noisy = nn.RNN(cell, split_rngs={"params": False, "dropout": True})
    variables = noisy.init(jax.random.key(0), ones)
    np.testing.assert_array_equal(noisy.apply(variables, ones), 1)
    ys = noisy.apply(variables, ones, rngs={"dropout": key})
    assert set(np.unique(ys)) == {0, 2}
    assert (ys[0] != ys[1]).any() and (ys[:, 0] != ys[:, 1]).any()
    old = noisy.apply(variables, ones, rngs={"dropout": jax.random.PRNGKey(1)})
    np.testing.assert_array_equal(old, ys)


def test_to_flax_drops_connections_once_a_window():
    ones = jnp.ones((2, T, 16))
    scale = rnnjax.stateless(lambda key, x: {"u": jnp.ones(16)}, lambda p, x, key=None: p["u"] * x)
    module = nn.RNN(
        interop.to_flax(rnnjax.dropconnect(scale, 0.5)),
        split_rngs={"params": False, "dropout": True, "dropconnect": False},
    )
    variables = module.init(jax.random.key(0), ones)
    ys = module.apply(variables, ones, rngs={"dropconnect": jax.random.key(1), "dropout": jax.random.key(2)})
    assert set(np.unique(ys)) == {0, 2}
    np.testing.assert_array_equal(ys, jnp.broadcast_to(ys[0, 0], ys.shape))
