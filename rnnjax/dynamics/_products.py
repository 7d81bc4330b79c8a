"""Jacobians of the steps of a cell, and the spectra and bounds of their products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import ArrayLike

from rnnjax.base import Cell, PyTree, check_size
from rnnjax.base._arguments import check_array, check_function
from rnnjax.base._cell import check_cell
from rnnjax.dynamics._checks import check_single, check_state
from rnnjax.dynamics._flow import trajectory

_FARTHEST = 60.0  # exp(60) is still finite in single precision


def jacobians(cell: Cell, params: PyTree, xs: PyTree, carry: PyTree = None) -> jax.Array:
    """Returns J_s = d h_s / d h_{s-1} for s = 1 .. T along a sequence, `[T, N, N]`, with the carry as one vector.

    Args:
      cell, params, xs, carry: as in `gradient_flow`.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.recurrent(2, lambda p, h, z: (h @ p["u"] + z,) * 2)
      >>> u = jnp.array([[1.0, 2.0], [3.0, 4.0]])
      >>> print(jacobians(cell, {"u": u}, jnp.zeros((1, 2)))[0])
      [[1. 3.]
       [2. 4.]]
    """
    check_cell("jacobians", cell)
    system, states = trajectory(cell, params, xs, carry)
    return jax.vmap(jax.jacrev(system.advance))(states[:-1], xs)


def spectra(js: jax.Array, sweeps: int = 40, at: ArrayLike | None = None) -> jax.Array:
    """Returns the logarithms of the singular values of J_T .. J_{t+1} for every t, `[T + 1, N]`, the largest first.

    The products themselves overflow and underflow. Therefore each step splits off an orthogonal matrix, J^T Q = Q' R,
    and the product of the R is stored as exp(d) U, where d holds logarithms of scales and U is close to the identity.
    Sweeps of R <- QR(R^T) then make U diagonal: two values that differ by some factor converge by its fourth power per
    sweep. The largest values, down to the square root of the rounding unit times the first, are then computed by an
    SVD. The others may be off by a few per cent if many are close together. A value of zero is returned as a tiny value
    due to rounding.

    Args:
      js: Jacobians `[T, N, N]`.
      sweeps: the number of sweeps.
      at: the t to compute, each below T, instead of all: the result is `[k, N]`.

    Example: a thousand steps of diag(2, 1 / 2).
      >>> import jax.numpy as jnp
      >>> logs = spectra(jnp.tile(jnp.diag(jnp.array([2.0, 0.5])), (1000, 1, 1)))
      >>> [round(x) for x in logs[0].tolist()]
      [693, -693]

    Reference: Oliveira, Stewart, Exponential splittings of products of matrices and accurately computing singular
    values of long products, 2000.
    """
    js = _check_jacobians("spectra", js)
    check_size("spectra: sweeps", sweeps, 0)
    if at is not None:
        at = _checked_times(at, len(js))
    n, dtype = js.shape[-1], js.dtype
    eye = jnp.eye(n, dtype=dtype)
    # Any orthogonal matrix works; with a random one the scales soon are in descending order.
    q = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (n, n), dtype))[0]

    def back(state: tuple[jax.Array, jax.Array, jax.Array], j: jax.Array) -> tuple[PyTree, PyTree]:
        q, d, u = state
        q, r = jnp.linalg.qr(j.T @ q)
        d, u = _graded(r, d, u)
        return (q, d, u), (d, u)

    def sweep(state: tuple[jax.Array, jax.Array], _: None) -> tuple[PyTree, None]:
        d, u = state
        return _graded(jnp.linalg.qr(u.T)[1], d, eye), None

    zero = jnp.zeros(n, dtype)
    _, kept = lax.scan(back, (q, zero, eye), js, reverse=True)
    kept = kept if at is None else jax.tree.map(lambda a: a[jnp.asarray(at)], kept)
    logs = jax.vmap(lambda d, u: _sharpened(*lax.scan(sweep, (d, u), None, length=sweeps)[0]))(*kept)
    return logs if at is not None else jnp.concatenate([logs, zero[None]])


def _graded(r: jax.Array, d: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (d', u') with r exp(d) u = exp(d') u'; the diagonal of r exp(d) exp(-d') is 1 up to the sign."""
    floor = jnp.finfo(r.dtype).eps * jnp.abs(r).max()
    new = d + jnp.log(jnp.maximum(jnp.abs(jnp.diagonal(r)), jnp.maximum(floor, jnp.finfo(r.dtype).tiny)))
    return new, r * jnp.exp(jnp.clip(d[None, :] - new[:, None], -_FARTHEST, _FARTHEST)) @ u


