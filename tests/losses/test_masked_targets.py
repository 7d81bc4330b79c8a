"""Law: a masked target or output has no part in value or gradient; one that counts and is nan or inf is read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import losses
from rnnjax.data import Batch

LOSSES = {
    "binary_cross_entropy": (losses.binary_cross_entropy, lambda z, y: 1 / (1 + np.exp(-z)) - y),
    "squared_error": (losses.squared_error, lambda z, y: 2 * (z - y)),
}
each_loss = pytest.mark.parametrize("loss, slope", LOSSES.values(), ids=LOSSES)
each_fault = pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])


@each_loss
@each_fault
def test_a_masked_target_has_no_part_in_value_or_gradient(loss, slope, fault):
    z, y, mask = jnp.array([0.3, 0.2]), jnp.array([1.0, fault]), jnp.array([True, False])
    value, got = jax.jit(jax.value_and_grad(lambda z: losses.mean(loss(z, y), mask).value()))(z)
    np.testing.assert_allclose(got, [slope(0.3, 1.0), 0.0], rtol=1e-5)
    assert value == loss(z[0], y[0])


@each_loss
@each_fault
def test_a_target_that_counts_is_read(loss, slope, fault):
    value = losses.mean(loss(jnp.array([0.3, 0.2]), jnp.array([1.0, fault]))).value()
    assert jnp.isnan(value) if np.isnan(fault) else value == jnp.inf


@each_loss
@each_fault
def test_a_masked_output_has_no_part_either(loss, slope, fault):
    z, y, mask = jnp.array([0.3, fault]), jnp.array([1.0, 1.0]), jnp.array([True, False])
    value, got = jax.jit(jax.value_and_grad(lambda z: losses.mean(loss(z, y), mask).value()))(z)
    np.testing.assert_allclose(got, [slope(0.3, 1.0), 0.0], rtol=1e-5)
    assert value == loss(z[0], y[0])


READ = {
    "binary_cross_entropy": losses.binary_cross_entropy,
    "squared_error": losses.squared_error,
    "cross_entropy": lambda z, y: losses.cross_entropy(jnp.stack([z, 0 * y], -1), y.astype(int)),
    "ctc": lambda z, y: jax.vmap(losses.ctc)(jnp.stack([0 * y, z], -1)[:, None], y.astype(int)[:, None]),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("fault", [np.nan, *(pytest.param(n, marks=pytest.mark.slow) for n in (3e38, np.inf))])
def test_a_loss_that_counts_and_is_not_finite_has_a_slope_of_nan(name, fault):
    """Under a mask both are zero, in forward mode and in second derivatives too."""
    z, y = jnp.array([0.5, fault, 0.25]), jnp.array([1.0, 0.5 if name.startswith("binary") else 0.0, 1.0])

    def total(z, mask):
        return losses.mean(READ[name](z, y), mask).total

    slopes = [jax.jit(jax.grad(total))(z, jnp.array(mask)) for mask in ([True] * 3, [True, False, True])]
    if not np.isfinite(total(z, None)):
        np.testing.assert_array_equal(np.isnan(slopes[0]), [False, True, False])
    masked = jnp.array([True, False, True])
    assert np.isfinite(slopes[1]).all() and slopes[1][1] == 0 and slopes[1][0] != 0
    assert jnp.isfinite(jax.jvp(lambda z: total(z, masked), (z,), (jnp.ones(3),))[1])
    if name != "ctc":
        for second in (jax.hessian(total), jax.jacrev(jax.grad(total))):
            assert jnp.isfinite(second(z, masked)).all()


@each_loss
def test_an_output_that_counts_is_read(loss, slope):
    assert jnp.isnan(loss(jnp.float32(np.nan), jnp.float32(1)))
    for z in (np.inf, -np.inf):
        wrong = jnp.float32(z < 0) if loss is losses.binary_cross_entropy else jnp.float32(0)
        assert loss(jnp.float32(z), wrong) == jnp.inf


def test_a_logit_without_end_costs_nothing_where_it_is_right():
    got = losses.binary_cross_entropy(jnp.array([np.inf, -np.inf]), jnp.array([1.0, 0.0]))
    np.testing.assert_array_equal(got, [0.0, 0.0])


@pytest.mark.parametrize("fault", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["one", "all"])
@pytest.mark.parametrize("label", [0, -1, 7], ids=["a class", "below", "above"])
def test_a_masked_step_of_classification(fault, where, label):
    z = jnp.array([[0.3, 0.2, 0.1]] * 2).at[1, 0 if where == "one" else slice(None)].set(fault)
    batch = Batch(None, jnp.array([2, label]), jnp.array([True, False]))
    value, got = jax.jit(jax.value_and_grad(lambda z: losses.classify(z, batch)["loss"].value()))(z)
    p = np.exp([0.3, 0.2, 0.1]) / np.exp([0.3, 0.2, 0.1]).sum()
    np.testing.assert_allclose(value, -np.log(p[2]), rtol=1e-5)
    np.testing.assert_allclose(got, [p - [0, 0, 1], [0, 0, 0]], rtol=1e-5)
    assert losses.classify(z, batch)["accuracy"].value() == 0


@pytest.mark.parametrize("fault", [0.5, np.nan])
@pytest.mark.parametrize("y", [[1, 2, 0], [-1, 2, 0], [1, 9, 0]], ids=["symbols", "below", "above"])
def test_a_masked_example_of_labels(fault, y):
    z = jnp.zeros((4, 3)).at[1, 2].set(fault)
    batch = Batch(None, jnp.array(y), jnp.array(False))

    def total(z):
        return sum(m.total + m.weight for m in losses.label_ctc(z, batch).values())

    value, got = jax.jit(jax.value_and_grad(total))(z)
    assert value == 0 and not got.any()


@pytest.mark.parametrize("label", [-1, -100, 3, 255])
def test_a_label_that_is_no_class_is_never_another_class(label):
    z = jnp.array([0.3, 0.2, 0.1])
    value, slope = jax.jit(jax.value_and_grad(losses.cross_entropy))(z, jnp.int32(label))
    assert jnp.isnan(value) and jnp.isnan(slope).all()
    batch = Batch(None, jnp.array([label, 0]))
    assert jnp.isnan(jax.jit(losses.classify)(jnp.stack([z, z]), batch)["loss"].value())
    with pytest.raises(ValueError, match=f"from 0 to 2, got {label}"):
        losses.classify(jnp.stack([z, z]), batch)
    padded = batch._replace(mask=jnp.array([False, True]))  # the usual way to pad
    assert losses.classify(jnp.stack([z, z]), padded)["loss"].value() == losses.cross_entropy(z, jnp.int32(0))


@pytest.mark.parametrize("labels", [jnp.zeros(2), jnp.zeros((2, 3), int), jnp.int32(0)])
def test_labels_of_another_kind_are_refused(labels):
    with pytest.raises(ValueError, match=r"takes integer labels \[2\], got"):
        losses.cross_entropy(jnp.zeros((2, 3)), labels)


@pytest.mark.parametrize("y", [[1, -1], [-1, 1], [1, 0, 2], [0, 1], [1, 3]])
def test_labels_that_no_path_can_say_cost_inf_and_are_counted(y):
    z = jax.random.normal(jax.random.key(0), (6, 3))
    value, slope = jax.jit(jax.value_and_grad(losses.ctc))(z, jnp.array(y))
    assert value == jnp.inf and not slope.any()
    metrics = losses.label_ctc(z, Batch(None, jnp.array(y)))
    assert metrics["too_long"].value() == 1 and metrics["loss"].weight == 0


def test_ctc_of_symbols_that_cannot_be():
    z = jnp.log(jnp.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]]))
    paths = {(1,): 0.5 * 0.25 + 0.5 * 0.25 + 0.5 * 0.25, (1, 2): 0.25, (2,): 0.25, (): 0.125}
    for labels, p in paths.items():
        y = jnp.array(labels + (0,) * (2 - len(labels)))
        value, slope = jax.value_and_grad(losses.ctc)(z, y)
        np.testing.assert_allclose(value, -np.log(p), rtol=1e-5)
        assert jnp.isfinite(slope).all()
    value, slope = jax.value_and_grad(losses.ctc)(z, jnp.array([2, 1]))
    assert value == jnp.inf and not slope.any()


def test_a_label_that_is_no_symbol_is_refused_where_data_are_read():
    for y in ([1, -1], [0, 1], [1, 5]):
        with pytest.raises(ValueError, match=r"a\.wav: label -?\d is not a symbol: labels are from 1 to 4"):
            losses.check_lengths([9], [np.array(y)], ["a.wav"], symbols=5)
    losses.check_lengths([9], [np.array([1, 4])], ["a.wav"], symbols=5)
    with pytest.raises(ValueError, match="labels are from 1, and 0 is"):
        losses.check_lengths([9], [np.array([1, -4])], ["a.wav"])
