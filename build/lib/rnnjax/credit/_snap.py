"""SnAp: the influence of a weight, restricted to the parts of the state that it reaches in a few steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from rnnjax.base import Cell, PyTree, check_size, with_step, wrapper
from rnnjax.credit._attached import LIMIT, affordable, flat, inner_output
from rnnjax.credit._rtrl import CarryWithInfluence
from rnnjax.credit._sparsity import Group, Pattern, finder


@jax.custom_jvp
def _attach_influence_at(
    weights: list[jax.Array], carry: PyTree, influence: list[jax.Array], rows: list[jax.Array]
) -> PyTree:
    """Returns `carry` with the sparse derivative `influence` with respect to the weights, like `attach_influence`.

        d carry[rows[c, a]] += sum_m influence[c, a, m] d weights[c, m]

    Args:
      weights: arrays `[C, m]`.
      carry: a tree with N numbers in total.
      influence: for each array of weights, an array `[C, k, m]`.
      rows: for each array of weights, indices into the carry `[C, k]`; N and above are padding.

    Example: two weights, of which the first affects the second number.
      >>> import jax, jax.numpy as jnp
      >>> rows, j = [jnp.array([[1], [0]])], [jnp.array([[[3.0]], [[4.0]]])]
      >>> print(jax.jacobian(lambda w: _attach_influence_at([w], jnp.zeros(2), j, rows))(jnp.ones((2, 1)))[..., 0])
      [[0. 4.]
       [3. 0.]]
    """
    return carry


@_attach_influence_at.defjvp
def _attach_influence_at_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[PyTree, PyTree]:
    (_, carry, influence, rows), (dw, *_) = primals, tangents
    numbers, unflat = ravel_pytree(carry)
    total = jnp.zeros_like(numbers)
    for j, d, at in zip(influence, dw, rows):
        total = total.at[at].add(jnp.einsum("ckm,cm->ck", j, d).astype(total.dtype), mode="drop")
    return carry, unflat(total)


@wrapper
def snap(cell: Cell, n: int = 1, limit: int = LIMIT) -> Cell:
    """Sparse n-step approximation of RTRL: keeps the influence of a weight on the numbers it can reach in n steps.

        J_t = mask_n * (I_t + D_t J_{t-1}),   I = d step / d weights,  D = d step / d h
        mask_1 = where I can be other than zero,   mask_{n+1} = mask_n or where D leads from mask_n

    Entries outside the mask are not stored. SnAp-1 stores one number per weight of a vanilla network and two of an
    LSTM; in a GRU that resets before the product, the reset gate reaches every unit at once. The pattern is found at
    the first use, from derivatives at a few random points, without noise. The derivative with respect to the weights
    takes as few backward passes as the mask allows (one for a vanilla network). The one with respect to the carry takes
    N for a dense recurrence and fewer for a sparse one, see `sparse`. In a stack, the lower layers reach all of the
    upper ones at once; to keep them apart, wrap each layer. The loss of step t sees I_t + D_t J_{t-1}.

    Args:
      cell: a single-step cell; a window of several steps would reach everything.
      n: the number of steps, at least 1.
      limit: the most bytes for the influence of one example.

    Raises:
      ValueError: n is below 1.
      NotAdmitted: the influence would exceed the limit.

    Warns:
      UserWarning: the mask of every weight that matters is full, so this is RTRL.

    Example: nothing is lost if the units are not connected to each other.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> cell = rnnjax.recurrent(4, lambda p, h, z: 2 * (jnp.tanh(z + h * jnp.diag(p["u"])),))
      >>> xs = jax.random.normal(jax.random.key(0), (12, 4))
      >>> params = cell.init(jax.random.key(1), xs[0])
      >>> loss = lambda cell: lambda params: (rnnjax.run(rnnjax.unroll(cell), params, xs)[1] ** 2).sum()
      >>> a, b = jax.grad(loss(snap(cell)))(params), jax.grad(loss(cell))(params)
      >>> np.testing.assert_allclose(a["u"], b["u"], rtol=1e-4)

    Reference: Menick et al., A practical sparse approximation for real time recurrent learning, 2021; Curtis, Powell,
    Reid, On the estimation of sparse Jacobian matrices, 1974 (rows that share a backward pass).
    """
    check_size("snap: n", n)
    find = finder(cell, n)

    def init(key: jax.Array, x: PyTree) -> PyTree:
        params = cell.init(key, x)
        if find(jax.eval_shape(cell.weights, params), x).full:
            warnings.warn(
                f"snap(cell, {n}): {n} steps reach everything, so this is RTRL at a higher price", stacklevel=2
            )
        return params

    return masked_rtrl(f"snap({n})", cell, find, limit).replace(init=init)


def masked_rtrl(rule: str, cell: Cell, find: Callable[[PyTree, PyTree], Pattern], limit: int) -> Cell:
    """RTRL restricted to a pattern."""

    def initial_carry(weights: PyTree, x: PyTree) -> CarryWithInfluence:
        pattern = find(weights, x)
        affordable(rule, cell, weights, x, pattern.which, limit, pattern.size())
        frozen_weights = lax.stop_gradient(weights)
        carry, pull = jax.vjp(
            lambda w: flat(cell.initial_carry(pattern.which.put(frozen_weights, w), x)),
            pattern.which.of(frozen_weights),
        )
        by_colour = jax.vmap(lambda d: pull(d)[0])(jnp.asarray(pattern.colours, carry.dtype))
        influence = [_class_derivatives(g, by_colour[g.leaf]) for g in pattern.groups]
        return CarryWithInfluence(cell.initial_carry(weights, x), lax.stop_gradient(influence))

    def step(
        w: PyTree, state: CarryWithInfluence, x: PyTree, key: jax.Array | None = None
    ) -> tuple[CarryWithInfluence, PyTree]:
        pattern = find(w, x)
        frozen_carry, influence = lax.stop_gradient((state.carry, state.influence))
        rows = [jnp.asarray(g.rows) for g in pattern.groups]
        carry, y = cell.step(w, _attach_influence_at(_class_weights(pattern, w), frozen_carry, influence, rows), x, key)
        return CarryWithInfluence(
            carry, _step_masked_influence(cell, pattern, *lax.stop_gradient((w, frozen_carry, influence, x)), key)
        ), y

    return with_step(cell, step).replace(initial_carry=initial_carry, output=inner_output(cell))


def _class_weights(pattern: Pattern, weights: PyTree) -> list[jax.Array]:
    """Returns the weights of each group, `[classes, m]`, padded with zeros."""
    values = pattern.which.of(weights)
    return [values[g.leaf].reshape(-1).at[g.members].get(mode="fill", fill_value=0) for g in pattern.groups]


def _class_derivatives(g: Group, by_colour: jax.Array) -> jax.Array:
    """Returns a group's part of a derivative `[classes, k, m]` from the results of the backward pass of each colour."""
    numbers = by_colour.reshape(len(by_colour), -1)
    part = numbers.at[g.colour[:, :, None], g.members[:, None, :]].get(mode="fill", fill_value=0)
    return jnp.where(g.at_once[:, :, None], part, jnp.zeros_like(part))


def _step_masked_influence(
    cell: Cell, pattern: Pattern, w: PyTree, carry: PyTree, influence: list[jax.Array], x: PyTree, key: jax.Array | None
) -> list[jax.Array]:
    """Returns the influence after a step, restricted to the pattern."""

    def after(values: list[jax.Array], h: PyTree) -> jax.Array:
        return flat(cell.step(pattern.which.put(w, values), h, x, key)[0])

    y, pull = jax.vjp(after, pattern.which.of(w), carry)
    by_colour = jax.vmap(lambda d: pull(d)[0])(jnp.asarray(pattern.colours, y.dtype))
    ahead = jax.vmap(lambda d: flat(pull(d)[1]))(jnp.asarray(pattern.ahead, y.dtype))
    out = []
    for g, j in zip(pattern.groups, influence):
        d = ahead.at[g.ahead[:, :, None], g.rows[:, None, :]].get(mode="fill", fill_value=0)
        d = jnp.where(g.leads, d, jnp.zeros_like(d))
        out.append(_class_derivatives(g, by_colour[g.leaf]) + jnp.einsum("cab,cbm->cam", d, j))
    return lax.stop_gradient(out)
