"""Real-time recurrent learning: the full influence of the weights on the carry, carried forward in time."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jax import lax

from rnnjax.base import Cell, PyTree, with_step, wrapper, wrapping_carry
from rnnjax.credit._attached import (
    LIMIT,
    WeightSubset,
    affordable,
    attach_influence,
    carry_weights,
    flat,
    initial_influence,
    inner_output,
    jacobian,
)


@wrapping_carry
class CarryWithInfluence(NamedTuple):
    """A carry and the influence of the weights on it; an influence of zeros means an initial carry.

    Attributes:
      carry: the carry of the wrapped cell.
      influence: d carry / d weights, `[N, *shape]` for each array of weights that matters.
    """

    carry: PyTree
    influence: list[jax.Array]


@wrapper
def rtrl(cell: Cell, limit: int = LIMIT) -> Cell:
    """Real-time recurrent learning: the exact gradient, computed forward in time, for any cell.

        J_t = d step / d weights + (d step / d h) J_{t-1},   J_0 = d initial_carry / d weights

    `unroll(rtrl(cell))` carries the influence J from step to step. `chunk(rtrl(unroll(cell)), k)` propagates backwards
    within windows of k steps and carries J from window to window; for N units and k = N this is the algorithm of order
    N^3 per step. It is exact for the weights of `cell` only: the gradient of anything that enters through x, or through
    a closure such as an attention memory, is cut at the edge of the window. Every example has its own J.

    Args:
      cell: a single-step cell or a window cell.
      limit: the most bytes for the influence of one example.

    Raises:
      NotAdmitted: the influence would exceed the limit; raised before it is allocated.

    Example: the gradient of a window, truncated at every step.
      >>> import jax, numpy as np, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> cell = rnnjax.vanilla(4)
      >>> params = cell.init(jax.random.key(1), xs[0])
      >>> loss = lambda cell: lambda params: (rnnjax.run(rnnjax.unroll(cell), params, xs)[1] ** 2).sum()
      >>> a, b = jax.grad(loss(rtrl(cell)))(params), jax.grad(loss(cell))(params)
      >>> np.testing.assert_allclose(a[1]["u"], b[1]["u"], rtol=1e-4)

    Reference: Williams, Zipser, A learning algorithm for continually running fully recurrent neural networks, 1989;
    Schmidhuber, A fixed size storage O(n^3) time complexity learning algorithm, 1992 (windows).
    """

    def initial_carry(weights: PyTree, x: PyTree) -> CarryWithInfluence:
        subset = carry_weights(cell, weights, x)
        affordable("rtrl", cell, weights, x, subset, limit)
        return CarryWithInfluence(*initial_influence(cell, weights, x, subset))

    def step(
        w: PyTree, state: CarryWithInfluence, x: PyTree, key: jax.Array | None = None
    ) -> tuple[CarryWithInfluence, PyTree]:
        subset = carry_weights(cell, w, x)
        carry, y = _step_influence(cell, subset, w, state, x, key)
        frozen = lax.stop_gradient((w, x))

        def after(values: list[jax.Array]) -> jax.Array:
            return flat(_step_influence(cell, subset, subset.with_values(frozen[0], values), state, frozen[1], key)[0])

        return CarryWithInfluence(carry, lax.stop_gradient(jacobian(after, subset.values(frozen[0])))), y

    return with_step(cell, step).replace(initial_carry=initial_carry, output=inner_output(cell))


def _step_influence(
    cell: Cell, subset: WeightSubset, w: PyTree, state: CarryWithInfluence, x: PyTree, key: jax.Array | None
) -> tuple[PyTree, PyTree]:
    """Runs a step from a carry with its influence attached."""
    carry, influence = lax.stop_gradient((state.carry, state.influence))
    return cell.step(w, attach_influence(subset.values(w), carry, influence), x, key)
