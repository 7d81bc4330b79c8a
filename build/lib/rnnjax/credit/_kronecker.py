"""Random Kronecker factors: the influence of a weight matrix as a sum of a few products of a vector and a matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, check_size, with_step, without_fast, wrapper, wrapping_carry
from rnnjax.base._cell import fold
from rnnjax.credit._attached import (
    Kept,
    Kroneckers,
    NotAdmitted,
    attach_influence,
    flat,
    inner_output,
    jacobian,
    kept,
    of_window,
    without_key,
)
from rnnjax.credit._jaxprs import Products, products
from rnnjax.credit._uoro import initial_or_carry, norm_balance, signs

_KRONECKER_TAG = 0x0503

# (key, left [r + 1, K], right [r + 1, N, M]) -> r products with the same expected sum; the newest one is the last.
_Reduce = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


@wrapping_carry
class _Kronecker(NamedTuple):
    """A carry and, for each weight matrix, r random pairs whose products sum to its influence in expectation.

    Attributes:
      carry: the carry of the wrapped cell.
      left: `[r, K]` for each matrix `[K, M]`.
      right: `[r, N, M]` for each matrix.
      exact: the influence of all other weights that matter, `[N, *shape]` each.
      fresh: 1 if the carry is an initial one, otherwise 0.
    """

    carry: PyTree
    left: list[jax.Array]
    right: list[jax.Array]
    exact: list[jax.Array]
    fresh: jax.Array


@wrapper
def kf_rtrl(cell: Cell) -> Cell:
    """Kronecker-factored RTRL: the influence of each matrix as a random product of an input and a small matrix.

        z = v w:   I = v (x) B,  B = d h / d z;   J = E[a (x) A]
        a_t = e1 p1 a_{t-1} + e2 p2 v_t,   A_t = e1 D_t A_{t-1} / p1 + e2 B_t / p2,   e random signs
        p1 = (|D A| / |a|)^(1/2),  p2 = (|B| / |v|)^(1/2),  D = d step / d h

    Unbiased, with far less noise than UORO: the signs mix two terms instead of all units. Each weight matrix has one
    pair; vectors (biases, a learned carry) have their exact influence. The cost is of order N^3 per step, the memory
    N^2.

    Args:
      cell: a single-step cell in which each weight matrix is used in exactly one product v w.

    Raises:
      NotAdmitted: a matrix is used in another way (an embedding table, a GRU that resets before the product), or the
        gradient is computed without a key.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = kf_rtrl(rnnjax.embed(5, 3))
      >>> carry, y = rnnjax.run(cell, cell.init(jax.random.key(0), 1), jnp.int32(1))  # nothing to carry
      >>> cell = kf_rtrl(rnnjax.gru(4))
      >>> cell.initial_carry(cell.init(jax.random.key(0), jnp.ones(3)), jnp.ones(3))
      Traceback (most recent call last):
      rnnjax.credit.NotAdmitted: kf_rtrl: a matrix [4, 12] of the weights enters the step otherwise than
      as one product v w with a vector v

    Reference: Mujika, Meier, Steger, Approximating real-time recurrent learning with random Kronecker factors, 2018.
    """
    return _factored_rtrl("kf_rtrl", cell, 1, _mix_products)


@wrapper
def optimal_kronecker(cell: Cell, rank: int = 1) -> Cell:
    """Optimal Kronecker-sum approximation of RTRL: like `kf_rtrl` with r pairs and random signs of least variance.

        sum of r + 1 products = Q (sum_i d_i s_i t_i') R',   d_1 >= ... >= d_{r+1} the singular values between them
        the largest d_i are kept as they are; the rest, r - m in place of r + 1 - m, with random signs,

    which has the least variance of all unbiased sums of r products at each step. More pairs give less noise, for r
    times the memory and the cost of `kf_rtrl`.

    Args:
      cell: a single-step cell in which each weight matrix is used in exactly one product v w.
      rank: r, the number of pairs per matrix, at least 1.

    Raises:
      ValueError: rank is below 1.
      NotAdmitted: a matrix is used in another way, or the gradient is computed without a key.

    Example: with as many pairs as steps, the influence is exact.
      >>> import jax, numpy as np, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (4, 2))
      >>> cell = rnnjax.vanilla(3)
      >>> params = cell.init(jax.random.key(1), xs[0])
      >>> def gradient(cell, key):
      ...     return jax.grad(lambda p: rnnjax.run(rnnjax.unroll(cell), p, xs, key=key)[1][-1].sum())(params)[1]["u"]
      >>> got = gradient(optimal_kronecker(cell, rank=3), jax.random.key(2))
      >>> np.testing.assert_allclose(got, gradient(cell, None), rtol=1e-3, atol=1e-5)

    Reference: Benzing, Gauy, Mujika, Martinsson, Steger, Optimal Kronecker-sum approximation of real time recurrent
    learning, 2019.
    """
    check_size("optimal_kronecker: rank", rank)
    return _factored_rtrl("kronecker_sum", cell, rank, _reduce_products)


def _mix_products(key: jax.Array, left: jax.Array, right: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Combines two products into one, each with a random sign, with balanced norms."""
    e, p = signs(key, 2, left.dtype), jnp.stack([norm_balance(b, a) for a, b in zip(left, right)])
    return jnp.tensordot(e * p, left, 1)[None], jnp.tensordot(e / p, right, 1)[None]


