"""Examples from a user's own arrays, checked and padded."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Seq, UserError
from rnnjax.base._arguments import check_is
from rnnjax.data._batch import Batch
from rnnjax.data._batches import packed, padded


def from_arrays(
    xs: Any, ys: Any, lengths: Any = None, per_step: bool | None = None, steps: int = 0, pack: bool = False
) -> Batch:
    """Returns examples from arrays in memory: NumPy, JAX, PyTorch on the CPU, pandas columns, or lists of them.

    Floats become float32 and integers int32. Sequences of different lengths are padded, or packed into shared rows.
    `shuffled` and `in_order` make streams of the result, and `lengths_of` batches of similar lengths.

    Args:
      xs: inputs `[n, T, features]`, or symbols, integers `[n, T]`; or a list of n arrays `[T_i, ...]`.
      ys: a target for each sequence, `[n]` or `[n, features]`, or for each step, `[n, T, ...]` or a list like xs.
      lengths: integers `[n]`: the steps of each sequence that count, if xs is one array; None: all.
      per_step: whether ys has a target for each step; None: if its second axis is as long as that of xs.
      steps: the length of a row; 0: that of the longest sequence.
      pack: put several sequences into one row, with marks where each begins. This needs targets for each step.

    Returns:
      `Batch` of x, a `Seq` if lengths differ, and y.

    Raises:
      UserError: sizes do not fit together, or something is no array of numbers.

    Example:
      >>> examples = from_arrays(np.ones((3, 5, 2)), np.array([0, 1, 1]), lengths=[5, 2, 4])
      >>> examples.x.x.shape, examples.x.valid.sum(1).tolist(), examples.y.dtype
      ((3, 5, 2), [5, 2, 4], dtype('int32'))
      >>> from_arrays([np.ones((4, 1)), np.ones((2, 1))], [np.zeros((4, 1)), np.zeros((2, 1))], pack=True).x.x.shape
      (2, 4, 1)
      >>> from_arrays(np.ones((3, 5, 2)), np.zeros(4))
      Traceback (most recent call last):
      rnnjax.base.UserError: xs has 3 sequences, and ys 4 targets
    """
    whole = _sequences(xs, "xs")
    x = trim(whole, lengths)
    _check_features(x, xs)
    targets, each = _targets(ys, x, whole, per_step)
    if each:
        _check_steps(x, targets)
    if pack:
        if not each:
            raise UserError("pack=True puts several sequences into a row, so ys needs a target for each step")
        return packed(x, targets, steps or max(map(len, x)))
    uneven = lengths is not None or steps or len({len(a) for a in x}) > 1
    rows = padded(x, steps) if uneven else np.stack(x)
    if each:
        return Batch(rows, padded(targets, steps).x if uneven else np.stack(targets))
    return Batch(rows, np.stack(targets))


def lengths_of(batch: Batch) -> jax.Array:
    """Returns the length of each example, up to its last valid step, `[n]`.

    Example: batches of examples of similar length.
      >>> from rnnjax.data import shuffled
      >>> examples = from_arrays(np.ones((3, 5, 2)), np.array([0, 1, 1]), lengths=[5, 2, 4])
      >>> lengths_of(examples).tolist()
      [5, 2, 4]
      >>> stream = shuffled("train", batch_size=2, length=lengths_of)
    """
    check_is("lengths_of: batch", batch, Batch)
    if not isinstance(batch.x, Seq) or batch.x.valid is None:
        x = batch.x.x if isinstance(batch.x, Seq) else batch.x
        n, steps = jax.tree.leaves(x)[0].shape[:2]
        return jnp.full(n, steps)
    valid = jnp.asarray(batch.x.valid)
    return jnp.where(valid.any(1), valid.shape[1] - jnp.argmax(valid[:, ::-1], axis=1), 0)


def as_numbers(value: Any, what: str) -> np.ndarray:
    """Returns an array of float32 or int32, of whatever becomes one."""
    try:
        if hasattr(value, "detach"):  # a tensor of PyTorch
            value = value.detach().cpu()
        if str(getattr(value, "dtype", "")).endswith("bfloat16"):  # NumPy has none
            value = value.float() if hasattr(value, "float") else value.astype(np.float32)
        masked = np.ma.is_masked(value)
        array = np.asarray(value)
    except Exception as error:  # other libraries raise what they like
        said = str(error).split("\n")[0] or type(error).__name__
        raise UserError(f"{what} is no array: {said}") from error
    if masked:
        raise UserError(f"{what} has masked values, which an array of numbers cannot leave out: fill them in")
    if array.dtype.kind not in "fiub":
        hint = ", data.Vocabulary encodes words" if array.dtype.kind in "USO" else ""
        raise UserError(f"{what} holds {array.dtype}, not numbers{hint}")
    if array.dtype.kind in "iu" and array.size and max(abs(int(array.min())), abs(int(array.max()))) >= 2**31:
        raise UserError(f"{what} holds integers of more than 31 bits")
    with np.errstate(over="ignore"):
        found = array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
    if array.dtype.kind == "f" and not np.array_equal(np.isinf(found), np.isinf(array)):
        raise UserError(f"{what} holds {array[np.isinf(found) & ~np.isinf(array)][0]:g}, too large for float32")
    return found


def _sequences(values: Any, what: str) -> list[np.ndarray]:
    """Returns a list of arrays, of one array or of anything that yields arrays."""
    regular = hasattr(values, "shape") and getattr(values, "ndim", 0) > 1
    if not regular and (isinstance(values, (str, bytes)) or not hasattr(values, "__iter__")):
        raise UserError(f"{what} is a {type(values).__name__}, not an array or a list of arrays")
    if not regular:
        values = list(values)
        parts = [as_numbers(value, f"{what}[{i}]") for i, value in enumerate(values)]
    else:
        parts = list(as_numbers(values, what))
    if not parts:
        raise UserError(f"{what} is empty")
    if parts[0].ndim == 0:
        raise UserError(f"{what} has one axis: it needs sequences, each an array, and steps")
    odd = next((i for i, a in enumerate(parts) if a.shape[1:] != parts[0].shape[1:] or a.dtype != parts[0].dtype), None)
    if odd is not None:
        first, other = (f"{a.dtype} {['T', *a.shape[1:]]}".replace("'", "") for a in (parts[0], parts[odd]))
        raise UserError(f"{what}[0] is {first}, and {what}[{odd}] {other}")
    return parts


def trim(x: list[np.ndarray], lengths: Any) -> list[np.ndarray]:
    """Returns sequences cut to their lengths, all of them if these are None.

    Raises:
      UserError: lengths are not an integer for each, or a sequence has fewer steps.

    Example:
      >>> [len(a) for a in trim([np.ones(3), np.ones(4)], [2, 4])]
      [2, 4]
    """
    if lengths is None:
        return x
    truths = _kind(lengths) == "b" or (isinstance(lengths, list) and any(isinstance(n, bool) for n in lengths))
    counts = as_numbers(lengths, "lengths")
    if truths or counts.dtype != np.int32 or counts.shape != (len(x),):
        form = f"{'bool' if truths else counts.dtype} {list(counts.shape)}"
        raise UserError(f"lengths is {form}, and xs has {len(x)} sequences: int [{len(x)}]")
    wrong = next((i for i, (n, a) in enumerate(zip(counts, x)) if not 0 <= n <= len(a)), None)
    if wrong is not None:
        raise UserError(f"lengths[{wrong}] is {counts[wrong]}, and xs[{wrong}] has {len(x[wrong])} steps")
    return [a[:n] for a, n in zip(x, counts)]


def _check_features(x: list[np.ndarray], given: Any) -> None:
    if x[0].ndim == 1 and x[0].dtype.kind == "f":
        shape = f"{list(given.shape)}" if hasattr(given, "shape") else f"a list of [{len(x[0])}]"
        raise UserError(f"xs is {shape}: features come last, as in xs[..., None]; symbols are integers")
    if x[0].dtype.kind == "i" and x[0].ndim == 1 and min((int(a.min()) for a in x if a.size), default=0) < 0:
        raise UserError("xs holds negative integers, which are no symbols")
    if not max(map(len, x)):
        raise UserError("all sequences of xs are empty")


def _targets(
    ys: Any, x: list[np.ndarray], whole: list[np.ndarray], per_step: bool | None
) -> tuple[list[np.ndarray], bool]:
    """Returns a target for each sequence, and whether they have an axis of steps."""
    if not hasattr(ys, "__iter__") or isinstance(ys, (str, bytes)):
        raise UserError(f"ys is a {type(ys).__name__}, not an array or a list of targets")
    ys = ys if hasattr(ys, "shape") and _kind(ys) != "O" else list(ys)
    dense = not isinstance(ys, list) or all(np.ndim(y) == 0 for y in ys)
    rows = list(as_numbers(ys, "ys")) if dense else [as_numbers(y, f"ys[{i}]") for i, y in enumerate(ys)]
    if len(rows) != len(x):
        raise UserError(f"xs has {len(x)} sequences, and ys {len(rows)} targets")
    fits = [y.ndim > 0 and len(y) in (len(full), len(a)) for y, full, a in zip(rows, whole, x)]
    if per_step or (per_step is None and all(fits)):
        return [y[: len(a)] if y.ndim and len(y) == len(full) else y for y, full, a in zip(rows, whole, x)], True
    if len({y.shape for y in rows}) > 1:
        raise UserError("ys has targets of different shapes: one for each sequence, or one for each step of it")
    return rows, False


def _kind(array: Any) -> str:
    """Returns the kind of the dtype, "O" for objects; other libraries have dtypes without a kind."""
    return str(getattr(getattr(array, "dtype", None), "kind", ""))


def _check_steps(x: list[np.ndarray], y: list[np.ndarray]) -> None:
    for i, (a, b) in enumerate(zip(x, y)):
        if not b.ndim or len(a) != len(b):
            raise UserError(f"xs[{i}] has {len(a)} steps, and ys[{i}] {len(b) if b.ndim else 'one'}")
        if b.shape[1:] != y[0].shape[1:]:
            raise UserError(f"ys[0] is {['T', *y[0].shape[1:]]}, and ys[{i}] {['T', *b.shape[1:]]}".replace("'", ""))
