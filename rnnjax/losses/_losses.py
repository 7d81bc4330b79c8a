"""Losses of one step, none of them reduced, and the means that add up over steps, windows, examples and devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rnnjax.base import PyTree, Seq, without_marks
from rnnjax.data import Batch


class Mean(NamedTuple):
    """A mean kept as its two sums, so that means of parts add up to the mean of the whole.

    Attributes:
      total: sum of the values that count.
      weight: how many there are.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> a, b = mean(jnp.array([1.0, 2.0])), mean(jnp.array([6.0]))
      >>> float(jax.tree.map(jnp.add, a, b).value())
      3.0
    """

    total: jax.Array
    weight: jax.Array

    def value(self) -> jax.Array:
        """total / weight; nan where nothing counts."""
        return self.total / self.weight


Metrics = dict[str, Mean]


Objective = Callable[[PyTree, Batch], Metrics]


def mean(values: jax.Array, mask: jax.Array | None = None) -> Mean:
    """The mean of the values that count. What is masked is never read: nan and inf there do no harm.

    Args:
      values: of any shape.
      mask: booleans, broadcast against the leading axes of the values; None: all count.

    Example:
      >>> import jax.numpy as jnp
      >>> float(mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([True, True, False])).value())
      2.0
    """
    if mask is None:
        return Mean(values.sum(), jnp.full((), values.size, values.dtype))
    mask = jnp.broadcast_to(jnp.reshape(mask, mask.shape + (1,) * (values.ndim - mask.ndim)), values.shape)
    return Mean(jnp.where(mask, values, jnp.zeros_like(values)).sum(), mask.sum().astype(values.dtype))


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """- log softmax(logits)[label], in nats.

    Args:
      logits: `[..., classes]`.
      labels: integers `[...]`.

    Returns:
      `[...]`

    Example:
      >>> import jax.numpy as jnp
      >>> print(cross_entropy(jnp.zeros(8), jnp.int32(3)).round(4))  # ln 8
      2.0794
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def binary_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """- y log p - (1 - y) log(1 - p) with p = sigmoid(logit), in nats, elementwise.

    Example:
      >>> import jax.numpy as jnp
      >>> print(binary_cross_entropy(jnp.float32(0), jnp.float32(1)).round(4))  # ln 2
      0.6931
    """
    known, unknown = _split_nonfinite(labels)
    return optax.sigmoid_binary_cross_entropy(logits, known) + unknown


def squared_error(y: jax.Array, target: jax.Array) -> jax.Array:
    """(y - target)^2, elementwise, without a factor of one half.

    Example:
      >>> import jax.numpy as jnp
      >>> float(squared_error(jnp.float32(3), jnp.float32(1)))
      4.0
    """
    known, unknown = _split_nonfinite(target)
    return jnp.square(y - known) + unknown


def _split_nonfinite(target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Targets with zeros for nan and inf, and what to add to a loss so that it is nan or inf there all the same.

    A masked loss has a cotangent of zero, and zero times the derivative at a target of nan would be nan.
    """
    finite = jnp.isfinite(target)
    return jnp.where(finite, target, jnp.zeros_like(target)), jnp.where(finite, jnp.zeros_like(target), jnp.abs(target))


def counted_mask(outputs: PyTree, batch: Batch) -> jax.Array | None:
    """Where a target counts: by the batch's mask, and where the output is of a valid step.

    Example:
      >>> outputs = Seq(jnp.zeros((3, 2)), valid=jnp.array([True, True, False]))
      >>> print(counted_mask(outputs, Batch(None, jnp.zeros(3), mask=jnp.array([False, True, True]))))
      [False  True False]
    """
    valid = outputs.valid if isinstance(outputs, Seq) else None
    if batch.mask is None or valid is None:
        return batch.mask if valid is None else valid
    return jnp.logical_and(batch.mask, valid)


def classify(outputs: PyTree, batch: Batch) -> Metrics:
    """The objective of classifying each step: cross-entropy in nats ("loss") and accuracy, of one example.

    Args:
      outputs: logits `[T, classes]`, plain or a `Seq`.
      batch: with targets y, integers `[T]`.

    Example:
      >>> import jax.numpy as jnp
      >>> metrics = classify(jnp.eye(2), Batch(x=None, y=jnp.array([0, 0])))
      >>> float(metrics["accuracy"].value())
      0.5
    """
    logits, mask = without_marks(outputs), counted_mask(outputs, batch)
    right = (logits.argmax(-1) == batch.y).astype(logits.dtype)
    return {"loss": mean(cross_entropy(logits, batch.y), mask), "accuracy": mean(right, mask)}


def regress(outputs: PyTree, batch: Batch) -> Metrics:
    """The objective of fitting each step: mean squared error over steps and features ("loss"), of one example.

    Example:
      >>> import jax.numpy as jnp
      >>> float(regress(jnp.ones((3, 1)), Batch(x=None, y=jnp.zeros((3, 1))))["loss"].value())
      1.0
    """
    return {"loss": mean(squared_error(without_marks(outputs), batch.y), counted_mask(outputs, batch))}
