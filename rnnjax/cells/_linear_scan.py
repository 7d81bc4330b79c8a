"""The scan of a linear recurrence: step by step or in parallel, with a derivative written by hand."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import PyTree, tree_where


def _advance(a: jax.Array, b: jax.Array, h: jax.Array, first: jax.Array | None) -> jax.Array:
    """Advances one step; where first, h has no effect, even if it is inf or nan."""
    return a * h + b if first is None else tree_where(first, b, a * h + b)


def one_by_one(a: jax.Array, b: jax.Array, h: jax.Array, first: jax.Array | None, reverse: bool) -> jax.Array:
    """Computes the recurrence as a loop, with the least work and memory."""
    return lax.scan(lambda h, s: (_advance(s[0], s[1], h, s[2]),) * 2, h, (a, b, first), reverse=reverse)[1]


def in_parallel(a: jax.Array, b: jax.Array, h: jax.Array, first: jax.Array | None, reverse: bool) -> jax.Array:
    """Computes the recurrence as an associative scan: log T passes over all steps."""

    def combine(early: PyTree, late: PyTree) -> PyTree:
        b = _advance(late[0], late[1], early[1], late[2])
        if first is None:
            return early[0] * late[0], b, None
        return tree_where(late[2], late[0], early[0] * late[0]), b, early[2] | late[2]

    at = -1 if reverse else 0
    b = b.at[at].set(_advance(a[at], b[at], h, None if first is None else first[at]))
    return lax.associative_scan(combine, (a, b, first), reverse=reverse)[1]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def linear_scan(
    a: jax.Array, b: jax.Array, h: jax.Array, reverse: bool = False, first: jax.Array | None = None
) -> jax.Array:
    """Returns all states of h_t = a_t h_{t-1} + b_t, elementwise; where first, h_t = b_t whatever came before.

    A nan in h stays, even where a_t is zero, unless the step is marked as a first one.

    Its gradient is one more such scan in the other direction. It has no forward mode; for cells, see `without_fast`.

    Args:
      a, b: `[T, ...]`, real or complex.
      h: the previous state, `[...]`.
      reverse: run from the last step to the first.
      first: `[T]` booleans, the steps that forget; None: no step does.

    Returns:
      `[T, ...]`

    Example:
      >>> import jax.numpy as jnp
      >>> print(linear_scan(jnp.array([0.5, 0.5, 0.0]), jnp.ones(3), jnp.array(4.0)))
      [3.  2.5 1. ]

    Reference: Martin, Cundy, Parallelizing linear recurrent neural nets over sequence length, 2018.
    """
    loop, tree = functools.partial(one_by_one, reverse=reverse), functools.partial(in_parallel, reverse=reverse)
    states: jax.Array = lax.platform_dependent(a, b, h, first, cpu=loop, default=tree)
    return states


def _scan_fwd(
    a: jax.Array, b: jax.Array, h: jax.Array, reverse: bool, first: jax.Array | None
) -> tuple[jax.Array, PyTree]:
    states = linear_scan(a, b, h, reverse, first)
    return states, (a, h, first, states)


def _scan_bwd(reverse: bool, kept: PyTree, d: jax.Array) -> tuple[jax.Array | None, ...]:
    a, h, first, states = kept
    back = None if first is None else _shifted(first, jnp.zeros((), bool), not reverse)
    g = linear_scan(_shifted(a, jnp.zeros_like(h), not reverse), d, jnp.zeros_like(h), not reverse, back)
    to_a, at = g * _shifted(states, h, reverse), -1 if reverse else 0
    to_h = a[at] * g[at]
    if first is not None:
        to_a, to_h = (tree_where(forgets, jnp.zeros_like(x), x) for forgets, x in ((first, to_a), (first[at], to_h)))
    return to_a, g, to_h, None


def _shifted(a: jax.Array, h: jax.Array, reverse: bool) -> jax.Array:
    """Shifts a by one step in the direction of the recurrence, with h in the first place."""
    return jnp.concatenate([a[1:], h[None]] if reverse else [h[None], a[:-1]])


linear_scan.defvjp(_scan_fwd, _scan_bwd)
