"""The weights of one recurrent layer: the common form between rnnjax and every other library."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Cell, PyTree
from rnnjax.cells import gru, lstm, vanilla
from rnnjax.cells._cores import Activation
from rnnjax.wrappers import Directions

_KINDS = {1: "vanilla", 3: "gru", 4: "lstm"}
ACTIVATIONS: dict[str, Activation] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "linear": lambda z: z,
}


class Layer(NamedTuple):
    """A layer with rnnjax's gate order (LSTM: i, f, g, o; GRU: r, z, n, where z keeps the state).

    Attributes:
      w: `[features, gates * hidden]`.
      u: `[hidden, gates * hidden]`.
      b: `[gates * hidden]` or None; the whole bias, including an LSTM's forget bias.
      inner: `[hidden]` or None: the bias inside the reset of a GRU.
      reset_after: whether a GRU resets after the matmul.
    """

    w: np.ndarray
    u: np.ndarray
    b: np.ndarray | None = None
    inner: np.ndarray | None = None
    reset_after: bool = False

    @property
    def kind(self) -> str:
        """vanilla, gru or lstm, by the shape of u."""
        return _KINDS[self.u.shape[1] // self.u.shape[0]]


def _floats(name: str, value: Any) -> np.ndarray:
    """Converts an array, tensor or list of numbers to a floating numpy array."""
    if hasattr(value, "detach"):  # a torch tensor; numpy has no native bfloat16
        value = value.detach().cpu()
        value = value.float().numpy().astype(jnp.bfloat16) if "bfloat16" in str(value.dtype) else value.numpy()
    array = np.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name}: expected floating numbers, got {array.dtype}")
    return array


def shaped(name: str, value: Any, *shape: int | None) -> np.ndarray:
    """Returns the array after checking its shape, where None matches any length; the error names the array."""
    array = _floats(name, value)
    if array.ndim != len(shape) or any(want not in (None, n) for want, n in zip(shape, array.shape)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{name}: expected shape [{wanted}], got {list(array.shape)}")
    return array


def gates(name: str, u: np.ndarray, hidden_first: bool = True) -> tuple[int, int]:
    """Returns (hidden, gates) of a recurrent matrix; if not hidden_first it is stored as `[gates * hidden, hidden]`."""
    hidden, width = u.shape if hidden_first else u.shape[::-1]
    if hidden < 1 or width not in {n * hidden for n in _KINDS}:
        form = "[hidden, n hidden]" if hidden_first else "[n hidden, hidden]"
        raise ValueError(
            f"{name}: expected shape {form} with n = 1 (vanilla), 3 (GRU) or 4 (LSTM), got {list(u.shape)}"
        )
    return hidden, width // hidden


def reorder(a: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Reorders the gates of an array, which are blocks of its last axis."""
    blocks = np.split(a, len(order), axis=-1)
    return np.concatenate([blocks[i] for i in order], axis=-1)


def _shifted(layer: Layer, forget_bias: float) -> Layer:
    """Adds forget_bias to the bias of f of an LSTM, creating the bias if necessary."""
    if layer.kind != "lstm" or forget_bias == 0:
        return layer
    hidden = layer.u.shape[0]
    b = outer_bias(layer).copy()
    b[hidden : 2 * hidden] += forget_bias
    return layer._replace(b=b)


def imported(layer: Layer, activation: Activation, forget_bias: float) -> tuple[Cell, PyTree]:
    """Returns the single-step rnnjax cell and its params."""
    layer = _shifted(layer, -forget_bias)
    hidden, bias = layer.u.shape[0], layer.b is not None
    cells = {
        "vanilla": lambda: vanilla(hidden, activation, bias),
        "gru": lambda: gru(hidden, layer.reset_after, recurrent_bias=layer.inner is not None, bias=bias),
        "lstm": lambda: lstm(hidden, forget_bias, bias),
    }
    linear = {"w": layer.w} | ({"b": layer.b} if bias else {})
    core = {"u": layer.u} | ({"b": layer.inner} if layer.inner is not None else {})
    return cells[layer.kind](), jax.tree.map(jnp.asarray, (linear, core))


