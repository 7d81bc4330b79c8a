"""Elementwise recurrences with input-dependent gates: RG-LRU, QRNN, SRU; and rotating traces: RTU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_positive, check_size, stack
from rnnjax.base._numerics import as_dtype, draw_initial, lecun_normal
from rnnjax.cells._baselines import delay_line
from rnnjax.cells._cores import driven
from rnnjax.cells._feedforward import linear
from rnnjax.cells._linear_recurrence import joined, linear_recurrent


def rg_lru(hidden: int, sharpness: Any = 8.0, bias: bool = True) -> Cell:
    """The real-gated linear recurrent unit of Griffin.

        z = x_t w + b;  r, i = sigmoid(z w_r + b_r), sigmoid(z w_i + b_i);  a = sigmoid(decay) ^ (sharpness r)
        h_t = a h_{t-1} + sqrt(1 - a^2) i z

    The block's convolution and GeLU gate are separate cells. Params of the core: w_r, w_i `[hidden, hidden]`; b_r, b_i,
    decay `[hidden]`. Initially sigmoid(decay) ^ 8 is uniform from 0.9 to 0.999.

    Args:
      hidden: the number of units.
      sharpness: c of the paper.
      bias: whether the input's linear map has a bias.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = rg_lru(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 1) + 2 * 4 (4 + 1) + 4
      60

    Reference: De et al., Griffin: mixing gated linear recurrences with local attention for efficient language models,
    2024.
    """
    check_size("rg_lru: hidden", hidden)
    check_positive("rg_lru: sharpness", sharpness)

    def init(key: jax.Array, z: Any) -> PyTree:
        kr, ki, kd = jax.random.split(key, 3)
        a = jax.random.uniform(kd, (hidden,), jnp.float32, 0.9, 0.999) ** (1 / 8)
        square, zero = (hidden, hidden), jnp.zeros(hidden, z.dtype)
        w_r, w_i = (draw_initial(lecun_normal, k, square, z.dtype) for k in (kr, ki))
        return {"w_r": w_r, "w_i": w_i, "b_r": zero, "b_i": zero, "decay": jnp.log(a / (1 - a)).astype(z.dtype)}

    def drive(p: PyTree, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        r, i = (jax.nn.sigmoid(z @ p["w_" + gate] + p["b_" + gate]) for gate in ("r", "i"))
        log_a = as_dtype(sharpness, z) * r * jax.nn.log_sigmoid(p["decay"])
        # The bound keeps the derivative of the square root finite where a is 1.
        return jnp.exp(log_a), jnp.sqrt(jnp.maximum(-jnp.expm1(2 * log_a), as_dtype(1e-12, z))) * i * z

    return stack(linear(hidden, bias), linear_recurrent(hidden, init, drive))


def qrnn(hidden: int, width: int = 2, bias: bool = True) -> Cell:
    """The quasi-recurrent network: gates from a convolution over time, pooled by forget and output gates.

        z, f, o = [x_t, ..., x_{t-width+1}] w + b
        c_t = sigmoid(f) c_{t-1} + (1 - sigmoid(f)) tanh(z);  y_t = sigmoid(o) c_t

    Args:
      hidden: the number of units.
      width: the width of the convolution, at least 1.
      bias: whether the convolution has a bias.

    Raises:
      ValueError: width is below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = qrnn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 3 * 4 (2 * 3 + 1)
      84

    Reference: Bradbury, Merity, Xiong, Socher, Quasi-recurrent neural networks, 2016.
    """
    check_size("qrnn: hidden", hidden)
    check_size("qrnn: width", width)

    def drive(p: PyTree, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, f, _ = jnp.split(a, 3)
        return jax.nn.sigmoid(f), jax.nn.sigmoid(-f) * jnp.tanh(z)

    def read(p: PyTree, c: jax.Array, a: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(a[2 * hidden :]) * c

    pooling = linear_recurrent(hidden, lambda key, a: (), drive, read)
    return stack(delay_line(width), linear(3 * hidden, bias), pooling)


def sru(hidden: int, bias: bool = True) -> Cell:
    """The simple recurrent unit: each unit's gates depend on its own cell only, with a highway from input to output.

        z, f, r, s = x_t w + b
        f = sigmoid(f + v_f c_{t-1});  c_t = f c_{t-1} + (1 - f) z
        r = sigmoid(r + v_r c_{t-1});  y_t = r c_t + (1 - r) s

    Params: ({w, b}, {v `[2, hidden]`}), rows of v: f, r. s replaces the input in the highway, so the input may have any
    width.

    Args:
      hidden: the number of units.
      bias: whether the input's linear map has a bias.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = sru(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 * 4 (3 + 1) + 2 * 4
      72

    Reference: Lei, Zhang, Wang, Dai, Artzi, Simple recurrent units for highly parallelizable recurrence, 2018.
    """
    check_size("sru: hidden", hidden)

    def update(p: PyTree, c: jax.Array, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, f, r, s = jnp.split(a, 4)
        f, r = jax.nn.sigmoid(f + p["v"][0] * c), jax.nn.sigmoid(r + p["v"][1] * c)
        c = z + f * (c - z)
        return c, s + r * (c - s)

    uniform = jax.nn.initializers.variance_scaling(1.0, "fan_out", "uniform")
    core = driven("sru", hidden, 4 * hidden, update, {"v": (uniform, (2, hidden))})
    return stack(linear(4 * hidden, bias), core)


def rtu(hidden: int, r_min: Any = 0.0, r_max: Any = 1.0, max_phase: Any = 6.28) -> Cell:
    """Linear recurrent trace units: pairs of real numbers that rotate and decay, suited to exact online gradients.

        r = exp(-exp(nu)), theta = exp(phase);  (p, q): the halves of the state
        p_t = r (cos(theta) p_{t-1} - sin(theta) q_{t-1}) + sqrt(1 - r^2) (x_t w + b)_p
        q_t = r (cos(theta) q_{t-1} + sin(theta) p_{t-1}) + sqrt(1 - r^2) (x_t w + b)_q
        y_t = relu([p_t, q_t])

    Params: ({w `[features, hidden]`, b}, {nu, phase `[hidden / 2]`}).

    Args:
      hidden: the number of outputs, two per pair: an even number.
      r_min, r_max: the range of the initial r.
      max_phase: the largest initial theta.

    Raises:
      ValueError: hidden is odd.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = rtu(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 1) + 2 * 2
      20

    Reference: Elelimy, White, Bowling, White, Real-time recurrent learning using trace units in reinforcement learning,
    2024.
    """
    check_size("rtu: hidden", hidden)
    check_number("rtu: r_min", r_min, 0, 1)
    check_number("rtu: r_max", r_max, 0, 1)
    check_positive("rtu: max_phase", max_phase)
    if hidden % 2:
        raise ValueError(f"rtu has two units a pair: an even number of them, please, not {hidden}")
    pairs = hidden // 2

    def init(key: jax.Array, z: Any) -> PyTree:
        kr, kp = jax.random.split(key)
        low, high, turn = (jnp.asarray(v, jnp.float32) for v in (r_min, r_max, max_phase))
        square = jnp.clip(jax.random.uniform(kr, (pairs,), jnp.float32) * (high**2 - low**2) + low**2, 1e-6, 1 - 1e-6)
        phase = jnp.log(turn * jax.random.uniform(kp, (pairs,), jnp.float32, 1e-3))
        return {"nu": jnp.log(-0.5 * jnp.log(square)).astype(z.dtype), "phase": phase.astype(z.dtype)}

    def drive(p: PyTree, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_r = -jnp.exp(p["nu"])
        gain = jnp.sqrt(-jnp.expm1(2 * log_r))
        a = jnp.exp(joined(jnp.concatenate([log_r, jnp.exp(p["phase"])])))
        return a, joined(jnp.concatenate([gain, gain]) * z)

    def read(p: PyTree, h: jax.Array, z: jax.Array) -> jax.Array:
        return jax.nn.relu(jnp.concatenate([h.real, h.imag]))

    return stack(linear(hidden), linear_recurrent(pairs, init, drive, read, is_complex=True))
