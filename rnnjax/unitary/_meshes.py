"""Unitary factors built from small parts: layers of Givens rotations, two meshes of them, and Kronecker products."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import PyTree, check_size
from rnnjax.base._numerics import draw_initial
from rnnjax.unitary._factors import (
    Factor,
    bound_turns,
    cos_sin,
    diagonal,
    keeping,
    product,
    uniform,
    without_correction,
)


def givens(stride: int = 1, offset: int = 0) -> Factor:
    """A layer of n / 2 simultaneous rotations of the pairs (j, j + stride), with angles and phases from U(-pi, pi).

        (a, b) <- (exp(i phi) (cos(theta) a - sin(theta) b), sin(theta) a + cos(theta) b)

    Args:
      stride: distance within a pair; n must be a multiple of 2 stride.
      offset: index of the first pair; pairs past the end wrap around to the front.

    Raises:
      ValueError: stride is below one; when params are made, if n is not a multiple of 2 stride.

    Example: a rotation of two components by 90 degrees.
      >>> import jax.numpy as jnp
      >>> quarter = {"theta": jnp.array([jnp.pi / 2]), "phi": jnp.zeros(1)}
      >>> print(givens().apply(quarter, jnp.array([1.0 + 0j, 0.0])).real.round(6) + 0.0)
      [0. 1.]

    Reference: Jing et al., Tunable efficient unitary neural networks (EUNN) and their application to RNNs, 2017.
    """
    check_size("givens: stride", stride)
    check_size("givens: offset", offset, 0)

    def init(key: jax.Array, n: int, dtype: Any) -> PyTree:
        if n % (2 * stride):
            raise ValueError(f"givens(stride={stride}) needs a multiple of {2 * stride} units, got {n}")
        kt, kp = jax.random.split(key)
        return {name: draw_initial(uniform(jnp.pi), k, (n // 2,), dtype) for name, k in (("theta", kt), ("phi", kp))}

    def turn(h: jax.Array, by: Any) -> jax.Array:
        a, b = jnp.moveaxis(jnp.roll(h, -offset).reshape(-1, 2, stride), 1, 0)
        return jnp.roll(jnp.stack(by(a.ravel(), b.ravel()), 0).reshape(2, -1, stride).swapaxes(0, 1).ravel(), offset)

    def rotation(p: PyTree) -> tuple[jax.Array, jax.Array, jax.Array]:
        by = bound_turns(p)
        phase, (c, s) = jax.lax.complex(*by["phi"]), by["theta"]
        return c.astype(phase.dtype), s.astype(phase.dtype), phase

    def apply(p: PyTree, h: jax.Array) -> jax.Array:
        c, s, phase = rotation(p)
        return turn(h, lambda a, b: (phase * (c * a - s * b), s * a + c * b))

    def adjoint(p: PyTree, h: jax.Array) -> jax.Array:
        c, s, phase = rotation(p)
        return turn(h, lambda a, b: (c * phase.conj() * a + s * b, c * b - s * phase.conj() * a))

    return keeping(Factor(init, apply, adjoint, cos_sin))


def tunable(capacity: int) -> Factor:
    """The tunable mesh: layers of rotations of neighbours, every second layer shifted by one; n is even.

        W = D G_1 G_2 .. G_L

    L = n reaches every unitary matrix; fewer layers are faster.

    Args:
      capacity: L, the number of layers.

    Raises:
      ValueError: capacity is below one; when params are made, if n is odd.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> sum(p.size for p in jax.tree.leaves(tunable(2).init(jax.random.key(0), 16, jnp.float32)))
      48

    Reference: Jing et al., Tunable efficient unitary neural networks (EUNN) and their application to RNNs, 2017.
    """
    check_size("tunable: capacity", capacity)
    return product(diagonal(), *(givens(1, layer % 2) for layer in range(capacity)))


def butterfly(n: int) -> Factor:
    """The mesh of the fast Fourier transform: log2(n) layers of rotations at strides 1, 2, 4, .., n / 2.

        W = D G_1 G_2 G_4 .. G_{n/2}

    Args:
      n: units, a power of two.

    Raises:
      ValueError: n is not a power of two; when params are made, if the number of units is not n.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> sum(p.size for p in jax.tree.leaves(butterfly(16).init(jax.random.key(0), 16, jnp.float32)))
      80

    Reference: Jing et al., Tunable efficient unitary neural networks (EUNN) and their application to RNNs, 2017.
    """
    check_size("butterfly: n", n, 2)
    if n < 2 or n & (n - 1):
        raise ValueError(f"butterfly needs a power of two of units, got {n}")
    mesh = product(diagonal(), *(givens(2**layer) for layer in range(n.bit_length() - 1)))

    def init(key: jax.Array, units: int, dtype: Any) -> PyTree:
        if units != n:
            raise ValueError(f"butterfly({n}) has {n} units, not {units}")
        return mesh.init(key, units, dtype)

    return dataclasses.replace(mesh, init=init)


def kronecker(*parts: tuple[Factor, int]) -> Factor:
    """The Kronecker product of small unitary maps.

        W = A (x) B (x) ..,  n = n_A n_B ..

    Args:
      *parts: pairs (factor, its size), the slowest index first.

    Raises:
      ValueError: no parts; when params are made, if the sizes do not multiply to n.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> w = kronecker((diagonal(), 4), (tunable(2), 8))
      >>> sum(p.size for p in jax.tree.leaves(w.init(jax.random.key(0), 32, jnp.float32)))
      28

    Reference: Jose, Cisse, Fleuret, Kronecker recurrent units, 2017.
    """
    sizes = tuple(n for _, n in parts)
    if not parts or min(sizes) < 1:
        raise ValueError(f"kronecker needs parts (factor, size) of at least one unit each, got sizes {sizes}")

    def init(key: jax.Array, n: int, dtype: Any) -> PyTree:
        if math.prod(sizes) != n:
            raise ValueError(f"kronecker of sizes {sizes} has {math.prod(sizes)} units, not {n}")
        keys = jax.random.split(key, len(parts))
        return tuple(f.init(k, size, dtype) for (f, size), k in zip(parts, keys))

    def along_each(maps: list[Any], weights: PyTree, h: jax.Array) -> jax.Array:
        for axis, (f, w) in enumerate(zip(maps, weights)):
            h = jnp.moveaxis(h.reshape(sizes), axis, 0)
            moved = jax.vmap(f, (None, 1), 1)(w, h.reshape(sizes[axis], -1)).reshape(h.shape)
            h = jnp.moveaxis(moved, 0, axis)
        return h.ravel()

    factors = [without_correction(f) for f, _ in parts]
    return keeping(
        Factor(
            init,
            lambda weights, h: along_each([f.apply for f in factors], weights, h),
            lambda weights, h: along_each([f.adjoint for f in factors], weights, h),
            lambda params: tuple(f.weights(p) for f, p in zip(factors, params)),
        )
    )
