"""Outputs that come back: recurrence through what a network said, alone or beside that of its hidden units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from rnnjax.base import Cell, PyTree, check_rate, check_size, stack, wrapper
from rnnjax.base._cell import fold
from rnnjax.base._numerics import as_dtype
from rnnjax.cells._feedforward import linear, pointwise
from rnnjax.cells._linear_recurrence import linear_scan

_FEEDBACK_TAG = 0xFEED
_Form = Callable[[jax.Array | None, jax.Array], jax.Array]


def _sampled(key: jax.Array | None, logits: jax.Array) -> jax.Array:
    """A unit vector drawn with the probabilities of the logits; it has no gradient."""
    if key is None:
        raise ValueError('feedback(form="sample") draws its outputs and needs a key')
    return jax.nn.one_hot(jax.random.categorical(key, logits), logits.shape[-1], dtype=logits.dtype)


_FORMS: dict[str, _Form] = {
    "output": lambda key, y: y,
    "softmax": lambda key, y: jax.nn.softmax(y),
    "sample": _sampled,
}


@wrapper
def feedback(cell: Cell, y0: ArrayLike, form: str | _Form = "output", decay: Any = 0.0) -> Cell:
    """Gives a cell what it said before as further features of its input; context units remember it.

        y_t = cell([x_t, c_t]);   c_{t+1} = decay c_t + form(y_t);   c_1 = y0

    Params are those of the cell: trained on the targets' history (`teacher_forced`) it runs free here. Around a cell
    without memory this is recurrence through the output alone, with decay a Jordan network; around a recurrent one it
    is both. The carry is (carry of the cell, c).

    Args:
      cell: of one step, from `[features of x + features of y]` to y.
      y0: what counts as said before the first step, `[features of y]`.
      form: what comes back: "output" as it is, "softmax" of it, a "sample" of that softmax as a unit vector (which
        needs a key), or a function (key, y) -> `[features of y]`.
      decay: what context units keep of themselves, in [0, 1).

    Example: a sum that is only known from what was said.
      >>> import jax.numpy as jnp, rnnjax
      >>> adder = feedback(rnnjax.pointwise(lambda xy: xy.sum(keepdims=True)), jnp.zeros(1))
      >>> print(rnnjax.run(rnnjax.unroll(adder), (), jnp.ones((4, 1)))[1][:, 0])
      [1. 2. 3. 4.]

    Reference: Jordan, Serial order: a parallel distributed processing approach, 1986.
    """
    check_rate("feedback: decay", decay)
    given = _FORMS[form] if isinstance(form, str) else form
    read = cell.output

    def joined(x: jax.Array, context: Any) -> jax.Array:
        return jnp.concatenate([x, jnp.asarray(context, x.dtype)], -1)

    def initial_carry(w: PyTree, x: jax.Array) -> PyTree:
        wide = jax.eval_shape(joined, x, y0)
        return cell.initial_carry(w, wide), jnp.asarray(y0, x.dtype)

    def step(w: PyTree, carry: PyTree, x: jax.Array, key: jax.Array | None = None) -> tuple[PyTree, jax.Array]:
        inner, y = cell.step(w, carry[0], joined(x, carry[1]), key)
        said = given(fold(key, _FEEDBACK_TAG), y).astype(x.dtype)
        return (inner, as_dtype(decay, x) * carry[1] + said), y

    return Cell(
        lambda key, x: cell.init(key, jax.eval_shape(joined, x, y0)),
        initial_carry,
        step,
        cell.weights,
        output=None if read is None else lambda carry: read(carry[0]),
    )


def teacher_forced(xs: jax.Array, ys: jax.Array, y0: ArrayLike, decay: Any = 0.0) -> jax.Array:
    """The inputs that `feedback(cell, y0, decay=decay)` would see had it said ys: what `unroll(cell)` is trained on.

        [x_t, c_t];   c_{t+1} = decay c_t + y_t;   c_1 = y0

    No step waits for an output, so around a cell without memory a whole window is one matmul a layer.

    Args:
      xs: `[T, features]`.
      ys: targets in the form in which they come back, `[T, features of y]`.
      y0, decay: as those of `feedback`.

    Returns:
      `[T, features + features of y]`

    Example:
      >>> import jax.numpy as jnp
      >>> xs, ys = jnp.zeros((3, 1)), jnp.array([[1.0], [2.0], [3.0]])
      >>> print(teacher_forced(xs, ys, jnp.zeros(1), decay=0.5)[:, 1])
      [0.  1.  2.5]
    """
    check_rate("teacher_forced: decay", decay)
    start = jnp.asarray(y0, xs.dtype)
    kept = jnp.broadcast_to(as_dtype(decay, xs), ys.shape)
    contexts = linear_scan(kept, ys.astype(xs.dtype), start)
    return jnp.concatenate([xs, jnp.concatenate([start[None], contexts[:-1]])], -1)


def jordan(hidden: int, outputs: int | None = None, decay: Any = 0.5, form: str | _Form = "output") -> Cell:
    """The Jordan network, whose only memory is what it said: context units, which feed themselves, and a hidden layer.

        h_t = tanh([x_t, c_t] w + b);   y_t = h_t v + b';   c_{t+1} = decay c_t + form(y_t)

    With decay 0 it is recurrence through the output alone.

    Args:
      hidden: units of the layer, which keeps nothing.
      outputs: features of y; None: as many as hidden units.
      decay, form: of what comes back, see `feedback`.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell, xs = jordan(8, 2), jnp.ones((12, 3))
      >>> (_, context), ys = rnnjax.run(rnnjax.unroll(cell), cell.init(jax.random.key(0), xs[0]), xs)
      >>> context.shape, ys.shape
      ((2,), (12, 2))

    Reference: Jordan, Serial order: a parallel distributed processing approach, 1986.
    """
    check_size("jordan: hidden", hidden)
    if outputs is not None:
        check_size("jordan: outputs", outputs)
    said = hidden if outputs is None else outputs
    return feedback(stack(linear(hidden), pointwise(jnp.tanh), linear(said)), jnp.zeros(said), form, decay)
