"""Law: an estimator gives the gradient it names, window by window, in memory that does not grow with the sequence."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import losses
from rnnjax.data import Batch
from rnnjax.estimators import Estimate, backprop, score
from rnnjax.losses import Mean, mean

B, T, D, H = 3, 12, 2, 4


def network(*inner: rnnjax.Cell) -> rnnjax.Cell:
    return rnnjax.unroll(rnnjax.stack(rnnjax.lstm(H), *inner, rnnjax.linear(1)))


def batch_of(steps: int = T, **fields) -> Batch:
    x = jax.random.normal(jax.random.key(1), (B, steps, D))
    y = jax.random.normal(jax.random.key(2), (B, steps, 1))
    return Batch(x, y, **fields)


def total(cell: rnnjax.Cell, params, batch: Batch) -> jax.Array:
    return score(cell, losses.regress, params, (), batch)[0]["loss"].total


@pytest.mark.parametrize(
    "window", [1, pytest.param(4, marks=pytest.mark.slow), 5, pytest.param(12, marks=pytest.mark.slow), 40]
)
def test_windowed_backpropagation_is_the_gradient_of_chunk_truncate(window):
    cell, batch = network(), batch_of(mask=jax.random.bernoulli(jax.random.key(3), 0.7, (B, T)))
    params = cell.init(jax.random.key(0), batch.x[0])
    estimate, state = jax.jit(backprop(cell, losses.regress, window).grad)(params, (), batch)
    short = rnnjax.chunk(rnnjax.truncate(cell), window)
    value, grads = jax.jit(jax.value_and_grad(lambda p: total(short, p, batch)))(params)
    chex.assert_trees_all_close(estimate.grads, grads, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(estimate.metrics["loss"].total, value, rtol=1e-5)
    assert float(estimate.metrics["loss"].weight) == int(batch.mask.sum())
    assert state == ()
    exact = jax.grad(lambda p: total(cell, p, batch))(params)
    gap = np.abs(estimate.grads[0][1]["u"] - exact[0][1]["u"]).max()
    assert gap < 1e-5 if window >= T else gap > 1e-3


def test_a_stream_in_batches_is_one_sequence_in_windows():
    cell, whole = network(), batch_of()
    params = cell.init(jax.random.key(0), whole.x[0])
    estimator = backprop(cell, losses.regress)
    parts = [Batch(whole.x[:, i : i + 4], whole.y[:, i : i + 4], None, jnp.full(B, i == 0)) for i in (0, 4, 8)]
    state, estimates = estimator.init(params, parts[0]), []
    for part in parts:
        estimate, state = estimator.grad(params, state, part)
        estimates.append(estimate)
    summed = jax.tree.map(lambda *leaves: sum(leaves), *estimates)
    expected, _ = backprop(cell, losses.regress, 4).grad(params, (), whole)
    chex.assert_trees_all_close(summed, expected, rtol=1e-5, atol=1e-6)
    carry, _ = rnnjax.run(cell, params, whole.x[1])
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[1], state), carry, rtol=1e-5)


def test_a_row_that_restarts_forgets_and_the_others_do_not():
    cell, batch = network(), batch_of(restart=jnp.array([True, False, False]))
    params = cell.init(jax.random.key(0), batch.x[0])
    estimator = backprop(cell, losses.regress, 5)
    carry = jax.tree.map(lambda a: a + 1.0, estimator.init(params, batch))
    _, after = estimator.grad(params, carry, batch)
    for row in range(B):
        start = None if row == 0 else jax.tree.map(lambda a, row=row: a[row], carry)
        expected, _ = rnnjax.run(cell, params, batch.x[row], start)
        chex.assert_trees_all_close(jax.tree.map(lambda a, row=row: a[row], after), expected, rtol=1e-5)


@pytest.mark.parametrize("window", [None, 4])
def test_a_learned_carry_learns_from_the_first_window(window):
    cell = rnnjax.unroll(rnnjax.stack(rnnjax.linear(H), rnnjax.learn_carry(rnnjax.vanilla_core(H)), rnnjax.linear(1)))
    batch = batch_of()
    params = cell.init(jax.random.key(0), batch.x[0])
    estimate, _ = backprop(cell, losses.regress, window).grad(params, (), batch)
    first = Batch(batch.x[:, : window or T], batch.y[:, : window or T])
    expected = jax.grad(lambda p: total(cell, p, first))(params)
    chex.assert_trees_all_close(estimate.grads[1]["carry"], expected[1]["carry"], rtol=1e-5)
    assert np.abs(expected[1]["carry"]).max() > 1e-3


def test_noise_differs_between_examples_and_windows():
    cell = rnnjax.unroll(rnnjax.dropout(0.5))
    batch = Batch(jnp.ones((8, 12, 1)), jnp.zeros((8, 12, 1)))

    def outputs(y, batch):
        return {"loss": mean(y), **{f"{t}": mean(y[t]) for t in range(y.shape[0])}}

    estimate, _ = backprop(cell, outputs, 6).grad((), (), batch, jax.random.key(0))
    # 8 examples, 2 windows: each step's mask would be one of 0, 16, 32 if either shared its noise
    assert {float(estimate.metrics[f"{t}"].total) for t in range(6)} - {0.0, 16.0, 32.0}


def test_memory_does_not_grow_with_the_sequence(optimized):
    cell = network()

    def temporary(steps: int, window: int | None) -> int:
        batch = batch_of(steps)
        params = cell.init(jax.random.key(0), batch.x[0])
        compiled = jax.jit(backprop(cell, losses.regress, window).grad).lower(params, (), batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes - 8 * batch.x.nbytes

    assert temporary(4000, 20) < 1.2 * temporary(1000, 20)
    assert temporary(4000, None) > 2 * temporary(1000, None)


def test_means_of_parts_are_the_mean_of_the_whole():
    values, mask = jnp.array([1.0, jnp.nan, 3.0, 8.0, jnp.inf]), jnp.array([True, False, True, True, False])
    parts = [mean(values[:2], mask[:2]), mean(values[2:], mask[2:])]
    assert float(jax.tree.map(jnp.add, *parts).value()) == 4.0
    assert float(jax.grad(lambda v: mean(v, mask).total)(values)[1]) == 0.0


def test_nothing_that_counts_gives_a_zero_gradient():
    nothing = Estimate({"u": jnp.zeros(2)}, {"loss": Mean(jnp.zeros(()), jnp.zeros(()))})
    chex.assert_trees_all_equal(nothing.mean_grads(), {"u": jnp.zeros(2)})


def test_a_padded_batch_scores_as_its_sequences_one_by_one():
    cell, batch = network(), batch_of()
    lengths = jnp.array([12, 5, 0])
    valid = jnp.arange(T)[None] < lengths[:, None]
    padded = batch._replace(x=rnnjax.Seq(jnp.where(valid[..., None], batch.x, jnp.nan), valid))
    params = cell.init(jax.random.key(0), batch.x[0])
    metrics, _ = score(cell, losses.regress, params, (), padded)
    alone = [total(cell, params, Batch(batch.x[i : i + 1, :n], batch.y[i : i + 1, :n])) for i, n in enumerate((12, 5))]
    np.testing.assert_allclose(metrics["loss"].total, sum(alone), rtol=1e-5)
    assert float(metrics["loss"].weight) == 17


def test_an_axis_that_is_no_device_is_not_taken_for_one():
    """Whoever maps over an axis of that name gets the noise of each batch by itself."""
    cell, batch, key = network(rnnjax.dropout(0.5)), batch_of(), jax.random.key(5)
    params = cell.init(jax.random.key(0), batch.x[0])

    def noisy(batch):
        return backprop(cell, losses.regress).grad(params, (), batch, key)[0]

    two = jax.tree.map(lambda a: jnp.stack([a, a]), batch)
    mapped = jax.vmap(noisy, axis_name="examples")(two)
    for i in range(2):
        chex.assert_trees_all_close(jax.tree.map(lambda a, i=i: a[i], mapped), noisy(batch), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [pytest.param(None, marks=pytest.mark.slow), 5])
def test_devices_that_share_out_a_batch_are_named_and_give_the_noise_of_the_whole(length):
    cell, batch, key = network(rnnjax.dropout(0.5)), batch_of(), jax.random.key(5)
    params = cell.init(jax.random.key(0), batch.x[0])
    grad = backprop(cell, losses.regress, length).grad
    parts = jax.tree.map(lambda a: a[:, None], batch)  # one example for each device
    summed = jax.vmap(lambda part: jax.lax.psum(grad(params, (), part, key, "those")[0], "those"), axis_name="those")
    whole = grad(params, (), batch, key)[0]
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[0], summed(parts)), whole, rtol=1e-5, atol=1e-6)
