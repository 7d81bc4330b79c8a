"""Networks in continuous time, whose steps may differ in length: LTC, CfC and the phased LSTM."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import sigmoid

from rnnjax.base import Cell, PyTree, check_number, check_positive, check_size, factory, memory_carry, stack, stateless
from rnnjax.base._numerics import Initializer, as_dtype, lecun_normal, nothing, orthogonal
from rnnjax.cells._feedforward import linear
from rnnjax.cells._recurrent import driven


def _entrance(name: str, width: int, timed: bool) -> Cell:
    """Returns the linear map of the input; if `timed`, the last feature, a time, goes past it unchanged."""
    affine = linear(width)
    if not timed:
        return affine

    def init(key: jax.Array, x: Any) -> PyTree:
        if x.shape[-1:] < (2,):
            raise ValueError(f"{name}: timed=True takes features and then the time since the last input, got one array")
        return affine.init(key, jax.ShapeDtypeStruct((*x.shape[:-1], x.shape[-1] - 1), x.dtype))

    def apply(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return jnp.concatenate([affine.step(p, (), x[..., :-1])[1], x[..., -1:]], axis=-1)

    return stateless(init, apply)


def _elapsed(z: jax.Array, width: int, dt: Any) -> tuple[jax.Array, jax.Array]:
    """Returns the pre-activations and the length of the step; a negative length is nan."""
    length = as_dtype(dt, z) * (z[-1] if z.shape[0] > width else as_dtype(1, z))
    return z[:width], jnp.where(length < 0, as_dtype(jnp.nan, z), length)


@factory
def ltc(hidden: int, dt: Any = 1.0, substeps: int = 6, timed: bool = False, u_init: Initializer = orthogonal) -> Cell:
    """The liquid time-constant network: each unit's time constant depends on the input and the state.

        dh/dt = -(exp(rate) + f) h + f a,  f = sigmoid(x_t w + b + h u)
        h <- (h + s f a) / (1 + s (exp(rate) + f)),  as often as substeps says, with s = dt / substeps

    This is the paper's fused solver; f is a sigmoid, as in the authors' code. Params: ({w, b}, {u `[hidden, hidden]`,
    rate, a `[hidden]`}).

    Args:
      hidden: the number of units.
      dt: the time between two inputs; with `timed`, the unit of time of the inputs.
      substeps: the number of solver steps between two inputs.
      timed: whether the last feature of the input is the time since the input before. Negative times give nan.
      u_init: the initialiser of u.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = ltc(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 1) + 4 * 4 + 2 * 4
      40

    Reference: Hasani, Lechner, Amini, Rus, Grosu, Liquid time-constant networks, 2020.
    """
    check_size("ltc: hidden", hidden)
    check_size("ltc: substeps", substeps)
    check_positive("ltc: dt", dt)

    def update(p: PyTree, h: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, length = _elapsed(z, hidden, dt)
        s = length / substeps
        for _ in range(substeps):
            f = sigmoid(z + h @ p["u"])
            h = (h + s * f * p["a"]) / (1 + s * (jnp.exp(p["rate"]) + f))
        return h, h

    params = {"u": (u_init, (hidden, hidden)), "rate": (nothing, (hidden,)), "a": (_signs, (hidden,))}
    return stack(_entrance("ltc", hidden, timed), driven("ltc", hidden, hidden + timed, update, params))


def _signs(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Draws reversal potentials, 1 or -1."""
    return jax.random.rademacher(key, shape, dtype)


