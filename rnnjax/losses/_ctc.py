"""Connectionist temporal classification, which learns labels in order without their timing: loss and error rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from rnnjax.base import PyTree, Seq, check_size, without_marks
from rnnjax.base._arguments import check_array, check_is, check_list
from rnnjax.base._numerics import at_least_int32, at_least_single
from rnnjax.data import Batch
from rnnjax.decoding import best_path
from rnnjax.decoding._ctc import checked_frames
from rnnjax.losses._losses import Mean, Metrics, check_floats
from rnnjax.losses._unread import zero_where

# The log-probability of an impossible symbol. It is finite, so that 0 * inf never occurs, and exceeds in nats the cost
# of the path of any target: the recursion below starts impossible states at 100,000.
_UNHEARD_OF, _NO_PATH = -1e30, 5e4


def frames_needed(labels: jax.Array) -> jax.Array:
    """Returns the fewest frames that labels need: one each, and a blank between two equal neighbours.

    Args:
      labels: integers `[N]` from 1, then zeros.

    Example:
      >>> import jax.numpy as jnp
      >>> print(frames_needed(jnp.array([3, 3, 1, 0, 0])))
      4
    """
    labels = _check_integers("frames_needed", labels)
    there = labels != 0
    return (there.sum() + (there[1:] & (labels[1:] == labels[:-1])).sum()).astype(jnp.int32)


def _check_integers(name: str, labels: Any) -> jax.Array:
    """Returns labels, and refuses what is not a row of integers."""
    given = labels if hasattr(labels, "dtype") else np.zeros(0, int) if labels in ([], ()) else labels
    array = check_array(f"{name}: labels", given, holds="number")
    if not jnp.issubdtype(array.dtype, jnp.integer) or array.ndim != 1:
        raise ValueError(f"{name} takes labels that are integers [N], got {array.dtype} {list(array.shape)}")
    return at_least_int32(jnp.asarray(array))


def ctc(logits: jax.Array, labels: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """Returns - log p(labels) in nats, summed over all paths that reduce to the labels.

        p(labels) = sum over paths of prod_t softmax(logits_t)[path_t]

    A path reduces to labels by merging repetitions and then dropping the blanks, symbol 0.

    Args:
      logits: `[T, 1 + labels]`, in floating point; half precision is converted to single.
      labels: integers `[N]` from 1, padded with zeros; an empty target is allowed. A label below 0 is invalid, not
        padding.
      valid: booleans `[T]`; None means that all frames are valid. Invalid frames are skipped, wherever they are.

    Returns:
      `[]`; inf, with a gradient of zero, if there are fewer frames than the labels need, or if a label is invalid:
      below 0, or not below the number of symbols. nan, and so is the gradient, if a valid logit is nan or inf.

    Raises:
      ValueError: logits, labels or valid have another rank, length or dtype.

    Example: one label in two frames: 1 1, 1 blank, blank 1.
      >>> import jax, jax.numpy as jnp
      >>> print(jnp.exp(-jax.jit(ctc)(jnp.log(jnp.array([[0.6, 0.4], [0.6, 0.4]])), jnp.array([1]))).round(4))
      0.64

    Reference: Graves, Fernandez, Gomez, Schmidhuber, Connectionist temporal classification, 2006.
    """
    logits = check_floats("ctc", logits, some=True)
    if jnp.ndim(logits) != 2 or not logits.shape[0]:
        raise ValueError(f"ctc takes logits [T, 1 + labels], T from 1, of one example, got {list(jnp.shape(logits))}")
    labels = _check_integers("ctc", labels)
    there = jnp.ones(logits.shape[0], bool) if valid is None else checked_frames("ctc", valid, logits)
    logits, padding = at_least_single(jnp.where(there[:, None], logits, jnp.zeros_like(logits))), labels == 0
    fit = jnp.isfinite(logits.max())
    log_p = jax.nn.log_softmax(zero_where(~fit, logits))
    never = jnp.isneginf(log_p)
    with jax.numpy_dtype_promotion("standard"):  # optax does not support strict promotion
        nats = optax.ctc_loss(
            jnp.where(never, _UNHEARD_OF, log_p)[None],
            (~there)[None].astype(logits.dtype),
            labels[None],
            padding[None].astype(logits.dtype),
        )[0]
    symbols = ((labels >= 0) & (labels < logits.shape[-1])).all() & ~(padding[:-1] & ~padding[1:]).any()
    possible = symbols & (frames_needed(labels) <= there.sum()) & ~(never.any() & (nats > _NO_PATH))
    return (jnp.where(possible | ~fit, nats, jnp.inf) + jnp.where(fit, 0.0, jnp.nan)).astype(logits.dtype)


def label_ctc(outputs: PyTree, batch: Batch) -> Metrics:
    """The objective of predicting labels in order, for one example.

    Metrics are "loss", nats per target; "label_error", the edit distance between best path and target divided by the
    number of labels; and "too_long", the fraction of targets that have too few frames or an invalid label. Those
    targets count in no other metric, and the network does not train on them. A logit that is nan makes the first two
    nan.

    Args:
      outputs: logits `[T, 1 + labels]`, plain or a `Seq`.
      batch: with targets y, integers `[N]` from 1, padded with zeros, and a mask `[]`: whether the example counts.

    Example: the second target needs three frames.
      >>> import jax, jax.numpy as jnp
      >>> objective = jax.jit(label_ctc)
      >>> metrics = objective(jnp.zeros((2, 3)), Batch(x=None, y=jnp.array([1, 2])))
      >>> print(metrics["loss"].value().round(4), metrics["too_long"].value())  # ln 9
      2.1972 0.0
      >>> print(objective(jnp.zeros((2, 3)), Batch(x=None, y=jnp.array([1, 1])))["loss"].weight)
      0.0
    """
    check_is("label_ctc: batch", batch, Batch)
    logits, valid = without_marks(outputs), outputs.valid if isinstance(outputs, Seq) else None
    labels = _check_integers("label_ctc", batch.y)
    there = jnp.asarray(True) if batch.mask is None else batch.mask
    nats = ctc(logits, labels, valid)
    fits = ~jnp.isposinf(nats)  # nan comes from the logits, not the target: it reaches the loss
    said, n = best_path(logits, valid)
    wrong = edit_distance(labels, said, (labels != 0).sum(), n).astype(nats.dtype)
    wrong = jnp.where(jnp.isnan(nats), nats, wrong)

    def counted(value: jax.Array, weight: jax.Array, of: jax.Array) -> Mean:
        return Mean(*(jnp.where(of, v, jnp.zeros_like(v)).astype(nats.dtype) for v in (value, weight)))

    one = jnp.ones_like(nats)
    return {
        "loss": counted(nats, one, there & fits),
        "label_error": counted(wrong, (labels != 0).sum(), there & fits),
        "too_long": counted(~fits, one, there),
    }


def edit_distance(a: jax.Array, b: jax.Array, n: jax.Array, m: jax.Array) -> jax.Array:
    """Returns the fewest insertions, deletions and substitutions that turn the first n of a into the first m of b.

    Args:
      a, b: integers `[N]` and `[M]`; faster with the shorter one first.
      n, m: `[]`, the number of symbols in each.

    Returns:
      integers `[]`

    Raises:
      ValueError: a or b are not integers, or n or m, where known, are not from 0 to the length.

    Example:
      >>> import jax.numpy as jnp
      >>> word = lambda text: jnp.array([ord(c) for c in text])
      >>> print(edit_distance(word("kitten"), word("sitting"), 6, 7))
      3

    Reference: Levenshtein, Binary codes capable of correcting deletions, insertions, and reversals, 1966.
    """
    a, b = (_check_integers("edit_distance", symbols) for symbols in (a, b))
    n, m = (_check_count(f"edit_distance: {name}", k, of) for name, k, of in (("n", n, a), ("m", m, b)))
    at = jnp.arange(b.shape[0] + 1, dtype=jnp.int32)

    def body(row: jax.Array, here: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        symbol, i = here
        changed = row[:-1] + (b != symbol).astype(row.dtype)
        without = jnp.concatenate([row[:1] + 1, jnp.minimum(changed, row[1:] + 1)])
        # Insertions: the minimum of without[k] + (j - k) over k <= j.
        after = lax.cummin(without - at) + at
        return jnp.where(i < n, after, row), None

    row, _ = lax.scan(body, at, (a, jnp.arange(a.shape[0])))
    return row[m]


def _check_count(what: str, n: Any, symbols: jax.Array) -> Any:
    """Returns how many symbols count, and refuses a number of them that there are not."""
    if not isinstance(n, jax.core.Tracer):
        array = check_array(what, n, "[]", "integer")
        if not 0 <= int(array) <= symbols.shape[0]:
            raise ValueError(f"{what} is from 0 to {symbols.shape[0]}, got {int(array)}")
    return n


def check_lengths(
    frames: Sequence[int], labels: Sequence[np.ndarray], names: Sequence[str], symbols: int | None = None
) -> None:
    """Refuses data with a target that needs more frames than there are, or that has an invalid label.

    Args:
      frames: number of frames of each example, as the loss sees them.
      labels: of each example, from 1.
      names: of each example, for the message.
      symbols: number of logits, including the blank; None if unknown, then labels are only checked to be at least 1.

    Raises:
      ValueError: names the first such example, or one whose labels are not integers; or the lists differ in length.

    Example:
      >>> import numpy as np
      >>> check_lengths([3], [np.array([1, 1, 2])], ["a.wav"])
      Traceback (most recent call last):
      ValueError: a.wav: 3 labels need 4 frames (one each, a blank between two alike), and there are 3
    """
    for what, value in (("frames", frames), ("labels", labels), ("names", names)):
        check_list(f"check_lengths: {what}", value)
    if not len(frames) == len(labels) == len(names):
        raise ValueError(f"check_lengths: {len(frames)} frames, {len(labels)} labels and {len(names)} names: one each")
    if symbols is not None:
        check_size("check_lengths: symbols", symbols)
    for n, y, name in zip(frames, labels, names):
        check_size(f"{name}: the number of frames", n, 0)
        y = check_array(f"{name}: labels", y, "[N]", "number")
        if not np.issubdtype(np.asarray(y).dtype, np.integer):
            raise ValueError(f"{name}: labels are integers, got {np.asarray(y).dtype}")
        wrong = y[(y < 1) | (y >= (np.inf if symbols is None else symbols))]
        if len(wrong):
            upto = "" if symbols is None else f" to {symbols - 1}"
            raise ValueError(f"{name}: label {wrong[0]} is not a symbol: labels are from 1{upto}, and 0 is the blank")
        need = len(y) + int((y[1:] == y[:-1]).sum())
        if need > n:
            raise ValueError(
                f"{name}: {len(y)} labels need {need} frames (one each, a blank between two alike), and there are {n}"
            )
