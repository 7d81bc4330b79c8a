"""Conversion of the params of flax's own recurrent cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnjax.base import Cell, PyTree
from rnnjax.interop._layers import (
    ACTIVATIONS,
    Layer,
    exported,
    find,
    imported,
    inner_bias,
    outer_bias,
    resets_after,
    shaped,
)

_GATES = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n"), "vanilla": ("",)}
_BIASED = {"lstm": ("hi", "hf", "hg", "ho"), "gru": ("ir", "iz", "in", "hn"), "vanilla": ("i",)}


def from_flax_params(
    params: Mapping[str, Any], activation: str = "tanh", forget_bias: float = 1.0
) -> tuple[Cell, PyTree]:
    """Returns the single-step cell and params that compute the same as flax's LSTMCell, GRUCell or SimpleCell.

    Unlike `from_flax(module)`, which runs flax's code, this returns rnnjax's `lstm`, `gru(hidden, reset_after=True,
    recurrent_bias=True)` or `vanilla`. The forget bias of an LSTM is subtracted from b, so the params fit
    `lstm(hidden)`.

    Args:
      params: the cell's params, e.g. variables["params"]["cell"] of a `flax.linen.RNN`.
      activation: tanh, relu, sigmoid or linear; for a SimpleCell, whose params do not determine it.
      forget_bias: that of the returned `lstm`; it is subtracted from b, so 0.0 copies b exactly.

    Returns:
      (cell, params).

    Raises:
      ValueError: unknown or missing names, wrong shapes, or an MGUCell (its gate is the opposite of that of `mgu`).

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from flax import linen as nn
      >>> theirs, x = nn.GRUCell(4), jnp.ones(3)
      >>> variables = theirs.init(jax.random.key(0), jnp.zeros(4), x)
      >>> cell, params = from_flax_params(variables["params"])
      >>> bool(jnp.allclose(rnnjax.run(cell, params, x)[1], theirs.apply(variables, jnp.zeros(4), x)[1]))
      True
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {sorted(ACTIVATIONS)}, got {activation!r}")
    kind = _kind_of(params)
    names = _GATES[kind]

    def get(part: str, leaf: str, *shape: int | None) -> np.ndarray:
        if leaf not in params[part]:
            raise ValueError(f"params[{part!r}] has no {leaf!r}; it has {sorted(params[part])}")
        return shaped(f"params[{part!r}][{leaf!r}]", params[part][leaf], *shape)

    hidden = get("h" + names[0], "kernel", None, None).shape[0]
    u = np.concatenate([get("h" + g, "kernel", hidden, hidden) for g in names], axis=1)
    features = get("i" + names[0], "kernel", None, hidden).shape[0]
    w = np.concatenate([get("i" + g, "kernel", features, hidden) for g in names], axis=1)
    biases = [get(part, "bias", hidden) for part in _BIASED[kind]]
    b, inner = np.concatenate(biases[: len(names)]), biases[len(names) :]
    layer = Layer(w, u, b, inner[0] if inner else None, reset_after=True)
    return imported(layer, ACTIVATIONS[activation], forget_bias)


def _kind_of(params: Mapping[str, Any]) -> str:
    """Returns the kind of cell the params belong to, judged by their names."""
    for kind, names in _GATES.items():
        if set(params) == {side + g for side in "ih" for g in names}:
            return kind
    if set(params) == {"if", "in", "hf", "hn"}:
        raise ValueError(
            "these are the params of an MGUCell, which resets after the matmul and whose gate keeps, both unlike "
            "rnnjax.mgu: run it by from_flax(module)"
        )
    raise ValueError(
        f"expected the params of an LSTMCell (ii .. ho), GRUCell (ir .. hn) or SimpleCell (i, h), got {sorted(params)}"
    )


def to_flax_params(
    params: PyTree, forget_bias: float = 1.0, reset_after: bool = False, keep: bool = True
) -> dict[str, dict[str, np.ndarray]]:
    """Returns the params of the flax LSTMCell (OptimizedLSTMCell), GRUCell or SimpleCell that computes the same.

    Args:
      params: the params of one `lstm`, `vanilla` or `gru` layer.
      forget_bias, reset_after, keep: the arguments that `lstm` or `gru` was built with, with the same defaults; the
        params do not determine them. A recurrent bias implies reset_after.

    Returns:
      kernels and biases under flax's names; biases that the layer does not have are zero.

    Raises:
      ValueError: flax has no such cell (layer norm, peepholes, a GRU that resets before the matmul).

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> sorted(to_flax_params(rnnjax.vanilla(4).init(jax.random.key(0), jnp.ones(3))))
      ['h', 'i']
    """
    layers = find(params)
    if len(layers) != 1 or len(layers[0]) != 1:
        raise ValueError("expected the params of one layer in one direction: convert others part by part")
    (name, one), *_ = layers[0]
    layer = resets_after(exported(name, one, forget_bias, reset_after, keep), "flax")
    names = _GATES[layer.kind]
    blocks = {"i": np.split(layer.w, len(names), axis=1), "h": np.split(layer.u, len(names), axis=1)}
    tree = {side + g: {"kernel": block} for side in "ih" for g, block in zip(names, blocks[side])}
    biases = np.split(outer_bias(layer), len(names)) + [inner_bias(layer)[-layer.u.shape[0] :]]
    for part, b in zip(_BIASED[layer.kind], biases):
        tree[part]["bias"] = b
    return tree
