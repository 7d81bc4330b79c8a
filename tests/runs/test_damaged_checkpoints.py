"""Any damage of a checkpoint is found, and the one before it is used."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _states import raw

from rnnjax.base import UserError
from rnnjax.runs import Checkpoints


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
