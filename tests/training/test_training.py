"""Laws of the loop and the optimisers: where a run is cut changes nothing, and what optax does we do."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rnnjax
from rnnjax import estimators, losses, tasks, training
from rnnjax.data import Alphabet, contiguous_rows, reading_stream
from rnnjax.tasks import task_stream
from rnnjax.training import decayed, scale_by_name
from rnnjax.training import optimizer as optimizer_
from rnnjax.training._optimizers import DIRECTIONS


def trainer(learning_rate=1e-2) -> training.Trainer:
    cell = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.gru(4), rnnjax.dropout(0.2), rnnjax.linear(9)))
    schedule = decayed(learning_rate, "cosine", 20, warmup=3)
    optimizer = optimizer_(DIRECTIONS["adam"], schedule, 1.0, 1e-3)
    stream = task_stream(tasks.copying(3, 2), 4)
    return training.Trainer(cell, estimators.backprop(cell, losses.classify), optimizer, stream)


@pytest.fixture(autouse=True)
def _as_optax_needs_it():
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_where_a_run_is_cut_does_not_change_a_bit():
    steps = jax.jit(lambda progress, n: training.loop(trainer(), progress, (), n))
    start = jax.jit(lambda key: training.init(trainer(), (), key))(jax.random.key(0))
    cut = start
    for n in (1, 4, 2):
        cut = steps(cut, n)
    whole = steps(start, 7)
    data = lambda p: p._replace(state=p.state._replace(key=jax.random.key_data(p.state.key)))
    chex.assert_trees_all_equal(data(cut), data(whole))
    assert int(whole.state.step) == 7


def test_the_loop_stops_at_the_first_step_that_breaks():
    def breaking(params, state, batch, key=None):
        bad = jnp.where(params["w"][0] < 0.71, jnp.nan, 1.0)
        return estimators.Estimate({"w": jnp.ones(1)}, {"loss": losses.Mean(bad, jnp.ones(()))}), state

    cell = rnnjax.Cell(lambda key, x: {"w": jnp.ones(1)}, lambda w, x: (), lambda w, h, x, key=None: (h, x))
    estimator = estimators.Estimator(lambda params, batch: (), breaking)
    broken = training.Trainer(cell, estimator, optax.sgd(0.1), task_stream(tasks.copying(3, 2), 4))
    progress = training.init(broken, (), jax.random.key(0))
    progress = training.loop(broken, progress, (), 100)
    assert int(progress.state.step) == 4 and not bool(progress.finite)


def test_the_optimizer_is_what_optax_chains():
    params = {"u": jnp.array([[3.0, -4.0]]), "b": jnp.array([1.0])}
    grads = {"u": jnp.array([[30.0, 40.0]]), "b": jnp.array([5.0])}
    ours = optimizer_(DIRECTIONS["adamw"], lambda step: 0.1, clip_norm=2.0, weight_decay=0.3)
    mask = {"u": True, "b": False}
    theirs = optax.chain(optax.clip_by_global_norm(2.0), optax.adamw(0.1, weight_decay=0.3, mask=mask))
    a, b = ours.init(params), theirs.init(params)
    for _ in range(3):
        x, a = ours.update(grads, a, params)
        y, b = theirs.update(grads, b, params)
        chex.assert_trees_all_close(x, y, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("constant", [1.0, 2.0, 2.0, 2.0, 2.0]),
        ("linear", [1.0, 2.0, 2.0, 1.2, 0.4]),
        ("cosine", [1.0, 2.0, 2.0, 1.2, 0.4]),
        ("exponential", [1.0, 2.0, 2.0, 2 * 0.2**0.5, 0.4]),
    ],
)
def test_schedules_by_hand(kind, expected):
    rate = decayed(2.0, kind, steps=11, warmup=1, final=0.2)
    np.testing.assert_allclose([float(rate(s)) for s in (0, 1, 1, 6, 11)], expected, rtol=1e-6)


def test_a_frozen_group_stays_and_an_unknown_name_is_refused():
    params = ({"w": jnp.ones(2)}, {"u": jnp.ones(2)})
    opt = optimizer_(DIRECTIONS["sgd"], lambda s: 1.0, scales={"": 0.5, "u$": 0.0})
    updates, _ = opt.update(params, opt.init(params), params)
    np.testing.assert_array_equal(updates[0]["w"], [-0.5, -0.5])
    np.testing.assert_array_equal(updates[1]["u"], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"no parameter is named like 'zz'; there are 0/w, 1/u"):
        scale_by_name({"zz": 1.0}).init(params)


def test_a_study_of_learning_rates_is_one_vmap_and_equals_the_runs_alone():
    def final(rate):
        t = trainer(rate)
        return training.loop(t, training.init(t, (), jax.random.key(0)), (), 5).state.params

    rates = jnp.array([1e-3, 1e-2])
    together = jax.jit(jax.vmap(final))(rates)
    for i, rate in enumerate(rates):
        alone = jax.jit(final)(rate)
        chex.assert_trees_all_close(jax.tree.map(lambda a, i=i: a[i], together), alone, rtol=2e-4, atol=1e-6)


def test_evaluation_passes_the_carry_on_and_counts_every_step_once():
    pass

    symbols = Alphabet.of("abc ").encode("a cab, a bac"[:5].replace(",", " ") * 9)
    cell = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(4), rnnjax.gru(3), rnnjax.linear(4)))
    rows = contiguous_rows(symbols, rows=1, window=6)
    stream = reading_stream("test", 6, rows.windows(6))
    params = cell.init(jax.random.key(0), jnp.zeros(6, jnp.int32))
    metrics = training.evaluate(cell, losses.classify, stream)(params, {"test": rows}, jax.random.key(0))
    _, logits = rnnjax.run(cell, params, jnp.asarray(symbols[:-1]))
    whole = losses.cross_entropy(logits, jnp.asarray(symbols[1:]))
    assert float(metrics["loss"].weight) == len(symbols) - 1
    np.testing.assert_allclose(metrics["loss"].value(), whole.mean(), rtol=1e-5)


def test_few_and_many_batches_are_scored_by_one_program_as_by_their_own():
    cell = rnnjax.unroll(rnnjax.stack(rnnjax.one_hot(10), rnnjax.gru(3), rnnjax.linear(9)))
    stream, key, traces = task_stream(tasks.copying(5), 4), jax.random.key(1), []
    params = cell.init(jax.random.key(0), jnp.zeros(25, jnp.int32))

    def objective(outputs, batch):
        traces.append(1)
        return losses.classify(outputs, batch)

    score = jax.jit(training.evaluate(cell, objective, stream))
    few, seen = score(params, (), key, 2), len(traces)
    for n, found in ((2, few), (5, score(params, (), key, 5))):
        own = training.evaluate(cell, losses.classify, stream._replace(length=n))(params, (), key)
        chex.assert_trees_all_close(found, own, rtol=1e-6)
        assert float(found["loss"].weight) == n * 4 * 25
    assert len(traces) == seen


def test_copying_and_adding_are_what_the_papers_say():
    task = tasks.copying(7, 3, 5)
    x, y, *_ = task.sample(jax.random.key(3))
    assert x.shape == (13,) and (x[3:] == jnp.array([5] * 6 + [6] + [5] * 3)).all()
    assert (y[:10] == 5).all() and (y[10:] == x[:3]).all()
    batch = tasks.adding(30).batch(jax.random.key(0), 4000)
    assert float(batch.mask.sum(1).min()) == 1 and bool(batch.mask[:, -1].all())
    marks = batch.x[:, :, 1]
    assert (marks[:, :15].sum(1) == 1).all() and (marks[:, 15:].sum(1) == 1).all()
    np.testing.assert_allclose((batch.x[..., 0] * marks).sum(1), batch.y[:, -1, 0], rtol=1e-6)
    assert abs(float(jnp.square(batch.y[:, -1] - 1).mean()) - 1 / 6) < 0.02
