"""What a recurrence does to its states and to the gradients that run back through them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from rnnjax.base import Cell, PyTree


class Flow(NamedTuple):
    """How much of a change of each state arrives at the last one.

    Attributes:
      norms: `[T + 1]`, of d h_T / d h_t for t = 0 .. T; the last is 1.
      states: `[T + 1]`, the norms of the states themselves.
    """

    norms: jax.Array
    states: jax.Array


def gradient_flow(cell: Cell, params: PyTree, xs: PyTree, carry: PyTree = None) -> Flow:
    """The norm of d h_T / d h_t for every t, the whole carry taken as one vector h of N numbers.

        norm(t) = ||d h_T / d h_t||_F / N^(1/2),  d h_T / d h_t = J_T .. J_{t+1},  J_s = d h_s / d h_{s-1}

    It is the root mean square of the singular values: 1 where every direction keeps its length, as under a unitary map.
    The product is ordered, and formed from the left: N vectors run back through the steps, no J_s is kept.

    Args:
      cell: of one step (`scans.single` gives that of a cell of windows).
      params: of the cell.
      xs: the inputs of one example, `[T, ...]`.
      carry: h_0; None: the initial one.

    Example: a rotation by 0.9 forgets as 0.9^(T - t).
      >>> import jax.numpy as jnp, numpy as np, rnnjax
      >>> u = 0.9 * jnp.array([[0.6, 0.8], [-0.8, 0.6]])
      >>> cell = rnnjax.recurrent(2, lambda p, h, z: (h @ p["u"] + z,) * 2)
      >>> flow = gradient_flow(cell, {"u": u}, jnp.ones((3, 2)))
      >>> np.testing.assert_allclose(flow.norms, [0.729, 0.81, 0.9, 1.0], rtol=1e-6)

    Reference: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks, 2013.
    """
    weights = cell.weights(params)
    first = jax.tree.map(lambda a: a[0], xs)
    h0, unflat = ravel_pytree(cell.initial_carry(weights, first) if carry is None else carry)

    def advance(h: jax.Array, x: PyTree) -> jax.Array:
        return ravel_pytree(cell.step(weights, unflat(h), x, None)[0])[0]

    last, before = lax.scan(lambda h, x: (advance(h, x), h), h0, xs)

    def back(rows: jax.Array, at: tuple[jax.Array, PyTree]) -> tuple[jax.Array, jax.Array]:
        pull = jax.vjp(lambda h: advance(h, at[1]), at[0])[1]
        rows = jax.vmap(lambda g: pull(g)[0])(rows)
        return rows, rms(rows)

    eye = jnp.eye(h0.size, dtype=h0.dtype)
    norms = lax.scan(back, eye, (before, xs), reverse=True)[1]
    states = jnp.linalg.norm(jnp.concatenate([before, last[None]]), axis=1)
    return Flow(jnp.append(norms, jnp.ones((), norms.dtype)), states)


def rms(rows: jax.Array) -> jax.Array:
    """The root mean square singular value of a square matrix."""
    return jnp.linalg.norm(rows) / jnp.sqrt(jnp.asarray(len(rows), rows.dtype))