def exported(name: str, params: PyTree, forget_bias: float, reset_after: bool, keep: bool) -> Layer:
    """Returns the layer of params ({w, b}, {u}), given the factory's arguments that params do not determine."""
    linear, core = params
    for part, known, more in (linear, {"w", "b"}, f"{name}[0]"), (core, {"u", "b"}, f"{name}[1]"):
        if unknown := sorted(set(part) - known):
            raise ValueError(f"{more}[{unknown[0]!r}] has no counterpart in the other library")
        if missing := sorted(known - {"b"} - set(part)):
            raise ValueError(f"{more} has no {missing[0]!r}")
    u = _writable(shaped(f"{name}[1]['u']", core["u"], None, None))
    hidden, n = gates(f"{name}[1]['u']", u)
    w = _writable(shaped(f"{name}[0]['w']", linear["w"], None, n * hidden))
    b = _writable(shaped(f"{name}[0]['b']", linear["b"], n * hidden)) if "b" in linear else None
    inner = _writable(shaped(f"{name}[1]['b']", core["b"], hidden)) if "b" in core else None
    if inner is not None and n != 3:
        raise ValueError(f"{name}[1]['b']: only a GRU has a bias in its core")
    layer = Layer(w, u, b, inner, n == 3 and (reset_after or inner is not None))
    return _shifted(layer if keep else _flipped(layer), forget_bias)


def _writable(a: np.ndarray) -> np.ndarray:
    """Returns a copy, with bfloat16, which other libraries cannot read from numpy, as float32."""
    return np.array(a, np.float32 if a.dtype == jnp.bfloat16 else a.dtype)


def _flipped(layer: Layer) -> Layer:
    """Negates the update gate of a GRU: sigmoid(-a) = 1 - sigmoid(a)."""
    if layer.kind != "gru":
        return layer
    sign = np.repeat(np.array([1, -1, 1], layer.u.dtype), layer.u.shape[0])
    return layer._replace(w=layer.w * sign, u=layer.u * sign, b=None if layer.b is None else layer.b * sign)


def resets_after(layer: Layer, library: str) -> Layer:
    """Returns the layer, or rejects a GRU that resets before the matmul if the library has none."""
    if layer.kind == "gru" and not layer.reset_after:
        raise ValueError(
            f"{library} has no GRU that resets before the matmul, as gru(hidden) does: train gru(hidden, "
            "reset_after=True, recurrent_bias=True), or pass reset_after=True if these params come from a "
            "gru(hidden, reset_after=True)"
        )
    return layer


def outer_bias(layer: Layer) -> np.ndarray:
    """Returns the bias of all gates except the one inside the reset of a GRU; zero if there is none."""
    return np.zeros(layer.u.shape[1:], layer.u.dtype) if layer.b is None else layer.b


def inner_bias(layer: Layer) -> np.ndarray:
    """Returns the recurrent bias of all gates: zero except inside the reset of a GRU."""
    b = np.zeros(layer.u.shape[1:], layer.u.dtype)
    if layer.inner is not None:
        b[-layer.u.shape[0] :] = layer.inner
    return b


def find(params: PyTree, name: str = "params") -> list[tuple[tuple[str, PyTree], ...]]:
    """Returns the layers in the params of stacks and bidirectional cells, in order: one or two directions each."""
    if isinstance(params, Directions):
        halves = find(params.forward, f"{name}.forward") + find(params.backward, f"{name}.backward")
        if [len(h) for h in halves] != [1, 1]:
            raise ValueError(f"{name}: expected one layer in each direction")
        return [halves[0] + halves[1]]
    if isinstance(params, tuple) and len(params) == 2 and all(isinstance(p, dict) for p in params) and "u" in params[1]:
        return [((name, params),)]
    if isinstance(params, (tuple, list, dict)):
        parts = params.items() if isinstance(params, dict) else enumerate(params)
        return [layer for key, part in parts for layer in find(part, f"{name}[{key!r}]")]
    raise ValueError(
        f"{name} is not part of a recurrent layer ({{w, b}}, {{u}}): pass the params of the recurrent layers only"
    )
