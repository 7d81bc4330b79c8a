"""Laws of archives and recordings: whatever is damaged is refused in one line that names the file and the member."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import struct
import tarfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from rnnjax import data
from rnnjax.base import UserError
from rnnjax.data import _speech as speech
from rnnjax.data import decode_wav, read_idx, read_vectors, recordings

NOISE = np.random.default_rng(0).integers(0, 9, 4000).astype("u1").tobytes()
METHODS = {"stored": 0, "deflate": 8, "bz2": 12, "lzma": 14}


def zipped(method: int, content: bytes = NOISE, name: str = "0_1.wav") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return file.getvalue()


def tarred(content: bytes = NOISE, name: str = "0_1.wav", mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def one_line(tmp_path: Path, content: bytes, member: bool = True) -> None:
    """Both ways to read an archive either work or refuse it in one line with its name."""
    path = tmp_path / "archive"
    path.write_bytes(content)
    for read in (recordings, lambda p: data.unpack(p, str(tmp_path / "new"))):
        try:
            read(str(path))
        except UserError as error:
            said = str(error)
            assert said.startswith(str(path)) and "\n" not in said and (not member or "0_1.wav" in said)
        else:
            raise AssertionError("it was read")
    assert [p.name for p in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", [60, 200, 700])
def test_a_flipped_byte_in_a_zip_is_refused_with_the_member(method, at, tmp_path):
    content = bytearray(zipped(METHODS[method]))
    content[at] ^= 0xFF
    one_line(tmp_path, bytes(content))


def patched(content: bytes, change: int, *places: int) -> bytes:
    """A zip archive of one member with 16 bits of its two headers set, at distances from the beginning of each."""
    found, central = bytearray(content), content.rindex(b"PK\1\2")
    for at in (places[0], central + places[1]):
        found[at : at + 2] = struct.pack("<H", change)
    return bytes(found)


@pytest.mark.parametrize("method", [1, 6, 9, 93, 99, 65535])
def test_an_unknown_method_and_encryption_are_refused_with_the_member(method, tmp_path):
    one_line(tmp_path, patched(zipped(8), method, 8, 10))
    one_line(tmp_path, patched(zipped(8), 1, 6, 8))


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("packer", PACKERS)
def test_a_damaged_or_short_compressed_tar_is_refused(packer, tmp_path):
    content = PACKERS[packer](tarred())
    for at in range(0, len(content), 97):
        flipped = bytearray(content)
        flipped[at] ^= 0x55
        path = tmp_path / "archive"
        path.write_bytes(bytes(flipped))
        try:
            data.unpack(str(path), str(tmp_path / f"new{at}"))
        except UserError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
    one = tmp_path / "one"
    one.mkdir()
    one_line(one, content[: len(content) // 2], member=False)


def nameless() -> bytes:
    """A zip archive whose only member is listed without a name, which zipfile itself does not write."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("x")
        archive.writestr(info, NOISE)
        info.filename = ""  # the list of members is written at the end
    return file.getvalue()


stored = partial(zipped, zipfile.ZIP_STORED)
NAMELESS = [(tarred, name) for name in (".", "", "./", "a/..", "./.")] + [
    (stored, name) for name in (".", "a/..", "./.")
]


@pytest.mark.parametrize("content", [nameless(), *(pack(name=name) for pack, name in NAMELESS)])
def test_a_member_without_a_name_is_refused(content, tmp_path):
    path = tmp_path / "archive"
    path.write_bytes(content)
    for read in (recordings, lambda p: data.unpack(p, str(tmp_path / "new"))):
        with pytest.raises(UserError) as refusal:
            read(str(path))
        said = str(refusal.value)
        assert said.startswith(str(path)) and "\n" not in said
        assert re.search(
            "has no name|would lie outside the folder|is no tar or zip archive|is damaged|holds no wav", said
        )
        assert "index out of range" not in said  # found by a check, not by a crash


