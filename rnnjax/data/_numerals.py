"""Parses numbers in text: a field is either entirely a number, or refused with file and line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnjax.data._files import raise_at_line

POINT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?(nan|inf(inity)?)", re.IGNORECASE)
_GAPS = " \u00a0\u2007\u2009\u202f'\u2019"  # thousands separators
_GROUPED = re.compile(r"[-+]?[1-9][0-9]{0,2}(\.[0-9]{3})?")  # may have points between thousands
_OTHER = re.compile("[^\t -~]")  # characters at some of which numpy would split a number
_LONGEST = 1000  # characters of a number
_SHOWN = 40  # characters of a field in a message

_Rows = Sequence[tuple[int, str]]


def _shorten(text: str) -> str:
    """Shortens a long field for a message."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def parse_number(text: str, path: str, line: int, dtype: Any = np.float64) -> float:
    """Parses a finite number of ASCII digits with a decimal point; raises a `UserError` that names the line if not."""
    if _INFINITE.fullmatch(text):
        raise_at_line(path, line, f"{text!r} is not finite")
    if not text:
        raise_at_line(path, line, "a field is empty")
    if len(text) > _LONGEST or not POINT.fullmatch(text):
        raise_at_line(path, line, f"{_shorten(text)} is not a number")
    value = float(text)
    if not abs(value) <= float(np.finfo(dtype).max):
        raise_at_line(path, line, f"{_shorten(text)} is too large for {np.dtype(dtype)}")
    return value


def parse_matrix(rows: _Rows, path: str, dtype: Any = np.float64) -> np.ndarray:
    """Parses lines of numbers separated by spaces into a matrix.

    Args:
      rows: lines with their line numbers.
      path: of the file, for messages.
      dtype: of the matrix.

    Raises:
      UserError: a line, which is named, has more or fewer numbers than the first, or a field is not a finite number.

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
    split = [(line, re.split("[ \t]+", text.strip(" \t"))) for line, text in rows]  # slow, but finds the faulty line
    width = len(split[0][1])
    for line, row in split:
        if len(row) != width:
            raise_at_line(path, line, f"{len(row)} numbers, and {width} in the lines before")
    return np.array([[parse_number(field, path, line, dtype) for field in row] for line, row in split], dtype)


def _normalize_number(text: str, mark: str) -> str | None:
    """Returns a number with a decimal point and no thousands separators, if `text` is one with the decimal mark `mark`.

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
    """Returns whether a field is a number in any form, including nan and inf."""
    return bool(_INFINITE.fullmatch(text)) or any(_normalize_number(text, mark) is not None for mark in ".,")


def has_decimal_comma(text: str) -> bool:
    """Returns whether a field is a number only if its decimal mark is a comma.

    Example:
      >>> [has_decimal_comma(text) for text in ("3,5", "1,234", "3.5", "1.234", "a")]
      [True, False, False, False, False]
    """
    return "," in text and _normalize_number(text, ".") is None and _normalize_number(text, ",") is not None


def looks_numeric(field: str) -> bool:
    """Returns whether a field cannot be a name: a number in any form, or digits without letters, as in dates.

    Example:
      >>> [looks_numeric(field) for field in ("1.234,5", "2020-01-01", "2m_temperature", "a")]
      [True, True, False, False]
    """
    return is_number(field) or (any(map(str.isdigit, field)) and not any(map(str.isalpha, field)))


def thousands_remark(rows: _Rows) -> list[str]:
    """Returns a remark if a point in each number of a column may separate thousands.

    Example:
      >>> thousands_remark([(1, "1.234"), (2, "999")]), thousands_remark([(1, "1.234"), (2, "0.5")])
      (["line 1: '1.234' is read as 1.234; if it is 1234, give decimal=comma"], [])
    """
    pointed = [(line, text) for line, text in rows if "." in text]
    if not pointed or not all(_GROUPED.fullmatch(text) for _, text in rows):
        return []
    line, text = pointed[0]
    return [f"line {line}: {text!r} is read as {text}; if it is {text.replace('.', '')}, give decimal=comma"]


def parse_column(rows: _Rows, path: str, commas: bool = False, decimal: str = "auto") -> np.ndarray:
    """Parses fields as numbers of one form: with a decimal point or comma, with or without thousands separators.

    A field that is a number with a decimal point is read as such. Decimal commas and thousands separators are accepted
    if all fields together allow only one reading.

    Args:
      rows: fields with their line numbers.
      path: of the file, for messages.
      commas: whether other columns of the file have decimal commas; then 1.234 may be 1234.
      decimal: the decimal mark, point or comma; auto to find it.

    Returns:
      float64 `[n]`

    Raises:
      UserError: a field, whose line is named, is not a number or is ambiguous.

    Example:
      >>> parse_column([(1, "1.234,5"), (2, "-0,25")], "a.csv").tolist()
      [1234.5, -0.25]
      >>> parse_column([(1, "1,234")], "a.csv")
      Traceback (most recent call last):
      rnnjax.base.UserError: a.csv, line 1: '1,234' may be 1234 or 1.234
    """
    texts = [text for _, text in rows]
    if decimal != "auto":
        mark = "," if decimal == "comma" else "."
        texts = [_normalize_number(text, mark) or _refuse_mark(text, mark, path, line) for line, text in rows]
    elif commas or not all(POINT.fullmatch(text) for text in texts):
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


def _refuse_mark(text: str, mark: str, path: str, line: int) -> str:
    """Refuses a field that is no number with the given decimal mark."""
    if _normalize_number(text, "." if mark == "," else ",") is None:
        parse_number(text, path, line)
    said = "comma" if mark == "," else "point"
    raise_at_line(path, line, f"{_shorten(text)} is not a number with the decimal mark {mark!r}: decimal={said}")
