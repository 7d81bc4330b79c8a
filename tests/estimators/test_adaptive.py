"""A window that is chosen while training: the decay that is measured, what follows from it, the bias that is left."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import close, draw

import rnnjax
from rnnjax import Seq, losses
from rnnjax.data import Batch
from rnnjax.estimators import adaptive_tbptt, backprop, cut_off, decay_of_gradient

T, B = 32, 3


def network(u):
    """A linear unit whose state fades by u a step."""
    core = rnnjax.recurrent(2, lambda p, h, z: (h @ p["u"] + z,) * 2, u_init=lambda *_: u * jnp.eye(2))
    return rnnjax.unroll(rnnjax.stack(core, rnnjax.linear(1)))


def batch_of(**fields):
    return Batch(draw((B, T, 2)), draw((B, T, 1), seed=1), **fields)


def gradient(estimator, params, batch):
    estimate, state = jax.jit(estimator.grad)(params, estimator.init(params, batch), batch)
    return estimate, state


def expected(u, window):
    """bias(K) of phi_k = u^k from k = 1 on, phi_0 = phi_1."""
    phi = np.array([1.0, *u ** np.arange(T - 1.0)])
    tails = np.array([phi[j + 1 :].sum() for j in range(window)])
    return tails.mean() / phi.sum()


@pytest.mark.parametrize("u", [0.3, 0.7, 0.95])
def test_the_window_follows_the_decay(u):
    net, batch = network(u), batch_of()
    params = net.init(jax.random.key(0), batch.x[0])
    estimate, _ = gradient(adaptive_tbptt(net, losses.regress, tolerance=0.25), params, batch)
    window = int(estimate.metrics["truncation"].value())
    assert window == next((k for k in (1, 2, 4, 8, 16) if expected(u, k) <= 0.25), T)
    told = float(estimate.metrics["truncation_bias"].value())
    np.testing.assert_allclose(told, expected(u, window) if window < T else 0, rtol=1e-4, atol=1e-6)
    close(estimate.grads, gradient(backprop(net, losses.regress, window), params, batch)[0].grads, 1e-5, 1e-6)


def test_the_bias_that_is_left_is_below_what_was_said():
    net, batch = network(0.7), batch_of()
    params = net.init(jax.random.key(0), batch.x[0])
    exact = jax.flatten_util.ravel_pytree(gradient(backprop(net, losses.regress), params, batch)[0].grads)[0]
    estimate, _ = gradient(adaptive_tbptt(net, losses.regress, tolerance=0.25), params, batch)
    left = jnp.linalg.norm(jax.flatten_util.ravel_pytree(estimate.grads)[0] - exact) / jnp.linalg.norm(exact)
    assert 0 < left < estimate.metrics["truncation_bias"].value() <= 0.25


def test_a_loss_at_one_step_alone_is_measured_there():
    net, at = network(0.5), 20
    batch = batch_of(mask=jnp.broadcast_to(jnp.arange(T) == at, (B, T)))
    params = net.init(jax.random.key(0), batch.x[0])
    one = jax.tree.map(lambda a: a[0], batch)
    decay = decay_of_gradient(net, losses.regress, params, one)
    want = [0.5 ** max(k - 1, 0) if k <= at else 0.0 for k in range(T)]
    np.testing.assert_allclose(decay / decay[1], want, rtol=1e-4, atol=1e-8)


def test_a_stream_carries_its_state_and_restarts():
    net, batch = network(0.5), batch_of(restart=jnp.array([True, False, False]))
    params = net.init(jax.random.key(0), batch.x[0])
    state = jax.tree.map(lambda a: draw(a.shape, a.dtype), backprop(net, losses.regress, 1).init(params, batch))
    made = adaptive_tbptt(net, losses.regress, truncation=4, tolerance=1e-9)
    estimate, after = made.grad(params, state, batch)
    plain, want = backprop(net, losses.regress, 4).grad(params, state, batch)
    close((estimate.grads, after), (plain.grads, want), 1e-5, 1e-6)
    assert float(estimate.metrics["truncation"].value()) == 4


def test_a_padded_sequence_is_measured_at_its_last_valid_step():
    net, xs = network(0.5), Seq(draw((T, 2)), jnp.arange(T) < 10)
    params = net.init(jax.random.key(0), xs)
    decay = decay_of_gradient(net, losses.regress, params, Batch(xs, draw((T, 1), seed=1)))
    assert decay[9] > 0 and (decay[10:] == 0).all()


def test_shares_that_are_cut_off():
    np.testing.assert_allclose(cut_off(jnp.array([8.0, 4.0, 2.0, 1.0])), np.array([7, 5, 11 / 3, 0]) / 15, rtol=1e-6)
    assert (cut_off(jnp.zeros(3)) == 0).all()


@pytest.mark.parametrize("bad", [{"truncation": -1}, {"tolerance": 0.0}, {"probes": 0}])
def test_numbers_that_make_no_rule_are_refused(bad):
    with pytest.raises(ValueError, match="adaptive_tbptt: "):
        adaptive_tbptt(network(0.5), losses.regress, **bad)
