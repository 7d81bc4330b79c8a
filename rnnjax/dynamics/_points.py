"""Fixed points and slow points of a map, searched for from many starting points at once, and their stability."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.base import check_number, check_positive, check_size
from rnnjax.base._arguments import check_function
from rnnjax.dynamics._checks import check_single, check_state


class Points(NamedTuple):
    """Fixed points of h -> f(h), as numpy arrays, the most stable first.

    Attributes:
      h: the points `[k, N]`.
      speed: `[k]`, the distance ||f(h) - h|| that f moves each point.
      eigenvalues: complex `[k, N]`, the eigenvalues of the Jacobian of f there, the largest modulus first.
      unstable: `[k]`, the number of unstable directions: 0 at a stable point, N at a repeller, in between at a saddle.
      starts: `[k]`, how many starts converged to each point.
    """

    h: np.ndarray
    speed: np.ndarray
    eigenvalues: np.ndarray
    unstable: np.ndarray
    starts: np.ndarray


def fixed_points(
    f: Callable[[jax.Array], jax.Array],
    starts: jax.Array,
    steps: int = 100,
    tolerance: float = 1e-4,
    distance: float = 1e-2,
) -> Points:
    """Returns the fixed points of h -> f(h) found from many starts, stable or not, each listed once.

        minimise ||f(h) - h||^2:  (A^T A + m I) dh = -A^T (f(h) - h),  A = df/dh - I

    The method is Levenberg and Marquardt's damped Newton step: m grows if a step does not help and shrinks if it does.
    All starts run in one program. Starts that end with a speed above the tolerance are dropped.

    Args:
      f: a map `[N] -> [N]`: a system, or `as_map` of a cell with the input held fixed.
      starts: `[n, N]`.
      steps: Newton steps per start.
      tolerance: the largest ||f(h) - h|| accepted; a larger value also admits slow points, where the search got stuck.
      distance: points closer to each other than this count as one.

    Example: tanh(2 h) has two stable points and an unstable one between them.
      >>> import jax.numpy as jnp
      >>> points = fixed_points(lambda h: jnp.tanh(2 * h), jnp.linspace(-2, 2, 20)[:, None])
      >>> sorted(f"{h:.3f}" for h in abs(points.h[:, 0])), points.unstable.tolist()
      (['0.000', '0.958', '0.958'], [0, 0, 1])

    Reference: Sussillo, Barak, Opening the black box: low-dimensional dynamics in high-dimensional recurrent neural
    networks, 2013.
    """
    check_function("fixed_points: f", f)
    starts = check_state("fixed_points: starts", starts, "[n, N]")
    check_single("fixed_points: starts", starts)
    check_size("fixed_points: steps", steps, 0)
    check_positive("fixed_points: tolerance", tolerance)
    check_number("fixed_points: distance", distance, 0)
    ends = jax.jit(jax.vmap(lambda h: _damped_newton(f, h, steps)))(starts)
    speed = np.asarray(jax.jit(jax.vmap(lambda h: jnp.linalg.norm(f(h) - h)))(ends))
    h, speed, counts = _distinct(np.asarray(ends), speed, tolerance, distance)
    # Not differentiable and not jitted: only LAPACK computes the eigenvalues of general matrices.
    eigenvalues = np.linalg.eigvals(np.asarray(jax.jit(jax.vmap(jax.jacfwd(f)))(jnp.asarray(h))))
    eigenvalues = np.take_along_axis(eigenvalues, np.argsort(-abs(eigenvalues), axis=1), axis=1)
    unstable = (abs(eigenvalues) > 1).sum(1)
    order = np.argsort(unstable, kind="stable")
    return Points(h[order], speed[order], eigenvalues[order], unstable[order], counts[order])


def _damped_newton(f: Callable[[jax.Array], jax.Array], h: jax.Array, steps: int) -> jax.Array:
    """Returns the end of a sequence of damped Newton steps on f(h) - h from one start."""
    eye, least = jnp.eye(h.size, dtype=h.dtype), jnp.finfo(h.dtype).eps

    def gap(h: jax.Array) -> jax.Array:
        return f(h) - h

    def step(state: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], None]:
        h, damping = state
        r, a = gap(h), jax.jacfwd(gap)(h)
        new = h - jnp.linalg.solve(a.T @ a + damping * eye, a.T @ r)
        better = jnp.vdot(gap(new), gap(new)) < jnp.vdot(r, r)
        return (jnp.where(better, new, h), jnp.where(better, jnp.maximum(damping / 4, least), damping * 4)), None

    return lax.scan(step, (h, jnp.ones((), h.dtype)), None, length=steps)[0][0]


def _distinct(
    h: np.ndarray, speed: np.ndarray, tolerance: float, distance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the slowest point of each group of near points, their speeds, and the size of each group."""
    order = [i for i in np.argsort(speed) if speed[i] <= tolerance]
    kept: list[int] = []
    counts: list[int] = []
    for i in order:
        gaps = np.linalg.norm(h[kept] - h[i], axis=1)
        if kept and gaps.min() < distance:
            counts[int(gaps.argmin())] += 1
        else:
            kept.append(i)
            counts.append(1)
    return h[kept], speed[kept], np.array(counts, int)