def _reduce_products(key: jax.Array, left: jax.Array, right: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Reduces r + 1 products to r with the least variance."""
    (qa, ra), (qb, rb) = orthonormal_axes(left), orthonormal_axes(right.reshape(len(right), -1))
    s, d, t = small_svd(ra @ rb.T)
    size, z = least_variance_split(d)
    half = (signs(key, len(d), d.dtype) * size)[:, None] * orthogonal_complement(z)
    return (qa @ (s @ half)).T, (qb @ (t @ half)).T.reshape(-1, *right.shape[1:])


def orthonormal_axes(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns vectors `[n, K]` as q r `[K, n] [n, n]`; columns of q are orthonormal, or zero if the rank is lower."""
    q: list[jax.Array] = []
    for v in rows:
        rest = v
        for e in q + q:  # two passes are enough
            rest = rest - jnp.vdot(e, rest) * e
        size = jnp.linalg.norm(rest)
        q.append(jnp.where(size > 1e-5 * jnp.linalg.norm(v), rest / jnp.where(size > 0, size, 1), jnp.zeros_like(v)))
    basis = jnp.stack(q, axis=1)
    return basis, basis.T @ rows.T


def small_svd(c: jax.Array, sweeps: int = 8) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns s, d, t of a small matrix s diag(d) t', the largest d first, by Jacobi rotations, which can be batched.

    LAPACK can deadlock when it is called for thousands of such matrices from several places of one program.
    """
    pairs = [(p, q) for p in range(len(c)) for q in range(p + 1, len(c))]

    def sweep(both: jax.Array, _: None) -> tuple[jax.Array, None]:
        for p, q in pairs:
            wp, wq = both[0, :, p], both[0, :, q]
            angle = jnp.arctan2(2 * jnp.vdot(wp, wq), jnp.vdot(wp, wp) - jnp.vdot(wq, wq)) / 2
            u, v = both[:, :, p], both[:, :, q]
            cos, sin = jnp.cos(angle), jnp.sin(angle)
            both = both.at[:, :, p].set(cos * u + sin * v).at[:, :, q].set(cos * v - sin * u)
        return both, None

    turned, _ = lax.scan(sweep, jnp.stack([c, jnp.eye(len(c), dtype=c.dtype)]), length=sweeps if len(pairs) > 1 else 1)
    d = jnp.linalg.norm(turned[0], axis=0)
    order = jnp.argsort(-d)
    s, t, d = turned[0][:, order], turned[1][:, order], d[order]
    return s / jnp.where(d > 0, d, 1)[None], d, t


def least_variance_split(d: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns c and a unit vector z such that the diagonal of diag(c) (1 - z z') diag(c) is d, for singular values d.

    The m largest values are kept (c^2 = d, z = 0); the others, none above its share of their sum, get equal c^2.
    """
    n = d.size
    places = jnp.arange(n)
    rest = jnp.cumsum(d[::-1])[::-1]  # sums of d_m and all below
    left_over = (n - 1 - places).astype(d.dtype)  # products left for the values from m on
    m = jnp.argmax((left_over * d <= rest) & (places < n - 1))
    tail, share = places >= m, rest[m] / jnp.maximum(left_over[m], 1)
    none = share <= jnp.finfo(d.dtype).tiny
    off = jnp.where(none, 1, 1 - d / jnp.where(none, 1, share))
    z = jnp.where(tail, jnp.sqrt(jnp.maximum(off, 0)), jnp.zeros_like(d))
    return jnp.sqrt(jnp.where(tail, share, d)), z / jnp.linalg.norm(z)


def orthogonal_complement(z: jax.Array) -> jax.Array:
    """Returns orthonormal columns `[n, n - 1]` orthogonal to a unit vector: a reflection of all axes but the first."""
    one = jnp.eye(z.size, dtype=z.dtype)
    w = z + jnp.where(z[0] < 0, -one[0], one[0])
    return (one - 2 * jnp.outer(w, w) / jnp.vdot(w, w))[:, 1:]


def _factored_rtrl(rule: str, cell: Cell, rank: int, reduce: _Reduce) -> Cell:
    """RTRL with the influence of each matrix as a sum of products, which `reduce` keeps at a fixed number."""
    slow = without_fast(cell)

    def initial_carry(weights: PyTree, x: PyTree) -> _Kronecker:
        form = _kronecker_form(rule, cell, weights, x)
        carry = cell.initial_carry(weights, x)
        h, w = flat(carry), form.matrices.of(weights)
        return _Kronecker(
            carry,
            [jnp.zeros((rank, m.shape[0]), m.dtype) for m in w],
            [jnp.zeros((rank, h.size, m.shape[1]), m.dtype) for m in w],
            [jnp.zeros((h.size, *v.shape), v.dtype) for v in form.others.of(weights)],
            jnp.ones_like(h[:1]),
        )

    def step(w: PyTree, state: _Kronecker, x: PyTree, key: jax.Array | None = None) -> tuple[_Kronecker, PyTree]:
        form, held = _kronecker_form(rule, cell, w, x), lax.stop_gradient(state)
        if key is None:
            carry, y = cell.step(w, without_key(w, held.carry), x, key)
            return state._replace(carry=carry), y
        influence = [*map(Kroneckers, held.left, held.right), *held.exact]
        before = attach_influence(form.matrices.of(w) + form.others.of(w), held.carry, influence)
        carry, y = cell.step(w, initial_or_carry(cell, w, held.fresh, before, x), x, key)
        new = _step_kronecker(slow, form, reduce, lax.stop_gradient(w), held, lax.stop_gradient(x), key)
        return lax.stop_gradient(new)._replace(carry=carry), y

    return with_step(cell, step).replace(initial_carry=initial_carry, output=inner_output(cell))


class _Form(NamedTuple):
    """The weights that matter: matrices with a Kronecker factor each, and all others."""

    matrices: Kept
    others: Kept


def _kronecker_form(rule: str, cell: Cell, weights: PyTree, x: PyTree) -> _Form:
    """Sorts the weights; rejects a matrix that is not used in exactly one product with a vector."""
    shapes = jax.eval_shape(lambda *tree: tree, weights, x)
    which, leaves = kept(cell, *shapes), jax.tree.leaves(shapes[0])
    matrices = Kept(tuple(i for i in which.which if leaves[i].ndim > 1))
    carry = jax.eval_shape(cell.initial_carry, *shapes)
    step_products: list[Products] = []

    def look(w: PyTree, h: PyTree, x: PyTree) -> PyTree:
        step_products.append(products(cell.step, w, h, x, None))
        return ()

    jax.eval_shape(look, shapes[0], carry, shapes[1])
    for i in matrices.which:
        if step_products[0].uses.get(i, 0) != 1 or i not in step_products[0].inputs:
            raise NotAdmitted(
                f"{rule}: a matrix {list(leaves[i].shape)} of the weights enters the step otherwise "
                "than as one product v w with a vector v"
            )
    return _Form(matrices, Kept(tuple(i for i in which.which if leaves[i].ndim <= 1)))


def _step_kronecker(
    cell: Cell, form: _Form, reduce: _Reduce, w: PyTree, state: _Kronecker, x: PyTree, key: jax.Array
) -> _Kronecker:
    """Returns the pairs and the exact part after a step; the carry is set later."""
    carry = initial_or_carry(cell, w, state.fresh, state.carry, x)
    inputs = products(cell.step, w, carry, x, key).inputs
    v = [inputs[i] for i in form.matrices.which]
    taps = {i: jnp.zeros(m.shape[1], m.dtype) for i, m in zip(form.matrices.which, form.matrices.of(w))}

    def after(taps: dict[int, jax.Array], values: list[jax.Array], h: PyTree) -> jax.Array:
        new = form.others.put(w, values)
        return flat(products(cell.step, new, initial_or_carry(cell, new, state.fresh, h, x), x, key, taps).carry)

    at_z, at_once, d = jacobian(lambda both: after(*both), (taps, form.others.of(w), state.carry))
    ahead = jax.vmap(flat)(d)
    drawn, left, right = of_window(key, _KRONECKER_TAG), [], []
    for k, (i, a, b) in enumerate(zip(form.matrices.which, state.left, state.right)):
        moved = jnp.einsum("pn,rnm->rpm", ahead, b)
        a, b = reduce(fold(drawn, k), jnp.concatenate([a, v[k][None]]), jnp.concatenate([moved, at_z[i][None]]))
        left.append(a)
        right.append(b)
    exact = [i + jnp.tensordot(ahead, j, 1) for i, j in zip(at_once, state.exact)]
    return _Kronecker(state.carry, left, right, exact, jnp.zeros_like(state.fresh))
