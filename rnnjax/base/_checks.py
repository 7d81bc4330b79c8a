"""What a number that a user gives must be: one check for each kind. A tracer passes, for its value is not known."""

from __future__ import annotations

import math
import operator
from typing import Any

import jax
import numpy as np


def check_size(what: str, value: Any, least: int = 1) -> None:
    """Refuses what is not an integer from `least`: 2.5, 2.0, True, "3", an array of several.

    Raises:
      ValueError: of one line, with what was given.

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
        raise ValueError(f"{what} is an integer from {least}, got {_shown(value)}")


def check_number(
    what: str, value: Any, low: float = -math.inf, high: float = math.inf, without: tuple[float, ...] = ()
) -> None:
    """Refuses what is not one finite number between two bounds: nan, inf, True, "1", an array of several.

    Args:
      what: its name, for the message.
      value: a number, an array of one, or a tracer, which passes.
      low, high: the least and the largest that are admitted.
      without: bounds that are not admitted themselves.

    Raises:
      ValueError: of one line, with what was given.

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
        raise ValueError(f"{what} is {_range(low, high, without)}, got {_shown(value)}")


def check_rate(what: str, rate: Any, certain: bool = False) -> None:
    """Refuses what is not a probability below 1, or up to it where what happens may be certain.

    Raises:
      ValueError: of one line, with what was given.

    Example:
      >>> check_rate("dropout: rate", 1.5)
      Traceback (most recent call last):
      ValueError: dropout: rate is a number from 0 and below 1, got 1.5
    """
    check_number(what, rate, 0, 1, () if certain else (1,))


def check_positive(what: str, value: Any) -> None:
    """Refuses what is not one finite number above 0.

    Raises:
      ValueError: of one line, with what was given.

    Example:
      >>> check_positive("binary: temperature", 0.0)
      Traceback (most recent call last):
      ValueError: binary: temperature is a number above 0, got 0.0
    """
    check_number(what, value, 0, without=(0,))


def _range(low: float, high: float, without: tuple[float, ...]) -> str:
    """In words: what a number must be."""
    parts = [f"{'above' if low in without else 'from'} {low:g}"] if math.isfinite(low) else []
    parts += [f"{'below' if high in without else 'up to'} {high:g}"] if math.isfinite(high) else []
    return " ".join(["a number" if parts else "a finite number", " and ".join(parts)]).strip()


def _shown(value: Any) -> str:
    """What was given, short, in one line."""
    if isinstance(value, np.ndarray | jax.Array) and value.ndim:
        return f"an array of shape {list(value.shape)}"
    return " ".join((repr if isinstance(value, str) else str)(value).split())[:80]
