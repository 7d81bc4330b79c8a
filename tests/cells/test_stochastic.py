"""Law: what stochastic units do on average is what enumeration of all their states says."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from _helpers import KEY, close, draw

import rnnjax
from rnnjax import estimators, losses, run, training, unroll
from rnnjax.cells import binary_core, boltzmann_core, energy, stored, symmetric
from rnnjax.data import Batch, Stream

N, KEYS = 2, 8000


def network(gradient):
    return unroll(rnnjax.stack(rnnjax.linear(N), binary_core(N, 0.8, gradient), rnnjax.linear(1)))


def example():
    xs, ys = draw((2, 1)), draw((2, 1), seed=1)
    return network("score").init(KEY, xs), xs, ys


def enumerated(params, xs, ys):
    """The exact expected loss: over all states of two units at two steps."""
    p, u, read = params

    def weighted(path):
        h, log_p, loss = jnp.zeros(N), 0.0, 0.0
        for x, y, s in zip(xs, ys, path):
            logits = (x @ p["w"] + p["b"] + h @ u["u"]) / 0.8
            log_p += jnp.where(s > 0, jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)).sum()
            h, loss = s, loss + jnp.square(s @ read["w"] + read["b"] - y).sum()
        return jnp.exp(log_p) * loss

    paths = jnp.array(list(itertools.product([0.0, 1.0], repeat=2 * N))).reshape(-1, 2, N)
    return jax.vmap(weighted)(paths).sum()


def z_scores(estimates, exact):
    """How many standard errors the mean of each entry is off, and by how much."""
    mean = jax.tree.map(lambda a: a.mean(0), estimates)
    error = jax.tree.map(lambda a: a.std(0) / np.sqrt(len(a)) + 1e-7, estimates)
    off = jax.tree.map(lambda m, e: abs(m - e), mean, exact)
    return max(float((o / e).max()) for o, e in zip(*map(jax.tree.leaves, (off, error)))), off


def test_the_score_function_is_unbiased_and_straight_through_is_not():
    params, xs, ys = example()
    exact = jax.jit(jax.grad(enumerated))(params, xs, ys)
    batch = Batch(jnp.stack([xs, xs]), jnp.stack([ys, ys]))
    estimator = estimators.score_function(network("score"), losses.regress)
    keys = jax.random.split(KEY, KEYS)
    got = jax.jit(jax.vmap(lambda k: estimator.grad(params, (), batch, k)[0].grads))(keys)
    assert z_scores(jax.tree.map(lambda a: a / 2, got), exact)[0] < 4

    def through(key):
        def loss(p):
            return jnp.square(run(network("straight_through"), p, xs, key=key)[1] - ys).sum()

        return jax.grad(loss)(params)

    z, off = z_scores(jax.jit(jax.vmap(through))(keys), exact)
    size = max(float(abs(a).max()) for a in jax.tree.leaves(exact[1]))
    bias = float(off[1]["u"].max()) / size
    assert z > 8
    np.testing.assert_allclose(bias, BIAS, atol=0.03)  # of the recurrent weights, of their largest entry


BIAS = 0.25


def test_the_network_visits_its_states_as_boltzmann_says():
    u, z, t = draw((3, 3)), draw((3,), seed=1), 0.7
    states = jnp.array(list(itertools.product([0.0, 1.0], repeat=3)))
    p = jax.nn.softmax(-jax.vmap(lambda h: energy(u, z, h))(states) / t)
    cell, n = unroll(boltzmann_core(3, t)), 8000
    zs = jnp.broadcast_to(z, (20, 3))
    h = jax.jit(jax.vmap(lambda k: run(cell, {"u": u}, zs, key=k)[0]))(jax.random.split(KEY, n))
    seen = (h[:, None] == states[None]).all(-1).mean(0)
    assert (abs(seen - p) < 4 * np.sqrt(p * (1 - p) / n)).all()
    hotter = jax.nn.softmax(jnp.log(p) / 2)
    assert (abs(seen - hotter) > 8 * np.sqrt(p * (1 - p) / n)).any()


def test_a_step_without_noise_never_climbs():
    u, z = draw((6, 6)), draw((6,), seed=1)
    cell = unroll(boltzmann_core(6, None))
    xs = jnp.broadcast_to(z, (8, 6)), jnp.ones(8)
    for start in (draw((6,), seed=i) > 0 for i in range(5)):
        hs = run(cell, {"u": u}, xs, start.astype(float))[1]
        energies = [float(energy(u, z, h)) for h in hs]
        assert all(b <= a + 1e-6 for a, b in itertools.pairwise(energies))


def test_hebbs_energy_is_hopfields():
    patterns = (draw((2, 6)) > 0).astype(float)
    u, z = stored(patterns)
    s = 2 * patterns - 1
    j = symmetric(s.T @ s) / 6
    h = (draw((4, 6), seed=3) > 0).astype(float)
    gaps = [energy(u, z, a) + (2 * a - 1) @ j @ (2 * a - 1) / 2 for a in h]
    close(jnp.stack(gaps), jnp.full(4, gaps[0]), atol=1e-5)


def well(temperature):
    """(w^2 - 1)^2 + 0.5 w: a shallow valley at 0.93, the deep one at -1.06 behind a hill of height 0.55."""
    cell = rnnjax.Cell(lambda k, x: {"w": jnp.ones(())}, lambda p, x: (), lambda p, h, x, key=None: (h, p["w"]))

    def objective(y, batch):
        return {"loss": losses.mean(jnp.square(y**2 - 1) + 0.5 * y)}

    stream = Stream(lambda data: (), lambda data, position, key: (Batch(jnp.zeros((1, 1)), None), ()))
    estimator = estimators.anneal(unroll(cell), objective, temperature, scale=0.15)
    trainer = training.Trainer(unroll(cell), estimator, optax.sgd(1.0), stream)

    def ends(key):
        return training.loop(trainer, training.init(trainer, (), key), (), 3000).state.params["w"]

    with jax.numpy_dtype_promotion("standard"):
        return jax.jit(jax.vmap(ends))(jax.random.split(KEY, 16))


def test_annealing_finds_the_deep_valley_and_descent_the_near_one():
    assert (abs(well(estimators.exponential_cooling(1.0, 500.0)) + 1.06) < 0.1).sum() >= 15
    assert (abs(well(lambda i: 1e-6) - 0.93) < 0.1).all()


def test_what_goes_on_from_batch_to_batch_is_refused():
    batch = Batch(jnp.zeros((1, 2, 1)), jnp.zeros((1, 2, 1)), restart=jnp.ones(1, bool))
    for make in (estimators.score_function, estimators.anneal):
        with pytest.raises(ValueError, match="whole sequences"):
            make(network("score"), losses.regress).init(example()[0], batch)
    with pytest.raises(ValueError, match="straight_through or score"):
        binary_core(2, gradient="exact")
