"""Real-time recurrent learning: the influence of the weights on the carry, carried forward in full or masked."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, with_step
from rnnjax.credit.influence import LIMIT, Kept, affordable, attached, flat, jacobian, kept, start


class Influenced(NamedTuple):
    """A carry and what is known of how the weights made it. All zeros but the carry: nothing made it.

    Attributes:
      carry: of the cell inside.
      influence: d carry / d weights, for each array of weights that matters `[N, *shape]`.
    """

    carry: PyTree
    influence: list[jax.Array]


def rtrl(cell: Cell, limit: int = LIMIT) -> Cell:
    """Real-time recurrent learning: the exact gradient without a look back, for any cell.

        J_t = d step / d weights + (d step / d h) J_{t-1},   J_0 = d initial_carry / d weights

    `unroll(rtrl(cell))` carries the influence J from step to step; `chunk(rtrl(unroll(cell)), k)` goes back through
    windows of k steps and carries J from window to window, which for N units and k = N is the algorithm of order N^3
    a step. Exact for the weights of `cell` alone: what reaches it through x, or through a closure as an attention
    memory does, gets a gradient cut at its edge. J is one for each example.

    Args:
      cell: of one step or of windows.
      limit: bytes of one example's influence.

    Raises:
      NotAdmitted: an influence above the limit, before it takes memory.

    Example: the gradient of a window cut at every step.
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

    def initial_carry(weights: PyTree, x: PyTree) -> Influenced:
        which = kept(cell, weights, x)
        affordable("rtrl", cell, weights, x, which, limit)
        return Influenced(*start(cell, weights, x, which))

    def step(w: PyTree, state: Influenced, x: PyTree, key: jax.Array | None = None) -> tuple[Influenced, PyTree]:
        which = kept(cell, w, x)
        carry, y = onward(cell, which, w, state, x, key)
        still = lax.stop_gradient((w, x))

        def after(values: list[jax.Array]) -> jax.Array:
            return flat(onward(cell, which, which.put(still[0], values), state, still[1], key)[0])

        return Influenced(carry, lax.stop_gradient(jacobian(after, which.of(still[0])))), y

    return with_step(cell, step).replace(initial_carry=initial_carry)


def onward(
    cell: Cell, which: Kept, w: PyTree, state: Influenced, x: PyTree, key: jax.Array | None
) -> tuple[PyTree, PyTree]:
    """The step from a carry to which its influence is attached."""
    carry, influence = lax.stop_gradient((state.carry, state.influence))
    return cell.step(w, attached(which.of(w), carry, influence), x, key)


class Patterned(NamedTuple):
    """An `Influenced` with the pattern of what each weight has touched at once, 1 or 0 in the place of each entry."""

    carry: PyTree
    influence: list[jax.Array]
    touched: list[jax.Array]


