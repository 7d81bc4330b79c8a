"""Cells with one or two gates, simplified from the LSTM and the GRU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax.base import Cell, PyTree, check_number, check_size, stack
from rnnjax.base._numerics import Initializer, as_dtype, nothing, orthogonal
from rnnjax.cells._cores import driven, recurrent
from rnnjax.cells._feedforward import linear

_Pair = tuple[jax.Array, jax.Array]


def janet(hidden: int, forget_bias: Any = 1.0, beta: Any = 1.0, u_init: Initializer = orthogonal) -> Cell:
    """JANET (just another network): an LSTM with only a forget gate.

        f, g = x_t w + b + h_{t-1} u
        h_t = sigmoid(f + forget_bias) h_{t-1} + (1 - sigmoid(f + forget_bias - beta)) tanh(g)

    Args:
      hidden: the number of units.
      forget_bias: added to f at run time, not stored in params.
      beta: the offset between the input and the forget gate; larger values write more.
      u_init: the initialiser of each gate's `[hidden, hidden]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = janet(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 2 * 4 (3 + 4 + 1)
      64

    Reference: van der Westhuizen, Lasenby, The unreasonable effectiveness of the forget gate, 2018.
    """
    check_size("janet: hidden", hidden)
    check_number("janet: forget_bias", forget_bias)
    check_number("janet: beta", beta)

    def janet(p: PyTree, h: jax.Array, z: jax.Array) -> _Pair:
        f, g = jnp.split(z + h @ p["u"], 2)
        f = f + as_dtype(forget_bias, z)
        h = sigmoid(f) * h + sigmoid(as_dtype(beta, z) - f) * jnp.tanh(g)
        return h, h

    return stack(linear(2 * hidden), recurrent(hidden, janet, 2, u_init=u_init))


def ligru(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The light GRU: no reset gate, and a rectified candidate.

        z, n = x_t w + b + h_{t-1} u;  h_t = sigmoid(z) h_{t-1} + (1 - sigmoid(z)) relu(n)

    The paper's batch normalisation of x_t w is omitted.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = ligru(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 2 * 4 (3 + 4 + 1)
      64

    Reference: Ravanelli, Brakel, Omologo, Bengio, Light gated recurrent units for speech recognition, 2018.
    """
    check_size("ligru: hidden", hidden)

    def ligru(p: PyTree, h: jax.Array, a: jax.Array) -> _Pair:
        z, n = jnp.split(a + h @ p["u"], 2)
        h = sigmoid(z) * h + sigmoid(-z) * jax.nn.relu(n)
        return h, h

    return stack(linear(2 * hidden, bias), recurrent(hidden, ligru, 2, u_init=u_init))


