"""A list of records that also counts what its reader skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

_T = TypeVar("_T")


class Counted(list[_T]):
    """The records that a reader returned, and counts of what it skipped.

    Attributes:
      passed: number of skipped items of each kind.

    Example:
      >>> Counted(["a", "b"], {"other files": 2}).note()
      'passed over: 2 other files'
    """

    def __init__(self, found: Iterable[_T] = (), passed: Mapping[str, int] | None = None):
        super().__init__(found)
        self.passed: Counter[str] = Counter(passed or {})

    def note(self) -> str:
        """Returns a note of what was skipped; "" if nothing was."""
        said = ", ".join(f"{n} {kind}" for kind, n in self.passed.items() if n)
        return said and f"passed over: {said}"
