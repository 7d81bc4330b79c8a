"""A checkpoint comes back bit for bit, and what is no state is refused."""

import logging
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from _states import make_state, random_array, raw

from rnnjax import runs
from rnnjax.base import PyTree, UserError
from rnnjax.runs import Checkpoints
from rnnjax.runs._leaves import MisfitError


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
        state = {"w": jnp.asarray(random_array(5, (4,), np.float64))}
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
