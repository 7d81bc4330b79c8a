"""Values that a loss cannot read: zero in their place, and a gradient of nan unless a mask leaves the loss out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def zero_where(unread: jax.Array, x: jax.Array) -> jax.Array:
    """Returns x with zeros where it is not read; there its gradient is nan, but zero if what comes back is zero.

    No loss knows whether it is masked: a mask shows in a cotangent of zero. An ordinary derivative of nan would turn
    that into nan. The map is linear in x, so it has forward mode and second derivatives too.

    Args:
      unread: booleans that broadcast to the shape of x.
      x: in floating point.

    Example:
      >>> loss = lambda x, counts: (counts * zero_where(jnp.isnan(x), x)).sum()
      >>> print(jax.grad(loss)(jnp.array([1.0, jnp.nan, jnp.nan]), jnp.array([1.0, 1.0, 0.0])))
      [ 1. nan  0.]
    """
    zeroed: jax.Array = _zeroed.bind(x, jnp.broadcast_to(unread, jnp.shape(x)))
    return zeroed


def _zeros(x: jax.Array, unread: jax.Array) -> jax.Array:
    return jnp.where(unread, jnp.zeros_like(x), x)


@jax.custom_jvp
def _returned(cotangent: jax.Array, unread: jax.Array) -> jax.Array:
    """A cotangent on its way back; its own derivative is that of zeros."""
    return jnp.where(unread & (cotangent != 0), jnp.full_like(cotangent, jnp.nan), cotangent)


@_returned.defjvp
def _returned_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    return _returned(*primals), _zeros(tangents[0], primals[1])


def _transposed(cotangent: Any, x: Any, unread: jax.Array) -> list[Any]:
    return [cotangent if isinstance(cotangent, ad.Zero) else _returned(cotangent, unread), None]


_zeroed = Primitive("zeroed")
_zeroed.def_impl(jax.jit(_zeros))
_zeroed.def_abstract_eval(lambda x, unread: x)
ad.defjvp(_zeroed, lambda tangent, x, unread: _zeroed.bind(tangent, unread), None)
ad.primitive_transposes.update({_zeroed: _transposed})
batching.defbroadcasting(_zeroed)
mlir.register_lowering(_zeroed, mlir.lower_fun(_zeros, multiple_results=False))
