"""A row of the table, and a rule: what the laws must know of a cell and of a wrapper."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

from rnnjax import Cell

H, T, D = 4, 12, 3  # units, steps, features of an input
SYMBOLS = 5  # vocabulary of the integer inputs


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """A cell and what the laws must know of it.

    Attributes:
      name: of the test.
      make: builds the cell; takes each of `numbers` as a keyword argument, and `dtype` where the input is integer.
      features: of one input, or None: an integer symbol below SYMBOLS.
      level: what make() gives, a cell of one step or a cell of windows.
      causal: a window cut in two, the carry passed on, is the same as one window.
      noisy: it draws noise where it is given a key.
      each: one output for each step, not one for the window.
      surrogate: its derivative is by design not the slope of its values.
      numbers: name = (low, high) of each numeric argument, which may be a tracer.
    """

    name: str
    make: Callable[..., Cell]
    features: int | None = D
    level: Literal["step", "window"] = "step"
    causal: bool = True
    noisy: bool = False
    each: bool = True
    surrogate: bool = False
    numbers: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """A wrapper that must leave values alone: a memory policy or a way to assign credit.

    Attributes:
      name: of the test.
      wrap: from a cell of one step to a cell of windows.
      exact: its gradient is that of `unroll`, by windows shorter than the sequence.
      own_carry: its carry holds more than the cell's; then outputs and the gradient in the params are compared.
      keyed: it is random and refuses to run without a key.
      refuses: bodies that it does not admit.
    """

    name: str
    wrap: Callable[[Cell], Cell]
    exact: bool
    own_carry: bool = False
    keyed: bool = False
    refuses: tuple[str, ...] = ()


RATE, BIAS = (0.1, 0.6), (-1.0, 2.0)
