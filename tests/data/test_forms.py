"""Laws of guesses: what a reader decides is said, what it cannot decide is refused, and an argument decides it."""

from __future__ import annotations

import importlib
import re

import _launching as launching  # noqa: F401  # finds the experiments
import numpy as np
import pytest

from rnnjax import app, data
from rnnjax.base import UserError

YEARS, SPACES, GERMAN = "2020,2021\n1,2.5\n3,4\n", "a\n100 200\n300 400\n", "u\n1.234\n999\n"


def series(tmp_path, content: str, column: int | str = 0, **form: str):
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")
    return data.read_series(str(tmp_path / "a.csv"), column, **form)


# The file, the column, what decides; the numbers.
DECIDED = {
    "years are names": (YEARS, 0, {"header": "yes"}, [1, 3]),
    "years are numbers": (YEARS, 1, {"header": "no"}, [2021, 2.5, 4]),
    "years by name": (YEARS, "2021", {}, [2.5, 4]),
    "one column": (SPACES, "a", {"separator": "none"}, [100200, 300400]),
    "no-break spaces are one column": (SPACES.replace(" ", "\u00a0"), 0, {}, [100200, 300400]),
    "two columns, two names": ("a b\n100 200\n", 0, {}, [100]),
    "uneven lines are one column": ("a\n1 200 300\n400\n", 0, {}, [1200300, 400]),
    "thousands": (GERMAN, 0, {"decimal": "comma"}, [1234, 999]),
    "a point": ("1,2\n3,4\n", 0, {"decimal": "point"}, [1, 3]),
    "a comma": ("1,2\n3,4\n", 0, {"decimal": "comma"}, [1.2, 3.4]),
    "a comma in quotes": ('a,b\n"1,5",2\n', "a", {"decimal": "comma"}, [1.5]),
    "1,234 with a point": ("a;1,234\n", 1, {"decimal": "point"}, [1234]),
    "1,234 with a comma": ("a;1,234\n", 1, {"decimal": "comma"}, [1.234]),
    "bars": ("a|b\n1|2\n", "b", {"separator": "bar"}, [2]),
    "a name above numbers": ("year,2020\n1,2\n3,4\n", 1, {}, [2, 4]),
    "quoted numbers above others": ('"1","2"\n1,2.5\n3,4\n', 1, {}, [2.5, 4]),
    "quoted numbers above quoted ones": ('"1","2"\n"1","2.5"\n', 1, {}, [2, 2.5]),
    "a quoted name and a year": ('"city";"2020"\n"Rome";2\n', 1, {}, [2]),
    "years among years": ("2021;1990\n1999;1950\n", 0, {}, [2021, 1999]),
    "a place and a number": ("Rome,2020\nParis,1990\n", 1, {}, [2020, 1990]),
    "an index without a name": (",0,1\n0,1.5,2.5\n1,3.5,4.5\n", 1, {}, [1.5, 3.5]),
    "a remark that is indented": ("1\n  # x\n2\n", 0, {}, [1, 2]),
}


@pytest.mark.parametrize("form", DECIDED)
def test_what_may_be_two_things_is_decided_by_an_argument_or_by_the_other_lines(form, tmp_path):
    content, column, said, expected = DECIDED[form]
    assert series(tmp_path, content, column, **said).tolist() == expected


UNDECIDED = {
    "years": (YEARS, -1, {}, r"a\.csv, line 1: 2020, 2021 may be names or numbers: header=yes or header=no decides"),
    "years, semicolons": ("2020;2021\n1,5;2\n", 0, {}, "line 1: 2020, 2021 may be names"),
    "years in another order": ("2021,2020\n1,2.5\n3,4\n", 0, {}, "line 1: 2021, 2020 may be names"),
    "a name and a year": ("city,2020\nRome,2\nParis,4\n", 1, {}, "line 1: city, 2020 may be names"),
    "a name and years": ("city\t2020\t2019\nRome\t2\t3\n", -1, {}, "line 1: city, 2020, 2019 may be names"),
    "spaces": (SPACES, 0, {}, r"line 2: '100 200' may be one number or 2: separator=none or space decides"),
    "row names of R": ("a\n1 100\n2 200\n", "a", {}, "line 2: '1 100' may be one number or 2"),
    "another mark": ("1.5\n2\n", 0, {"decimal": "comma"}, r"line 1: '1\.5' is not a number with the decimal mark ','"),
    "a missing value": ("x\n1\nNA\n", 0, {}, "line 3: 'NA' is not a number"),
    "a missing first value": ("NA,1\n2,3\n", 0, {}, "line 1: 'NA' is not a number"),
}


