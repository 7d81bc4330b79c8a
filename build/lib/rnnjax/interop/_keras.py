"""Weights of Keras's SimpleRNN, LSTM and GRU as the lists of get_weights and set_weights; Keras is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnjax.base import Cell, PyTree, unroll
from rnnjax.interop._layers import (
    ACTIVATIONS,
    Layer,
    exported,
    find,
    gates,
    imported,
    inner_bias,
    outer_bias,
    reorder,
    shaped,
)
from rnnjax.wrappers import Directions, bidirectional
from rnnjax.wrappers import last as last_output

_SWAP = (1, 0, 2)  # converts between Keras's gate order z, r, h and ours, r, z, n, in both directions


def from_keras(
    source: Any,
    activation: str = "tanh",
    reset_after: bool = True,
    last: bool = False,
    forget_bias: float = 1.0,
    both_ways: bool = False,
) -> tuple[Cell, PyTree]:
    """Returns a cell and params that compute the same as a Keras SimpleRNN, LSTM or GRU on a sequence `[T, features]`.

        i, f, c, o = x kernel + h recurrent_kernel + bias       LSTM: i, f, g, o here
        z, r, h    = x kernel + h recurrent_kernel + bias       GRU: r, z, n here; z keeps the state in both

    Two or three arrays are one direction, four or six a Bidirectional (merge_mode="concat"). The cell is a window cell:
    `unroll(layer)` or `bidirectional(layer)`. For several Keras layers, stack the cells and collect the params in a
    tuple. The forget bias of an LSTM is subtracted from the bias, so the params fit `lstm(hidden)`.

    Args:
      source: `layer.get_weights()`, or the layer itself; a layer's own activation, reset_after and return_sequences
        override the arguments. Dropout inside the layer is ignored.
      activation: tanh, relu, sigmoid or linear; for a SimpleRNN, whose weights do not determine it.
      reset_after: for a GRU without bias; a bias determines it (one row: reset before the matmul, two rows: after).
      last: return only the last output, as return_sequences=False does; for two directions, the last state of each.
      forget_bias: that of the returned `lstm`; it is subtracted from b, so 0.0 copies b exactly.
      both_ways: four or six arrays are a Bidirectional. Must be said where the layer has as many features as units:
        there two layers, one on the other, look the same.

    Returns:
      (cell, params).

    Raises:
      ValueError: a wrong number or shape of arrays, or a setting of the layer that is not supported; the message names
        it.

    Example:
      >>> import numpy as np, rnnjax
      >>> cell, params = from_keras([np.ones((3, 4)), np.eye(4), np.zeros(4)], activation="relu")
      >>> print(rnnjax.run(cell, params, np.ones((2, 3), np.float32))[1])
      [[3. 3. 3. 3.]
       [6. 6. 6. 6.]]

    Reference: keras.layers.LSTM and keras.layers.GRU, Keras documentation.
    """
    if hasattr(source, "get_weights"):
        activation, reset_after, last = _settings(source.get_config(), type(source).__name__)
        both_ways = True
        source = source.get_weights()
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {sorted(ACTIVATIONS)}, got {activation!r}")
    n = len(source)
    if n not in (2, 3, 4, 6):
        raise ValueError(
            f"expected 2, 3, 4 or 6 arrays (kernel, recurrent_kernel, perhaps bias, of one or both directions), got {n}"
        )
    if n >= 4:
        _check_directions(np.shape(source[0]), np.shape(source[n // 2]), np.shape(source[1]), both_ways)
    halves = [source] if n < 4 else [source[: n // 2], source[n // 2 :]]
    parts = [
        imported(_read(half, reset_after, which), ACTIVATIONS[activation], forget_bias)
        for half, which in zip(halves, ("", "backward ") if len(halves) == 1 else ("forward ", "backward "))
    ]
    cells, params = zip(*parts)
    if len(parts) == 2:
        return bidirectional(cells[0], cells[1], last), Directions(*params)
    cell = unroll(cells[0])
    return (last_output(cell) if last else cell), params[0]


def _check_directions(first: tuple[int, ...], second: tuple[int, ...], recurrent: tuple[int, ...], told: bool) -> None:
    """Refuses the arrays of two layers, one on the other, and what may be either."""
    if first != second:
        raise ValueError(
            f"kernels {list(first)} and {list(second)}: these are the arrays of several layers, convert them one by one"
        )
    if first[:1] == recurrent[:1] and not told:
        raise ValueError(
            f"two kernels {list(first)} are a Bidirectional or two layers: say both_ways=True, or convert each layer"
        )


def _settings(config: dict[str, Any], name: str) -> tuple[str, bool, bool]:
    """Returns (activation, reset_after, last) from a layer's configuration, and rejects settings not supported here."""

    def want(key: str, value: Any, *allowed: Any) -> None:
        if value not in allowed:
            expected = " or ".join(map(repr, allowed))
            raise ValueError(f"{name} has {key}={value!r}, which has no counterpart: expected {expected}")

    inner = [config[key]["config"] for key in ("layer", "backward_layer") if key in config] or [config]
    want("merge_mode", config.get("merge_mode", "concat"), "concat")
    for one, backwards in zip(inner, (False, True)):
        if not {"units", "activation", "return_sequences"} <= set(one):
            raise ValueError(f"{name} is not a SimpleRNN, LSTM, GRU or a Bidirectional of one")
        gated = "recurrent_activation" in one
        want("go_backwards", one["go_backwards"], backwards)
        want("activation", one["activation"], *(["tanh"] if gated else list(ACTIVATIONS)))
        want("recurrent_activation", one.get("recurrent_activation", "sigmoid"), "sigmoid")
        for key in ("activation", "reset_after", "return_sequences"):
            want(f"backward {key}", one.get(key), inner[0].get(key))
    return inner[0]["activation"], inner[0].get("reset_after", True), not inner[0]["return_sequences"]


