"""Files in standard formats -> arrays. Files are data: nothing here runs what it reads, and every size has a limit."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.data._fetching import fetch
from rnnjax.data._guard import reader_errors
from rnnjax.data._opening import UTF8, decode_text

_GZIP = b"\x1f\x8b"
_LIMIT = 1 << 30  # bytes of a file, and of what comes out of a compressed one
PIECE = 1 << 20


def find(path: str, data_dir: str = "") -> str:
    """A path as it is given or, where nothing is there, the same below the folder of data sets.

    Args:
      path: `fetch:NAME` is the path of a public file, which is downloaded if need be: see `fetch`.
      data_dir: the folder of data sets; "": none.

    Raises:
      UserError: there is a folder of data sets, and the path is neither there nor below it.

    Example:
      >>> find("nowhere.txt")
      'nowhere.txt'
      >>> find("nowhere.txt", "/data")
      Traceback (most recent call last):
      rnnjax.base.UserError: nowhere.txt: nothing is there, nor below --data_dir=/data
    """
    found = _locate(path, data_dir)
    if data_dir and not Path(found).exists():
        raise UserError(f"{path}: nothing is there, nor below --data_dir={data_dir}")
    return found


def _locate(path: str, data_dir: str) -> str:
    """Where `find` looks: the path itself if nothing is anywhere."""
    if path.startswith("fetch:"):
        return fetch(path.removeprefix("fetch:"))
    below = Path(data_dir) / path
    with reader_errors(f"{path[:40]!r}", "is no path"):  # such as one of a name that is too long
        return str(below) if not Path(path).exists() and data_dir and below.exists() else path


def find_folder(path: str, data_dir: str = "", flag: str = "data") -> Path:
    """The same for a folder, which must be there.

    Args:
      path, data_dir: as `find` takes them.
      flag: what gave the path, for the message.

    Raises:
      UserError: there is no such folder.

    Example:
      >>> find_folder("nowhere", "/data")
      Traceback (most recent call last):
      rnnjax.base.UserError: --data=nowhere: there is no such folder, nor below --data_dir=/data
    """
    folder = Path(_locate(path, data_dir))
    with reader_errors(f"--{flag}={path[:40]}", "is no path"):
        there = folder.is_dir()
    if not there:
        below = f", nor below --data_dir={data_dir}" if data_dir else ": is --data_dir missing?"
        raise UserError(f"--{flag}={path}: there is no such folder{below}")
    return folder


def read_bytes(path: str, limit: int = _LIMIT) -> bytes:
    """The bytes of a file, or, if they are gzip's, what was compressed.

    Args:
      path: of the file.
      limit: more bytes than that are refused, before memory is taken for them.

    Raises:
      UserError: there is no such file, it is too large, or its gzip data are damaged.

    Example:
      >>> read_bytes("nowhere.gz")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.gz: No such file or directory
    """
    with as_user_error("read", path), open(path, "rb") as file:
        try:
            packed = file.peek(2).startswith(_GZIP)
            return _read_bounded(gzip.open(file) if packed else file, limit, path)
        except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
            raise UserError(f"cannot read {path}: its gzip data are damaged ({error})") from error


def _read_bounded(file: IO[bytes] | Any, limit: int, path: str) -> bytes:
    """All bytes of a stream, which are read piece by piece up to a limit."""
    pieces, size = [], 0
    while piece := file.read(PIECE):
        size += len(piece)
        if size > limit:
            raise UserError(f"{path} holds more than the {limit} bytes that are read")
        pieces.append(piece)
    return b"".join(pieces)


def read_lines(path: str, encoding: str = UTF8) -> list[str]:
    """The lines of a text file without their ends; see `opening` for what ends a line.

    Args:
      path: of the file, which gzip may have compressed.
      encoding: of its characters; a byte order mark says it better.

    Raises:
      UserError: it cannot be read, is empty, or a line, which is named, is not of this encoding.

    Example:
      >>> read_lines("nowhere.txt")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.txt: No such file or directory
    """
    return read_text(path, encoding).removesuffix("\n").split("\n")


def read_text(path: str, encoding: str = UTF8) -> str:
    """The text of a file, every end of a line written as "\\n".

    Raises:
      UserError: it cannot be read, is empty, or a line, which is named, is not of this encoding.

    Example:
      >>> read_text("nowhere.txt")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.txt: No such file or directory
    """
    text = decode_text(read_bytes(path), path, encoding)
    if not text:
        raise UserError(f"{path} is empty")
    return text


def read_blocks(path: str, encoding: str = UTF8) -> Iterator[list[tuple[int, str]]]:
    """The runs of lines between blank lines, each line with its number.

    Raises:
      UserError: the file cannot be read.

    Example:
      >>> list(read_blocks("nowhere.txt"))
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.txt: No such file or directory
    """
    block: list[tuple[int, str]] = []
    for number, line in enumerate(read_lines(path, encoding), 1):
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []
    if block:
        yield block


def raise_at_line(path: str, line: int, fault: str) -> NoReturn:
    """Says what is wrong in a file, and in which line.

    Raises:
      UserError: always.

    Example:
      >>> raise_at_line("a.csv", 3, "2 columns, and 3 in the lines before")
      Traceback (most recent call last):
      rnnjax.base.UserError: a.csv, line 3: 2 columns, and 3 in the lines before
    """
    raise UserError(f"{path}, line {line}: {fault}")
