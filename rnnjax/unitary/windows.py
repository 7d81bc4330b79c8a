"""How a whole window of h_t = f(W h_{t-1} + z_t, b) runs fast, for a linear map W of real vectors.

The backward loop holds W transposed and the derivative of f, nothing else; what belongs to the parameters of W is
formed after it, for all steps at once. Derivatives of every order are right, under `jax.vmap` too: a hand-written
derivative closes over no array and hands back the cotangents of the pre-activations, and JAX contracts the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from rnnjax.base import PyTree

Activation = Callable[[jax.Array, jax.Array], jax.Array]
States = Callable[[PyTree, jax.Array, jax.Array, jax.Array], jax.Array]


class Linear(NamedTuple):
    """A linear map of real vectors: apply(u, h) = W h and transpose(u, g) = W^T g, u being its parameters."""

    apply: Callable[[PyTree, jax.Array], jax.Array]
    transpose: Callable[[PyTree, jax.Array], jax.Array]


def in_full(h: jax.Array, u: jax.Array) -> jax.Array:
    """h u in full precision wherever it runs: a matmul of fewer bits would not keep norms."""
    return jnp.matmul(h, u, precision=lax.Precision.HIGHEST)


MATMUL = Linear(lambda u, h: in_full(h, u), lambda u, g: in_full(g, u.T))


def recurrence(linear: Linear, act: Activation) -> States:
    """The states of a window, (u, b, h0, zs) -> hs `[T, n]`, with its backward pass.

        h_t = act(W h_{t-1} + z_t, b)

    Args:
      linear: W.
      act: of one step's `[n]` and b.

    Example:
      >>> import jax.numpy as jnp
      >>> states = recurrence(MATMUL, lambda a, b: a + b)
      >>> print(states(2 * jnp.eye(1), jnp.ones(1), jnp.ones(1), jnp.zeros((3, 1)))[:, 0])
      [ 3.  7. 15.]
    """
    forward, tap, known = value_pass(linear, act), zero_tap(linear), with_backward(linear, act)

    def states(u: PyTree, b: jax.Array, h0: jax.Array, zs: jax.Array) -> jax.Array:
        before, hs = forward(u, b, h0, zs)
        previous = jnp.concatenate([h0[None], hs[:-1]])
        bs = jnp.broadcast_to(b, (len(zs), *b.shape))
        return known(u, bs, h0, zs + tap(u, previous), before, hs)

    return states


def value_pass(linear: Linear, act: Activation) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Pre-activations and states by a scan whose own backward pass is left out where nothing asks for it."""

    def scanned(u: PyTree, b: jax.Array, h0: jax.Array, zs: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(h: jax.Array, z: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            a = linear.apply(u, h) + z
            h = act(a, b)
            return h, (a, h)

        return lax.scan(step, h0, zs)[1]

    def forward(*args: Any) -> tuple[tuple[jax.Array, jax.Array], Any]:
        values = jax.tree.map(lambda a: a.value, args)
        return scanned(*values), values

    def backward(values: Any, gs: Any) -> tuple[Any, ...]:
        if all(isinstance(g, SymbolicZero) for g in gs):
            return (None,) * len(values)
        gs = tuple(jnp.zeros(g.shape, g.dtype) if isinstance(g, SymbolicZero) else g for g in gs)
        return jax.vjp(scanned, *values)[1](gs)

    values = jax.custom_vjp(scanned)
    values.defvjp(forward, backward, symbolic_zeros=True)
    return values


def zero_tap(linear: Linear) -> Callable[[PyTree, jax.Array], jax.Array]:
    """Zero, with the derivative that W h has in the parameters of W: added to z it hands them their share."""

    @jax.custom_jvp
    def tap(u: PyTree, hs: jax.Array) -> jax.Array:
        return jnp.zeros_like(hs)

    @tap.defjvp
    def _(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
        u, hs = primals
        return jnp.zeros_like(hs), jax.jvp(lambda u: jax.vmap(linear.apply, (None, 0))(u, hs), (u,), tangents[:1])[1]

    return tap


def with_backward(linear: Linear, act: Activation) -> Callable[..., jax.Array]:
    """States that are known already, with the derivative that they have in bs, h0 and zs; that in u is the tap's."""

    @jax.custom_vjp
    def known(u: PyTree, bs: jax.Array, h0: jax.Array, zs: jax.Array, before: jax.Array, hs: jax.Array) -> jax.Array:
        return hs

    def forward(*args: Any) -> tuple[jax.Array, Any]:
        u, bs, _, _, before, hs = args
        return hs, (u, bs, before)

    def backward(kept: Any, gs: jax.Array) -> tuple[Any, ...]:
        u, bs, before = kept

        def step(g: jax.Array, t: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            a, b, from_output = t
            da, db = jax.vjp(act, a, b)[1](g + from_output)
            return linear.transpose(u, da), (da, db)

        g, (das, dbs) = lax.scan(step, jnp.zeros_like(gs[0]), (before, bs, gs), reverse=True)
        return None, dbs, g, das, None, None

    known.defvjp(forward, backward)
    return known