def test_a_folder_in_a_zip_is_passed_over(tmp_path):
    path = tmp_path / "archive"
    path.write_bytes(stored(name="./"))
    assert data.unpack(str(path), str(tmp_path / "new")) == []


def test_all_members_together_have_a_limit_and_so_have_recordings(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(10):
            archive.writestr(f"{i}.wav", wav() + bytes(876))
    with pytest.raises(UserError, match="holds 5000 bytes, more than the limit of 4500"):
        data.unpack(str(path), str(tmp_path / "new"), limit=4500)
    monkeypatch.setattr(speech, "_ALL", 4500)
    (tmp_path / "all").mkdir()
    for i in range(10):
        (tmp_path / "all" / f"{i}.wav").write_bytes(wav() + bytes(876))
    for place in (path, tmp_path / "all"):
        with pytest.raises(UserError, match="holds recordings of more than the 4500 bytes that are read"):
            recordings(str(place))


def wav(**change: bytes) -> bytes:
    """A wav file of 40 samples whose header has other bytes somewhere."""
    parts = {"riff": b"RIFF", "size": struct.pack("<I", 116), "wave": b"WAVEfmt ", "head": struct.pack("<I", 16),
             "kind": b"\1\0", "channels": b"\1\0", "rate": struct.pack("<I", 8000), "each": struct.pack("<I", 16000),
             "align": b"\2\0", "bits": b"\x10\0", "data": b"data" + struct.pack("<I", 80)}  # fmt: skip
    return b"".join((parts | change).values()) + bytes(80)


def test_the_header_that_is_changed_is_right_else():
    assert len(decode_wav(wav(), "a.wav").samples) == 40


@pytest.mark.parametrize("part", ["riff", "size", "wave", "head", "kind", "channels", "rate", "bits", "data"])
@pytest.mark.parametrize("byte", [0, 0xFF])
def test_bad_wav_headers_are_refused_in_a_line(part, byte):
    width = {"wave": 8, "data": 8, "kind": 2, "channels": 2, "bits": 2}.get(part, 4)
    try:
        assert part == "size" and decode_wav(wav(**{part: bytes([byte]) * width}), "a.wav")
    except UserError as error:
        assert str(error).startswith("a.wav") and "\n" not in str(error)
    except AssertionError:
        with pytest.raises(UserError, match=r"^a\.wav"):
            decode_wav(wav(**{part: bytes([byte]) * width}), "a.wav")


@pytest.mark.parametrize("rank", [9, 64, 255])
def test_idx_files_of_many_axes_are_refused(rank, tmp_path):
    (tmp_path / "a").write_bytes(bytes([0, 0, 8, rank]) + struct.pack(">I", 1) * rank + b"\7")
    with pytest.raises(UserError, match=f"a has {rank} axes: idx files of at most"):
        read_idx(str(tmp_path / "a"))


HEADERS = {
    "powers": ("\u00b2 \u00b3\na 1 2 3\n", "v, line 1: a first line of two whole numbers is a header"),
    "5,000 digits": ("9" * 5000 + " 2\na 1 2\n", "v, line 1: a first line of two whole numbers is a header"),
    "a huge width": ("1 999999999999\na 1\n", "v, line 1: vectors of 999999999999 numbers"),
    "a huge count": ("999999999999 2\na 1 2\n", "v, line 1: this header says 999999999999 words, and 1 follow"),
    "less than none": ("-1 3\na 1 2 3\n", "v, line 1: a first line of two whole numbers is a header"),
    "no width": ("1 0\na\n", "v, line 1: vectors of 0 numbers"),
    "a word alone": ("a\n", "v, line 1: vectors of 0 numbers"),
    "too large": ("a 1e308 2\n", "v, line 1: '1e308' is too large for float32"),
    "a no-break space": ("a 1\u00a02 3\nb 1 2\n", "v, line 2: the word 'b 1' ends with a number"),
}


@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_vectors_that_say_too_much_are_refused(header, tmp_path):
    content, message = HEADERS[header]
    (tmp_path / "v").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_vectors(str(tmp_path / "v"))
