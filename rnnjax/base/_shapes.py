"""Shapes and kinds of numbers in trees of inputs, with the marks of a Seq left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

_PyTree: TypeAlias = Any
LONGEST = 60  # characters of what is shown of a tree, a shape or a path


def same_structure(a: _PyTree, b: _PyTree) -> bool:
    """Whether two trees differ in their leaves alone."""
    one: Any = jax.tree.structure(a)
    return bool(one == jax.tree.structure(b))


def shapes_by_path(tree: _PyTree) -> dict[str, tuple[int, ...]]:
    """Shapes by path, as in "1/u"."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): jnp.shape(leaf)
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


class _Shape(tuple[int, ...]):
    """A shape that is shown as a list, and is a leaf of a tree."""

    def __repr__(self) -> str:
        return str(list(self))


def short_shapes(tree: _PyTree) -> str:
    """A tree with the shapes of its arrays, short."""
    text = str(jax.tree.map(lambda a: _Shape(jnp.shape(a)), tree))
    return text if len(text) <= 2 * LONGEST else f"{text[: 2 * LONGEST]}..."


def is_seq(x: _PyTree) -> bool:
    """Whether x is a Seq, whose marks have no features; the type itself is defined above this file."""
    return getattr(x, "_fields", None) == ("x", "valid", "first")


def features_of(x: _PyTree) -> _PyTree:
    """The inputs without marks."""
    return x.x if is_seq(x) else x


def map_features(f: Callable[[Any], Any], x: _PyTree) -> _PyTree:
    """A function of every array of x but marks."""
    return x._replace(x=jax.tree.map(f, x.x)) if is_seq(x) else jax.tree.map(f, x)


def num_features(x: _PyTree) -> int:
    """The size of the last axis of the first array; 0 where there is none."""
    return int((0, *jnp.shape(next(iter(jax.tree.leaves(features_of(x))), 0)))[-1])


def with_num_features(x: _PyTree, features: int) -> _PyTree:
    """The shapes of x with another number of features."""
    return jax.eval_shape(lambda x: map_features(lambda a: jnp.zeros((*a.shape[:-1], features), a.dtype), x), x)


def has_no_floats(x: _PyTree) -> bool:
    """Whether x has arrays of integers, booleans or complex numbers, marks aside."""
    return any(is_no_float(jnp.result_type(a)) for a in jax.tree.leaves(features_of(x)))


def is_no_float(dtype: Any) -> bool:
    """Whether a dtype is of integers, booleans or complex numbers."""
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.integer, jnp.bool_, jnp.complexfloating))
