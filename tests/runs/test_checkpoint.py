"""A checkpoint comes back bit for bit, or is known to be damaged; a killed process leaves a complete set."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from rnnjax import runs
from rnnjax.base import PyTree, UserError
from rnnjax.runs import Checkpoints
from rnnjax.runs._leaves import MisfitError


class State(NamedTuple):
    """One leaf of every kind that a training state may hold."""

    arrays: dict[str, Any]
    keys: tuple[jax.Array, ...]
    numbers: list[Any]
    nothing: tuple[Any, ...]


def _array(seed: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Random bits as numbers: subnormals, infinities and NaN with their payloads among them."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(np.random.default_rng(seed).bytes(size), dtype).reshape(shape)


def make_state(seed: int) -> State:
    arrays = {
        "float32": jnp.asarray(_array(seed, (4, 3), np.float32)),
        "bfloat16": jnp.asarray(_array(seed + 1, (5,), ml_dtypes.bfloat16)),
        "float16": jnp.asarray(_array(seed + 2, (2, 2), np.float16)),
        "float64": _array(seed + 3, (3,), np.float64),
        "a name/with.dots ['é']": jnp.arange(seed, seed + 3),
        "scalar": jnp.int32(seed),
        "flags": jnp.array([True, False]),
        "empty": jnp.zeros((0, 4), jnp.bfloat16),
    }
    params = {"w": arrays["float32"]}
    keys = (jax.random.key(seed), jax.random.split(jax.random.key(seed, impl="rbg"), 3))
    return State(arrays, keys, [seed, seed / 7, True, np.float32(seed)], ((), None, optax.adam(0.1).init(params)))


def raw(tree: PyTree) -> list[tuple[Any, ...]]:
    """What a state is, down to the last bit, and the structure it stands in."""

    def leaf(x: Any) -> tuple[Any, ...]:
        if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return "key", str(x.dtype), np.asarray(jax.random.key_data(x)).tobytes(), x.shape
        return type(x).__name__, str(np.asarray(x).dtype), np.asarray(x).tobytes(), np.shape(x)

    return [jax.tree.structure(tree), *map(leaf, jax.tree.leaves(tree))]  # type: ignore[list-item]


def test_every_kind_of_leaf_comes_back_bit_for_bit(tmp_path: Path) -> None:
    state, like = make_state(1), make_state(2)
    Checkpoints(tmp_path / "c").save(7, state)
    assert (tmp_path / "c" / "7" / "arrays").is_dir()
    found = Checkpoints(tmp_path / "c").restore(like)
    assert found is not None and found[0] == 7
    assert raw(found[1]) == raw(state) != raw(like)
    assert all(np.asarray(x).flags.writeable for x in jax.tree.leaves(found[1]) if isinstance(x, np.ndarray))


def test_float64_arrays_of_jax_come_back(tmp_path: Path) -> None:
    with jax.enable_x64(True):
        state = {"w": jnp.asarray(_array(5, (4,), np.float64))}
        Checkpoints(tmp_path).save(1, state)
        found = Checkpoints(tmp_path).restore(jax.eval_shape(lambda: state))
        assert found is not None and raw(found[1]) == raw(state) and found[1]["w"].dtype == jnp.float64


def test_the_state_to_compare_with_may_be_shapes_and_the_restored_one_donated(tmp_path: Path) -> None:
    state = {"w": jnp.arange(1024.0), "key": jax.random.key(3)}
    Checkpoints(tmp_path).save(1, state)
    found = Checkpoints(tmp_path).restore(jax.eval_shape(lambda: state))
    assert found is not None and raw(found[1]) == raw(state)
    step = jax.jit(lambda s: {"w": s["w"] + 1.0, "key": s["key"]}, donate_argnums=0)
    np.testing.assert_array_equal(step(found[1])["w"], np.arange(1024.0) + 1)
    assert found[1]["w"].is_deleted()


def test_the_last_few_are_kept_and_a_future_given_up_is_dropped(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "new" / "folder", keep=3)
    assert checkpoints.restore({"w": 0.0}) is None and checkpoints.latest() is None
    for step in (0, 5, 10, 1000):
        checkpoints.save(step, {"w": float(step)})
    assert checkpoints.steps() == [5, 10, 1000]
    checkpoints.save(20, {"w": 20.5})
    assert checkpoints.steps() == [5, 10, 20]
    checkpoints.save(20, {"w": 21.5})
    assert checkpoints.restore({"w": 0.0}) == (20, {"w": 21.5})
    assert checkpoints.latest() == tmp_path / "new" / "folder" / "20"
    assert sorted(path.name for path in checkpoints.directory.iterdir()) == ["10", "20", "5"]


def damages(folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Every way to harm a checkpoint: bits flipped, files cut short, emptied, gone, or one too many."""
    pick = np.random.default_rng(0)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for i in {0, len(data) // 2, len(data) - 1, *pick.integers(0, len(data), 4).tolist()}:
            flipped = data[:i] + bytes([data[i] ^ (1 << int(pick.integers(8)))]) + data[i + 1 :]
            yield f"{path.name}: a bit of byte {i}", lambda flipped=flipped: path.write_bytes(flipped)  # noqa: B023
        yield f"{path.name}: cut", lambda: path.write_bytes(data[:-1])  # noqa: B023
        yield f"{path.name}: emptied", lambda: path.write_bytes(b"")  # noqa: B023
        yield f"{path.name}: gone", lambda: path.unlink()  # noqa: B023
    yield "a file too many", lambda: (folder / "arrays" / "d" / "more").write_bytes(b"x")
    yield "a folder gone", lambda: shutil.rmtree(folder / "arrays")


def test_any_damage_is_found_and_the_one_before_is_used(tmp_path: Path) -> None:
    lines: list[str] = []
    checkpoints = Checkpoints(tmp_path / "c", report=lines.append)
    states = {step: {"w": jnp.full((3, 2), step, jnp.float32), "key": jax.random.key(step)} for step in (1, 2)}
    for step, state in states.items():
        checkpoints.save(step, state)
    intact, folder = tmp_path / "intact", tmp_path / "c" / "2"
    shutil.copytree(folder, intact)
    for name, harm in damages(folder):
        harm()
        lines.clear()
        found = checkpoints.restore(states[1])
        assert found is not None and found[0] == 1 and raw(found[1]) == raw(states[1]), name
        assert len(lines) == 1 and lines[0].startswith("checkpoint 2 is damaged ("), (name, lines)
        assert lines[0].endswith("): going back to 1")
        shutil.rmtree(folder)
        shutil.copytree(intact, folder)
    found = checkpoints.restore(states[1])
    assert found is not None and raw(found[1]) == raw(states[2])


@pytest.mark.slow
def test_no_bit_of_the_manifest_gives_a_wrong_state(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, report=lambda line: None)
    state = {"é": jnp.arange(3.0), "n": 3}
    checkpoints.save(1, {"é": jnp.zeros(3), "n": 1})
    checkpoints.save(2, state)
    manifest = tmp_path / "2" / "manifest.json"
    data = manifest.read_bytes()
    for i in range(0, len(data), 5):
        manifest.write_bytes(data[:i] + bytes([data[i] ^ (1 << i % 8)]) + data[i + 1 :])
        found = checkpoints.restore(state)
        assert found is not None
        assert found[0] == 1 or raw(found[1]) == raw(state), data[max(i - 9, 0) : i + 9]


def test_a_checkpoint_under_another_name_is_refused(tmp_path: Path) -> None:
    lines: list[str] = []
    checkpoints = Checkpoints(tmp_path, report=lines.append)
    checkpoints.save(1, {"w": 1.0})
    shutil.copytree(tmp_path / "1", tmp_path / "9")
    assert checkpoints.restore({"w": 0.0}) == (1, {"w": 1.0})
    assert lines == ["checkpoint 9 is damaged (it is checkpoint 1): going back to 1"]


def test_when_all_are_damaged_it_says_so_and_does_not_start_anew(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, report=lambda line: None)
    for step in (1, 2):
        checkpoints.save(step, {"w": 1.0})
        (tmp_path / str(step) / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match=r"^every checkpoint in .* is damaged \(2: manifest.json .*; 1: manifest"):
        checkpoints.restore({"w": 0.0})


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"w": jnp.zeros((2, 3)), "n": 0}, r"\['w'\] is float32\[2\] in it, float32\[2, 3\] in the run"),
        ({"w": jnp.zeros(2, jnp.bfloat16), "n": 0}, r"\['w'\] is float32\[2\] in it, bfloat16\[2\] in the run"),
        ({"w": jnp.zeros(2), "n": 0, "b": 1.0}, r"the run has a leaf \['b'\], the checkpoint has none"),
        ({"w": jnp.zeros(2)}, r"the checkpoint has a leaf \['n'\], the run has none"),
        ({"w": jax.random.split(jax.random.key(0)), "n": 0}, r"\['w'\] is float32\[2\] in it, key<fry>\[2\]"),
    ],
)
def test_a_state_of_another_model_is_refused_by_the_name_of_the_leaf(
    tmp_path: Path, like: PyTree, message: str
) -> None:
    checkpoints = Checkpoints(tmp_path, report=pytest.fail)
    checkpoints.save(4, {"w": jnp.ones(2), "n": 1})
    with pytest.raises(MisfitError, match=f"^checkpoint 4 does not fit: .*{message}") as error:
        checkpoints.restore(like)
    assert isinstance(error.value, ValueError) and isinstance(error.value, UserError)


