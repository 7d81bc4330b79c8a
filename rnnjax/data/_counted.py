"""What a reader returned, with counts of what it skipped and remarks on what it decided."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

_T = TypeVar("_T")


def note_of(passed: Mapping[str, int], remarks: Sequence[str] = ()) -> str:
    """Returns a note of what was skipped and decided; "" if nothing was.

    Example:
      >>> note_of({"blank lines": 2, "remarks": 0}, ["line 3: '1.234' is read as 1.234"])
      "passed over: 2 blank lines; line 3: '1.234' is read as 1.234"
    """
    said = ", ".join(f"{n} {kind if n != 1 else _one(kind)}" for kind, n in passed.items() if n)
    return "; ".join([*([f"passed over: {said}"] if said else []), *remarks])


def _one(kind: str) -> str:
    """Returns the singular of a kind, whose noun is its first word that ends with s.

    Example:
      >>> [_one(kind) for kind in ("blank lines", "lines of names", "notes that are null")]
      ['blank line', 'line of names', 'note that is null']
    """
    return re.sub(r"s\b", "", kind, count=1).replace(" that are ", " that is ")


class Counted(list[_T]):
    """The records that a reader returned, and counts of what it skipped.

    Attributes:
      passed: number of skipped items of each kind.
      remarks: sentences on what may be read in two ways.

    Example:
      >>> Counted(["a", "b"], {"other files": 2}).note()
      'passed over: 2 other files'
    """

    def __init__(
        self, found: Iterable[_T] = (), passed: Mapping[str, int] | None = None, remarks: Sequence[str] = ()
    ) -> None:
        super().__init__(found)
        self.passed: Counter[str] = Counter(passed or {})
        self.remarks = tuple(remarks)

    def note(self) -> str:
        """Returns a note of what was skipped and decided; "" if nothing was."""
        return note_of(self.passed, self.remarks)


class Column(np.ndarray):
    """The numbers that a reader returned, and counts of what it skipped. Arrays computed from it have none.

    Attributes:
      passed: number of skipped items of each kind.
      remarks: sentences on what may be read in two ways.

    Example:
      >>> column = Column.of(np.ones(3), {"blank lines": 1})
      >>> column.sum(), column.note(), column[:2].note()
      (np.float64(3.0), 'passed over: 1 blank line', '')
    """

    passed: Counter[str]
    remarks: tuple[str, ...]

    @staticmethod
    def of(values: np.ndarray, passed: Mapping[str, int], remarks: Sequence[str] = ()) -> Column:
        """Returns an array with counts and remarks."""
        found = np.asarray(values).view(Column)
        found.passed, found.remarks = Counter(passed), tuple(remarks)
        return found

    def __array_finalize__(self, source: Any) -> None:
        """Gives every new array empty counts."""
        self.passed, self.remarks = Counter(), ()

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        """Makes what is computed from it a plain array, or a number."""
        return np.asarray(array)[()] if return_scalar else np.asarray(array)

    def note(self) -> str:
        """Returns a note of what was skipped and decided; "" if nothing was."""
        return note_of(self.passed, self.remarks)
