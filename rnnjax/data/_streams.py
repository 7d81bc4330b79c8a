"""Streams of batches from examples in memory, one `Batch`, shuffled or in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import PyTree, Seq, UserError, check_size
from rnnjax.base._arguments import check_array, check_function, check_is, describe_value
from rnnjax.base._numerics import at_least_int32
from rnnjax.data._batch import Batch
from rnnjax.data._stream import Stream


def shuffled(name: str, batch_size: int, length: Callable[[Batch], jax.Array] | None = None) -> Stream:
    """Returns the stream of batches of `data[name]`, a `Batch` of all examples, in a new random order each epoch.

    An epoch has each example at most once; examples that do not fill a batch wait for a later epoch. The position of
    the stream contains the order and the place in it, so a checkpoint stores both.

    Args:
      name: of the examples in the data.
      batch_size: examples per batch.
      length: all examples -> integers `[n]`; if given, batches have examples of similar length and come in random
        order, for `estimators.bucketed`.

    Raises:
      UserError: at the start, if there are fewer examples than the batch size.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> data = {"train": Batch(x=jnp.zeros((3, 5)), y=jnp.arange(3))}
      >>> stream, labels = shuffled("train", batch_size=1), []
      >>> position = stream.init(data)
      >>> for step in range(3):
      ...     batch, position = stream.next(data, position, jax.random.key(step))
      ...     labels += batch.y.tolist()
      >>> sorted(labels)
      [0, 1, 2]
    """

    check_size("shuffled: batch_size", batch_size)
    if length is not None:
        check_function("shuffled: length", length)

    def init(data: PyTree) -> tuple[jax.Array, jax.Array]:
        n = len(part_of(data, name).y)
        if n < batch_size:
            raise UserError(f"a batch takes {batch_size} examples, and there are only {n} to train on")
        return jnp.arange(n, dtype=jnp.int32), jnp.zeros((), jnp.int32)

    def following(
        data: PyTree, position: tuple[jax.Array, jax.Array], key: jax.Array
    ) -> tuple[Batch, tuple[jax.Array, jax.Array]]:
        order, at = position
        n = len(order)

        def anew() -> jax.Array:
            mixed = jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32))
            return mixed if length is None else _similar_lengths_order(mixed, length(data[name]), batch_size, key)

        order = jax.lax.cond(at == 0, anew, lambda: order)
        chosen = jax.lax.dynamic_slice_in_dim(order, at * batch_size, batch_size)
        return gather_examples(data[name], chosen), (order, (at + 1) % (n // batch_size))

    return Stream(init, following)


def _similar_lengths_order(mixed: jax.Array, lengths: jax.Array, batch_size: int, key: jax.Array) -> jax.Array:
    """Returns an order whose batches have similar lengths; the examples that fill no batch come last, unsorted."""
    n = len(mixed) // batch_size
    rows = mixed[: n * batch_size]
    rows = rows[jnp.argsort(lengths[rows], stable=True)].reshape(n, batch_size)
    return jnp.concatenate([jax.random.permutation(jax.random.fold_in(key, 1), rows).ravel(), mixed[n * batch_size :]])


def in_order(name: str, batch_size: int, n: int) -> Stream:
    """Returns a stream with each of the n examples of `data[name]` once; the padding of the last batch is masked.

    Example:
      >>> import jax.numpy as jnp
      >>> data = {"test": Batch(x=jnp.zeros((3, 5)), y=jnp.arange(3))}
      >>> stream = in_order("test", batch_size=2, n=3)
      >>> batch, position = stream.next(data, stream.init(data), None)
      >>> batch, position = stream.next(data, position, None)
      >>> print(batch.y, batch.mask)
      [2 2] [ True False]
    """

    def give(data: PyTree, at: jax.Array, there: jax.Array) -> Batch:
        check_count("in_order", part_of(data, name), n)
        batch = gather_examples(data[name], at)
        if batch.mask is not None:
            there = batch.mask & jnp.expand_dims(there, tuple(range(1, batch.mask.ndim)))
        return batch._replace(mask=there)

    return one_pass(give, batch_size, n)


def part_of(data: PyTree, name: str) -> Any:
    """Returns `data[name]`.

    Raises:
      UserError: the data are no dictionary with this name.
    """
    if not isinstance(data, Mapping) or name not in data:
        given = f"parts named {', '.join(map(str, data))}" if isinstance(data, Mapping) else describe_value(data)
        raise UserError(f"a stream of {name!r} takes data with a part of that name, got {given}")
    return data[name]


def check_count(what: str, examples: Any, n: int) -> None:
    """Refuses a number of examples that there are not: the last would count several times, or some not at all."""
    there = {len(a) for a in jax.tree.leaves(examples.y) or jax.tree.leaves(examples.x)}
    if there != {n}:
        raise UserError(f"{what}: n is the number of examples, got {n}, and there are {', '.join(map(str, there))}")


def one_pass(give: Callable[[PyTree, jax.Array, jax.Array], Batch], batch_size: int, n: int) -> Stream:
    """One pass over n examples; `give(data, places, there)` makes a batch, in which `there` is false for padding."""

    check_size("in_order: batch_size", batch_size)
    check_size("in_order: n", n)

    def following(data: PyTree, position: jax.Array, key: jax.Array) -> tuple[Batch, jax.Array]:
        at = position * batch_size + jnp.arange(batch_size, dtype=jnp.int32)
        return give(data, jnp.minimum(at, n - 1), at < n), position + 1

    return Stream(lambda data: jnp.zeros((), jnp.int32), following, -(-n // batch_size))


def gather_examples(examples: Batch, at: jax.Array) -> Batch:
    """Returns the examples at the given indices.

    Example:
      >>> print(gather_examples(Batch(x=jnp.arange(6).reshape(3, 2), y=jnp.arange(3)), jnp.array([2, 0])).x)
      [[4 5]
       [0 1]]
    """
    arrays = jax.tree.leaves(examples)
    if not arrays or any(not jnp.ndim(a) for a in arrays):
        raise ValueError(f"gather_examples takes arrays with an axis of examples, got {describe_value(examples)}")
    at = checked_places("gather_examples: at", at, min(map(len, arrays)))
    return jax.tree.map(lambda a: jnp.asarray(a)[at], examples)


def checked_places(what: str, at: Any, n: int) -> Any:
    """Returns indices of examples.

    Raises:
      ValueError: they are not integers, or, where they are known, there are no such examples.
    """
    at = np.zeros(0, int) if isinstance(at, list | tuple) and not at else check_array(what, at, holds="integer")
    if not isinstance(at, jax.core.Tracer) and at.size and not 0 <= int(np.min(at)) <= int(np.max(at)) < n:
        raise ValueError(f"{what} are indices from 0 to {n - 1}, got {np.min(at)} to {np.max(at)}")
    return at_least_int32(at)


def map_batches(stream: Stream, f: Callable[[Batch], Batch]) -> Stream:
    """Returns the stream with `f` applied to each batch.

    Example:
      >>> import jax.numpy as jnp
      >>> data = {"test": Batch(x=jnp.zeros((1, 5)), y=jnp.arange(1))}
      >>> stream = map_batches(in_order("test", 1, 1), lambda batch: batch._replace(y=batch.y + 7))
      >>> print(stream.next(data, stream.init(data), None)[0].y)
      [7]
    """

    check_is("map_batches: stream", stream, Stream)
    check_function("map_batches: f", f)

    def following(data: PyTree, position: PyTree, key: jax.Array) -> tuple[Batch, PyTree]:
        batch, position = stream.next(data, position, key)
        return f(batch), position

    return stream._replace(next=following)


def label_last_step(batch: Batch) -> Batch:
    """Turns a batch with one label per example into one with a label at each step, of which the last valid one counts.

    Use it with rules that run step by step, since their networks have an output at each step.

    Args:
      batch: x `[B, T, ...]`, plain or a `Seq`; y `[B, ...]`; mask `[B]` or None.

    Example:
      >>> import jax.numpy as jnp
      >>> x = Seq(jnp.zeros((2, 3)), valid=jnp.array([[True, True, False], [True] * 3]))
      >>> print(label_last_step(Batch(x, jnp.array([5, 6]))).mask)
      [[False  True False]
       [False False  True]]
    """
    check_is("label_last_step: batch", batch, Batch)
    valid = batch.x.valid if isinstance(batch.x, Seq) else None
    b, steps = batch.x.x.shape[:2] if isinstance(batch.x, Seq) else batch.x.shape[:2]
    lengths = jnp.full(b, steps) if valid is None else steps - jnp.argmax(valid[:, ::-1], axis=1)
    last = jnp.arange(steps)[None] == lengths[:, None] - 1
    counts = jnp.ones((b, 1), bool) if batch.mask is None else batch.mask[:, None]
    return batch._replace(y=jnp.broadcast_to(batch.y[:, None], (b, steps, *batch.y.shape[1:])), mask=counts & last)
