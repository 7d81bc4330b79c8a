"""Law: every public reader returns as many records as were written, and says what else the file holds, and how much."""

from __future__ import annotations

import gzip
import inspect
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from _recordings import tarred, wav

from rnnjax import data, trees

REMARK, BLANK = "remarks", "blank lines"


def mixed(rng: np.random.Generator, records: list[str], others: dict[str, str], first: str = "") -> tuple[str, dict]:
    """A text of records among other lines, which say their kind, and how many there are of each kind."""
    lines, counts = [], dict.fromkeys(others, 0)
    for record in records:
        for kind, line in others.items():
            n = int(rng.integers(3))
            counts[kind] += n
            lines += [line] * n
        lines.append(record)
    end = str(rng.choice(["\n", "\r\n"]))
    return end.join([*([first] if first else []), *lines, ""]), counts


def write(path: Path, content: str | bytes) -> str:
    """Writes a file, now and then compressed."""
    raw = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(raw) if len(raw) % 2 else raw)
    return str(path)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype("u1").tobytes()


# Each writes n records among others below a folder, and returns what reads them, how many it found, what it said, and
# what it is to say. An empty dictionary: nothing was written that is no record.


def labelled(folder, n, rng):
    text, others = mixed(rng, [f"{'ab'[i % 2]}\tx {i}" for i in range(n)], {BLANK: " \t"})
    found = data.read_labelled(write(folder / "a.tsv", text))
    return len(found.xs), found.passed, others


def classes(folder, n, rng):
    text, others = mixed(rng, [f"x {i}" for i in range(n - 1)], {BLANK: ""})
    (folder / "all").mkdir()
    for name in (".DS_Store", ".hidden"):
        (folder / "all" / name).write_text("x")
    (folder / "all" / "A.txt").write_bytes(text.encode())
    (folder / "all" / "B.txt").write_text("y\n")
    found = data.class_folder(str(folder / "all"))
    return len(found.xs), found.passed, others | {"hidden files": 2}


def tagged(folder, n, rng):
    begin, skip = {"marks between documents": "-DOCSTART- -X- O\n"}, {REMARK: "# a remark\n"}
    text, others = mixed(rng, [f"w{i} N{i}\nv V\n" for i in range(n)], begin | skip)
    found = data.read_tagged(write(folder / "a.conll", text))
    return len(found), found.passed, others


def conllu(folder, n, rng):
    word = "1\tw\t_\tN\t_\t_\t_\t_\t_\t_\n\n"
    others = {REMARK: "# x", "tokens of several words": word.replace("1", "1-2", 1).strip("\n")}
    text, others = mixed(rng, [word] * n, others | {"empty nodes": word.replace("1", "0.1", 1).strip("\n")})
    found = data.read_tagged(write(folder / "a.conllu", text), 1, 3)
    return sum(len(s.words) for s in found), found.passed, others


def series(folder, n, rng):
    text, others = mixed(rng, [f"{i};{i},5" for i in range(n)], {BLANK: " ", REMARK: " # x"}, "t;x")
    found = data.read_series(write(folder / "a.csv", text), "x")
    return len(found), found.passed, others | {"lines of names": 1}


def ts(folder, n, rng):
    text, others = mixed(rng, [f"{i},2:{'ab'[i % 2]}" for i in range(n)], {BLANK: "", REMARK: "# x"})
    found = data.read_ts(write(folder / "a.ts", "@classLabel true a b\n@data\n" + text))
    return len(found.xs), found.passed, others


def vectors(folder, n, rng):
    text, others = mixed(rng, [f"w{i} 1 2" for i in range(n)], {"lines of words that came before": "x 3 4"}, "x 1 2")
    found = data.read_vectors(write(folder / "a.vec", text))
    return len(found.words) - 1, {"lines of words that came before": found.repeated}, others


