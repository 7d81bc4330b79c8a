"""Laws of opening a text: however its characters and ends of lines are written, every reader reads the same."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from rnnjax import data, trees
from rnnjax.base import UserError

READERS = {
    "text": (data.read, "né un\nüber\n"),
    "words": (data.read_words, "né un\nüber\n"),
    "sentences": (data.read_sentences, "né un\nüber\n"),
    "labelled": (data.read_labelled, "é\tné un\nb\tüber\n"),
    "tags": (data.read_tagged, "né B\nun I\n\nüber O\n"),
    "vectors": (data.read_vectors, "né 1 2\nüber 3 4\n"),
    "series": (lambda path, **k: data.read_series(path, "é", **k), "é,b\n1,2.5\n3,4\n"),
    "frames": (data.read_frames, "1 2\n3 4\n\n5 6\n"),
    "ts": (data.read_ts, "@classLabel true é b\n@data\n1,2:é\n7,8:b\n"),
    "trees": (trees.read_trees, "(3 (2 né) (1 bad))\n(1 über)\n"),
}
WRITTEN = {
    "a mark": lambda s: codecs.BOM_UTF8 + s.encode(),
    "CR LF": lambda s: s.replace("\n", "\r\n").encode(),
    "CR": lambda s: s.replace("\n", "\r").encode(),
    "NEL": lambda s: s.replace("\n", "\x85").encode(),
    "a line separator": lambda s: s.replace("\n", "\u2028").encode(),
    "a paragraph separator and a mark": lambda s: ("\ufeff" + s.replace("\n", "\u2029")).encode(),
    "no last end": lambda s: s.removesuffix("\n").encode(),
    "UTF-16": lambda s: s.encode("utf-16"),
    "UTF-16, big": lambda s: codecs.BOM_UTF16_BE + s.replace("\n", "\r\n").encode("utf-16-be"),
    "UTF-32": lambda s: s.encode("utf-32"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("way", WRITTEN)
def test_every_reader_reads_the_same_however_it_is_written(reader, way, tmp_path: Path):
    read, content = READERS[reader]
    plain, other = tmp_path / "a", tmp_path / "b"
    plain.write_bytes(content.encode())
    other.write_bytes(WRITTEN[way](content))
    expected, found = repr(read(str(plain))), repr(read(str(other)))
    assert found.removesuffix("\\n'").removesuffix("'") == expected.removesuffix("\\n'").removesuffix("'")


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_takes_an_encoding_and_names_the_line_without_it(reader, tmp_path: Path):
    read, content = READERS[reader]
    (tmp_path / "a").write_bytes(content.encode())
    (tmp_path / "b").write_bytes(content.encode("latin-1"))
    assert repr(read(str(tmp_path / "b"), encoding="latin-1")) == repr(read(str(tmp_path / "a")))
    if not content.isascii():
        with pytest.raises(UserError, match=r"b, line \d+: not UTF-8 text \(byte \d+ of the line\): --encoding"):
            read(str(tmp_path / "b"))
    with pytest.raises(UserError, match=r"^--encoding=klingon: there is no such encoding of text"):
        read(str(tmp_path / "a"), encoding="klingon")
    with pytest.raises(UserError, match=r"^--encoding=base64: there is no such encoding of text"):
        read(str(tmp_path / "a"), encoding="base64")


def test_utf_16_without_a_mark_is_refused_and_read_when_it_is_said(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes("to be".encode("utf-16-le"))
    with pytest.raises(UserError, match="a is full of zero bytes: if it is UTF-16, give --encoding"):
        data.read(str(path))
    assert data.read(str(path), "utf-16-le") == "to be"
    path.write_bytes("to be".encode("utf-16")[:-1])
    with pytest.raises(UserError, match="a, line 1: not UTF-16-LE text"):
        data.read(str(path))
    path.write_bytes(codecs.BOM_UTF8)
    with pytest.raises(UserError, match="a is empty"):
        data.read(str(path))


def test_a_line_that_is_not_of_the_encoding_is_counted_in_lines_of_any_end(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"to\r\nbe\r\xc2\x85caf\xe9\n")
    with pytest.raises(UserError, match=r"a, line 4: not UTF-8 text \(byte 4 of the line\)"):
        data.read_words(str(path))
