"""Turns sequences of different lengths into rectangular arrays: padded, packed, or bucketed by length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnjax.base import Seq, UserError, check_size
from rnnjax.base._arguments import check_array, check_list
from rnnjax.data._batch import Batch


def padded(xs: Sequence[np.ndarray], steps: int = 0) -> Seq:
    """Pads sequences to one length, one sequence per row.

    Args:
      xs: arrays `[T_i, ...]`; T_i may be 0.
      steps: length of a row; 0 for the length of the longest sequence.

    Returns:
      a `Seq` of x `[n, T, ...]`, zero where not valid, and valid `[n, T]`.

    Raises:
      UserError: a sequence is longer than a row.

    Example:
      >>> import numpy as np
      >>> seq = padded([np.array([1, 2, 3]), np.array([4])])
      >>> print(seq.x, seq.valid.sum(1))
      [[1 2 3] [4 0 0]] [3 1]
    """
    check_size("padded: steps", steps, 0)
    xs = _sequences("padded: xs", xs)
    lengths = np.array([len(x) for x in xs])
    steps = steps or max(1, int(lengths.max()))
    if lengths.max() > steps:
        raise UserError(f"sequence {lengths.argmax() + 1} has {lengths.max()} steps, and a row {steps}")
    x = np.zeros((len(xs), steps, *xs[0].shape[1:]), np.result_type(*([a for a in xs if a.size] or xs)))
    valid = np.arange(steps) < lengths[:, None]
    x[valid] = np.concatenate(xs)
    return Seq(x, valid)


def packed(xs: Sequence[np.ndarray], ys: Sequence[np.ndarray], steps: int) -> Batch:
    """Packs sequences with a target at each step into shared rows: less padding, the same losses.

    `first` marks the beginning of each sequence. The longest sequences are placed first, each in the fullest row that
    it fits.

    Args:
      xs, ys: arrays `[T_i, ...]`, pairwise of the same length.
      steps: length of a row.

    Raises:
      UserError: a sequence is longer than a row.

    Example:
      >>> import numpy as np
      >>> xs = [np.array([1, 2]), np.array([3, 4, 5]), np.array([6])]
      >>> batch = packed(xs, xs, steps=4)
      >>> print(batch.x.x, batch.x.first.astype(int))
      [[3 4 5 6] [1 2 0 0]] [[1 0 0 1] [1 0 0 0]]
    """
    check_size("packed: steps", steps)
    xs, ys = _sequences("packed: xs", xs), _sequences("packed: ys", ys)
    if [len(x) for x in xs] != [len(y) for y in ys]:
        raise UserError(
            f"packed: a target for each step is wanted, got xs of {[len(x) for x in xs][:5]} steps and ys of "
            f"{[len(y) for y in ys][:5]}"
        )
    rows = _best_fit([len(x) for x in xs], steps)
    begins = [np.eye(1, len(x), dtype=bool)[0] for x in xs]

    def joined(arrays: Sequence[np.ndarray]) -> Seq:
        return padded([np.concatenate([arrays[i] for i in row]) for row in rows], steps)

    x = joined(xs)
    return Batch(x._replace(first=joined(begins).x), joined(ys).x)


def _sequences(what: str, xs: Any) -> list[np.ndarray]:
    """Returns sequences `[T_i, ...]` as arrays with the same features.

    Raises:
      UserError: there is none, one has no time axis, or their features differ.
    """
    check_list(what, xs, some=True)
    arrays = [np.asarray(check_array(what, x, holds="number")) for x in xs]
    for i, x in enumerate(arrays):
        if not x.ndim or x.shape[1:] != arrays[0].shape[1:]:
            shapes = f"{list(x.shape)}, and the first is {list(arrays[0].shape)}"
            raise UserError(f"{what} are arrays [T_i, ...] with the same features: sequence {i + 1} is {shapes}")
    return arrays


def _best_fit(lengths: Sequence[int], steps: int) -> list[list[int]]:
    """Assigns sequences to rows by best fit, longest first."""
    rows: list[list[int]] = []
    by_room: dict[int, list[int]] = {}
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        n = lengths[i]
        if n > steps:
            raise UserError(f"sequence {i + 1} has {n} steps, and a row {steps}")
        room = next((r for r in range(n, steps + 1) if by_room.get(r)), None)
        row = len(rows) if room is None else by_room[room].pop()
        rows += [[]] * (room is None)
        rows[row] = [*rows[row], i]
        by_room.setdefault((steps if room is None else room) - n, []).append(row)
    return rows


def split_long(xs: Sequence[np.ndarray], steps: int) -> list[np.ndarray]:
    """Splits sequences into pieces of at most `steps` steps, of lengths as equal as possible.

    Example:
      >>> import numpy as np
      >>> [len(x) for x in split_long([np.zeros(7), np.zeros(3)], 5)]
      [4, 3, 3]
    """
    check_list("split_long: xs", xs)
    check_size("split_long: steps", steps)
    if any(not np.ndim(x) for x in xs):
        raise UserError("split_long: xs are arrays [T_i, ...], got a single number among them")
    return [piece for x in xs for piece in np.array_split(x, max(1, -(-len(x) // steps)))]


def bucketed_batches(lengths: Sequence[int], batch_size: int, seed: int = 0, epoch: int = 0) -> list[np.ndarray]:
    """Returns the batches of an epoch, each with similar lengths: little padding, random order, every sequence once.

    This is a pure function of the seed and the epoch, so a checkpoint only needs (epoch, batches done). Each length of
    a padded batch compiles a program, so use few different `steps` in `padded`.

    Args:
      lengths: of the sequences.
      batch_size: sequences per batch; the last batch has the remainder.
      seed, epoch: determine the order.

    Returns:
      indices of the sequences, one array per batch.

    Example:
      >>> sorted(sorted(batch.tolist()) for batch in bucketed_batches([5, 1, 4, 2], batch_size=2))
      [[0, 2], [1, 3]]
    """
    sizes = _checked_lengths("bucketed_batches: lengths", lengths)
    for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0), ("epoch", epoch, 0)):
        check_size(f"bucketed_batches: {name}", value, least)
    rng = np.random.default_rng([seed, epoch])
    mixed = rng.permutation(len(sizes))  # so that ties are ordered differently in each epoch
    order = mixed[np.argsort(sizes[mixed], kind="stable")]
    batches = np.split(order, range(batch_size, len(order), batch_size))
    return [batches[i] for i in rng.permutation(len(batches))]


def _checked_lengths(what: str, lengths: Any) -> np.ndarray:
    """Returns lengths as integers from 0."""
    given = np.zeros(0, int) if isinstance(lengths, list | tuple) and not lengths else lengths
    found = np.asarray(check_array(what, given, "[n]", "integer"))
    if (found < 0).any():
        raise ValueError(f"{what} are from 0, got {found.min()}")
    return found


def within_length(lengths: Sequence[int], steps: int) -> tuple[np.ndarray, int]:
    """Returns the indices of sequences of at most `steps` steps, and the number of others; report that number.

    Example:
      >>> within_length([3, 9, 5], 5)
      (array([0, 2]), 1)
    """
    sizes = _checked_lengths("within_length: lengths", lengths)
    check_size("within_length: steps", steps, 0)
    kept = np.flatnonzero(sizes <= steps)
    return kept, len(sizes) - len(kept)
