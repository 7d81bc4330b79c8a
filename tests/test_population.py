"""Laws of populations: a member is the run alone, none disturbs another, one compilation for all of a group."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from absl import flags

from rnnjax import app, losses, tasks, training, unroll
from rnnjax.app.programs import programs
from rnnjax.compose import stack
from rnnjax.feedforward import linear, one_hot
from rnnjax.studies.members import member, numbers
from rnnjax.studies.programs import group_programs

builds = []


def build(config):
    builds.append(config)
    task = tasks.copying(config.delay, 2, 3)
    cell = unroll(stack(one_hot(5), config.layers(), linear(4)))
    return app.Setup(cell, losses.classify, *(training.drawn(task, 3, n) for n in (0, 2, 4)))


def experiment():
    values = app.common_flags(cell="peephole_lstm", hidden_size="4", num_steps=6, eval_every=3)
    flags.DEFINE_integer("delay", 3, "", flag_values=values)
    return app.Experiment(build, values)


GRID = [
    {"learning_rate": "0.01", "seed": "0", "cell_args.forget_bias": "1.0", "dropout": "0.1"},
    {"learning_rate": "1e30", "seed": "1", "cell_args.forget_bias": "-2.0", "dropout": "0.2"},
    {"learning_rate": "0.03", "seed": "7", "cell_args.forget_bias": "0.5", "dropout": "0.4"},
]
STEPS = 6
FIXED = [("clip_norm", "0"), ("optimizer", "sgd"), ("weight_decay", "0.1")]  # at 1e30 it diverges


def trained(strategy, grid=GRID):
    """The states after all steps with one evaluation half way, and the record of that."""
    members = [member(experiment(), i, FIXED, own) for i, own in enumerate(grid)]
    own = [numbers(experiment(), m.config) for m in members]
    given = {name: np.stack([n[name] for n in own]) for name in own[0]}
    p = group_programs(build, members[0].config, strategy)
    state = p.init(given, ())
    state = p.steps(state, np.full(len(grid), 2, np.int32), ())
    state, record = p.measure(state, np.asarray(state.progress.finite), ())
    return p, p.steps(state, np.full(len(grid), STEPS - 2, np.int32), ()), record


def alone(own):
    """A run by itself, as its script would run it: parameters, and what validation says after two steps."""
    config = member(experiment(), 0, FIXED, own).config
    p = programs(build, config)
    progress = p.steps(p.init(()), (), 2)
    scores = p.valid(progress.state.params, ())
    return p.steps(progress, (), STEPS - 2), scores


@pytest.fixture(scope="module")
def mapped():
    with jax.numpy_dtype_promotion("standard"):
        return trained("map")


@pytest.fixture(scope="module")
def single():
    with jax.numpy_dtype_promotion("standard"):
        return {i: alone(GRID[i]) for i in (0, 2)}


def params(state, i):
    return jax.tree.map(lambda a: np.asarray(a[i]), state.progress.state.params)


def test_a_member_of_a_map_is_the_run_alone_bit_for_bit(mapped, single):
    _, state, record = mapped
    for i, (progress, scores) in single.items():
        jax.tree.map(np.testing.assert_array_equal, params(state, i), progress.state.params)
        np.testing.assert_array_equal(record["valid_loss"][i], np.float32(scores["loss"]))


def test_a_member_that_diverges_stops_and_disturbs_nobody(mapped):
    _, state, _ = mapped
    assert np.asarray(state.progress.finite).tolist() == [True, False, True]
    steps = np.asarray(state.progress.state.step)
    assert steps[1] < STEPS and steps[[0, 2]].tolist() == [STEPS, STEPS]


def test_a_group_is_compiled_once(mapped):
    p, state, _ = mapped
    before = len(builds)
    with jax.numpy_dtype_promotion("standard"):
        other = jax.tree.map(lambda a: a[::-1], state)
        p.steps(other, np.array([0, 1, 2], np.int32), ())
    assert len(builds) == before and p.steps._cache_size() == 1
