"""What is said about data before anything is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from rnnjax.base import UserError

_T = TypeVar("_T")


def print_notes(path: str, found: _T) -> _T:
    """Prints what a reader of `rnnjax.data` skipped or decided, and returns what it read."""
    reader: Any = found
    if reader.note():
        print(f"{path}: {reader.note()}")
    return found


def check_classes(data: str, labels: Sequence[int], names: Sequence[str]) -> None:
    """Refuses training examples of a single class, which a network learns without reading them."""
    there = {*labels}
    if len(there) == 1:
        name = names[int(next(iter(there)))]
        raise UserError(f"--data={data}: all {len(labels)} examples to learn from are of the class {name!r}")
