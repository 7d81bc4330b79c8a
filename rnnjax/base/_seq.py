"""Seq: a sequence with marks of which steps are valid and where an episode begins."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base._cell import PyTree, typed_key


class Seq(NamedTuple):
    """A ragged window: where not valid nothing happens; where first the carry starts anew.

    Right padding, left padding, gaps, zero-length rows, packed documents and episodes are all this one type.
    Where a step is not valid the carry holds, the output is zero, and whatever x contains (NaN too) is never read.
    Where a step is first the carry is `initial_carry` before it. A step that is both starts anew, then holds.

    Attributes:
      x: the inputs, a pytree of `[T, ...]`.
      valid: `[T]` booleans, or None: all are.
      first: `[T]` booleans, or None: none is.

    Example: three steps of which two are real.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> xs = Seq(jnp.ones((3, 2)), valid=jnp.arange(3) < 2)
      >>> cell = rnnjax.unroll(rnnjax.vanilla(4))
      >>> carry, ys = rnnjax.run(cell, cell.init(jax.random.key(0), xs), xs)
      >>> bool((ys.x[1] == carry[1]).all()), bool((ys.x[2] == 0).all())
      (True, True)
    """

    x: Any
    valid: Any = None
    first: Any = None


def without_marks(x: PyTree) -> PyTree:
    """The inputs alone, whether they come as a Seq or not.

    Example:
      >>> print(without_marks(Seq(jnp.arange(3), valid=jnp.arange(3) < 2)), without_marks(jnp.arange(3)))
      [0 1 2] [0 1 2]
    """
    return x.x if isinstance(x, Seq) else x


def with_marks_of(x: PyTree, y: PyTree) -> PyTree:
    """y, as a Seq with the marks of x if x is one; zero where x is not valid."""
    return zero_invalid(x._replace(x=y)) if isinstance(x, Seq) else y


def zero_invalid(x: PyTree) -> PyTree:
    """A Seq whose inputs are zero where they are not valid; anything else as it is. 0 * nan would be nan."""
    if not isinstance(x, Seq) or x.valid is None:
        return x
    return x._replace(x=tree_where(x.valid, x.x, tree_zeros(x.x)))


def tree_where(flag: jax.Array, a: PyTree, b: PyTree) -> PyTree:
    """`jnp.where` over trees, one flag for all trailing axes.

    Example:
      >>> print(tree_where(jnp.array([True, False]), {"h": jnp.ones((2, 3))}, {"h": jnp.zeros((2, 3))})["h"])
      [[1. 1. 1.]
       [0. 0. 0.]]
    """

    def pick(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(jnp.reshape(flag, jnp.shape(flag) + (1,) * (jnp.ndim(a) - jnp.ndim(flag))), a, b)

    return jax.tree.map(pick, a, b)


def tree_zeros(tree: PyTree) -> PyTree:
    """A tree of zeros."""
    return jax.tree.map(jnp.zeros_like, tree)


def flip_time(tree: PyTree) -> PyTree:
    """A tree turned around in time."""
    return jax.tree.map(lambda a: a[::-1], tree)


def reverse_seq(xs: PyTree) -> PyTree:
    """A window read backwards: there a document begins at its last valid step."""
    if isinstance(xs, Seq) and xs.first is not None:
        xs = xs._replace(first=_first_backwards(xs.first, xs.valid))
    return flip_time(xs)


def _first_backwards(first: jax.Array, valid: jax.Array | None) -> jax.Array:
    """Where the documents of a window begin for a reader from its end, which is in the last of them already."""
    document = jnp.cumsum(first)
    of_step = document if valid is None else jnp.where(valid, document, document[-1:])
    seen = lax.cummin(of_step, reverse=True)
    begins = document != jnp.concatenate([seen[1:], document[-1:]])
    return begins if valid is None else jnp.where(valid, begins, False)


def num_steps(xs: PyTree) -> int:
    """T of a window."""
    lengths = {jnp.shape(a)[:1] for a in jax.tree.leaves(xs)}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        raise ValueError(f"a window needs one time axis of at least one step on every leaf, got {sorted(lengths)}")
    return lengths.pop()[0]  # an int, or the symbol of a length that an exported program leaves open


def first_step_shape(xs: PyTree) -> PyTree:
    """The shape of one step of a window."""
    num_steps(xs)
    return jax.eval_shape(lambda t: jax.tree.map(lambda a: a[0], t), xs)


def check_marks(xs: PyTree, rank: int) -> None:
    """Refuses a Seq whose marks are not booleans, one for each step: of rank 1 in a window, 0 in one step."""
    for name, mark in (("valid", xs.valid), ("first", xs.first)) if isinstance(xs, Seq) else ():
        if mark is None:
            continue
        if jnp.ndim(mark) != rank or jnp.result_type(mark) != jnp.bool_:
            raise ValueError(f"Seq: {name} is booleans {'[T]' if rank else '[]'}, got "
                             f"{jnp.result_type(mark)} {list(jnp.shape(mark))}")  # fmt: skip
        lengths = {jnp.shape(a)[0] for a in jax.tree.leaves(xs.x) if jnp.ndim(a)} if rank else set()
        if rank and lengths - {jnp.shape(mark)[0]}:
            raise ValueError(f"Seq: x has {min(lengths)} steps and {name} has {jnp.shape(mark)[0]}")


def keys_along_time(key: jax.Array | None, xs: PyTree) -> jax.Array | None:
    """One key becomes a key per step; keys that have the time axis stay."""
    key = typed_key(key)
    if key is None or key.ndim:
        return key
    return jax.random.split(key, num_steps(xs))


class SourceTarget(NamedTuple):
    """What an encoder-decoder reads.

    Attributes:
      source: the encoder's input, for most a window `[S, ...]`, plain or a `Seq`.
      target: the decoder's inputs `[T, ...]`, plain or a `Seq`: in training the target one step late.
    """

    source: Any
    target: Any
