"""Sparse weights with a fixed pattern of connections, storing only the connections that exist."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from rnnjax.base import Cell, PyTree, wrapper
from rnnjax.base._cell import Step


@wrapper
def sparse(core: Cell, **masks: ArrayLike) -> Cell:
    """Keeps the entries of named weights where a fixed mask is not zero, stored as one vector.

        params["u"] `[entries]`,   u = zeros,  u[where mask] = params["u"]

    Products use the full matrix; what is saved is memory of params, optimisers and influences. The influence of `snap`
    on a sparse recurrence is small, and that of `rtrl` is smaller by the density. The initial entries are those of the
    core, scaled by the square root of one over the density, which keeps their expected sum of squares.

    Args:
      core: a cell whose params are a dict; wrap it before it goes into a stack.
      **masks: parameter name = array of the parameter's shape, with concrete values.

    Raises:
      ValueError: when params are created, if the core has no such parameter or a mask has another shape.

    Example: a ring of units, each connected to its neighbour.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> core = sparse(rnnjax.vanilla_core(5), u=np.roll(np.eye(5), 1, axis=1))
      >>> core.init(jax.random.key(0), jnp.zeros(5))["u"].shape
      (5,)

    Reference: Bellec et al., Deep rewiring: training very sparse deep networks, 2018 (masks that change; here they
    stay).
    """
    known = {name: np.asarray(mask) != 0 for name, mask in masks.items()}

    def full(w: PyTree) -> PyTree:
        def matrix(name: str) -> jax.Array:
            return jnp.zeros(known[name].shape, w[name].dtype).at[np.nonzero(known[name])].set(w[name])

        return {**w, **{name: matrix(name) for name in known}}

    def entries(w: PyTree) -> PyTree:
        return {**w, **{name: w[name][np.nonzero(mask)] for name, mask in known.items()}}

    def init(key: jax.Array, x: PyTree) -> PyTree:
        params = core.init(key, x)
        for name, mask in known.items():
            if name not in params or params[name].shape != mask.shape:
                have = {k: p.shape for k, p in params.items()}
                raise ValueError(f"sparse(core, {name}=mask of shape {mask.shape}): the params are {have}")
        grow = {name: math.sqrt(mask.size / max(mask.sum(), 1)) for name, mask in known.items()}
        return entries(
            {**params, **{name: params[name] * jnp.asarray(g, params[name].dtype) for name, g in grow.items()}}
        )

    def on_full(step: Step) -> Step:
        return lambda w, h, x, key=None: step(full(w), h, x, key)

    return Cell(
        init,
        lambda w, x: core.initial_carry(full(w), x),
        on_full(core.step),
        lambda params, key=None: entries(core.weights(full(params), key)),
        None if core.window is None else on_full(core.window),
        core.output,
    )