def ugrnn(hidden: int, gate_bias: Any = 1.0, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The update-gate RNN: one gate between the state and a vanilla candidate.

        g, c = x_t w + b + h_{t-1} u
        h_t = sigmoid(g + gate_bias) h_{t-1} + (1 - sigmoid(g + gate_bias)) tanh(c)

    Args:
      hidden: the number of units.
      gate_bias: added to g at run time, not stored in params.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of each gate's `[hidden, hidden]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = ugrnn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 2 * 4 (3 + 4 + 1)
      64

    Reference: Collins, Sohl-Dickstein, Sussillo, Capacity and trainability in recurrent neural networks, 2016.
    """
    check_size("ugrnn: hidden", hidden)
    check_number("ugrnn: gate_bias", gate_bias)

    def ugrnn(p: PyTree, h: jax.Array, z: jax.Array) -> _Pair:
        g, c = jnp.split(z + h @ p["u"], 2)
        g = g + as_dtype(gate_bias, z)
        h = sigmoid(g) * h + sigmoid(-g) * jnp.tanh(c)
        return h, h

    return stack(linear(2 * hidden, bias), recurrent(hidden, ugrnn, 2, u_init=u_init))


def minimal_rnn(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The MinimalRNN: one gate averages the state with a code of the input.

        z = tanh(x_t w + b);  g = sigmoid(h_{t-1} u + z v + b_g);  h_t = g h_{t-1} + (1 - g) z

    Params: ({w, b}, {u, v `[hidden, hidden]`, b_g `[hidden]`}).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = minimal_rnn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 1) + 4 (2 * 4 + 1)
      52

    Reference: Chen, MinimalRNN: toward more interpretable and trainable recurrent neural networks, 2017.
    """
    check_size("minimal_rnn: hidden", hidden)

    def minimal_rnn(p: PyTree, h: jax.Array, a: jax.Array) -> _Pair:
        z = jnp.tanh(a)
        h = z + sigmoid(h @ p["u"] + z @ p["v"] + p["b_g"]) * (h - z)
        return h, h

    extra = {"v": (u_init, (hidden, hidden)), "b_g": (nothing, (hidden,))}
    return stack(linear(hidden, bias), recurrent(hidden, minimal_rnn, u_init=u_init, extra=extra))


def ran(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The recurrent additive network: a weighted sum of inputs, with gates that depend on the output.

        i, f, c = x_t w + b;  i, f = sigmoid(i + h_{t-1} u_i), sigmoid(f + h_{t-1} u_f)
        c_t = i c + f c_{t-1};  h_t = tanh(c_t)

    The carry is c, and h is its tanh. Params: ({w, b}, {u `[hidden, 2 hidden]`}), order i, f, c.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = ran(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 3 * 4 (3 + 1) + 2 * 4 * 4
      80

    Reference: Lee, Levy, Zettlemoyer, Recurrent additive networks, 2017.
    """
    check_size("ran: hidden", hidden)

    def update(p: PyTree, c: jax.Array, z: jax.Array) -> _Pair:
        i, f = jnp.split(sigmoid(z[: 2 * hidden] + jnp.tanh(c) @ p["u"]), 2)
        c = i * z[2 * hidden :] + f * c
        return c, jnp.tanh(c)

    core = driven("ran", hidden, 3 * hidden, update, {"u": (u_init, (hidden, 2 * hidden))})
    return stack(linear(3 * hidden, bias), core)


def star(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The stackable recurrent cell: one gate, designed to preserve the size of gradients across layers.

        k, z = x_t w + b;  k = sigmoid(k + h_{t-1} u);  h_t = tanh((1 - k) h_{t-1} + k tanh(z))

    Params: ({w, b}, {u `[hidden, hidden]`}), order k, z.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = star(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 2 * 4 (3 + 1) + 4 * 4
      48

    Reference: Turkoglu, D'Aronco, Wegner, Schindler, Gating revisited: deep multi-layer RNNs that can be trained, 2019.
    """
    check_size("star: hidden", hidden)

    def update(p: PyTree, h: jax.Array, a: jax.Array) -> _Pair:
        k = sigmoid(a[:hidden] + h @ p["u"])
        h = jnp.tanh(h + k * (jnp.tanh(a[hidden:]) - h))
        return h, h

    core = driven("star", hidden, 2 * hidden, update, {"u": (u_init, (hidden, hidden))})
    return stack(linear(2 * hidden, bias), core)


def atr(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The addition-subtraction twin-gated network: its two gates come from one sum and one difference.

        p = x_t w + b;  q = h_{t-1} u;  h_t = sigmoid(p + q) p + sigmoid(p - q) h_{t-1}

    Example: it has as many parameters as a vanilla RNN.
      >>> import jax, jax.numpy as jnp
      >>> params = atr(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 4 + 1)
      32

    Reference: Zhang, Xiong, Su, Lin, Zhang, Simplifying neural machine translation with addition-subtraction twin-gated
    recurrent networks, 2018.
    """
    check_size("atr: hidden", hidden)

    def atr(p: PyTree, h: jax.Array, z: jax.Array) -> _Pair:
        q = h @ p["u"]
        h = sigmoid(z + q) * z + sigmoid(z - q) * h
        return h, h

    return stack(linear(hidden, bias), recurrent(hidden, atr, u_init=u_init))


def cfn(hidden: int, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """The chaos-free network: without input its state decays to zero, whatever its weights.

        f, i, n = x_t w + b;  f, i = sigmoid(f + h_{t-1} u_f), sigmoid(i + h_{t-1} u_i)
        h_t = f tanh(h_{t-1}) + i tanh(n)

    Params: ({w, b}, {u `[hidden, 2 hidden]`}), order f, i, n; the paper's n has no bias.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = cfn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 3 * 4 (3 + 1) + 2 * 4 * 4
      80

    Reference: Laurent, von Brecht, A recurrent neural network without chaos, 2016.
    """
    check_size("cfn: hidden", hidden)

    def update(p: PyTree, h: jax.Array, z: jax.Array) -> _Pair:
        f, i = jnp.split(sigmoid(z[: 2 * hidden] + h @ p["u"]), 2)
        h = f * jnp.tanh(h) + i * jnp.tanh(z[2 * hidden :])
        return h, h

    core = driven("cfn", hidden, 3 * hidden, update, {"u": (u_init, (hidden, 2 * hidden))})
    return stack(linear(3 * hidden, bias), core)
