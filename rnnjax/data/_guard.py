"""One guard for all readers: whatever a damaged file does to a library becomes one line."""

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

# What the readers of the standard library, numpy and scipy raise on bytes that are not what they should be. ValueError
# has the errors of JSON and of encodings, RuntimeError has RecursionError, NotImplementedError and encrypted members.
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
    """Turns what a reader raises on a faulty file into a `UserError` of one line. Keep what it encloses small.

    Args:
      name: of the file, and of the member if it is an archive.
      fault: what is said of it.

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