@factory
def cfc(hidden: int, backbone: int = 0, dt: Any = 1.0, timed: bool = False, u_init: Initializer = lecun_normal) -> Cell:
    """The closed-form continuous-time network: a gate of time between two targets.

        z = 1.7159 tanh(2/3 (x_t w + b + h_{t-1} u));  g, k, r, s = z v + b_v
        h_t = (1 - q) tanh(g) + q tanh(k),  q = sigmoid(r dt + s)

    z is the backbone, of one layer. Params: ({w, b}, {u `[hidden, backbone]`, v `[backbone, 4 hidden]`, b_g `[4
    hidden]`}); b_g is b_v.

    Args:
      hidden: the number of units.
      backbone: the width of z; 0: hidden.
      dt: the time between two inputs; with `timed`, the unit of time of the inputs.
      timed: whether the last feature of the input is the time since the input before. Negative times give nan.
      u_init: the initialiser of u and v.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = cfc(4, backbone=5).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 5 (3 + 1) + 4 * 5 + 16 (5 + 1)
      136

    Reference: Hasani, Lechner, Amini, Liebenwein, Ray, Tschaikowski, Teschl, Rus, Closed-form continuous-time neural
    networks, 2022.
    """
    check_size("cfc: hidden", hidden)
    check_size("cfc: backbone", backbone, 0)
    check_positive("cfc: dt", dt)
    width = backbone or hidden

    def update(p: PyTree, h: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, length = _elapsed(z, width, dt)
        z = as_dtype(1.7159, z) * jnp.tanh(as_dtype(2 / 3, z) * (z + h @ p["u"]))
        g, k, r, s = jnp.split(z @ p["v"] + p["b_g"], 4)
        g, k = jnp.tanh(g), jnp.tanh(k)
        h = g + sigmoid(r * length + s) * (k - g)
        return h, h

    params = {"u": (u_init, (hidden, width)), "v": (u_init, (width, 4 * hidden)), "b_g": (nothing, (4 * hidden,))}
    return stack(_entrance("cfc", width, timed), driven("cfc", hidden, width + timed, update, params))


@memory_carry
class PhasedCarry(NamedTuple):
    """The state of a phased LSTM: cell c, output h, and where each unit is in its period. All `[hidden]`.

    The phase is from 0 to 1, not counting the unit's own phase.
    """

    c: jax.Array
    h: jax.Array
    phase: jax.Array


@factory
def phased_lstm(
    hidden: int,
    forget_bias: Any = 1.0,
    leak: Any = 1e-3,
    open_ratio: Any = 0.05,
    dt: Any = 1.0,
    timed: bool = False,
    longest: Any = 1000.0,
    u_init: Initializer = orthogonal,
) -> Cell:
    """The phased LSTM: each unit is open for a part of its own period, and holds its state else.

        t: time so far;  phi = (t exp(rate) - phase) mod 1
        k = 2 phi / open below open / 2;  2 - 2 phi / open below open;  leak phi else
        i, f, g, o: as an LSTM's, with peepholes;  c~ = f c_{t-1} + i g,  h~ = o tanh(c~)
        c_t = k c~ + (1 - k) c_{t-1};  h_t = k h~ + (1 - k) h_{t-1}

    The initial periods, exp(-rate), are uniform on a logarithmic scale from 1 to `longest`. Params: ({w, b}, {u
    `[hidden, 4 hidden]`, p `[3, hidden]` of i, f, o, rate, phase `[hidden]`}), gates in the order i, f, g, o.

    Args:
      hidden: the number of units.
      forget_bias: added to f at run time, not stored in params.
      leak: how far a closed unit is open, alpha of the paper.
      open_ratio: the part of the period in which a unit is open.
      dt: the time between two inputs; with `timed`, the unit of time of the inputs.
      timed: whether the last feature of the input is the time since the input before. Negative times give nan.
      longest: the longest initial period.
      u_init: the initialiser of each gate's `[hidden, hidden]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = phased_lstm(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 16 (3 + 1) + 4 * 16 + (3 + 2) 4
      148

    Reference: Neil, Pfeiffer, Liu, Phased LSTM: accelerating recurrent network training for long or event-based
    sequences, 2016.
    """
    check_size("phased_lstm: hidden", hidden)
    check_number("phased_lstm: forget_bias", forget_bias)
    check_number("phased_lstm: leak", leak, 0, 1)
    check_number("phased_lstm: open_ratio", open_ratio, 0, 1, without=(0,))
    check_positive("phased_lstm: dt", dt)
    check_number("phased_lstm: longest", longest, 1)

    def update(p: PyTree, s: PhasedCarry, z: jax.Array) -> tuple[PhasedCarry, jax.Array]:
        z, length = _elapsed(z, 4 * hidden, dt)
        onward = s.phase + length * jnp.exp(p["rate"])
        onward = onward - jnp.floor(onward)
        phase = onward - p["phase"]
        k = _openness(phase - jnp.floor(phase), *(as_dtype(v, z) for v in (open_ratio, leak)))
        i, f, g, o = jnp.split(z + s.h @ p["u"], 4)
        forget = sigmoid(f + as_dtype(forget_bias, z) + p["p"][1] * s.c)
        c = forget * s.c + sigmoid(i + p["p"][0] * s.c) * jnp.tanh(g)
        h = sigmoid(o + p["p"][2] * c) * jnp.tanh(c)
        c, h = s.c + k * (c - s.c), s.h + k * (h - s.h)
        return PhasedCarry(c, h, onward), h

    def rates(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return -jax.random.uniform(key, shape, dtype) * jnp.log(jnp.asarray(longest, dtype))

    params = {
        "u": (_by_gates(u_init, 4), (hidden, 4 * hidden)),
        "p": (nothing, (3, hidden)),
        "rate": (rates, (hidden,)),
        "phase": (jax.nn.initializers.uniform(1.0), (hidden,)),
    }
    core = driven("phased_lstm", hidden, 4 * hidden + timed, update, params, lambda h: PhasedCarry(h, h, h))
    return stack(_entrance("phased_lstm", 4 * hidden, timed), core)


def _openness(phase: jax.Array, open_ratio: jax.Array, leak: jax.Array) -> jax.Array:
    """Returns k of the phased LSTM: rising, falling, then nearly closed."""
    slope = 2 * phase / open_ratio
    return jnp.where(phase < open_ratio / 2, slope, jnp.where(phase < open_ratio, 2 - slope, leak * phase))


def _by_gates(init: Initializer, gates: int) -> Initializer:
    """Returns the initialiser of `[hidden, gates hidden]` that draws each gate for itself."""

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        keys = jax.random.split(key, gates)
        return jnp.concatenate([init(k, (shape[0], shape[1] // gates), dtype) for k in keys], axis=1)

    return draw
