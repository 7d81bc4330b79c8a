"""Checks of user-supplied numbers, one for each kind. A tracer passes, because its value is unknown."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def check_size(what: str, value: Any, least: int = 1) -> None:
    """Rejects anything but an integer from `least` on: 2.5, 2.0, True, "3" or an array with several numbers.

    Raises:
      ValueError: the value is not allowed; the message is one line that quotes it.

    Example:
      >>> check_size("lstm: hidden", 2.5)
      Traceback (most recent call last):
      ValueError: lstm: hidden is an integer from 1, got 2.5
    """
    if isinstance(value, jax.core.Tracer):
        return
    try:
        number = least - 1 if np.asarray(value).dtype == np.bool_ else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{what} is an integer from {least}, got {_short_text(value)}")


def check_features(what: str, x: Any) -> None:
    """Rejects anything but the features of one step, `[features]`: a window or a batch.

    Raises:
      ValueError: of one line with the shape of x.
    """
    if len(x.shape) != 1:
        raise ValueError(
            f"{what} takes the features of one step, got {list(x.shape)}: "
            "unroll(...) for windows, jax.vmap around that for batches"
        )


def check_preactivations(what: str, width: int, z: Any) -> None:
    """Rejects anything but the pre-activations of one step, `[width]`: a list, a window or a batch.

    Raises:
      ValueError: of one line with the shape of z.
    """
    shape = getattr(z, "shape", None)
    if shape != (width,):
        given = f"a {type(z).__name__}" if shape is None else list(shape)
        wide = shape is not None and len(shape) == 1
        remedy = f"linear({width}) before it" if wide else "unroll(...) for windows, jax.vmap around that for batches"
        raise ValueError(f"{what} takes the pre-activations [{width}] of one step, got {given}: {remedy}")


def no_params(what: str) -> Callable[[Any, Any], tuple[()]]:
    """Returns the init of a cell without params that takes the features of one step."""

    def init(key: Any, x: Any) -> tuple[()]:
        check_features(what, x)
        return ()

    return init


def check_number(
    what: str, value: Any, low: float = -math.inf, high: float = math.inf, without: tuple[float, ...] = ()
) -> None:
    """Rejects anything but one finite number between two bounds: nan, inf, True, "1" or an array with several numbers.

    Args:
      what: the name for the message.
      value: a number, an array of one number, or a tracer, which passes.
      low, high: the smallest and the largest value allowed.
      without: bounds that are excluded.

    Raises:
      ValueError: the value is not allowed; the message is one line that quotes it.

    Example:
      >>> check_number("ctrnn: tau", 0.5, 1)
      Traceback (most recent call last):
      ValueError: ctrnn: tau is a number from 1, got 0.5
    """
    if isinstance(value, jax.core.Tracer):
        return
    array = np.asarray(value)
    real = array.shape == () and (
        np.issubdtype(array.dtype, np.integer) or jax.numpy.issubdtype(array.dtype, jax.numpy.floating)
    )
    number = float(array) if real else math.nan
    if not (math.isfinite(number) and low <= number <= high) or number in without:
        raise ValueError(f"{what} is {_range(low, high, without)}, got {_short_text(value)}")


def check_rate(what: str, rate: Any, certain: bool = False) -> None:
    """Rejects anything but a probability below 1, or up to 1 if `certain`.

    Raises:
      ValueError: the value is not allowed; the message is one line that quotes it.

    Example:
      >>> check_rate("dropout: rate", 1.5)
      Traceback (most recent call last):
      ValueError: dropout: rate is a number from 0 and below 1, got 1.5
    """
    check_number(what, rate, 0, 1, () if certain else (1,))


def check_positive(what: str, value: Any) -> None:
    """Rejects anything but one finite number above 0.

    Raises:
      ValueError: the value is not allowed; the message is one line that quotes it.

    Example:
      >>> check_positive("binary: temperature", 0.0)
      Traceback (most recent call last):
      ValueError: binary: temperature is a number above 0, got 0.0
    """
    check_number(what, value, 0, without=(0,))


def _range(low: float, high: float, without: tuple[float, ...]) -> str:
    """Returns a description of the allowed range."""
    parts = [f"{'above' if low in without else 'from'} {low:g}"] if math.isfinite(low) else []
    parts += [f"{'below' if high in without else 'up to'} {high:g}"] if math.isfinite(high) else []
    return " ".join(["a number" if parts else "a finite number", " and ".join(parts)]).strip()


def _short_text(value: Any) -> str:
    """Returns the value as a short text of one line."""
    if isinstance(value, np.ndarray | jax.Array) and value.ndim:
        return f"an array of shape {list(value.shape)}"
    return " ".join((repr if isinstance(value, str) else str)(value).split())[:80]
