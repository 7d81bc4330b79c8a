"""Discretised differential equations, designed so that gradients neither explode nor vanish."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_positive, check_size, stack
from rnnjax.base._numerics import Initializer, as_dtype, orthogonal
from rnnjax.cells._cores import driven, recurrent
from rnnjax.cells._feedforward import linear


class OscillatorCarry(NamedTuple):
    """The state of an oscillator, position y and velocity z, or the two states of a `lem`. Both `[hidden]`."""

    y: jax.Array
    z: jax.Array


def _at_rest(h: jax.Array) -> OscillatorCarry:
    """Returns the zero state."""
    return OscillatorCarry(h, h)


def cornn(
    hidden: int,
    dt: Any = 0.042,
    gamma: Any = 2.7,
    epsilon: Any = 4.7,
    bias: bool = True,
    u_init: Initializer = orthogonal,
) -> Cell:
    """The coupled oscillatory RNN: a network of damped, driven oscillators.

        z_t = z_{t-1} + dt (tanh(x_t w + b + y_{t-1} u + z_{t-1} v) - gamma y_{t-1} - epsilon z_{t-1})
        y_t = y_{t-1} + dt z_t

    Damping is explicit, as in the authors' code. The defaults are theirs for digits read pixel by pixel. Params: ({w,
    b}, {u, v `[hidden, hidden]`}).

    Args:
      hidden: the number of oscillators, and of outputs.
      dt: the time step.
      gamma: the squared frequency.
      epsilon: the damping.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of u and v.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = cornn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 2 * 4 + 1)
      48

    Reference: Rusch, Mishra, Coupled oscillatory recurrent neural network (coRNN), 2020.
    """
    check_size("cornn: hidden", hidden)
    check_positive("cornn: dt", dt)
    check_number("cornn: gamma", gamma, 0)
    check_number("cornn: epsilon", epsilon, 0)

    def cornn(p: PyTree, s: OscillatorCarry, x: jax.Array) -> tuple[OscillatorCarry, jax.Array]:
        h, spring, damping = (as_dtype(v, x) for v in (dt, gamma, epsilon))
        z = s.z + h * (jnp.tanh(x + s.y @ p["u"] + s.z @ p["v"]) - spring * s.y - damping * s.z)
        y = s.y + h * z
        return OscillatorCarry(y, z), y

    core = recurrent(hidden, cornn, start=_at_rest, u_init=u_init, extra={"v": (u_init, (hidden, hidden))})
    return stack(linear(hidden, bias), core)


def _small(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Draws numbers uniformly from -0.1 to 0.1."""
    return jax.random.uniform(key, shape, dtype, -0.1, 0.1)


def unicornn(hidden: int, dt: Any = 0.19, alpha: Any = 30.65, bias: bool = True) -> Cell:
    """UnICORNN: undamped, independent oscillators, each with its own time step.

        dt_i = dt sigmoid(c)
        z_t = z_{t-1} - dt_i (tanh(u y_{t-1} + x_t w + b) + alpha y_{t-1});  y_t = y_{t-1} + dt_i z_t

    The map of one step preserves volume in the space of y and z. The residual connection between layers is `residual`.
    Params: ({w, b}, {u, c `[hidden]`}).

    Args:
      hidden: the number of oscillators, and of outputs.
      dt: the largest time step.
      alpha: the squared frequency.
      bias: whether the input's linear map has a bias.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = unicornn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 1) + 2 * 4
      24

    Reference: Rusch, Mishra, UnICORNN: a recurrent model for learning very long time dependencies, 2021.
    """
    check_size("unicornn: hidden", hidden)
    check_positive("unicornn: dt", dt)
    check_number("unicornn: alpha", alpha, 0)

    def update(p: PyTree, s: OscillatorCarry, x: jax.Array) -> tuple[OscillatorCarry, jax.Array]:
        h = as_dtype(dt, x) * jax.nn.sigmoid(p["c"])
        z = s.z - h * (jnp.tanh(p["u"] * s.y + x) + as_dtype(alpha, x) * s.y)
        y = s.y + h * z
        return OscillatorCarry(y, z), y

    params = {"u": (jax.nn.initializers.uniform(1.0), (hidden,)), "c": (_small, (hidden,))}
    return stack(linear(hidden, bias), driven("unicornn", hidden, hidden, update, params, _at_rest))


