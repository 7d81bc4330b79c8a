"""Law: a reader gives as many records as an independent count, or says how many it left out, or refuses the file."""

from __future__ import annotations

import gzip
import os
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from _recordings import tarred, wav

from rnnjax import data, trees
from rnnjax.base import UserError

DATA = Path(os.environ.get("RNNJAX_DATA", "../shared/data"))


def raw(path: Path) -> bytes:
    """The bytes of a file, by gzip's own function."""
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def lines(path: Path) -> list[bytes]:
    """Lines that are not blank, by line feeds."""
    return [line for line in raw(path).split(b"\n") if line.strip()]


def closed(path: Path) -> int:
    """How often as many brackets have closed as have opened."""
    depth = np.cumsum([(c == 40) - (c == 41) for c in raw(path)])
    return int(((depth == 0) & (np.frombuffer(raw(path), "u1") == 41)).sum())


def big_endian(path: Path) -> int:
    """The first size in the header of an idx file."""
    return struct.unpack(">I", raw(path)[4:8])[0]


def wavs(path: Path) -> int:
    """Recordings in a tar archive, from its headers of 512 bytes."""
    content, at, n = raw(path), 0, 0
    while content[at : at + 512].strip(b"\0"):
        head = content[at : at + 512]
        n += head[:100].rstrip(b"\0").endswith(b".wav")
        at += 512 + -(-int(head[124:136].strip(b" \0"), 8) // 512) * 512
    return n


def cells(path: Path) -> int:
    """Pieces in a .mat file, by scipy."""
    from scipy.io import loadmat

    return sum(loadmat(path)[name].size for name in ("traindata", "validdata", "testdata"))


# The file, or all that match; what reads it, how many records; an independent count.
REAL = {
    "tinyshakespeare/input.txt": (lambda p: len(data.read(p)), lambda p: len(raw(p))),
    "ptb/ptb.*.txt*": (
        lambda p: len(data.read_words(p)),
        lambda p: len(re.findall(rb"\S+", raw(p))) + raw(p).count(b"\n") + (not raw(p).endswith(b"\n")),
    ),
    "multi30k/*.gz": (lambda p: len(data.read_lines(p)), lambda p: raw(p).count(b"\n")),
    "names": (
        lambda p: len(data.class_folder(p).xs),
        lambda p: sum(len(lines(f)) for f in p.iterdir()),
    ),
    "sst/*.txt": (lambda p: len(trees.read_trees(p)), closed),
    "polymusic/*.mat": (lambda p: sum(map(len, data.read_rolls(p).values())), cells),
    "japanese_vowels/ae.*": (
        lambda p: len(data.read_frames(p)),
        lambda p: len(re.findall(rb"(?:^|\n\s*\n)(?=[^\n]*\d)", raw(p))),
    ),
    "japanese_vowels": (
        lambda p: sum(len(part.xs) for part in data.vowels(p)),
        lambda p: sum(sum(map(int, (p / f"size_ae.{part}").read_text().split())) for part in ("train", "test")),
    ),
    "timeseries/*": (lambda p: len(data.read_series(p)), lambda p: len(lines(p))),
    "wordvec/*.txt": (lambda p: len(data.read_vectors(p).words), lambda p: raw(p).count(b"\n") - 1),
    "mnist/*.gz": (lambda p: len(data.read_idx(p)), big_endian),
    "yesno/*.tar.gz": (lambda p: len(data.recordings(p)), wavs),
}


@pytest.mark.parametrize("place", REAL)
def test_a_real_data_set_has_as_many_records_as_an_independent_count(place):
    read, count = REAL[place]
    found = sorted(DATA.glob(place))
    if not found:
        pytest.skip(f"{place} is not there: set RNNJAX_DATA")
    for path in found:
        assert read(str(path)) == count(path) > 0


NAMES = ("0_1.wav", "1_1.WAV", "a/1_0.Wav", "a/0_0.wav")
OTHERS = ("README", "a/._0_0.wav", ".DS_Store", "b.mp3")


@pytest.mark.parametrize("form", ["tar", "zip", "folder"])
def test_recordings_are_found_in_any_case_and_other_files_are_counted(form, tmp_path):
    path = tmp_path / "all"
    if form == "tar":
        path.write_bytes(tarred(NAMES + OTHERS))
    elif form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in NAMES + OTHERS:
                archive.writestr(name, wav())
    else:
        for name in NAMES + OTHERS:
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(wav())
    found = data.recordings(str(path))
    assert sorted(r.name for r in found) == ["0_0", "0_1", "1_0", "1_1"]
    assert found.note() == "passed over: 4 files other than recordings"


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda c: c[: 2 * 1024], "it is cut short there"),
        (lambda c: c[: 2 * 1024 + 100], "more bytes follow that are not a member"),
        (lambda c: c[:2048] + b"x" + c[2049:], "more bytes follow that are not a member"),
        (lambda c: c[:2048] + bytes(512) + c[2048:], "more bytes follow that are not a member"),
        (lambda c: c + c, "more bytes follow that are not a member"),
    ],
)
def test_no_member_of_a_damaged_tar_archive_is_lost_in_silence(change, fault, packed, tmp_path):
    path = tmp_path / "a.tar"
    path.write_bytes(packed(change(tarred(NAMES))))
    for read in (data.recordings, lambda p: data.unpack(p, str(tmp_path / "new"))):
        with pytest.raises(UserError, match=rf"a\.tar is a damaged tar archive: after \d+ bytes .* {fault}"):
            read(str(path))


