"""Recurrences close to linear ones: HGRN, LinOSS, and the piecewise linear networks of dynamical systems."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax.base import Cell, PyTree, check_number, check_size, factory, stack
from rnnjax.base._numerics import Initializer, as_dtype, draw_initial, lecun_normal
from rnnjax.cells._feedforward import linear
from rnnjax.cells._linear_recurrence import joined, linear_recurrent
from rnnjax.cells._recurrent import driven


@factory
def hgrn(hidden: int, lower_bound: Any = 0.0, bias: bool = True) -> Cell:
    """The hierarchically gated recurrent network: complex states that turn, and a forget gate with a lower bound.

        f, c, g = x_t w + b;  f = lower_bound + (1 - lower_bound) sigmoid(f);  c = silu(c_re) + i silu(c_im)
        h_t = f exp(i phase) h_{t-1} + (1 - f) c;  y_t = sigmoid(g) [Re h_t, Im h_t]

    In a stack the lower bound rises from layer to layer; there it is learned, here it is a number. The norm and the
    last linear map are separate cells. Params: ({w `[features, 5/2 hidden]`, b}, {phase `[hidden / 2]`}).

    Args:
      hidden: the number of outputs, two per state: an even number.
      lower_bound: of the forget gates, from 0 and below 1.
      bias: whether the input's linear map has a bias.

    Raises:
      ValueError: hidden is odd.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = hgrn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 10 (3 + 1) + 2
      42

    Reference: Qin, Yang, Zhong, Hierarchically gated recurrent neural network for sequence modeling, 2023.
    """
    check_size("hgrn: hidden", hidden)
    check_number("hgrn: lower_bound", lower_bound, 0, 1, without=(1,))
    if hidden % 2:
        raise ValueError(f"hgrn has two outputs a state: an even number of them, please, not {hidden}")
    pairs = hidden // 2

    def init(key: jax.Array, z: Any) -> PyTree:
        angles = 10000.0 ** (-jnp.arange(pairs, dtype=jnp.float32) / max(pairs, 1))
        return {"phase": angles.astype(z.dtype)}

    def drive(p: PyTree, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        low = as_dtype(lower_bound, z)
        f = low + (1 - low) * sigmoid(z[:pairs])
        turn = joined(jnp.concatenate([jnp.cos(p["phase"]), jnp.sin(p["phase"])]))
        c = joined(jax.nn.silu(z[pairs : pairs + hidden]))
        return f.astype(turn.dtype) * turn, (1 - f).astype(c.dtype) * c

    def read(p: PyTree, h: jax.Array, z: jax.Array) -> jax.Array:
        return sigmoid(z[pairs + hidden :]) * jnp.concatenate([h.real, h.imag]).astype(z.dtype)

    core = linear_recurrent(pairs, init, drive, read, is_complex=True)
    return stack(linear(pairs + 2 * hidden, bias), core)


@factory
def linoss(hidden: int, states: int = 16) -> Cell:
    """LinOSS: a bank of undamped linear oscillators, whose implicit time steps make them stable.

        z_t = z_{t-1} + dt (x_t B - frequency^2 q_t);  q_t = q_{t-1} + dt z_t,  dt = sigmoid(step)
        y_t = q_t C + x_t D

    This is LinOSS-IM, which forgets. With s = z + i frequency q it is s_t = (s_{t-1} + dt x_t B) / (1 - i frequency dt)
    and q = Im(s) / frequency, a recurrence without matrices. Params: frequency, step `[states]`; b `[features,
    states]`; c `[states, hidden]`; d `[features, hidden]`. The initial squared frequencies are uniform from 0 to 1.

    Args:
      hidden: the number of outputs.
      states: the number of oscillators.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = linoss(4, states=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 2 (2 + 3 + 4) + 3 * 4
      30

    Reference: Rusch, Rus, Oscillatory state-space models, 2024.
    """
    check_size("linoss: hidden", hidden)
    check_size("linoss: states", states)

    def init(key: jax.Array, x: Any) -> PyTree:
        kf, ks, *keys = jax.random.split(key, 5)
        features = x.shape[-1]
        square = jax.random.uniform(kf, (states,), jnp.float32, 1e-4)
        shapes = {"b": (features, states), "c": (states, hidden), "d": (features, hidden)}
        params = {n: draw_initial(lecun_normal, k, shape, x.dtype) for k, (n, shape) in zip(keys, shapes.items())}
        step = jax.random.uniform(ks, (states,), jnp.float32)
        return params | {"frequency": jnp.sqrt(square).astype(x.dtype), "step": step.astype(x.dtype)}

    def drive(p: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        dt = sigmoid(p["step"])
        a = 1 / joined(jnp.concatenate([jnp.ones_like(dt), -p["frequency"] * dt]))
        return a, a * (dt * (x @ p["b"])).astype(a.dtype)

    def read(p: PyTree, s: jax.Array, x: jax.Array) -> jax.Array:
        return (s.imag.astype(x.dtype) / p["frequency"]) @ p["c"] + x @ p["d"]

    return linear_recurrent(states, init, drive, read, is_complex=True)


@factory
def plrnn(hidden: int, rectified: int | None = None, u_init: Initializer = lecun_normal) -> Cell:
    """The piecewise linear RNN of dynamical systems, or the almost linear one: few units are rectified.

        h_t = a h_{t-1} + phi(h_{t-1}) u + x_t w + b,  phi: relu of the last `rectified` units, the others as they are

    u has no effect on its diagonal, which belongs to a. Fixed points and cycles follow from linear algebra in each of
    2^rectified regions. Params: ({w, b}, {u `[hidden, hidden]`, a `[hidden]`}).

    Args:
      hidden: the number of units.
      rectified: the number of rectified units; None: all (the PLRNN), else the almost linear RNN.
      u_init: the initialiser of u, which is divided by 2.

    Raises:
      ValueError: more units are rectified than there are.

    Example: in the region where no unit is above 0, the network is linear.
      >>> import jax.numpy as jnp, rnnjax
      >>> params = ({"w": jnp.zeros((1, 2)), "b": jnp.zeros(2)}, {"u": jnp.ones((2, 2)), "a": jnp.array([0.5, 0.9])})
      >>> print(rnnjax.run(plrnn(2), params, jnp.zeros(1), ((), jnp.array([-1.0, -1.0])))[1])
      [-0.5 -0.9]

    Reference: Durstewitz, A state space approach for piecewise-linear recurrent neural networks for identifying
    computational dynamics from neural measurements, 2017; Brenner, Hemmer, Monfared, Durstewitz, Almost-linear RNNs
    yield highly interpretable symbolic codes in dynamical systems reconstruction, 2024.
    """
    check_size("plrnn: hidden", hidden)
    if rectified is not None:
        check_size("plrnn: rectified", rectified, 0)
        if rectified > hidden:
            raise ValueError(f"plrnn rectifies at most all of its {hidden} units, not {rectified}")
    straight = 0 if rectified is None else hidden - rectified

    def update(p: PyTree, h: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        phi = jnp.concatenate([h[:straight], jax.nn.relu(h[straight:])])
        between = p["u"] * (1 - jnp.eye(hidden, dtype=h.dtype))
        h = p["a"] * h + phi @ between + z
        return h, h

    def half(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return u_init(key, shape, dtype) / 2

    params = {"u": (half, (hidden, hidden)), "a": (jax.nn.initializers.uniform(1.0), (hidden,))}
    return stack(linear(hidden), driven("plrnn", hidden, hidden, update, params))
