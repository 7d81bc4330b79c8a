"""Shared parts of the rules: a carry with a given derivative, and the weights that it can depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.interpreters import partial_eval

from rnnjax.base import Cell, PyTree
from rnnjax.base._cell import fold

LIMIT = 2**33  # bytes of the influence of one example


class NotAdmitted(ValueError):
    """Raised if a rule does not support a cell or its data, or would not fit in memory.

    Example:
      >>> raise NotAdmitted("uoro draws random signs: give it a key")
      Traceback (most recent call last):
      rnnjax.credit.NotAdmitted: uoro draws random signs: give it a key
    """

    __module__ = "rnnjax.credit"


class Outer(NamedTuple):
    """An influence of rank one, left (x) right: `[N]` and a tree like the weights."""

    left: jax.Array
    right: jax.Array

    def along(self, d: jax.Array) -> jax.Array:
        """Returns the effect of a change of the weights, in time linear in their number."""
        return self.left * jnp.tensordot(self.right, d, d.ndim)


class Kroneckers(NamedTuple):
    """The influence of a matrix as a sum over r of Kronecker products: `[r, K]` and `[r, N, M]`."""

    left: jax.Array
    right: jax.Array

    def along(self, d: jax.Array) -> jax.Array:
        """Returns the effect of a change of the matrix."""
        return jnp.einsum("rnm,rm->n", self.right, self.left @ d)


def inner_output(cell: Cell) -> Callable[[PyTree], PyTree] | None:
    """Returns the output function of a rule: that of the cell, applied to the wrapped carry."""
    read = cell.output
    return None if read is None else lambda state: read(state.carry)


@jax.custom_jvp
def attach_influence(weights: list[jax.Array], carry: PyTree, influence: list[Any]) -> PyTree:
    """Returns `carry` with the derivative `influence` with respect to the weights, and no other derivative.

        d carry = sum_l influence_l . d weights_l

    Args:
      weights: arrays.
      carry: a tree with N numbers in total.
      influence: for each array of weights, an array `[N, *its shape]` or its factors.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> w, h, j = [jnp.ones(2)], jnp.zeros(3), [jnp.arange(6.0).reshape(3, 2)]
      >>> print(jax.jacobian(lambda w: attach_influence(w, h, j))(w)[0])
      [[0. 1.]
       [2. 3.]
       [4. 5.]]
    """
    return carry


@attach_influence.defjvp
def _attached_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[PyTree, PyTree]:
    (_, carry, influence), (dw, _, _) = primals, tangents
    flat, unflat = ravel_pytree(carry)
    moves = [jnp.tensordot(j, d, d.ndim) if isinstance(j, jax.Array) else j.along(d) for j, d in zip(influence, dw)]
    return carry, unflat(sum((move.astype(flat.dtype) for move in moves), jnp.zeros_like(flat)))


@jax.custom_jvp
def without_key(weights: PyTree, carry: PyTree) -> PyTree:
    """Returns the carry; differentiating it raises an error that the rule needs a key."""
    return carry


@without_key.defjvp
def _without_key_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[PyTree, PyTree]:
    raise NotAdmitted("uoro, kf_rtrl, optimal_kronecker and random_truncate are random: their gradient needs a key")


def of_window(key: jax.Array, tag: int) -> jax.Array:
    """Returns a key for a wrapper's own draws, whether per step or per window: keys have the time axes of the input."""
    return fold(key.ravel()[0] if key.ndim else key, tag)


def flat(tree: PyTree) -> jax.Array:
    """Returns all numbers of a tree as one vector."""
    return ravel_pytree(tree)[0]


class WeightSubset(NamedTuple):
    """The weights that a carry can depend on; all others, such as those of a readout, need no influence.

    Attributes:
      indices: their places among the leaves of the weights.
    """

    indices: tuple[int, ...]

    def values(self, weights: PyTree) -> list[jax.Array]:
        """Returns their values."""
        leaves = jax.tree.leaves(weights)
        return [leaves[i] for i in self.indices]

    def with_values(self, weights: PyTree, values: list[jax.Array]) -> PyTree:
        """Returns the weights with their values replaced."""
        leaves, structure = jax.tree.flatten(weights)
        for i, value in zip(self.indices, values):
            leaves[i] = value
        return jax.tree.unflatten(structure, leaves)


def carry_weights(cell: Cell, weights: PyTree, x: PyTree) -> WeightSubset:
    """Finds the weights that the step and the initial carry use for the carry; only shapes are needed."""

    def both(weights: PyTree, carry: PyTree, x: PyTree) -> PyTree:
        return cell.step(weights, carry, x, None)[0], cell.initial_carry(weights, x)

    shapes = jax.eval_shape(lambda *tree: tree, weights, x)
    carry = jax.eval_shape(cell.initial_carry, *shapes)
    jaxpr = jax.make_jaxpr(both)(shapes[0], carry, shapes[1]).jaxpr
    used = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[1]
    return WeightSubset(tuple(i for i, leaf in enumerate(used[: len(jax.tree.leaves(weights))]) if leaf))


def jacobian(f: Callable[[PyTree], jax.Array], at: PyTree) -> PyTree:
    """Returns the derivative of a vector `[N]` by a tree, leaves `[N, ...]`, using N parallel backward passes."""
    y, pull = jax.vjp(f, at)
    return jax.vmap(lambda d: pull(d)[0])(jnp.eye(y.size, dtype=y.dtype))


def initial_influence(cell: Cell, weights: PyTree, x: PyTree, subset: WeightSubset) -> tuple[PyTree, list[jax.Array]]:
    """Returns the initial carry and its influence, which is not zero if the initial carry is learned."""
    frozen = lax.stop_gradient(weights)
    influence = jacobian(lambda w: flat(cell.initial_carry(subset.with_values(frozen, w), x)), subset.values(frozen))
    return cell.initial_carry(weights, x), lax.stop_gradient(influence)


def affordable(
    rule: str, cell: Cell, weights: PyTree, x: PyTree, subset: WeightSubset, limit: int, numbers: int | None = None
) -> None:
    """Rejects an influence above the limit before it is allocated; `numbers` overrides its full size."""
    carry = jax.eval_shape(cell.initial_carry, *jax.eval_shape(lambda *tree: tree, weights, x))
    n, p = (sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (carry, subset.values(weights)))
    size = (n * p if numbers is None else numbers) * max((w.dtype.itemsize for w in subset.values(weights)), default=0)
    if size > limit:
        raise NotAdmitted(
            f"{rule}: the influence of {p:,} weights on {n:,} numbers of state takes "
            f"{size / 1e9:.3g} GB an example, and the limit is {limit / 1e9:.3g} GB"
        )
