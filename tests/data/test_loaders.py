"""Laws of loaders: the published counts, what was written is read, and faults are named by file and line."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from rnnjax import data
from rnnjax.base import UserError
from rnnjax.data import (
    END,
    UNKNOWN,
    Vocabulary,
    class_folder,
    embedding_table,
    read_frames,
    read_labelled,
    read_rolls,
    read_series,
    read_tagged,
    read_ts,
    read_vectors,
    read_words,
    tokenise,
    vowels,
)

DATA = Path(os.environ.get("RNNJAX_DATA", "../shared/data"))

ROLL = np.eye(3, 88, dtype=np.uint8)


def mat(**parts: list) -> bytes:
    """A .mat file of piano rolls."""
    file, cells = io.BytesIO(), {}
    for name, pieces in parts.items():
        cells[name] = np.empty((1, len(pieces)), object)
        for i, piece in enumerate(pieces):
            cells[name][0, i] = piece
    savemat(file, cells, do_compression=True)
    return file.getvalue()


ALL = {"traindata": [ROLL, ROLL[:2]], "validdata": [ROLL], "testdata": [ROLL]}


def bomb() -> bytes:
    """A .mat file of a few kilobytes in which 300 MB are compressed."""
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()
    return mat(**ALL)[:128] + struct.pack("<II", 15, len(body)) + body


def notes(frame) -> bytes:
    """A JSON file of piano rolls, one frame of which is given."""
    return json.dumps({"train": [[[60], frame]], "valid": [[[60]]], "test": [[[60]]]}).encode()


def reviews(path: str):
    return read_labelled(path, ("good", "bad"))


def spots(path: str):
    return read_series(path, "spots")


TS = b"@classLabel true a b\n@data\n"

# What reads, what the file holds, what is said of it.
FAULTS = {
    "no file": (read_words, None, "cannot read FILE: No such file"),
    "an empty file": (read_words, b"", "FILE is empty"),
    "mixed encodings": (read_words, b"to be\ncaf\xe9\n", r"FILE, line 2: not UTF-8 text \(byte 4 of the line\)"),
    "truncated gzip": (read_words, gzip.compress(b"to be " * 99)[:-9], "cannot read FILE: its gzip data are dam"),
    "damaged gzip": (read_words, b"\x1f\x8b\x08\0oooooooooo", "cannot read FILE: its gzip data are damaged"),
    "gzip of another size": (read_words, gzip.compress(b"a")[:-1] + b"\1", "its gzip data are damaged"),
    "no label": (reviews, b"good\tyes\nno\n", r"FILE, line 2: no text: write LABEL'\\t'TEXT"),
    "label out of range": (reviews, b"good\tyes\nugly\tno\n", "FILE, line 2: the label 'ugly' is none of good, bad"),
    "empty class": (reviews, b"good\tyes\n\ngood\tjoy\n", "FILE: the class 'bad' is empty"),
    "labels and no text": (reviews, b"\n \n", "FILE: .* is empty"),
    "ragged rows": (read_series, b"1,2\n3\n", "FILE, line 2: 1 columns, and 2 in the lines before"),
    "no number": (read_series, b"1\n2\ntwo\n", "FILE, line 3: 'two' is not a number"),
    "not finite": (read_series, b"1\n\nnan\n", "FILE, line 3: 'nan' is not finite"),
    "no such column": (spots, b"year,sun\n1749,3\n", "FILE has no column 'spots': year, sun"),
    "no header": (spots, b"1749,3\n", "FILE has no column 'spots': it has no header"),
    "header alone": (spots, b"year,spots\n", "FILE has a header and no numbers"),
    "a narrow table": (lambda p: read_series(p, 3), b"1,2\n", "FILE has 2 columns, and none numbered 3"),
    "a short frame": (read_frames, b"1 2\n3 4\n\n5\n", "FILE, line 4: 1 numbers, and 2 in the lines before"),
    "no frame": (read_frames, b"\n\n", "FILE has no frame"),
    "no .ts file": (read_ts, b"@classLabel true a\n", "FILE is no .ts file: it has no line @data"),
    "ts: data too early": (read_ts, b"1,2:a\n@data\n", "FILE, line 1: data before the line @data"),
    "ts: no classes": (read_ts, b"@classLabel false\n@data\n1\n", "FILE has no classes"),
    "ts: time stamps": (read_ts, b"@timeStamps true\n" + TS, "FILE has time stamps"),
    "ts: unknown class": (read_ts, TS + b"1,2:c\n", "FILE, line 3: the class 'c' is none of a, b"),
    "ts: empty class": (read_ts, TS + b"1,2:a\n", "FILE: the class 'b' is empty"),
    "ts: ragged": (read_ts, TS + b"1,2:3:a\n", "FILE, line 3: dimensions of 2, 1 values"),
    "ts: missing": (read_ts, TS + b"1,2:a\n1,?:b\n", r"FILE, line 4: a value is missing \(\?\)"),
    "ts: another width": (
        read_ts,
        TS + b"1:a\n1:2:b\n",
        "FILE, line 4: 2 dimensions, and 1 in the lines before",
    ),
    "conll: ragged": (read_tagged, b"a X\nb\n", "FILE, line 2: 1 columns, and 2 in the lines before"),
    "conll: no column": (
        lambda p: read_tagged(p, tag=3),
        b"a X\n",
        "FILE, line 1: 2 columns, and none numbered 3",
    ),
    "conll: no sentence": (read_tagged, b"-DOCSTART- O\n\n", "FILE has no sentence"),
    "vectors: ragged": (read_vectors, b"a 1 2\nb 1\n", "FILE, line 2: a word and 1 numbers, where 2 are due"),
    "vectors: no number": (read_vectors, b"a 1 2\nb 1 x\n", "FILE, line 2: 'x' is not a number"),
    "vectors: not finite": (read_vectors, b"a 1 inf\n", "FILE, line 1: 'inf' is not finite"),
    "vectors: cut short": (read_vectors, b"3 2\na 1 2\n", "FILE, line 1: this header says 3 words, and 1 follow"),
    "mat: wrong magic": (read_rolls, b"no matrix" * 99, "FILE is no .mat file, or a damaged one"),
    "mat: cut short": (read_rolls, mat(**ALL)[:300], "FILE is (a damaged|no) .mat file"),
    "mat: a part is missing": (read_rolls, mat(traindata=[ROLL]), "FILE has no pieces validdata or valid"),
    "mat: no roll": (
        read_rolls,
        mat(**ALL | {"validdata": [ROLL, ROLL[:, :80]]}),
        r"FILE, validdata, piece 2: uint8 \[3, 80\] is no piano roll \[T, 88\]",
    ),
    "mat: not 0 or 1": (
        read_rolls,
        mat(**ALL | {"testdata": [ROLL * 2]}),
        "FILE, testdata, piece 1, frame 1: something else than 0 and 1",
    ),
    "mat: a bomb": (read_rolls, bomb(), "FILE holds more than the 268435456 bytes that are read"),
    "json: cut short": (read_rolls, notes([64])[:-9], "FILE is no JSON file, or a damaged one"),
    "json: no note": (
        read_rolls,
        notes([64, 20]),
        "FILE, train, piece 1, frame 2: 20 is no MIDI note from 21 to",
    ),
    "json: a word": (read_rolls, notes(["C"]), "FILE, train, piece 1, frame 2: 'C' is no MIDI note"),
    "json: no frame": (read_rolls, notes(64), "FILE, train, piece 1 is no list of frames"),
    "a pickle": (read_rolls, b"cos\nsystem\n", "FILE: a pickle is a program and is not read"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_named_by_file_line_and_fault(fault, tmp_path):
    read, content, message = FAULTS[fault]
    path = tmp_path / ("data.pkl" if fault == "a pickle" else "data")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message.replace("FILE", str(path))):
        read(str(path))


def test_a_file_larger_than_the_limit_is_refused_before_it_is_read_whole(tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(bytes(1 << 24)))
    with pytest.raises(UserError, match="holds more than the limit of 1000 bytes"):
        data.read_bytes(str(tmp_path / "a"), limit=1000)
    assert len(data.read_bytes(str(tmp_path / "a"), limit=1 << 24)) == 1 << 24


def test_folders_of_classes_and_of_vowels_that_do_not_hold_together_are_refused(tmp_path):
    (tmp_path / "Greek.txt").write_text("Kouros\n")
    with pytest.raises(UserError, match="has 1 files"):
        class_folder(str(tmp_path))
    (tmp_path / "Irish.txt").write_text("\n")
    with pytest.raises(UserError, match=r"Irish\.txt: the class 'Irish' is empty"):
        class_folder(str(tmp_path))
    for name in ("ae.train", "ae.test"):
        (tmp_path / name).write_text("1 2\n\n3 4\n")
    (tmp_path / "size_ae.train").write_text("1 1\n")
    for sizes, message in (
        ("1 2", "has 2 utterances, .* says 3"),
        ("2 0", "0 utterances of speaker 2"),
        ("2", "differ"),
    ):
        (tmp_path / "size_ae.test").write_text(sizes)
        with pytest.raises(UserError, match=message):
            vowels(str(tmp_path))


def test_the_lecture_s_sentence_has_the_lecture_s_indices():
    # "to be or not to be" -> 2 4 8 1 2 4: not is the commonest word of the text, then to, ..., or the eighth.
    text = " ".join(
        " ".join([word] * n)
        for word, n in (("or", 3), ("be", 6), ("it", 4), ("not", 9), ("a", 4), ("to", 8), ("is", 4), ("the", 7))
    )
    vocabulary = Vocabulary.of(text.split())
    assert vocabulary.encode(tokenise("To be or not to be")).tolist() == [2, 4, 8, 1, 2, 4]
    assert vocabulary.words == ("not", "to", "the", "be", "it", "a", "is", "or")  # ties by first appearance


def test_words_outside_a_vocabulary_are_unknown_or_refused():
    text = ["a", "a", "a", "b", "b", "<unk>", "<unk>", "c"]
    capped = Vocabulary.of(text, cap=3, special=[UNKNOWN, END])
    assert capped.words == ("a", "<unk>", "<eos>")
    assert Vocabulary.of(text, cap=4, special=[UNKNOWN]).words == ("a", "b", "<unk>", "c")
    assert capped.decode(capped.encode(["a", "zebra"])) == ["a", "<unk>"]
    with pytest.raises(UserError, match="the word 'zebra' is not in the vocabulary, nor is <unk>"):
        Vocabulary(("a",)).encode(["a", "zebra"])
    with pytest.raises(UserError, match="no room"):
        Vocabulary.of(text, cap=1, special=[UNKNOWN])


def test_piano_rolls_are_the_same_from_both_formats(tmp_path):
    (tmp_path / "a.mat").write_bytes(mat(**ALL))
    heard = {
        part: [[(21 + np.flatnonzero(frame)).tolist() for frame in piece] for piece in ALL[f"{part}data"]]
        for part in ("train", "valid", "test")
    }
    (tmp_path / "a.json").write_text(json.dumps(heard))
    a, b = (read_rolls(str(tmp_path / name)) for name in ("a.mat", "a.json"))
    for part in a:
        for x, y in zip(a[part], b[part], strict=True):
            np.testing.assert_array_equal(x, y)
    assert [len(piece) for piece in a["train"]] == [3, 2]


def test_vectors_are_looked_up_by_word_and_the_rest_is_drawn(tmp_path):
    import jax

    (tmp_path / "glove.txt").write_text("be 1 2\nNew York 3 4\nbe 5 6\n")
    found = read_vectors(str(tmp_path / "glove.txt"))
    assert (found.words, found.repeated) == (("be", "New York"), 1)
    table = embedding_table(found, Vocabulary(("or", "Be")))
    w = table.init(jax.random.key(0), (3, 2))
    assert table.found == 1 and w[2].tolist() == [1, 2] and (w[1] != 0).all()
    with pytest.raises(ValueError, match=r"the word vectors are \(3, 2\), and the table is to be \(3, 4\)"):
        table.init(jax.random.key(0), (3, 4))


COUNTS = {
    "ptb": lambda d: [len(read_words(str(d / f"ptb.{part}.txt"))) for part in ("train", "valid", "test")],
    "names": lambda d: [len(class_folder(str(d)).xs), len(class_folder(str(d)).classes)],
    "polymusic": lambda d: [
        len(part) for name in ("JSB_Chorales", "Nottingham") for part in read_rolls(str(d / f"{name}.mat")).values()
    ],
    "japanese_vowels": lambda d: (
        [n for p in vowels(str(d)) for n in (len(p.xs), sum(map(len, p.xs)))]
        + np.bincount(vowels(str(d))[1].y).tolist()
    ),
    "timeseries": lambda d: [
        len(read_series(str(d / name), column))
        for name, column in (("santafe_laser_A.txt", 0), ("MackeyGlass_t17.txt", 0), ("SN_m_tot_V2.0_sunspot.csv", 3))
    ],
    "wordvec": lambda d: list(read_vectors(str(d / "googlenews_top1000.w2v.txt")).table.shape),
}
PUBLISHED = {
    "ptb": [929_589, 73_760, 82_430],
    "names": [20_050, 18],
    "polymusic": [229, 76, 77, 694, 173, 170],
    "japanese_vowels": [270, 4274, 370, 5687, 31, 35, 88, 44, 29, 24, 40, 50, 29],
    "timeseries": [10_093, 10_000, 3_228],
    "wordvec": [1000, 300],
}


@pytest.mark.parametrize("name", COUNTS)
def test_data_sets_have_their_published_counts(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"the folder {name} is not there: set RNNJAX_DATA")
    assert COUNTS[name](DATA / name) == PUBLISHED[name]
