"""Reads files in standard formats. Files are data: nothing here executes what it reads, and every size has a limit."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

from rnnjax.base import UserError, check_size
from rnnjax.base._arguments import check_path, check_text
from rnnjax.base._errors import as_user_error
from rnnjax.data._fetching import fetch
from rnnjax.data._guard import reader_errors
from rnnjax.data._opening import UTF8, decode_text

_GZIP = b"\x1f\x8b"
_LIMIT = 1 << 30  # bytes of a file, and of the content of a compressed one
PIECE = 1 << 20


def find(path: str, data_dir: str = "") -> str:
    """Returns a path as given or, if nothing is there, the same path below the folder of data sets.

    Args:
      path: `fetch:NAME` stands for a public file, which is downloaded if necessary: see `fetch`.
      data_dir: the folder of data sets; "" for none.

    Raises:
      UserError: a folder of data sets is given, and the path exists neither by itself nor below it.

    Example:
      >>> find("nowhere.txt")
      'nowhere.txt'
      >>> find("nowhere.txt", "/data")
      Traceback (most recent call last):
      rnnjax.base.UserError: nowhere.txt does not exist, nor does it below --data_dir=/data
    """
    found = _locate(path, data_dir)
    if data_dir and not Path(found).exists():
        raise UserError(f"{path} does not exist, nor does it below --data_dir={data_dir}")
    return found


def _locate(path: str, data_dir: str) -> str:
    """Returns the path that `find` chooses; the path itself if nothing exists."""
    check_text("find: path", path)
    check_text("find: data_dir", data_dir)
    if path.startswith("fetch:"):
        return fetch(path.removeprefix("fetch:"))
    below = Path(data_dir) / path
    with reader_errors(f"{path[:40]!r}", "is not a path"):  # for example a name that is too long
        return str(below) if not Path(path).exists() and data_dir and below.exists() else path


def find_folder(path: str, data_dir: str = "", flag: str = "data") -> Path:
    """Returns an existing folder, found as by `find`.

    Args:
      path, data_dir: as for `find`.
      flag: name of the flag that gave the path, for the message.

    Raises:
      UserError: the folder does not exist.

    Example:
      >>> find_folder("nowhere", "/data")
      Traceback (most recent call last):
      rnnjax.base.UserError: --data=nowhere: there is no such folder, nor below --data_dir=/data
    """
    folder = Path(_locate(path, data_dir))
    with reader_errors(f"--{flag}={path[:40]}", "is not a path"):
        there = folder.is_dir()
    if not there:
        below = f", nor below --data_dir={data_dir}" if data_dir else ": is --data_dir missing?"
        raise UserError(f"--{flag}={path}: there is no such folder{below}")
    return folder


def read_bytes(path: str, limit: int = _LIMIT) -> bytes:
    """Returns the bytes of a file, decompressed if it is a gzip file.

    Args:
      path: of the file.
      limit: maximal number of bytes; larger files are refused before memory is allocated.

    Raises:
      UserError: the file does not exist, is too large, or its gzip data are damaged.

    Example:
      >>> read_bytes("nowhere.gz")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.gz: No such file or directory
    """
    check_path("a reader's path", path)
    check_size("read_bytes: limit", limit, 0)
    with as_user_error("read", path), open(path, "rb") as file:
        try:
            packed = file.peek(2).startswith(_GZIP)
            return _read_bounded(gzip.open(file) if packed else file, limit, path)
        except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
            raise UserError(f"cannot read {path}: its gzip data are damaged ({error})") from error


def _read_bounded(file: IO[bytes] | Any, limit: int, path: str) -> bytes:
    """Reads all bytes of a stream in pieces, up to a limit."""
    pieces, size = [], 0
    while piece := file.read(PIECE):
        size += len(piece)
        if size > limit:
            raise UserError(f"{path} holds more than the limit of {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def read_lines(path: str, encoding: str = UTF8) -> list[str]:
    """Returns the lines of a text file without their line ends; `opening` defines what ends a line.

    Args:
      path: of the file, which may be compressed with gzip.
      encoding: of the text; a byte order mark takes precedence.

    Raises:
      UserError: the file cannot be read, is empty, or has a line in another encoding, which is named.

    Example:
      >>> read_lines("nowhere.txt")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.txt: No such file or directory
    """
    return read_text(path, encoding).removesuffix("\n").split("\n")


def read_text(path: str, encoding: str = UTF8) -> str:
    """Returns the text of a file, with every line end as "\\n".

    Raises:
      UserError: the file cannot be read, is empty, or has a line in another encoding, which is named.

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
    """Yields the blocks of lines between blank lines, each line with its number.

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
    """Raises a `UserError` about a line of a file.

    Raises:
      UserError: always.

    Example:
      >>> raise_at_line("a.csv", 3, "2 columns, and 3 in the lines before")
      Traceback (most recent call last):
      rnnjax.base.UserError: a.csv, line 3: 2 columns, and 3 in the lines before
    """
    raise UserError(f"{path}, line {line}: {fault}")
