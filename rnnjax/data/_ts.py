"""Labelled time series in .ts files, the format of sktime and of the UEA and UCR archives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rnnjax.base import UserError
from rnnjax.data._files import raise_at_line, read_lines
from rnnjax.data._labelled import Labelled, name_some, with_classes
from rnnjax.data._numerals import parse_number
from rnnjax.data._opening import UTF8


class _Header(NamedTuple):
    """The header of a .ts file: the lines before @data.

    Attributes:
      said: the rest of each line by its name, in lower case.
      line: number of the line where the data begin.
    """

    said: dict[str, list[str]]
    line: int

    def true(self, name: str) -> bool:
        """Returns whether the header sets a name to true."""
        return [word.lower() for word in self.said.get(name, [])[:1]] == ["true"]

    def number(self, name: str) -> int | None:
        """Returns the whole number of a name, if the header has one."""
        word = next(iter(self.said.get(name, [])), "")
        return int(word) if word.isascii() and word.isdigit() and len(word) < 10 else None


def read_ts(path: str, classes: Sequence[str] = (), encoding: str = UTF8) -> Labelled:
    """Reads a .ts file of labelled series: one case per line, `:` between dimensions, `,` between values, class last.

    Args:
      path: a text file, which may be compressed with gzip.
      classes: class names of another file, which determine the indices and need not all occur; () for those in the
        header, which must all occur.
      encoding: of the text; a byte order mark takes precedence.

    Returns:
      float32 `[T, D]` for each case, each with its own T; the skipped lines are counted, and what the header says
        otherwise is a remark: `.note()`.

    Raises:
      UserError: the header is not that of labelled series; a line, which is named, has dimensions of different lengths,
        a missing value, or a class that is not in the header; or a class is empty.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "toy.ts"
      >>> _ = path.write_text("@classLabel true a b\\n@data\\n1,2,3:4,5,6:b\\n7:8:a\\n")
      >>> found = read_ts(str(path))
      >>> [x.shape for x in found.xs], found.y.tolist(), found.classes
      ([(3, 2), (1, 2)], [1, 0], ('a', 'b'))

    Reference: the file format of sktime and of the UEA and UCR archives.
    """
    header = _read_header(path, encoding)
    if not header.true("classlabel"):
        raise UserError(f"{path} has no classes: its header does not say @classLabel true")
    if header.true("timestamps"):
        raise UserError(f"{path} has time stamps, which are not supported")
    named = tuple(header.said["classlabel"][1:])
    if len(set(named)) < len(named):
        raise UserError(f"{path}: its header names the class {max(named, key=named.count)!r} twice")
    if not named:
        raise UserError(f"{path} has no classes: its header names none after @classLabel true")
    xs, labels = [], []
    passed: Counter[str] = Counter()
    for line, row in _data_lines(path, header.line, encoding, passed):
        *dimensions, label = row
        if label not in named:
            raise_at_line(path, line, f"the class {label!r:.40} is none of {name_some(named)}")
        labels.append((line, label))
        xs.append(_stack_dimensions(dimensions, path, line))
        if xs[-1].shape[1] != xs[0].shape[1]:
            raise_at_line(path, line, f"{xs[-1].shape[1]} dimensions, and {xs[0].shape[1]} in the lines before")
    if not xs:
        raise UserError(f"{path} has no case")
    empty = set(named) - {label for _, label in labels}
    if empty and not classes:
        raise UserError(f"{path}: the class {next(c for c in named if c in empty)!r} is empty")
    found = with_classes(xs, labels, tuple(classes) or named, path)
    return found._replace(passed=passed, remarks=tuple(_contradictions(header, xs)))


def _contradictions(header: _Header, xs: list[np.ndarray]) -> Iterator[str]:
    """Yields remarks on what the header says of lengths and dimensions, and the cases do not have."""
    lengths, wide = sorted({len(x) for x in xs}), xs[0].shape[1]
    shown = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 1 else f"{lengths[0]}"
    same = header.true("equallength")
    if same and len(lengths) > 1:
        yield f"its header says @equalLength true, and the cases have {shown} values"
    elif same and (said := header.number("serieslength")) is not None and said != lengths[0]:
        yield f"its header says @seriesLength {said}, and the cases have {shown} values"
    for name in ("dimensions", "dimension"):
        if (said := header.number(name)) is not None and said != wide:
            yield f"its header says @{name} {said}, and the cases have {wide}"
    if header.true("univariate") and wide > 1:
        yield f"its header says @univariate true, and the cases have {wide} dimensions"


def _read_header(path: str, encoding: str = UTF8) -> _Header:
    """Reads the lines of a .ts file that begin with @."""
    said: dict[str, list[str]] = {}
    for number_, line in enumerate(read_lines(path, encoding), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if not words[0].startswith("@"):
            raise_at_line(path, number_, "data before the line @data")
        if words[0].lower() == "@data":
            return _Header(said, number_)
        name = words[0][1:].lower()
        if name in said:
            raise_at_line(path, number_, f"@{words[0][1:]} a second time")
        said[name] = words[1:]
    raise UserError(f"{path} is no .ts file: it has no line @data")


def _data_lines(path: str, after: int, encoding: str, passed: Counter[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields the lines of data with their numbers; blank lines and comments, which begin with #, are counted."""
    for line, text in enumerate(read_lines(path, encoding), 1):
        kind = "remarks" if text.lstrip().startswith("#") else "" if text.strip() else "blank lines"
        if line > after and kind:
            passed[kind] += 1
        elif line > after:
            yield line, [field.strip() for field in text.split(":")]


def _stack_dimensions(dimensions: list[str], path: str, line: int) -> np.ndarray:
    """Stacks the dimensions of a case, `[T, D]`."""
    if any("?" in d for d in dimensions):
        raise_at_line(path, line, "a value is missing (?)")
    rows = [[parse_number(field.strip(), path, line, np.float32) for field in d.split(",")] for d in dimensions]
    if len({len(row) for row in rows}) != 1:
        raise_at_line(path, line, f"dimensions of {', '.join(str(len(row)) for row in rows) or 'no'} values")
    return np.array(rows, np.float32).T
