"""Logs of JSON lines, in which each line ends with a checksum of itself and of all lines before it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs._files import atomic_write, to_json_value

_MARK = ', "check": "'


class Log:
    """A file with one JSON object per line. Changed, lost or moved lines are errors; an incomplete last one is ignored.

    Args:
      path: of the file, which need not exist.
      sync: whether `add` waits until its records are on disk.
      repair: whether to remove an incomplete last line from the file.

    Raises:
      UserError: the file cannot be read, or a line has changed.

    Example:
      >>> import tempfile
      >>> log = Log(Path(tempfile.mkdtemp()) / "log.jsonl")
      >>> log.add([{"step": 1}, {"step": 2}])
      >>> log.path.read_text().splitlines()[0]
      '{"step": 1, "check": "66acd07fcea20439"}'
      >>> Log(log.path).records
      [{'step': 1}, {'step': 2}]
    """

    def __init__(self, path: Path, sync: bool = True, repair: bool = True) -> None:
        self.sync = sync
        self.path, self.records, self._check = path, list[dict[str, Any]](), ""
        with as_user_error("read", path):
            data = path.read_bytes() if path.exists() else b""
        *lines, half = data.split(b"\n")
        for i, line in enumerate(lines):
            try:
                record, self._check = _opened(line, self._check)
            except (ValueError, RecursionError) as error:
                if i == len(lines) - 1:
                    half = line
                    if half.startswith(b"{"):
                        print(f"{path}: the last line is incomplete and ignored", file=sys.stderr)
                    break
                raise UserError(
                    f"{path} is damaged: line {i + 1} is not as it was written; without it and the lines after it the "
                    "same command goes on"
                ) from error
            self.records.append(record)
        if half and not half.startswith(b"{"):  # no beginning of a record, as a process that writes now would leave
            print(f"{path}: the last line is no record and ignored", file=sys.stderr)
        if half and repair:  # the process was killed while writing this line
            self.cut(len(self.records))

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Appends records; nan and inf become null.

        Raises:
          UserError: the file cannot be written; the parts of these records in it will be ignored.
        """
        check, lines, plain = self._check, list[str](), [to_json_value(record) for record in records]
        for record in plain:
            line, check = _sealed(record, check)
            lines.append(line)
        with as_user_error("write", self.path):
            size = self.path.stat().st_size if self.path.exists() else 0
            try:
                with self.path.open("ab") as file:
                    file.write("".join(lines).encode())
                    file.flush()
                    if self.sync:
                        os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, size)  # a full disk may hold half a line
                raise
        self.records += plain
        self._check = check

    def cut(self, n: int) -> None:
        """Keeps the first n records, and rewrites the file."""
        lines, self._check, self.records = [], "", self.records[:n]
        for record in self.records:
            line, self._check = _sealed(record, self._check)
            lines.append(line)
        atomic_write(self.path, "".join(lines))


def _sealed(record: Mapping[str, Any], before: str) -> tuple[str, str]:
    """Returns the line of a record and its checksum."""
    text = json.dumps(record, allow_nan=False)
    check = _digest(before, text)
    return f'{text[:-1]}{_MARK}{check}"}}\n', check


def _opened(line: bytes, before: str) -> tuple[dict[str, Any], str]:
    """Returns the record of a line and its checksum.

    Raises:
      ValueError: the line was not written here after the lines before it.
    """
    head, _, check = line.decode().rpartition(_MARK)
    text, check = f"{head}}}", check.removesuffix('"}')
    record = json.loads(text)
    if not isinstance(record, dict) or check != _digest(before, text):
        raise ValueError("another check")
    return record, check


def _digest(before: str, text: str) -> str:
    return hashlib.sha256((before + text).encode()).hexdigest()[:16]
