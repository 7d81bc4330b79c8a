"""Laws of numbers in tables: a field is read whole or refused by file, line and field; names are found as they are."""

from __future__ import annotations

import importlib

import _launching as launching  # noqa: F401  # finds the experiments
import numpy as np
import pytest

from rnnjax import app, data
from rnnjax.base import UserError

NBSP, NARROW = "\u00a0", "\u202f"


def read(tmp_path, content: str, column: int | str = 0):
    path = tmp_path / "data.csv"
    path.write_text(content, encoding="utf-8")
    return data.read_series(str(path), column).tolist()


# What the file holds, the column, the numbers.
READ = {
    "thousands, spaces": ("2020;1 234\n2021;999\n2022;12 345 678\n", 1, [1234, 999, 12345678]),
    "thousands, no-break spaces": (f"2020;1{NBSP}234\n2021;-5{NBSP}000,5\n", 1, [1234, -5000.5]),
    "thousands, narrow spaces": (f"x\n1{NARROW}234\n2{NARROW}000{NARROW}000,25\n", 0, [1234, 2000000.25]),
    "thousands, one column": (f"1{NBSP}234\n56\n", 0, [1234, 56]),
    "thousands, apostrophes": ("a;b\n1;1'234.5\n", "b", [1234.5]),
    "comma, semicolons": ("2020;3,5\n2021;-0,25\n2022;7\n", 1, [3.5, -0.25, 7]),
    "comma, tabs": ("2020\t1.234,5\n2021\t0,125\n", 1, [1234.5, 0.125]),
    "comma, one column": ("3,5\n-0,25\n", 0, [3.5, -0.25]),
    "comma, one column, a name": ("value\n3,5\n4,25\n", 0, [3.5, 4.25]),
    "comma, one column, spaces": ("1 234,5\n2 000,5\n", 0, [1234.5, 2000.5]),
    "comma, quoted": ('year,x\n"2020","3,5"\n2021,"1.234,5"\n', "x", [3.5, 1234.5]),
    "thousands, quoted": ('year,x\n2020,"1,234.5"\n2021,7\n', "x", [1234.5, 7]),
    "a point stays one": ("2020;1.234\n2021;2.345\n", 1, [1.234, 2.345]),
    "a point is none over the column": ("2020;1.234\n2021;2.345,5\n", 1, [1234, 2345.5]),
    "two columns by place": ("1,2\n3,4\n", 1, [2, 4]),
    "two columns from the end": ("1,2\n3,4\n", -2, [1, 3]),
    "two columns, place as text": ("1,2\n3,4\n", "-2", [1, 3]),
    "two columns of numbers with points": ("1.5,2\n3.25,4\n", 1, [2, 4]),
    "two columns between spaces": ("1 2\n3 4\n", 0, [1, 3]),
    "exponents": (" 1e3  -2.5E-1\n .5 1.\n", -1, [-0.25, 1]),
    "a name with a digit first": ("2m_temperature,inflation,nan_count\n1,2,3\n", "2m_temperature", [1]),
    "a name like infinity": ("2m_temperature,inflation,nan_count\n1,2,3\n", "inflation", [2]),
    "a name like no number": ("nan_count\n1\n2\n", 0, [1, 2]),
    "a name of digits": ("country,2022,2023\n1,2,3\n4,5,6\n", "2023", [3, 6]),
    "names of digits alone": ("2022,2023\n1,2.5\n4,5\n", "2023", [2.5, 5]),
    "a place before a name of digits": ("0,1\n5,6\n", "1", [1, 6]),
    "quoted names": ('"time","a;b"\n1,2\n', "a;b", [2]),
    "quoted names, semicolons": ('"time";"sun ""spots"""\n1;2\n', 'sun "spots"', [2]),
    "quoted names, spaces": ('"time" "sun spots"\n1 2\n', "sun spots", [2]),
}


@pytest.mark.parametrize("form", READ)
def test_a_number_is_read_whole_where_its_form_is_clear_over_the_column(form, tmp_path):
    content, column, expected = READ[form]
    assert read(tmp_path, content, column) == expected


