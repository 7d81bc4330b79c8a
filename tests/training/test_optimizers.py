"""Full optimisers and directions: both go down, from `--optimizer` and from the library."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from _launching import launch, one_line, records, there_and_back
from optax import contrib

from rnnjax import training
from rnnjax.training._optimizers import DIRECTIONS as DIRECTIONS_
from rnnjax.training._optimizers import kind_of

FULL = [optax.adam, optax.sgd, optax.lion, optax.adafactor, optax.polyak_sgd, contrib.prodigy, contrib.dadapt_adamw,
        contrib.momo, contrib.muon, contrib.cocob, contrib.schedule_free_adamw, optax.lamb]  # fmt: skip
DIRECTIONS = [
    optax.scale_by_adam,
    optax.scale_by_yogi,
    optax.scale_by_rms,
    optax.identity,
    optax.scale_by_lion,
    contrib.reduce_on_plateau,
    optax.scale_by_sign,
]


@pytest.fixture(autouse=True)
def standard_promotion():
    """optax has not been written for strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def descend(make, steps=150, rate=0.05, **options):
    """The loss of a quadratic before and after."""
    tx = training.optimizer(make, training.decayed(rate, "constant", steps), **options)
    params = {"u": jnp.array([1.0, -2.0, 0.5])}
    loss = lambda p: 0.5 * (p["u"] ** 2).sum()

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params, value=value)
        return optax.apply_updates(params, updates), state

    state, first = tx.init(params), loss(params)
    for _ in range(steps):
        params, state = step(params, state)
    return float(first), float(loss(params)), params


@pytest.mark.parametrize("make", FULL, ids=lambda f: f.__name__)
def test_a_full_optimiser_goes_down(make):
    assert kind_of(make).full
    first, last, _ = descend(make)
    assert last < 0.9 * first


@pytest.mark.parametrize("make", DIRECTIONS, ids=lambda f: f.__name__)
def test_a_direction_goes_down(make):
    assert not kind_of(make).full
    first, last, _ = descend(make)
    assert last < 0.9 * first


def test_what_needs_a_rate_is_given_ours():
    ours = descend(DIRECTIONS_["adam"], rate=0.03)[2]
    np.testing.assert_allclose(descend(optax.adam, rate=0.03)[2]["u"], ours["u"], rtol=1e-5)
    np.testing.assert_allclose(descend(lambda learning_rate: optax.adam(learning_rate), rate=0.03)[2]["u"], ours["u"])
    still = descend(optax.sgd, rate=0.0)
    assert still[0] == still[1]


def test_a_function_of_ones_own_that_holds_rate_and_sign_goes_down_at_its_own_rate():
    once = descend(lambda: optax.sgd(0.25), steps=1, rate=1e-9)[2]
    np.testing.assert_allclose(once["u"], [0.75, -1.5, 0.375])
    signed = descend(lambda: optax.chain(optax.trace(0.9), optax.scale(-0.1)), steps=100)
    assert signed[1] < 0.1 * signed[0]


def test_weights_decay_beside_a_full_optimiser_and_scales_hold():
    decayed = descend(lambda: optax.sgd(0.25), steps=1, rate=0.5, weight_decay=0.1)[2]
    np.testing.assert_allclose(decayed["u"], np.array([1.0, -2.0, 0.5]) * (1 - 0.25 - 0.05), rtol=1e-6)
    frozen = descend(contrib.prodigy, scales={"u": 0.0})
    assert frozen[0] == frozen[1]


@pytest.mark.parametrize("name", ["optax.contrib:prodigy", "optax:polyak_sgd", "optax:adam", "optax:scale_by_adam"])
def test_a_run_goes_down_and_says_whose_learning_rate_it_has(name, capsys, tmp_path):
    flags = [f"--optimizer={name}", "--num_steps=60", f"--workdir={tmp_path / 'run'}", "--learning_rate=0.05"]
    assert launch(there_and_back(), *flags) == 0
    losses = [r["loss"] for r in records(tmp_path / "run")]
    assert losses[-1] < losses[0]
    own = f"--optimizer={name} has a learning rate of its own: --learning_rate and --schedule do not reach it"
    assert (own in capsys.readouterr().out.splitlines()) == (name in ("optax.contrib:prodigy", "optax:polyak_sgd"))


WRONG = {
    "math:cos": "it needs the argument",
    "builtins:dict": "it gives a dict, not an optax transformation",
    "optax:lookahead": "it needs the arguments fast_optimizer",
    "optax:lbfgs": "--optimizer=optax:lbfgs: its update needs 'grad' and 'value_fn', and training gives it value alone",
    "optax:set_to_zero": "neither up nor down",
    "optax:nothing": "--optimizer=optax:nothing",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_optimiser_is_refused_in_one_line(name, capsys, tmp_path):
    assert launch(there_and_back(), f"--optimizer={name}", f"--workdir={tmp_path / 'run'}") == 1
    line = one_line(capsys)
    assert WRONG[name] in line and f"--optimizer={name}" in line
