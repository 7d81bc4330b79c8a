"""Errors in a user's own code, in one line that names the file and the line."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Collection, Iterator
from pathlib import Path

from rnnjax.base import UserError

_LIBRARY = str(Path(__file__).parents[1])


def fault(error: BaseException, files: Collection[str] = ()) -> str:
    """Describes an error in one line, with the place in the user's code where it arose.

    Args:
      error: as raised.
      files: the user's code; by default all but Python, installed packages and this one.

    Example:
      >>> try:
      ...     exec(compile("1 / 0", "mylab/cells.py", "exec"))
      ... except ZeroDivisionError as error:
      ...     print(fault(error, ["mylab/cells.py"]))
      ZeroDivisionError: division by zero (mylab/cells.py, line 1)
    """
    text = f"{type(error).__name__}: {_message(error)}".removesuffix(": ")
    place = _innermost_place(error, files)
    return f"{text} ({place})" if place else text


@contextlib.contextmanager
def named_faults(flags: dict[str, str]) -> Iterator[None]:
    """Turns an error that arises in a module that an import path names into one line with its file and line.

    What does not fit together is told in one line too, if an import path is there to blame.

    Args:
      flags: values by flag, of which those with a colon are import paths.

    Raises:
      UserError: in place of any error from such a module, and of a ValueError or TypeError beside one.
    """
    try:
        yield
    except UserError as error:
        cause = error.__cause__
        place = _innermost_place(cause, _files(flags)) if cause is not None else ""
        if place and place not in str(error):
            raise UserError(f"{error} ({place})") from error
        raise
    except Exception as error:
        for flag, value in flags.items():
            files = _files({flag: value})
            if files and _innermost_place(error, files):
                raise UserError(f"--{flag}={value}: {fault(error, files)}") from error
        blamed = [f"--{flag}={value}" for flag, value in flags.items() if _files({flag: value})]
        if blamed and isinstance(error, (ValueError, TypeError)):
            raise UserError(f"{' '.join(blamed)}: {_message(error)}") from error
        raise


def _message(error: BaseException) -> str:
    """Returns the message of an error in one line, without the place that a SyntaxError adds."""
    text = error.msg if isinstance(error, SyntaxError) else str(error).partition("\n")[0]
    return " ".join(text.split())


def _innermost_place(error: BaseException, files: Collection[str]) -> str:
    """Returns the innermost place of an error in the given files, or in the user's code; "" if there is none."""
    if isinstance(error, SyntaxError) and error.filename and (not files or error.filename in files):
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    mine = [f for f in frames if f.filename in files or (not files and _is_users(f.filename))]
    return f"{mine[-1].filename}, line {mine[-1].lineno}" if mine else ""


def _is_users(file: str) -> bool:
    """Returns whether a file is neither Python's, nor of an installed package, nor ours."""
    ours = file.startswith(_LIBRARY) or "site-packages" in file or file.startswith(("<", f"{sys.base_prefix}/lib"))
    return not ours


def _files(flags: dict[str, str]) -> list[str]:
    """Returns the files of the modules that import paths name, as far as they are imported."""
    names = [value.partition(":")[0] for value in flags.values() if ":" in value]
    found = [getattr(sys.modules.get(name), "__file__", None) for name in names]
    return [file for file in found if file]
