"""Output feedback: recurrence through a network's outputs, alone or together with its hidden state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from rnnjax.base import Cell, PyTree, check_rate, check_size, factory, stack, wrapper
from rnnjax.base._cell import fold
from rnnjax.base._numerics import as_dtype, at_least_single
from rnnjax.cells._feedforward import linear, pointwise
from rnnjax.cells._linear_scan import linear_scan

_FEEDBACK_TAG = 0xFEED
_Form = Callable[[jax.Array | None, jax.Array], jax.Array]


def _sampled(key: jax.Array | None, logits: jax.Array) -> jax.Array:
    """Draws a unit vector with the probabilities of the logits; it has no gradient."""
    if key is None:
        raise ValueError('feedback(form="sample") is random and needs a key')
    return jax.nn.one_hot(jax.random.categorical(key, at_least_single(logits)), logits.shape[-1], dtype=logits.dtype)


_FORMS: dict[str, _Form] = {
    "output": lambda key, y: y,
    "softmax": lambda key, y: jax.nn.softmax(y),
    "sample": _sampled,
}


@wrapper
def feedback(cell: Cell, y0: ArrayLike, form: str | _Form = "output", decay: Any = 0.0) -> Cell:
    """Adds a cell's previous outputs to its input features, through context units.

        y_t = cell([x_t, c_t]);   c_{t+1} = decay c_t + form(y_t);   c_1 = y0

    The params are those of the cell: trained on the targets' history (`teacher_forced`), it runs freely here. Around a
    cell without memory, the outputs are the only recurrence; with a decay, this is a Jordan network. Around a recurrent
    cell, both recurrences act. The carry is (carry of the cell, c).

    Args:
      cell: a single-step cell, from `[features of x + features of y]` to y.
      y0: the output assumed before the first step, `[features of y]`.
      form: what is fed back: the "output" itself, its "softmax", a "sample" of that softmax as a unit vector (which
        requires a key), or a function (key, y) -> `[features of y]`.
      decay: the fraction of their value that context units keep, in [0, 1).

    Example: a sum that is stored only in the outputs.
      >>> import jax.numpy as jnp, rnnjax
      >>> adder = feedback(rnnjax.pointwise(lambda xy: xy.sum(keepdims=True)), jnp.zeros(1))
      >>> print(rnnjax.run(rnnjax.unroll(adder), (), jnp.ones((4, 1)))[1][:, 0])
      [1. 2. 3. 4.]

    Reference: Jordan, Serial order: a parallel distributed processing approach, 1986.
    """
    check_rate("feedback: decay", decay)
    feed_back = _FORMS[form] if isinstance(form, str) else form
    read = cell.output

    def joined(x: jax.Array, context: Any) -> jax.Array:
        return jnp.concatenate([x, jnp.asarray(context, x.dtype)], -1)

    def initial_carry(w: PyTree, x: jax.Array) -> PyTree:
        wide = jax.eval_shape(joined, x, y0)
        return cell.initial_carry(w, wide), jnp.asarray(y0, x.dtype)

    def step(w: PyTree, carry: PyTree, x: jax.Array, key: jax.Array | None = None) -> tuple[PyTree, jax.Array]:
        inner, y = cell.step(w, carry[0], joined(x, carry[1]), key)
        fed_back = feed_back(fold(key, _FEEDBACK_TAG), y).astype(x.dtype)
        return (inner, as_dtype(decay, x) * carry[1] + fed_back), y

    return Cell(
        lambda key, x: cell.init(key, jax.eval_shape(joined, x, y0)),
        initial_carry,
        step,
        cell.weights,
        output=None if read is None else lambda carry: read(carry[0]),
    )


def teacher_forced(xs: jax.Array, ys: jax.Array, y0: ArrayLike, decay: Any = 0.0) -> jax.Array:
    """Returns the inputs that `feedback(cell, y0, decay=decay)` reads if its outputs are ys, to train `unroll(cell)`.

        [x_t, c_t];   c_{t+1} = decay c_t + y_t;   c_1 = y0

    No step waits for an output, so for a cell without memory a whole window is one matmul per layer.

    Args:
      xs: `[T, features]`.
      ys: the targets, in the form that is fed back, `[T, features of y]`.
      y0, decay: as in `feedback`.

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


@factory
def jordan(hidden: int, outputs: int | None = None, decay: Any = 0.5, form: str | _Form = "output") -> Cell:
    """The Jordan network: a hidden layer and context units, which store only past outputs.

        h_t = tanh([x_t, c_t] w + b);   y_t = h_t v + b';   c_{t+1} = decay c_t + form(y_t)

    With decay 0 the only recurrence is through the last output.

    Args:
      hidden: the number of units of the hidden layer, which has no memory.
      outputs: the number of features of y; None: the number of hidden units.
      decay, form: as in `feedback`.

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
    width = hidden if outputs is None else outputs
    return feedback(stack(linear(hidden), pointwise(jnp.tanh), linear(width)), jnp.zeros(width), form, decay)
