"""Complex numbers as pairs of reals, and the nonlinearity that acts on their modulus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base._numerics import at_least_single

_MENDED = 16  # components among which `of_norm` looks for the largest; to look through all takes longer than the map


class ComplexPair(NamedTuple):
    """A complex array as two real ones, so that optimisers, checkpoints and learning rules only see real leaves."""

    re: jax.Array
    im: jax.Array


def to_complex(pair: ComplexPair) -> jax.Array:
    """Returns the complex array of a pair."""
    return jax.lax.complex(at_least_single(pair.re), at_least_single(pair.im))


def to_pair(z: jax.Array, dtype: Any) -> ComplexPair:
    """Returns the pair of a complex array, in a real dtype."""
    return ComplexPair(z.real.astype(dtype), z.imag.astype(dtype))


def modrelu(z: jax.Array, b: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """Shifts the modulus by b, clipped at zero, and keeps the phase (the sign, for a real z).

        modrelu(z) = relu(|z| + b) z / |z|

    Value and gradient are finite everywhere. For a real z the slope is one wherever the output is not clipped, at zero
    too, so a state at rest (blank pixels before the first stroke, say) passes gradients on unchanged. For a complex z
    below epsilon the function is linear. At b = 0 it is exactly the identity.

    Args:
      z: a real or complex array.
      b: a real array that broadcasts against z; if negative, outputs are zero within that radius.
      epsilon: modulus below which the slope is constant, for a complex z.

    Example:
      >>> import jax.numpy as jnp
      >>> print(modrelu(jnp.array([3.0 + 4.0j, 0.3 + 0.4j, 0.0]), jnp.float32(-1.0)))
      [2.4+3.2j 0. +0.j  0. +0.j ]

    Reference: Arjovsky, Shah, Bengio, Unitary evolution recurrent neural networks, 2016.
    """
    if not jnp.iscomplexobj(z):
        return jnp.where(jnp.abs(z) + b < 0, jnp.zeros_like(z), z + b * jnp.sign(z))  # keeps nan
    return z * _gain(jnp.real(z * jnp.conj(z)), b, epsilon).astype(z.dtype)


def _gain(square: jax.Array, b: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """Returns the factor by which modrelu scales z, from |z|^2."""
    modulus = jnp.sqrt(jnp.maximum(square, jnp.asarray(epsilon * epsilon, square.dtype)))
    return jax.nn.relu(1 + b / modulus)


def modrelu_halves(z: jax.Array, b: jax.Array) -> jax.Array:
    """Applies modrelu to a vector of real parts, then imaginary parts, `[2 n]`, in real arithmetic."""
    re, im = jnp.split(z, 2)
    g = _gain(re * re + im * im, b)
    return jnp.concatenate([g * re, g * im])


def not_zero(square: jax.Array) -> jax.Array:
    """Makes a squared norm safe to divide by: a zero vector divided by it is zero, with a finite gradient."""
    return jnp.maximum(square, jnp.asarray(1e-12, square.dtype))


def unit_circle(angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns cos and sin of an angle, with cos^2 + sin^2 closer to 1 than rounding each separately gives.

    If each is rounded separately, the sum of squares is off by up to 2^-24, by the same amount at every step. Here the
    larger one is rounded to one of its neighbours, and the smaller one is computed from it if it changes by at most
    2^-21. The best such pair is returned.
    """
    c, s = jnp.cos(angle), jnp.sin(angle)
    if c.dtype != jnp.float32:
        return c, s
    large, small = jnp.maximum(abs(c), abs(s)), jnp.minimum(abs(c), abs(s))
    larges = [large + k * jnp.finfo(c.dtype).eps / 2 for k in (0.0, -2.0, -1.0, 1.0, 2.0)]
    smalls = [_fitting(a, small) for a in larges]
    best = jnp.stack([jnp.abs(_circle_gap(a, b)) for a, b in zip(larges, smalls)]).argmin(0)[None]
    large, small = (jnp.take_along_axis(jnp.stack(x), best, 0)[0] for x in (larges, smalls))
    turned = jnp.abs(c) >= jnp.abs(s)
    near = jnp.copysign(jnp.where(turned, large, small), c), jnp.copysign(jnp.where(turned, small, large), s)
    return c + jax.lax.stop_gradient(near[0] - c), s + jax.lax.stop_gradient(near[1] - s)


def _fitting(large: jax.Array, small: jax.Array) -> jax.Array:
    """Returns the smaller of cos and sin that matches the larger one, if it is close."""
    move = _circle_gap(large, small) / (2 * jnp.maximum(small, jnp.asarray(1e-3, small.dtype)))
    return jnp.where(jnp.abs(move) < 2.0**-21, small + move, small)


def _circle_gap(c: jax.Array, s: jax.Array) -> jax.Array:
    """Returns 1 - c^2 - s^2 to about 2^-35: the high parts have 12 bits, so their squares and sums are exact."""
    unit = jnp.asarray(2.0**11, c.dtype)
    c_high, s_high = jnp.round(c * unit) / unit, jnp.round(s * unit) / unit
    c_low, s_low = c - c_high, s - s_high
    return (1 - (c_high * c_high + s_high * s_high)) - (c + c_high) * c_low - (s + s_high) * s_low


def of_norm(y: jax.Array, h: jax.Array) -> jax.Array:
    """Returns y with the norm of h, for two norms that differ by rounding alone.

    The largest of the first components makes up for all. If all components were scaled, a factor as close to 1 as this
    one would be lost in rounding. In exact arithmetic nothing changes, so the change is not differentiated.
    """
    first, by = y[:_MENDED], jax.lax.stop_gradient((_square(h) - _square(y)) / 2)
    squares = jax.lax.stop_gradient(jnp.real(first * first.conj()))
    largest = jnp.argmax(squares)
    by = by / squares[largest]
    rounding = jnp.abs(by) < (len(y) + 8) * jnp.finfo(by.dtype).eps  # false for nan, overflow and underflow too
    by = jnp.where(rounding, by, 0)  # nan times zero would be nan in a derivative
    here = (jnp.arange(len(first)) == largest) & rounding
    mended = jnp.where(here, first + first * by.astype(y.dtype), first)
    return jnp.concatenate([mended, y[_MENDED:]])


def _square(z: jax.Array) -> jax.Array:
    """Returns the squared norm of a complex vector."""
    re, im = (jnp.vdot(part, part, precision=jax.lax.Precision.HIGHEST) for part in (z.real, z.imag))
    return re + im


def on_halves(f: Callable[[jax.Array], jax.Array], h: jax.Array) -> jax.Array:
    """Applies a map of complex vectors to a vector of real parts, then imaginary parts."""
    z = f(jax.lax.complex(*jnp.split(h, 2)))
    return jnp.concatenate([z.real, z.imag])


def halves_matrix(w: ComplexPair) -> jax.Array:
    """Returns the real `[2 n, 2 n]` matrix u for which h u is W h, where h holds real parts, then imaginary parts.

    Example:
      >>> i = ComplexPair(jnp.zeros((1, 1)), jnp.ones((1, 1)))
      >>> print(jnp.array([3.0, 4.0]) @ halves_matrix(i))  # (3 + 4i) i
      [-4.  3.]
    """
    return jnp.block([[w.re.T, w.im.T], [-w.im.T, w.re.T]])
