"""Numbers as they are written: all of a field is a number, or the field is refused by file and line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnjax.data._files import raise_at_line

POINT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?(nan|inf(inity)?)", re.IGNORECASE)
_GAPS = " \u00a0\u2007\u2009\u202f'\u2019"  # between thousands
_OTHER = re.compile("[^\t -~]")  # characters at some of which numpy would cut a number in two
_LONGEST = 1000  # characters of a number
_SHOWN = 40  # characters of a field in a message

_Rows = Sequence[tuple[int, str]]


def _shorten(text: str) -> str:
    """A field as a message has it: what is long is cut."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def parse_number(text: str, path: str, line: int, dtype: Any = np.float64) -> float:
    """A finite number of ASCII digits with a decimal point, or a `UserError` that says where there is none."""
    if _INFINITE.fullmatch(text):
        raise_at_line(path, line, f"{text!r} is not finite")
    if len(text) > _LONGEST or not POINT.fullmatch(text):
        raise_at_line(path, line, f"{_shorten(text)} is not a number")
    value = float(text)
    if not abs(value) <= float(np.finfo(dtype).max):
        raise_at_line(path, line, f"{_shorten(text)} is too large for {np.dtype(dtype)}")
    return value


def parse_matrix(rows: _Rows, path: str, dtype: Any = np.float64) -> np.ndarray:
    """Lines of numbers between spaces as a matrix; what is wrong in them is named.

    Args:
      rows: lines with their numbers in the file.
      path: of the file, for messages.
      dtype: of the matrix.

    Raises:
      UserError: a line has another number of numbers than the first, or something that is no finite number.

    Example:
      >>> print(parse_matrix([(1, "1 2"), (4, "3 4")], "a.txt"))
      [[1. 2.] [3. 4.]]
    """
    if not any(_OTHER.search(text) for _, text in rows):
        try:
            found = np.loadtxt([text for _, text in rows], dtype, comments=None, ndmin=2)
            if len(found) == len(rows) and np.isfinite(found).all():
                return found
        except ValueError:
            pass
    split = [(line, re.split("[ \t]+", text.strip(" \t"))) for line, text in rows]  # slowly, to say what is wrong
    width = len(split[0][1])
    for line, row in split:
        if len(row) != width:
            raise_at_line(path, line, f"{len(row)} numbers, and {width} in the lines before")
    return np.array([[parse_number(field, path, line, dtype) for field in row] for line, row in split], dtype)


def _normalize_number(text: str, mark: str) -> str | None:
    """A number with a decimal point and no marks between thousands, if `text` is one whose decimal mark is `mark`.

    Example:
      >>> _normalize_number("1.234,5", ","), _normalize_number("1 234.5", "."), _normalize_number("1.23,4", ",")
      ('1234.5', '1234.5', None)
    """
    whole, at, rest = text.partition(mark)
    other = "," if mark == "." else "."
    sign, digits = (whole[:1], whole[1:]) if whole[:1] in ("-", "+") else ("", whole)
    for between in (re.escape(other), *_GAPS):
        if re.fullmatch(f"[0-9]{{1,3}}({between}[0-9]{{3}})+", digits):
            digits = re.sub(between, "", digits)
    found = f"{sign}{digits}{'.' if at else ''}{rest}"
    return found if POINT.fullmatch(found) and "." not in digits else None


def is_number(text: str) -> bool:
    """Whether a field is a number in any form, or says that it is none: nan, inf."""
    return bool(_INFINITE.fullmatch(text)) or any(_normalize_number(text, mark) is not None for mark in ".,")


def has_decimal_comma(text: str) -> bool:
    """Whether a field is a number only if its decimal mark is a comma.

    Example:
      >>> [has_decimal_comma(text) for text in ("3,5", "1,234", "3.5", "1.234", "a")]
      [True, False, False, False, False]
    """
    return "," in text and _normalize_number(text, ".") is None and _normalize_number(text, ",") is not None


def parse_column(rows: _Rows, path: str, commas: bool = False) -> np.ndarray:
    """Fields as numbers, all in one form: with a decimal point or comma, with or without marks between thousands.

    What is a number with a decimal point as it stands is one. Marks between thousands and decimal commas are read where
    all fields together leave one way to read them.

    Args:
      rows: fields with their lines.
      path: of the file, for messages.
      commas: whether other columns of the file have decimal commas: then 1.234 may be 1234.

    Returns:
      float64 `[n]`

    Raises:
      UserError: a field, whose line is named, is no number, or may be two different ones.

    Example:
      >>> parse_column([(1, "1.234,5"), (2, "-0,25")], "a.csv").tolist()
      [1234.5, -0.25]
      >>> parse_column([(1, "1,234")], "a.csv")
      Traceback (most recent call last):
      rnnjax.base.UserError: a.csv, line 1: '1,234' may be 1234 or 1.234
    """
    texts = [text for _, text in rows]
    if commas or not all(POINT.fullmatch(text) for text in texts):
        point, comma = ([_normalize_number(text, mark) for text in texts] for mark in ".,")
        for (line, text), a, b in zip(rows, point, comma):
            if a is None and b is None:
                parse_number(text, path, line)
        if None in point and None in comma:
            line, text = next(row for row, a in zip(rows, point) if a is None)
            raise_at_line(
                path, line, f"{_shorten(text)} has no decimal point, and other fields of its column have no comma"
            )
        if None not in point and None not in comma:
            for (line, text), a, b in zip(rows, point, comma):
                if float(a or 0) != float(b or 0):
                    raise_at_line(path, line, f"{_shorten(text)} may be {float(a or 0):.15g} or {float(b or 0):.15g}")
        texts = [text or "" for text in (comma if None in point else point)]
    return np.array([parse_number(text, path, line) for text, (line, _) in zip(texts, rows)])
