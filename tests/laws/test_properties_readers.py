"""Properties of readers and writers on random data: what is written is read, and what is damaged is refused in a line.

Each file is written here, by other code than what reads it.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rnnjax import data, trees
from rnnjax.base import UserError

ENDS = "\n\r\x85\u2028\u2029"
CHARACTERS = st.characters(exclude_categories=("Cs", "Cc", "Cn"), exclude_characters=ENDS + "\ufeff")
WORD = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
LETTERS = st.text("abcäß東ह", min_size=1, max_size=5)
SEEDS = st.integers(0, 99)
SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")


@pytest.fixture
def saved(tmp_path):
    """Writes a file and gives its path."""

    def save(content: str | bytes, name: str = "file") -> str:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path / name)

    return save


def draw_lists(of, most: int = 5):
    return st.lists(of, min_size=1, max_size=most)


@given(
    draw_lists(st.text(CHARACTERS, max_size=9)),
    st.sampled_from([*ENDS, "\r\n"]),
    st.sampled_from(ENCODINGS),
    st.sampled_from([bytes, gzip.compress]),
)
def test_a_text_is_what_was_written_in_any_encoding_with_any_end_of_lines(saved, lines, end, encoding, pack):
    assume(any(lines))
    content = pack(end.join(lines).encode(encoding))
    text = "\n".join(lines)
    assert data.read(saved(content)) == text
    words = [word for line in lines for word in line.split(" ") if word]
    ends = text.count("\n") + (not text.endswith("\n"))
    assert len(data.read_words(saved(content), end="|")) == len(words) + ends


@given(draw_lists(st.tuples(st.sampled_from(("good", "bad", "fair")), WORD, st.sampled_from(("", "\n", " \n")))))
def test_labelled_lines_are_all_there_and_blank_ones_are_none(saved, rows):
    found = data.read_labelled(saved("".join(f"{label}\t{text}\n{blank}" for label, text, blank in rows)))
    assert [(found.classes[y], x) for x, y in zip(found.xs, found.y)] == [row[:2] for row in rows]


@st.composite
def tables(draw):
    """A table of numbers, how its numbers are written, what separates them, and whether its columns have names."""
    width = draw(st.integers(2, 4))
    form = draw(st.sampled_from(["repr", "point", "comma"]))
    cents = st.integers(-(10**9), 10**9).map(lambda n: n / 100)
    rows = draw(
        draw_lists(st.lists(cents if form != "repr" else st.floats(-1e300, 1e300), min_size=width, max_size=width))
    )
    separator = draw(st.sampled_from(";\t" if form == "comma" else ";\t, "))
    return rows, form, separator, draw(st.booleans()), draw(st.integers(0, width - 1))


def written(x: float, form: str) -> str:
    """A number with all its digits, or with two after its point or comma and marks between thousands."""
    if form == "repr":
        return repr(x)
    return f"{x:.2f}" if form == "point" else f"{x:,.2f}".translate(str.maketrans(",.", ".,"))


@given(tables())
def test_a_column_of_a_table_is_read_by_place_and_by_name(saved, table):
    rows, form, separator, headed, at = table
    names = [f"n{i}" for i in range(len(rows[0]))]
    lines = [separator.join(names)] * headed + [separator.join(written(x, form) for x in row) for row in rows]
    path, expected = saved("\n".join(lines)), [row[at] for row in rows]
    if at or headed:  # a first column alone may be half of a number between spaces or commas
        assert data.read_series(path, at).tolist() == expected
    if headed:
        assert data.read_series(path, names[at]).tolist() == expected
    assert data.read_series(path, at - len(names)).tolist() == expected


RECORDS = st.integers(1, 3).flatmap(lambda d: draw_lists(draw_lists(st.lists(SINGLE, min_size=d, max_size=d))))


@given(RECORDS)
def test_frames_and_cases_are_read_bit_for_bit(saved, records):
    text = "\n\n".join("\n".join(" ".join(map(repr, frame)) for frame in record) for record in records)
    found = data.read_frames(saved(text))
    cases = [
        ":".join(",".join(map(repr, d)) for d in zip(*record)) + f":{'ab'[i % 2]}" for i, record in enumerate(records)
    ]
    head = "# cases\n@classLabel true a b\n@data\n"
    ts = data.read_ts(saved(head + "\n".join(cases)), ("a", "b"))
    assert len(found) == len(ts.xs) == len(records) and ts.y.tolist() == [i % 2 for i in range(len(records))]
    for a, b, expected in zip(found, ts.xs, records):
        want = np.array(expected, np.float32)
        assert a.tobytes() == b.tobytes() == want.tobytes() and a.shape == b.shape == want.shape


@given(
    draw_lists(draw_lists(st.tuples(WORD, st.sampled_from(("B", "I", "O", "_"))))),
    st.sampled_from(" \t"),
    st.booleans(),
)
def test_every_word_of_every_sentence_has_its_tag(saved, sentences, separator, marked):
    assume(not any(w.startswith(("-DOCSTART-", "#")) for s in sentences for w, _ in s))
    mark = f"-DOCSTART-{separator}O\n" * marked
    found = data.read_tagged(saved("\n".join(mark + "".join(f"{w}{separator}{t}\n" for w, t in s) for s in sentences)))
    assert [list(zip(*s)) for s in found] == [[(w, t.strip("_")) for w, t in s] for s in sentences]
    assert found.passed.total() == marked * len(sentences)


@given(st.data(), st.integers(1, 4))
def test_vectors_are_read_as_they_were_written_bit_for_bit(tmp_path, draw, d):
    word = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r"), min_size=1, max_size=6)
    words = draw.draw(st.lists(word.filter(lambda w: w[-1] not in " \t"), min_size=1, max_size=4, unique=True))
    table = np.array([draw.draw(st.lists(SINGLE, min_size=d, max_size=d)) for _ in words], np.float32)
    data.write_vectors(str(tmp_path / "v"), words, table)
    found = data.read_vectors(str(tmp_path / "v"))
    assert found.words == tuple(words) and found.table.tobytes() == table.tobytes() and not found.repeated


@given(st.sampled_from([">u1", ">i1", ">i2", ">i4", ">f4", ">f8"]), st.lists(st.integers(0, 3), max_size=3), SEEDS)
def test_idx_files_are_read_bit_for_bit(saved, dtype, shape, seed):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    body = np.random.default_rng(seed).bytes(size)
    kind = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}[dtype[1:]]
    found = data.read_idx(saved(bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body))
    assert found.shape == tuple(shape) and found.astype(dtype).tobytes() == body


PIECES = draw_lists(draw_lists(st.lists(st.integers(21, 108), max_size=4)), 3)


@given(st.fixed_dictionaries(dict.fromkeys(("train", "valid", "test"), PIECES)))
def test_every_note_of_every_piece_sounds_in_json_and_in_mat_files(tmp_path, music):
    from scipy.io import savemat

    (tmp_path / "a.json").write_text(json.dumps(music))
    rolls = {}
    for part, pieces in music.items():
        rolls[f"{part}data"] = np.empty((1, len(pieces)), object)
        for i, piece in enumerate(pieces):
            rolls[f"{part}data"][0, i] = np.array([[k in frame for k in range(21, 109)] for frame in piece], np.uint8)
    savemat(tmp_path / "a.mat", rolls)
    for name in ("a.json", "a.mat"):
        found = data.read_rolls(str(tmp_path / name))
        for part, pieces in music.items():
            heard = [[(21 + np.flatnonzero(frame)).tolist() for frame in roll] for roll in found[part]]
            assert heard == [[sorted(set(frame)) for frame in piece] for piece in pieces]


def wav(samples: list[int]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, len(samples), "NONE", ""))
        out.writeframes(np.array(samples, "<i2").tobytes())
    return file.getvalue()


FILES = st.dictionaries(
    st.from_regex(r"([ab]/)?[0-9]_[0-9]\.(wav|WAV|txt)", fullmatch=True),
    draw_lists(st.integers(-(2**15), 2**15 - 1)),
    min_size=1,
    max_size=5,
)


@given(FILES, st.sampled_from(["w", "w:gz", "zip"]))
def test_every_recording_of_an_archive_is_read_and_the_rest_counted(tmp_path, files, form):
    path = tmp_path / "archive"
    if form == "zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, samples in files.items():
                packed.writestr(name, wav(samples))
    else:
        with tarfile.open(path, form) as archive:
            for name, samples in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(wav(samples))
                archive.addfile(info, io.BytesIO(wav(samples)))
    named = {name: samples for name, samples in files.items() if not name.endswith("txt")}
    if not named:
        with pytest.raises(UserError, match="holds no wav file"):
            data.recordings(str(path))
        return
    found = data.recordings(str(path))
    assert [(r.samples * 2**15).tolist() for r in found] == [named[name] for name in sorted(named)]
    assert found.passed.total() == len(files) - len(named)


def archive(form: str, n: int) -> bytes:
    """An archive of so many recordings."""
    file = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            for i in range(n):
                packed.writestr(f"{i}_1.wav", wav([i]))
    else:
        with tarfile.open(fileobj=file, mode=form) as packed:
            for i in range(n):
                info = tarfile.TarInfo(f"{i}_1.wav")
                info.size = len(wav([i]))
                packed.addfile(info, io.BytesIO(wav([i])))
    return file.getvalue()


@settings(max_examples=100)
@given(st.sampled_from(["w", "w:gz", "zip"]), st.integers(2, 4), st.data())
def test_of_a_damaged_archive_all_members_are_found_or_it_is_refused(saved, form, n, draw):
    content = bytearray(archive(form, n))
    for _ in range(draw.draw(st.integers(1, 2))):
        content[draw.draw(st.integers(0, len(content) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    cut = draw.draw(st.sampled_from([len(content), *range(0, len(content), 512)]))
    path = saved(bytes(content[:cut]))
    try:
        found = data.recordings(path)
    except UserError as error:
        assert str(error).startswith(path) and "\n" not in str(error)
        return
    assert len(found) + found.passed.total() == n


@given(draw_lists(st.integers(1, 3)), st.randoms(use_true_random=False))
def test_every_utterance_of_vowels_has_its_speaker(saved, each, random):
    for part in ("train", "test"):
        lengths = [random.randint(1, 3) for _ in range(sum(each))]
        saved("\n".join(f"{random.random()} {random.random()}\n" * n for n in lengths), f"ae.{part}")
        path = saved(" ".join(map(str, each)), f"size_ae.{part}")
    for part in data.vowels(str(Path(path).parent)):
        assert len(part.xs) == sum(each) and np.bincount(part.y).tolist() == each


@given(
    st.dictionaries(st.text("abé.", min_size=1, max_size=3).map("c{}".format), draw_lists(WORD), min_size=2, max_size=4)
)
def test_every_line_of_a_folder_of_classes_is_an_example(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("classes")
    for name, lines in texts.items():
        (folder / f"{name}.txt").write_text("\n\n".join(lines), encoding="utf-8")
    found = data.class_folder(str(folder))
    order = sorted(texts, key="{}.txt".format)
    assert found.classes == tuple(order)
    assert [(found.classes[y], x) for x, y in zip(found.xs, found.y)] == [(c, x) for c in order for x in texts[c]]


LABEL = st.text("ab0é\u00a0-", max_size=2)
NODES = st.recursive(
    st.tuples(LABEL, WORD.filter(lambda w: not set("()") & set(w))),
    lambda below: st.tuples(LABEL, st.lists(below, min_size=1, max_size=3)),
    max_leaves=8,
)


def brackets(node, space: str = " ") -> str:
    """A tree as text."""
    label, rest = node
    inner = [rest] if isinstance(rest, str) else [brackets(child, space) for child in rest]
    return f"({space.join([*([label] if label else []), *inner])}{space})"


@given(draw_lists(NODES, 3), st.sampled_from([" ", "\n", "\t ", "  "]))
def test_trees_are_read_as_they_are_written_and_written_as_they_are_read(saved, nodes, space):
    found = trees.read_trees(saved(space.join(brackets(node, space) for node in nodes)))
    assert len(found) == len(nodes)
    for tree, node in zip(found, nodes):
        assert trees.to_brackets(tree) == brackets(node).replace(" )", ")")
        assert trees.delinearise(trees.linearise(tree)) == tree == trees.parse_trees(trees.to_brackets(tree))[0]


VALID = {
    "text": (data.read, b"to be\nor not\n"),
    "words": (data.read_words, b"to be\nor not\n"),
    "labelled": (data.read_labelled, b"good\tyes\nbad\tno\n"),
    "series": (data.read_series, b'year;"x"\n2020;1.234,5\n2021;3,5\n'),
    "frames": (data.read_frames, b"1 2\n3 4\n\n5 6\n"),
    "ts": (data.read_ts, b"@classLabel true a b\n@data\n1,2:3,4:a\n5:6:b\n"),
    "tags": (data.read_tagged, b"# x\nDogs N B\nbark V O\n\nYes U O\n"),
    "vectors": (data.read_vectors, b"2 2\na 1 2\nb 3 4\n"),
    "idx": (data.read_idx, bytes([0, 0, 8, 2]) + struct.pack(">II", 2, 3) + b"abcdef"),
    "music": (data.read_rolls, b'{"train": [[[60], []]], "valid": [[[21]]], "test": [[[108]]]}'),
    "trees": (trees.read_trees, b"(3 (2 not) (1 bad))\n(0 x)\n"),
    "wav": (lambda p: data.decode_wav(Path(p).read_bytes(), p), wav([1, 2, 3])),
}


@pytest.mark.parametrize("reader", VALID)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line_that_names_it(saved, reader, draw):
    read, content = VALID[reader]
    for _ in range(draw.draw(st.integers(1, 3))):
        at, gone = draw.draw(st.integers(0, len(content))), draw.draw(st.integers(0, 4))
        content = content[:at] + draw.draw(st.binary(max_size=4)) + content[at + gone :]
    path = saved(content)
    try:
        read(path)
    except UserError as error:
        assert path in str(error) and "\n" not in str(error)