def test_a_store_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path, monkeypatch) -> None:
    def full(*args, **kwargs):
        raise ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device\nmore")

    monkeypatch.setattr(ocp.Checkpointer, "save", full)
    with pytest.raises(UserError, match=r"cannot write .*No space left on device$"):
        Checkpoints(tmp_path).save(1, {"w": jnp.ones(2)})


def test_what_is_not_an_array_or_a_number_is_refused_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"w": 1.0})
    for leaf in ("a word", object(), np.array([None])):
        with pytest.raises(TypeError, match=r"\['w'\] is a .*: a checkpoint holds arrays and numbers only"):
            checkpoints.save(2, {"w": leaf})
    assert checkpoints.restore({"w": 0.0}) == (1, {"w": 1.0})


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"^cannot write .*file: File exists$"):
        Checkpoints(tmp_path / "file").save(1, {"w": 1.0})


class Killed(BaseException):
    """Stands for a process that ends here."""


def _stop_at(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """From the n-th change to the file system on, nothing is done any more."""
    count = 0

    def stopping(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count >= n:
                raise Killed
            return function(*args, **kwargs)

        return wrapped

    for owner, name in ((Path, "rename"), (Path, "write_text"), (Path, "mkdir"), (os, "unlink"), (os, "rmdir")):
        monkeypatch.setattr(owner, name, stopping(getattr(owner, name)))


def assert_all_intact(directory: Path, copy: Path, like: PyTree) -> None:
    """Every checkpoint there can be read, the newest first."""
    shutil.copytree(directory, copy)
    checkpoints = Checkpoints(copy, report=pytest.fail)
    while latest := checkpoints.latest():
        found = checkpoints.restore(like)
        assert found is not None and found[0] == checkpoints.steps()[-1]
        shutil.rmtree(latest)
    shutil.rmtree(copy)


@pytest.mark.parametrize(
    "again",
    [pytest.param(False, marks=pytest.mark.slow, id="a new step"), pytest.param(True, id="the same step again")],
)
def test_a_save_that_stops_at_any_change_leaves_the_old_set_or_the_new(tmp_path: Path, again: bool) -> None:
    states = [{"w": jnp.full(3, float(i))} for i in range(4)]
    stops, said, n = [], [], 0
    while True:
        n += 1
        checkpoints = Checkpoints(tmp_path / str(n), keep=2, report=said.append)
        for step in (1, 2):
            checkpoints.save(step, states[step])
        step = 2 if again else 3
        with pytest.MonkeyPatch.context() as monkeypatch:
            _stop_at(monkeypatch, n)
            try:
                checkpoints.save(step, states[3])
                break
            except Killed:
                pass
        steps = checkpoints.steps()
        assert steps in ([[1, 2]] if again else [[1, 2], [1, 2, 3], [2, 3]])
        found = checkpoints.restore(states[0])
        assert found is not None and found[0] == steps[-1]
        assert raw(found[1]) in ([raw(states[2]), raw(states[3])] if again else [raw(states[steps[-1]])])
        stops.append(raw(found[1]) == raw(states[3]))
        assert_all_intact(checkpoints.directory, tmp_path / "copy", states[0])
        assert not said
        checkpoints.save(4, states[1])
        more = ["keep is 2: 2 older checkpoints are removed, those of steps 1, 2"] * (len(steps) == 3)
        assert said == more
        said.clear()
        assert sorted(path.name for path in checkpoints.directory.iterdir()) == sorted([str(steps[-1]), "4"])
    assert stops == sorted(stops) and not stops[0] and stops[-1]


CHILD = """
import sys, jax.numpy as jnp
from rnnjax.runs import Checkpoints
checkpoints = Checkpoints(sys.argv[1], keep=2)
found = checkpoints.restore({"w": jnp.zeros((64, 64)), "n": 0})
step = found[0] if found else 0
while True:
    step += 1
    checkpoints.save(step, {"w": jnp.full((64, 64), step, jnp.float32), "n": step})
    print(step, flush=True)
"""


def test_kill_9_in_the_middle_of_saves_loses_nothing(tmp_path: Path) -> None:
    delays, last = np.random.default_rng(0).uniform(0.0, 0.03, 3), 0
    for delay in delays:
        with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                last = int(line)
                if last % 5 == 0:
                    break
            threading.Event().wait(delay)
            child.kill()
            last = max([last, *(int(line) for line in child.stdout if line.endswith("\n"))])
        assert child.returncode == -signal.SIGKILL
        found = Checkpoints(tmp_path, report=pytest.fail).restore({"w": jnp.zeros((64, 64)), "n": 0})
        assert found is not None and found[0] in (last, last + 1) and found[1]["n"] == found[0]
        np.testing.assert_array_equal(found[1]["w"], np.full((64, 64), found[0]))


def test_orbax_says_nothing_and_leaves_no_thread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before, logger = set(threading.enumerate()), logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        Checkpoints(tmp_path).save(1, {"w": jnp.ones(3)})
        Checkpoints(tmp_path).restore({"w": jnp.ones(3)})
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(level)
    assert set(threading.enumerate()) <= before
    assert caplog.records == []


def test_no_pickle_is_ever_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    Checkpoints(tmp_path).save(1, make_state(1))
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *args, **kwargs: pytest.fail("unpickled"))
    assert Checkpoints(tmp_path).restore(make_state(2)) is not None


@pytest.mark.parametrize("step", [20, np.int64(20), np.array(20), jnp.int32(20)])
def test_any_integer_scalar_is_a_step(step, tmp_path):
    saved = runs.Checkpoints(tmp_path)
    saved.save(step, {"a": np.ones(2)})
    assert saved.steps() == [20]


@pytest.mark.parametrize("step", [1e3, True, np.nan, "3", None, -1, 2**63, 10**20, np.array([1, 2]), jnp.float32(2)])
def test_what_is_no_step_is_refused_and_leaves_nothing(step, tmp_path):
    with pytest.raises((TypeError, ValueError)):
        runs.Checkpoints(tmp_path / "new").save(step, {"a": np.ones(2)})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("step", [np.array([20]), jnp.arange(3), jnp.array([7]), np.zeros((50, 50), int), np.True_])
def test_an_array_that_is_no_step_is_refused_in_one_line_of_its_shape(step, tmp_path):
    with pytest.raises(TypeError, match=r"^a checkpoint's step is one integer, got an array \w+\[.*\]$"):
        runs.Checkpoints(tmp_path / "new").save(step, {"a": np.ones(2)})


def test_a_smaller_keep_says_what_it_removes(tmp_path):
    for step in range(1, 8):
        Checkpoints(tmp_path, keep=20).save(step, {"a": np.ones(2)})
    said = []
    few = Checkpoints(tmp_path, keep=3, report=said.append)
    few.save(8, {"a": np.ones(2)})
    assert few.steps() == [6, 7, 8]
    assert said == ["keep is 3: 5 older checkpoints are removed, those of steps 1, 2, 3, 4, 5"]
    few.save(9, {"a": np.ones(2)})
    assert few.steps() == [7, 8, 9] and len(said) == 1
