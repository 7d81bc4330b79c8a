"""Fast windows for gated cores: hand-written backward passes with the gradient of the scan in less time.

Autodiff of a scan saves the residuals of each operation and accumulates the weights' gradient at every step. Here a
window is cut into pieces of about twenty steps. In the backward pass of a piece, everything that does not depend on the
cotangents is computed for all its steps at once (`factors`), a loop computes the few products that do (`pull`), and one
matmul per piece computes the gradient of the weights. The parts:

- `_forward_scan` runs the loop, without a derivative.
- `_attach_gradient` gives its values the hand-written derivative with respect to pre-activations and carry.
- `_pre_activations` passes these cotangents on to weights and inputs, by matmuls that JAX transposes and batches.
  This keeps `vmap` correct and fast: batches, populations, gradients per example.

There is no forward mode: `without_fast(cell)` scans instead.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, Seq, chunk, tree_where, with_step, without_marks
from rnnjax.base._seq import first_step_shape, tree_zeros, zero_invalid


class Rule(NamedTuple):
    """A kind of core, for `layer_window` and `core_window`. All arrays it uses are in p, none in closures.

    Attributes:
      prepare: (params of the parts before the core, core params, extra bias or None) -> p, once per window. If the
        params of the parts before are None, the inputs are pre-activations.
      step: (p, carry, x) -> (carry, saved): one step forward, and values saved for the backward pass.
      pre: (p, x, before, saved) -> the pre-activations that depend on weights or inputs, as a function of p and x; for
        all steps of a piece at once, where `before` are the carries before each step.
      factors: (p, before, after, saved) -> the factors of `pull`, for all steps of a piece at once.
      pull: (p, factors, d) -> (d, dpre): maps the cotangent of the carry after one step to that of the carry before and
        those of the pre-activations.
      output: carry -> y.
    """

    prepare: Callable[..., PyTree]
    step: Callable[[PyTree, PyTree, jax.Array], tuple[PyTree, PyTree]]
    pre: Callable[[PyTree, jax.Array, PyTree, PyTree], PyTree]
    factors: Callable[[PyTree, PyTree, PyTree, PyTree], PyTree]
    pull: Callable[[PyTree, PyTree, PyTree], tuple[PyTree, PyTree]]
    output: Callable[[PyTree], jax.Array] = lambda h: h


class _Steps(NamedTuple):
    """The inputs of a window, the marks of a `Seq`, and which units are held, as a tree like the carry.

    Without its inputs, it is read by the backward pass.
    """

    x: Any
    valid: Any = None
    first: Any = None
    hold: Any = None


def _tree_select(flags: PyTree, a: PyTree, b: PyTree) -> PyTree:
    """`jnp.where` over trees of the same structure."""
    return jax.tree.map(jnp.where, flags, a, b)


def _scan_piece(
    rule: Rule, p: PyTree, start: PyTree, carry: PyTree, s: _Steps
) -> tuple[PyTree, PyTree, PyTree, PyTree]:
    """Scans a piece; returns the last carry and, per step, the carry, the carry before holding, and saved values."""

    def body(h: PyTree, s: _Steps) -> tuple[PyTree, PyTree]:
        h = h if s.first is None else tree_where(s.first, start, h)
        new, saved = rule.step(p, h, s.x)
        after = new if s.hold is None else _tree_select(s.hold, h, new)
        after = after if s.valid is None else tree_where(s.valid, after, h)
        return after, (after, None if s.hold is None else new, saved)

    last, (after, new, saved) = lax.scan(body, carry, s)
    return last, after, new, saved


class _Piece(NamedTuple):
    """The values that the backward pass of a piece reads."""

    p: PyTree
    start: PyTree
    carry: PyTree
    marks: _Steps
    after: PyTree
    new: PyTree
    saved: PyTree

    def before(self) -> PyTree:
        """Returns the carry before each step, after restarts."""
        shifted = jax.tree.map(lambda h, hs: jnp.concatenate([h[None], hs[:-1]]), self.carry, self.after)
        if self.marks.first is None:
            return shifted
        return tree_where(
            self.marks.first, jax.tree.map(lambda a, b: jnp.broadcast_to(a, b.shape), self.start, shifted), shifted
        )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _forward_scan(rule: Rule, p: PyTree, start: PyTree, carry: PyTree, s: _Steps) -> tuple[PyTree, _Piece]:
    """Runs the loop without a derivative of its own, which `_attach_gradient` provides.

    Unlike stop_gradient this affects only one level of differentiation: a second one goes through the loop.
    """
    last, after, new, saved = _scan_piece(rule, p, start, carry, s)
    return last, _Piece(p, start, carry, s._replace(x=None), after, new, saved)


_forward_scan.defvjp(lambda *args: (_forward_scan.fun(*args), ()), lambda rule, _, cotangents: (None, None, None, None))


def _pre_activations(rule: Rule, p: PyTree, x: jax.Array, piece: _Piece) -> PyTree:
    """Passes cotangents on to p and x; the value is unused and therefore never computed."""

    def pre(p: PyTree, x: jax.Array, piece: _Piece) -> PyTree:
        return rule.pre(p, x, piece.before(), piece.saved)

    return jax.checkpoint(pre, prevent_cse=False)(p, x, piece)  # saves what `attach` saves anyway, not [x, h]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attach_gradient(rule: Rule, pre: PyTree, start: PyTree, carry: PyTree, piece: _Piece, out: PyTree) -> PyTree:
    """Returns out = (last carry, ys) with a derivative by the pre-activations, the previous and the restart carry."""
    return out


def _attach_gradient_bwd(rule: Rule, piece: _Piece, cotangents: PyTree) -> tuple[PyTree, ...]:
    d, dys = cotangents
    factors = rule.factors(piece.p, piece.before(), piece.after if piece.new is None else piece.new, piece.saved)

    def body(state: PyTree, step: PyTree) -> tuple[PyTree, PyTree]:
        (d, dstart), (factors, s, dy) = state, step
        dy = dy if s.valid is None else tree_where(s.valid, dy, tree_zeros(dy))
        d = jax.tree.map(jnp.add, d, _output_vjp(rule, d, dy))
        moves = d if s.valid is None else tree_where(s.valid, d, tree_zeros(d))
        held = None if s.hold is None else _tree_select(s.hold, moves, tree_zeros(moves))
        moves = moves if s.hold is None else _tree_select(s.hold, tree_zeros(moves), moves)
        back, dpre = rule.pull(piece.p, factors, moves)
        back = back if s.hold is None else jax.tree.map(jnp.add, back, held)
        if s.valid is not None:
            back = tree_where(s.valid, back, d)
        if s.first is not None:
            dstart = jax.tree.map(jnp.add, dstart, tree_where(s.first, back, tree_zeros(back)))
            back = tree_where(s.first, tree_zeros(back), back)
        return (back, dstart), dpre

    (d, dstart), dpre = lax.scan(body, (d, tree_zeros(piece.start)), (factors, piece.marks, dys), reverse=True)
    return dpre, dstart, d, None, None


def _output_vjp(rule: Rule, carry: PyTree, dy: jax.Array) -> PyTree:
    """Maps the cotangent of the output, which is a leaf of the carry, to that of the carry."""
    return jax.vjp(rule.output, carry)[1](dy)[0]


_attach_gradient.defvjp(lambda rule, pre, start, carry, piece, out: (out, piece), _attach_gradient_bwd)


def _run_piece(rule: Rule, p: PyTree, start: PyTree, carry: PyTree, s: _Steps) -> tuple[PyTree, jax.Array]:
    """Runs a few steps, with their derivative."""
    last, piece = _forward_scan(rule, p, start, carry, s)
    ys = rule.output(piece.after)
    ys = ys if s.valid is None else tree_where(s.valid, ys, tree_zeros(ys))
    return _attach_gradient(rule, _pre_activations(rule, p, s.x, piece), start, carry, piece, (last, ys))


def piece_length(steps: int) -> int:
    """Returns about twenty, a divisor if possible: temporaries fit in cache and the weights' matmuls are large."""
    if steps <= 40:
        return steps
    return min((k for k in range(14, 33) if steps % k == 0), key=lambda k: abs(k - 20), default=20)


