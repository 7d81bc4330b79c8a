"""Piano rolls from .mat and JSON files: which of 88 keys sound in each frame."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnjax.base import UserError
from rnnjax.base._arguments import check_path
from rnnjax.data._counted import note_of
from rnnjax.data._files import PIECE, read_bytes
from rnnjax.data._opening import MARKS, decode_text

KEYS, LOWEST = 88, 21  # of a piano; its lowest key is MIDI note 21
_PARTS = {"train": ("traindata", "train"), "valid": ("validdata", "valid"), "test": ("testdata", "test")}
_MOST = 1 << 28  # bytes of a file of music, and of the compressed data in it
_COMPRESSED = 15  # the type of an element of a .mat file that is compressed with zlib


class _Rolls(dict[str, list[np.ndarray]]):
    """Pieces of music by part, and counts of what their reader skipped.

    Attributes:
      passed: number of skipped items of each kind.

    Example:
      >>> _Rolls({"train": []}, {"notes below 0": 2}).note()
      'passed over: 2 notes below 0'
    """

    def __init__(
        self, parts: Mapping[str, list[np.ndarray]] | None = None, passed: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(parts or {})
        self.passed: Counter[str] = Counter(passed or {})

    def note(self) -> str:
        """Returns a note of what was skipped; "" if nothing was."""
        return note_of(self.passed)


def read_rolls(path: str) -> _Rolls:
    """Reads pieces of music in three parts, train, valid and test, each piece uint8 `[T, 88]` of zeros and ones.

    A .mat file has cells traindata, validdata and testdata of such matrices. A JSON file has lists train, valid and
    test of pieces. A piece is a list of frames, and a frame a list of MIDI notes, 21 to 108. A note that is below 0,
    null or NaN is ignored. A frame that is null or NaN is a rest.

    Returns:
      a dictionary of lists, which also counts the notes that were ignored: `.passed`, `.note()`.

    Raises:
      UserError: the file is damaged, too large or in another format, it has another list of pieces, or a piece, which
        is named, is not a piano roll.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "tune.json"
      >>> _ = path.write_text('{"train": [[[60, 64], []]], "valid": [[[21]]], "test": [[[108]]]}')
      >>> rolls = read_rolls(str(path))
      >>> rolls["train"][0].shape, np.argwhere(rolls["train"][0]).tolist()
      ((2, 88), [[0, 39], [0, 43]])
    """
    check_path("read_rolls: path", path)
    if Path(path).suffix in (".pickle", ".pkl"):
        raise UserError(f"{path}: a pickle is a program and is not read; take the .mat or JSON file of the same music")
    content = read_bytes(path, _MOST)
    if content[:4] == b"MThd":
        raise UserError(f"{path} is a MIDI file, and pieces are read as JSON lists of notes, frame by frame, or .mat")
    marked = any(content.startswith(mark) for mark, _ in MARKS)
    read = _parse_json if marked or content.lstrip()[:1] in (b"{", b"[") else _parse_mat
    return read(path, content)


def _parse_mat(path: str, content: bytes) -> _Rolls:
    """Parses the parts of a .mat file."""
    from scipy.io import loadmat

    _inflated(path, content)
    try:
        found = loadmat(io.BytesIO(content), variable_names=[name for names in _PARTS.values() for name in names])
    except Exception as error:  # scipy has no common error for malformed files
        raise UserError(f"{path} is no .mat file, or a damaged one: {error}") from error
    return _split_pieces(path, found, lambda piece, where, passed: _roll(piece, where))


def _inflated(path: str, content: bytes, limit: int = _MOST) -> None:
    """Checks that the compressed data of a .mat file (version 5) are not too large, before scipy allocates memory."""
    at = 128
    while content[:6] == b"MATLAB" and at + 8 <= len(content):
        kind, size = struct.unpack("<II" if content[126:128] == b"IM" else ">II", content[at : at + 8])
        rest, stream = memoryview(content)[at + 8 : at + 8 + size], zlib.decompressobj()
        try:
            while kind == _COMPRESSED and len(rest) and not stream.eof:
                limit -= len(stream.decompress(rest, PIECE))
                rest = memoryview(stream.unconsumed_tail)
                if limit < 0:
                    raise UserError(f"{path} holds more than the {_MOST} bytes that are read")
        except zlib.error as error:
            raise UserError(f"{path} is a damaged .mat file: {error}") from error
        at += 8 + size


def _parse_json(path: str, content: bytes) -> _Rolls:
    """Parses the parts of a JSON file."""
    try:
        found = json.loads(decode_text(content, path), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON file, or a damaged one: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is no JSON object with the lists train, valid and test")
    others = [name for name, value in found.items() if isinstance(value, list) and name not in sum(_PARTS.values(), ())]
    if others:
        raise UserError(f"{path} has a list {others[0]!r:.40} beside train, valid and test: leave it out")
    return _split_pieces(path, found, _roll_of_notes)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Builds a JSON object and refuses duplicate names, of which json would drop one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {max(names, key=names.count)!r:.40} comes twice")
    return found


def _split_pieces(path: str, found: dict[str, Any], read: Any) -> _Rolls:
    """Returns the pieces of each part."""
    rolls = _Rolls()
    for part, names in _PARTS.items():
        if all(name in found for name in names):
            raise UserError(f"{path} has both {' and '.join(names)}: which one is the {part} part?")
        name = next((name for name in names if name in found), None)
        pieces = [] if name is None else found[name]
        pieces = list(pieces.flat) if isinstance(pieces, np.ndarray) else pieces
        if not isinstance(pieces, list) or not pieces:
            raise UserError(f"{path} has no pieces {' or '.join(names)}")
        rolls[part] = [read(piece, f"{path}, {name}, piece {i}", rolls.passed) for i, piece in enumerate(pieces, 1)]
    return rolls


def _roll(piece: Any, where: str) -> np.ndarray:
    """Returns a piano roll as a matrix of zeros and ones."""
    array = np.asarray(piece)
    if array.ndim != 2 or array.shape[1] != KEYS or not len(array) or array.dtype == object:
        raise UserError(f"{where}: {array.dtype} {list(array.shape)} is no piano roll [T, {KEYS}]")
    if array.dtype.kind not in "biuf":
        raise UserError(f"{where}: {array.dtype} is no piano roll of 0 and 1")
    if not np.isin(array, (0, 1)).all():
        frame = int(np.argwhere(~np.isin(array, (0, 1)))[0][0]) + 1
        raise UserError(f"{where}, frame {frame}: something else than 0 and 1")
    return array.astype(np.uint8)


def _roll_of_notes(piece: Any, where: str, passed: Counter[str]) -> np.ndarray:
    """Returns the piano roll of a list of lists of MIDI notes."""
    if (
        not isinstance(piece, list)
        or not piece
        or not all(isinstance(frame, list) or _is_rest(frame) for frame in piece)
    ):
        raise UserError(f"{where} is no list of frames")
    array = np.zeros((len(piece), KEYS), np.uint8)
    for i, frame in enumerate(piece):
        for note in [] if _is_rest(frame) else frame:
            if _is_rest(note):
                passed["notes that are null or NaN"] += 1
                continue
            number = isinstance(note, (int, float)) and not isinstance(note, bool)
            if not number or not (note < 0 or LOWEST <= note < LOWEST + KEYS) or note % 1:
                said = f"{note!r:.40}"
                raise UserError(f"{where}, frame {i + 1}: {said} is no MIDI note from {LOWEST} to {LOWEST + KEYS - 1}")
            if note < 0:
                passed["notes below 0"] += 1
            else:
                array[i, int(note) - LOWEST] = 1
    return array


def _is_rest(note: Any) -> bool:
    """Returns whether a note or a frame is a rest: null, or NaN, which is unequal to itself."""
    return note is None or (isinstance(note, float) and note != note)