def test_no_member_of_a_zip_archive_is_lost_in_silence(tmp_path):
    """One bit of the length of a comment hides the members that follow it in the list."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(3):
            archive.writestr(f"{i}_1.wav", wav())
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 32] += content.index(b"PK\5\6") - content.index(b"PK\1\2", entry + 4)
    path.write_bytes(content)
    assert len(zipfile.ZipFile(path).namelist()) == 1
    for read in (data.recordings, lambda p: data.unpack(p, str(tmp_path / "new"))):
        with pytest.raises(
            UserError, match=r"a\.zip is a damaged zip archive: its end says 3 members, and 1 are listed"
        ):
            read(str(path))


FOLDERS = {
    "a folder": (["A.txt", "B.txt", "C/D.txt"], "holds 'C', which is no file: each class is one file"),
    "another ending": (["A.txt", "B.txt", "README.md"], r"holds 'A\.txt' and 'README\.md': .* have one ending"),
    "no ending": (["A.txt", "B.txt", "LICENSE"], r"holds 'A\.txt' and 'LICENSE'"),
    "a copy": (["A.txt", "B.txt", "B.txt~"], r"holds 'A\.txt' and 'B\.txt~'"),
    "compressed too": (["A.txt", "B.txt", "B.txt.gz"], "has two files of the class 'B'"),
}


@pytest.mark.parametrize("form", FOLDERS)
def test_what_is_no_class_in_a_folder_of_classes_is_refused_by_name(form, tmp_path):
    names, message = FOLDERS[form]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(gzip.compress(b"x\n") if name.endswith("gz") else b"x\n")
    with pytest.raises(UserError, match=message):
        data.class_folder(str(tmp_path))


def test_names_of_classes_keep_their_points_and_hidden_files_are_none(tmp_path):
    for name in ("v1.0.txt", "v1.1.txt", ".DS_Store"):
        (tmp_path / name).write_text("x\ny\n")
    found = data.class_folder(str(tmp_path))
    assert found.classes == ("v1.0", "v1.1") and found.y.tolist() == [0, 0, 1, 1]


LABELLED = {
    "a line of names": ("label\ttext\na\tx\na\ty\n", "line 1: 'label' is the name of a column and no label"),
    "another": ("\nClass\ttext\na\tx\nb\ty\n", "line 2: 'Class' is the name of a column"),
    "the other way round": (
        "".join(f"text {i}\ta\n" for i in range(20)),
        "line 1: 20 different labels in 20 lines, such as 'text 0': the label stands before the text",
    ),
}


@pytest.mark.parametrize("form", LABELLED)
def test_a_line_of_names_and_columns_the_other_way_round_become_no_classes(form, tmp_path):
    content, message = LABELLED[form]
    (tmp_path / "a.tsv").write_text(content)
    with pytest.raises(UserError, match=message):
        data.read_labelled(str(tmp_path / "a.tsv"))


def test_a_class_of_the_name_of_a_column_that_comes_more_than_once_is_one(tmp_path):
    (tmp_path / "a.tsv").write_text("target\tx\nother\ty\ntarget\tz\n")
    assert data.read_labelled(str(tmp_path / "a.tsv")).classes == ("target", "other")


SERIES = {
    "a field over lines": ('a,b\n"x\n\ny",3\nz,4\n', "b", [3, 4]),
    "a semicolon in a name": ("t\tspeed;max\n1\t2\n3\t4\n", 1, [2, 4]),
    "a comma in a name": ("t;speed, max\n1;2\n", 1, [2]),
    "a line of a spreadsheet": ("sep=;\na;b\n1;2,5\n", "b", [2.5]),
    "a point beside commas": ("a;b\n0.5;3,5\n1.234;2\n", "a", [0.5, 1.234]),
}


@pytest.mark.parametrize("form", SERIES)
def test_a_table_is_cut_where_all_of_its_lines_have_as_many_columns(form, tmp_path):
    content, column, expected = SERIES[form]
    (tmp_path / "a.csv").write_text(content)
    assert data.read_series(str(tmp_path / "a.csv"), column).tolist() == expected


REFUSED = {
    "thousands beside commas": (
        lambda p: data.read_series(p, "b"),
        "a;b\n3,5;1.234\n3,6;2.345\n",
        "FILE, line 2: '1.234' may be 1.234 or 1234",
    ),
    "a quotation mark": (data.read_series, 'a,b\n1,2\n"3,4\n5,6\n', "FILE, line 3: is no table: unexpected end"),
    "a class twice": (data.read_ts, "@classLabel true a b a\n@data\n1:a\n", "FILE: its header names the class 'a' t"),
    "a header twice": (data.read_ts, "@classLabel true a\n@classlabel true b\n@data\n", "FILE, line 2: @classlabel a"),
    "a part twice": (data.read_rolls, '{"train": [], "train": [[[60]]]}', "FILE .* the name 'train' comes twice"),
    "two parts": (data.read_rolls, '{"train": [[[60]]], "traindata": []}', "FILE has both traindata and train: which"),
    "a separator within": (data.read_frames, "1\x1c2\n3 4\n", "FILE, line 2: 2 numbers, and 1 in the lines before"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_may_be_two_things_is_refused(form, tmp_path):
    read, content, message = REFUSED[form]
    (tmp_path / "a").write_text(content)
    with pytest.raises(UserError, match=message.replace("FILE", str(tmp_path / "a"))):
        read(str(tmp_path / "a"))


def test_a_remark_among_the_cases_of_a_ts_file_is_none(tmp_path):
    (tmp_path / "a.ts").write_text("# x\n@classLabel true a b\n@data\n# y\n1:a\n\n2:b\n")
    assert len(data.read_ts(str(tmp_path / "a.ts")).xs) == 2


@pytest.mark.parametrize(
    ("header", "remark"),
    [
        ("@equalLength true\n", "@equalLength true, and the cases have 2 to 3 values"),
        ("@dimensions 2\n", "@dimensions 2, and the cases have 1"),
        ("@equalLength false\n@seriesLength 9\n", ""),
    ],
)
def test_a_header_of_a_ts_file_that_the_cases_contradict_is_said(header, remark, tmp_path):
    (tmp_path / "a.ts").write_text(f"{header}@classLabel true a\n@data\n1,2:a\n1,2,3:a\n")
    assert data.read_ts(str(tmp_path / "a.ts")).note() == (remark and f"its header says {remark}")


def test_the_word_number_sign_at_the_beginning_of_a_sentence_is_no_remark(tmp_path):
    (tmp_path / "a").write_text("# # I\n1.5 CD I\n\n# id 12\nb B I\n")
    found = data.read_tagged(str(tmp_path / "a"))
    assert [s.words for s in found] == [["#", "1.5"], ["b"]] and found.note() == "passed over: 1 remark"


def test_words_are_cut_at_spaces_and_tabs_alone(tmp_path):
    (tmp_path / "a").write_text("1\u00a0000 km\tx\u3000y\n", encoding="utf-8")
    assert data.read_words(str(tmp_path / "a"), end="") == ["1\u00a0000", "km", "x\u3000y"]


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "b\rc", "\u00a0", "\x1c"])
def test_a_table_of_vectors_has_words_of_any_character(odd, tmp_path):
    for end in ("\n", "\r\n"):
        (tmp_path / "a").write_bytes(f"a 1 2{end}{odd} 3 4{end}".encode())
        assert data.read_vectors(str(tmp_path / "a")).words == ("a", odd)


@pytest.mark.parametrize(
    ("words", "table", "message"),
    [
        (["a", "b"], np.ones((3, 2)), r"2 words and a table \[3, 2\]"),
        (["a"], np.ones(2), r"1 words and a table \[2\]"),
        (["a"], np.full((1, 2), np.nan), r"a row \[D\] of finite numbers for each word"),
        (["a"], np.full((1, 2), 1e300), r"a row \[D\] of finite numbers for each word"),
        ([], np.ones((0, 2)), r"0 words"),
        (["a", "a"], np.ones((2, 2)), "the word 'a' twice"),
        (["a", ""], np.ones((2, 2)), "the word '': a line cannot hold it"),
        (["a\nb"], np.ones((1, 2)), r"the word 'a\\nb': a line"),
        (["a "], np.ones((1, 2)), "the word 'a ': a line"),
    ],
)
def test_vectors_that_could_not_be_read_back_are_not_written(words, table, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        data.write_vectors(str(tmp_path / "a"), words, table)
    assert not list(tmp_path.iterdir())


CLUSTERS = ["👍🏽", "🇩🇪", "🏴\U000e0067\U000e0062\U000e007f", "\u0600123", "👩🏽\u200d🔬", "1\ufe0f\u20e3", ".\u0e33"]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_is_read_as_one_character_is_cut_by_no_token(cluster):
    assert data.tokenise(f"a {cluster} b") == ["a", cluster, "b"]
