"""Checks of user-supplied arrays, functions, texts and containers. Each refusal is one line with what was given."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# What an array holds: the words for it, and the kinds of dtypes that do.
_HOLDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "floating": ("in floating point", (jnp.floating,)),
    "integer": ("of integers", (jnp.integer,)),
    "boolean": ("of booleans", (jnp.bool_,)),
    "real": ("of real numbers", (jnp.floating, jnp.integer, jnp.bool_)),
    "number": ("of numbers", (jnp.number, jnp.bool_)),
}

_ARRAYS = (np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct)


def check_array(what: str, value: Any, axes: str = "", holds: str = "real", some: bool = False) -> Any:
    """Returns an array as it is, and a list or a number as an array of NumPy.

    Args:
      what: the name for the message.
      value: an array, also of another library, a tracer, a number, or a list of numbers.
      axes: as in "[T, N]", whose rank is wanted; "" for any rank.
      holds: "floating", "integer", "boolean", "real" or "number".
      some: whether an array without elements is refused.

    Raises:
      ValueError: the value is of another rank or kind.

    Example:
      >>> check_array("ctc: labels", np.zeros((2, 3)), "[N]", "integer")
      Traceback (most recent call last):
      ValueError: ctc: labels is an array [N] of integers, got float64 [2, 3]
    """
    words, kinds = _HOLDS[holds]
    array = value if isinstance(value, _ARRAYS) else _as_array(value)
    rank = axes.count(",") + 1 if axes not in ("", "[]") else 0
    masked = isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value)  # JAX would read what is below the mask
    fits = array is not None and not masked and any(jnp.issubdtype(array.dtype, kind) for kind in kinds)
    if not fits or (axes and array.ndim != rank) or (some and not array.size):
        form = f"{axes}{' ' * bool(axes)}{words}"
        raise ValueError(f"{what} is an array {form}, got {'masked ' * masked}{describe_value(value)}")
    if (wide := beyond_32_bits(array)) is not None:
        raise ValueError(f"{what} holds {wide}, and integers have 32 bits here")
    return array


def beyond_32_bits(array: Any) -> int | None:
    """Returns an integer of an array of NumPy that JAX would wrap around; None if all fit.

    Example:
      >>> beyond_32_bits(np.array([7, 2**32 + 1])), beyond_32_bits(np.array([7]))
      (4294967297, None)
    """
    wide = isinstance(array, np.ndarray | np.generic) and array.dtype.kind in "iu" and array.dtype.itemsize > 4
    if not wide or not array.size or jax.dtypes.canonicalize_dtype(array.dtype) == array.dtype:
        return None
    ends = int(array.min()), int(array.max())
    return next((n for n in ends if not -(2**31) <= n < 2**31), None)


def _as_array(value: Any) -> Any:
    """Returns numbers, or lists of them, as an array; None where they are something else, or ragged."""
    if not isinstance(value, bool | int | float | complex | list | tuple) and not hasattr(value, "__array__"):
        return None
    if any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)):
        return jnp.asarray(value) if len({jnp.shape(leaf) for leaf in jax.tree.leaves(value)}) == 1 else None
    try:
        return np.asarray(value)
    except (TypeError, ValueError):
        return None


def describe_value(value: Any) -> str:
    """Returns a short text of one line: the dtype and shape of an array, a text in quotes, or a type.

    Example:
      >>> describe_value(np.zeros((2, 3))), describe_value("a"), describe_value([1]), describe_value(None)
      ('float64 [2, 3]', "'a'", 'a list of 1', 'None')
    """
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return f"{value.dtype} {list(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if value is None or isinstance(value, bool | int | float | complex | str):
        return f"{value!r:.60}"
    return f"a {type(value).__name__}"


def check_function(what: str, value: Any) -> None:
    """Rejects what cannot be called.

    Raises:
      ValueError: the value is no function.

    Example:
      >>> check_function("orbit: f", None)
      Traceback (most recent call last):
      ValueError: orbit: f is a function, got None
    """
    if not callable(value):
        raise ValueError(f"{what} is a function, got {describe_value(value)}")


def check_text(what: str, value: Any) -> None:
    """Rejects what is no text.

    Raises:
      ValueError: the value is no text.

    Example:
      >>> check_text("tokenise: text", b"a")
      Traceback (most recent call last):
      ValueError: tokenise: text is a text, got a bytes
    """
    if not isinstance(value, str):
        raise ValueError(f"{what} is a text, got {describe_value(value)}")


def check_path(what: str, value: Any) -> None:
    """Rejects what is no path of a file: a number would be taken for a file that is open already.

    Raises:
      ValueError: the value is neither a text nor a path.

    Example:
      >>> check_path("read: path", 3)
      Traceback (most recent call last):
      ValueError: read: path is a path, got 3
    """
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise ValueError(f"{what} is a path, got {describe_value(value)}")


def check_list(what: str, value: Any, of: type | None = None, some: bool = False) -> None:
    """Rejects what is no list, or a list with items of another type; a text is no list of texts.

    Args:
      what: the name for the message.
      value: a list, a tuple, or an array where `of` is None.
      of: the type of the items; None for any.
      some: whether an empty list is refused.

    Raises:
      ValueError: the value is of another type.

    Example:
      >>> check_list("spans: tags", "O", str)
      Traceback (most recent call last):
      ValueError: spans: tags is a list of str, got 'O'
    """
    listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    listed |= of is None and hasattr(value, "shape") and len(value.shape) > 0
    wanted = f"a list{f' of {of.__name__}' if of is not None else ''}{' of at least one' * some}"
    if not listed or (some and not len(value)):
        raise ValueError(f"{what} is {wanted}, got {describe_value(value)}")
    odd = [item for item in value if of is not None and not isinstance(item, of)]
    if odd:
        raise ValueError(f"{what} is {wanted}, got {describe_value(odd[0])} in it")


def check_dict(what: str, value: Any, of: type | None = None, some: bool = False) -> None:
    """Rejects what is no dictionary, or one with values of another type.

    Args:
      what, some: as for `check_list`.
      value: a mapping from texts.
      of: the type of the values; None for any.

    Raises:
      ValueError: the value is of another type.

    Example:
      >>> check_dict("draw_curves: runs", {"a": 3}, str)
      Traceback (most recent call last):
      ValueError: draw_curves: runs is a dictionary of str, got 3 for 'a'
    """
    wanted = f"a dictionary{f' of {of.__name__}' if of is not None else ''}{' of at least one' * some}"
    if not isinstance(value, Mapping) or (some and not value):
        raise ValueError(f"{what} is {wanted}, got {describe_value(value)}")
    for name, item in value.items():
        if of is not None and not isinstance(item, of):
            raise ValueError(f"{what} is {wanted}, got {describe_value(item)} for {name!r:.40}")


def check_is(what: str, value: Any, kind: type) -> None:
    """Rejects what is not of a type.

    Raises:
      ValueError: the value is of another type.

    Example:
      >>> check_is("pixels: images", None, dict)
      Traceback (most recent call last):
      ValueError: pixels: images is of type dict, got None
    """
    if not isinstance(value, kind):
        raise ValueError(f"{what} is of type {kind.__name__}, got {describe_value(value)}")
