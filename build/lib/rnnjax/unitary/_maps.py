"""Parametrisations of a recurrent matrix: maps from free real parameters to a matrix with a constraint.

They are used in `rnnjax.parametrize(core, u=exponential())`, which makes the parameters and evaluates the map once per
window. No map needs an eigenvalue or Schur decomposition, so all of them compile for every backend.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import PyTree, check_size
from rnnjax.base._numerics import Initializer, at_least_single, draw_initial, orthogonal
from rnnjax.unitary._pairs import not_zero
from rnnjax.unitary._skew import SkewInit, any_angles, cayley_start, expm, henaff, skew
from rnnjax.unitary._windows import matmul_full_precision, polished


@dataclasses.dataclass(frozen=True, eq=False)
class Parametrization:
    """A map from free parameters to a matrix `[n, n]`; calling it applies the map.

    init(key, n, dtype) -> raw        real leaves
    apply(raw) -> u                   in at least single precision
    """

    init_raw: Callable[[jax.Array, int, Any], PyTree]
    apply: Callable[[PyTree], jax.Array]

    def init(self, key: jax.Array, u: Any) -> PyTree:
        """Returns raw parameters for a matrix of the shape of u.

        Raises:
          ValueError: u is not square.
        """
        if len(u.shape) != 2 or u.shape[0] != u.shape[1]:
            raise ValueError(f"a constrained recurrent matrix is square, got {list(u.shape)}: gates need one each")
        return self.init_raw(key, u.shape[0], u.dtype)

    def __call__(self, raw: PyTree) -> jax.Array:
        dtype = jax.tree.leaves(raw)[0].dtype
        return self.apply(jax.tree.map(at_least_single, raw)).astype(dtype)


def packed(init: SkewInit, key: jax.Array, n: int, dtype: Any) -> jax.Array:
    """Draws a packed skew matrix in at least single precision."""
    return draw_initial(lambda k, shape, d: init(k, n, d), key, (), dtype)


def exponential(init: SkewInit = henaff) -> Parametrization:
    """Every rotation of R^n, as the exponential of a skew-symmetric matrix.

        u = exp(A),  A = -A^T;  raw: the entries of A above its diagonal

    Args:
      init: of the packed A.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> core = rnnjax.parametrize(rnnjax.vanilla_core(8), u=exponential())
      >>> params = core.init(jax.random.key(0), jnp.ones(8))
      >>> params["u"].shape, bool(orthogonality_error(core.weights(params)["u"]) < 1e-5)
      ((28,), True)

    Reference: Lezcano-Casado, Martinez-Rubio, Cheap orthogonal constraints in neural networks, 2019.
    """
    return Parametrization(lambda key, n, dtype: packed(init, key, n, dtype), lambda raw: polished(expm(skew(raw))))


def check_signs(negative: int, n: int) -> None:
    """Refuses more negative signs than units."""
    if not 0 <= negative <= n:
        raise ValueError(f"cayley(negative={negative}) of {n} units: between 0 and {n} signs can be negative")


def cayley(init: SkewInit = cayley_start, negative: int = 0) -> Parametrization:
    """Rotations by the Cayley transform; scaled by signs, every orthogonal matrix is reachable for some D.

        u = (I + A)^-1 (I - A) D,  A = -A^T,  D = diag(1, .., 1, -1, .., -1)

    I + A is never singular. As an eigenvalue of u D approaches -1, though, the entries of A grow without bound;
    `cayley_condition` measures this.

    Args:
      init: of the packed A.
      negative: number of entries of D that are -1.

    Raises:
      ValueError: when params are made, if there are more negative entries than units.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> u = cayley(negative=1)
      >>> float(jnp.linalg.det(u(u.init(jax.random.key(0), jnp.ones((4, 4))))).round(4))
      -1.0

    Reference: Helfrich, Willmott, Ye, Orthogonal recurrent neural networks with scaled Cayley transform, 2018.
    """
    check_size("cayley: negative", negative, 0)

    def init_raw(key: jax.Array, n: int, dtype: Any) -> jax.Array:
        check_signs(negative, n)
        return packed(init, key, n, dtype)

    def apply(raw: jax.Array) -> jax.Array:
        a = skew(raw)
        n = a.shape[0]
        one = jnp.eye(n, dtype=a.dtype)
        signs = np.where(np.arange(n) < n - negative, 1.0, -1.0)
        return polished(jnp.linalg.solve(one + a, one - a)) * jnp.asarray(signs, a.dtype)[None, :]

    return Parametrization(init_raw, apply)


def cayley_condition(raw: jax.Array) -> jax.Array:
    """The reciprocal condition number of I + A in the Cayley transform, from the raw A; a metric for training.

        1 / (||I + A||_1 ||(I + A)^-1||_1),  between 0 and 1

    The error of u is about the rounding unit divided by this number. Near 1e-6, a float32 has no correct digit left:
    restart with another D before that, or use `exponential` instead.

    Args:
      raw: of `cayley`, the entries of A above its diagonal.

    Example: a rotation by nearly 180 degrees.
      >>> import jax.numpy as jnp
      >>> print(f"{cayley_condition(jnp.array([1e4, 0.0, 0.0])):.0e}")
      1e-04

    Reference: Helfrich, Willmott, Ye, Orthogonal recurrent neural networks with scaled Cayley transform, 2018.
    """
    a = skew(at_least_single(raw))
    one = jnp.eye(a.shape[0], dtype=a.dtype)
    norms = [jnp.abs(m).sum(0).max() for m in (one + a, jnp.linalg.solve(one + a, one))]
    return 1 / (norms[0] * norms[1])


def householder(reflections: int) -> Parametrization:
    """The product of reflections, accumulated: three matmuls and one triangular inverse in place of a chain.

        u = H_1 .. H_k,  H_i = I - 2 v_i v_i^T / ||v_i||^2;   raw: v `[k, n]`
        u = I - V^T T V,  T^-1 = striu(V V^T) + diag(V V^T) / 2

    For v = 0 a reflection is the identity. With k = n, every orthogonal matrix with determinant (-1)^n is reachable.

    Args:
      reflections: k.

    Raises:
      ValueError: k is below one.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> u = householder(3)
      >>> bool(orthogonality_error(u(u.init(jax.random.key(0), jnp.ones((4, 4))))) < 1e-5)
      True

    Reference: Mhammedi, Hellicar, Rahman, Bailey, Efficient orthogonal parametrisation of recurrent neural networks
    using Householder reflections, 2017; Joffrain et al., Accumulating Householder transformations, revisited, 2006.
    """
    check_size("householder: reflections", reflections)

    def init_raw(key: jax.Array, n: int, dtype: Any) -> jax.Array:
        return draw_initial(jax.random.normal, key, (reflections, n), dtype)

    def apply(v: jax.Array) -> jax.Array:
        gram = matmul_full_precision(v, v.T)
        inverse_t = jnp.triu(gram, 1) + jnp.diag(not_zero(jnp.diag(gram)) / 2)
        tv = jax.scipy.linalg.solve_triangular(inverse_t, v, lower=False)
        return polished(jnp.eye(v.shape[1], dtype=v.dtype) - matmul_full_precision(v.T, tv))

    return Parametrization(init_raw, apply)


class Schur(NamedTuple):
    """A real matrix of known spectrum: basis P (packed skew), planes (angle, modulus), coupling between the planes."""

    p: jax.Array
    theta: jax.Array
    gamma: jax.Array
    t: jax.Array


def check_even(n: int) -> None:
    """Refuses an odd number of units."""
    if n % 2:
        raise ValueError(f"schur pairs units into planes: their number must be even, got {n}")


def _planes(c: jax.Array, s: jax.Array) -> jax.Array:
    """Returns the matrix with the blocks (c -s; s c) on its diagonal."""
    first = np.arange(0, 2 * len(c), 2)
    return jnp.diag(jnp.repeat(c, 2)).at[first, first + 1].set(-s).at[first + 1, first].set(s)


def schur(basis: SkewInit = henaff) -> Parametrization:
    """A non-normal matrix in Schur form with explicit eigenvalues gamma exp(+-i theta); n is even.

        u = P (Lambda + T) P^T,  P = exp(A),  Lambda = blocks gamma_j R(theta_j),  T strictly above those blocks

    It starts with gamma = 1, theta ~ U(-pi, pi) and T = 0, and is then orthogonal.

    Args:
      basis: initialiser of the packed A.

    Raises:
      ValueError: when params are made, if n is odd.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> u = schur()
      >>> raw = u.init(jax.random.key(0), jnp.ones((4, 4)))
      >>> bool(orthogonality_error(u(raw)) < 1e-5), bool(orthogonality_error(u(raw._replace(t=raw.t + 1))) > 1)
      (True, True)

    Reference: Kerg et al., Non-normal recurrent neural network (nnRNN), 2019.
    """

    def init_raw(key: jax.Array, n: int, dtype: Any) -> Schur:
        check_even(n)
        kp, kt = jax.random.split(key)
        theta = draw_initial(lambda k, shape, d: any_angles(k, n // 2, d), kt, (), dtype)
        return Schur(packed(basis, kp, n, dtype), theta, jnp.ones(n // 2, dtype), jnp.zeros(n * (n - 2) // 2, dtype))

    def apply(raw: Schur) -> jax.Array:
        n = 2 * len(raw.theta)
        rows, columns = np.triu_indices(n, 1)
        between = rows // 2 != columns // 2
        c, s = jnp.cos(raw.theta), jnp.sin(raw.theta)
        m = _planes((raw.gamma - 1) * c, (raw.gamma - 1) * s)
        m = m.at[rows[between], columns[between]].set(raw.t, unique_indices=True, mode="promise_in_bounds")
        p = polished(expm(skew(raw.p)))
        rotation = polished(matmul_full_precision(matmul_full_precision(p, _planes(c, s)), p.T))
        return rotation + matmul_full_precision(
            matmul_full_precision(p, m), p.T
        )  # added separately, so that norms are kept if gamma = 1 and T = 0

    return Parametrization(init_raw, apply)


def unconstrained(u_init: Initializer = orthogonal) -> Parametrization:
    """No constraint: the matrix itself is the parameter.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> unconstrained().init(jax.random.key(0), jnp.ones((4, 4))).shape
      (4, 4)
    """
    return Parametrization(lambda key, n, dtype: draw_initial(u_init, key, (n, n), dtype), lambda raw: raw)


def orthogonality_error(u: jax.Array) -> jax.Array:
    """Returns the largest entry of abs(u^T u - I), the distance from orthogonality; a metric for training.

    Example:
      >>> import jax.numpy as jnp
      >>> float(orthogonality_error(2 * jnp.eye(3)))
      3.0
    """
    return jnp.abs(matmul_full_precision(u.T, u) - jnp.eye(u.shape[0], dtype=u.dtype)).max()
