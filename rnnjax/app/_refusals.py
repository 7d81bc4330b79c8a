"""Turns a refusal of the library, which knows no flags, into one that names the flag."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rnnjax.base import UserError


@contextlib.contextmanager
def refused_as(start: str = "", kinds: tuple[type[Exception], ...] = (ValueError,)) -> Iterator[None]:
    """Turns errors inside a `with` block, by default a ValueError, into a `UserError` that begins with a text.

    Example:
      >>> with refused_as("--devices=9: "):
      ...     raise ValueError("there is 1 device")
      Traceback (most recent call last):
      rnnjax.base.UserError: --devices=9: there is 1 device
    """
    try:
        yield
    except kinds as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{start}{' '.join(str(error).split())}") from error
