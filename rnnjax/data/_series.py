"""Time series: one column of a table of numbers, whose separator, header and decimal mark are found or given."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from rnnjax.base import UserError
from rnnjax.data._counted import Column
from rnnjax.data._files import raise_at_line, read_lines
from rnnjax.data._numerals import has_decimal_comma, looks_numeric, parse_column, thousands_remark
from rnnjax.data._opening import UTF8
from rnnjax.data._table import SEPARATORS, Rows, split_columns

_DECIMALS, _HEADERS = ("auto", "point", "comma"), ("auto", "yes", "no")
_PLACE = re.compile(r"[-+]?[0-9]{1,9}")
_MISSING = ("", "na", "n/a", "null", "none", "?", "-", ".", "missing")
_QUOTED = re.compile(r'"[^"]*"([,;| \t]+"[^"]*")*')  # a line of quoted fields
_YEAR = re.compile("[12][0-9]{3}")


def read_series(
    path: str,
    column: int | str = 0,
    encoding: str = UTF8,
    separator: str = "auto",
    header: str = "auto",
    decimal: str = "auto",
) -> Column:
    """Reads one column of a text of numbers, separated by commas, semicolons, tabs or spaces, with or without a header.

    With header="auto", the first line is a header if it has no number, if it has a name above a column of numbers, if
    it alone is quoted, or if it contains the requested name and the name is not an index. Names and numbers may be
    quoted. A first line sep=; sets the separator. With decimal="auto", decimal commas and thousands separators are
    accepted if all fields of the column allow only one reading; a point is a decimal mark, and a column in which it may
    separate thousands has a remark.

    Args:
      path: a text file, which may be compressed with gzip. Blank lines and lines that begin with # are skipped.
      column: its index, from 0 or from the end (-1), or its name in the header; an index may be a string.
      encoding: of the text; a byte order mark takes precedence.
      separator: between columns: auto, comma, semicolon, tab, space, bar, or none for a single column.
      header: whether the first line holds names: auto, yes or no.
      decimal: the decimal mark: auto, point or comma.

    Returns:
      float64 `[n]`, which also counts the skipped lines: `.passed`, `.note()`.

    Raises:
      UserError: a line, which is named, has more or fewer columns than the first, or no finite number in this column;
        or it is ambiguous.
      ValueError: an argument has none of the values above.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "spots.csv"
      >>> _ = path.write_text("year,spots\\n1749,96.7\\n1750,104.3\\n")
      >>> found = read_series(str(path), "spots")
      >>> print(found, found.note())
      [ 96.7 104.3] passed over: 1 line of names
    """
    _check_options(column, separator=separator, header=header, decimal=decimal)
    texts, passed = _numbered_lines(path, encoding)
    if len(texts) > 1 and (said := re.fullmatch("sep=(.)", texts[0][1].strip())):  # spreadsheets write this
        texts, passed["lines that set the separator"] = texts[1:], 1
        separator = said[1] if separator == "auto" else separator
    rows = split_columns(texts, path, column, separator, decimal)
    for line, row in rows:
        if len(row) != len(rows[0][1]):
            raise_at_line(path, line, f"{len(row)} columns, and {len(rows[0][1])} in the lines before")
    header = "yes" if header == "auto" and _quotes_names(texts) else header
    at, named, remarks = _find_column(rows, column, path, header)
    passed["lines of names"] = int(named)
    body = rows[named:]
    if not body:
        raise UserError(f"{path} has a header and no numbers")
    fields = [(line, row[at]) for line, row in body]
    commas = decimal == "auto" and any(has_decimal_comma(field) for _, row in body for field in row)
    values = parse_column(fields, path, commas, decimal)
    return Column.of(values, passed, [*remarks, *([] if decimal != "auto" or commas else thousands_remark(fields))])


def _check_options(column: int | str, **said: str) -> None:
    """Refuses a column that is neither a place nor a name, and an option that there is not."""
    if isinstance(column, bool) or not isinstance(column, (int, str)):
        raise ValueError(f"read_series: column is an index or a name, got {column!r:.40}")
    known = {"separator": ("auto", "none", *SEPARATORS), "header": _HEADERS, "decimal": _DECIMALS}
    for name, value in said.items():
        if value not in known[name]:
            raise ValueError(f"read_series: {name} is one of {', '.join(known[name])}, got {value!r:.40}")


def _numbered_lines(path: str, encoding: str) -> tuple[list[tuple[int, str]], Counter[str]]:
    """Returns the lines of the table with their numbers, and counts of the others."""
    texts: list[tuple[int, str]] = []
    passed: Counter[str] = Counter()
    for line, text in enumerate(read_lines(path, encoding), 1):
        kind = "remarks" if text.lstrip().startswith("#") else "" if text.strip() else "blank lines"
        if kind:
            passed[kind] += 1
        else:
            texts.append((line, text))
    if not texts:
        raise UserError(f"{path} has no numbers")
    return texts, passed


def _find_column(rows: Rows, column: int | str, path: str, header: str) -> tuple[int, bool, list[str]]:
    """Returns the index of a column, whether the first line is a header, and remarks."""
    names = rows[0][1]
    width, named = len(names), header == "yes" or (header == "auto" and _has_names(rows))
    at = int(column) if isinstance(column, int) or _PLACE.fullmatch(column) else None
    known = isinstance(column, str) and column in names and header != "no"
    if known and (named or at is None or not -width <= at < width):
        if names.count(str(column)) > 1:
            raise UserError(f"{path} has {names.count(str(column))} columns {column!r}: give its place, from 0")
        return names.index(str(column)), True, []
    if at is None:
        raise UserError(f"{path} has no column {column!r}: {', '.join(names) if named else 'it has no header'}")
    if not -width <= at < width:
        raise UserError(f"{path} has {width} columns, and none numbered {at}")
    return at, named, [] if header != "auto" or named else _header_remarks(rows, path)


def _has_names(rows: Rows) -> bool:
    """Whether the first line holds names: no number at all, or a name, or nothing, above a column of numbers."""
    first, *below = (row for _, row in rows)
    names = [not looks_numeric(field) and field.lower() not in _MISSING for field in first]
    if any(names) and not any(map(looks_numeric, first)):
        return True
    if not below:
        return False
    over = [all(looks_numeric(row[i]) or (names[i] and _lacks(row[i])) for row in below) for i in range(len(first))]
    indexed = not first[0] and over[0] and first[1:] == [str(i) for i in range(len(first) - 1)]  # as pandas writes
    return indexed or any(name and numbers for name, numbers in zip(names, over))


def _quotes_names(texts: Sequence[tuple[int, str]]) -> bool:
    """Whether all fields of the first line are quoted, and those of no other line: names, even if they are numbers."""
    quoted = [bool(_QUOTED.fullmatch(text.strip())) for _, text in texts]
    return len(quoted) > 1 and quoted[0] and not any(quoted[1:])


def _lacks(field: str) -> bool:
    return field.lower() in _MISSING


def _header_remarks(rows: Rows, path: str) -> list[str]:
    """Remarks on a first line of numbers that may be names; refuses one of years above numbers of another kind."""
    (line, first), *below = rows
    shown, at = ", ".join(first[:3]), [i for i, field in enumerate(first) if looks_numeric(field)]
    years = [first[i] for i in at]
    if below and len(first) > 1 and all(map(_YEAR.fullmatch, years)) and len({*years}) == len(years) > 0:
        alike = [bool(_YEAR.fullmatch(row[i])) for _, row in below for i in at]
        if not all(alike) if sorted(years) == years == first else not any(alike):
            raise_at_line(path, line, f"{shown} may be names or numbers: header=yes or header=no decides")
    counted = first == [str(i) for i in range(len(first))] and not all(_whole(row) for _, row in below)
    apart = _whole(first) and len({*first}) == len(first)
    above = apart and all(re.search("[.,]", field) for _, row in below for field in row)
    if below and (counted or above):
        return [f"line {line} ({shown}) is read as numbers; if it holds names, give header=yes"]
    return []


def _whole(row: Sequence[str]) -> bool:
    return all(field.lstrip("+-").isdigit() for field in row)
