"""Random influences of low rank: unbiased, and as small as the weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from rnnjax.base import Cell, PyTree, with_step
from rnnjax.credit.influence import Kept, NotAdmitted, attached, flat, jacobian, kept, of_window, without_key
from rnnjax.credit.products import Products, products
from rnnjax.scans import scanning, where

UORO_TAG, KRONECKER_TAG = 0x0502, 0x0503


def signs(key: jax.Array, n: int, dtype: Any) -> jax.Array:
    """n numbers that are 1 or -1 with equal probability."""
    return jax.random.rademacher(key, (n,), dtype)


def balance(a: PyTree, b: PyTree) -> jax.Array:
    """The square root of |a| / |b|: with this factor two terms weigh alike, and the variance is least."""
    tiny = jnp.asarray(1e-7, flat(b).dtype)
    return jnp.sqrt((jnp.linalg.norm(flat(a)) + tiny) / (jnp.linalg.norm(flat(b)) + tiny))


class RankOne(NamedTuple):
    """A carry and a random pair whose product is, on average, its influence.

    Attributes:
      carry: of the cell inside.
      left: `[N]`.
      right: as the weights that matter.
      fresh: 1 where the carry is an initial one, whose derivative is known; else 0.
    """

    carry: PyTree
    left: jax.Array
    right: list[jax.Array]
    fresh: jax.Array


def uoro(cell: Cell) -> Cell:
    """Unbiased online recurrent optimisation: the influence as one random product, J = E[s v'].

        s_t = r0 D_t s_{t-1} + r1 e,   v_t = v_{t-1} / r0 + e' I_t / r1,   e random signs
        r0 = (|v| / |D s|)^(1/2),  r1 = (|e' I| / |e|)^(1/2),  I = d step / d weights,  D = d step / d h

    The gradient is unbiased and noisy, and costs about three times the step for any cell. Its key is that of the
    step; without one the values are the cell's, and asking for a gradient is refused.

    Args:
      cell: of one step, or of windows.

    Raises:
      NotAdmitted: a gradient without a key.

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

    def initial_carry(weights: PyTree, x: PyTree) -> RankOne:
        carry = cell.initial_carry(weights, x)
        right = jax.tree.map(jnp.zeros_like, kept(cell, weights, x).of(weights))
        return RankOne(carry, jnp.zeros_like(flat(carry)), right, jnp.ones_like(flat(carry)[:1]))

    def step(w: PyTree, state: RankOne, x: PyTree, key: jax.Array | None = None) -> tuple[RankOne, PyTree]:
        which, held = kept(cell, w, x), lax.stop_gradient(state)
        if key is None:
            carry, y = cell.step(w, without_key(w, held.carry), x, key)
            return state._replace(carry=carry), y
        influence = [jnp.tensordot(held.left, v, 0) for v in held.right]
        before = attached(which.of(w), held.carry, influence)
        carry, y = cell.step(w, fresh_or(cell, w, held.fresh, before, x), x, key)
        left, right = forwarded(cell, which, lax.stop_gradient(w), held, lax.stop_gradient(x), key)
        return RankOne(carry, *lax.stop_gradient((left, right)), jnp.zeros_like(held.fresh)), y

    return with_step(cell, step).replace(initial_carry=initial_carry)


def fresh_or(cell: Cell, w: PyTree, fresh: jax.Array, carry: PyTree, x: PyTree) -> PyTree:
    """The initial carry as a function of the weights where fresh, which is the carry there; else the carry."""
    return where(fresh[0] > 0, cell.initial_carry(w, x), carry)


def forwarded(
    cell: Cell, which: Kept, w: PyTree, state: RankOne, x: PyTree, key: jax.Array
) -> tuple[jax.Array, list[jax.Array]]:
    """The pair after a step."""

    def after(values: list[jax.Array], h: PyTree) -> jax.Array:
        new = which.put(w, values)
        return flat(cell.step(new, fresh_or(cell, new, state.fresh, h, x), x, key)[0])

    weights = which.of(w)
    unflat = ravel_pytree(state.carry)[1]
    with scanning():
        _, ahead = jax.jvp(lambda h: after(weights, h), (state.carry,), (unflat(state.left),))
        _, pull = jax.vjp(lambda values: after(values, state.carry), weights)
    e = signs(of_window(key, UORO_TAG), ahead.size, ahead.dtype)
    at_once = pull(e)[0]
    r0, r1 = balance(state.right, ahead), balance(at_once, e)
    return r0 * ahead + r1 * e, [v / r0 + i / r1 for v, i in zip(state.right, at_once)]


class Kronecker(NamedTuple):
    """A carry and, for each matrix of weights, a random pair whose Kronecker product is on average its influence.

    Attributes:
      carry: of the cell inside.
      left: `[K]` for each matrix `[K, M]`.
      right: `[N, M]` for each matrix.
      exact: the influence of all other weights that matter, `[N, *shape]` each.
      fresh: 1 where the carry is an initial one; else 0.
    """

    carry: PyTree
    left: list[jax.Array]
    right: list[jax.Array]
    exact: list[jax.Array]
    fresh: jax.Array


def kf_rtrl(cell: Cell) -> Cell:
    """Kronecker-factored RTRL: the influence of each matrix as a random product of an input and a small matrix.

        z = v w:   I = v (x) B,  B = d h / d z;   J = E[a (x) A]
        a_t = e1 p1 a_{t-1} + e2 p2 v_t,   A_t = e1 D_t A_{t-1} / p1 + e2 B_t / p2,   e random signs
        p1 = (|D A| / |a|)^(1/2),  p2 = (|B| / |v|)^(1/2),  D = d step / d h

    Unbiased, with far less noise than UORO: the signs mix two terms, not all units. Each matrix of weights has a pair;
    vectors (biases, a learned carry) have their exact influence. Order N^3 a step, and N^2 numbers.

    Args:
      cell: of one step, whose matrices of weights each enter as one product v w.

    Raises:
      NotAdmitted: a matrix enters otherwise (a table of embeddings, a GRU that resets before the product), or the
        gradient is asked for without a key.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = kf_rtrl(rnnjax.embed(5, 3))
      >>> carry, y = rnnjax.run(cell, cell.init(jax.random.key(0), 1), jnp.int32(1))  # nothing to carry
      >>> cell = kf_rtrl(rnnjax.gru(4))
      >>> cell.initial_carry(cell.init(jax.random.key(0), jnp.ones(3)), jnp.ones(3))
      Traceback (most recent call last):
      rnnjax.credit.influence.NotAdmitted: kf_rtrl: a matrix [4, 12] of the weights enters the step otherwise than
      as one product v w with a vector v

    Reference: Mujika, Meier, Steger, Approximating real-time recurrent learning with random Kronecker factors, 2018.
    """

    def initial_carry(weights: PyTree, x: PyTree) -> Kronecker:
        form = kronecker_form(cell, weights, x)
        carry = cell.initial_carry(weights, x)
        h, w = flat(carry), form.matrices.of(weights)
        return Kronecker(
            carry,
            [jnp.zeros(m.shape[0], m.dtype) for m in w],
            [jnp.zeros((h.size, m.shape[1]), m.dtype) for m in w],
            [jnp.zeros((h.size, *v.shape), v.dtype) for v in form.others.of(weights)],
            jnp.ones_like(h[:1]),
        )

    def step(w: PyTree, state: Kronecker, x: PyTree, key: jax.Array | None = None) -> tuple[Kronecker, PyTree]:
        form, held = kronecker_form(cell, w, x), lax.stop_gradient(state)
        if key is None:
            carry, y = cell.step(w, without_key(w, held.carry), x, key)
            return state._replace(carry=carry), y
        full = [jnp.einsum("k,nm->nkm", a, b) for a, b in zip(held.left, held.right)] + held.exact
        before = attached(form.matrices.of(w) + form.others.of(w), held.carry, full)
        carry, y = cell.step(w, fresh_or(cell, w, held.fresh, before, x), x, key)
        new = kronecker(cell, form, lax.stop_gradient(w), held, lax.stop_gradient(x), key)
        return new._replace(carry=carry), y

    return with_step(cell, step).replace(initial_carry=initial_carry)


class Form(NamedTuple):
    """The weights that matter: matrices with a Kronecker factor each, and others."""

    matrices: Kept
    others: Kept


def kronecker_form(cell: Cell, weights: PyTree, x: PyTree) -> Form:
    """Sorts the weights; refuses a matrix that does not enter as one product with a vector."""
    shapes = jax.eval_shape(lambda *tree: tree, weights, x)
    which, leaves = kept(cell, *shapes), jax.tree.leaves(shapes[0])
    matrices = Kept(tuple(i for i in which.which if leaves[i].ndim > 1))
    carry = jax.eval_shape(cell.initial_carry, *shapes)
    found: list[Products] = []

    def look(w: PyTree, h: PyTree, x: PyTree) -> PyTree:
        found.append(products(cell.step, w, h, x, None))
        return ()

    jax.eval_shape(look, shapes[0], carry, shapes[1])
    for i in matrices.which:
        if found[0].uses.get(i, 0) != 1 or i not in found[0].inputs:
            raise NotAdmitted(f"kf_rtrl: a matrix {list(leaves[i].shape)} of the weights enters the step otherwise "
                              "than as one product v w with a vector v")  # fmt: skip
    return Form(matrices, Kept(tuple(i for i in which.which if leaves[i].ndim <= 1)))


def kronecker(cell: Cell, form: Form, w: PyTree, state: Kronecker, x: PyTree, key: jax.Array) -> Kronecker:
    """The pairs and the exact part after a step; the carry is still to come."""
    carry = fresh_or(cell, w, state.fresh, state.carry, x)
    inputs = products(cell.step, w, carry, x, key).inputs
    v = [inputs[i] for i in form.matrices.which]
    taps = {i: jnp.zeros(m.shape[1], m.dtype) for i, m in zip(form.matrices.which, form.matrices.of(w))}

    def after(taps: dict[int, jax.Array], values: list[jax.Array], h: PyTree) -> jax.Array:
        new = form.others.put(w, values)
        return flat(products(cell.step, new, fresh_or(cell, new, state.fresh, h, x), x, key, taps).carry)

    with scanning():
        at_z, at_once, d = jacobian(lambda both: after(*both), (taps, form.others.of(w), state.carry))
    ahead = jax.vmap(flat)(d)
    e = signs(of_window(key, KRONECKER_TAG), 2 * len(v), ahead.dtype)
    left, right = [], []
    for k, (i, a, b) in enumerate(zip(form.matrices.which, state.left, state.right)):
        moved = ahead @ b
        p1, p2 = balance(moved, a), balance(at_z[i], v[k])
        left.append(e[2 * k] * p1 * a + e[2 * k + 1] * p2 * v[k])
        right.append(e[2 * k] / p1 * moved + e[2 * k + 1] / p2 * at_z[i])
    exact = [i + jnp.tensordot(ahead, j, 1) for i, j in zip(at_once, state.exact)]
    return Kronecker(state.carry, left, right, exact, jnp.zeros_like(state.fresh))
