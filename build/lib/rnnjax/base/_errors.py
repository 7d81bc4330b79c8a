"""Errors caused by the user's input or environment."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator


class UserError(Exception):
    """A wrong flag, file or folder: the program prints the message, one line without a traceback, and stops.

    Example:
      >>> raise UserError("--hidden_size is -3: give a positive number")
      Traceback (most recent call last):
      rnnjax.base.UserError: --hidden_size is -3: give a positive number
    """

    __module__ = "rnnjax.base"  # the public location


class _WriteError(UserError):
    """Raised if one of the program's own files cannot be written, which is a fault of the machine, not of the user."""


# Temporary faults of a machine: the same command may succeed later.
_PASSING = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EMFILE", "ENFILE", "ENOMEM", "ESTALE", "ETIMEDOUT", "EFBIG")
    if hasattr(errno, name)
)


def is_machines_fault(error: BaseException | None) -> bool:
    """Returns whether an error, or one of its causes, is a fault of the machine, such as a full disk.

    Example:
      >>> is_machines_fault(OSError(errno.ENOSPC, "No space left on device")), is_machines_fault(FileNotFoundError())
      (True, False)
    """
    while error is not None:
        if isinstance(error, _WriteError) or (isinstance(error, OSError) and error.errno in _PASSING):
            return True
        error = error.__cause__
    return False


@contextlib.contextmanager
def as_user_error(what: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Converts an error of the file system to a `UserError`.

    Args:
      what: the attempted action: "write", "read", "make".
      path: its file or folder.

    Raises:
      UserError: instead of an OSError or a UnicodeDecodeError.

    Example:
      >>> with as_user_error("read", "nowhere.txt"):
      ...     _ = open("nowhere.txt")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.txt: No such file or directory
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(f"cannot {what} {os.fspath(path)}: it is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        kind = _WriteError if what == "write" else UserError
        raise kind(f"cannot {what} {os.fspath(path)}: {error.strerror or error}") from error
