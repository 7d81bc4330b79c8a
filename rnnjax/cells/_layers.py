"""Layers: a linear map of the input followed by a core."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, check_number, check_size, factory, stack
from rnnjax.base._numerics import Initializer, lecun_normal, orthogonal
from rnnjax.cells._cores import ctrnn_core, gru_core, indrnn_core, mgu_core, vanilla_core, vanilla_rule
from rnnjax.cells._feedforward import layer_norm as layer_norm_cell
from rnnjax.cells._feedforward import linear
from rnnjax.cells._fused_layer_norm import NORMED_GRU, NORMED_LSTM
from rnnjax.cells._fused_rules import GRU, LSTM, VANILLA
from rnnjax.cells._fused_window import layer_window
from rnnjax.cells._lstm import lstm_core, on_forget, peephole_core
from rnnjax.cells._recurrent import Activation


def _layer(
    core: Cell, width: int, bias: bool = True, normalise: bool = False, w_init: Initializer = lecun_normal
) -> Cell:
    """Returns `stack(linear(width), core)`; with layer norm the input's part is normalised before its bias is added."""
    if normalise:
        return stack(linear(width, bias=False, w_init=w_init), layer_norm_cell(), core)
    return stack(linear(width, bias, w_init), core)


@factory
def vanilla(
    hidden: int,
    activation: Activation = jnp.tanh,
    bias: bool = True,
    u_init: Initializer = orthogonal,
    layer_norm: bool = False,
) -> Cell:
    """The vanilla (Elman) RNN: `stack(linear(hidden), vanilla_core(hidden))`, params ({w, b}, {u}).

        h_t = activation(x_t w + b + h_{t-1} u)

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.unroll(vanilla(4))
      >>> params = cell.init(jax.random.key(0), jnp.ones((12, 3)))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 4 + 1)
      32

    Reference: Elman, Finding structure in time, 1990.
    """
    cell = _layer(vanilla_core(hidden, activation, u_init, layer_norm), hidden, bias, layer_norm)
    rule = vanilla_rule(activation, layer_norm)
    return cell if rule is None else layer_window(rule, cell)


@factory
def lstm(
    hidden: int,
    forget_bias: Any = 1.0,
    bias: bool = True,
    u_init: Initializer = orthogonal,
    layer_norm: bool = False,
) -> Cell:
    """The LSTM: `stack(linear(4 hidden), lstm_core(hidden, forget_bias))`, params ({w, b}, {u}), gates i, f, g, o.

        i, f, g, o = x_t w + b + h_{t-1} u
        c_t = sigmoid(f + forget_bias) c_{t-1} + sigmoid(i) tanh(g)
        h_t = sigmoid(o) tanh(c_t)

    Example: it has four times the parameters of a vanilla RNN.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = lstm(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 * 4 (3 + 4 + 1)
      128

    Reference: Hochreiter, Schmidhuber, Long short-term memory, 1997.
    """
    cell = _layer(lstm_core(hidden, forget_bias, u_init, layer_norm), 4 * hidden, bias, layer_norm)
    return layer_window(NORMED_LSTM if layer_norm else LSTM, cell, on_forget(hidden, forget_bias))