def snap(cell: Cell, n: int = 1, limit: int = LIMIT) -> Cell:
    """Sparse n-step approximation: RTRL that keeps the influence of a weight on the numbers it can reach in n steps.

        J_t = mask_n * (I_t + D_t J_{t-1}),   I = d step / d weights,  D = d step / d h
        mask_1 = where I has ever been other than zero,   mask_{n+1} = mask_n or where D leads from mask_n

    For a vanilla network mask_1 is one unit for each weight. The patterns are those seen while running, so that any
    cell has them; J is kept in full, and the cost is that of RTRL. The loss of step t sees I_t + D_t J_{t-1}.

    Args:
      cell: of one step; a window of several reaches everything.
      n: steps, at least 1.
      limit: bytes of one example's influence.

    Raises:
      ValueError: n below 1.
      NotAdmitted: an influence above the limit.

    Warns:
      UserWarning: the mask of every weight that matters is full: this is RTRL.

    Example: units that do not speak to each other lose nothing.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> cell = rnnjax.recurrent(4, lambda p, h, z: 2 * (jnp.tanh(z + h * jnp.diag(p["u"])),))
      >>> xs = jax.random.normal(jax.random.key(0), (12, 4))
      >>> params = cell.init(jax.random.key(1), xs[0])
      >>> loss = lambda cell: lambda params: (rnnjax.run(rnnjax.unroll(cell), params, xs)[1] ** 2).sum()
      >>> a, b = jax.grad(loss(snap(cell)))(params), jax.grad(loss(cell))(params)
      >>> np.testing.assert_allclose(a["u"], b["u"], rtol=1e-4)

    Reference: Menick et al., A practical sparse approximation for real time recurrent learning, 2021.
    """
    if n < 1:
        raise ValueError(f"snap(cell, n) looks n steps ahead, at least 1, got {n}")

    def initial_carry(weights: PyTree, x: PyTree) -> Patterned:
        which = kept(cell, weights, x)
        affordable(f"snap({n})", cell, weights, x, which, limit // 2)
        carry, influence = start(cell, weights, x, which)
        return Patterned(carry, influence, touched(influence))

    def step(w: PyTree, state: Patterned, x: PyTree, key: jax.Array | None = None) -> tuple[Patterned, PyTree]:
        which = kept(cell, w, x)
        carry, y = onward(cell, which, w, Influenced(state.carry, state.influence), x, key)
        at_once, ahead = parts(cell, which, *lax.stop_gradient((w, state.carry, x)), key)
        seen = jax.tree.map(jnp.maximum, state.touched, touched(at_once))
        total = [i + jnp.tensordot(ahead, j, 1) for i, j in zip(at_once, state.influence)]
        mask = reached(seen, touched(ahead), n)
        influence = [j * m for j, m in zip(total, mask)]
        return Patterned(carry, *lax.stop_gradient((influence, seen))), y

    def init(key: jax.Array, x: PyTree) -> PyTree:
        params = cell.init(key, x)
        warn_if_full(cell, n, params, x)
        return params

    return with_step(cell, step).replace(init=init, initial_carry=initial_carry)


def parts(
    cell: Cell, which: Kept, w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None
) -> tuple[list[jax.Array], jax.Array]:
    """The derivatives of a step: at once in the weights, `[N, *shape]` each, and in the carry `[N, N]`."""

    def after(values: list[jax.Array], h: PyTree) -> jax.Array:
        return flat(cell.step(which.put(w, values), h, x, key)[0])

    at_once, ahead = jacobian(lambda both: after(*both), (which.of(w), carry))
    return at_once, jax.vmap(flat)(ahead)


def touched(tree: PyTree) -> PyTree:
    """1 where a number is not zero, 0 where it is."""
    return jax.tree.map(lambda a: (a != 0).astype(a.dtype), tree)


def reached(seen: list[jax.Array], ahead: jax.Array, n: int) -> list[jax.Array]:
    """The pattern after n - 1 more steps."""
    for _ in range(n - 1):
        seen = [jnp.maximum(m, touched(jnp.tensordot(ahead, m, 1))) for m in seen]
    return seen


def warn_if_full(cell: Cell, n: int, params: PyTree, x: PyTree) -> None:
    """Warns where the mask leaves nothing out, as far as can be told from one step on random numbers."""

    def random(tree: PyTree) -> PyTree:
        shapes, key = jax.eval_shape(lambda tree: tree, tree), jax.random.key(0)
        return jax.tree.map(lambda s: jax.random.uniform(key, s.shape).astype(s.dtype), shapes)

    def ones(tree: PyTree) -> Any:
        return min((float(m.min()) for m in tree), default=0.0)

    try:
        with jax.ensure_compile_time_eval():
            w = cell.weights(random(params))
            which, x = kept(cell, w, x), random(x)
            at_once, ahead = parts(cell, which, w, random(cell.initial_carry(w, x)), x, None)
            full = ones(reached(touched(at_once), touched(ahead), n))
    except jax.errors.ConcretizationTypeError:
        return  # the cell is built of tracers
    if full:
        warnings.warn(f"snap(cell, {n}): {n} steps reach everything, so this is RTRL at a higher price", stacklevel=3)