@pytest.mark.parametrize("form", UNDECIDED)
def test_what_may_be_two_things_is_refused_where_nothing_decides(form, tmp_path):
    content, column, said, message = UNDECIDED[form]
    with pytest.raises(UserError, match=message):
        series(tmp_path, content, column, **said)


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (
            GERMAN,
            r"passed over: 1 line of names; line 2: '1\.234' is read as 1\.234; if it is 1234, give decimal=comma$",
        ),
        ("1.234\n0.5\n", "^$"),
        ("1.23\n4.567\n", "^$"),
        ("0\n1.5\n2.5\n", r"^line 1 \(0\) is read as numbers; if it holds names, give header=yes$"),
        ("0,1\n1,5.5\n", r"^line 1 \(0, 1\) is read as numbers; if it holds names, give header=yes$"),
        ("1,2,3\n1.5,2.5,3.5\n", r"^line 1 \(1, 2, 3\) is read as numbers; if it holds names, give header=yes$"),
        ("30,10\n1.5,2.5\n", r"^line 1 \(30, 10\) is read as numbers; if it holds names, give header=yes$"),
        ("1\n2\n3\n", "^$"),
        ("1,2\n1.5,2\n", "^$"),
        ("sep=;\n1;2\n", "^passed over: 1 line that set the separator$"),
    ],
)
def test_what_a_reader_of_a_series_decides_by_itself_is_said(content, note, tmp_path):
    assert re.search(note, series(tmp_path, content, -1).note())


@pytest.mark.parametrize(
    ("column", "form", "message"),
    [
        (1.0, {}, "column is an index or a name, got 1.0"),
        (True, {}, "column is an index or a name, got True"),
        (0, {"decimal": ","}, "decimal is one of auto, point, comma, got ','"),
        (0, {"separator": ";"}, "separator is one of auto, none, comma, semicolon, .*got ';'"),
        (0, {"header": "maybe"}, "header is one of auto, yes, no, got 'maybe'"),
    ],
)
def test_an_argument_of_another_kind_is_refused(column, form, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        series(tmp_path, "1\n2\n", column, **form)


def test_flags_of_the_experiment_decide_and_notes_are_printed(tmp_path, capsys):
    experiment = importlib.import_module("experiments.series")
    rows = "".join(f"{1 + i % 7}.{100 + i}\n" for i in range(800))
    (tmp_path / "a").write_text("# x\nu\n" + rows)
    given = {"data": str(tmp_path / "a")}
    for decimal, first in (("auto", 1.1), ("comma", 1100.0)):
        flags = {n: experiment.FLAGS[n].value for n in experiment.FLAGS} | given | {"decimal": decimal}
        assert experiment.values(app.Config(flags))[0] == first
        said = capsys.readouterr().out
        assert "passed over: 1 remark, 1 line of names" in said and ("decimal=comma" in said) == (decimal == "auto")


VECTORS = {
    "a first word of two": ("a b 1 2\nc 3 4\n", ("a b", "c")),
    "a word of several, a header": ("2 2\na b 1 2\nc 3 4\n", ("a b", "c")),
    "tabs": ("a\t1\t2\nb\t3\t4\n", ("a", "b")),
    "tabs, a header": ("2\t2\na\t1\t2\nb\t3\t4\n", ("a", "b")),
    "a tab and spaces": ("a\t1 2\nb\t3 4\n", ("a", "b")),
    "two spaces": ("a  1  2\nb  3  4\n", ("a", "b")),
    "words of digits": ("1 1 2\n2 3 4\n", ("1", "2")),
    "a word of digits, a header": ("2 2\n3 000 1 2\nc 3 4\n", ("3 000", "c")),
}


@pytest.mark.parametrize("form", VECTORS)
def test_words_of_vectors_are_whole_whatever_stands_between_the_numbers(form, tmp_path):
    content, words = VECTORS[form]
    (tmp_path / "a").write_text(content)
    found = data.read_vectors(str(tmp_path / "a"))
    assert found.words == words and found.table.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a 1 2 3\nb 1 2\nc 3 4\n", "line 1: the word 'a 1' ends with a number, and 2 numbers follow"),
        ("a 1\nb 1 2\nc 3 4\n", "line 1: a word and 1 numbers, where 2 are due"),
        ("a 1 2\nb 1\n", "line 2: a word and 1 numbers, where 2 are due"),
    ],
)
def test_vectors_of_another_length_are_no_words_of_several(content, message, tmp_path):
    (tmp_path / "a").write_text(content)
    with pytest.raises(UserError, match=message):
        data.read_vectors(str(tmp_path / "a"))


def test_words_written_in_another_form_of_unicode_find_their_vector():
    vectors = data.Vectors(("cafe\u0301", "caf\u00e9s"), np.eye(2, dtype=np.float32))
    table = data.embedding_table(vectors, data.Vocabulary(("caf\u00e9", "Caf\u00e9s", "x")))
    assert table.found == 2


def test_symbols_that_do_not_exist_are_no_text():
    for decode in (data.Alphabet("abc").decode, data.Vocabulary(("a", "b")).decode):
        for symbols in ([0, -1], np.array([3])):
            with pytest.raises(UserError, match=r"the symbol (-1|3) is none of 0 to 2"):
                decode(symbols)