def _sharpened(d: jax.Array, u: jax.Array) -> jax.Array:
    """Returns the logarithms of the singular values of exp(d) u: the largest by an SVD, the others taken from d."""
    d_max, eps = d.max(), jnp.finfo(d.dtype).eps
    scaled = jnp.exp(jnp.maximum(d - d_max, -_FARTHEST))[:, None] * u
    exact = d_max + jnp.log(jnp.maximum(jnp.linalg.svd(scaled, compute_uv=False), eps**2))
    return jnp.where(exact > d_max + jnp.log(eps) / 2, exact, -jnp.sort(-d))


def jacobian_bound(js: jax.Array) -> jax.Array:
    """Returns the logarithm of a bound on d h_T / d h_t of any cell, `[T + 1]`: log prod_{s > t} ||J_s||_2.

    Args:
      js: Jacobians `[T, N, N]`.

    Example:
      >>> import jax.numpy as jnp
      >>> print(jnp.exp(jacobian_bound(2 * jnp.tile(jnp.eye(3), (2, 1, 1)))).round(3))
      [4. 2. 1.]
    """
    js = _check_jacobians("jacobian_bound", js)
    # One at a time: the layout of a batched SVD would propagate to an FFT inside the step, which XLA then rejects.
    return _summed_from(lax.map(lambda j: jnp.log(jnp.linalg.norm(j, ord=2)), js))


def activation_bound(activation: Callable[[jax.Array], jax.Array], u: jax.Array, a: jax.Array) -> jax.Array:
    """Returns the logarithm of the bound for h = activation(a), a_t = h_{t-1} u + ..: log prod_{s > t} ||D_s|| ||u||_2.

    D_s = diag activation'(a_s). It is never below `jacobian_bound`, since ||D_s u^T|| <= ||D_s|| ||u||.

    Args:
      activation: an elementwise function.
      u: the recurrent matrix `[N, N]`.
      a: pre-activations `[T, N]`.

    Example: at a = 0, where tanh' is 1.
      >>> import jax.numpy as jnp
      >>> print(jnp.exp(activation_bound(jnp.tanh, 2 * jnp.eye(3), jnp.zeros((2, 3)))).round(3))
      [4. 2. 1.]

    Reference: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks, 2013.
    """
    check_function("activation_bound: activation", activation)
    u, a = check_state("activation_bound: u", u, "[N, N]"), check_state("activation_bound: a", a, "[T, N]")
    check_single("activation_bound: u", u)
    if u.shape != (a.shape[1],) * 2:
        raise ValueError(f"activation_bound takes u [N, N] and a [T, N], got {list(u.shape)} and {list(a.shape)}")
    slopes = jax.jvp(activation, (a,), (jnp.ones_like(a),))[1]
    return _summed_from(jnp.log(jnp.abs(slopes).max(1)) + jnp.log(jnp.linalg.norm(u, ord=2)))


def _check_jacobians(what: str, js: Any) -> jax.Array:
    """Returns Jacobians `[T, N, N]` as an array."""
    given = js if hasattr(js, "shape") else check_array(f"{what}: js", js)
    if jnp.ndim(given) != 3 or jnp.shape(given)[1] != jnp.shape(given)[2]:
        raise ValueError(f"{what} takes Jacobians [T, N, N], got {list(jnp.shape(given))}")
    return check_single(f"{what}: js", check_state(f"{what}: js", given, "[T, N, N]"))


def _checked_times(at: Any, steps: int) -> jax.Array:
    """Returns places below the number of steps, `[k]`."""
    at = check_array("spectra: at", at, "[k]", "integer", some=True)
    if not isinstance(at, jax.core.Tracer) and not (np.min(at) >= 0 and np.max(at) < steps):
        raise ValueError(f"spectra: at is from 0 to {steps - 1}, got {np.min(at)} to {np.max(at)}")
    return jnp.asarray(at)


def _summed_from(logs: jax.Array) -> jax.Array:
    """Returns the sums from each position to the end, followed by 0."""
    return jnp.append(jnp.cumsum(logs[::-1])[::-1], jnp.zeros((), logs.dtype))
