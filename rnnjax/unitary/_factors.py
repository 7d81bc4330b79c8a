"""Unitary maps as factors, each with init, apply and adjoint. A product of factors is a factor too.

The unitary evolution, W = D3 R2 F^-1 D2 P R1 F D1, is written as in the equation:

    d1, d2, d3, r1, r2 = diagonal(), diagonal(), diagonal(), reflection(), reflection()
    w = product(d3, r2, inverse_fourier(), d2, permutation(seed), r1, fourier(), d1)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import PyTree, check_size
from rnnjax.base._cell import identity
from rnnjax.base._numerics import Initializer, at_least_single, draw_initial
from rnnjax.unitary._pairs import ComplexPair, not_zero, of_norm, to_complex, to_pair, unit_circle


def uniform(bound: Any) -> Initializer:
    """Returns an initialiser that draws from U(-bound, bound)."""
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


@dataclasses.dataclass(frozen=True, eq=False)
class Factor:
    """A unitary map of C^n as pure functions.

        init(key, n, dtype) -> params       leaves are real: angles, or `ComplexPair`s
        weights(params) -> weights          once per window, real too; by default the params themselves
        apply(weights, h) -> W h            h is complex `[n]`
        adjoint(weights, h) -> W* h         the inverse of apply
        matrix(weights) -> W                `[n, n]`, a `ComplexPair`, if the map is stored as a matrix anyway
        plain                               the same map without a correction of norms, if it has one; see `keeping`

    Example: the adjoint is the inverse.
      >>> import jax, jax.numpy as jnp, numpy as np
      >>> w, h = product(fourier(), reflection()), jnp.array([1.0, 2.0j, 3.0])
      >>> weights = w.weights(w.init(jax.random.key(0), 3, jnp.float32))
      >>> np.testing.assert_allclose(w.adjoint(weights, w.apply(weights, h)), h, atol=1e-6)
    """

    init: Callable[[jax.Array, int, Any], PyTree]
    apply: Callable[[PyTree, jax.Array], jax.Array]
    adjoint: Callable[[PyTree, jax.Array], jax.Array]
    weights: Callable[[PyTree], PyTree] = identity
    matrix: Callable[[PyTree], ComplexPair] | None = None
    plain: Factor | None = None


def keeping(factor: Factor) -> Factor:
    """Returns the same map with the rounding of norms corrected, so that it does not add up over thousands of steps.

    Constants of a factor are rounded (those of a Fourier transform, cos and sin of an angle, the norm of a reflected
    vector), so each application would change norms by the same 2^-26 or so. A product corrects once for all its parts.
    """

    def kept(f: Callable[[PyTree, jax.Array], jax.Array]) -> Callable[[PyTree, jax.Array], jax.Array]:
        return lambda weights, h: of_norm(f(weights, h), h)

    return dataclasses.replace(factor, apply=kept(factor.apply), adjoint=kept(factor.adjoint), plain=factor)


def without_correction(factor: Factor) -> Factor:
    """Returns the same map without a correction of norms."""
    return factor.plain or factor


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class BoundFactor:
    """A factor together with its weights: a unitary map, as a pytree whose leaves are the weights.

    Example:
      >>> import jax.numpy as jnp
      >>> w = BoundFactor((), fourier(), 4)
      >>> print(w.apply(jnp.ones(4, complex)).real, w.matrix().re[0])
      [2. 0. 0. 0.] [0.5 0.5 0.5 0.5]
    """

    weights: PyTree
    factor: Factor = dataclasses.field(metadata={"static": True})
    n: int = dataclasses.field(metadata={"static": True})

    def apply(self, h: jax.Array) -> jax.Array:
        """Returns W h."""
        return self.factor.apply(self.weights, h)

    def adjoint(self, h: jax.Array) -> jax.Array:
        """Returns W* h."""
        return self.factor.adjoint(self.weights, h)

    def matrix(self, dtype: Any = jnp.float32) -> ComplexPair:
        """Returns W, `[n, n]`."""
        return dense(self.factor, self.weights, self.n, dtype)


def _constant(apply: Callable[[jax.Array], jax.Array], adjoint: Callable[[jax.Array], jax.Array]) -> Factor:
    """Returns a factor without params."""
    return Factor(lambda key, n, dtype: (), lambda _, h: apply(h), lambda _, h: adjoint(h))


def diagonal() -> Factor:
    """D: a phase for each component, initially theta ~ U(-pi, pi).

        (D h)_j = exp(i theta_j) h_j

    Example:
      >>> import jax.numpy as jnp
      >>> d = diagonal()
      >>> print(d.apply({"theta": jnp.array([0.0, jnp.pi])}, jnp.array([1.0 + 0j, 1.0])).real)
      [ 1. -1.]
    """

    def init(key: jax.Array, n: int, dtype: Any) -> PyTree:
        return {"theta": draw_initial(uniform(jnp.pi), key, (n,), dtype)}

    def phase(p: PyTree) -> jax.Array:
        return jax.lax.complex(*bound_turns(p)["theta"])

    return keeping(Factor(init, lambda p, h: phase(p) * h, lambda p, h: phase(p).conj() * h, cos_sin))


def cos_sin(angles: PyTree) -> PyTree:
    """Returns cos and sin of each named angle as weights; in half precision, the angles themselves."""
    return angles if any(jnp.finfo(a.dtype).bits < 32 for a in angles.values()) else bound_turns(angles)


def bound_turns(weights: PyTree) -> PyTree:
    """Returns pairs of cos and sin from weights that are angles or already pairs."""
    return {k: a if isinstance(a, tuple) else unit_circle(at_least_single(a)) for k, a in weights.items()}


def reflection() -> Factor:
    """R: the complex Householder reflection in the hyperplane orthogonal to v, initially v ~ U(-1, 1) in both parts.

        R h = h - 2 v <v, h> / ||v||^2,  <v, h> = sum_j conj(v_j) h_j

    It is its own adjoint and its own inverse; for v = 0 it is the identity.

    Example: v itself is negated.
      >>> import jax.numpy as jnp
      >>> r, v = reflection(), ComplexPair(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
      >>> print(r.apply({"v": v}, jnp.array([1.0, 1.0j])).imag)
      [ 0. -1.]
    """

    def init(key: jax.Array, n: int, dtype: Any) -> PyTree:
        return {"v": ComplexPair(*(draw_initial(uniform(1.0), k, (n,), dtype) for k in jax.random.split(key)))}

    def apply(p: PyTree, h: jax.Array) -> jax.Array:
        v = to_complex(p["v"])
        along = jnp.sum(v.conj() * h) * (2 / not_zero(jnp.sum(jnp.real(v.conj() * v)))).astype(h.dtype)
        return h - v * along

    return keeping(Factor(init, apply, apply))


def fourier() -> Factor:
    """F: the discrete Fourier transform, scaled to be unitary.

        (F h)_k = n^(-1/2) sum_j exp(-2 pi i j k / n) h_j

    Example:
      >>> import jax.numpy as jnp
      >>> print(fourier().apply((), jnp.ones(4, complex)).real)
      [2. 0. 0. 0.]
    """
    return keeping(_constant(lambda h: jnp.fft.fft(h, norm="ortho"), lambda h: jnp.fft.ifft(h, norm="ortho")))


def inverse_fourier() -> Factor:
    """F^-1: the inverse of `fourier`, which is also its adjoint.

    Example:
      >>> import jax.numpy as jnp
      >>> print(inverse_fourier().apply((), jnp.ones(4, complex)).real)
      [2. 0. 0. 0.]
    """
    return keeping(_constant(lambda h: jnp.fft.ifft(h, norm="ortho"), lambda h: jnp.fft.fft(h, norm="ortho")))


def permutation(seed: int = 0) -> Factor:
    """P: a fixed random permutation of the components, without params.

        (P h)_j = h_{pi(j)}

    Args:
      seed: selects the permutation; it is never the identity if n > 1.

    Example:
      >>> import jax.numpy as jnp
      >>> print(permutation(0).apply((), jnp.arange(5.0)))
      [2. 4. 3. 0. 1.]
    """
    check_size("permutation: seed", seed, 0)

    def order(n: int) -> np.ndarray:
        generator = np.random.default_rng(seed)
        pi = np.arange(n)
        while n > 1 and (pi == np.arange(n)).all():
            pi = generator.permutation(n)
        return pi

    return _constant(lambda h: _permuted(h, order(h.shape[-1])), lambda h: _permuted(h, np.argsort(order(h.shape[-1]))))


def _permuted(h: jax.Array, pi: np.ndarray) -> jax.Array:
    """Returns h[pi] as the solution of y[pi^-1] = h, so that its transpose is a gather; a gather's own is a scatter."""
    inverse = np.argsort(pi)
    return jax.lax.custom_linear_solve(lambda y: y[inverse], h, lambda _, h: h[pi], lambda _, g: g[inverse])


def product(*factors: Factor) -> Factor:
    """The product of factors, in the order of the equation: `product(a, b)` is W = A B, which applies b first.

    Params are a tuple, one entry for each factor.

    Raises:
      ValueError: no factors.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> w = product(diagonal(), reflection(), fourier())
      >>> [list(p) for p in w.init(jax.random.key(0), 4, jnp.float32)]
      [['theta'], ['v'], []]
    """
    if not factors:
        raise ValueError("product needs at least one factor")
    parts = [without_correction(f) for f in factors]

    def init(key: jax.Array, n: int, dtype: Any) -> PyTree:
        return tuple(f.init(k, n, dtype) for f, k in zip(parts, jax.random.split(key, len(parts))))

    def apply(weights: PyTree, h: jax.Array) -> jax.Array:
        for f, w in zip(reversed(parts), reversed(weights)):
            h = f.apply(w, h)
        return h

    def adjoint(weights: PyTree, h: jax.Array) -> jax.Array:
        for f, w in zip(parts, weights):
            h = f.adjoint(w, h)
        return h

    return keeping(Factor(init, apply, adjoint, lambda params: tuple(f.weights(p) for f, p in zip(parts, params))))


def evolution(seed: int = 0) -> Factor:
    """The map of the unitary evolution RNN, with 7 n real parameters and a cost of n log n.

        W = D3 R2 F^-1 D2 P R1 F D1

    Args:
      seed: of the permutation P.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> sum(p.size for p in jax.tree.leaves(evolution().init(jax.random.key(0), 16, jnp.float32)))
      112

    Reference: Arjovsky, Shah, Bengio, Unitary evolution recurrent neural networks, 2016.
    """
    d1, d2, d3, r1, r2 = diagonal(), diagonal(), diagonal(), reflection(), reflection()
    f, finv, p = fourier(), inverse_fourier(), permutation(seed)
    return product(d3, r2, finv, d2, p, r1, f, d1)


def dense(factor: Factor, weights: PyTree, n: int, dtype: Any = jnp.float32) -> ComplexPair:
    """Returns the matrix `[n, n]` of a factor as a pair: the stored one, or its columns applied to the identity.

    Example:
      >>> print(dense(fourier(), (), 2).re.round(3))
      [[ 0.707  0.707]
       [ 0.707 -0.707]]
    """
    if factor.matrix is not None:
        return jax.tree.map(lambda a: a.astype(dtype), factor.matrix(weights))
    eye = jax.lax.complex(jnp.eye(n, dtype=dtype), jnp.zeros((n, n), dtype))
    return to_pair(jax.vmap(without_correction(factor).apply, (None, 1), 1)(weights, eye), dtype)
