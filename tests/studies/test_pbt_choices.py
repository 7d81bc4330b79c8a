"""Population based training over choices moves among the choices."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _launching import launch, one_line

from rnnjax.app._state import RunState
from rnnjax.studies import State
from rnnjax.studies._evolution import moved_beside, taken_over
from rnnjax.studies._space import Range
from rnnjax.training import Progress, TrainState

FIXED = ["cell=vanilla", "hidden_size=4", "delay=2", "batch_size=2", "eval_batches=1", "eval_every=5", "num_steps=20"]
BASE = ["--experiment=copying", *(f"--set={f}" for f in FIXED), "--strategy=map", "--trials=4", "--pbt=5"]


def test_numbers_stay_among_the_choices(tmp_path):
    pytest.importorskip("optuna")
    choices = ["0.003", "0.03", "0.01", "0.001"]
    space = f"--space=learning_rate=choice:{':'.join(choices)}"
    assert launch("sweep", *BASE, space, "--space=clip_norm=lin:0.5:2", f"--workdir={tmp_path / 'study'}") == 0
    rows = [json.loads(line) for line in (tmp_path / "study" / "members.jsonl").read_text().splitlines()]
    rates = np.array(
        [rate for row in rows for rate in row["curve"]["learning_rate"]] + [row["last_learning_rate"] for row in rows],
        float,  # null, where a rate was not measured, is nan
    )
    known = np.array([float(c) for c in choices])
    rates = rates[np.isfinite(rates)]
    assert rates.size and (np.abs(rates[:, None] / known - 1).min(1) < 1e-5).all()
    clips = [row["last_clip_norm"] for row in rows]
    assert all(0.5 <= c <= 2 for c in clips)


def test_a_choice_moves_to_one_beside_it():
    choices, keys = np.array([1.0, 2.0, 3.0]), jax.random.split(jax.random.key(0), 20)
    moved = np.array([moved_beside(key, jnp.array([1.0, 2.0, 3.0]), choices) for key in keys])
    assert set(moved[:, 0]) == {2.0} and set(moved[:, 1]) == {1.0, 3.0} and set(moved[:, 2]) == {2.0}
    only = moved_beside(keys[0], jnp.array([5.0]), np.array([5.0]))
    assert only.tolist() == [5.0]


def test_who_takes_over_moves_among_the_choices_and_others_stay():
    space = {"rate": Range("rate", "choice", choices=("0.1", "0.2", "0.4"))}
    run = TrainState(*[jnp.zeros(4)] * 6)
    rates = jnp.array([0.1, 0.2, 0.4, 0.4])
    progress = Progress(run, {}, jnp.ones(4, bool))
    state = State({"rate": rates}, RunState(progress, *[jnp.zeros(4)] * 3), jnp.zeros(4))
    for seed in range(5):
        parents = np.array([0, 1, 2, 0])
        new = taken_over(state, np.arange(4), parents, space, jax.random.key(seed))
        np.testing.assert_allclose(new.numbers["rate"], [0.1, 0.2, 0.4, 0.2], rtol=1e-6)


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--space=optimizer=choice:sgd:adam"], "--pbt changes numbers"),
        (["--space=dropout=choice:0:0.5"], "--dropout is not a number that --pbt can change while training"),
        (["--space=delay=choice:2:3"], "--delay is not a number that --pbt can change while training"),
        (["--space=learning_rate=log:1e-3:1", "--grid=hidden_size=4,5"], "--pbt: members must differ"),
        (["--space=learning_rate=log:1e-3:1", "--member_batch=2"], "--member_batch=2: with --pbt all members"),
        (["--space=learning_rate=log:1e-3:1", "--workers=2"], "--workers go with neither --halving nor --pbt"),
    ],
    ids=str,
)
def test_members_that_cannot_take_over_are_refused_before_anything_is_made(flags, said, capsys, tmp_path):
    grids = tuple(f"--set={flag.split('=')[1]}=" for flag in flags)
    base = [flag for flag in BASE if not flag.startswith(grids)]
    assert launch("sweep", *base, *flags, f"--workdir={tmp_path / 'study'}") == 1
    assert said in one_line(capsys) and not (tmp_path / "study").exists()
