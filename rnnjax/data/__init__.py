"""Files in standard formats -> arrays."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from rnnjax.errors import UserError, refusing

GZIP = b"\x1f\x8b"


def find(path: str, data_dir: str = "") -> str:
    """A path as it is given or, where nothing is there, the same below the folder of data sets, if that is there.

    Example:
      >>> find("nowhere.txt", "/data")
      'nowhere.txt'
    """
    below = Path(data_dir) / path
    return str(below) if data_dir and below.exists() and not Path(path).exists() else path


def contents(path: str) -> bytes:
    """The bytes of a file, or, if they are gzip's, what was compressed.

    Raises:
      UserError: there is no such file, or its gzip data are damaged.

    Example:
      >>> contents("nowhere.gz")
      Traceback (most recent call last):
      rnnjax.errors.UserError: cannot read nowhere.gz: No such file or directory
    """
    with refusing("read", path):
        found = Path(path).read_bytes()
    try:
        return gzip.decompress(found) if found.startswith(GZIP) else found
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"cannot read {path}: its gzip data are damaged ({error})") from error
