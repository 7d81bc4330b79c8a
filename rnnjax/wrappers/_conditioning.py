"""Conditioning a cell on a context vector, and initialising one network's state from another's last state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Cell, PyTree, Seq, unroll, without_marks, wrapper
from rnnjax.base._carries import is_wrapper_carry
from rnnjax.base._cell import Step
from rnnjax.base._compose import under_name
from rnnjax.base._seq import with_marks_of, zero_invalid
from rnnjax.base._unroll import scan_window
from rnnjax.cells import linear

CONDITIONINGS = ("carry", "input", "both", "gate")


def _map_recurrent(f: Callable[[jax.Array], Any], carry: PyTree) -> PyTree:
    """Applies f to the recurrent leaves: all leaves of a carry except the other fields of a `wrapping_carry`.

    Fields that a wrapper keeps beside the wrapped carry (`CarryWithAttention`) are unchanged.

    Example:
      >>> from rnnjax.wrappers._scheduled_sampling import _CarryWithOutput as Fed
      >>> _map_recurrent(lambda h: h + 1, (1.0, Fed(carry=2.0, y=5.0, said=0.0)))
      (2.0, _CarryWithOutput(carry=3.0, y=5.0, said=0.0))
    """

    def change(node: Any) -> Any:
        return node._replace(carry=_map_recurrent(f, node.carry)) if is_wrapper_carry(node) else f(node)

    return jax.tree.map(change, carry, is_leaf=is_wrapper_carry)


def recurrent_leaves(carry: PyTree) -> list[jax.Array]:
    """Returns the recurrent leaves of a carry as a list."""
    leaves: list[jax.Array] = []
    _map_recurrent(leaves.append, carry)
    return leaves


def with_recurrent_leaves(carry: PyTree, values: list[jax.Array]) -> PyTree:
    """Returns a carry with the values of its `recurrent_leaves` replaced."""
    rest = iter(values)
    return _map_recurrent(lambda a: next(rest), carry)


def vector_to_carry(carry: PyTree) -> Cell:
    """Returns the cell that maps a vector to a carry of this form: tanh(v w + b), split into pieces."""
    return linear(sum(int(np.prod(a.shape)) for a in recurrent_leaves(carry)))


def carry_from_vector(weights: PyTree, vector: jax.Array, carry: PyTree) -> PyTree:
    """Returns a carry computed from a vector with the weights of `vector_to_carry`."""
    shapes = [a.shape for a in recurrent_leaves(carry)]
    flat = jnp.tanh(vector_to_carry(carry).step(weights, (), vector)[1])
    pieces = jnp.split(flat, np.cumsum([int(np.prod(s)) for s in shapes])[:-1])
    return with_recurrent_leaves(carry, [p.reshape(s).astype(flat.dtype) for p, s in zip(pieces, shapes)])


@wrapper
def condition(cell: Cell, context: jax.Array, how: str = "both") -> Cell:
    """Conditions a cell on a context vector c, the same at every step.

        carry    h_0 = tanh(c w + b)                     the initial state, in every leaf
        input    step(h_{t-1}, [x_t, c])                 an input at each step
        both     both of these
        gate     step(h_{t-1}, x_t (1 + c w_1 + b_1) + c w_2 + b_2)          each feature scaled and shifted

    The step closes over the context; it is not part of the carry. Params are {"cell"} and, as needed, {"carry"} and
    {"gate"}.

    Args:
      cell: a cell with floating inputs.
      context: `[C]`; may be zeros for `init`, which only uses its shape.
      how: one of the names above.

    Raises:
      ValueError: the name is unknown; or a window inside restarts while the context sets the initial state: use
        `unroll(condition(cell))`, not `condition(unroll(cell))`.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = condition(rnnjax.gru(4), jnp.ones(2), "input")
      >>> cell.init(jax.random.key(0), jnp.ones(3))["cell"][0]["w"].shape  # 3 features and 2 of the context
      (5, 12)

    Reference: Vinyals, Toshev, Bengio, Erhan, Show and tell, 2015 (initial state); Cho et al., Learning phrase
    representations using RNN encoder-decoder, 2014 (input); Perez, Strub, de Vries, Dumoulin, Courville, FiLM: visual
    reasoning with a general conditioning layer, 2018 (gate).
    """
    if how not in CONDITIONINGS:
        raise ValueError(f"condition(cell, context, {how!r}): one of {', '.join(CONDITIONINGS)}")
    told = _Conditioned(cell, under_name(cell, "cell"), context, how)
    whole = told.inner.replace(init=told.init, initial_carry=told.initial_carry, step=told.around(told.inner.step))
    fast, slow = told.around(unroll(told.inner).step), scan_window(whole)

    def window(w: PyTree, carry: PyTree, xs: PyTree, keys: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        # a window inside would restart from the carry of the inner cell
        return (slow if told.sets_carry and may_restart(xs) else fast)(w, carry, xs, keys)

    return whole.replace(window=window)


class _Conditioned(NamedTuple):
    """A cell and its context; the methods are the functions of the conditioned cell.

    Attributes:
      cell: the cell to condition.
      inner: the same cell, whose params are at "cell".
      context: `[C]`.
      how: one of `CONDITIONINGS`.
    """

    cell: Cell
    inner: Cell
    context: jax.Array
    how: str

    @property
    def sets_carry(self) -> bool:
        """Returns whether the initial carry is computed from the context."""
        return self.how in ("carry", "both")

    def init(self, key: jax.Array, xs: PyTree) -> PyTree:
        kc, ks, kg = jax.random.split(key, 3)
        x = without_marks(xs)
        context = jax.ShapeDtypeStruct(self.context.shape, x.dtype)
        gate = {"gate": linear(2 * x.shape[-1]).init(kg, context)} if self.how == "gate" else {}
        inputs = jax.eval_shape(self.inputs, gate, xs)
        params = {"cell": self.cell.init(kc, inputs)} | gate
        if not self.sets_carry:
            return params
        start = self.cell.initial_carry(self.cell.weights(params["cell"]), inputs)
        return params | {"carry": vector_to_carry(start).init(ks, context)}

    def initial_carry(self, w: PyTree, xs: PyTree) -> PyTree:
        start = self.inner.initial_carry(w, jax.eval_shape(self.inputs, w, xs))
        if not self.sets_carry:
            return start
        return carry_from_vector(w["carry"], self.context.astype(without_marks(xs).dtype), start)

    def inputs(self, w: PyTree, xs: PyTree) -> PyTree:
        """Returns the inputs of the cell: with the context appended, gated by it, or as they are."""
        if self.how == "carry":
            return xs
        x = without_marks(zero_invalid(xs))
        c = self.context.astype(x.dtype)
        if self.how == "gate":
            gate = linear(2 * x.shape[-1]).step(w["gate"], (), c)[1]
            scale, shift = (jnp.broadcast_to(half, x.shape) for half in jnp.split(gate, 2))
            return with_marks_of(xs, x + x * scale + shift)
        return with_marks_of(xs, jnp.concatenate([x, jnp.broadcast_to(c, (*x.shape[:-1], *c.shape))], axis=-1))

    def around(self, step: Step) -> Step:
        """Returns a step, or the step of a window, on the conditioned inputs."""

        def conditioned(w: PyTree, carry: PyTree, xs: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
            if self.sets_carry and may_restart(xs):
                raise ValueError(
                    "condition cannot restart inside a window: unroll(condition(cell, ...)), "
                    "not condition(unroll(cell), ...)"
                )
            return step(w, carry, self.inputs(w, xs), key)

        return conditioned


def may_restart(xs: PyTree) -> bool:
    """Returns whether a window may contain a restart."""
    return isinstance(xs, Seq) and xs.first is not None
