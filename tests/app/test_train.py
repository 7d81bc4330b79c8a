"""Laws of training from Python: calls share nothing, an interrupt is saved, a run starts from another."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import _user_experiment
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _launching import launch, one_line, there_and_back

import rnnjax
from rnnjax import app
from rnnjax.app._session import Session
from rnnjax.app._train import _as_command_line
from rnnjax.base import UserError
from rnnjax.interop import load_params, load_program, save_params, save_program
from rnnjax.runs import ProgressBar

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures("shared_programs")
EXPERIMENT = _user_experiment.EXPERIMENT
SETTINGS = ("jax_enable_x64", "jax_default_matmul_precision", "jax_compilation_cache_dir")


@pytest.fixture(autouse=True)
def standard():
    """optax has not been written for strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def train(experiment, workdir, **flags):
    return app.train(experiment, workdir, progress="none", **{"compilation_cache": "off", "writers": "jsonl", **flags})


def arrays(run) -> list[np.ndarray]:
    return list(run.arrays().values())


def same(a, b) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b))


def refusal(f) -> str:
    with pytest.raises(UserError) as error:
        f()
    return str(error.value)


def test_a_run_from_python_is_the_run_of_the_command_line(tmp_path):
    run = train(EXPERIMENT, tmp_path / "a", cell="gru", num_steps=4)
    assert launch(EXPERIMENT, f"--workdir={tmp_path / 'b'}", "--cell=gru", "--num_steps=4", "--writers=jsonl") == 0
    other = rnnjax.load_run(tmp_path / "b")
    assert same(arrays(run), arrays(other)) and run.evaluate() == other.summary["test"]
    assert (tmp_path / "a" / "curves.png").exists()
    again = train(EXPERIMENT, tmp_path / "a", cell="gru", num_steps=4)
    assert again.summary == run.summary
    longer = train(EXPERIMENT, tmp_path / "a", cell="gru", num_steps=6)
    assert longer.at("last").step == 6


def test_calls_share_neither_flags_nor_settings_of_jax(tmp_path):
    before = {name: getattr(jax.config, name) for name in SETTINGS}
    first = train(EXPERIMENT, tmp_path / "a", cell="gru", num_steps=2)
    other = train(
        EXPERIMENT,
        tmp_path / "b",
        cell="vanilla",
        num_steps=1,
        delay=5,
        dtype="float64",
        matmul_precision="highest",
        hidden_size=3,
    )
    third = train(EXPERIMENT, tmp_path / "c", cell="gru", num_steps=2)
    assert other.config.delay == 5 and third.config.delay == 3 and third.config.hidden_size == 4
    assert same(arrays(first), arrays(third)) and not same(arrays(first), arrays(other))
    assert {name: getattr(jax.config, name) for name in SETTINGS} == before
    assert EXPERIMENT.flags["delay"].value == 3 and EXPERIMENT.flags["cell"].value == ["peephole_lstm"]


