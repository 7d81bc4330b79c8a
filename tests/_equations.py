"""What torch and Keras publish that their recurrent layers compute, once more in numpy, and weights for them."""

from __future__ import annotations

import re

import jax
import numpy as np

from rnnjax import run

FEATURES, HIDDEN, T = 3, 4, 6


def numbers(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


XS = numbers(T, FEATURES)


def drawn(i, *shape):
    """The weights number i, at random."""
    return numbers(*shape, seed=1 + i) / np.float32(2)


def waves(i, *shape):
    """The weights number i, of such as anybody can write down."""
    return np.sin(i + np.arange(np.prod(shape)), dtype=np.float32).reshape(shape)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def torch_equations(kind, w_ih, w_hh, b_ih, b_hh, xs, activation=np.tanh):
    h = c = np.zeros(w_hh.shape[1])
    for x in xs:
        a, v = w_ih @ x + b_ih, w_hh @ h + b_hh
        if kind == "LSTM":
            i, f, g, o = np.split(a + v, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif kind == "GRU":
            (a_r, a_z, a_n), (v_r, v_z, v_n) = np.split(a, 3), np.split(v, 3)
            z = sigmoid(a_z + v_z)
            h = (1 - z) * np.tanh(a_n + sigmoid(a_r + v_r) * v_n) + z * h
        else:
            h = activation(a + v)
        yield h


def torch_module(kind, state, xs, activation=np.tanh):
    """What the torch module with this state dict returns for one sequence."""
    depth = sum(bool(re.fullmatch(r"weight_ih_l\d+", name)) for name in state)
    for i in range(depth):
        ends = [f"_l{i}", f"_l{i}_reverse"] if f"weight_ih_l{i}_reverse" in state else [f"_l{i}"]
        halves = []
        for end, seen in zip(ends, (xs, xs[::-1])):
            w = [state.get(k + end, np.zeros(())) for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            ys = np.stack(list(torch_equations(kind, *w, seen, activation)))
            halves.append(ys if end == ends[0] else ys[::-1])
        xs = np.concatenate(halves, axis=1)
    return xs


def torch_state(kind, depth=1, directions=1, bias=True, draw=drawn):
    n = {"RNN": 1, "GRU": 3, "LSTM": 4}[kind] * HIDDEN
    state = {}
    for i in range(depth):
        for end in [f"_l{i}", f"_l{i}_reverse"][:directions]:
            features = FEATURES if i == 0 else HIDDEN * directions
            state |= {"weight_ih" + end: (n, features), "weight_hh" + end: (n, HIDDEN)}
            if bias:
                state |= {"bias_ih" + end: (n,), "bias_hh" + end: (n,)}
    return {name: draw(i, *shape) for i, (name, shape) in enumerate(state.items())}


def keras_equations(kind, weights, xs, reset_after=True):
    kernel, recurrent, bias = [*weights, np.zeros(np.shape(weights[0])[1])][:3]
    b, b_h = bias if np.ndim(bias) == 2 else (bias, np.zeros_like(bias))
    h = c = np.zeros(len(recurrent))
    for x in xs:
        a, v = x @ kernel + b, h @ recurrent + b_h
        if kind == "LSTM":
            i, f, g, o = np.split(a + v, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif kind == "GRU":
            z, r, _ = np.split(sigmoid(a + v), 3)
            inner = r * np.split(v, 3)[2] if reset_after else (r * h) @ np.split(recurrent, 3, axis=1)[2]
            h = z * h + (1 - z) * np.tanh(np.split(a, 3)[2] + inner)
        else:
            h = np.tanh(a + v)
        yield h


def keras_layer(kind, weights, xs, reset_after=True):
    """What the Keras layer with these weights returns for one sequence, a Bidirectional if there are twice as many."""
    n = len(weights) // 2 if len(weights) > 3 else len(weights)
    ys = np.stack(list(keras_equations(kind, weights[:n], xs, reset_after)))
    if n == len(weights):
        return ys
    return np.concatenate([ys, np.stack(list(keras_equations(kind, weights[n:], xs[::-1], reset_after)))[::-1]], 1)


def keras_weights(kind, directions=1, bias=True, reset_after=True, draw=drawn):
    n = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}[kind] * HIDDEN
    rows = (2, n) if kind == "GRU" and reset_after else (n,)
    shapes = [(FEATURES, n), (HIDDEN, n)] + ([rows] if bias else [])
    return [draw(i, *shape) for i, shape in enumerate(shapes * directions)]


def outputs(cell, params, xs=XS, key=None):
    return jax.jit(lambda params, xs: run(cell, params, xs, key=key)[1])(params, xs)


def shaken(cell, x, seed=1):
    """Params of a cell, none of them zero."""
    return jax.tree.map(lambda p: p + 0.3 * numbers(*p.shape, seed=seed), cell.init(jax.random.key(0), x))


CLOSE = {"atol": 1e-5, "rtol": 1e-5}
