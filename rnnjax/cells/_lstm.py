"""LSTM cores, with and without peepholes, and their carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_size, factory, memory_carry
from rnnjax.base._numerics import Initializer, as_dtype, nothing, ones, orthogonal, standardize
from rnnjax.base._outputs import hidden_units
from rnnjax.cells._fused_layer_norm import NORMED_LSTM
from rnnjax.cells._fused_rules import LSTM
from rnnjax.cells._fused_window import core_window
from rnnjax.cells._recurrent import norm_params, recurrent, recurrent_drive


@memory_carry
class LSTMCarry(NamedTuple):
    """The state of an LSTM: the cell c and the output h, both `[hidden]`.

    Example:
      >>> import jax.numpy as jnp
      >>> carry = LSTMCarry(c=jnp.zeros(4), h=jnp.ones(4))
      >>> print(carry.h)
      [1. 1. 1. 1.]
    """

    c: jax.Array
    h: jax.Array


def _zero_state(h: jax.Array) -> LSTMCarry:
    """Returns the zero state of an LSTM."""
    return LSTMCarry(h, h)


@factory
def lstm_core(hidden: int, forget_bias: Any = 1.0, u_init: Initializer = orthogonal, layer_norm: bool = False) -> Cell:
    """Long short-term memory on pre-activations z `[4 hidden]`, gates in the order i, f, g, o.

        i, f, g, o = z_t + h_{t-1} u
        c_t = sigmoid(f + forget_bias) c_{t-1} + sigmoid(i) tanh(g)
        h_t = sigmoid(o) tanh(c_t)

    Args:
      hidden: the number of units.
      forget_bias: added to f at run time, not stored in params.
      u_init: the initialiser of each gate's `[hidden, hidden]`.
      layer_norm: normalise h u (with a gain) and, where h reads it, c (with a gain and a bias).

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = lstm_core(2)
      >>> carry, y = rnnjax.run(cell, cell.init(jax.random.key(0), jnp.ones(8)), jnp.ones(8))
      >>> print(y.round(4))
      [0.3696 0.3696]

    Reference: Hochreiter, Schmidhuber, Long short-term memory, 1997; Gers, Schmidhuber, Cummins, Learning to
    forget, 2000 (forget gate); Ba, Kiros, Hinton, Layer normalization, 2016.
    """
    check_size("lstm: hidden", hidden)
    check_number("lstm: forget_bias", forget_bias)

    def lstm(p: PyTree, carry: LSTMCarry, z: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        i, f, g, o = jnp.split(z + recurrent_drive(p, carry.h), 4, axis=-1)
        c = jax.nn.sigmoid(f + as_dtype(forget_bias, z)) * carry.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        normalised = standardize(c) * p["c_gain"] + p["c_bias"] if layer_norm else c
        h = jax.nn.sigmoid(o) * jnp.tanh(normalised)
        return LSTMCarry(c, h), h

    cell_norm = {"c_gain": (ones, (hidden,)), "c_bias": (nothing, (hidden,))} if layer_norm else {}
    core = recurrent(
        hidden, lstm, 4, _zero_state, u_init, norm_params(layer_norm, 4 * hidden) | cell_norm, hidden_units
    )
    return core_window(NORMED_LSTM if layer_norm else LSTM, core, on_forget(hidden, forget_bias))


def on_forget(hidden: int, forget_bias: Any) -> Callable[[jax.Array], jax.Array]:
    """Returns the forget bias as an array over all gates, in the dtype of x."""
    return lambda x: jnp.zeros(4 * hidden, x.dtype).at[hidden : 2 * hidden].set(as_dtype(forget_bias, x))


@factory
def peephole_core(hidden: int, forget_bias: Any = 1.0, u_init: Initializer = orthogonal) -> Cell:
    """An LSTM whose gates read the cell through diagonal weights p `[3, hidden]`, on z `[4 hidden]` (i, f, g, o).

        i, f, g, o = z_t + h_{t-1} u
        c_t = sigmoid(f + p_f c_{t-1} + forget_bias) c_{t-1} + sigmoid(i + p_i c_{t-1}) tanh(g)
        h_t = sigmoid(o + p_o c_t) tanh(c_t)

    The rows of p are i, f, o; they are initialised to zero, as in the plain LSTM.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> {name: p.shape for name, p in peephole_core(2).init(jax.random.key(0), jnp.ones(8)).items()}
      {'u': (2, 8), 'p': (3, 2)}

    Reference: Gers, Schraudolph, Schmidhuber, Learning precise timing with LSTM recurrent networks, 2002.
    """
    check_size("peephole_lstm: hidden", hidden)
    check_number("peephole_lstm: forget_bias", forget_bias)

    def peephole_lstm(p: PyTree, carry: LSTMCarry, z: jax.Array) -> tuple[LSTMCarry, jax.Array]:
        i, f, g, o = jnp.split(z + carry.h @ p["u"], 4, axis=-1)
        to_i, to_f, to_o = p["p"]
        forget = jax.nn.sigmoid(f + to_f * carry.c + as_dtype(forget_bias, z))
        c = forget * carry.c + jax.nn.sigmoid(i + to_i * carry.c) * jnp.tanh(g)
        h = jax.nn.sigmoid(o + to_o * c) * jnp.tanh(c)
        return LSTMCarry(c, h), h

    return recurrent(hidden, peephole_lstm, 4, _zero_state, u_init, {"p": (nothing, (3, hidden))}, hidden_units)
