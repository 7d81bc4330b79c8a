"""Laws of populations: a member is the run alone, none disturbs another, one compilation for all of a group."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _user_experiment import EXPERIMENT, build, builds

from rnnjax import training
from rnnjax.app import programs
from rnnjax.studies import group_programs
from rnnjax.studies._members import member, numbers

GRID = [
    {"learning_rate": "0.01", "seed": "0", "cell_args.forget_bias": "1.0", "dropout": "0.1"},
    {"learning_rate": "1e30", "seed": "1", "cell_args.forget_bias": "-2.0", "dropout": "0.2"},
    {"learning_rate": "0.03", "seed": "7", "cell_args.forget_bias": "0.5", "dropout": "0.4"},
]
STEPS = 6
FIXED = [("clip_norm", "0"), ("optimizer", "sgd"), ("weight_decay", "0.1")]  # at 1e30 it diverges


def trained(strategy, grid=GRID):
    """The states after all steps with one evaluation half way, and the record of that."""
    members = [member(EXPERIMENT, i, FIXED, own) for i, own in enumerate(grid)]
    own = [numbers(EXPERIMENT, m.config) for m in members]
    given = {name: np.stack([n[name] for n in own]) for name in own[0]}
    p = group_programs(build, members[0].config, strategy)
    state = p.init(given, ())
    state = p.steps(state, np.full(len(grid), 2, np.int32), ())
    state, record = p.measure(state, np.asarray(state.run.progress.finite), ())
    return p, p.steps(state, np.full(len(grid), STEPS - 2, np.int32), ()), record


def alone(own):
    """A run by itself, as its script would run it: parameters, and what validation says after two steps."""
    config = member(EXPERIMENT, 0, FIXED, own).config
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
        return {2: alone(GRID[2])}


def params(state, i):
    return jax.tree.map(lambda a: np.asarray(a[i]), state.run.progress.state.params)


@pytest.mark.slow  # tests/studies/test_sweep.py says so of a whole study
def test_a_member_of_a_map_is_the_run_alone_bit_for_bit(mapped, single):
    _, state, record = mapped
    for i, (progress, scores) in single.items():
        jax.tree.map(np.testing.assert_array_equal, params(state, i), progress.state.params)
        np.testing.assert_array_equal(record["valid_loss"][i], np.float32(scores["loss"]))


@pytest.mark.slow  # tests/studies/test_sweep.py says so of a whole study
def test_a_member_that_diverges_stops_and_disturbs_nobody(mapped):
    _, state, _ = mapped
    assert np.asarray(state.run.progress.finite).tolist() == [True, False, True]
    steps = np.asarray(state.run.progress.state.step)
    assert steps[1] < STEPS and steps[[0, 2]].tolist() == [STEPS, STEPS]


@pytest.mark.slow  # tests/studies/test_sweep.py says so of a whole study
def test_a_group_is_compiled_once(mapped):
    p, state, _ = mapped
    before = len(builds)
    with jax.numpy_dtype_promotion("standard"):
        other = jax.tree.map(lambda a: a[::-1], state)
        p.steps(other, np.array([0, 1, 2], np.int32), ())
    assert len(builds) == before and p.steps._cache_size() == 1


@pytest.mark.slow
def test_a_member_of_a_vmap_is_the_run_alone_to_rounding(single):
    with jax.numpy_dtype_promotion("standard"):
        _, state, _ = trained("vmap")
    assert np.asarray(state.run.progress.finite).tolist() == [True, False, True]
    for i, (progress, _) in single.items():
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params(state, i), progress.state.params)


def steps_done(strategy, member_batch=0):
    """Loops of different lengths: newton's square roots, one number a member."""

    def root(member, y):
        x, n = member
        return jax.lax.fori_loop(0, n, lambda i, x: (x + y / x) / 2, x)

    members = jnp.arange(1.0, 6.0), jnp.array([0, 1, 2, 5, 9])
    return np.asarray(training.population(root, strategy, member_batch)(members, jnp.float32(2.0)))


def test_all_strategies_give_every_member_its_own():
    x = np.arange(1.0, 6.0)
    for i, n in enumerate((0, 1, 2, 5, 9)):
        for _ in range(n):
            x[i] = (x[i] + 2 / x[i]) / 2
    for strategy, batch in (("map", 0), ("vmap", 0), ("vmap", 2), ("shard", 0), ("auto", 3)):
        np.testing.assert_allclose(steps_done(strategy, batch), x, rtol=1e-6)


def test_the_interquartile_mean_and_its_interval():
    scores = np.random.default_rng(0).normal(3.0, 1.0, (400, 16))
    stats = pytest.importorskip("scipy.stats")
    ours = [training.interquartile_mean(row) for row in scores]
    np.testing.assert_allclose(ours, stats.trim_mean(scores, 0.25, axis=1))
    assert training.interquartile_mean([3.0, 1.0, np.inf, 2.0]) == 2.5
    assert training.interquartile_mean([1.0, 2.0, 6.0]) == pytest.approx((0.25 * 1 + 2 + 0.25 * 6) / 1.5)
    inside = [low <= 3.0 <= high for low, high in (training.bootstrap(row, draws=200) for row in scores)]
    assert 0.85 < np.mean(inside) < 0.99  # 16 scores: the bootstrap is a little narrow


def test_the_worst_take_over_from_the_best():
    scores = jnp.array([5.0, 1.0, 7.0, 2.0, jnp.nan, 6.0, 3.0, 4.0])
    drawn = {tuple(training.exploit(jax.random.key(i), scores).tolist()) for i in range(20)}
    assert len(drawn) == 4  # two of the worst, two of the best
    for parents in drawn:
        assert {parents[2], parents[4]} <= {1, 3}
        assert [parents[i] for i in (0, 1, 3, 5, 6, 7)] == [0, 1, 3, 5, 6, 7]
    assert training.exploit(jax.random.key(0), jnp.ones(4)).tolist() == [0, 1, 2, 3]  # nobody is better
