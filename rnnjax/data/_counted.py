"""A list of what was read that also says what was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

_T = TypeVar("_T")


class Counted(list[_T]):
    """What a reader found, and what it passed over on the way.

    Attributes:
      passed: how many things of each kind are no record.

    Example:
      >>> Counted(["a", "b"], {"other files": 2}).note()
      'passed over: 2 other files'
    """

    def __init__(self, found: Iterable[_T] = (), passed: Mapping[str, int] | None = None):
        super().__init__(found)
        self.passed: Counter[str] = Counter(passed or {})

    def note(self) -> str:
        """What was passed over, in words; "": nothing was."""
        said = ", ".join(f"{n} {kind}" for kind, n in self.passed.items() if n)
        return said and f"passed over: {said}"
