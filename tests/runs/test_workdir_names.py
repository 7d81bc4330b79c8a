"""A workdir may have any name: what is a pattern to some library is a name to us."""

from __future__ import annotations

import jax.numpy as jnp
import pytest
from _launching import launch, records, there_and_back

from rnnjax.runs import Checkpoints

NAMES = ["a*", "what?", "a[b]", "[!x]", "back\\slash", "{a,b}", "with space", "~", "caf\u00e9 #1"]


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_comes_back(name, tmp_path):
    saved = Checkpoints(tmp_path / name, keep=2)
    for step in (1, 2, 3):
        saved.save(step, {"w": jnp.full(3, step)})
    step, state = Checkpoints(tmp_path / name).restore({"w": jnp.zeros(3, int)})
    assert (step, state["w"].tolist()) == (3, [3, 3, 3]) and saved.steps() == [2, 3]


def test_a_run_in_such_a_folder_is_taken_up_again(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "a*[b]?"
    assert launch(there_and_back(), f"--workdir={whole}", "--num_steps=6") == 0
    assert launch(there_and_back(), f"--workdir={cut}", "--num_steps=3") == 0
    assert launch(there_and_back(), f"--workdir={cut}", "--num_steps=6") == 0
    assert records(cut) == records(whole)
