"""Unreduced losses of one step, and means that can be summed over steps, windows, examples and devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from rnnjax.base import PyTree, Seq, without_marks
from rnnjax.base._arguments import check_array, check_is
from rnnjax.base._numerics import at_least_int32, at_least_single
from rnnjax.data import Batch
from rnnjax.losses._unread import zero_where


class Mean(NamedTuple):
    """A mean stored as two sums, so that the means of parts add up to the mean of the whole.

    Attributes:
      total: sum of the values that count.
      weight: number of values that count.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> a, b = mean(jnp.array([1.0, 2.0])), mean(jnp.array([6.0]))
      >>> float(jax.tree.map(jnp.add, a, b).value())
      3.0
    """

    total: jax.Array
    weight: jax.Array

    def value(self) -> jax.Array:
        """Returns total / weight; nan if nothing counts."""
        return self.total / self.weight


Metrics = dict[str, Mean]


Objective = Callable[[PyTree, Batch], Metrics]


def mean(values: jax.Array, mask: jax.Array | None = None) -> Mean:
    """Returns the mean of the values that count. Masked values are never read, so nan and inf there are harmless.

    Both sums are at least in float32: in half precision, a sum stops growing after some hundred terms.

    Args:
      values: of any shape.
      mask: booleans, whose axes are the leading axes of the values; None means that all count.

    Raises:
      ValueError: the mask is not boolean, or its shape is not that of the leading axes.

    Example:
      >>> import jax.numpy as jnp
      >>> float(mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([True, True, False])).value())
      2.0
    """
    values = _in_floats(check_array("mean: values", values, holds="number"))
    if mask is None:
        return Mean(values.sum(), jnp.full((), values.size, values.dtype))
    mask = jnp.asarray(check_array("mean: mask", mask, holds="number"))
    if mask.dtype != bool or mask.shape != values.shape[: mask.ndim]:
        raise ValueError(
            f"a mask of values {list(values.shape)} is boolean, of the shape of their leading axes, "
            f"got {mask.dtype} {list(mask.shape)}"
        )
    mask = jnp.broadcast_to(jnp.reshape(mask, mask.shape + (1,) * (values.ndim - mask.ndim)), values.shape)
    return Mean(jnp.where(mask, values, jnp.zeros_like(values)).sum(), mask.sum().astype(values.dtype))


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns - log softmax(logits)[label], in nats.

    Args:
      logits: `[..., classes]`; half precision is converted to single.
      labels: integers `[...]`. A label that is not a class, below 0 or too large, has a loss and a gradient of nan; use
        `mean` with a mask to leave out labels that stand for padding.

    Returns:
      `[...]`

    Raises:
      ValueError: the logits are not in floating point, labels are not integers, or their shape does not match.

    Example:
      >>> import jax.numpy as jnp
      >>> print(cross_entropy(jnp.zeros(8), jnp.int32(3)).round(4))  # ln 8
      2.0794
    """
    logits = check_floats("cross_entropy", logits, some=True)
    labels = check_array("cross_entropy: labels", labels, holds="number")
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer) or jnp.shape(labels) != jnp.shape(logits)[:-1]:
        raise ValueError(
            f"cross_entropy of logits {list(jnp.shape(logits))} takes integer labels {list(jnp.shape(logits)[:-1])}, "
            f"got {jnp.result_type(labels)} {list(jnp.shape(labels))}"
        )
    logits, labels = at_least_single(logits), at_least_int32(jnp.asarray(labels))
    fit = jnp.isfinite(logits.max(-1)) & (labels >= 0) & (labels < logits.shape[-1])
    known = zero_where(~fit[..., None], logits)
    nats = optax.softmax_cross_entropy_with_integer_labels(known, jnp.where(fit, labels, jnp.zeros_like(labels)))
    return nats + jnp.where(fit, jnp.zeros_like(nats), jnp.full_like(nats, jnp.nan))


def check_floats(name: str, logits: Any, some: bool = False) -> jax.Array:
    """Returns logits, and refuses what is not in floating point, such as predicted classes.

    Args:
      name: of the loss, for the message.
      logits: an array or a list.
      some: whether there is an axis of symbols, with at least one.

    Raises:
      ValueError: they are integers, booleans or complex numbers, or have no symbols.

    Example:
      >>> check_floats("ctc", np.array([[0, 1]], np.int32))
      Traceback (most recent call last):
      ValueError: ctc takes logits in floating point, got int32 [1, 2]
    """
    array = check_array(f"{name}: logits", logits, holds="number")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} takes logits in floating point, got {array.dtype} {list(array.shape)}")
    if some and (not array.ndim or not array.shape[-1]):
        raise ValueError(f"{name} takes logits [..., symbols], got {list(array.shape)}")
    return jnp.asarray(array)


