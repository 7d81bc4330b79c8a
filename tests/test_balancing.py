"""Influence balancing: near causes push the wrong way, and a gradient that looks back too little climbs the loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
import pytest

import rnnjax
from rnnjax import losses, training
from rnnjax.base import Cell
from rnnjax.estimators import RULES
from rnnjax.losses import Batch

N, POSITIVE = 7, 3  # units, of which the first are pushed up by the parameter and the others, more of them, down
EPISODE, PIECE = 40, 2


def balance() -> Cell:
    """s' = A s + theta (1, 1, 1, -1, -1, -1, -1), A halves and passes on the other half; the first unit is read."""
    a = (jnp.eye(N) + jnp.eye(N, k=1)) / 2
    sign = jnp.where(jnp.arange(N) < POSITIVE, 1.0, -1.0)

    def step(p, s, x, key=None):
        s = a @ s + p["theta"] * sign
        return s, s[:1]

    return Cell(lambda key, x: {"theta": jnp.full(1, 0.5)}, lambda p, x: jnp.ones(N), step)


def stream():
    """Pieces of episodes; the first unit should be 1."""

    def following(data, position, key):
        restart = jnp.full(1, position % (EPISODE // PIECE) == 0)
        return Batch(jnp.zeros((1, PIECE, 1)), jnp.ones((1, PIECE, 1)), None, restart), position + 1

    return training.Stream(lambda data: jnp.zeros((), jnp.int32), following)


def optimum():
    """The theta of least loss over an episode, which is a parabola."""
    cell, xs = rnnjax.unroll(balance()), jnp.zeros((EPISODE, 1))

    def loss(theta):
        return ((rnnjax.run(cell, {"theta": jnp.full(1, theta)}, xs)[1] - 1) ** 2).sum()

    return float(-jax.grad(loss)(0.0) / jax.hessian(loss)(0.0))


def error(rule, window, rate=2e-4, steps=15000):
    """How far theta is from its optimum after training; as far as can be where training broke off."""
    estimator = RULES[rule](rnnjax.unroll(balance()), losses.regress, window)
    trainer = training.Trainer(rnnjax.unroll(balance()), estimator, optax.sgd(rate), stream())
    start = jax.jit(lambda key: training.init(trainer, (), key))(jax.random.key(0))
    end = jax.jit(lambda progress: training.loop(trainer, progress, (), steps))(start)
    return float(abs(end.state.params["theta"][0] - optimum())) if end.finite else float("inf")


@pytest.mark.parametrize("window", [1, 2])
def test_truncated_backpropagation_diverges(window):
    assert error("tbptt", window) > 10


@pytest.mark.parametrize("rule", ["rtrl", "uoro", "pes", "nres"])
def test_rules_that_see_all_of_the_past_converge(rule):
    assert error(rule, PIECE) < 0.15  # from 0.74
