"""Laws: what was damaged on disk is found and said; nothing in a folder of checkpoints that is none stops a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _launching import launch, records, summary, there_and_back

from rnnjax.base import UserError
from rnnjax.runs import Checkpoints, Workdir
from rnnjax.runs._ending import noted_ending
from rnnjax.runs._leaves import _digest
from rnnjax.runs._log import Log


def log(tmp_path: Path) -> Log:
    made = Log(tmp_path / "log.jsonl")
    for i in range(4):
        made.add([{"member": i, "score": 0.5 + i}])
    return made


def test_each_flipped_bit_of_a_log_is_found(tmp_path):
    whole = log(tmp_path).path.read_bytes()
    before = whole.index(b"\n", whole.index(b'"member": 2')) + 1  # the last line is the only one that may be left out
    for at in range(0, before, 7):
        (tmp_path / "log.jsonl").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(UserError, match=r"log.jsonl is damaged: line [1-4] "):
            Log(tmp_path / "log.jsonl")


@pytest.mark.parametrize("edit", ["drop", "swap", "blank", "nul", "list", "deep", "twice"])
def test_lost_moved_and_foreign_lines_are_found(tmp_path, edit):
    path = log(tmp_path).path
    a, b, *rest = path.read_bytes().splitlines(keepends=True)
    foreign = {"blank": b"\n", "nul": b"\0" * 9 + b"\n", "list": b"[]\n", "deep": b"[" * 10**5 + b"\n", "twice": b}
    lines = {"drop": [a, *rest], "swap": [b, a, *rest]}.get(edit) or [a, b, foreign[edit], *rest]
    path.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match=r"log.jsonl is damaged: line "):
        Log(path)


def test_the_end_of_a_log_may_be_half_written(tmp_path, capsys):
    whole = log(tmp_path).path.read_bytes()
    last = whole[:-1].rindex(b"\n") + 1
    for cut in range(last, len(whole)):
        (tmp_path / "log.jsonl").write_bytes(whole[:cut])
        assert [r["member"] for r in Log(tmp_path / "log.jsonl").records] == [0, 1, 2]
        assert (tmp_path / "log.jsonl").read_bytes() == whole[:last]
    Log(tmp_path / "log.jsonl").add([{"member": 3, "score": 3.5}])
    assert (tmp_path / "log.jsonl").read_bytes() == whole


def test_a_summary_that_was_edited_is_none(tmp_path):
    with Workdir(tmp_path, {}) as workdir:
        for text in ("", "[]", '{"best": null}', '{"best": null, "sha256": null}', "\0"):
            workdir.file("summary.json").write_text(text)
            assert workdir.summary() is None
        workdir.write_summary({"best": {"test": {"loss": 0.25}}})
        assert workdir.summary() == {"version": 1, "best": {"test": {"loss": 0.25}}}
        file = workdir.file("summary.json")
        file.write_text(file.read_text().replace("0.25", "0.15"))
        assert workdir.summary() is None


def test_metrics_that_were_lost_are_said(tmp_path, capsys):
    flags = [f"--workdir={tmp_path / 'run'}", "--keep_checkpoints=9"]
    assert launch(there_and_back(), *flags, "--num_steps=14") == 0
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:5]))
    capsys.readouterr()
    assert launch(there_and_back(), *flags, "--num_steps=20") == 0
    assert "has lost the records after step 5" in capsys.readouterr().err
    assert [r["step"] for r in records(tmp_path / "run")] == [*range(1, 6), *range(15, 21)]


def test_a_finished_run_whose_best_is_damaged_or_gone_says_so(tmp_path, capsys):
    assert launch(there_and_back(), f"--workdir={tmp_path / 'run'}", "--num_steps=14") == 0
    (best,) = (tmp_path / "run" / "best").iterdir()
    manifest = best / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"step"', b'"stop"'))
    capsys.readouterr()
    assert launch(there_and_back(), f"--workdir={tmp_path / 'run'}", "--num_steps=14") == 0
    assert "the last parameters stand in for the best" in capsys.readouterr().err
    assert summary(tmp_path / "run")["best"]["step"] == 14


def test_what_is_no_checkpoint_stops_nothing(tmp_path):
    saved = Checkpoints(tmp_path / "c", keep=2)
    saved.save(1, {"w": jnp.ones(2)})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    (tmp_path / "c" / "999999").touch()
    (tmp_path / "c" / "2").touch()  # where a checkpoint will be
    (tmp_path / "c" / "007").mkdir()
    (tmp_path / "c" / "\u00b2").mkdir()
    for name in (".x.old", ".3.new", ".4.replaced", ".y.replaced"):
        (tmp_path / "c" / name).touch()
    for name in ("500", ".z.old", ".6.replaced"):
        (tmp_path / "c" / name).symlink_to(tmp_path / "elsewhere")
    assert saved.steps() == [1]
    for step in (2, 3):
        saved.save(step, {"w": jnp.full(2, float(step))})
    assert saved.steps() == [2, 3] and saved.restore({"w": jnp.zeros(2)})[1]["w"].tolist() == [3, 3]
    assert (tmp_path / "elsewhere" / "file").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"step": None},
        {"files": 3},
        {"files": {"a": 1}},
        {"leaves": []},
        {"leaves": {"['w']": 3}},
        {"leaves": {"['w']": ["float32", [3]]}},
    ],
    ids=str,
)
def test_a_crafted_manifest_is_damage(tmp_path, change, capsys):
    saved = Checkpoints(tmp_path)
    for step in (1, 2):
        saved.save(step, {"w": jnp.ones(2)})
    path = tmp_path / "2" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    manifest |= change
    path.write_text(json.dumps({**manifest, "sha256": _digest(manifest)}))
    like = jnp.zeros(3 if "['w']" in str(change) and "float32" in str(change) else 2)
    if like.size == 3:  # the manifest says what is wanted, the arrays are others
        with pytest.raises(UserError):
            saved.restore({"w": like})
    else:
        assert saved.restore({"w": like})[0] == 1
        assert "checkpoint 2 is damaged" in capsys.readouterr().err


def test_legacy_keys_and_typed_keys_are_the_same_key(tmp_path):
    legacy, typed = jax.random.PRNGKey(3), jax.random.key(3)
    for i, (given, like) in enumerate([(legacy, typed), (typed, legacy), (legacy, legacy), (typed, typed)]):
        saved = Checkpoints(tmp_path / str(i))
        saved.save(1, {"key": given, "many": jnp.stack([given] * 2)})
        found = saved.restore({"key": like, "many": jnp.stack([like] * 2)})[1]
        assert found["key"].dtype == like.dtype and found["many"].shape == jnp.stack([like] * 2).shape
        assert np.array_equal(jax.random.uniform(found["key"], (3,)), jax.random.uniform(like, (3,)))
    with pytest.raises(ValueError, match="does not fit"):
        saved.restore({"key": jax.random.key(3, impl="rbg"), "many": jnp.stack([typed] * 2)})


def test_a_workdir_that_is_removed_while_the_run_is_under_way(tmp_path):
    for again in (False, True):
        with Workdir(tmp_path / "run", {}) as workdir:
            workdir.log(1, {"loss": 1.0})
            shutil.rmtree(tmp_path / "run")
            if again:
                (tmp_path / "run").mkdir()
            for write in (lambda w=workdir: w.log(2, {"loss": 1.0}), lambda w=workdir: w.write_summary({})):
                with pytest.raises(UserError, match="was removed or replaced"):
                    write()
            with pytest.raises(RuntimeError), noted_ending(workdir):
                raise RuntimeError("how it ended is noted nowhere")
        assert not again or not list((tmp_path / "run").iterdir())
