"""UORO: an unbiased random influence of rank one, as small as the weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from rnnjax.base import Cell, PyTree, tree_where, with_step, without_fast, wrapper, wrapping_carry
from rnnjax.credit._attached import Kept, Outer, attach_influence, flat, inner_output, kept, of_window, without_key

_UORO_TAG = 0x0502


def signs(key: jax.Array, n: int, dtype: Any) -> jax.Array:
    """Returns n numbers that are 1 or -1 with equal probability."""
    return jax.random.rademacher(key, (n,), dtype)


def norm_balance(a: PyTree, b: PyTree) -> jax.Array:
    """Returns the square root of |a| / |b|, the factor that balances two terms and minimises the variance."""
    tiny = jnp.asarray(1e-7, flat(b).dtype)
    return jnp.sqrt((jnp.linalg.norm(flat(a)) + tiny) / (jnp.linalg.norm(flat(b)) + tiny))


@wrapping_carry
class _RankOne(NamedTuple):
    """A carry and a random pair whose product is its influence in expectation.

    Attributes:
      carry: the carry of the wrapped cell.
      left: `[N]`.
      right: a tree like the weights that matter.
      fresh: 1 if the carry is an initial one, whose derivative is known; otherwise 0.
    """

    carry: PyTree
    left: jax.Array
    right: list[jax.Array]
    fresh: jax.Array


@wrapper
def uoro(cell: Cell) -> Cell:
    """Unbiased online recurrent optimisation: the influence as one random product, J = E[s v'].

        s_t = r0 D_t s_{t-1} + r1 e,   v_t = v_{t-1} / r0 + e' I_t / r1,   e random signs
        r0 = (|v| / |D s|)^(1/2),  r1 = (|e' I| / |e|)^(1/2),  I = d step / d weights,  D = d step / d h

    `chunk(uoro(unroll(cell)), k)` is a mixed rule: exact within windows of k steps and random beyond them. The gradient
    is unbiased and noisy, and costs about three times the step, for any cell. It uses the key of the step; without a
    key the values are those of the cell, and computing a gradient raises an error.

    Args:
      cell: a single-step cell or a window cell.

    Raises:
      NotAdmitted: a gradient is computed without a key.

    Example: the mean over many keys.
      >>> import jax, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (3, 2))
      >>> cell = rnnjax.vanilla(2)
      >>> params = cell.init(jax.random.key(1), xs[0])
      >>> def gradient(cell, key):
      ...     return jax.grad(lambda p: rnnjax.run(rnnjax.unroll(cell), p, xs, key=key)[1][-1].sum())(params)[1]["u"]
      >>> keys = jax.random.split(jax.random.key(2), 4000)
      >>> guess = jax.vmap(lambda key: gradient(uoro(cell), key))(keys).mean(0)
      >>> bool(abs(guess - gradient(cell, None)).max() < 0.05)
      True

    Reference: Tallec, Ollivier, Unbiased online recurrent optimization, 2018.
    """

    slow = without_fast(cell)

    def initial_carry(weights: PyTree, x: PyTree) -> _RankOne:
        carry = cell.initial_carry(weights, x)
        right = jax.tree.map(jnp.zeros_like, kept(cell, weights, x).of(weights))
        return _RankOne(carry, jnp.zeros_like(flat(carry)), right, jnp.ones_like(flat(carry)[:1]))

    def step(w: PyTree, state: _RankOne, x: PyTree, key: jax.Array | None = None) -> tuple[_RankOne, PyTree]:
        which, frozen = kept(cell, w, x), lax.stop_gradient(state)
        if key is None:
            carry, y = cell.step(w, without_key(w, frozen.carry), x, key)
            return state._replace(carry=carry), y
        before = attach_influence(which.of(w), frozen.carry, [Outer(frozen.left, v) for v in frozen.right])
        carry, y = cell.step(w, initial_or_carry(cell, w, frozen.fresh, before, x), x, key)
        left, right = _step_rank_one(slow, which, lax.stop_gradient(w), frozen, lax.stop_gradient(x), key)
        return _RankOne(carry, *lax.stop_gradient((left, right)), jnp.zeros_like(frozen.fresh)), y

    return with_step(cell, step).replace(initial_carry=initial_carry, output=inner_output(cell))


def initial_or_carry(cell: Cell, w: PyTree, fresh: jax.Array, carry: PyTree, x: PyTree) -> PyTree:
    """Returns the initial carry as a function of the weights if fresh, otherwise the carry; the values are equal."""
    return tree_where(fresh[0] > 0, cell.initial_carry(w, x), carry)


def _step_rank_one(
    cell: Cell, which: Kept, w: PyTree, state: _RankOne, x: PyTree, key: jax.Array
) -> tuple[jax.Array, list[jax.Array]]:
    """Returns the pair after a step of a cell that has a forward mode."""

    def after(values: list[jax.Array], h: PyTree) -> jax.Array:
        new = which.put(w, values)
        return flat(cell.step(new, initial_or_carry(cell, new, state.fresh, h, x), x, key)[0])

    weights = which.of(w)
    unflat = ravel_pytree(state.carry)[1]
    _, ahead = jax.jvp(lambda h: after(weights, h), (state.carry,), (unflat(state.left),))
    _, pull = jax.vjp(lambda values: after(values, state.carry), weights)
    e = signs(of_window(key, _UORO_TAG), ahead.size, ahead.dtype)
    at_once = pull(e)[0]
    r0, r1 = norm_balance(state.right, ahead), norm_balance(at_once, e)
    return r0 * ahead + r1 * e, [v / r0 + i / r1 for v, i in zip(state.right, at_once)]
