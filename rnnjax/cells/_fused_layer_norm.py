"""Fast windows of cores with layer norm: the rules of `rnnjax.cells` on normalised linear maps.

The norm of a linear map is the same map of a scaled input, with weights centred over their columns:

    standardize(h u) * gain = (r h) (c * gain),  c = centred(u),  r = 1 / sqrt(h q h + epsilon),  q = c c^T / n

A layer with layer norm is therefore the plain layer on the inputs r_x x and r_h h, and one matmul per piece still gives
the gradient of all its weights, including gains. The scales add little: in the loop, a product of h with the cotangent
that comes back through u; after the loop, the gradient of the quadratic forms h q h and x q x.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import PyTree
from rnnjax.base._numerics import EPSILON
from rnnjax.cells._fused_rules import (
    DERIVATIVES,
    GRU,
    LSTM,
    VANILLA,
    Activation,
    lstm_cotangents,
    lstm_gates,
    mix,
    plus,
    side_by_side,
    sigmoid,
    times_t,
)
from rnnjax.cells._fused_window import Rule


def _mean(x: jax.Array) -> jax.Array:
    """Returns the mean over features, keeping the axis, by a matmul: the CPU does not vectorise sums along rows."""
    n = x.shape[-1]
    return jnp.matmul(x, jnp.full((n, 1), 1 / n, x.dtype), precision=lax.Precision.HIGHEST)


def _inverse_root(mean_square: jax.Array) -> jax.Array:
    """Returns the scale r of a mean square."""
    return lax.rsqrt(mean_square + jnp.asarray(EPSILON, mean_square.dtype))


def _standard(c: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns c with mean 0 and variance 1, and the scale that was applied."""
    centred = c - c.mean(-1, keepdims=True)
    r = _inverse_root((centred * centred).mean(-1, keepdims=True))
    return centred * r, r


def _times(a: jax.Array, gain: jax.Array) -> jax.Array:
    """Multiplies a by a gain per feature."""
    return a * jnp.broadcast_to(gain, a.shape)


def _normed(w: jax.Array, gain: jax.Array) -> tuple[PyTree, jax.Array]:
    """Returns the parameters of the norm of x w, using q if it is smaller, and the weights for the scaled input."""
    w = w - w.mean(-1, keepdims=True)
    q = w @ w.T / jnp.asarray(w.shape[1], w.dtype) if w.shape[0] <= w.shape[1] else None
    gained = _times(w, gain)
    return {"w": w, "w_t": w.T, "gained_t": gained.T, "q": q, "gain": gain}, gained


def _mean_square(part: PyTree, x: jax.Array) -> jax.Array:
    """Returns the mean square of x w as a function of x and w, for many steps."""
    if part["q"] is None:
        v = times_t(x, part["w_t"])
        return _mean(v * v)
    return (times_t(x, part["q"]) * x).sum(-1, keepdims=True)


def _prepared(plain: Rule, linear: PyTree | None, *rest: Any) -> PyTree:
    """Returns the params of the plain rule on scaled inputs, together with the norms.

    Args:
      plain: the rule without layer norm.
      linear: the params of the input's map, or None if the inputs are pre-activations.
      *rest: the params of the layer norm of the input's part (if there is a map) and of the core, and an extra bias.
    """
    *norm, core, bias = rest
    recurrent, u = _normed(core["u"], core["gain"])
    inputs = None
    if linear is not None:
        inputs, w = _normed(linear["w"], norm[0]["gain"])
        linear = {"w": w, "b": norm[0]["bias"]}
    plain_core = {name: leaf for name, leaf in core.items() if name in ("u", "b")} | {"u": u}
    p = plain.prepare(linear, plain_core, bias)
    biases = [b for b in (None if linear is None else linear["b"], bias) if b is not None]
    b = sum(biases[1:], biases[0]) if biases else None
    return {"plain": p, "inputs": inputs, "recurrent": recurrent, "b": b, "u_t": u.T, "core": core}


