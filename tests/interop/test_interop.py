"""Weights of torch and Keras compute here what their published equations compute, and the other way round."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _equations import (
    CLOSE,
    FEATURES,
    HIDDEN,
    XS,
    T,
    keras_layer,
    keras_weights,
    numbers,
    outputs,
    shaken,
    torch_module,
    torch_state,
    waves,
)
from flax import linen as nn

import rnnjax
from rnnjax import interop, run, unroll

KINDS = pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
DEPTHS = pytest.mark.parametrize("depth, directions", [(1, 1), (3, 1), (2, 2)])
BIAS = pytest.mark.parametrize("bias", [True, False])


@KINDS
@DEPTHS
@BIAS
def test_torch_weights_in_and_out(kind, depth, directions, bias):
    state = torch_state(kind, depth, directions, bias)
    expected = torch_module(kind, state, XS)
    cell, params = interop.from_torch(state)
    np.testing.assert_allclose(outputs(cell, params), expected, **CLOSE)
    back = interop.to_torch(params, reset_after=True)
    assert set(back) >= set(state) and all(back[k].shape == state[k].shape for k in state)
    np.testing.assert_allclose(torch_module(kind, back, XS), expected, **CLOSE)


@KINDS
@BIAS
def test_torch_weights_come_back_exactly_with_forget_bias_zero(kind, bias):
    state = torch_state(kind, 2, 2, bias)
    _, params = interop.from_torch(state, forget_bias=0.0)
    back = interop.to_torch(params, forget_bias=0.0, reset_after=True)
    assert set(back) == set(state)
    for name in state:
        if not name.startswith("bias"):
            np.testing.assert_array_equal(back[name], state[name])
        elif name.startswith("bias_ih"):
            other = name.replace("ih", "hh")
            np.testing.assert_allclose(back[name] + back[other], state[name] + state[other], rtol=1e-6)


def test_torch_params_are_those_of_the_default_layers_step_by_step():
    _, params = interop.from_torch(torch_state("LSTM", 2))
    expected = torch_module("LSTM", torch_state("LSTM", 2), XS)
    ys = outputs(unroll(rnnjax.stack(rnnjax.lstm(HIDDEN), rnnjax.lstm(HIDDEN))), params)
    np.testing.assert_allclose(ys, expected, **CLOSE)


def test_torch_relu_prefix_and_dropout():
    state = torch_state("RNN", 2)
    longer = {"encoder.rnn." + k: v for k, v in state.items()} | {"read.weight": numbers(2, 2)}
    cell, params = interop.from_torch(longer, nonlinearity="relu", dropout=0.5, prefix="encoder.rnn.")
    expected = torch_module("RNN", state, XS, lambda a: np.maximum(a, 0))
    np.testing.assert_allclose(outputs(cell, params), expected, **CLOSE)
    first = torch_module("RNN", {k: v for k, v in state.items() if "l0" in k}, XS, lambda a: np.maximum(a, 0))
    second = {k.replace("l1", "l0"): v for k, v in state.items() if "l1" in k}
    noisy = run(cell, params, XS, key=jax.random.key(3))[1]
    mask = rnnjax.run(
        rnnjax.dropout(0.5), (), jnp.asarray(first), key=rnnjax.base._cell.split(jax.random.key(3), 3)[1]
    )[1]
    assert 0 < np.mean(mask == 0) < 1 and not np.allclose(noisy, expected)
    np.testing.assert_allclose(noisy, torch_module("RNN", second, mask, lambda a: np.maximum(a, 0)), **CLOSE)
    assert set(interop.to_torch(params, prefix="rnn.")) == {"rnn." + k for k in state}


EXPORTS = {
    "lstm": (rnnjax.lstm(HIDDEN), "LSTM", {}),
    "lstm without bias": (rnnjax.lstm(HIDDEN, bias=False), "LSTM", {}),
    "lstm with another forget bias": (rnnjax.lstm(HIDDEN, forget_bias=0.5), "LSTM", {"forget_bias": 0.5}),
    "vanilla": (rnnjax.vanilla(HIDDEN), "RNN", {}),
    "vanilla without bias": (rnnjax.vanilla(HIDDEN, bias=False), "RNN", {}),
    "gru of cuDNN": (rnnjax.gru(HIDDEN, reset_after=True, recurrent_bias=True), "GRU", {}),
    "gru with one bias": (rnnjax.gru(HIDDEN, reset_after=True), "GRU", {"reset_after": True}),
    "gru with the inner bias": (rnnjax.gru(HIDDEN, reset_after=True, recurrent_bias=True, bias=False), "GRU", {}),
    "gru whose gate replaces": (
        rnnjax.gru(HIDDEN, reset_after=True, recurrent_bias=True, keep=False),
        "GRU",
        {"keep": False},
    ),
}
EXPORTED = pytest.mark.parametrize("layer, kind, arguments", EXPORTS.values(), ids=EXPORTS.keys())


@EXPORTED
def test_layers_trained_here_go_to_torch(layer, kind, arguments):
    cell = rnnjax.stack(rnnjax.bidirectional(layer), rnnjax.dropout(0.5), rnnjax.bidirectional(layer))
    params = shaken(cell, XS)
    state = interop.to_torch(params, **arguments)
    np.testing.assert_allclose(torch_module(kind, state, XS), outputs(cell, params), **CLOSE)


@EXPORTED
def test_layers_trained_here_go_to_keras(layer, kind, arguments):
    cell = rnnjax.bidirectional(layer)
    params = shaken(cell, XS)
    weights = interop.to_keras(params, **arguments)
    np.testing.assert_allclose(keras_layer(kind, weights, XS), outputs(cell, params), **CLOSE)


@EXPORTED
def test_layers_trained_here_go_to_flax(layer, kind, arguments):
    params = shaken(layer, XS[0])
    theirs = {"LSTM": nn.OptimizedLSTMCell, "GRU": nn.GRUCell, "RNN": nn.SimpleCell}[kind](HIDDEN)
    variables = {"params": {"cell": interop.to_flax_params(params, **arguments)}}
    np.testing.assert_allclose(nn.RNN(theirs).apply(variables, XS), outputs(unroll(layer), params), **CLOSE)


@pytest.mark.parametrize("keep", [True, False])
def test_a_gru_that_resets_before_the_matmul_goes_to_keras(keep):
    cell = unroll(rnnjax.gru(HIDDEN, keep=keep))
    params = shaken(cell, XS)
    weights = interop.to_keras(params, keep=keep)
    assert weights[2].shape == (3 * HIDDEN,)
    ys = keras_layer("GRU", weights, XS, reset_after=False)
    np.testing.assert_allclose(ys, outputs(cell, params), **CLOSE)


@pytest.mark.parametrize("kind, reset_after", [("SimpleRNN", True), ("LSTM", True), ("GRU", True), ("GRU", False)])
@pytest.mark.parametrize("directions", [1, 2])
@BIAS
def test_keras_weights_in_and_out(kind, reset_after, directions, bias):
    weights = keras_weights(kind, directions, bias, reset_after)
    expected = keras_layer(kind, weights, XS, reset_after)
    told = {} if bias else {"reset_after": reset_after}
    cell, params = interop.from_keras(weights, **told)
    np.testing.assert_allclose(outputs(cell, params), expected, **CLOSE)
    back = interop.to_keras(params, **told)
    if bias:
        assert [a.shape for a in back] == [a.shape for a in weights]
    np.testing.assert_allclose(keras_layer(kind, back, XS, reset_after), expected, **CLOSE)
    cell, params = interop.from_keras(weights, last=True, **told)
    ends = np.concatenate([expected[-1, :HIDDEN], expected[0, HIDDEN:]])
    np.testing.assert_allclose(outputs(cell, params), ends, **CLOSE)


# The last output for the weights number i = sin(i, i + 1, ...), in the order of the state dict or list, and the inputs
# cos(0, 1, ...), by the equations above in double precision.
WAVES = np.cos(np.arange(T * FEATURES), dtype=np.float32).reshape(T, FEATURES)
GOLDENS = {
    "torch RNN": [0.594108, -0.830196, -0.831519, -0.708904],
    "torch LSTM": [-0.918038, -0.212498, -0.010013, -0.0058],
    "torch GRU": [-0.601028, -0.526899, -0.186471, -0.290891],
    "keras SimpleRNN": [0.821651, 0.161124, -0.755753, -0.842077],
    "keras LSTM": [-0.454472, -0.494365, -0.136091, 0.075998],
    "keras GRU after": [0.309783, -0.89327, -0.658817, 0.946443],
    "keras GRU before": [0.423225, -0.793963, -0.237786, 0.902419],
}


@pytest.mark.parametrize("name", GOLDENS)
def test_outputs_by_hand(name):
    library, kind, *how = name.split()
    before = how == ["before"]
    if library == "torch":
        weights = torch_state(kind, draw=waves)
        (cell, params), expected = interop.from_torch(weights), torch_module(kind, weights, WAVES)
    else:
        weights = keras_weights(kind, reset_after=not before, draw=waves)
        (cell, params), expected = interop.from_keras(weights), keras_layer(kind, weights, WAVES, not before)
    np.testing.assert_allclose(outputs(cell, params, WAVES)[-1], GOLDENS[name], **CLOSE)
    np.testing.assert_allclose(expected[-1], GOLDENS[name], **CLOSE)