def _read(weights: Sequence[Any], reset_after: bool, which: str) -> Layer:
    """Returns the layer of one direction."""
    u = shaped(f"{which}recurrent_kernel", weights[1], None, None)
    hidden, n = gates(f"{which}recurrent_kernel", u)
    w = shaped(f"{which}kernel", weights[0], None, n * hidden)
    if len(weights) == 2:
        layer = Layer(w, u, reset_after=reset_after)
    elif n == 3 and np.ndim(weights[2]) == 2:
        b, inner = shaped(f"{which}bias", weights[2], 2, n * hidden)
        summed = b + np.concatenate([inner[: 2 * hidden], np.zeros_like(b[2 * hidden :])])
        layer = Layer(w, u, summed, inner[2 * hidden :], reset_after=True)
    else:
        layer = Layer(w, u, shaped(f"{which}bias", weights[2], n * hidden))
    return _swapped(layer) if n == 3 else layer


def _swapped(layer: Layer) -> Layer:
    """Returns a GRU with its first two gates swapped."""
    b = None if layer.b is None else reorder(layer.b, _SWAP)
    return layer._replace(w=reorder(layer.w, _SWAP), u=reorder(layer.u, _SWAP), b=b)


def to_keras(
    params: PyTree, forget_bias: float = 1.0, reset_after: bool = False, keep: bool = True
) -> list[np.ndarray]:
    """Returns the list for `set_weights` of the Keras SimpleRNN, LSTM, GRU or Bidirectional that computes the same.

    A GRU with a recurrent bias or with reset_after=True needs `keras.layers.GRU(hidden, reset_after=True)`; any other
    needs reset_after=False. If there is no bias, the layer needs use_bias=False.

    Args:
      params: the params of one `lstm`, `vanilla` or `gru` layer, or of one `bidirectional`. Convert a stack part by
        part.
      forget_bias, reset_after, keep: the arguments that `lstm` or `gru` was built with, with the same defaults; the
        params do not determine them. A recurrent bias implies reset_after.

    Returns:
      [kernel, recurrent_kernel, bias], followed by those of the backward direction if there is one.

    Raises:
      ValueError: Keras has no such layer (an MGU, layer norm, peepholes), or the params belong to several layers.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = rnnjax.gru(4).init(jax.random.key(0), jnp.ones(3))
      >>> [a.shape for a in to_keras(params)]
      [(3, 12), (4, 12), (12,)]
    """
    found = find(params)
    if len(found) != 1:
        raise ValueError(f"expected the params of one layer, these hold {len(found)}: convert a stack part by part")
    layers = [exported(name, p, forget_bias, reset_after, keep) for name, p in found[0]]
    bias = any(layer.b is not None or layer.inner is not None for layer in layers)
    return [a for layer in layers for a in _arrays(layer, bias)]


def _arrays(layer: Layer, bias: bool) -> list[np.ndarray]:
    """Returns the arrays of one direction."""
    ours = [layer.w, layer.u]
    if bias and layer.reset_after:
        ours.append(np.stack([outer_bias(layer), inner_bias(layer)]))
    elif bias:
        ours.append(outer_bias(layer))
    return [reorder(a, _SWAP) for a in ours] if layer.kind == "gru" else ours
