"""State spaces: S5, with many inputs and outputs, and S6, whose step sizes, inputs and outputs depend on the input."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Cell, PyTree, check_positive, check_size, stack
from rnnjax.base._numerics import draw_initial, lecun_normal
from rnnjax.cells._feedforward import linear
from rnnjax.cells._linear_recurrence import joined, linear_recurrent, scaled


@functools.cache
def _hippo_normal(states: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the eigenvalues with positive imaginary part of the normal part of HiPPO-LegS, and their eigenvectors.

    The matrix has size 2 states.

    S[n, k] = -1/2 on the diagonal, -/+ sqrt((n + 1/2)(k + 1/2)) below and above it
    """
    root = np.sqrt(np.arange(2 * states) + 0.5)
    skew = np.triu(np.outer(root, root), 1)
    frequencies, vectors = np.linalg.eigh(-1j * (skew - skew.T))
    return -0.5 + 1j * frequencies[states:], vectors[:, states:]


def s5(hidden: int, states: int = 16, dt_min: Any = 1e-3, dt_max: Any = 1e-1) -> Cell:
    """S5: one state space of `states` complex modes shared by all inputs and outputs.

        lambda = -exp(decay) + i frequency;  dt = exp(step);  a = exp(dt lambda)
        h_t = a h_{t-1} + (a - 1) / lambda (x_t B);  y_t = 2 Re(h_t C) + x_t D

    Each mode stands for itself and its conjugate. The initial poles are those of the normal part of HiPPO-LegS, and B
    and C are initialised in their basis. The layer's GELU, gate and norm are separate cells. Params: decay, frequency,
    step `[states]`; b_re, b_im `[features, states]`; c_re, c_im `[states, hidden]`; d `[features, hidden]`.

    Args:
      hidden: the number of outputs.
      states: the number of complex modes.
      dt_min, dt_max: the range of the initial steps, uniform on a logarithmic scale.

    Raises:
      ValueError: there is no mode.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = s5(4, states=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 3 * 2 + 2 * 2 (3 + 4) + 3 * 4
      46

    Reference: Smith, Warrington, Linderman, Simplified state space layers for sequence modeling, 2022.
    """
    check_size("s5: hidden", hidden)
    check_size("s5: states", states)
    check_positive("s5: dt_min", dt_min)
    check_positive("s5: dt_max", dt_max)
    poles, vectors = _hippo_normal(states)

    def init(key: jax.Array, x: Any) -> PyTree:
        kb, kc, kd, ks = jax.random.split(key, 4)
        dtype, features = x.dtype, x.shape[-1]
        low, high = (jnp.log(jnp.asarray(v, jnp.float32)) for v in (dt_min, dt_max))
        real, imaginary = (jnp.asarray(part, jnp.float32) for part in (vectors.real, vectors.imag))
        b = lecun_normal(kb, (features, 2 * states), jnp.float32)
        c = jax.nn.initializers.normal((2 * states) ** -0.5)(kc, (2, hidden, 2 * states), jnp.float32)
        params = {
            "decay": jnp.full(states, math.log(0.5)),
            "frequency": jnp.asarray(poles.imag, jnp.float32),
            "step": jax.random.uniform(ks, (states,), jnp.float32) * (high - low) + low,
            "b_re": b @ real,
            "b_im": -b @ imaginary,
            "c_re": (c[0] @ real - c[1] @ imaginary).T,
            "c_im": (c[0] @ imaginary + c[1] @ real).T,
            "d": draw_initial(lecun_normal, kd, (features, hidden), jnp.float32),
        }
        return jax.tree.map(lambda a: a.astype(dtype), params)

    def drive(p: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        pole = joined(jnp.concatenate([-jnp.exp(p["decay"]), p["frequency"]]))
        a = jnp.exp(scaled(jnp.exp(p["step"]), pole))
        return a, (a - 1) / pole * joined(jnp.concatenate([x @ p["b_re"], x @ p["b_im"]]))

    def read(p: PyTree, h: jax.Array, x: jax.Array) -> jax.Array:
        return 2 * (h.real.astype(x.dtype) @ p["c_re"] - h.imag.astype(x.dtype) @ p["c_im"]) + x @ p["d"]

    return linear_recurrent(states, init, drive, read, is_complex=True)


def s6(hidden: int, states: int = 16, rank: int = 0, dt_min: Any = 1e-3, dt_max: Any = 1e-1) -> Cell:
    """S6, the selective state space of Mamba: step sizes, inputs and outputs of the state depend on the input.

        z = x_t w + b;  dt = softplus(z w_1 w_2 + step) `[hidden]`;  B, C = z w_B, z w_C `[states]`
        h_t = exp(-dt exp(rate)) h_{t-1} + dt B z, for each unit and state;  y_t = h_t . C + d z

    The input is discretised by Euler's rule, as in Mamba's code; the block's convolution, SiLU and gate are separate
    cells. Params of the core: w_dt `[hidden, rank]`, u_dt `[rank, hidden]`, w_b, w_c `[hidden, states]`, rate `[hidden,
    states]`, step, d `[hidden]`. The initial rates are ln 1 .. ln states, dt is between dt_min and dt_max, d is 1.

    Args:
      hidden: the number of units, and of outputs.
      states: the number of states per unit.
      rank: the rank of the map from z to the steps; 0: hidden / 16, rounded up.
      dt_min, dt_max: the range of the initial steps, uniform on a logarithmic scale.

    Raises:
      ValueError: there is no state, or the rank is negative.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> cell = rnnjax.unroll(s6(4, states=2))
      >>> params = cell.init(jax.random.key(1), xs)
      >>> sum(p.size for p in jax.tree.leaves(params[1]))  # 4 (2 * 1 + 2 * 2 + 2 + 2)
      40
      >>> rnnjax.run(cell, params, xs)[1].shape
      (12, 4)

    Reference: Gu, Dao, Mamba: linear-time sequence modeling with selective state spaces, 2023.
    """
    check_size("s6: hidden", hidden)
    check_size("s6: states", states)
    check_size("s6: rank", rank, 0)
    check_positive("s6: dt_min", dt_min)
    check_positive("s6: dt_max", dt_max)
    width = rank or -(-hidden // 16)

    def init(key: jax.Array, z: Any) -> PyTree:
        keys = jax.random.split(key, 5)
        low, high = (jnp.log(jnp.asarray(v, jnp.float32)) for v in (dt_min, dt_max))
        dt = jnp.exp(jax.random.uniform(keys[0], (hidden,), jnp.float32) * (high - low) + low)
        shapes = {"w_dt": (hidden, width), "u_dt": (width, hidden), "w_b": (hidden, states), "w_c": (hidden, states)}
        drawn = {name: draw_initial(lecun_normal, k, s, z.dtype) for k, (name, s) in zip(keys[1:], shapes.items())}
        rates = jnp.broadcast_to(jnp.log(jnp.arange(1.0, states + 1)), (hidden, states))
        start = {"rate": rates, "step": dt + jnp.log(-jnp.expm1(-dt)), "d": jnp.ones(hidden)}  # softplus(step) is dt
        return drawn | jax.tree.map(lambda a: a.astype(z.dtype), start)

    def drive(p: PyTree, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        dt = jax.nn.softplus(z @ p["w_dt"] @ p["u_dt"] + p["step"])[:, None]
        return jnp.exp(-dt * jnp.exp(p["rate"])).ravel(), (dt * z[:, None] * (z @ p["w_b"])[None]).ravel()

    def read(p: PyTree, h: jax.Array, z: jax.Array) -> jax.Array:
        return h.reshape(hidden, states) @ (z @ p["w_c"]) + p["d"] * z

    return stack(linear(hidden), linear_recurrent(hidden * states, init, drive, read))