def rolls(folder, n, rng):
    odd = rng.integers(3, size=2)
    frame = [60, *[-1] * int(odd[0]), *[None] * int(odd[1])]
    found = data.read_rolls(
        write(folder / "a", json.dumps({"train": [[frame]] * n, "valid": [[[60]]], "test": [[[]]]}))
    )
    return len(found["train"]), found.passed, {"notes below 0": n * odd[0], "notes that are null or NaN": n * odd[1]}


def sounds(folder, n, rng):
    others = ["README", "b.mp3", ".x.wav"][: int(rng.integers(4))]
    found = data.recordings(write(folder / "a.tar", tarred([f"{i}.wav" for i in range(n)] + others)))
    return len(found), found.passed, {"files other than recordings": len(others)}


def archive(folder, n, rng):
    data.unpack(write(folder / "a.tar", tarred([f"{i}.wav" for i in range(n)])), str(folder / "new"))
    return sum(path.is_file() for path in (folder / "new").rglob("*")), {}, {}


def sample(folder, n, rng):
    return len(data.decode_wav(wav(n), "a.wav").samples), {}, {}


def images(folder, n, rng):
    for part in ("train", "t10k"):
        write(folder / f"{part}-images-idx3-ubyte", idx(np.zeros((n, 2, 2))))
        write(folder / f"{part}-labels-idx1-ubyte", idx(np.zeros(n)))
    return len(data.idx_folder(str(folder))[1].y), {}, {}


def speakers(folder, n, rng):
    for part in ("train", "test"):
        (folder / f"ae.{part}").write_text("1 2\n3 4\n\n" * n)
        (folder / f"size_ae.{part}").write_text(f"1 {n - 1}\n")
    return len(data.vowels(str(folder))[0].xs), {}, {}


def plain(read, record: str):
    """A reader to which every line, or piece, is a record."""
    return lambda folder, n, rng: (len(read(write(folder / "a", record * n))), {}, {})


READERS = {
    "class_folder": [classes],
    "decode_wav": [sample],
    "idx_folder": [images],
    "read": [plain(data.read, "x")],
    "read_bytes": [plain(data.read_bytes, "x")],
    "read_frames": [plain(data.read_frames, "1 2\n3 4\n\n \n")],
    "read_idx": [lambda folder, n, rng: (len(data.read_idx(write(folder / "a", idx(np.zeros((n, 3)))))), {}, {})],
    "read_labelled": [labelled],
    "read_lines": [plain(data.read_lines, "x\n")],
    "read_rolls": [rolls],
    "read_sentences": [plain(data.read_sentences, "x y\n")],
    "read_series": [series],
    "read_tagged": [tagged, conllu],
    "read_trees": [plain(trees.read_trees, "(1 (2 a)\n (3 b))\n\n")],
    "read_ts": [ts],
    "read_vectors": [vectors],
    "read_words": [plain(lambda path: data.read_words(path, end=""), "x \n")],
    "recordings": [sounds],
    "unpack": [archive],
    "vowels": [speakers],
}
# These take a path too, and return no records.
OTHERS = {"fetch", "find", "find_folder", "labels_of", "write_vectors"}


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in READERS.items() for case in cases])
def test_a_reader_returns_as_many_records_as_were_written_and_says_the_others(name, case, tmp_path):
    for seed, n in enumerate((2, 5, 8)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        found, said, others = case(folder, n, np.random.default_rng(seed))
        assert found == n
        assert {k: v for k, v in said.items() if v} == {k: v for k, v in others.items() if v}


def test_every_public_reader_has_a_case():
    takes = {"archive", "content", "folder", "name", "path"}
    public = {**vars(data), "read_trees": trees.read_trees}
    readers = {
        name
        for name in [*data.__all__, "read_trees"]
        if inspect.isfunction(public[name]) and next(iter(inspect.signature(public[name]).parameters), "") in takes
    }
    streams = {name for name in readers if public[name].__annotations__.get("return") == "Stream"}
    assert readers - streams - OTHERS == set(READERS)