def binary_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Returns - y log p - (1 - y) log(1 - p) with p = sigmoid(logit), in nats, elementwise, at least in float32.

    A label y outside [0, 1] is no probability: its loss is nan.

    Raises:
      ValueError: logits and labels have different shapes, or the logits are not in floating point.

    Example:
      >>> import jax.numpy as jnp
      >>> print(binary_cross_entropy(jnp.float32(0), jnp.float32(1)).round(4))  # ln 2
      0.6931
    """
    logits = check_floats("binary_cross_entropy", logits)
    labels = check_array("binary_cross_entropy: labels", labels)
    _check_same_shape("binary_cross_entropy", logits, labels)
    labels, logits = _in_floats(labels), _in_floats(logits)
    odd = jnp.isfinite(labels) & ((labels < 0) | (labels > 1))
    unknown = _fault(jnp.where(odd, jnp.full_like(labels, jnp.nan), labels))
    known = jnp.where(unknown == 0, labels, jnp.zeros_like(labels))
    agreed = jnp.isinf(logits) & (known == (logits > 0).astype(known.dtype))  # no loss, and no slope
    fault = unknown + _fault(jnp.where(agreed, jnp.zeros_like(logits), logits))
    z = zero_where(fault != 0, jnp.where(agreed, jnp.zeros_like(logits), logits))
    known = jnp.where(fault != 0, jnp.ones_like(known), known)  # a label of one half would have no slope at zero
    nats = optax.sigmoid_binary_cross_entropy(z, known)
    return jnp.where(agreed, jnp.zeros_like(nats), nats) + fault


def squared_error(y: jax.Array, target: jax.Array) -> jax.Array:
    """Returns (y - target)^2, elementwise, without a factor of one half, at least in float32.

    Raises:
      ValueError: y and target have different shapes, so that broadcasting would pair each with all, or are complex.

    Example:
      >>> import jax.numpy as jnp
      >>> float(squared_error(jnp.float32(3), jnp.float32(1)))
      4.0
    """
    y, target = check_array("squared_error: y", y), check_array("squared_error: target", target)
    _check_same_shape("squared_error", y, target)
    y, target = _in_floats(y), _in_floats(target)
    fault = _fault(jnp.square(y - target))
    said, known = (zero_where(fault != 0, a) for a in (y, target))
    unread = (fault != 0).astype(fault.dtype)  # one: a square of zero would have no slope
    return jnp.square(said - known + unread) + fault


def _in_floats(x: jax.Array) -> jax.Array:
    """Returns numbers in floating point, at least in single precision: sums and squares of integers would wrap."""
    x = jnp.asarray(x)
    return at_least_single(x) if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.float32)


def _check_same_shape(name: str, y: jax.Array, target: jax.Array) -> None:
    if jnp.shape(y) != jnp.shape(target):
        raise ValueError(f"{name} of {list(jnp.shape(y))} takes targets of that shape, got {list(jnp.shape(target))}")


def _fault(x: jax.Array) -> jax.Array:
    """Returns what to add to a loss that could not be read: the modulus where x is nan or inf, and zero elsewhere."""
    return lax.stop_gradient(jnp.where(jnp.isfinite(x), jnp.zeros_like(x), jnp.abs(x)))


def counted_mask(outputs: PyTree, batch: Batch) -> jax.Array | None:
    """Returns where a target counts: the batch's mask is true and the step of the output is valid.

    Example:
      >>> outputs = Seq(jnp.zeros((3, 2)), valid=jnp.array([True, True, False]))
      >>> print(counted_mask(outputs, Batch(None, jnp.zeros(3), mask=jnp.array([False, True, True]))))
      [False  True False]
    """
    check_is("an objective's batch", batch, Batch)
    valid = outputs.valid if isinstance(outputs, Seq) else None
    if batch.mask is None or valid is None:
        return batch.mask if valid is None else valid
    return jnp.logical_and(batch.mask, valid)


def classify(outputs: PyTree, batch: Batch) -> Metrics:
    """The objective of classifying each step: cross-entropy in nats ("loss") and accuracy, for one example.

    Both are nan if a logit is nan. The loss is nan if a label that counts is not a class.

    Args:
      outputs: logits `[T, classes]`, plain or a `Seq`.
      batch: with targets y, integers `[T]`.

    Raises:
      ValueError: a label that counts is not a class; only checked when its value is known (not under jit).

    Example:
      >>> import jax.numpy as jnp
      >>> metrics = classify(jnp.eye(2), Batch(x=None, y=jnp.array([0, 0])))
      >>> float(metrics["accuracy"].value())
      0.5
    """
    logits, mask = check_floats("classify", without_marks(outputs), some=True), counted_mask(outputs, batch)
    nats = mean(cross_entropy(logits, batch.y), mask)
    _check_labels(batch.y, mask, logits.shape[-1])
    right = at_least_single((logits.argmax(-1) == at_least_int32(jnp.asarray(batch.y))).astype(logits.dtype))
    right = jnp.where(jnp.isnan(logits).any(-1), jnp.full_like(right, jnp.nan), right)
    return {"loss": nats, "accuracy": mean(right, mask)}


def _check_labels(labels: jax.Array, mask: jax.Array | None, classes: int) -> None:
    """Refuses a label that counts but is not a class, if labels and mask are known."""
    if isinstance(labels, jax.core.Tracer) or isinstance(mask, jax.core.Tracer):
        return
    y = np.asarray(labels)
    wrong = ((y < 0) | (y >= classes)) & (True if mask is None else np.asarray(mask))
    if wrong.any():
        raise ValueError(
            f"classify: a label that counts is from 0 to {classes - 1}, got {np.broadcast_to(y, wrong.shape)[wrong][0]}"
        )


def regress(outputs: PyTree, batch: Batch) -> Metrics:
    """The objective of fitting each step: mean squared error over steps and features ("loss"), for one example.

    Example:
      >>> import jax.numpy as jnp
      >>> float(regress(jnp.ones((3, 1)), Batch(x=None, y=jnp.zeros((3, 1))))["loss"].value())
      1.0
    """
    mask = counted_mask(outputs, batch)
    return {"loss": mean(squared_error(without_marks(outputs), batch.y), mask)}
