"""Grids of flags, ranges to draw from, and the members that they define."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rnnjax.base import UserError

Assignment = dict[str, str]
_MOST_POINTS = 100_000  # of one axis of a grid


class Axis(NamedTuple):
    """One axis of a grid: a flag, or several that move together, with the strings of their values.

    Attributes:
      flags: names.
      values: for each point, one string per flag.
    """

    flags: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]


class Range(NamedTuple):
    """A range to draw values of a flag from.

    Attributes:
      flag: its name.
      kind: log, lin, int or choice.
      low, high: limits, for the first three.
      choices: strings, for the last.
    """

    flag: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    def ends(self) -> tuple[str, ...]:
        """Returns the choices, or both limits, as on a command line.

        Example:
          >>> Range("seed", "int", 0, 1e7).ends(), Range("dropout", "lin", 0.0, 0.5).ends()
          (('0', '10000000'), ('0.0', '0.5'))
        """
        limits = (self.low, self.high)
        return self.choices or tuple(str(int(end)) if self.kind == "int" else repr(float(end)) for end in limits)

    def drawn(self) -> tuple[str, ...]:
        """Returns values as they may be drawn: the choices, both limits of whole numbers, or a number between.

        Example:
          >>> Range("learning_rate", "log", 1e-4, 1e-2).drawn(), Range("seed", "int", 0, 9).drawn()
          (('0.001',), ('0', '9'))
        """
        if self.choices or self.kind == "int":
            return self.ends()
        return (repr((self.low * self.high) ** 0.5 if self.kind == "log" else (self.low + self.high) / 2),)


def split_flag(option: str, text: str, form: str) -> tuple[str, str]:
    """Splits `flag=rest` into the flag and the rest."""
    flag, equals, rest = text.partition("=")
    if not equals or not flag.strip("-") or not rest:
        raise UserError(f"--{option}={text}: write {form}")
    return flag.lstrip("-"), rest


def axis(text: str) -> Axis:
    """Parses one `--grid`: flag=v1,v2, flag=log:lo:hi:n, lin:lo:hi:n or int:lo:hi, or flags that move together.

    Raises:
      UserError: it has another form, or a value twice.

    Example:
      >>> axis("learning_rate=log:1e-3:1e-1:3").values
      (('0.001',), ('0.01',), ('0.1',))
      >>> axis("cell+hidden_size=urnn+64,lstm+24")
      Axis(flags=('cell', 'hidden_size'), values=(('urnn', '64'), ('lstm', '24')))
    """
    flag, rest = split_flag("grid", text, "flag=v1,v2 or flag=log:lo:hi:n, lin:lo:hi:n, int:lo:hi")
    flags = tuple(flag.split("+"))
    texts = _spaced(text, rest) if rest.partition(":")[0] in ("log", "lin", "int") else rest.split(",")
    values = tuple(tuple(value.split("+")) if len(flags) > 1 else (value,) for value in texts)
    if any(len(value) != len(flags) or "" in value for value in values):
        raise UserError(f"--grid={text}: {len(flags)} value{'s' * (len(flags) > 1)} at each point, none of them empty")
    if len({tuple(map(_plain_number, value)) for value in values}) < len(values):
        raise UserError(f"--grid={text}: the same value twice")
    return Axis(flags, values)


def _plain_number(text: str) -> float | str:
    """Returns a number for its text, so that 0.001 and 1e-3 are the same; other texts stay."""
    try:
        return float(text)
    except ValueError:
        return text


def _spaced(text: str, rest: str) -> list[str]:
    """Returns the points of log:lo:hi:n, lin:lo:hi:n or int:lo:hi."""
    kind, *numbers = rest.split(":")
    try:
        low, high, n = *map(float, numbers[:2]), int(numbers[2]) if kind != "int" else 2
        if len(numbers) != (2 if kind == "int" else 3):
            raise ValueError("too many numbers")
    except (ValueError, IndexError) as error:
        form = "int:lo:hi" if kind == "int" else f"{kind}:lo:hi:n"
        raise UserError(f"--grid={text}: write {form} with numbers") from error
    _check_limits("grid", text, kind, low, high)
    if not 2 <= n <= _MOST_POINTS:
        raise UserError(f"--grid={text}: from 2 to {_MOST_POINTS:,} points")
    if kind == "int":
        if high - low >= _MOST_POINTS:
            raise UserError(f"--grid={text}: {int(high - low) + 1:,} points: at most {_MOST_POINTS:,}")
        return [str(i) for i in range(int(low), int(high) + 1)]
    points = np.geomspace(low, high, n) if kind == "log" else np.linspace(low, high, n)
    return [f"{x:.6g}" for x in points]


def _check_limits(option: str, text: str, kind: str, low: float, high: float) -> None:
    """Refuses an empty or infinite range."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"--{option}={text}: the range must be finite and its lower end below its upper end")
    if kind == "log" and low <= 0:
        raise UserError(f"--{option}={text}: a logarithmic range begins above 0")
    if kind == "int" and (low != int(low) or high != int(high)):
        raise UserError(f"--{option}={text}: expected whole numbers")


def drawn_range(text: str) -> Range:
    """Parses one `--space`: flag=log:lo:hi, lin:lo:hi, int:lo:hi or choice:v1:v2.

    Raises:
      UserError: it has another form, or the range is empty.

    Example:
      >>> drawn_range("learning_rate=log:1e-4:1e-1")
      Range(flag='learning_rate', kind='log', low=0.0001, high=0.1, choices=())
    """
    form = "flag=log:lo:hi, lin:lo:hi, int:lo:hi or choice:v1:v2"
    flag, rest = split_flag("space", text, form)
    kind, *parts = rest.split(":")
    if kind == "choice" and len({_plain_number(part) for part in parts}) < len(parts):
        raise UserError(f"--space={text}: the same value twice")
    if kind == "choice" and len(parts) >= 1 and all(parts):
        return Range(flag, kind, choices=tuple(parts))
    try:
        low, high = map(float, parts)
    except (ValueError, OverflowError) as error:
        raise UserError(f"--space={text}: write {form}") from error
    if kind not in ("log", "lin", "int"):
        raise UserError(f"--space={text}: write {form}")
    _check_limits("space", text, kind, low, high)
    return Range(flag, kind, low, high)


def swept(axes: Sequence[Axis], ranges: Sequence[Range]) -> list[str]:
    """Returns the flags that vary, in order.

    Raises:
      UserError: a flag occurs twice.
    """
    flags = [flag for a in axes for flag in a.flags] + [r.flag for r in ranges]
    for flag in flags:
        if flags.count(flag) > 1:
            raise UserError(f"--{flag} is varied twice")
    return flags


def points(axes: Sequence[Axis], most: int) -> list[Assignment]:
    """Returns all points of a grid; the last axis varies fastest.

    Raises:
      UserError: there are more than `most`.

    Example:
      >>> points([axis("cell=lstm,gru"), axis("seed=0,1")], most=10)[1]
      {'cell': 'lstm', 'seed': '1'}
      >>> points([axis("seed=int:0:99999"), axis("delay=int:1:10000")], most=10000)
      Traceback (most recent call last):
      rnnjax.base.UserError: the grid has 1,000,000,000 points: at most 10,000 (--max_members)
    """
    count = math.prod(len(a.values) for a in axes)
    if count > most:
        raise UserError(f"the grid has {count:,} points: at most {most:,} (--max_members)")
    return [
        {flag: text for a, value in zip(axes, point) for flag, text in zip(a.flags, value)}
        for point in itertools.product(*(a.values for a in axes))
    ]
