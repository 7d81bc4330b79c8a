"""The scan of a linear recurrence: step by step or in parallel, with a derivative written by hand."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import PyTree


def _advance(a: jax.Array, b: jax.Array, h: jax.Array) -> jax.Array:
    """Advances one step; where a is zero, h has no effect, even if it is inf."""
    return jnp.where(a == 0, b, a * h + b)


def one_by_one(a: jax.Array, b: jax.Array, h: jax.Array, reverse: bool) -> jax.Array:
    """Computes the recurrence as a loop, with the least work and memory."""
    return lax.scan(lambda h, ab: (_advance(ab[0], ab[1], h),) * 2, h, (a, b), reverse=reverse)[1]


def in_parallel(a: jax.Array, b: jax.Array, h: jax.Array, reverse: bool) -> jax.Array:
    """Computes the recurrence as an associative scan: log T passes over all steps."""

    def combine(early: PyTree, late: PyTree) -> PyTree:
        return early[0] * late[0], _advance(late[0], late[1], early[1])

    at = -1 if reverse else 0
    return lax.associative_scan(combine, (a, b.at[at].set(_advance(a[at], b[at], h))), reverse=reverse)[1]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def linear_scan(a: jax.Array, b: jax.Array, h: jax.Array, reverse: bool = False) -> jax.Array:
    """Returns all states of h_t = a_t h_{t-1} + b_t, elementwise. If a_t is zero, h_t = b_t whatever came before.

    Its gradient is one more such scan in the other direction. It has no forward mode; for cells, see `without_fast`.

    Args:
      a, b: `[T, ...]`, real or complex.
      h: the previous state, `[...]`.
      reverse: run from the last step to the first.

    Returns:
      `[T, ...]`

    Example:
      >>> import jax.numpy as jnp
      >>> print(linear_scan(jnp.array([0.5, 0.5, 0.0]), jnp.ones(3), jnp.array(4.0)))
      [3.  2.5 1. ]

    Reference: Martin, Cundy, Parallelizing linear recurrent neural nets over sequence length, 2018.
    """
    loop, tree = functools.partial(one_by_one, reverse=reverse), functools.partial(in_parallel, reverse=reverse)
    states: jax.Array = lax.platform_dependent(a, b, h, cpu=loop, default=tree)
    return states


def _scan_fwd(a: jax.Array, b: jax.Array, h: jax.Array, reverse: bool) -> tuple[jax.Array, PyTree]:
    states = linear_scan(a, b, h, reverse)
    return states, (a, h, states)


def _scan_bwd(reverse: bool, kept: PyTree, d: jax.Array) -> tuple[jax.Array, ...]:
    a, h, states = kept
    g = linear_scan(_shifted(a, jnp.zeros_like(h), not reverse), d, jnp.zeros_like(h), not reverse)
    at = -1 if reverse else 0
    return g * _shifted(states, h, reverse), g, a[at] * g[at]


def _shifted(a: jax.Array, h: jax.Array, reverse: bool) -> jax.Array:
    """Shifts a by one step in the direction of the recurrence, with h in the first place."""
    return jnp.concatenate([a[1:], h[None]] if reverse else [h[None], a[:-1]])


linear_scan.defvjp(_scan_fwd, _scan_bwd)
