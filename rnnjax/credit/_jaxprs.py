"""Inspection of the jaxpr of a step: where weights multiply vectors, with ways to tap or cut these products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from jax import lax

from rnnjax.base import PyTree
from rnnjax.base._cell import Step

if TYPE_CHECKING:
    from jax.extend.core import ClosedJaxpr, JaxprEqn

_WEIGHTS = "weights"


class _Value(NamedTuple):
    """A value inside a step.

    Attributes:
      value: the array.
      of: what it depends on: WEIGHTS, ("carry", index of a leaf), ("product", number of a product).
      leaf: its index among the leaves of the weights, if it is an unmodified leaf.
    """

    value: Any
    of: frozenset[Any] = frozenset()
    leaf: int | None = None


_Visit = Callable[["JaxprEqn", list[_Value]], list[_Value] | None]


class _Walked(NamedTuple):
    """The results of a step evaluated operation by operation: trees of `_Value`s."""

    carry: PyTree
    y: PyTree

    def values(self) -> tuple[PyTree, PyTree]:
        """Returns (carry, y) as arrays."""
        return jax.tree.map(lambda v: v.value, tuple(self), is_leaf=lambda v: isinstance(v, _Value))

    def carry_of(self) -> list[frozenset[Any]]:
        """Returns what each leaf of the carry depends on."""
        return [v.of for v in jax.tree.leaves(self.carry, is_leaf=lambda v: isinstance(v, _Value))]


def _walk(step: Step, w: PyTree, h: PyTree, x: PyTree, key: jax.Array | None, visit: _Visit) -> _Walked:
    """Evaluates a step operation by operation; `visit` may override the result of an operation."""
    closed, shape = jax.make_jaxpr(step, return_shape=True)(w, h, x, key)
    leaves = [_Value(a, frozenset({_WEIGHTS}), i) for i, a in enumerate(jax.tree.leaves(w))]
    leaves += [_Value(a, frozenset({("carry", i)})) for i, a in enumerate(jax.tree.leaves(h))]
    leaves += [_Value(a) for a in jax.tree.leaves((x, key))]
    return _Walked(*jax.tree.unflatten(jax.tree.structure(shape), _evaluate(closed, leaves, visit)))


def _evaluate(closed: ClosedJaxpr, args: list[_Value], visit: _Visit) -> list[_Value]:
    """Evaluates the operations of a program in order, including those of jitted parts."""
    from jax.extend.core import Literal  # imported here because it imports Pallas

    known: dict[Any, _Value] = dict(zip(closed.jaxpr.constvars, map(_Value, closed.consts)))
    known |= dict(zip(closed.jaxpr.invars, args))

    def read(atom: Any) -> _Value:
        return _Value(atom.val) if isinstance(atom, Literal) else known[atom]

    for eqn in closed.jaxpr.eqns:
        ins = [read(atom) for atom in eqn.invars]
        if eqn.primitive.name in ("jit", "pjit"):
            outs: list[_Value] | None = _evaluate(eqn.params["jaxpr"], ins, visit)
        else:
            outs = visit(eqn, ins)
        known |= dict(zip(eqn.outvars, _bind(eqn, ins) if outs is None else outs))
    return [read(atom) for atom in closed.jaxpr.outvars]


def _bind(eqn: JaxprEqn, ins: list[_Value]) -> list[_Value]:
    """Evaluates an operation unchanged."""
    out = eqn.primitive.bind(*(v.value for v in ins), **eqn.primitive.get_bind_params(eqn.params))
    of: frozenset[Any] = frozenset().union(*(v.of for v in ins))
    return [_Value(a, of) for a in (out if eqn.primitive.multiple_results else [out])]


class Products(NamedTuple):
    """The weight matrices that are factors of products.

    Attributes:
      carry: the next carry.
      inputs: {leaf: v} for each product v w of a vector and a weight matrix.
      uses: {leaf: how often it is used}, in any way.
    """

    carry: PyTree
    inputs: dict[int, jax.Array]
    uses: dict[int, int]


def products(
    step: Step, w: PyTree, h: PyTree, x: PyTree, key: jax.Array | None, taps: dict[int, jax.Array] | None = None
) -> Products:
    """Finds the products v w in a step; `taps[leaf]`, if present, is added to the product of that leaf."""
    inputs: dict[int, jax.Array] = {}
    uses: dict[int, int] = {}

    def visit(eqn: JaxprEqn, ins: list[_Value]) -> list[_Value] | None:
        for v in ins:
            if v.leaf is not None:
                uses[v.leaf] = uses.get(v.leaf, 0) + 1
        vector, leaf = _vector_times_leaf(eqn, ins)
        if leaf is None:
            return None
        inputs[leaf] = vector
        (out,) = _bind(eqn, ins)
        return [out if leaf not in (taps or {}) else out._replace(value=out.value + (taps or {})[leaf])]

    return Products(_walk(step, w, h, x, key, visit).values()[0], inputs, uses)


def _vector_times_leaf(eqn: JaxprEqn, ins: list[_Value]) -> tuple[Any, int | None]:
    """Returns v and the index of w if the operation is a product v w."""
    if eqn.primitive.name != "dot_general":
        return None, None
    (left, right), batch = eqn.params["dimension_numbers"]
    a, b = ins
    plain = tuple(left) == tuple(right) == (0,) and not any(batch) and a.value.ndim == 1 and b.value.ndim == 2
    return (a.value, b.leaf) if plain else (None, None)


class _Loops(NamedTuple):
    """The recurrent products of a step: weights times a value that depends on a leaf of the carry that they affect.

    Attributes:
      products: their numbers, in the order of `_walk`.
      gated: whether weights act between the carry and one of these products.
      hidden: whether there are products inside loops and branches, which are not inspected.
    """

    products: frozenset[int]
    gated: bool
    hidden: bool


def loops(step: Step, w: PyTree, h: PyTree, x: PyTree) -> _Loops:
    """Finds the recurrent products; only shapes are needed."""
    from jax.extend.core import jaxprs_in_params

    vectors: list[frozenset[Any]] = []
    hidden, ends = [False], []

    def visit(eqn: JaxprEqn, ins: list[_Value]) -> list[_Value] | None:
        hidden[0] |= any("dot_general" in str(inner) for inner in jaxprs_in_params(eqn.params))
        other = _vector_with_weights(eqn, ins)
        if other is None:
            return None
        vectors.append(ins[other].of)
        return [v._replace(of=v.of | {("product", len(vectors) - 1)}) for v in _bind(eqn, ins)]

    def look(w: PyTree, h: PyTree, x: PyTree) -> PyTree:
        ends.extend(_walk(step, w, h, x, None, visit).carry_of())
        return ()

    jax.eval_shape(look, w, h, x)
    products = {
        k for k, of in enumerate(vectors) for i, end in enumerate(ends) if ("carry", i) in of and ("product", k) in end
    }
    return _Loops(frozenset(products), any(_WEIGHTS in vectors[k] for k in products), hidden[0])


def _vector_with_weights(eqn: JaxprEqn, ins: list[_Value]) -> int | None:
    """Returns which operand depends on the carry, in a product whose other operand depends on weights only."""
    if eqn.primitive.name != "dot_general":
        return None
    moving = [any(d[0] == "carry" for d in v.of if d != _WEIGHTS) for v in ins]
    weighing = [v.of == {_WEIGHTS} for v in ins]
    return next((i for i in (0, 1) if moving[i] and weighing[1 - i]), None)


def without_derivatives(step: Step, products: frozenset[int]) -> Step:
    """Returns the step with the vectors in these products excluded from differentiation."""

    def held(w: PyTree, h: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        met = [0]

        def visit(eqn: JaxprEqn, ins: list[_Value]) -> list[_Value] | None:
            other = _vector_with_weights(eqn, ins)
            if other is None:
                return None
            met[0] += 1
            if met[0] - 1 not in products:
                return None
            frozen = ins[other]._replace(value=lax.stop_gradient(ins[other].value))
            return _bind(eqn, [frozen if i == other else v for i, v in enumerate(ins)])

        return _walk(step, w, h, x, key, visit).values()

    return held
