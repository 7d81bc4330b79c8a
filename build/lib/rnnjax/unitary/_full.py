"""Unitary factors that are formed as matrices once per window: accumulated reflections and full capacity."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import PyTree, check_size
from rnnjax.base._numerics import at_least_single, draw_initial
from rnnjax.unitary._factors import Factor, uniform
from rnnjax.unitary._pairs import ComplexPair, not_zero, to_complex, to_pair
from rnnjax.unitary._skew import SkewInit, expm, henaff, skew
from rnnjax.unitary._windows import matmul_full_precision, polished


def reflections(count: int) -> Factor:
    """The product of complex Householder reflections, accumulated: two thin matmuls in place of a chain.

        W = R_1 .. R_k = I - Y T Y*,  T^-1 = striu(Y* Y) + diag(Y* Y) / 2;  params: the columns v_i of Y

    Args:
      count: k.

    Raises:
      ValueError: k is below one.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> reflections(3).init(jax.random.key(0), 8, jnp.float32)["v"].re.shape
      (3, 8)

    Reference: Joffrain, Low, Quintana-Orti, van de Geijn, Van Zee, Accumulating Householder transformations,
    revisited, 2006.
    """
    check_size("reflections: count", count)

    def init(key: jax.Array, n: int, dtype: Any) -> PyTree:
        return {"v": ComplexPair(*(draw_initial(uniform(1.0), k, (count, n), dtype) for k in jax.random.split(key)))}

    def weights(p: PyTree) -> tuple[ComplexPair, ComplexPair]:
        v = to_complex(p["v"])
        gram = matmul_full_precision(v.conj(), v.T)
        squares = not_zero(jnp.diag(gram).real)
        inverse_t = jnp.triu(gram, 1) + jnp.diag(squares / 2).astype(gram.dtype)
        m = jax.scipy.linalg.solve_triangular(inverse_t, v.conj(), lower=False)
        return p["v"], to_pair(m, p["v"].re.dtype)

    def apply(w: tuple[ComplexPair, ComplexPair], h: jax.Array) -> jax.Array:
        v, m = map(to_complex, w)
        return h - matmul_full_precision(matmul_full_precision(m, h), v)

    def adjoint(w: tuple[ComplexPair, ComplexPair], h: jax.Array) -> jax.Array:
        v, m = map(to_complex, w)
        return h - matmul_full_precision(matmul_full_precision(v.conj(), h), m.conj())

    return Factor(init, apply, adjoint, weights)


def full_capacity(init: SkewInit = henaff) -> Factor:
    """Every unitary matrix, as the exponential of a skew-Hermitian matrix.

        W = exp(A + i S),  A = -A^T,  S = S^T;  params: A packed, and the upper half of S

    Args:
      init: of the packed A. S starts at zero, so W starts as a real rotation.

    Example: n^2 parameters.
      >>> import jax, jax.numpy as jnp
      >>> sum(p.size for p in jax.tree.leaves(full_capacity().init(jax.random.key(0), 8, jnp.float32)))
      64

    Reference: Wisdom, Powers, Hershey, Le Roux, Atlas, Full-capacity unitary recurrent neural networks, 2016;
    Lezcano-Casado, Martinez-Rubio, Cheap orthogonal constraints in neural networks, 2019 (this parametrisation).
    """

    def init_params(key: jax.Array, n: int, dtype: Any) -> PyTree:
        a = draw_initial(lambda k, shape, d: init(k, n, d), key, (), dtype)
        return {"a": a, "s": jnp.zeros(n * (n + 1) // 2, dtype)}

    def weights(p: PyTree) -> ComplexPair:
        a = skew(at_least_single(p["a"]))
        n = a.shape[0]
        half = jnp.zeros_like(a).at[np.triu_indices(n)]
        s = half.set(at_least_single(p["s"]), unique_indices=True, mode="promise_in_bounds")
        s = s + jnp.triu(s, 1).T
        e = polished(expm(jnp.block([[a, -s], [s, a]])))  # the exponential of a + i s as a real matrix
        return ComplexPair(e[:n, :n].astype(p["a"].dtype), e[n:, :n].astype(p["a"].dtype))

    def apply(w: ComplexPair, h: jax.Array) -> jax.Array:
        return matmul_full_precision(to_complex(w), h)

    def adjoint(w: ComplexPair, h: jax.Array) -> jax.Array:
        return matmul_full_precision(to_complex(w).conj().T, h)

    return Factor(init_params, apply, adjoint, weights, lambda w: w)