def fused_scan(
    rule: Rule,
    cell: Cell,
    p: PyTree,
    start: PyTree,
    carry: PyTree,
    xs: PyTree,
    length: Callable[[int], int] = piece_length,
    hold: PyTree | None = None,
) -> tuple[PyTree, PyTree]:
    """Runs a whole window, piece by piece."""
    marked = zero_invalid(xs) if isinstance(xs, Seq) else Seq(xs)
    s = _Steps(marked.x, _boolean(marked.valid), _boolean(marked.first), hold)
    start = None if s.first is None else start
    pieces = with_step(cell, lambda w, h, s, key=None: _run_piece(rule, w[0], w[1], h, s))
    carry, ys = chunk(pieces, length).step((p, start), carry, s)
    return carry, xs._replace(x=ys) if isinstance(xs, Seq) else ys


def _boolean(marks: jax.Array | None) -> jax.Array | None:
    """Converts marks to booleans, which have no cotangents."""
    return None if marks is None else marks.astype(bool)


@dataclasses.dataclass(frozen=True, eq=False)
class Fused:
    """A window that supports held units and another restart carry, so that `zoneout` and `learn_carry` can keep it.

    Attributes:
      run: (weights, carry, xs, hold, start) -> (carry, ys). hold has a boolean for each step and unit of the carry, or
        is None: none holds. start is the carry after a restart, or None: the cell's own.
    """

    run: Callable[[PyTree, PyTree, PyTree, PyTree | None, PyTree | None], tuple[PyTree, PyTree]]

    def __call__(self, w: PyTree, carry: PyTree, xs: PyTree, keys: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        """Runs the window with the signature of `Cell.window`."""
        return self.run(w, carry, xs, None, None)


def core_window(rule: Rule, core: Cell, bias: Callable[[jax.Array], jax.Array] | None = None) -> Cell:
    """Returns the core with a fast window on pre-activations.

    Args:
      rule: the rule of this kind of core.
      core: the core; its step must compute the same as the rule.
      bias: from one input, an array to add to all pre-activations.
    """

    def fast(w: PyTree, carry: PyTree, xs: PyTree, hold: PyTree | None, start: PyTree | None) -> tuple[PyTree, PyTree]:
        x = first_step_shape(without_marks(xs))
        jax.eval_shape(core.step, w, carry, x)  # raises the errors of the core's step
        p = rule.prepare(None, w, None if bias is None else bias(x))
        start = core.initial_carry(w, x) if start is None else start
        return fused_scan(rule, core, p, start, carry, xs, hold=hold)

    return core.replace(window=Fused(fast))


def layer_window(rule: Rule, layer: Cell, bias: Callable[[jax.Array], jax.Array] | None = None) -> Cell:
    """Returns `stack(linear(...), core)`, perhaps with layer norm, with a fast window that includes the input's matmul.

    On the CPU, reading pre-computed pre-activations inside the gates' loop would prevent its vectorisation; joined with
    the recurrent matmul, the input's matmul costs little.
    """

    def fast(w: PyTree, carry: PyTree, xs: PyTree, hold: PyTree | None, start: PyTree | None) -> tuple[PyTree, PyTree]:
        x = first_step_shape(without_marks(xs))
        jax.eval_shape(layer.step, w, carry, x)
        p = rule.prepare(*w, None if bias is None else bias(x))
        hold = None if hold is None else hold[-1]
        start = layer.initial_carry(w, x) if start is None else start
        h, ys = fused_scan(rule, layer, p, start[-1], carry[-1], xs, hold=hold)
        return (*carry[:-1], h), ys

    return layer.replace(window=Fused(fast))
