"""Outputs that are functions of the carry: the two common ones, and detection of one in a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax

from rnnjax.base._cell import PyTree

if TYPE_CHECKING:
    from jax.extend.core import Jaxpr, JaxprEqn  # imports Pallas

_CALLS = {"jit", "pjit", "closed_call", "checkpoint", "remat2", "custom_jvp_call", "custom_vjp_call"}


def carry_itself(carry: PyTree) -> PyTree:
    """The `Cell.output` of a core whose output is its carry."""
    return carry


def hidden_units(carry: Any) -> jax.Array:
    """The `Cell.output` of a core whose output is the field h of its carry."""
    h: jax.Array = carry.h
    return h


def output_in_carry(step: Callable[..., tuple[PyTree, PyTree]], *args: Any) -> Callable[[PyTree], PyTree] | None:
    """Returns carry -> y if every array of y is an array of the new carry, otherwise None.

    The step, (*args) -> (carry, y), is traced but not run. Parts of it may be jitted or rematerialised.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def step(h, x):
      ...     h = jnp.tanh(h + x)
      ...     return {"h": h, "last": x}, h
      >>> output_in_carry(jax.jit(step), 1.0, 2.0)({"h": 3.0, "last": 4.0})
      3.0
      >>> print(output_in_carry(lambda h, x: (h + x, jnp.tanh(h + x)), 1.0, 2.0))
      None
    """
    closed, (carry, y) = jax.make_jaxpr(step, return_shape=True)(*args)
    origins = [_origin(closed.jaxpr, v) for v in closed.jaxpr.outvars]
    n = len(jax.tree.leaves(carry))
    if not all(origin in origins[:n] for origin in origins[n:]):
        return None
    places, structure = [origins[:n].index(origin) for origin in origins[n:]], jax.tree.structure(y)
    return lambda carry: jax.tree.unflatten(structure, [jax.tree.leaves(carry)[i] for i in places])


def _origin(program: Jaxpr, variable: Any) -> tuple[Any, ...]:
    """Returns where a variable is computed: the calls that lead there, then the variable in the innermost one."""
    for eqn in program.eqns:
        inner = _called(eqn)
        if inner is None or variable not in eqn.outvars:
            continue
        origin = _origin(inner, inner.outvars[eqn.outvars.index(variable)])
        if origin[0] in inner.invars:  # passed through unchanged
            return _origin(program, eqn.invars[inner.invars.index(origin[0])])
        return id(eqn), *origin
    return (variable,)


def _called(eqn: JaxprEqn) -> Jaxpr | None:
    """Returns the program that an operation calls with its own arguments; None for other operations."""
    if eqn.primitive.name not in _CALLS:
        return None
    program = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    program = getattr(program, "jaxpr", program)
    return program if program is not None and len(program.invars) == len(eqn.invars) else None
