"""Linear recurrences: cells with h_t = a_t h_{t-1} + b_t, elementwise, where a and b do not depend on h.

All a and b of a window are computed at once, by one matmul. What remains over time is a product and a sum per element:
a loop on a CPU, an associative scan elsewhere. `linear_recurrent` builds such a cell from three functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import (
    Cell,
    PyTree,
    Seq,
    check_number,
    check_positive,
    check_size,
    factory,
    stack,
    tree_where,
    without_marks,
)
from rnnjax.base._checks import check_features
from rnnjax.base._numerics import as_dtype, draw_initial
from rnnjax.base._outputs import carry_itself
from rnnjax.base._seq import with_marks_of, zero_invalid
from rnnjax.cells._feedforward import linear
from rnnjax.cells._linear_scan import linear_scan

_Drive = Callable[[PyTree, jax.Array], tuple[jax.Array, jax.Array]]
_Read = Callable[[PyTree, jax.Array, jax.Array], jax.Array]


def _halves(z: jax.Array, dtype: Any) -> jax.Array:
    """Returns a complex vector as a real one, real parts before imaginary parts."""
    return jnp.concatenate([z.real, z.imag], -1).astype(dtype)


def joined(h: jax.Array) -> jax.Array:
    """Returns the complex vector of `_halves`, in at least single precision, as complex numbers require."""
    return lax.complex(*jnp.split(h if jnp.finfo(h.dtype).bits >= 32 else h.astype(jnp.float32), 2, axis=-1))


def scaled(r: jax.Array, z: jax.Array) -> jax.Array:
    """Multiplies a complex array by a real one."""
    r = r.astype(z.real.dtype)
    return lax.complex(r * z.real, r * z.imag)


@factory
def linear_recurrent(
    states: int,
    init: Callable[[jax.Array, Any], PyTree],
    drive: _Drive,
    read: _Read | None = None,
    is_complex: bool = False,
) -> Cell:
    """Returns a cell with a linear recurrence; its window computes all coefficients at once.

        a_t, b_t = drive(params, x_t);  h_t = a_t h_{t-1} + b_t;  y_t = read(params, h_t, x_t)

    Args:
      states: the size of the state, real or complex; the carry is real: `[states]`, or `[2 states]`, real parts first.
      init: (key, x) -> params.
      drive: (params, x) -> (a, b), each `[states]`.
      read: (params, h, x) -> y; None: y is h.
      is_complex: whether a, b and h are complex.

    Example: exponential averages with two learned time constants.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> def drive(p, x):
      ...     a = jax.nn.sigmoid(p["rate"])
      ...     return a, (1 - a) * x
      >>> average = linear_recurrent(2, lambda key, x: {"rate": jnp.zeros(2)}, drive)
      >>> xs = jnp.ones((3, 2))
      >>> print(rnnjax.run(rnnjax.unroll(average), {"rate": jnp.array([0.0, 9.0])}, xs)[1][:, 0])
      [0.5   0.75  0.875]
    """
    check_size("linear_recurrent: states", states)

    def inside(h: jax.Array) -> jax.Array:
        return joined(h) if is_complex else h

    def outside(h: jax.Array, dtype: Any) -> jax.Array:
        return _halves(h, dtype) if is_complex else h

    def output(p: PyTree, h: jax.Array, x: jax.Array) -> jax.Array:
        return (h if read is None else read(p, h, x)).astype(x.dtype)

    def step(p: PyTree, carry: jax.Array, x: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        check_features("a linear recurrence", x)
        a, b = drive(p, x)
        h = a * inside(carry) + b
        return outside(h, carry.dtype), output(p, h, x)

    def window(p: PyTree, carry: jax.Array, xs: PyTree, keys: jax.Array | None = None) -> tuple[jax.Array, PyTree]:
        x = without_marks(zero_invalid(xs))
        a, b = jax.vmap(drive, (None, 0))(p, x)
        a = jnp.broadcast_to(a, b.shape)
        if isinstance(xs, Seq) and xs.valid is not None:
            a, b = tree_where(xs.valid, (a, b), (jnp.ones_like(a), jnp.zeros_like(b)))
        hs = linear_scan(a, b, inside(carry), False, xs.first if isinstance(xs, Seq) else None)
        return outside(hs[-1], carry.dtype), with_marks_of(xs, jax.vmap(output, (None, 0, 0))(p, hs, x))

    width = 2 * states if is_complex else states
    own = carry_itself if read is None and not is_complex else None

    def start(key: jax.Array, x: Any) -> PyTree:
        check_features("a linear recurrence", x)
        return init(key, x)

    return Cell(start, lambda p, x: jnp.zeros(width, x.dtype), step, window=window, output=own)


@factory
def lru(hidden: int, r_min: Any = 0.0, r_max: Any = 1.0, max_phase: Any = 6.28) -> Cell:
    """The linear recurrent unit: `hidden` complex states, each with its own decay and frequency.

        lambda = exp(-exp(nu) + i exp(theta));  h_t = lambda h_{t-1} + exp(gamma) (x_t B)
        y_t = Re(h_t C) + x_t D

    Params: nu, theta, gamma `[hidden]`; b_re, b_im `[features, hidden]`; c_re, c_im `[hidden, hidden]`; d `[features,
    hidden]`. |lambda| < 1 whatever they are.

    Args:
      hidden: the number of complex states, and of outputs.
      r_min, r_max: the ring in which lambda is initialised uniformly; near 1 the memory is long.
      max_phase: the largest initial phase of lambda, in radians.

    Example:
      >>> import jax, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> cell = rnnjax.unroll(lru(4, r_min=0.9, r_max=0.99))
      >>> rnnjax.run(cell, cell.init(jax.random.key(1), xs), xs)[1].shape
      (12, 4)

    Reference: Orvieto et al., Resurrecting recurrent neural networks for long sequences, 2023.
    """
    check_size("lru: hidden", hidden)
    check_number("lru: r_min", r_min, 0, 1)
    check_number("lru: r_max", r_max, 0, 1)
    check_positive("lru: max_phase", max_phase)

    def init(key: jax.Array, x: Any) -> PyTree:
        ring, phase, *keys = jax.random.split(key, 7)
        n, features, dtype = hidden, x.shape[-1], x.dtype
        low, high, turn = (jnp.asarray(v, jnp.float32) for v in (r_min, r_max, max_phase))
        square = jax.random.uniform(ring, (n,), jnp.float32) * (high**2 - low**2) + low**2
        square = jnp.clip(square, 1e-6, 1 - 1e-6)
        theta = jnp.log(turn * jax.random.uniform(phase, (n,), jnp.float32, minval=1e-3))
        numbers = {"nu": jnp.log(-0.5 * jnp.log(square)), "theta": theta, "gamma": 0.5 * jnp.log(1 - square)}
        shapes = {"b_re": (features, n), "b_im": (features, n), "c_re": (n, n), "c_im": (n, n), "d": (features, n)}
        spread = {name: (2 * features if name[0] == "b" else shape[0]) ** -0.5 for name, shape in shapes.items()}
        return {name: value.astype(dtype) for name, value in numbers.items()} | {
            name: draw_initial(jax.nn.initializers.normal(spread[name]), k, shape, dtype)
            for k, (name, shape) in zip(keys, shapes.items())
        }

    def drive(p: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        a = jnp.exp(joined(jnp.concatenate([-jnp.exp(p["nu"]), jnp.exp(p["theta"])])))
        gain = jnp.exp(p["gamma"])
        return a, joined(jnp.concatenate([gain * (x @ p["b_re"]), gain * (x @ p["b_im"])]))

    def read(p: PyTree, h: jax.Array, x: jax.Array) -> jax.Array:
        return h.real.astype(x.dtype) @ p["c_re"] - h.imag.astype(x.dtype) @ p["c_im"] + x @ p["d"]

    return linear_recurrent(hidden, init, drive, read, is_complex=True)


@factory
def s4d(hidden: int, states: int = 16, dt_min: Any = 1e-3, dt_max: Any = 1e-1, input_map: bool = True) -> Cell:
    """Diagonal state spaces: a linear map to `hidden` signals, each filtered by `states` complex modes.

        z = x w + b;  A_n = -exp(decay_n) + i frequency_n;  dt = exp(step)
        h_t = exp(dt A) h_{t-1} + (exp(dt A) - 1) / A z_t;  y_t = 2 Re(h_t . c) + d z_t

    Params of the core: decay, frequency, c_re, c_im `[hidden, states]`, step, d `[hidden]`. The initial frequencies are
    pi n, the initial decays 1/2 (S4D-Lin).

    Args:
      hidden: the number of signals, and of outputs.
      states: the number of modes per signal.
      dt_min, dt_max: the range of the initial steps, uniform on a logarithmic scale.
      input_map: whether the linear map z = x w + b stands before; if not, the input is z, of `hidden` features.

    Example:
      >>> import jax, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> cell = rnnjax.unroll(s4d(4, states=2))
      >>> carry, ys = rnnjax.run(cell, cell.init(jax.random.key(1), xs), xs)
      >>> carry[1].shape, ys.shape
      ((16,), (12, 4))

    Reference: Gu, Goel, Gupta, Re, On the parameterization and initialization of diagonal state space models, 2022.
    """
    check_size("s4d: hidden", hidden)
    check_size("s4d: states", states)
    check_positive("s4d: dt_min", dt_min)
    check_positive("s4d: dt_max", dt_max)

    def init(key: jax.Array, z: Any) -> PyTree:
        kd, kr, ki = jax.random.split(key, 3)
        shape, (low, high) = (hidden, states), (jnp.log(jnp.asarray(v, jnp.float32)) for v in (dt_min, dt_max))
        half = jax.nn.initializers.normal(0.5**0.5)
        params = {
            "decay": jnp.full(shape, math.log(0.5)),
            "frequency": jnp.broadcast_to(math.pi * jnp.arange(states, dtype=jnp.float32), shape),
            "c_re": half(kr, shape, jnp.float32),
            "c_im": half(ki, shape, jnp.float32),
            "step": jax.random.uniform(kd, (hidden,), jnp.float32) * (high - low) + low,
            "d": jnp.ones(hidden),
        }
        return jax.tree.map(lambda a: a.astype(z.dtype), params)

    def drive(p: PyTree, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        pole = joined(jnp.concatenate([-jnp.exp(p["decay"]), p["frequency"]], -1))
        a = jnp.exp(scaled(jnp.exp(p["step"])[:, None], pole))
        return a.ravel(), scaled(z[:, None], (a - 1) / pole).ravel()

    def read(p: PyTree, h: jax.Array, z: jax.Array) -> jax.Array:
        modes = (part.reshape(hidden, states).astype(z.dtype) for part in (h.real, h.imag))
        return 2 * sum(sign * (m * p[c]).sum(-1) for sign, m, c in zip((1, -1), modes, ("c_re", "c_im"))) + p["d"] * z

    core = linear_recurrent(hidden * states, init, drive, read, is_complex=True)
    return stack(linear(hidden), core) if input_map else core


@factory
def mingru(hidden: int) -> Cell:
    """A GRU whose gate does not depend on the state: a linear map to z, n, and a linear recurrence.

        z, n = x_t w + b;  h_t = (1 - sigmoid(z)) h_{t-1} + sigmoid(z) n

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = mingru(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 2 * 4 (3 + 1)
      32

    Reference: Feng, Tung, Ahmed, Bengio, Hajimirsadeghi, Were RNNs all we needed?, 2024.
    """
    check_size("mingru: hidden", hidden)

    def drive(p: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, n = jnp.split(x, 2)
        return jax.nn.sigmoid(-z), jax.nn.sigmoid(z) * n

    return stack(linear(2 * hidden), linear_recurrent(hidden, lambda key, x: (), drive))


@factory
def minlstm(hidden: int, forget_bias: Any = 1.0) -> Cell:
    """An LSTM whose gates do not depend on the state; forget and input gate are normalised to sum to one.

        f, i, n = x_t w + b;  f, i = sigmoid(f + forget_bias), sigmoid(i)
        h_t = f / (f + i) h_{t-1} + i / (f + i) n

    Args:
      hidden: the number of units.
      forget_bias: added to f at run time, not stored in params.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = minlstm(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 3 * 4 (3 + 1)
      48

    Reference: Feng, Tung, Ahmed, Bengio, Hajimirsadeghi, Were RNNs all we needed?, 2024.
    """
    check_size("minlstm: hidden", hidden)
    check_number("minlstm: forget_bias", forget_bias)

    def drive(p: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        f, i, n = jnp.split(x, 3)
        odds = jax.nn.log_sigmoid(i) - jax.nn.log_sigmoid(f + as_dtype(forget_bias, x))  # avoids 0 / 0 if both are 0
        return jax.nn.sigmoid(-odds), jax.nn.sigmoid(odds) * n

    return stack(linear(3 * hidden), linear_recurrent(hidden, lambda key, x: (), drive))
