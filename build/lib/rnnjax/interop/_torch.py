"""Weights of torch.nn.RNN, LSTM and GRU; a state dict is a dict of arrays, so torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnjax.base import Cell, PyTree, stack, unroll
from rnnjax.cells import dropout as dropout_cell
from rnnjax.interop._layers import (
    ACTIVATIONS,
    Layer,
    exported,
    find,
    gates,
    imported,
    inner_bias,
    outer_bias,
    resets_after,
    shaped,
)
from rnnjax.wrappers import Directions, bidirectional


def from_torch(
    source: Any, nonlinearity: str = "tanh", dropout: float = 0.0, prefix: str = "", forget_bias: float = 1.0
) -> tuple[Cell, PyTree]:
    """Returns the cell and params that compute the same as a torch.nn.RNN, LSTM or GRU on a sequence `[T, features]`.

        i, f, g, o = W_ih x + b_ih + W_hh h + b_hh              w = W_ih', u = W_hh', b = b_ih + b_hh (RNN likewise)
        n = tanh(W_in x + b_in + r (W_hn h + b_hn))             GRU: b_hn stays inside the reset

    The cell is a window cell: `unroll(layer)` or `bidirectional(layer)`, or a `stack` of one per torch layer. The
    forget bias of an LSTM is subtracted from b, so the params fit `lstm(hidden)`. A GRU becomes `gru(hidden,
    reset_after=True, recurrent_bias=True)`. The params of a one-directional network therefore also fit a single-step
    stack such as `stack(lstm(hidden), lstm(hidden))`.

    Args:
      source: a state dict (of arrays, tensors or nested lists), or the torch module; a module's own nonlinearity and
        dropout override the arguments.
      nonlinearity: tanh or relu; for an RNN, whose state dict does not determine it.
      dropout: the rate between layers, active if a key is given; a state dict does not contain it.
      prefix: the prefix of the names in the state dict of a larger model, e.g. "encoder.lstm.".
      forget_bias: that of the returned `lstm`; it is subtracted from b, so 0.0 copies b exactly.

    Returns:
      (cell, params).

    Raises:
      ValueError: a name is missing or unknown (such as projections), or an array has the wrong shape; the message names
        it.

    Example:
      >>> import numpy as np, rnnjax
      >>> state = {"weight_ih_l0": np.ones((4, 3)), "weight_hh_l0": np.eye(4)}
      >>> cell, params = from_torch(state, nonlinearity="relu")
      >>> print(rnnjax.run(cell, params, np.ones((2, 3), np.float32))[1])
      [[3. 3. 3. 3.]
       [6. 6. 6. 6.]]

    Reference: torch.nn.LSTM and torch.nn.GRU, PyTorch documentation.
    """
    mode = str(getattr(source, "mode", ""))
    if mode in ("LSTM", "GRU", "RNN_TANH", "RNN_RELU"):
        dropout, nonlinearity = source.dropout, mode.removeprefix("RNN_").lower() if "RNN" in mode else nonlinearity
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"nonlinearity: expected 'tanh' or 'relu', got {nonlinearity!r}")
    state = source.state_dict() if hasattr(source, "state_dict") else source
    cells: list[Cell] = []
    params: list[PyTree] = []
    for directions in _read(state, prefix):
        if cells and dropout:
            cells.append(dropout_cell(dropout))
            params.append(())
        parts = [imported(layer, ACTIVATIONS[nonlinearity], forget_bias) for layer in directions]
        steps, weights = zip(*parts)
        cells.append(bidirectional(*steps) if len(parts) == 2 else unroll(steps[0]))
        params.append(Directions(*weights) if len(parts) == 2 else weights[0])
    return (cells[0], params[0]) if len(cells) == 1 else (stack(*cells), tuple(params))


def _read(state: Mapping[str, Any], prefix: str) -> list[list[Layer]]:
    """Returns the layers of a state dict, each as a list of its directions."""
    names = {name.removeprefix(prefix) for name in state if name.startswith(prefix)}
    suffixes = ["", "_reverse"] if "weight_ih_l0_reverse" in names else [""]
    kinds = ["weight_ih", "weight_hh"] + (["bias_ih", "bias_hh"] if "bias_ih_l0" in names else [])
    depth = max(1, sum(name.startswith("weight_ih_l") and not name.endswith("_reverse") for name in names))
    wanted = [f"{kind}_l{i}{suffix}" for i in range(depth) for suffix in suffixes for kind in kinds]
    if missing := [name for name in wanted if name not in names]:
        others = sorted(name.removesuffix(missing[0]) for name in state if name.endswith("." + missing[0]))
        hint = f": give prefix={others[0]!r}" if others else f", it has {sorted(state)}"
        raise ValueError(f"the state dict has no {prefix + missing[0]!r}{hint}")
    if unknown := sorted(names - set(wanted)):
        what = "projections are not supported" if unknown[0].startswith("weight_hr") else "it has no counterpart"
        raise ValueError(f"the state dict has {prefix + unknown[0]!r}: {what}")
    u = shaped(prefix + "weight_hh_l0", state[prefix + "weight_hh_l0"], None, None)
    hidden, n = gates(prefix + "weight_hh_l0", u, hidden_first=False)
    features = [None] + [hidden * len(suffixes)] * (depth - 1)

    def layer(i: int, suffix: str) -> Layer:
        def get(kind: str, *shape: int | None) -> np.ndarray:
            name = f"{prefix}{kind}_l{i}{suffix}"
            return shaped(name, state[name], n * hidden, *shape)

        w, u = get("weight_ih", features[i]).T, get("weight_hh", hidden).T
        if len(kinds) == 2:
            return Layer(w, u, reset_after=True)
        b_i, b_h = get("bias_ih"), get("bias_hh")
        if n != 3:
            return Layer(w, u, b_i + b_h)
        outside = np.concatenate([b_h[: 2 * hidden], np.zeros_like(b_h[2 * hidden :])])
        return Layer(w, u, b_i + outside, b_h[2 * hidden :], reset_after=True)

    return [[layer(i, suffix) for suffix in suffixes] for i in range(depth)]


def to_torch(
    params: PyTree, prefix: str = "", forget_bias: float = 1.0, reset_after: bool = False, keep: bool = True
) -> dict[str, np.ndarray]:
    """Returns the state dict of the torch.nn.RNN, LSTM or GRU that computes the same as layers with these params.

    The layers are `lstm`, `vanilla` or `gru`, alone, in a `stack` or in `bidirectional`; parts without params (dropout)
    are skipped. The whole bias is stored in bias_ih; bias_hh is zero except inside the reset of a GRU.

    Args:
      params: the params of the recurrent layers only, without embedding or readout.
      prefix: the prefix of each name, e.g. "encoder.lstm.".
      forget_bias, reset_after, keep: the arguments that `lstm` or `gru` was built with, with the same defaults; the
        params do not determine them. A recurrent bias implies reset_after.

    Returns:
      numpy arrays by name: `module.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})`.

    Raises:
      ValueError: torch has no such layer (an MGU, layer norm, peepholes, a GRU that resets before the matmul), or the
        layers differ in a way that one torch module does not support.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = rnnjax.lstm(4).init(jax.random.key(0), jnp.ones(3))
      >>> {name: a.shape for name, a in to_torch(params).items()}
      {'weight_ih_l0': (16, 3), 'weight_hh_l0': (16, 4), 'bias_ih_l0': (16,), 'bias_hh_l0': (16,)}
    """
    named_layers = find(params)
    layers = [[exported(name, p, forget_bias, reset_after, keep) for name, p in parts] for parts in named_layers]
    _check_alike(layers)
    flat = [resets_after(layer, "torch") for directions in layers for layer in directions]
    biased = any(layer.b is not None or layer.inner is not None for layer in flat)
    state: dict[str, np.ndarray] = {}
    for i, directions in enumerate(layers):
        for layer, suffix in zip(directions, ("", "_reverse")):
            end = f"_l{i}{suffix}"
            state |= {"weight_ih" + end: layer.w.T, "weight_hh" + end: layer.u.T}
            if biased:
                state |= {"bias_ih" + end: outer_bias(layer), "bias_hh" + end: inner_bias(layer)}
    return {prefix + name: np.ascontiguousarray(a) for name, a in state.items()}


def _check_alike(layers: list[list[Layer]]) -> None:
    """Rejects layers that differ in kind, size or directions, which one torch module cannot represent."""
    if not layers:
        raise ValueError("params hold no recurrent layer ({w, b}, {u})")
    first = layers[0][0]
    for i, directions in enumerate(layers):
        features = first.w.shape[0] if i == 0 else len(layers[0]) * first.u.shape[0]
        for layer in directions:
            same = layer.u.shape == first.u.shape and layer.w.shape[0] == features
            if not same or len(directions) != len(layers[0]):
                raise ValueError(
                    f"layer {i} has {len(directions)} direction(s), w {list(layer.w.shape)} and u "
                    f"{list(layer.u.shape)}; one torch module needs {len(layers[0])}, "
                    f"[{features}, {first.u.shape[1]}] and {list(first.u.shape)}"
                )
