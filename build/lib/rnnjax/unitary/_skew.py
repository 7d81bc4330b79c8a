"""Skew-symmetric matrices: their storage, initialisers and exponential."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.unitary._windows import matmul_full_precision

SkewInit = Callable[[jax.Array, int, Any], jax.Array]  # (key, n, dtype) -> packed skew matrix of size n


def skew(packed: jax.Array) -> jax.Array:
    """Returns the skew-symmetric matrix `[n, n]` from the entries above its diagonal, row by row, `[n (n - 1) / 2]`.

    Raises:
      ValueError: no n matches the number of entries.

    Example:
      >>> import jax.numpy as jnp
      >>> print(skew(jnp.array([1.0, 2.0, 3.0])))
      [[ 0.  1.  2.]
       [-1.  0.  3.]
       [-2. -3.  0.]]
    """
    n = (1 + math.isqrt(1 + 8 * packed.size)) // 2
    if packed.shape != (n * (n - 1) // 2,):
        raise ValueError(f"skew takes the n (n - 1) / 2 entries above a diagonal, got {list(packed.shape)}")
    place = jnp.zeros((n, n), packed.dtype).at[np.triu_indices(n, 1)]
    above = place.set(packed, unique_indices=True, indices_are_sorted=True, mode="promise_in_bounds")
    return above - above.T


def _rotations(angles: jax.Array, n: int) -> jax.Array:
    """Returns the packed skew matrix that rotates each plane (2j, 2j + 1) by its angle, `[n // 2]`."""
    rows, columns = np.triu_indices(n, 1)
    planes = np.flatnonzero((columns == rows + 1) & (rows % 2 == 0))
    return jnp.zeros(len(rows), angles.dtype).at[planes].set(angles)


def any_angles(key: jax.Array, planes: int, dtype: Any) -> jax.Array:
    """Draws angles from U(-pi, pi)."""
    return jax.random.uniform(key, (planes,), dtype, -np.pi, np.pi)


def henaff(key: jax.Array, n: int, dtype: Any) -> jax.Array:
    """Initialises a packed skew matrix: block diagonal, with a rotation of each plane by an angle from U(-pi, pi).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> print((skew(henaff(jax.random.key(0), 4, jnp.float32)) != 0).astype(int))
      [[0 1 0 0]
       [1 0 0 0]
       [0 0 0 1]
       [0 0 1 0]]

    Reference: Henaff, Szlam, LeCun, Recurrent orthogonal networks and long-memory tasks, 2016.
    """
    return _rotations(any_angles(key, n // 2, dtype), n)


def cayley_start(key: jax.Array, n: int, dtype: Any) -> jax.Array:
    """Initialises a packed skew matrix: block diagonal, with entries that are tangents of half an angle.

        s = -sqrt((1 - cos t) / (1 + cos t)) = -tan(t / 2),  t ~ U(0, pi / 2)

    The Cayley transform turns these into rotations by t.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> a = skew(cayley_start(jax.random.key(0), 4, jnp.float32))
      >>> bool(-1 < a[0, 1] < 0), float(a[1, 2])
      (True, 0.0)

    Reference: Helfrich, Willmott, Ye, Orthogonal recurrent neural networks with scaled Cayley transform, 2018.
    """
    return _rotations(-jnp.tan(jax.random.uniform(key, (n // 2,), dtype, 0.0, np.pi / 2) / 2), n)


def random_skew(scale: Any = 1.0) -> SkewInit:
    """Initialises a packed skew matrix with all entries from N(0, scale^2 / n).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> random_skew()(jax.random.key(0), 4, jnp.float32).shape
      (6,)
    """

    def init(key: jax.Array, n: int, dtype: Any) -> jax.Array:
        return jnp.asarray(scale, dtype) / n**0.5 * jax.random.normal(key, (n * (n - 1) // 2,), dtype)

    return init


def expm(a: jax.Array, squarings: int = 12) -> jax.Array:
    """The exponential of a square matrix by matmuls only: a series of degree 15 with scaling and squaring.

        exp(a) = (sum_k (a / 2^s)^k / k!)^(2^s)

    Its gradient is that of these operations, exact up to rounding in forward and reverse mode.

    Args:
      a: `[n, n]`.
      squarings: maximal number of squarings; norms up to 2^(squarings + 1) keep full accuracy.

    Raises:
      ValueError: a is not square.

    Example:
      >>> import jax.numpy as jnp
      >>> print(expm(jnp.array([[0.0, -jnp.pi], [jnp.pi, 0.0]])).round(5) + 0.0)
      [[-1.  0.]
       [ 0. -1.]]

    Reference: Al-Mohy, Higham, A new scaling and squaring algorithm for the matrix exponential, 2009; Paterson,
    Stockmeyer, On the number of nonscalar multiplications necessary to evaluate polynomials, 1973.
    """
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise ValueError(f"expm takes a square matrix, got {list(a.shape)}")
    radius = 0.5 if a.dtype == jnp.float64 else 2.0  # the 16th term is below rounding within this norm
    powers = [jnp.eye(a.shape[0], dtype=a.dtype), a]
    for _ in range(3):
        powers.append(matmul_full_precision(powers[-1], a))
    s = jnp.clip(jnp.ceil(jnp.log2(_power_norm_bound(a, powers[4]) / radius)), 0, squarings)
    powers = [p * jnp.exp2(-i * s) for i, p in enumerate(powers)]

    def four_terms(k: int) -> jax.Array:
        return sum((p * (1 / math.factorial(k + i)) for i, p in enumerate(powers[:4])), jnp.zeros_like(a))

    total = four_terms(12)
    for k in (8, 4, 0):  # Horner's rule in the fourth power
        total = matmul_full_precision(total, powers[4]) + four_terms(k)

    def square(i: jax.Array, m: jax.Array) -> jax.Array:
        return lax.cond(i < s, lambda m: matmul_full_precision(m, m), lambda m: m, m)

    return lax.fori_loop(0, squarings, square, total)


def _power_norm_bound(a: jax.Array, fourth: jax.Array) -> jax.Array:
    """Returns max(||a^4||^(1/4), (||a^4|| ||a||)^(1/5)), a bound of ||a^k||^(1/k) for the truncated terms, k >= 12.

    For a dense rotation it is far below ||a||, so fewer squarings are needed.
    """
    of_a, of_fourth = (lax.stop_gradient(jnp.abs(m).sum(0).max()) for m in (a, fourth))
    return jnp.maximum(of_fourth**0.25, of_fourth**0.2 * of_a**0.2)
