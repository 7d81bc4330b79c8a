"""Seq: a sequence whose marks say which steps are valid and where an episode begins."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base._cell import PyTree, typed_key


class Seq(NamedTuple):
    """A sequence with marks: an invalid step has no effect, and a first step resets the carry.

    One type covers right padding, left padding, gaps, empty rows, packed documents and episodes. At an invalid step the
    carry is unchanged, the output is zero, and the content of x is never used, even if it is NaN. Before a first step
    the carry is reset to `initial_carry`. A step that is both first and invalid resets the carry and has no other
    effect.

    Attributes:
      x: the inputs, a pytree of `[T, ...]`.
      valid: `[T]` booleans, or None: all steps are valid.
      first: `[T]` booleans, or None: no step is a first one.

    Example: three steps, two of them valid.
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
    """Returns the inputs without marks, whether they are a Seq or not.

    Example:
      >>> print(without_marks(Seq(jnp.arange(3), valid=jnp.arange(3) < 2)), without_marks(jnp.arange(3)))
      [0 1 2] [0 1 2]
    """
    return x.x if isinstance(x, Seq) else x


def with_marks_of(x: PyTree, y: PyTree) -> PyTree:
    """Returns y as a Seq with the marks of x, zero where x is invalid; unchanged if x is no Seq."""
    return zero_invalid(x._replace(x=y)) if isinstance(x, Seq) else y


def zero_invalid(x: PyTree) -> PyTree:
    """Returns a Seq with inputs set to zero where invalid, since 0 * nan is nan; anything else unchanged."""
    if not isinstance(x, Seq) or x.valid is None:
        return x
    return x._replace(x=tree_where(x.valid, x.x, tree_zeros(x.x)))


def tree_where(flag: jax.Array, a: PyTree, b: PyTree) -> PyTree:
    """`jnp.where` over trees, with one flag for all trailing axes.

    Example:
      >>> print(tree_where(jnp.array([True, False]), {"h": jnp.ones((2, 3))}, {"h": jnp.zeros((2, 3))})["h"])
      [[1. 1. 1.]
       [0. 0. 0.]]
    """

    def pick(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(jnp.reshape(flag, jnp.shape(flag) + (1,) * (jnp.ndim(a) - jnp.ndim(flag))), a, b)

    return jax.tree.map(pick, a, b)


def tree_zeros(tree: PyTree) -> PyTree:
    """Returns a tree of zeros."""
    return jax.tree.map(jnp.zeros_like, tree)


def flip_time(tree: PyTree) -> PyTree:
    """Reverses a tree in time."""
    return jax.tree.map(lambda a: a[::-1], tree)


def reverse_seq(xs: PyTree) -> PyTree:
    """Reverses a sequence in time; a document then begins at its last valid step."""
    if isinstance(xs, Seq) and xs.first is not None:
        xs = xs._replace(first=_first_backwards(xs.first, xs.valid))
    return flip_time(xs)


def _first_backwards(first: jax.Array, valid: jax.Array | None) -> jax.Array:
    """Marks where documents begin for a reader from the end, who starts inside the last one."""
    document = jnp.cumsum(first)
    of_step = document if valid is None else jnp.where(valid, document, document[-1:])
    seen = lax.cummin(of_step, reverse=True)
    begins = document != jnp.concatenate([seen[1:], document[-1:]])
    return begins if valid is None else jnp.where(valid, begins, False)


def num_steps(xs: PyTree) -> int:
    """Returns T, the number of steps of a sequence."""
    lengths = {jnp.shape(a)[:1] for a in jax.tree.leaves(xs)}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        raise ValueError(f"a window needs one time axis of at least one step on every leaf, got {sorted(lengths)}")
    return lengths.pop()[0]  # an int, or the symbol of a length that an exported program leaves open


def first_step_shape(xs: PyTree) -> PyTree:
    """Returns the shape of one step of a sequence."""
    num_steps(xs)
    return jax.eval_shape(lambda t: jax.tree.map(lambda a: a[0], t), xs)


def check_marks(xs: PyTree, rank: int) -> None:
    """Rejects a Seq whose marks are not booleans, one per step: of rank 1 for a sequence, of rank 0 for one step."""
    for name, mark in (("valid", xs.valid), ("first", xs.first)) if isinstance(xs, Seq) else ():
        if mark is None:
            continue
        if jnp.ndim(mark) != rank or jnp.result_type(mark) != jnp.bool_:
            raise ValueError(
                f"Seq: {name} is booleans {'[T]' if rank else '[]'}, got "
                f"{jnp.result_type(mark)} {list(jnp.shape(mark))}"
            )
        lengths = {jnp.shape(a)[0] for a in jax.tree.leaves(xs.x) if jnp.ndim(a)} if rank else set()
        if rank and lengths - {jnp.shape(mark)[0]}:
            raise ValueError(f"Seq: x has {min(lengths)} steps and {name} has {jnp.shape(mark)[0]}")


def keys_along_time(key: jax.Array | None, xs: PyTree) -> jax.Array | None:
    """Splits one key into a key per step; keys that already have a time axis are unchanged."""
    key = typed_key(key)
    if key is None or key.ndim:
        return key
    return jax.random.split(key, num_steps(xs))


class SourceTarget(NamedTuple):
    """The input of an encoder-decoder.

    Attributes:
      source: the encoder's input, usually a sequence `[S, ...]`, plain or a `Seq`.
      target: the decoder's inputs `[T, ...]`, plain or a `Seq`: in training the target delayed by one step.
    """

    source: Any
    target: Any
