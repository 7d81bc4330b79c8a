"""Time series: one-dimensional series, frames between blank lines, and .ts files."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnjax.base import UserError
from rnnjax.data._files import raise_at_line, read_blocks, read_lines
from rnnjax.data._guard import reader_errors
from rnnjax.data._labelled import Labelled, name_some, with_classes
from rnnjax.data._numerals import POINT, has_decimal_comma, is_number, parse_matrix, parse_number
from rnnjax.data._numerals import parse_column as numeric_column
from rnnjax.data._opening import UTF8

_PLACE = re.compile(r"[-+]?[0-9]{1,9}")
_QUOTED = re.compile('"[^"]*"')


def read_series(path: str, column: int | str = 0, encoding: str = UTF8) -> np.ndarray:
    """Reads one column of a text of numbers, separated by commas, semicolons, tabs or spaces, with or without a header.

    The first line is a header if it has no number, or if it contains the requested name and the name is not an index.
    Names and numbers may be quoted. A first line sep=; sets the separator. Decimal commas and thousands separators are
    accepted if all fields of the column allow only one reading.

    Args:
      path: a text file, which may be compressed with gzip. Blank lines and lines that begin with # are skipped.
      column: its index, from 0 or from the end (-1), or its name in the header; an index may be a string.
      encoding: of the text; a byte order mark takes precedence.

    Returns:
      float64 `[n]`

    Raises:
      UserError: a line, which is named, has more or fewer columns than the first, or no finite number in this column;
        or it is ambiguous.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "spots.csv"
      >>> _ = path.write_text("year,spots\\n1749,96.7\\n1750,104.3\\n")
      >>> print(read_series(str(path), "spots"))
      [ 96.7 104.3]
    """
    texts = [(i, s) for i, s in enumerate(read_lines(path, encoding), 1) if s.strip() and not s.startswith("#")]
    if not texts:
        raise UserError(f"{path} has no numbers")
    rows = _split_columns(texts, path, column)
    names = rows[0][1]
    at, header = _find_column(names, column, path)
    for line, row in rows:
        if len(row) != len(names):
            raise_at_line(path, line, f"{len(row)} columns, and {len(names)} in the lines before")
    if not rows[header:]:
        raise UserError(f"{path} has a header and no numbers")
    commas = any(has_decimal_comma(field) for _, row in rows[header:] for field in row)
    return numeric_column([(line, row[at] or "nothing") for line, row in rows[header:]], path, commas)


def _find_column(names: list[str], column: int | str, path: str) -> tuple[int, bool]:
    """Returns the index of a column, and whether the first line is a header."""
    width, header = len(names), not any(map(_looks_numeric, names))
    at = int(column) if isinstance(column, int) or _PLACE.fullmatch(column) else None
    if isinstance(column, str) and column in names and (header or at is None or not -width <= at < width):
        if names.count(column) > 1:
            raise UserError(f"{path} has {names.count(column)} columns {column!r}: give its place, from 0")
        return names.index(column), True
    if at is None:
        raise UserError(f"{path} has no column {column!r}: {', '.join(names) if header else 'it has no header'}")
    if not -width <= at < width:
        raise UserError(f"{path} has {width} columns, and none numbered {at}")
    return at, header


def _looks_numeric(field: str) -> bool:
    """Returns whether a field cannot be a name: a number in any form, or digits without letters, as in dates."""
    return is_number(field) or (any(map(str.isdigit, field)) and not any(map(str.isalpha, field)))


def _split_columns(texts: list[tuple[int, str]], path: str, column: int | str) -> list[tuple[int, list[str]]]:
    """Splits lines into fields, or makes one field of each.

    Raises:
      UserError: one column is requested, and each line may be one number or two.
    """
    separator, rows = _split_records(texts, path)
    if separator in ";\t" or all(len(row) == 1 for _, row in rows):
        return rows
    alone = [(line, [text.strip()]) for line, text in texts]
    header = not _looks_numeric(alone[0][1][0])
    if not alone[header:] or not all(is_number(row[0]) for _, row in alone[header:]):
        return rows
    widths = {len(row) for _, row in rows[header:]}
    if header:  # a single name, and numbers with or without the mark
        return alone if len(rows[0][1]) == 1 else rows
    if separator == "," and not all(map(_commas_separate, (row for _, row in rows))):
        return alone
    if len(widths) > 1 or column not in (0, "0"):
        return rows
    mark = {",": "a decimal comma", " ": "a space between thousands"}[separator]
    raise_at_line(
        path,
        alone[0][0],
        f"{alone[0][1][0]!r} may be a number with {mark}, or columns: give the column from the end, {-max(widths)}, "
        "or give them names in a first line",
    )


def _split_records(texts: list[tuple[int, str]], path: str) -> tuple[str, list[tuple[int, list[str]]]]:
    """Returns the separator and the fields: semicolons, else tabs, else commas, else spaces, whichever the file has.

    The first separator that gives all lines the same number of columns is preferred.
    """
    said = re.fullmatch("sep=(.)", texts[0][1].strip())  # spreadsheets write this
    if said and len(texts) > 1:
        return said[1], list(_records(texts[1:], said[1], path))
    bare = _QUOTED.sub("", "\n".join(text for _, text in texts))
    there = [s for s in ";\t," if s in bare] or [" "]
    found = {separator: list(_records(texts, separator, path)) for separator in there}
    even = [s for s, rows in found.items() if len({len(row) for _, row in rows}) == 1 < len(rows[0][1])]
    return next((s, found[s]) for s in (*even, *there))


def _records(texts: list[tuple[int, str]], separator: str, path: str) -> Iterator[tuple[int, list[str]]]:
    """Yields lines as fields without quotation marks; a quoted field may span several lines.

    Example:
      >>> list(_records([(1, '1749;01; 96.7;"a;b"'), (2, "1;2;3;4")], ";", "a.csv"))
      [(1, ['1749', '01', '96.7', 'a;b']), (2, ['1', '2', '3', '4'])]
      >>> list(_records([(7, " 1 2")], " ", "a.csv"))
      [(7, ['1', '2'])]
    """
    if separator == " ":
        yield from ((line, [a or b for a, b in re.findall(r'"([^"]*)"|([^ \t]+)', text)]) for line, text in texts)
        return
    lines = (f"{text}\n" for _, text in texts)
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    while reader.line_num < len(texts):
        line = texts[reader.line_num][0]
        with reader_errors(f"{path}, line {line}:", "is no table"):
            row = next(reader)
        yield line, [field.strip() for field in row]


def _commas_separate(row: list[str]) -> bool:
    """Whether the pieces between commas may be separate numbers: not "-0", "05", "1 234" or "1.234.567"."""
    plain = all(POINT.fullmatch(field) for field in row)
    return plain and row[0] not in ("-0", "+0") and not re.match("0[0-9]", row[-1])


def read_frames(path: str, encoding: str = UTF8) -> list[np.ndarray]:
    """Reads utterances separated by blank lines, with one frame of numbers per line, as in Japanese Vowels.

    Args:
      path: a text file, which may be compressed with gzip.
      encoding: of the text; a byte order mark takes precedence.

    Returns:
      one float32 `[T, D]` per utterance.

    Raises:
      UserError: a line, which is named, has more or fewer numbers than the first, or a field is not a number.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "ae"
      >>> _ = path.write_text("1 2\\n3 4\\n\\n5 6\\n")
      >>> [frames.shape for frames in read_frames(str(path))]
      [(2, 2), (1, 2)]
    """
    parts = list(read_blocks(path, encoding))
    if not parts:
        raise UserError(f"{path} has no frame")
    frames = parse_matrix([row for block in parts for row in block], path, np.float32)
    return np.split(frames, np.cumsum([len(block) for block in parts])[:-1])


def vowels(folder: str) -> tuple[Labelled, Labelled]:
    """Reads the training and test utterances from a folder with ae.train, size_ae.train, ae.test and size_ae.test.

    The size files give the number of utterances of each speaker; the speakers follow one another.

    Raises:
      UserError: a file is missing or faulty, or the sizes do not match the utterances.

    Example:
      >>> vowels("nowhere")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere/ae.train: No such file or directory
    """

    def part(name: str) -> Labelled:
        path, sizes = Path(folder) / f"ae.{name}", Path(folder) / f"size_ae.{name}"
        frames = read_frames(str(path))
        said = [(i, n) for i, line in enumerate(read_lines(str(sizes)), 1) for n in line.split()]
        each = [parse_number(n, str(sizes), i) for i, n in said]
        for speaker, ((line, _), n) in enumerate(zip(said, each), 1):
            if n < 1 or n != int(n):
                raise_at_line(str(sizes), line, f"{n:g} utterances of speaker {speaker}; at least 1 is needed")
        if sum(each) != len(frames):
            raise UserError(f"{path} has {len(frames)} utterances, {sizes} says {sum(each):g}")
        y = np.repeat(np.arange(len(each), dtype=np.int32), np.array(each, int))
        return Labelled(frames, y, tuple(str(i + 1) for i in range(len(each))))

    train, test = part("train"), part("test")
    if len(train.classes) != len(test.classes) or train.xs[0].shape[1] != test.xs[0].shape[1]:
        raise UserError(f"{folder}: ae.train and ae.test differ in their speakers or in the numbers of a frame")
    return train, test


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


def read_ts(path: str, classes: Sequence[str] = (), encoding: str = UTF8) -> Labelled:
    """Reads a .ts file of labelled series: one case per line, `:` between dimensions, `,` between values, class last.

    Args:
      path: a text file, which may be compressed with gzip.
      classes: class names of another file, which determine the indices and need not all occur; () for those in the
        header, which must all occur.
      encoding: of the text; a byte order mark takes precedence.

    Returns:
      float32 `[T, D]` for each case, each with its own T.

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
    for line, row in _data_lines(path, header.line, encoding):
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
    return with_classes(xs, labels, tuple(classes) or named, path)


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


def _data_lines(path: str, after: int, encoding: str = UTF8) -> Iterator[tuple[int, list[str]]]:
    """Yields the lines of data with their line numbers; blank lines and comments, which begin with #, are skipped."""
    for line, text in enumerate(read_lines(path, encoding), 1):
        if line > after and text.strip() and not text.startswith("#"):
            yield line, [field.strip() for field in text.split(":")]


def _stack_dimensions(dimensions: list[str], path: str, line: int) -> np.ndarray:
    """Stacks the dimensions of a case, `[T, D]`."""
    if any("?" in d for d in dimensions):
        raise_at_line(path, line, "a value is missing (?)")
    rows = [[parse_number(field.strip(), path, line, np.float32) for field in d.split(",")] for d in dimensions]
    if len({len(row) for row in rows}) != 1:
        raise_at_line(path, line, f"dimensions of {', '.join(str(len(row)) for row in rows) or 'no'} values")
    return np.array(rows, np.float32).T
