"""Laws of the moving average of params, of several batches an update, and of the test of learning rates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnnjax import Seq, data, estimators, linear, losses, stack, training, unroll, vanilla
from rnnjax.data import Batch, Stream
from rnnjax.training import Trainer

N, T = 12, 5


@pytest.fixture(autouse=True)
def standard():
    """optax has not been written for strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def examples() -> Batch:
    """Sequences of different lengths, one of them empty, some of whose targets do not count."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, T, 2)).astype(np.float32)
    valid = np.arange(T) < rng.integers(0, T + 1, N)[:, None]
    return Batch(Seq(x, valid), rng.integers(0, 3, (N, T)), rng.random((N, T)) < 0.7)


def trainer(stream: Stream, accumulate: int = 1, window: int | None = None) -> Trainer:
    net = unroll(stack(vanilla(3), linear(3)))
    return Trainer(net, estimators.backprop(net, losses.classify, window), optax.sgd(0.5), stream, accumulate)


def params_after(trainer: Trainer, data, steps: int):
    run = jax.jit(lambda key: training.loop(trainer, training.init(trainer, data, key), data, steps))
    progress = run(jax.random.key(0))
    return progress.state.params, progress.metrics, progress


def test_some_batches_are_one_batch_of_all_their_examples():
    arrays = {"train": examples()}
    many, sums, _ = params_after(trainer(data.shuffled("train", 3), 4), arrays, 1)
    one, whole, _ = params_after(trainer(data.shuffled("train", 12)), arrays, 1)
    for a, b in zip(jax.tree.leaves((many, sums)), jax.tree.leaves((one, whole)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_windows_of_a_stream_are_one_longer_window():
    x = np.random.default_rng(1).normal(size=(2, 24, 2)).astype(np.float32)
    y = np.arange(48).reshape(2, 24) % 3

    def stream(steps):
        def following(data, position, key):
            cut = [jax.lax.dynamic_slice_in_dim(jnp.asarray(a), position * steps, steps, 1) for a in (x, y)]
            return Batch(*cut, restart=jnp.full(2, position == 0)), position + 1

        return Stream(lambda data: jnp.zeros((), jnp.int32), following)

    many, _, end = params_after(trainer(stream(4), 3), (), 2)
    one, _, other = params_after(trainer(stream(12), window=4), (), 2)
    for a, b in zip(jax.tree.leaves(many), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert int(end.state.position) == 6
    assert jax.tree.structure(end.state.estimator) == jax.tree.structure(other.state.estimator)
    with pytest.raises(ValueError, match="accumulate"):
        training.init(trainer(stream(4), 0), (), jax.random.key(0))


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_an_average_is_the_weighted_mean_of_all_params_since_the_first_update(decay, x64):
    optimizer = training.average_params(optax.adam(0.1), decay)
    params = {"w": jnp.arange(3.0)}
    state, alone, seen = optimizer.init(params), optax.adam(0.1).init(params), []
    assert training.averaged(state, params)["w"].tolist() == [0, 1, 2]
    plain = params
    for i in range(6):
        grads = {"w": jnp.sin(params["w"] + i)}
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        own, alone = optax.adam(0.1).update({"w": jnp.sin(plain["w"] + i)}, alone, plain)
        plain = optax.apply_updates(plain, own)
        np.testing.assert_array_equal(params["w"], plain["w"])  # training itself is left alone
        seen.append(np.asarray(params["w"], float))
    weights = np.array([decay**i for i in range(6)])[::-1]
    expected = (weights[:, None] * np.stack(seen)).sum(0) / weights.sum()
    np.testing.assert_allclose(training.averaged(state, params)["w"], expected, rtol=1e-6)


def test_a_half_precision_average_does_not_stand_still():
    """In bfloat16 a step of 1/1000 of the distance would round to nothing."""
    optimizer = training.average_params(optax.sgd(1.0), 0.999)
    params = jnp.ones((), jnp.bfloat16)
    state = optimizer.init(params)

    def body(at, _):
        params, state = at
        updates, state = optimizer.update(-jnp.ones((), jnp.bfloat16), state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, state), _ = jax.lax.scan(body, (params, state), None, length=200)
    assert training.averaged(state, params).dtype == jnp.bfloat16
    weights = 0.999 ** np.arange(200)[::-1]
    expected = (weights * np.arange(2, 202)).sum() / weights.sum()
    assert float(state.average) == pytest.approx(expected, rel=1e-2)


def test_the_loss_falls_fastest_where_a_parabola_says():
    """The loss w^2 / 2 falls by (1 - rate)^2 a step: it diverges above a rate of 2."""
    x = np.ones((1, 1, 1), np.float32)
    stream = Stream(lambda data: (), lambda data, position, key: (Batch(x, 0 * x), position))
    net = unroll(linear(1, w_init=jax.nn.initializers.ones))
    estimator = estimators.backprop(net, losses.regress)
    key = jax.random.key(0)

    def found(**given):
        return training.find_learning_rate(
            lambda rate: Trainer(net, estimator, optax.sgd(rate), stream), (), key, **given
        )

    test = found(low=1e-4, high=10.0, steps=60)
    rates = np.geomspace(1e-4, 10, 60)
    np.testing.assert_allclose(test.losses[:8], np.cumprod(np.r_[1, 1 - 4 * rates[:7]]) ** 2, rtol=1e-4)
    assert 1e-3 < test.suggested < 0.5 < test.diverged < 10
    with pytest.raises(ValueError, match="0 < low < high"):
        found(low=0.0)
