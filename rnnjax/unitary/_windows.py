"""Fast windows for these recurrences, plain or a `Seq`: rules for `rnnjax.cells`.

The backward loop only multiplies by W transposed and by the derivative of the nonlinearity. The gradients of the
parameters of W are computed after it, for all steps of a piece at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, Seq, without_marks
from rnnjax.base._cell import Step
from rnnjax.base._numerics import at_least_single
from rnnjax.base._seq import first_step_shape, num_steps
from rnnjax.cells._fused_rules import mix, side_by_side
from rnnjax.cells._fused_window import Rule, piece_length
from rnnjax.cells._fused_window import fused_scan as window_

_Activation = Callable[[jax.Array, jax.Array], jax.Array]


class Linear(NamedTuple):
    """A linear map W of real vectors with parameters u.

    Attributes:
      apply: (u, h) -> W h.
      transpose: (u, g) -> W^T g.
      each: (u, hs) -> W h for many h at once, in a form whose gradient in u is fast.
    """

    apply: Callable[[PyTree, jax.Array], jax.Array]
    transpose: Callable[[PyTree, jax.Array], jax.Array]
    each: Callable[[PyTree, jax.Array], jax.Array]


def matmul_full_precision(h: jax.Array, u: jax.Array) -> jax.Array:
    """Returns h u in full precision on every backend: a matmul in lower precision would not keep norms."""
    return jnp.matmul(h, u, precision=lax.Precision.HIGHEST)


def orthogonality_gap(u: jax.Array) -> jax.Array:
    """Returns I - u^T u, to about the square of the dtype's precision.

    Entries are split into high, middle and low parts. The first two have so few bits that their products and sums are
    exact in any order of summation: 2 bits + log2 n is at most the length of a mantissa.
    """
    n = u.shape[0]
    bits = (jnp.finfo(u.dtype).nmant + 1 - math.ceil(math.log2(max(n, 2)))) // 2
    one, unit = jnp.eye(n, dtype=u.dtype), jnp.asarray(2.0**bits, u.dtype)
    high = jnp.round(u * unit) / unit
    middle = jnp.round((u - high) * (unit * unit)) / (unit * unit)
    low = u - high - middle
    across = matmul_full_precision(high.T, middle)
    rest = (
        matmul_full_precision(middle.T, u - high) + matmul_full_precision(low.T, u) + matmul_full_precision(high.T, low)
    )
    return (one - matmul_full_precision(high.T, high)) - (across + across.T) - rest


def polished(u: jax.Array) -> jax.Array:
    """Makes a nearly orthogonal matrix more orthogonal by a Newton step, so that rounding errors do not accumulate.

        u + u (I - u^T u) / 2

    In plain float32 the error of the gap I - u^T u is as large as the gap, so the step would gain nothing. With the gap
    at twice that precision, only the rounding of the entries of u remains. The step's own derivative is zero where u is
    orthogonal, so it is not differentiated.
    """
    return u + lax.stop_gradient(matmul_full_precision(u, orthogonality_gap(u))) / 2


def with_transpose(u: jax.Array, dtype: Any = None) -> tuple[jax.Array, jax.Array]:
    """Returns a matrix and its transpose, the form that `MATMUL` takes."""
    return u, u.T


MATMUL = Linear(
    lambda u, h: matmul_full_precision(h, u[0]),
    lambda u, g: matmul_full_precision(g, u[1]),
    lambda u, hs: matmul_full_precision(hs, u[1].T),
)


def recurrence(linear: Linear, act: _Activation, bind: Callable[[PyTree, Any], PyTree]) -> Rule:
    """The rule of a recurrence whose weights are {"u", "b"}.

        h_t = act(W h_{t-1} + z_t, b)

    Args:
      linear: W.
      act: a function of one step's `[n]` and b.
      bind: (weights u, dtype of the states) -> the argument of `linear`, once per window.
    """

    def step(p: PyTree, h: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        a = linear.apply(p["u"], h) + z
        return act(a, p["b"]), a

    def pre(p: PyTree, zs: jax.Array, before: jax.Array, saved: jax.Array) -> PyTree:
        return zs + linear.each(p["u"], before), _every_step(p["b"], zs)

    def pull(p: PyTree, a: jax.Array, d: jax.Array) -> tuple[jax.Array, PyTree]:
        da, db = jax.vjp(act, a, p["b"])[1](d)
        return linear.transpose(p["u"], da), (da, db)

    return Rule(
        lambda _, w, bias: {"u": bind(w["u"], w["b"].dtype), "b": w["b"]},
        step,
        pre,
        lambda p, before, after, saved: saved,
        pull,
    )


def gated(act: _Activation) -> Rule:
    """The rule of the gated orthogonal unit, whose weights are {"u", "v", "b"}; gates r, z, then n.

    r, z = sigmoid(a_r + h_{t-1} v_r), sigmoid(a_z + h_{t-1} v_z)
    h_t = z h_{t-1} + (1 - z) act(a_n + r (h_{t-1} u), b)
    """

    def step(p: PyTree, h: jax.Array, a: jax.Array) -> tuple[jax.Array, PyTree]:
        n = h.shape[-1]
        hu = MATMUL.apply(p["u"], h)
        rz, v = jax.nn.sigmoid(a[: 2 * n] + hu[: 2 * n]), hu[2 * n :]
        c = a[2 * n :] + rz[:n] * v
        return mix(True, h, rz[n:], act(c, p["b"])), (rz, v, c)

    def pre(p: PyTree, a: jax.Array, before: jax.Array, saved: PyTree) -> PyTree:
        n = before.shape[-1]
        hu = MATMUL.each(p["u"], before)
        return a[:, : 2 * n] + hu[:, : 2 * n], hu[:, 2 * n :], a[:, 2 * n :], _every_step(p["b"], a)

    def factors(p: PyTree, before: jax.Array, after: jax.Array, saved: PyTree) -> PyTree:
        rz, v, c = saved
        r, z = jnp.split(rz, 2, axis=-1)
        new = jax.vmap(act, (0, None))(c, p["b"])
        return c, r, z, v * r * (1 - r), (before - new) * z * (1 - z)

    def pull(p: PyTree, factors: PyTree, d: jax.Array) -> tuple[jax.Array, PyTree]:
        c, r, z, to_r, to_z = factors
        dc, db = jax.vjp(act, c, p["b"])[1](d * (1 - z))
        drz, dv = side_by_side(dc * to_r, d * to_z), dc * r
        return d * z + MATMUL.transpose(p["u"], side_by_side(drz, dv)), (drz, dv, dc, db)

    def prepare(_: None, w: PyTree, bias: None) -> PyTree:
        return {"u": with_transpose(side_by_side(w["v"], w["u"])), "b": w["b"]}

    return Rule(prepare, step, pre, factors, pull)


def _every_step(b: jax.Array, zs: jax.Array) -> jax.Array:
    """Repeats b for each step, so that its cotangents have the shape of those of a pre-activation."""
    return jnp.broadcast_to(b, (len(zs), *b.shape))


class Plan(NamedTuple):
    """The rule that runs a window, and the length of its pieces as a function of its number of steps."""

    rule: Rule
    length: Callable[[int], int] = piece_length


def _identity_output(carry: PyTree) -> PyTree:
    """Returns the carry unchanged, for cells whose carry is the state."""
    return carry


def fast_window(
    cell: Cell,
    plan: Callable[[int], Plan],
    state: Callable[[PyTree], jax.Array] = _identity_output,
    carry_of: Callable[[jax.Array], PyTree] = _identity_output,
) -> Step:
    """Returns the window of a core that runs by a rule, in at least single precision for any input.

    Args:
      cell: the core; the rule must be equivalent to its step.
      plan: number of steps of a window -> `Plan`.
      state: carry of the cell -> carry of the rule.
      carry_of: carry of the rule -> carry of the cell.
    """

    def window(w: PyTree, carry: PyTree, xs: PyTree, keys: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        x = first_step_shape(without_marks(xs))
        jax.eval_shape(cell.step, w, carry, x)  # raises the errors of the step
        start, carry = state(cell.initial_carry(w, x)), state(carry)
        w, start, carry, inputs = jax.tree.map(at_least_single, (w, start, carry, without_marks(xs)))
        rule, length = plan(num_steps(inputs))
        s = xs._replace(x=inputs) if isinstance(xs, Seq) else inputs
        h, ys = window_(rule, cell, rule.prepare(None, w, None), start, carry, s, length)
        hs = without_marks(ys).astype(x.dtype)
        return carry_of(h.astype(x.dtype)), xs._replace(x=hs) if isinstance(xs, Seq) else hs

    return window
