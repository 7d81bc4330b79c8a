"""Law: the online copy task asks for the bits it showed, and is made longer only when they are copied."""

import json

import jax
import jax.numpy as jnp
import pytest
from _launching import launch

from experiments.online_copy import BLANK, CUE, LONGEST, Place, next_steps


def test_a_stream_shows_bits_then_asks_for_them_and_takes_the_present_level_for_the_next():
    bits = jnp.zeros((2, LONGEST), jnp.int32).at[:, :2].set(jnp.array([[1, 0], [1, 1]]))
    place = Place(jnp.array([0, 3]), bits, jnp.array([2, 2]))
    batch, place = jax.jit(lambda place, key: next_steps(place, jnp.int32(1), key, 5))(place, jax.random.key(0))
    assert batch.x.x[0].tolist() == [1, 0, CUE, BLANK, BLANK]
    assert batch.mask[0].tolist() == [False, False, False, True, True]
    assert batch.y[0, 3:].tolist() == [1, 0] and batch.y[1, :2].tolist() == [1, 1]
    assert batch.x.first.tolist() == [[True, False, False, False, False], [False, False, True, False, False]]
    second = batch.x.x[1, 2:].tolist()  # the other row is two steps into a sequence of one bit when the piece ends
    assert second[0] in (0, 1) and second[1:] == [CUE, BLANK] and batch.y[1, 4] == second[0]
    assert place.step.tolist() == [0, 0] and place.length.tolist() == [1, 1]


@pytest.mark.slow
def test_the_level_rises_when_it_is_mastered_and_only_then(tmp_path):
    toy = ["--cell=gru", "--hidden_size=4", "--rules=rtrl,uoro", "--time_steps=300", "--batch_size=2", "--judged=10"]

    def levels(name, mastered):
        assert launch("online_copy", *toy, f"--mastered={mastered}", f"--workdir={tmp_path / name}") == 0
        return json.loads((tmp_path / name / "summary.json").read_text())["levels"]

    assert all(level[-1] == 1 for level in levels("never", 0.0).values())
    assert all(level[-1] > 5 for level in levels("always", 9.0).values())
