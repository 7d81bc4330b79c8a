"""Laws of piano rolls in JSON: a rest may be written in many ways, and what is no note is named by piece and frame."""

from __future__ import annotations

import codecs
import importlib
import json

import _launching as launching  # noqa: F401  # finds the experiments
import numpy as np
import pytest

from rnnjax import app, data
from rnnjax.base import UserError


def content(frame: str, before: str = "[60]") -> str:
    return f'{{"train": [[{before}, {frame}]], "valid": [[[60], []]], "test": [[[60], []]]}}'


def read(tmp_path, text: str | bytes) -> np.ndarray:
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return data.read_rolls(str(path))["train"][0]


@pytest.mark.parametrize("frame", ["[]", "null", "NaN", "[null]", "[NaN]", "[-1]", "[-1.0, NaN, null]"])
def test_a_rest_is_a_rest_however_it_is_written(frame, tmp_path):
    assert read(tmp_path, content(frame)).sum(1).tolist() == [1, 0]
    assert read(tmp_path, content(frame, before=frame)).sum(1).tolist() == [0, 0]


@pytest.mark.parametrize(("frame", "key"), [("[60.0, null]", 39), ("[NaN, 21]", 0), ("[108]", 87)])
def test_beside_a_rest_a_note_sounds(frame, key, tmp_path):
    assert np.flatnonzero(read(tmp_path, content(frame))[1]).tolist() == [key]


def test_a_note_twice_in_a_frame_sounds_once(tmp_path):
    assert read(tmp_path, content("[60, 60.0, 64, 60]"))[1].max() == 1


@pytest.mark.parametrize(
    "note", ["Infinity", "-Infinity", "1e999", "60.5", "109", "20", "true", '"NaN"', "[60]", "{}", "9" * 3000, "-0.0"]
)
def test_what_is_no_note_is_named_by_piece_and_frame(note, tmp_path):
    with pytest.raises(UserError, match=r"a\.json, train, piece 1, frame 2: .{1,60} is no MIDI note from 21 to 108$"):
        read(tmp_path, content(f"[60, {note}]"))


@pytest.mark.parametrize(
    "text", ['{"train": 1}', '{"train": [1]}', "{" * 99_999, '{"a":' * 99_999, "{\n", '{"a": 1' + "0" * 9999]
)
def test_other_json_is_refused_in_a_line(text, tmp_path):
    with pytest.raises(UserError, match=r"a\.json"):
        read(tmp_path, text)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    for written in (codecs.BOM_UTF8 + content("[61]").encode(), content("[61]").encode("utf-16")):
        assert read(tmp_path, written).sum() == 2


def test_pieces_of_one_frame_are_counted_and_a_part_of_none_else_is_refused(tmp_path, capsys):
    experiment = importlib.import_module("experiments.music")
    rolls = {"train": [[[60]], [[60], [61]], [[60], [61], [62]]], "valid": [[[60], []]], "test": [[[60], []], [[64]]]}
    (tmp_path / "a.json").write_text(json.dumps(rolls))
    given = {"data": str(tmp_path / "a.json"), "longest": 2}
    config = app.Config({n: experiment.FLAGS[n].value for n in experiment.FLAGS} | given)
    experiment.load(config)
    said = capsys.readouterr().out
    assert "train: 1 pieces are left out" in said and "test: 1 pieces are left out" in said
    assert "train: 1 ends of pieces are left out" in said
    (tmp_path / "a.json").write_text(json.dumps(rolls | {"valid": [[[60]]]}))
    with pytest.raises(UserError, match="valid: all pieces have one frame"):
        experiment.load(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"train": [[[60]]], "valid": [[[60]]], "test": [[[60]]], "more": [[[60]]]}', "has a list 'more' beside"),
        (b"MThd\0\0\0\6\0\0\0\1\0`", "is a MIDI file"),
    ],
)
def test_pieces_that_would_be_lost_and_files_of_midi_are_refused(content, message, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match=message):
        data.read_rolls(str(tmp_path / "a"))


def test_a_list_is_json_and_not_a_mat_file(tmp_path):
    (tmp_path / "a").write_text("[[[60]]]")
    with pytest.raises(UserError, match="is no JSON object with the lists train, valid and test"):
        data.read_rolls(str(tmp_path / "a"))
