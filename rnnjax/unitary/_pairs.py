"""Complex numbers as real pairs, and the nonlinearity that acts on their modulus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base._numerics import at_least_single


class ComplexPair(NamedTuple):
    """A complex array as two real ones, so that no optimiser, checkpoint or learning rule meets a complex leaf."""

    re: jax.Array
    im: jax.Array


def to_complex(pair: ComplexPair) -> jax.Array:
    """The complex array of a pair."""
    return jax.lax.complex(at_least_single(pair.re), at_least_single(pair.im))


def to_pair(z: jax.Array, dtype: Any) -> ComplexPair:
    """The pair of a complex array, in a real dtype."""
    return ComplexPair(z.real.astype(dtype), z.imag.astype(dtype))


def modrelu(z: jax.Array, b: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """Shifts the modulus by b, cut off at zero, and keeps the phase (for a real z: the sign).

        modrelu(z) = relu(|z| + b) z / |z|

    Value and gradient are finite everywhere. A real z has the slope one wherever it passes, at zero too: a state at
    rest (dark pixels before the first stroke, say) hands gradients on as they are. A complex z goes on linearly to zero
    below epsilon. At b = 0 it is the identity, exactly.

    Args:
      z: a real or complex array.
      b: a real array that broadcasts against z; below zero it makes a dead zone of that radius.
      epsilon: modulus below which the slope stays constant, for a complex z.

    Example:
      >>> import jax.numpy as jnp
      >>> print(modrelu(jnp.array([3.0 + 4.0j, 0.3 + 0.4j, 0.0]), jnp.float32(-1.0)))
      [2.4+3.2j 0. +0.j  0. +0.j ]

    Reference: Arjovsky, Shah, Bengio, Unitary evolution recurrent neural networks, 2016.
    """
    if not jnp.iscomplexobj(z):
        return jnp.where(jnp.abs(z) + b < 0, jnp.zeros_like(z), z + b * jnp.sign(z))  # so that nan stays nan
    return z * _gain(jnp.real(z * jnp.conj(z)), b, epsilon).astype(z.dtype)


def _gain(square: jax.Array, b: jax.Array, epsilon: float = 1e-5) -> jax.Array:
    """What modrelu multiplies z by, from |z|^2."""
    modulus = jnp.sqrt(jnp.maximum(square, jnp.asarray(epsilon * epsilon, square.dtype)))
    return jax.nn.relu(1 + b / modulus)


def modrelu_halves(z: jax.Array, b: jax.Array) -> jax.Array:
    """modrelu of real and imaginary parts one after the other, `[2 n]`, in real arithmetic."""
    re, im = jnp.split(z, 2)
    g = _gain(re * re + im * im, b)
    return jnp.concatenate([g * re, g * im])


def not_zero(square: jax.Array) -> jax.Array:
    """A squared norm fit to divide by: over it a zero vector is zero, and its gradient is finite."""
    return jnp.maximum(square, jnp.asarray(1e-12, square.dtype))


def unit_circle(angle: jax.Array) -> tuple[jax.Array, jax.Array]:
    """cos and sin of an angle, such that cos^2 + sin^2 is nearer to 1 than the rounding of either would have it.

    Each rounded by itself, their squares are off by up to 2^-24, the same at every step. Here the larger is one of the
    numbers next to it, and the smaller what is left for it, if that is no farther than 2^-21: whichever fits best.
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
    """The smaller of cos and sin that goes with the larger, if it is near."""
    move = _circle_gap(large, small) / (2 * jnp.maximum(small, jnp.asarray(1e-3, small.dtype)))
    return jnp.where(jnp.abs(move) < 2.0**-21, small + move, small)


def _circle_gap(c: jax.Array, s: jax.Array) -> jax.Array:
    """1 - c^2 - s^2, to about 2^-35: squares and sums of the high parts are exact, for they have 12 bits."""
    unit = jnp.asarray(2.0**11, c.dtype)
    c_high, s_high = jnp.round(c * unit) / unit, jnp.round(s * unit) / unit
    c_low, s_low = c - c_high, s - s_high
    return (1 - (c_high * c_high + s_high * s_high)) - (c + c_high) * c_low - (s + s_high) * s_low


def on_halves(f: Callable[[jax.Array], jax.Array], h: jax.Array) -> jax.Array:
    """A map of complex vectors applied to real and imaginary parts one after the other."""
    z = f(jax.lax.complex(*jnp.split(h, 2)))
    return jnp.concatenate([z.real, z.imag])


def halves_matrix(w: ComplexPair) -> jax.Array:
    """The real `[2 n, 2 n]` matrix u for which h u is W h, h being real parts and imaginary parts.

    Example:
      >>> i = ComplexPair(jnp.zeros((1, 1)), jnp.ones((1, 1)))
      >>> print(jnp.array([3.0, 4.0]) @ halves_matrix(i))  # (3 + 4i) i
      [-4.  3.]
    """
    return jnp.block([[w.re.T, w.im.T], [-w.im.T, w.re.T]])
