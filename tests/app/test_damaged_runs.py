"""A run that is damaged, edited or no run at all is refused in one line that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from _launching import refusal

import rnnjax
from rnnjax.compare import compare_runs
from rnnjax.runs import list_runs

pytestmark = pytest.mark.usefixtures("shared_programs")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_what_is_damaged_is_said(copied):
    file = max((f for f in (copied / "best").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    flip(file)
    run = rnnjax.load_run(copied)
    assert "is damaged" in (line := refusal(lambda: run.params)) and "steps kept besides the best: 2, 4, 6" in line
    assert run.at("last").params
    (copied / "summary.json").write_text('{"steps": 6')
    assert "summary.json is damaged" in refusal(lambda: rnnjax.load_run(copied).summary)
    (copied / "metrics.jsonl").write_text("{}\n[]\n{}\n")
    assert "line 1 is not as it was written" in refusal(lambda: rnnjax.load_run(copied).metrics)


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "run.json is damaged: delete it"),
        ("[]", "run.json is damaged"),
        ('{"format": 1}', "run.json is damaged"),
        ("\0\0", "run.json is damaged"),
        ("[" * 100_000, "run.json is damaged"),
    ],
)
def test_a_damaged_run_json(copied, text, said):
    (copied / "run.json").write_text(text)
    assert said in refusal(lambda: rnnjax.load_run(copied))


@pytest.mark.parametrize(
    "part",
    [
        {"code": []},
        {"code": {"a.py": 3}},
        {"facts": {"": None}},
        {"data": 7},
        {"vocabularies": 3},
        {"vocabularies": {"": {"kind": "Alphabet"}}},
        {"experiment": {"module": 3, "file": None, "name": None}},
        {"experiment": {"module": "a"}},
    ],
)
def test_a_part_of_run_json_in_another_form(copied, part):
    origin = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps(origin | part))
    assert "run.json is damaged" in refusal(lambda: rnnjax.load_run(copied))


@pytest.mark.parametrize("text", ["", "\0", "[]", "3", "null", "[" * 100_000, '{"runs": [3]}', '{"runs": {"gru": 3}}'])
def test_a_damaged_summary(copied, text):
    (copied / "summary.json").write_text(text)
    assert "summary.json is damaged: it" in refusal(lambda: rnnjax.load_run(copied).summary)


def test_a_digit_of_a_summary_that_was_changed(copied):
    text = (copied / "summary.json").read_text()
    (copied / "summary.json").write_text(text.replace('"steps": 6', '"steps": 7'))
    assert "its content is not as it was written" in refusal(lambda: rnnjax.load_run(copied).summary)


def test_metrics_that_are_no_records_are_told(copied, capsys):
    (copied / "metrics.jsonl").write_bytes(b"\xff\0\1")
    assert rnnjax.load_run(copied).metrics == {}
    assert "the last line is no record and ignored" in capsys.readouterr().err


def test_a_run_of_a_later_version_and_one_whose_flags_were_edited(copied):
    origin = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps(origin | {"format": 99}))
    assert "has format 99, this version of rnnjax knows 1" in refusal(lambda: rnnjax.load_run(copied))
    (copied / "run.json").write_text(json.dumps(origin))
    with (copied / "flags.cfg").open("a") as file:
        file.write("--delay=4\n")
    assert "was edited" in refusal(lambda: rnnjax.load_run(copied))


def test_a_folder_that_is_no_run(tmp_path):
    assert "there is no such folder" in refusal(lambda: rnnjax.load_run(tmp_path / "x"))
    assert "it has no flags.cfg" in refusal(lambda: rnnjax.load_run(tmp_path))
    (tmp_path / "file").write_text("")
    assert "is not a run" in refusal(lambda: rnnjax.load_run(tmp_path / "file"))
    assert "is not a study: it has no members.jsonl" in refusal(lambda: rnnjax.load_study(tmp_path))
    assert "is not a study: there is no such folder" in refusal(lambda: rnnjax.load_study(tmp_path / "nowhere"))


NO_FOLDERS = [None, 3, ["runs"], b"runs", "a\0b", True, 2.5, np.arange(99)]


@pytest.mark.parametrize("given", NO_FOLDERS, ids=lambda given: type(given).__name__)
@pytest.mark.parametrize("call", [rnnjax.load_run, rnnjax.load_runs, rnnjax.load_study, list_runs, compare_runs])
def test_what_is_no_path(call, given):
    line = refusal(lambda: call(given))
    assert line.startswith(f"{call.__name__} takes the folder of a run, as text or a path, got ")