def test_training_in_a_thread_and_beside_another(tmp_path):
    runs = {}

    def work(name, dtype):
        with jax.numpy_dtype_promotion("standard"):
            runs[name] = train(EXPERIMENT, tmp_path / name, cell="gru", num_steps=2, dtype=dtype)

    threads = [threading.Thread(target=work, args=pair) for pair in (("a", "float32"), ("b", "float64"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dtypes = {name: {str(a.dtype) for a in arrays(run)} for name, run in runs.items()}
    assert dtypes == {"a": {"float32"}, "b": {"float64"}}
    assert same(arrays(runs["a"]), arrays(train(EXPERIMENT, tmp_path / "c", cell="gru", num_steps=2)))


@pytest.mark.parametrize(
    "flags, said",
    [
        ({"dellay": 3}, "Unknown command line flag 'dellay'"),
        ({"cell": ["gru", "lstm"]}, "train\\(\\) trains one cell, this is gru,lstm: give cell='lstm'"),
        ({"cell": "gruu"}, "unknown --cell=gruu: did you mean gru"),
        ({"num_steps": 0}, "num_steps"),
        ({"coordinator": "localhost:1"}, "one process"),
        ({"start_from": "nowhere"}, "nowhere is not a run"),
    ],
)
def test_what_the_command_line_refuses_is_refused_and_leaves_no_folder(flags, said, tmp_path):
    with pytest.raises(UserError, match=said):
        train(EXPERIMENT, tmp_path / "x", **{"num_steps": 1, **flags})
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "flags, said",
    [
        ({"cell": rnnjax.gru}, "cell=<function gru at .*: a flag takes text or numbers, a function goes by name"),
        ({"cell": [rnnjax.gru(3)]}, r"cell=gru\(3\): a flag takes text or numbers"),
        ({"optimizer": len}, "optimizer=<built-in function len>: a flag takes"),
        ({"seed": None}, "seed=None: leave it out for its default"),
        ({"learning_rate": b"1"}, "learning_rate=b'1': a flag takes text or numbers"),
        ({"workdir": 3}, "train takes the folder of a run, as text or a path, got 3"),
        ({"progress": "bars"}, "unknown progress bars"),
        ({"flagfile": "nowhere.cfg"}, "--flagfile: Unable to open"),
    ],
)
def test_what_no_flag_can_say_is_refused_and_leaves_no_folder(flags, said, tmp_path):
    line = refusal(lambda: app.train(there_and_back(), **{"workdir": tmp_path / "run", "num_steps": 1, **flags}))
    assert re.match(said, line) and not list(tmp_path.iterdir())


def test_numbers_of_numpy_and_jax_are_numbers_of_flags():
    given = {"reset_after": np.bool_(True), "a": np.float32(0.5), "b": jnp.arange(2), "c": (np.int8(3), "x")}
    (word,) = _as_command_line(there_and_back(), "cell_args", given)
    assert word == "--cell_args=reset_after=True,a=0.5,b=[0, 1],c=(3, 'x')"
    assert _as_command_line(there_and_back(), "seed", jnp.int32(3)) == ["--seed=3"]


def test_a_run_is_what_start_from_takes(tmp_path):
    first = train(there_and_back(), tmp_path / "first", num_steps=4, checkpoint_every=2)
    assert _as_command_line(there_and_back(), "start_from", first) == [f"--start_from={first.path}"]
    assert _as_command_line(there_and_back(), "start_from", first.at(2)) == [f"--start_from={first.path}:2"]
    assert _as_command_line(there_and_back(), "start_from", first.path) == [f"--start_from={first.path}"]


def test_an_interrupt_is_saved_and_raised(tmp_path, monkeypatch):
    advance = Session.advance

    def interrupted(self, saved, writer, bar):
        saved = advance(self, saved, writer, bar)
        if int(saved.progress.state.step) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return saved

    with monkeypatch.context() as patch:
        patch.setattr(Session, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt, match="stopped and saved"):
            train(there_and_back(), tmp_path / "cut", num_steps=12)
    assert rnnjax.load_run(tmp_path / "cut").steps == [5]
    cut, whole = (train(there_and_back(), tmp_path / name, num_steps=12) for name in ("cut", "whole"))
    assert same(arrays(cut.at("last")), arrays(whole.at("last")))


def test_a_run_starts_from_another(tmp_path):
    first = train(EXPERIMENT, tmp_path / "a", cell="gru", num_steps=4, checkpoint_every=2)
    for which, wanted in (("", first), (":last", first.at("last")), (":2", first.at(2))):
        session = Session(EXPERIMENT, first.config.replace(start_from=f"{tmp_path / 'a'}{which}", optimizer="sgd"))
        started = jax.tree.leaves(session.fresh().progress.state.params)
        assert same(started, arrays(wanted))
    on = train(EXPERIMENT, tmp_path / "b", cell="gru", num_steps=1, learning_rate=0.0, start_from=tmp_path / "a")
    assert same(arrays(on), arrays(first)) and on.step == 1
    (tmp_path / "a").rename(tmp_path / "gone")
    longer = train(EXPERIMENT, tmp_path / "b", cell="gru", num_steps=2, learning_rate=0.0, start_from=tmp_path / "a")
    assert longer.at("last").step == 2  # what it started from is not needed any more


def test_what_does_not_fit_is_listed_and_refused_or_drawn_anew(tmp_path, capsys):
    first = train(EXPERIMENT, tmp_path / "a", cell="gru", num_steps=1)
    flags = [f"--start_from={first.path}", "--cell=gru", "--num_layers=2", "--num_steps=1"]
    capsys.readouterr()
    assert launch(EXPERIMENT, f"--workdir={tmp_path / 'b'}", *flags) == 1
    line = one_line(capsys)
    assert "does not fit this network" in line and "is missing in it" in line and "--start_partial loads" in line
    assert not (tmp_path / "b").exists()
    partial = train(
        EXPERIMENT,
        tmp_path / "b",
        cell="gru",
        num_layers=2,
        num_steps=1,
        learning_rate=0.0,
        start_from=first.path,
        start_partial=True,
    )
    assert "are initialised" in capsys.readouterr().err
    kept = [name for name, a in partial.arrays().items() if same([a], [first.arrays().get(name)])]
    assert kept == [name for name, a in first.arrays().items() if partial.arrays()[name].shape == a.shape]
    assert 0 < len(kept) < len(partial.arrays())


def test_a_study_does_not_start_from_a_run_in_silence(tmp_path, capsys):
    flags = ("--experiment=_user_experiment", "--set=start_from=runs/a", "--grid=seed=0,1")
    assert launch("sweep", *flags, f"--workdir={tmp_path / 'x'}") == 1
    assert "start_from" in one_line(capsys)


def test_a_run_from_before_the_flag_was_there_resumes(tmp_path):
    run = train(EXPERIMENT, tmp_path, num_steps=1)
    assert "start_" not in (tmp_path / "flags.cfg").read_text() and "start_from" not in run.flags


def test_parameters_go_to_a_file_and_back(tmp_path):
    run = train(EXPERIMENT, tmp_path / "a", cell="gru", num_steps=1)
    for kind in (".npz", ".safetensors"):
        run.save_params(tmp_path / f"p{kind}")
        assert same(jax.tree.leaves(load_params(tmp_path / f"p{kind}", run.params)), jax.tree.leaves(run.params))
        other = rnnjax.lstm(4)
        with pytest.raises(ValueError, match=r"does not fit this network: .* missing in it"):
            load_params(tmp_path / f"p{kind}", jax.eval_shape(other.init, jax.random.key(0), np.ones(3, np.float32)))
        (tmp_path / f"p{kind}").write_bytes((tmp_path / f"p{kind}").read_bytes()[:-9])
        with pytest.raises(ValueError, match="is damaged"):
            load_params(tmp_path / f"p{kind}", run.params)
    assert "ends in .npz or .safetensors" in refusal(lambda: run.save_params(tmp_path / "p.pickle"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "int32", "uint8", "bool"])
def test_every_dtype_of_safetensors(dtype, tmp_path, x64):
    params = {"file": np.arange(6).reshape(2, 3).astype(dtype), "none": np.zeros((0, 2), dtype)}
    save_params(tmp_path / "p.safetensors", params)
    again = load_params(tmp_path / "p.safetensors", params)
    assert same(jax.tree.leaves(again), jax.tree.leaves(params)) and str(again["file"].dtype) == dtype
    if dtype == "bfloat16":
        with pytest.raises(ValueError, match=r"use .safetensors"):
            save_params(tmp_path / "p.npz", params)
    else:
        save_params(tmp_path / "p.npz", params)
        assert same(jax.tree.leaves(load_params(tmp_path / "p.npz", params)), jax.tree.leaves(params))


def test_an_exported_run_goes_without_this_code_at_any_length(tmp_path):
    run = train(EXPERIMENT, tmp_path / "a", cell="gru", num_steps=1)
    run.export(tmp_path / "program")
    xs = np.random.default_rng(0).integers(0, 5, (3, 9)).astype(np.int32)
    want = np.asarray(jax.vmap(run.apply)(xs))
    np.testing.assert_allclose(load_program(tmp_path / "program")(xs), want, rtol=1e-5, atol=1e-6)
    np.save(tmp_path / "xs.npy", xs)
    code = f"""
import sys, jax, numpy as np
def program(name): return jax.export.deserialize(bytearray(open({str(tmp_path)!r} + "/program/" + name, "rb").read()))
xs = np.load({str(tmp_path / "xs.npy")!r})
ys = np.asarray(program("window.bin").call(xs))
with np.load({str(tmp_path / "program" / "carry.npz")!r}) as carry: carry = [carry[name] for name in sorted(carry)]
for t, x in enumerate(xs[0]):
    carry, y = program("step.bin").call(carry, x)
    np.testing.assert_allclose(y, ys[0, t], rtol=1e-5, atol=1e-6)
assert "rnnjax" not in sys.modules
np.save({str(tmp_path / "ys.npy")!r}, ys)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(tmp_path / "ys.npy"), want, rtol=1e-5, atol=1e-6)
    content = bytearray((tmp_path / "program" / "window.bin").read_bytes())
    content[100] ^= 1
    (tmp_path / "program" / "window.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"window\.bin has changed"):
        load_program(tmp_path / "program")


def test_a_network_that_reads_from_both_ends_has_no_program_of_one_step(tmp_path):
    cell, xs = rnnjax.bidirectional(rnnjax.gru(3)), np.ones((5, 2), np.float32)
    seq = rnnjax.Seq(xs, np.ones(5, bool))
    for i, x in enumerate((xs, seq)):
        params = cell.init(jax.random.key(0), x)
        save_program(tmp_path / str(i), cell, params, x)
        assert not (tmp_path / str(i) / "step.bin").exists()
        many = jax.tree.map(lambda a: np.stack([a, a])[:, :4], x)
        got = jax.tree.leaves(load_program(tmp_path / str(i))(*jax.tree.leaves(many)))
        want = jax.tree.leaves(jax.vmap(lambda x, p=params: rnnjax.run(cell, p, x)[1])(many))
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_progress_in_a_notebook_is_one_line_written_over(monkeypatch, capsys):
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    with ProgressBar(4, "gru") as progress:
        progress.update(1, loss=2.5)
        progress.say("validation: 2.1")
        progress._drawn -= 1.0
        progress.update(4, loss=1.25)
    out, err = capsys.readouterr()
    assert err == "" and out.count("\n") == 2
    assert [line.split("\r")[-1].split(",")[0].strip() for line in out.strip("\n").split("\n")] == [
        "validation: 2.1",
        "gru 4/4",
    ]
