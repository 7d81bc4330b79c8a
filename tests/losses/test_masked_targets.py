"""Law: a target that is masked is never read; one that counts and is nan or inf reaches the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import losses

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
