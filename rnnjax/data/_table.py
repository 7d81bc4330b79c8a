"""Cuts the lines of a table into fields."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from rnnjax.data._files import raise_at_line
from rnnjax.data._guard import reader_errors
from rnnjax.data._numerals import POINT, is_number, looks_numeric

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "bar": "|"}
_QUOTED = re.compile('"[^"]*"')
Rows = list[tuple[int, list[str]]]


def split_columns(
    texts: list[tuple[int, str]], path: str, column: int | str, separator: str = "auto", decimal: str = "auto"
) -> Rows:
    """Splits lines into fields, or makes one field of each.

    Args:
      texts: lines with their line numbers.
      path: of the file, for messages.
      column: that is requested.
      separator: auto, none, a name or a character.
      decimal: auto, point or comma.

    Raises:
      UserError: one column is requested, and each line may be one number or two.

    Example:
      >>> split_columns([(1, "3,5"), (2, "-0,25")], "a.csv", 0), split_columns([(1, "a|b")], "a.csv", 0, "bar")
      ([(1, ['3,5']), (2, ['-0,25'])], [(1, ['a', 'b'])])
    """
    alone = [(line, [text.strip()]) for line, text in texts]
    if separator == "none":
        return [(line, [text.removeprefix('"').removesuffix('"')]) for line, (text,) in alone]
    if separator != "auto":
        return list(_records(texts, SEPARATORS.get(separator, separator), path))
    found, rows = _split_records(texts, path, decimal)
    if found in ";\t" or all(len(row) == 1 for _, row in rows):
        return rows
    header = not looks_numeric(alone[0][1][0])
    if not alone[header:] or not all(is_number(row[0]) for _, row in alone[header:]):
        return rows
    return _one_or_more(rows, alone, header, found, column, path, decimal)


def _one_or_more(
    rows: Rows, alone: Rows, header: bool, separator: str, column: int | str, path: str, decimal: str
) -> Rows:
    """Returns lines of several fields or of one, where each line but the header may be one number."""
    widths, even = {len(row) for _, row in rows[header:]}, len({len(row) for _, row in rows[header:]}) == 1
    line, text = alone[header][0], alone[header][1][0]
    if header and len(rows[0][1]) > 1:
        return rows
    if separator == "," and (header or not all(map(_commas_separate, (row for _, row in rows)))):
        return alone
    if separator == " " and header:  # a single name: R writes one less than there are columns
        if even:
            raise_at_line(path, line, f"{text!r} may be one number or {max(widths)}: separator=none or space decides")
        return alone
    if not even or column not in (0, "0") or (separator == "," and decimal == "point"):
        return rows
    mark = {",": "a decimal comma", " ": "a space between thousands"}[separator]
    raise_at_line(
        path,
        line,
        f"{text!r} may be a number with {mark}, or columns: give the column from the end, {-max(widths)}, "
        f"or give them names in a first line, or separator={'space' if separator == ' ' else 'comma'} or none",
    )


def _split_records(texts: list[tuple[int, str]], path: str, decimal: str) -> tuple[str, Rows]:
    """Returns the separator and the fields: semicolons, else tabs, else commas, else spaces, whichever the file has.

    The first separator that gives all lines the same number of columns is preferred. A comma that is the decimal mark
    separates only where fields are quoted.
    """
    whole = "\n".join(text for _, text in texts)
    bare = _QUOTED.sub("", whole)
    commas = decimal != "comma" or bare != whole
    there = [s for s in ";\t," if s in bare and (s != "," or commas)] or [" "]
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
