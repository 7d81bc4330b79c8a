"""The other libraries themselves, where they are installed (extra `bench`): same weights, same outputs."""

from __future__ import annotations

import os
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _equations import CLOSE, FEATURES, HIDDEN, XS, T, keras_weights, numbers, outputs, shaken, torch_state, waves
from test_interop import EXPORTED, GOLDENS, WAVES

import rnnjax
from rnnjax import interop, unroll

# Keras's get_weights warns under NumPy 2, about itself.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
BATCH = numbers(2, T, FEATURES)
SIZES = pytest.mark.parametrize("depth, directions", [pytest.param(3, 1, marks=pytest.mark.slow), (1, 1), (2, 2)])


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install rnnjax[bench]")
    torch.manual_seed(0)
    return torch


@pytest.fixture
def keras():
    """Keras on JAX, which leans on the promotions that these tests forbid ourselves."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        keras = pytest.importorskip("keras", reason="keras is not installed: pip install rnnjax[bench]")
        keras.utils.set_random_seed(0)
        yield keras


def tensors(torch, state):
    return {name: torch.from_numpy(a) for name, a in state.items()}


def asked(torch, module, xs):
    with torch.no_grad():
        return module(torch.from_numpy(np.array(xs)))[0].numpy()


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@SIZES
@pytest.mark.parametrize("bias", [True, False])
def test_a_torch_module_in_and_out(torch, kind, depth, directions, bias):
    torch.manual_seed(depth)
    module = getattr(torch.nn, kind)(FEATURES, HIDDEN, depth, bias=bias, bidirectional=directions == 2)
    for cell, params in (interop.from_torch(module), interop.from_torch(module.state_dict(), forget_bias=0.0)):
        ys = jax.vmap(lambda xs, cell=cell, params=params: rnnjax.run(cell, params, xs)[1])(BATCH)
        expected = np.stack([asked(torch, module, xs) for xs in BATCH])
        np.testing.assert_allclose(ys, expected, **CLOSE)
    state = interop.to_torch(params, forget_bias=0.0, reset_after=True)
    again = getattr(torch.nn, kind)(FEATURES, HIDDEN, depth, bias=bias, bidirectional=directions == 2)
    again.load_state_dict(tensors(torch, state))
    np.testing.assert_allclose(asked(torch, again, XS), asked(torch, module, XS), **CLOSE)


def test_a_torch_module_tells_its_nonlinearity_and_dropout(torch):
    module = torch.nn.RNN(FEATURES, HIDDEN, 2, nonlinearity="relu", dropout=0.5).eval()
    cell, params = interop.from_torch(module)
    np.testing.assert_allclose(outputs(cell, params), asked(torch, module, XS), **CLOSE)
    draws = np.stack([outputs(cell, params, key=jax.random.key(i)) for i in range(2)])
    assert not np.allclose(draws[0], draws[1])


def test_torch_tensors_keep_their_dtype(torch):
    module = torch.nn.LSTM(FEATURES, HIDDEN).bfloat16()
    params = interop.from_torch(module)[1]
    assert {a.dtype for a in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(params[0]["w"].astype(float).T, module.weight_ih_l0.detach().float().numpy())
    module.load_state_dict(tensors(torch, interop.to_torch(params)))


@EXPORTED
def test_layers_trained_here_run_in_torch(torch, layer, kind, arguments):
    cell = rnnjax.stack(rnnjax.bidirectional(layer), rnnjax.bidirectional(layer))
    params = shaken(cell, XS)
    state = interop.to_torch(params, **arguments)
    module = getattr(torch.nn, kind)(FEATURES, HIDDEN, 2, bidirectional=True, bias="bias_ih_l0" in state)
    module.load_state_dict(tensors(torch, state))
    np.testing.assert_allclose(asked(torch, module, XS), outputs(cell, params), **CLOSE)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_the_goldens_are_torchs(torch, kind):
    module = getattr(torch.nn, kind)(FEATURES, HIDDEN)
    module.load_state_dict(tensors(torch, torch_state(kind, draw=waves)))
    np.testing.assert_allclose(asked(torch, module, WAVES)[-1], GOLDENS[f"torch {kind}"], **CLOSE)


KERAS = pytest.mark.parametrize(
    "kind, arguments",
    [
        ("SimpleRNN", {"activation": "relu"}),
        ("LSTM", {}),
        ("GRU", {}),
        ("GRU", {"reset_after": False}),
        ("GRU", {"reset_after": False, "use_bias": False}),
        ("LSTM", {"use_bias": False}),
    ],
    ids=str,
)


def built(keras, layer):
    """A Keras layer with random weights, its biases too."""
    layer.build((None, T, FEATURES))
    layer.set_weights([w + numbers(*w.shape, seed=3) / 3 for w in layer.get_weights()])
    return layer


def keras_layer(keras, kind, directions, sequences=True, **arguments):
    layer = getattr(keras.layers, kind)(HIDDEN, return_sequences=sequences, **arguments)
    return built(keras, keras.layers.Bidirectional(layer) if directions == 2 else layer)


def answer(layer, batch=BATCH):
    return np.asarray(layer(batch))


@KERAS
@pytest.mark.parametrize(
    "directions, sequences",
    [(1, True), (2, False), *(pytest.param(*p, marks=pytest.mark.slow) for p in [(1, False), (2, True)])],
)
def test_a_keras_layer_in_and_out(keras, kind, arguments, directions, sequences):
    layer = keras_layer(keras, kind, directions, sequences, **arguments)
    cell, params = interop.from_keras(layer)
    ys = jax.vmap(lambda xs: rnnjax.run(cell, params, xs)[1])(BATCH)
    np.testing.assert_allclose(ys, answer(layer), **CLOSE)
    told = {"reset_after": arguments.get("reset_after", True)}
    _, same = interop.from_keras(
        layer.get_weights(), activation=arguments.get("activation", "tanh"), forget_bias=0.0, **told
    )
    again = keras_layer(keras, kind, directions, sequences, **arguments)
    again.set_weights(interop.to_keras(same, forget_bias=0.0, **told))
    np.testing.assert_allclose(answer(again), answer(layer), **CLOSE)


def test_keras_layers_stack(keras):
    layers = [keras_layer(keras, "GRU", 2), keras.layers.LSTM(HIDDEN)]
    expected = answer(keras.Sequential(layers))
    cells, params = zip(*map(interop.from_keras, layers))
    ys = jax.vmap(lambda xs: rnnjax.run(rnnjax.stack(*cells), params, xs)[1])(BATCH)
    np.testing.assert_allclose(ys, expected, **CLOSE)


def test_a_layer_trained_here_runs_in_keras(keras):
    cell = unroll(rnnjax.lstm(HIDDEN))
    params = shaken(cell, XS)
    layer = keras_layer(keras, "LSTM", 1)
    layer.set_weights(interop.to_keras(params))
    np.testing.assert_allclose(answer(layer, XS[None])[0], outputs(cell, params), **CLOSE)


@pytest.mark.parametrize("name", [name for name in GOLDENS if name.startswith("keras")])
def test_the_goldens_are_keras_s(keras, name):
    kind, *how = name.split()[1:]
    after = how != ["before"]
    layer = keras_layer(keras, kind, 1, **({"reset_after": after} if how else {}))
    layer.set_weights(keras_weights(kind, reset_after=after, draw=waves))
    np.testing.assert_allclose(answer(layer, WAVES[None])[0, -1], GOLDENS[name], **CLOSE)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda k: k.LSTM(HIDDEN, activation="relu"), "LSTM has activation='relu'.*expected 'tanh'"),
        (lambda k: k.GRU(HIDDEN, recurrent_activation="hard_sigmoid"), "recurrent_activation='hard_sigmoid'"),
        (lambda k: k.SimpleRNN(HIDDEN, go_backwards=True), "go_backwards=True"),
        (lambda k: k.Bidirectional(k.LSTM(HIDDEN), merge_mode="sum"), "merge_mode='sum'.*expected 'concat'"),
        (
            lambda k: k.Bidirectional(
                k.SimpleRNN(HIDDEN), backward_layer=k.SimpleRNN(HIDDEN, activation="relu", go_backwards=True)
            ),
            "backward activation='relu'",
        ),
        (lambda k: k.Dense(HIDDEN), "Dense is not a SimpleRNN, LSTM, GRU"),
    ],
)
def test_keras_layers_without_a_counterpart_are_refused(keras, make, message):
    with pytest.raises(ValueError, match=message):
        interop.from_keras(built(keras, make(keras.layers)))


def test_the_page_for_users_runs(torch, keras):
    page = pathlib.Path(__file__).parents[2] / "docs" / "interop.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 4
    exec("\n".join(blocks), {})


def test_files_of_ours_are_read_by_safetensors_and_theirs_by_us(tmp_path):
    theirs = pytest.importorskip("safetensors.numpy", reason="safetensors is not installed")
    params = shaken(unroll(rnnjax.lstm(HIDDEN)), XS)
    interop.save_params(tmp_path / "ours.safetensors", params)
    read = theirs.load_file(tmp_path / "ours.safetensors")
    named = {"0/w": params[0]["w"], "0/b": params[0]["b"], "1/u": params[1]["u"]}
    assert read.keys() == named.keys() and all(np.array_equal(read[name], named[name]) for name in named)
    theirs.save_file(read, tmp_path / "theirs.safetensors", metadata={"format": "np"})
    again = interop.load_params(tmp_path / "theirs.safetensors", params)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True))


def test_a_layer_goes_to_torch_and_back_in_a_file(torch, tmp_path):
    layer = unroll(rnnjax.lstm(HIDDEN))
    params = shaken(layer, XS)
    interop.save_params(tmp_path / "lstm.safetensors", interop.to_torch(params, forget_bias=1.0))
    state = interop.load_arrays(tmp_path / "lstm.safetensors")
    module = torch.nn.LSTM(FEATURES, HIDDEN)
    module.load_state_dict(tensors(torch, state))
    expected = outputs(layer, params)
    np.testing.assert_allclose(asked(torch, module, XS), expected, **CLOSE)
    cell, back = interop.from_torch(state)
    np.testing.assert_allclose(outputs(cell, back), expected, **CLOSE)
