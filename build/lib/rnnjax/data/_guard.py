"""One guard for all readers: any error that a damaged file causes in a library becomes a one-line message."""

from __future__ import annotations

import contextlib
import csv
import lzma
import struct
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Iterator

from rnnjax.base import UserError

# The errors that the readers of the standard library, numpy and scipy raise on malformed bytes. ValueError includes
# those of JSON and of encodings; RuntimeError includes RecursionError, NotImplementedError and encrypted members.
_FAULTS = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    csv.Error,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    wave.Error,
    zipfile.BadZipFile,
    zlib.error,
)


@contextlib.contextmanager
def reader_errors(name: str, fault: str = "is damaged, or of a form that is not read") -> Iterator[None]:
    """Turns an error of a reader on a malformed file into a one-line `UserError`. Wrap as little code as possible.

    Args:
      name: of the file, and of the member in an archive.
      fault: the message, which follows the name.

    Raises:
      UserError: in place of any of `_FAULTS`.

    Example:
      >>> with reader_errors("a.bin", "is too short"):
      ...     _ = struct.unpack("<I", b"abc")
      Traceback (most recent call last):
      rnnjax.base.UserError: a.bin is too short: unpack requires a buffer of 4 bytes
    """
    try:
        yield
    except _FAULTS as error:
        said = next(iter(str(error).splitlines()), "") or "it ends early"
        raise UserError(f"{name} {fault}: {said}") from error
