"""Laws of a study under faults: a stop is no try, a machine's fault is no member's, what is damaged is done again."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import errno
import io
import os
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from _launching import launch

from rnnjax.base import UserError
from rnnjax.runs import Checkpoints, Pool, Queue, _leaves
from rnnjax.runs._workers import run_worker
from rnnjax.studies import _study as study
from rnnjax.studies import load_study
from rnnjax.studies._compiler import Compiler
from rnnjax.studies._packs import Pack

STUDY = ["--experiment=_user_experiment", "--grid=learning_rate=0.01,0.1", "--strategy=map", "--member_batch=2"]


def rows(workdir: Path) -> list[dict[str, str]]:
    """results.csv without the clock."""
    with (workdir / "results.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def slow(value):
    """A parameter for the long suite."""
    return pytest.param(value, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> str:
    return f"--compilation_cache={tmp_path_factory.mktemp('cache')}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cache) -> Path:
    path = tmp_path_factory.mktemp("study") / "whole"
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert launch("sweep", *STUDY, cache, f"--workdir={path}") == 0
    assert said.getvalue().splitlines()[-1].startswith("2/2 members, best ")
    return path


@pytest.mark.parametrize(
    "code",
    [errno.ENOSPC, *(pytest.param(code, marks=pytest.mark.slow) for code in (errno.EIO, errno.EMFILE, errno.EROFS))],
)
def test_a_fault_of_the_machine_fails_no_member(code, whole, tmp_path, cache, monkeypatch, capsys, optimized):
    def full(self, *args):
        raise OSError(code, os.strerror(code))

    for broken in ((Pack, "begin"), (Pack, "rows"), (Compiler, "compile"), (Checkpoints, "save")):
        with monkeypatch.context() as patch:
            patch.setattr(*broken, full)
            assert launch("sweep", *STUDY, cache, f"--workdir={tmp_path / 'run'}") == 1
        assert os.strerror(code) in capsys.readouterr().err.splitlines()[-1]
    assert launch("sweep", *STUDY, cache, f"--workdir={tmp_path / 'run'}") == 0
    assert rows(tmp_path / "run") == rows(whole)


def test_a_damaged_pack_is_trained_again(whole, tmp_path, cache, monkeypatch, capsys, optimized):
    class Killed(BaseException):
        pass

    advance = Pack.advance

    def saved(self, target):
        advance(self, target)
        self.save()
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Pack, "advance", saved)
        launch("sweep", *STUDY, cache, f"--workdir={tmp_path / 'run'}")
    for manifest in (tmp_path / "run" / "packs").glob("*/*/manifest.json"):
        data = manifest.read_bytes()
        manifest.write_bytes(data[:9] + bytes([data[9] ^ 4]) + data[10:])
    capsys.readouterr()
    assert launch("sweep", *STUDY, cache, f"--workdir={tmp_path / 'run'}") == 0
    assert "they are trained again" in capsys.readouterr().err
    assert rows(tmp_path / "run") == rows(whole) and not (tmp_path / "run" / "packs").exists()


def test_members_that_were_written_and_no_more(whole, tmp_path, cache, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(self, start):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(
            study.Study,
            "write_scores",
            lambda self, start: killed(self, start) if start == 0 and self.results.rows else None,
        )
        launch("sweep", *STUDY, cache, f"--workdir={tmp_path / 'run'}")
    assert launch("sweep", *STUDY, cache, f"--workdir={tmp_path / 'run'}") == 0
    lines = [(tmp_path / "run" / "metrics.jsonl", whole / "metrics.jsonl")]
    for ours, theirs in lines:
        assert len(ours.read_bytes().splitlines()) == len(theirs.read_bytes().splitlines()) == 2
    assert not (tmp_path / "run" / "packs").exists()


@pytest.mark.parametrize("left", [0, 100, None])
def test_a_table_that_lacks_rows_is_made_again(left, whole, tmp_path, cache):
    shutil.copytree(whole, tmp_path / "run")
    table = tmp_path / "run" / "results.csv"
    if left is None:  # killed after the last line of members.jsonl
        table.unlink()
    else:
        table.write_bytes(table.read_bytes()[:left])
    assert launch("sweep", *STUDY, cache, f"--workdir={tmp_path / 'run'}") == 0
    assert rows(tmp_path / "run") == rows(whole)


def test_a_flipped_score_is_found(whole, tmp_path, cache, capsys):
    assert launch("sweep", *STUDY, cache, f"--workdir={tmp_path / 'run'}") == 0
    path = tmp_path / "run" / "members.jsonl"
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first.replace(b'"score": 1', b'"score": 0').replace(b'"score": 2', b'"score": 1') + b"".join(rest))
    assert launch("sweep", *STUDY, cache, f"--workdir={tmp_path / 'run'}") == 1
    assert "members.jsonl is damaged: line 1 " in capsys.readouterr().err
    with pytest.raises(UserError, match=r"members\.jsonl is damaged: line 1 "):
        load_study(tmp_path / "run")


def test_more_workers_than_a_machine_has_a_place_for_are_refused(tmp_path, capsys):
    for more in ("--workers=100000", "--workers=2000000000", "--workers=20000 --engine=slurm"):
        assert launch("sweep", *STUDY, *more.split(), f"--workdir={tmp_path / 'run'}") == 1
        assert "--workers=" in capsys.readouterr().err and not (tmp_path / "run").exists()


def unit(folder: Path) -> dict:
    return {"a": {"folder": str(folder)}}


def tried(queue: Queue, owner: str):
    """A try whose process is gone."""
    claim = queue.claim(owner)
    queue.give_up(owner)
    return claim


def test_a_try_that_got_further_is_none(tmp_path):
    queue = Queue(tmp_path / "q", tries=3)
    queue.put(unit(tmp_path / "a"))
    for step in range(9):
        assert tried(queue, f"s-{step}") is not None
        (tmp_path / "a" / "packs" / "0" / str(step)).mkdir(parents=True)
    for i in range(3):
        assert tried(queue, f"s-{9 + i}") is not None
    assert queue.claim("s-12") is None and "disappeared" in queue.ends()["a"]["failed"]


def test_a_stop_is_no_try_and_neither_is_one_of_a_dead_coordinator(tmp_path):
    queue = Queue(tmp_path / "q", tries=3)
    queue.put(unit(tmp_path / "a"))
    for i in range(7):
        assert queue.claim(f"s-{i}") is not None
        queue.give_up(f"s-{i}", stopped=True)
    for i in range(7):
        assert tried(queue, f"{i}-0") is not None
        queue.forgive("new")
    assert queue.claim("new-0") is not None and queue.claim("new-1") is None  # it is held
    queue.forgive("newer")
    assert queue.claim("newer-1") is None  # and stays so, until a lease has passed


def full(unit):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_worker_whose_disk_is_full_leaves_its_unit_to_be_done(tmp_path, monkeypatch):
    queue = Queue(tmp_path / "q")
    queue.put(unit(tmp_path / "a"))
    queue.open()
    end = queue.end
    monkeypatch.setattr(Queue, "end", lambda self, name, **what: (end(name, **what), self.close()))
    assert run_worker(str(queue.folder), "test_faults:full", "w") == 1
    assert "No space left" in queue.ends()["a"]["fault"]
    queue.again("a")
    assert queue.left() == ["a"] and queue.claim("w") is not None


def test_faults_of_an_earlier_session_stop_no_later_one(tmp_path):
    queue = Queue(tmp_path / "q")
    queue.put({name: {"folder": str(tmp_path / name)} for name in "abc"})
    for name, what in (("a", "fault"), ("b", "fault"), ("c", "failed")):
        queue.end(name, **{what: "No space left on device"})
    with Pool(queue, "builtins:sorted", workers=1, engine="none"):
        assert queue.left() == ["a", "b"]


@pytest.mark.parametrize("kind", ["units", "ends"])
def test_a_flipped_bit_in_the_queue_is_work_to_do(tmp_path, kind):
    queue = Queue(tmp_path / "q")
    queue.put(unit(tmp_path / "a"))
    queue.end("a", result=[1])
    file = queue.folder / kind / "a.json"
    data = file.read_bytes()
    for at in range(len(data) - 1):  # the last byte is a line break
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        queue.put(unit(tmp_path / "a"))
        assert queue.ends() in ({"a": {"result": [1]}}, {})
        if kind == "ends":
            assert queue.left() == ["a"]
            queue.end("a", result=[1])
        else:
            assert file.read_bytes() == data


SEARCH = [*STUDY[:1], *STUDY[2:], "--space=learning_rate=log:1e-3:1", "--set=num_steps=3", "--trials=6", "--ask=3"]


@pytest.mark.parametrize(
    "sampler", [pytest.param("tpe", marks=pytest.mark.slow), "random", pytest.param("cmaes", marks=pytest.mark.slow)]
)
def test_a_search_killed_anywhere_proposes_what_it_would_have(sampler, tmp_path, cache, monkeypatch, capsys):
    pytest.importorskip("optuna")
    pytest.importorskip("cmaes") if sampler == "cmaes" else None
    from rnnjax.runs import _log
    from rnnjax.studies._search import Search

    class Killed(BaseException):
        pass

    flags = [*SEARCH, f"--sampler={sampler}", cache]
    assert launch("sweep", *flags, f"--workdir={tmp_path / 'whole'}") == 0
    calls: list[str] = []

    def dying(name, kill_at, old):
        def wrapped(*args, **more):
            calls.append(name)
            if len(calls) == kill_at:
                raise Killed
            return old(*args, **more)

        return wrapped

    for kill_at in range(1, 40, 4):
        calls.clear()
        with monkeypatch.context() as patch:
            for owner, name in (
                (Search, "drawn"),
                (Search, "copy"),
                (_log.Log, "add"),
                (_log.Log, "cut"),
                (Search, "ended"),
                (Pack, "rows"),
            ):
                patch.setattr(owner, name, dying(name, kill_at, getattr(owner, name)))
            try:
                if launch("sweep", *flags, f"--workdir={tmp_path / 'cut'}") == 0:
                    break
            except Killed:
                pass
    (tmp_path / "cut" / "study.db").write_bytes(b"garbage")
    assert launch("sweep", *flags, f"--workdir={tmp_path / 'cut'}") == 0
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")
    assert "study.db" in capsys.readouterr().err


@pytest.mark.parametrize("point", [(Pack, "advance"), (Pack, "rows")])
def test_a_folder_that_is_removed_stops_the_study_and_is_not_made_again(point, tmp_path, cache, monkeypatch, capsys):
    owner, name = point
    before = getattr(owner, name)

    def removed(self, *args):
        done = before(self, *args)
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        return done

    monkeypatch.setattr(owner, name, removed)
    assert launch("sweep", *STUDY, cache, f"--workdir={tmp_path / 'run'}") == 1
    said = capsys.readouterr().err.splitlines()
    assert "was removed or replaced" in said[-1] and not any("failed" in line for line in said)
    assert not (tmp_path / "run").exists() and not (tmp_path / "elsewhere" / "members.jsonl").exists()


def test_late_errors_of_a_failed_save_are_hidden(tmp_path, capsys, monkeypatch):
    resource, heard = pytest.importorskip("resource"), []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: heard.append(told.exc_value))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # both are put back
    _leaves._hide_late_errors.cache_clear()
    loop = asyncio.new_event_loop()
    loop.close()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(UserError, match="cannot write"):
            Checkpoints(tmp_path / "c").save(1, {"w": np.random.default_rng(0).random(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for call in (lambda: loop.call_soon_threadsafe(print), lambda: 1 / 0):
        try:
            call()
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
            sys.unraisablehook(types.SimpleNamespace(exc_value=error))
    said = capsys.readouterr().err
    assert "Event loop is closed" not in said and "ZeroDivisionError" in said
    assert [type(error) for error in heard] == [ZeroDivisionError]