def lem(hidden: int, dt: Any = 1.0, bias: bool = True, u_init: Initializer = orthogonal) -> Cell:
    """Long expressive memory: two coupled states with learned, input-dependent time steps.

        a, c, g, n = x_t w + b
        d_z, d_y = dt sigmoid(a + y_{t-1} u_a), dt sigmoid(c + y_{t-1} u_c)
        z_t = (1 - d_z) z_{t-1} + d_z tanh(g + y_{t-1} u_g)
        y_t = (1 - d_y) y_{t-1} + d_y tanh(n + z_t u_n)

    Params: ({w, b}, {u `[hidden, 4 hidden]`}), order a, c, g, n.

    Args:
      hidden: the number of units, and of outputs.
      dt: the largest time step.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of each `[hidden, hidden]`.

    Example: it has as many parameters as an LSTM.
      >>> import jax, jax.numpy as jnp
      >>> params = lem(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 * 4 (3 + 4 + 1)
      128

    Reference: Rusch, Mishra, Erichson, Mahoney, Long expressive memory for sequence modeling, 2021.
    """
    check_size("lem: hidden", hidden)
    check_positive("lem: dt", dt)

    def lem(p: PyTree, s: OscillatorCarry, x: jax.Array) -> tuple[OscillatorCarry, jax.Array]:
        v, h = s.y @ p["u"][:, : 3 * hidden], as_dtype(dt, x)
        a, c, g = jnp.split(x[: 3 * hidden] + v, 3)
        z = s.z + h * jax.nn.sigmoid(a) * (jnp.tanh(g) - s.z)
        y = s.y + h * jax.nn.sigmoid(c) * (jnp.tanh(x[3 * hidden :] + z @ p["u"][:, 3 * hidden :]) - s.y)
        return OscillatorCarry(y, z), y

    return stack(linear(4 * hidden, bias), recurrent(hidden, lem, 4, _at_rest, u_init))


def antisymmetric_rnn(hidden: int, dt: Any = 0.1, gamma: Any = 0.01, gated: bool = False, bias: bool = True) -> Cell:
    """The antisymmetric RNN: Euler steps of an equation whose Jacobian has imaginary eigenvalues, except for diffusion.

        s = h_{t-1} (u - u^T) - gamma h_{t-1}
        h_t = h_{t-1} + dt tanh(x_t w + b + s)                                     gated=False
        h_t = h_{t-1} + dt sigmoid(x_t w_z + b_z + s) tanh(x_t w + b + s)          gated=True

    Params: ({w, b}, {u `[hidden, hidden]`}); if gated, w has 2 hidden columns, order z, h.

    Args:
      hidden: the number of units, and of outputs.
      dt: the time step, epsilon of the paper.
      gamma: the diffusion, which keeps Euler's method stable.
      gated: whether to use the input gate.
      bias: whether the input's linear map has a bias.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = antisymmetric_rnn(4, gated=True).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 2 * 4 (3 + 1) + 4 * 4
      48

    Reference: Chang, Chen, Haber, Chi, AntisymmetricRNN: a dynamical system view on recurrent neural networks, 2019.
    """
    check_size("antisymmetric_rnn: hidden", hidden)
    check_positive("antisymmetric_rnn: dt", dt)
    check_number("antisymmetric_rnn: gamma", gamma, 0)

    def update(p: PyTree, h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        s = h @ p["u"] - as_dtype(gamma, x) * h
        gate = jax.nn.sigmoid(x[:hidden] + s) if gated else jnp.ones_like(h)
        h = h + as_dtype(dt, x) * gate * jnp.tanh(x[-hidden:] + s)
        return h, h

    width = (1 + gated) * hidden
    params = {"u": (jax.nn.initializers.normal(hidden**-0.5), (hidden, hidden))}
    core = driven("antisymmetric_rnn", hidden, width, update, params)
    skew = core.replace(weights=lambda p, key=None: {"u": p["u"] - p["u"].T})
    return stack(linear(width, bias), skew)
