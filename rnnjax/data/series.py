"""Numbers over time: one-dimensional series, frames between blank lines, and .ts files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rnnjax.data import blocks, lines, refuse
from rnnjax.data.labelled import Labelled
from rnnjax.errors import UserError


def fields(line: str) -> list[str]:
    """The columns of a line: between semicolons, else tabs, else commas, else spaces.

    Example:
      >>> fields("1749;01; 96.7"), fields(" 1 2")
      (['1749', '01', '96.7'], ['1', '2'])
    """
    separator = next((s for s in ";\t," if s in line), None)
    return [field.strip() for field in line.split(separator)]


def number(text: str, path: str, line: int) -> float:
    """A finite number, or a `UserError` that says where there is none."""
    try:
        value = float(text)
    except ValueError:
        refuse(path, line, f"{text!r} is not a number")
    if not np.isfinite(value):
        refuse(path, line, f"{text!r} is not finite")
    return value


def numbers(rows: Sequence[tuple[int, str]], path: str, dtype: Any = np.float64) -> np.ndarray:
    """Lines of numbers between spaces as a matrix; what is wrong in them is named.

    Args:
      rows: lines with their numbers in the file.
      path: of the file, for messages.
      dtype: of the matrix.

    Raises:
      UserError: a line has another number of numbers than the first, or something that is no finite number.

    Example:
      >>> print(numbers([(1, "1 2"), (4, "3 4")], "a.txt"))
      [[1. 2.] [3. 4.]]
    """
    try:
        found = np.loadtxt([text for _, text in rows], dtype, comments=None, ndmin=2)
        if len(found) == len(rows) and np.isfinite(found).all():
            return found
    except ValueError:
        pass
    width = len(rows[0][1].split())  # once more, slowly, to say what is wrong
    for line, text in rows:
        if len(text.split()) != width:
            refuse(path, line, f"{len(text.split())} numbers, and {width} in the lines before")
    return np.array([[number(field, path, line) for field in text.split()] for line, text in rows], dtype)


def read_series(path: str, column: int | str = 0) -> np.ndarray:
    """One column of a text of numbers: comma-, semicolon-, tab- or space-separated, with or without a header.

    Args:
      path: a UTF-8 file, which gzip may have compressed. Blank lines and lines that begin with # are passed over.
      column: by its place, from 0 or from the end (-1), or by its name in the header.

    Returns:
      float64 `[n]`

    Raises:
      UserError: a line, which is named, has another number of columns than the first, or no finite number in this one.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "spots.csv"
      >>> _ = path.write_text("year,spots\\n1749,96.7\\n1750,104.3\\n")
      >>> print(read_series(str(path), "spots"))
      [ 96.7 104.3]
    """
    rows = [(i, fields(line)) for i, line in enumerate(lines(path), 1) if line.strip() and not line.startswith("#")]
    if not rows:
        raise UserError(f"{path} has no numbers")
    width, header = len(rows[0][1]), headed(rows[0][1])
    if isinstance(column, str) and column not in (rows[0][1] if header else []):
        raise UserError(f"{path} has no column {column!r}: {', '.join(rows[0][1]) if header else 'it has no header'}")
    at = rows[0][1].index(column) if isinstance(column, str) else column
    if not -width <= at < width:
        raise UserError(f"{path} has {width} columns, and none numbered {at}")
    for line, row in rows:
        if len(row) != width:
            refuse(path, line, f"{len(row)} columns, and {width} in the lines before")
    if not rows[header:]:
        raise UserError(f"{path} has a header and no numbers")
    return numbers([(line, row[at] or "nothing") for line, row in rows[header:]], path)[:, 0]


def headed(row: list[str]) -> bool:
    """Whether a line holds names: nothing in it is a number."""
    return not any(re.fullmatch(r"[-+]?(\d|\.\d).*|[-+]?(nan|inf).*", field.lower()) for field in row)


def read_frames(path: str) -> list[np.ndarray]:
    """Utterances between blank lines, a frame of numbers a line: as the Japanese Vowels come.

    Returns:
      one float32 `[T, D]` for each.

    Raises:
      UserError: a line, which is named, has another number of numbers than the first, or something that is none.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "ae"
      >>> _ = path.write_text("1 2\\n3 4\\n\\n5 6\\n")
      >>> [frames.shape for frames in read_frames(str(path))]
      [(2, 2), (1, 2)]
    """
    parts = list(blocks(path))
    if not parts:
        raise UserError(f"{path} has no frame")
    frames = numbers([row for block in parts for row in block], path, np.float32)
    return np.split(frames, np.cumsum([len(block) for block in parts])[:-1])


def vowels(folder: str) -> tuple[Labelled, Labelled]:
    """The utterances to learn from and those to test on in a folder with ae.train, size_ae.train and the like.

    The size files say how many utterances there are of each speaker, who follow one another.

    Raises:
      UserError: a file is missing or faulty, or the sizes are not those of the utterances.

    Example:
      >>> vowels("nowhere")
      Traceback (most recent call last):
      rnnjax.errors.UserError: cannot read nowhere/ae.train: No such file or directory
    """

    def part(name: str) -> Labelled:
        path, sizes = Path(folder) / f"ae.{name}", Path(folder) / f"size_ae.{name}"
        frames = read_frames(str(path))
        each = [number(n, str(sizes), i) for i, line in enumerate(lines(str(sizes)), 1) for n in line.split()]
        for speaker, n in enumerate(each, 1):
            if n < 1 or n != int(n):
                raise UserError(f"{sizes}: {n:g} utterances of speaker {speaker}")
        if sum(each) != len(frames):
            raise UserError(f"{path} has {len(frames)} utterances, {sizes} says {sum(each):g}")
        y = np.repeat(np.arange(len(each), dtype=np.int32), np.array(each, int))
        return Labelled(frames, y, tuple(str(i + 1) for i in range(len(each))))

    train, test = part("train"), part("test")
    if len(train.classes) != len(test.classes) or train.xs[0].shape[1] != test.xs[0].shape[1]:
        raise UserError(f"{folder}: ae.train and ae.test differ in their speakers or in the numbers of a frame")
    return train, test


class Header(NamedTuple):
    """What the lines before @data of a .ts file say.

    Attributes:
      said: each by its name, in lower case.
      line: where the data begin.
    """

    said: dict[str, list[str]]
    line: int

    def true(self, name: str) -> bool:
        """Whether a name is said to be true."""
        return [word.lower() for word in self.said.get(name, [])[:1]] == ["true"]


def read_ts(path: str) -> Labelled:
    """A .ts file of labelled series: a case a line, `:` between its dimensions, `,` within, its class last.

    Returns:
      float32 `[T, D]` for each case, T of its own.

    Raises:
      UserError: the header is not that of labelled series; or a line, which is named, has dimensions of different
        lengths, a missing value, or a class that the header has not; or a class is empty.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "toy.ts"
      >>> _ = path.write_text("@classLabel true a b\\n@data\\n1,2,3:4,5,6:b\\n7:8:a\\n")
      >>> found = read_ts(str(path))
      >>> [x.shape for x in found.xs], found.y.tolist(), found.classes
      ([(3, 2), (1, 2)], [1, 0], ('a', 'b'))

    Reference: the file format of sktime and of the UEA and UCR archives.
    """
    header = read_header(path)
    if not header.true("classlabel"):
        raise UserError(f"{path} has no classes: its header does not say @classLabel true")
    if header.true("timestamps"):
        raise UserError(f"{path} has time stamps, which are not read")
    classes = tuple(header.said["classlabel"][1:])
    xs, y = [], []
    for line, row in cases(path, header.line):
        *dimensions, label = row
        if label not in classes:
            refuse(path, line, f"the class {label!r} is none of {', '.join(classes)}")
        xs.append(together(dimensions, path, line))
        y.append(classes.index(label))
        if xs[-1].shape[1] != xs[0].shape[1]:
            refuse(path, line, f"{xs[-1].shape[1]} dimensions, and {xs[0].shape[1]} in the lines before")
    if len(set(y)) < len(classes):
        raise UserError(f"{path}: the class {classes[min(set(range(len(classes))) - set(y))]!r} is empty")
    return Labelled(xs, np.array(y, np.int32), classes)


def read_header(path: str) -> Header:
    """The lines of a .ts file that begin with @."""
    said: dict[str, list[str]] = {}
    for number_, line in enumerate(lines(path), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if not words[0].startswith("@"):
            refuse(path, number_, "data before the line @data")
        if words[0].lower() == "@data":
            return Header(said, number_)
        said[words[0][1:].lower()] = words[1:]
    raise UserError(f"{path} is no .ts file: it has no line @data")


def cases(path: str, after: int) -> Iterator[tuple[int, list[str]]]:
    """The lines of data, each with its number."""
    for line, text in enumerate(lines(path), 1):
        if line > after and text.strip():
            yield line, [field.strip() for field in text.split(":")]


def together(dimensions: list[str], path: str, line: int) -> np.ndarray:
    """The dimensions of a case side by side, `[T, D]`."""
    if any("?" in d for d in dimensions):
        refuse(path, line, "a value is missing (?)")
    rows = [[number(field, path, line) for field in d.split(",")] for d in dimensions]
    if len({len(row) for row in rows}) != 1:
        refuse(path, line, f"dimensions of {', '.join(str(len(row)) for row in rows) or 'no'} values")
    return np.array(rows, np.float32).T