@factory
def peephole_lstm(hidden: int, forget_bias: Any = 1.0, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The LSTM with peepholes: `stack(linear(4 hidden), peephole_core(hidden, forget_bias))`.

        i, f, g, o = x_t w + b + h_{t-1} u
        c_t = sigmoid(f + p_f c_{t-1} + forget_bias) c_{t-1} + sigmoid(i + p_i c_{t-1}) tanh(g)
        h_t = sigmoid(o + p_o c_t) tanh(c_t)

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = peephole_lstm(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 * 4 (3 + 4 + 1) + 3 * 4
      140

    Reference: Gers, Schraudolph, Schmidhuber, Learning precise timing with LSTM recurrent networks, 2002.
    """
    return _layer(peephole_core(hidden, forget_bias, u_init), 4 * hidden, bias)


@factory
def gru(
    hidden: int,
    reset_after: bool = False,
    keep: bool = True,
    recurrent_bias: bool = False,
    bias: bool = True,
    u_init: Initializer = orthogonal,
    layer_norm: bool = False,
) -> Cell:
    """The GRU: `stack(linear(3 hidden), gru_core(hidden))`, params ({w, b}, {u}), gates r, z, n.

    The default is the form of Cho et al., h_t = z h_{t-1} + (1 - z) n with the reset before the matmul;
    `gru(h, reset_after=True, recurrent_bias=True)` is the form of cuDNN. See `gru_core` for all four conventions.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = gru(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 3 * 4 (3 + 4 + 1)
      96

    Reference: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014.
    """
    core = gru_core(hidden, reset_after, keep, recurrent_bias, u_init, layer_norm)
    cell = _layer(core, 3 * hidden, bias, layer_norm)
    return layer_window(NORMED_GRU[keep] if layer_norm else GRU[reset_after, keep], cell)


@factory
def mgu(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The minimal gated unit: `stack(linear(2 hidden), mgu_core(hidden))`, params ({w, b}, {u}), order f, n.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = mgu(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 2 * 4 (3 + 4 + 1)
      64

    Reference: Zhou, Wu, Zhang, Zhou, Minimal gated unit for recurrent neural networks, 2016.
    """
    return _layer(mgu_core(hidden, u_init), 2 * hidden, bias)


def _scaled_identity(scale: Any) -> Initializer:
    """Returns an initialiser: scale times the identity."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.asarray(scale, dtype) * jnp.eye(shape[0], shape[1], dtype=dtype)

    return init


@factory
def irnn(hidden: int, scale: Any = 1.0, bias: bool = True) -> Cell:
    """A vanilla RNN of rectified linear units whose recurrent matrix is initialised to scale times the identity.

        h_t = relu(x_t w + b + h_{t-1} u),  initially u = scale I and w ~ N(0, 0.001^2)

    Example: initially it sums its inputs.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> w, core = irnn(4).init(jax.random.key(0), jnp.ones(3))
      >>> bool((core["u"] == jnp.eye(4)).all())
      True

    Reference: Le, Jaitly, Hinton, A simple way to initialize recurrent networks of rectified linear units, 2015.
    """
    check_size("irnn: hidden", hidden)
    check_number("irnn: scale", scale)
    core = vanilla_core(hidden, jax.nn.relu, _scaled_identity(scale))
    cell = _layer(core, hidden, bias, w_init=jax.nn.initializers.normal(0.001))
    return layer_window(VANILLA[jax.nn.relu], cell)


@factory
def elman(hidden: int, bias: bool = True) -> Cell:
    """The original Elman network: context units hold a copy of the hidden layer, whose units are logistic.

        context_t = h_{t-1};   h_t = sigmoid(x_t w + b + context_t u)

    With `truncate` at each step the context is an input like any other, and training is standard backpropagation.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> params = ({"w": jnp.zeros((1, 2)), "b": jnp.zeros(2)}, {"u": jnp.eye(2)})
      >>> carry, h = rnnjax.run(elman(2), params, jnp.zeros(1))
      >>> print(h)
      [0.5 0.5]

    Reference: Elman, Finding structure in time, 1990.
    """
    return vanilla(hidden, jax.nn.sigmoid, bias)


@factory
def ctrnn(hidden: int, tau: Any = 5.0, bias: bool = True) -> Cell:
    """The continuous-time network: `stack(linear(hidden), ctrnn_core(hidden, tau))`.

        h_t = h_{t-1} + (tanh(x_t w + b + h_{t-1} u) - h_{t-1}) / tau

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = ctrnn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 4 + 1)
      32

    Reference: Funahashi, Nakamura, Approximation of dynamical systems by continuous time recurrent neural networks,
    1993.
    """
    return _layer(ctrnn_core(hidden, tau), hidden, bias)


@factory
def indrnn(hidden: int, activation: Activation = jax.nn.relu, u_max: Any = 1.0, bias: bool = True) -> Cell:
    """Independently recurrent units: `stack(linear(hidden), indrnn_core(hidden, activation, u_max))`.

        h_t = activation(x_t w + b + u * h_{t-1})

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = indrnn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 1 + 1)
      20

    Reference: Li, Li, Cook, Zhu, Gao, Independently recurrent neural network, 2018.
    """
    return _layer(indrnn_core(hidden, activation, u_max), hidden, bias)