REFUSED = {
    "thousands or a fraction": ("a;1,234\nb;2,345\n", 1, r"line 1: '1,234' may be 1234 or 1.234"),
    "a number or two": ("1,2\n3,4\n", 0, r"line 1: '1,2' may be a number with a decimal comma, or columns: .* -2"),
    "a number or two, spaces": ("1 234\n2 345\n", 0, r"line 1: '1 234' may be a number with a space between thousands"),
    "both marks": ("a;3,5\nb;3.5\n", 1, r"line 2|line 1"),
    "a space that is none": ("a;1 23\n", 1, r"line 1: '1 23' is not a number"),
    "a no-break space that is none": (f"a;1\nb;12{NBSP}34\n", 1, r"line 2: '12\\xa034' is not a number"),
    "two commas": ("a;1,2,3\n", 1, r"line 1: '1,2,3' is not a number"),
    "a unit": ("a;1\nb;5 m\n", 1, r"line 2: '5 m' is not a number"),
    "an underline": ("a;1_000\n", 1, r"line 1: '1_000' is not a number"),
    "other digits": ("a;1\nb;\u0663\n", 1, r"line 2: '\u0663' is not a number"),
    "another minus": ("a;1\nb;\u22125\n", 1, r"line 2: '\u22125' is not a number"),
    "hexadecimal": ("a;1\nb;0x10\n", 1, r"line 2: '0x10' is not a number"),
    "nothing": ("a;1\nb;\n", 1, "line 2: a field is empty"),
    "infinite": ("a;1\nb;-inf\n", 1, r"line 2: '-inf' is not finite"),
    "too large": ("a;1\nb;1e999\n", 1, r"line 2: '1e999' is too large for float64"),
    "ragged": ("1,2\n3\n", 0, "line 2: 1 columns, and 2 in the lines before"),
    "a mark that is not closed": ('a,"b\n1,2\n', 0, "is no table: unexpected end of data"),
    "a name twice": ("a,a\n1,2\n", "a", "has 2 columns 'a': give its place"),
    "no place": ("a,b\n1,2\n", "--1", "has no column '--1': a, b"),
    "no digit": ("1,2\n", "\u00b2", "has no column '\u00b2': it has no header"),
    "many digits": ("1,2\n", "9" * 5000, "has no column '9+': it has no header"),
    "a place too far": ("a,b\n1,2\n", "7", "has 2 columns, and none numbered 7"),
    "missing and no header": ("NA,5\n3,4\n", 0, "line 1: 'NA' is not a number"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_no_number_or_may_be_two_is_refused_by_line_and_field(fault, tmp_path):
    content, column, message = REFUSED[fault]
    with pytest.raises(UserError, match=f"data.csv.*{message}"):
        read(tmp_path, content, column)


def test_frames_and_series_with_dimensions_are_not_cut_at_other_spaces_or_taken_as_infinite(tmp_path):
    path = tmp_path / "a"
    path.write_text(f"1{NBSP}234 5\n2{NBSP}345 6\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a, line 1: '1\\xa0234' is not a number"):
        data.read_frames(str(path))
    path.write_text("1 2\n1e308 3\n")
    with pytest.raises(UserError, match="a, line 2: '1e308' is too large for float32"):
        data.read_frames(str(path))
    path.write_text("@classLabel true a\n@data\n1,-1e308:a\n")
    with pytest.raises(UserError, match="a, line 3: '-1e308' is too large for float32"):
        data.read_ts(str(path))
    path.write_text("@classLabel true\n@data\n1,2:a\n")
    with pytest.raises(UserError, match="a has no classes: its header names none"):
        data.read_ts(str(path))


@pytest.mark.parametrize("huge", [1e308, 1e160])
def test_numbers_too_large_to_be_squared_are_refused_before_training(huge, tmp_path):
    experiment = importlib.import_module("experiments.series")
    x = np.where(np.arange(2000) % 2, huge, -huge) * np.random.default_rng(0).uniform(0.5, 1, 2000)
    np.savetxt(tmp_path / "a", x)
    config = app.Config({n: experiment.FLAGS[n].value for n in experiment.FLAGS} | {"data": str(tmp_path / "a")})
    with pytest.raises(UserError, match="are too large to be squared"):
        experiment.load(config)