def _recurrent_part(norm: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns standardize(x w) of one step, and its scale."""
    v = x @ norm["w"]
    r = _inverse_root(_mean(v * v))
    return v * r, r


def _input_part(p: PyTree, x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """Returns the input's pre-activations, including biases, and their scale."""
    if p["inputs"] is None:
        return plus(x, p["b"]), None
    a, r = _recurrent_part(p["inputs"], x)
    return plus(a * p["inputs"]["gain"], p["b"]), r


def _drive(p: PyTree, x: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array, PyTree]:
    """Returns the input's pre-activations including biases, the recurrent ones, and their scales."""
    a, rx = _input_part(p, x)
    v, rh = _recurrent_part(p["recurrent"], h)
    return a, v * p["recurrent"]["gain"], (rx, rh)


def _scaled(x: jax.Array, h: jax.Array, scales: PyTree) -> tuple[jax.Array, jax.Array]:
    """Returns the inputs of the plain rule."""
    rx, rh = scales
    return x if rx is None else x * rx, h * rh


def _mean_squares(p: PyTree, x: jax.Array, h: jax.Array) -> PyTree:
    """Returns the mean squares of the input's part and of the recurrent part."""
    return None if p["inputs"] is None else _mean_square(p["inputs"], x), _mean_square(p["recurrent"], h)


def _scale_factors(p: PyTree, h: jax.Array, scales: PyTree) -> PyTree:
    """Returns the factors that `_pull_back` multiplies by."""
    rh = scales[1]
    return scales, h, rh * rh * rh * times_t(h, p["recurrent"]["q"])


def _pull_back(p: PyTree, factors: PyTree, dv: jax.Array, along: jax.Array) -> tuple[jax.Array, PyTree]:
    """Maps the cotangents dv of the recurrent part to those of h and of the mean squares.

    Args:
      p: the prepared params.
      factors: from `_scale_factors`.
      dv: the cotangents of the recurrent part of all gates.
      along: the sum over gates of the cotangents times both parts, without biases.
    """
    (rx, rh), h, k = factors
    e = dv @ p["u_t"]
    he = (h * e).sum(-1, keepdims=True)
    of_x = None if rx is None else -(rx * rx) * (along - rh * he) / 2
    return rh * e - he * k, (of_x, -(rh * rh * rh) * he / 2)


def _unbiased(p: PyTree, z: jax.Array) -> jax.Array:
    """Returns pre-activations without biases."""
    return z if p["b"] is None else z - jnp.broadcast_to(p["b"], z.shape)


def _sum_features(x: jax.Array) -> jax.Array:
    """Returns the sum over features, keeping the axis."""
    return _mean(x) * jnp.asarray(x.shape[-1], x.dtype)


def _lstm_rule() -> Rule:
    """The rule of an LSTM; the cell is also normalised where the output reads it."""

    def step(p: PyTree, carry: Any, x: jax.Array) -> tuple[PyTree, PyTree]:
        a, v, scales = _drive(p, x, carry.h)
        z = a + v
        i, f, g, o = jnp.split(z, 4, axis=-1)
        c = sigmoid(f) * carry.c + sigmoid(i) * jnp.tanh(g)
        normal = _standard(c)
        return carry._replace(c=c, h=sigmoid(o) * jnp.tanh(seen(p, normal[0]))), (z, scales, normal)

    def seen(p: PyTree, c: jax.Array) -> jax.Array:
        return plus(_times(c, p["core"]["c_gain"]), p["core"]["c_bias"])

    def pre(p: PyTree, x: jax.Array, before: Any, saved: PyTree) -> PyTree:
        z, scales, (c, _) = saved
        to_x, to_h = _scaled(x, before.h, scales)
        plain = LSTM.pre(p["plain"], to_x, before._replace(h=to_h), z)
        return plain, _mean_squares(p, x, before.h), seen(p, c)

    def factors(p: PyTree, before: Any, after: Any, saved: PyTree) -> PyTree:
        z, scales, (c, r) = saved
        gates, keep, open_ = lstm_gates(before.c, jnp.tanh(seen(p, c)), z)
        gained = _times(open_, p["core"]["c_gain"])
        cell = open_, gained * r, gained * c, c * r
        return gates, keep, cell, _unbiased(p, z), _scale_factors(p, before.h, scales)

    def pull(p: PyTree, factors: PyTree, d: Any) -> tuple[PyTree, PyTree]:
        gates, keep, (open_, direct, slope, c), z, scales = factors
        through = d.h * direct
        dc = d.c + through - through.mean(-1, keepdims=True) - c * (d.h * slope).mean(-1, keepdims=True)
        da = lstm_cotangents(gates, dc, d.h)
        dh, dsquares = _pull_back(p, scales, da, _sum_features(da * z))
        return d._replace(c=dc * keep, h=dh), (da, dsquares, d.h * open_)

    return Rule(functools.partial(_prepared, LSTM), step, pre, factors, pull, lambda carry: carry.h)


def _vanilla_rule(plain: Rule, activation: Activation, derivative: Activation) -> Rule:
    """The rule of a vanilla core. u is square, so h q h would cost as much as h u; the norm's derivative is cheaper."""

    def step(p: PyTree, h: jax.Array, x: jax.Array) -> tuple[PyTree, PyTree]:
        a, rx = _input_part(p, x)
        n, rh = _recurrent_part(p["recurrent"], h)
        z = a + n * p["recurrent"]["gain"]
        return activation(z), (z, n, rx, rh)

    def pre(p: PyTree, x: jax.Array, h: jax.Array, saved: PyTree) -> PyTree:
        _, n, rx, _ = saved
        v = _times(n, p["recurrent"]["gain"])
        if rx is None:
            return plus(x + v, p["b"]), None, times_t(h, p["recurrent"]["w_t"])
        a = times_t(x * rx, p["inputs"]["gained_t"])
        return plus(a + v, p["b"]), _mean_square(p["inputs"], x), times_t(h, p["recurrent"]["w_t"])

    def factors(p: PyTree, h: jax.Array, after: jax.Array, saved: PyTree) -> PyTree:
        z, n, rx, rh = saved
        return derivative(after), _unbiased(p, z), n, rx, rh

    def pull(p: PyTree, factors: PyTree, d: jax.Array) -> tuple[PyTree, PyTree]:
        slope, z, n, rx, rh = factors
        da = d * slope
        dn = da * p["recurrent"]["gain"]
        nn = _sum_features(dn * n)
        dv = rh * (dn - n * nn / jnp.asarray(n.shape[-1], n.dtype))
        of_x = None if rx is None else -(rx * rx) * (_sum_features(da * z) - nn) / 2
        return dv @ p["recurrent"]["w_t"], (da, of_x, dv)

    return Rule(functools.partial(_prepared, plain), step, pre, factors, pull)


def _gru_rule(plain: Rule, keep: bool) -> Rule:
    """The rule of a GRU whose reset gate acts after the matmul and its norm."""

    def step(p: PyTree, h: jax.Array, x: jax.Array) -> tuple[PyTree, PyTree]:
        n = h.shape[-1]
        a, v, scales = _drive(p, x, h)
        rz, v = a[: 2 * n] + v[: 2 * n], plus(v[2 * n :], p["core"].get("b"))
        r, z = jnp.split(sigmoid(rz), 2)
        new = a[2 * n :] + r * v
        return mix(keep, h, z, jnp.tanh(new)), (rz, v, new, scales)

    def pre(p: PyTree, x: jax.Array, h: jax.Array, saved: PyTree) -> PyTree:
        return plain.pre(p["plain"], *_scaled(x, h, saved[-1]), ()), _mean_squares(p, x, h)

    def factors(p: PyTree, h: jax.Array, after: jax.Array, saved: PyTree) -> PyTree:
        rz, v, new, scales = saved
        z = _unbiased(p, side_by_side(rz, new))
        return plain.factors(p["plain"], h, after, (rz, v, jnp.tanh(new))), z, _scale_factors(p, h, scales)

    def pull(p: PyTree, factors: PyTree, d: jax.Array) -> tuple[PyTree, PyTree]:
        (k, (r, z), v, new), zn, scales = factors
        drz, dv, dn = side_by_side(d * r, d * z), d * v, d * new
        along = _sum_features(side_by_side(drz, dn) * zn)
        along = along - _sum_features(dv * p["core"]["b"]) if "b" in p["core"] else along
        dh, dsquares = _pull_back(p, scales, side_by_side(drz, dv), along)
        return d * k + dh, ((drz, dv, dn), dsquares)

    return Rule(functools.partial(_prepared, plain), step, pre, factors, pull)


NORMED_LSTM = _lstm_rule()
NORMED_VANILLA = {f: _vanilla_rule(VANILLA[f], f, derivative) for f, derivative in DERIVATIVES.items()}
NORMED_GRU = {keep: _gru_rule(GRU[True, keep], keep) for keep in (True, False)}
