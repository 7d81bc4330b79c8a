"""A run's folder is refused before it is harmed; what is written comes back; a resumed run has the same metrics."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags

import rnnjax.runs._files
from rnnjax.base import UserError
from rnnjax.runs import Workdir, atomic_write, code_version, flag_lines
from rnnjax.runs._log import Log


def define() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string("text", "a", "", flag_values=values)
    flags.DEFINE_string("other", None, "", flag_values=values)
    flags.DEFINE_bool("tied", True, "", flag_values=values)
    flags.DEFINE_bool("noise", False, "", flag_values=values)
    flags.DEFINE_list("sizes", ["1", "2"], "", flag_values=values)
    flags.DEFINE_multi_string("grid", ["a"], "", flag_values=values)
    flags.DEFINE_multi_integer("seed", None, "", flag_values=values)
    flags.DEFINE_float("rate", 1e-3, "", flag_values=values)
    flags.DEFINE_enum("cell", "lstm", ["lstm", "gru"], "", flag_values=values)
    return values


def lines_of(values: flags.FlagValues) -> dict[str, str]:
    return flag_lines(values[name] for name in values)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--text="],
        ['--text= it\'s "quoted", with = and --other=x # no comment'],
        ["--text=# ünï😀\u2028code", "--other=--notied"],
        ["--notied", "--noise"],
        ["--sizes=", "--grid="],
        ['--sizes=1,"b,c",', "--grid=x=1,2", "--grid=", "--grid=y z"],
        ["--seed=3", "--seed=-4", "--rate=1e-30", "--cell=gru"],
    ],
)
def test_flags_come_back_through_a_flagfile(tmp_path: Path, arguments: list[str]) -> None:
    values, again = define(), define()
    values(["program", *arguments])
    Workdir(tmp_path, lines_of(values)).close()
    again(again.read_flags_from_files(["program", f"--flagfile={tmp_path / 'flags.cfg'}"]))
    assert again.flag_values_dict() == values.flag_values_dict()
    with Workdir(tmp_path, lines_of(again)) as workdir:
        assert workdir.resumed


@pytest.mark.parametrize("text", ["two\nlines", "a\rb", "ends in space ", "a\n--cell=gru", "\n"])
def test_a_value_that_a_flagfile_cannot_say_is_refused(text: str) -> None:
    for name in ("text", "grid"):
        values = define()
        values(["program", f"--{name}={text}"])
        with pytest.raises(UserError, match=f"^--{name} has a line break or ends in white space"):
            lines_of(values)


def test_other_flags_are_refused_by_name_except_the_free_ones(tmp_path: Path) -> None:
    old, new = define(), define()
    old(["program", "--text=a b", "--seed=1", "--noise"])
    new(["program", "--rate=0.01", "--seed=1", "--seed=2", "--nonoise", "--text=", "--other=x"])
    Workdir(tmp_path, lines_of(old)).close()
    before = (tmp_path / "flags.cfg").read_bytes()
    with pytest.raises(UserError) as error:
        Workdir(tmp_path, lines_of(new), free=["rate"])
    for change in ('--text: a b -> "";', "--seed: 1 -> 1 2;", "--noise: true -> false;", "--other: not given -> x;"):
        assert change in str(error.value)
    assert "--rate" not in str(error.value) and "\n" not in str(error.value)
    assert (tmp_path / "flags.cfg").read_bytes() == before
    with Workdir(tmp_path, lines_of(new), free=list(new)) as workdir:
        assert workdir.resumed
    Workdir(tmp_path, lines_of(new)).close()


def test_flags_edited_by_hand_are_refused_for_the_run_would_not_know(tmp_path: Path) -> None:
    Workdir(tmp_path, {"rate": "--rate=1"}).close()
    file = tmp_path / "flags.cfg"
    file.write_text(file.read_text().replace("--rate=1", "--rate=2"))
    with pytest.raises(UserError, match="was edited after the run began"):
        Workdir(tmp_path, {"rate": "--rate=2"})
    file.write_text("--rate=2\n")
    with pytest.raises(UserError, match="is not one that rnnjax wrote"):
        Workdir(tmp_path, {"rate": "--rate=2"})


def test_a_foreign_folder_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"holds other things and no flags.cfg of a run: give another --workdir$"):
        Workdir(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_with_a_log_or_what_a_killed_start_left_is_taken(tmp_path: Path) -> None:
    for name in ("out.log", ".DS_Store", ".lock", ".flags.cfg.new"):
        (tmp_path / name).write_text("x")
    with Workdir(tmp_path, {"seed": "--seed=1"}) as workdir:
        assert not workdir.resumed


def test_a_file_in_the_way_and_an_unwritable_folder_are_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(UserError, match=rf"^cannot write {path}: (File exists|Not a directory)$"):
            Workdir(path, {})


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    with Workdir(tmp_path, {}) as workdir:
        workdir.write_summary({"a": 1})
        monkeypatch.setattr(rnnjax.runs._files.os, "fsync", full)
        with pytest.raises(UserError, match=r"^cannot write .*summary.json: No space left on device$"):
            workdir.write_summary({"a": 2})
    assert json.loads((tmp_path / "summary.json").read_text())["a"] == 1


CHILD = """
import sys, time
from rnnjax.runs import Workdir
workdir = Workdir(sys.argv[1], {})
print("ready", flush=True)
sys.stdin.read()
"""


def test_two_processes_cannot_have_one_folder_and_the_lock_dies_with_its_owner(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        with pytest.raises(UserError, match=f"is in use by process {child.pid}: "):
            Workdir(tmp_path, {})
        child.kill()
    assert child.returncode == -signal.SIGKILL
    with Workdir(tmp_path, {}) as workdir:
        assert workdir.resumed
        with pytest.raises(UserError, match="is in use by process"):
            Workdir(tmp_path, {})
    Workdir(tmp_path, {}).close()


def test_a_refused_folder_is_not_left_locked(tmp_path: Path) -> None:
    Workdir(tmp_path, {"seed": "--seed=1"}).close()
    with pytest.raises(UserError, match="--seed: 1 -> 2"):
        Workdir(tmp_path, {"seed": "--seed=2"})
    Workdir(tmp_path, {"seed": "--seed=1"}).close()


def without_seconds(workdir: Workdir) -> list[dict[str, Any]]:
    return [{name: value for name, value in record.items() if name != "seconds"} for record in workdir.records()]


@pytest.mark.parametrize(
    "half", [b"", b'{"step": 50, "sec', b'{"step": 50, "seconds": 1.0', b"\0\0\0\0", b'{"a": 1}\n']
)
@pytest.mark.parametrize("restored", [None, 0, 25, 40])
def test_a_resumed_run_has_the_metrics_of_one_never_stopped(tmp_path: Path, half: bytes, restored: int | None) -> None:
    def train(workdir: Workdir, start: int, stop: int) -> None:
        for step in range(start, stop, 10):
            workdir.log(step, {"loss": np.float32(1 / (step + 1)), "valid": jnp.float32(step)})

    with Workdir(tmp_path / "whole", {}) as whole, Workdir(tmp_path / "cut", {}) as cut:
        train(whole, 0, 100)
        train(cut, 0, 50)
        with cut.file("metrics.jsonl").open("ab") as file:
            file.write(half)
    with Workdir(tmp_path / "cut", {}) as cut:
        cut.rewind(restored)
        train(cut, 0 if restored is None else (restored // 10 + 1) * 10, 100)
        assert without_seconds(cut) == without_seconds(whole) and len(cut.records()) == 10
        seconds = [record["seconds"] for record in cut.records()]
        assert seconds == sorted(seconds)


def test_seconds_count_the_work_before_the_run_was_resumed(tmp_path: Path) -> None:
    with Workdir(tmp_path, {}) as workdir:
        Log(workdir.file("metrics.jsonl")).add([{"step": 3, "seconds": 1000.5}, {"step": 9, "seconds": 2000.0}])
        workdir.rewind(5)
        workdir.log(6, {})
        assert 1000.5 <= workdir.records()[-1]["seconds"] < 1900


def test_damage_in_the_middle_of_the_metrics_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    with Workdir(tmp_path, {}) as workdir:
        for step in range(3):
            workdir.log(step, {"loss": 1.0})
        file = workdir.file("metrics.jsonl")
        file.write_bytes(damaged := file.read_bytes().replace(b'{"step": 1', b'{"stop": 1'))
        with pytest.raises(UserError, match=r"metrics.jsonl is damaged: line 2 is not as it was written"):
            workdir.rewind(2)
        assert file.read_bytes() == damaged


def test_json_is_strict_and_numbers_are_exact(tmp_path: Path) -> None:
    numbers = {"a": np.float32(0.1), "b": jnp.bfloat16(3.14), "c": float("nan"), "d": -float("inf"), "e": 1e-300}
    with Workdir(tmp_path, {}) as workdir:
        workdir.log(np.int64(3), numbers)
        assert workdir.summary() is None
        workdir.write_summary({"final": numbers, "shape": (2, np.int64(3)), "file": tmp_path})
        (line,) = workdir.file("metrics.jsonl").read_text().splitlines()
        summary = json.loads(workdir.file("summary.json").read_text(), parse_constant=pytest.fail)
        assert len(summary.pop("sha256")) == 64 and workdir.summary() == summary
    expected = {"a": float(np.float32(0.1)), "b": 3.140625, "c": None, "d": None, "e": 1e-300}
    record = json.loads(line, parse_constant=pytest.fail)
    assert {name: record[name] for name in numbers} == expected and record["step"] == 3
    assert summary == {"version": 1, "final": expected, "shape": [2, 3], "file": str(tmp_path)}


def test_an_atomic_write_that_stops_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a"
    atomic_write(file, "old")
    monkeypatch.setattr(Path, "replace", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        atomic_write(file, "new")
    assert file.read_text() == "old"


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@x"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_the_version_of_the_code_is_its_commit_and_whether_it_changed(tmp_path: Path) -> None:
    assert code_version(tmp_path) == {"commit": "unknown", "dirty": None}
    git(tmp_path, "init", "-q")
    (tmp_path / "main.py").write_text("a = 1\n")
    assert code_version(tmp_path)["commit"] == "unknown"
    git(tmp_path, "add", "main.py")
    git(tmp_path, "commit", "-q", "-m", "a")
    clean = {"commit": git(tmp_path, "rev-parse", "HEAD").strip(), "dirty": False}
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "metrics.jsonl").write_text("")
    assert code_version(tmp_path) == clean and len(clean["commit"]) == 40
    assert code_version(tmp_path / "runs")["commit"] == "unknown"
    (tmp_path / "main.py").write_text("a = 2\n")
    assert code_version(tmp_path) == clean | {"dirty": True}
    git(tmp_path, "checkout", "-q", "main.py")
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "cells.py").write_text("")
    assert code_version(tmp_path) == clean | {"dirty": True}
