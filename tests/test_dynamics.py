"""Laws of gradient flow, and of what a run reports of itself while it trains."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import build, close, inputs, moved, rows
from launching import launch, records
from table import BODIES, FEW

from rnnjax import lstm, scornn, unroll, urnn, vanilla
from rnnjax.app.reports import REPORTS
from rnnjax.dynamics import gradient_flow
from rnnjax.errors import UserError


@rows(BODIES, FEW)
def test_gradient_flow_is_the_ordered_product_of_the_jacobians(row):
    cell, xs = build(row), inputs(row, (4,))
    params = moved(cell.init(jax.random.key(0), xs[0]), 0.2)
    weights = cell.weights(params)
    h, unflat = jax.flatten_util.ravel_pytree(cell.initial_carry(weights, xs[0]))
    states, products = [h], []
    for x in xs:

        def step(h, x=x):
            return jax.flatten_util.ravel_pytree(cell.step(weights, unflat(h), x, None)[0])[0]

        jacobian = jax.jit(jax.jacrev(step))(h)
        products = [jacobian @ p for p in products] + [jacobian]
        h = step(h)
        states.append(h)
    products.append(jnp.eye(h.size))
    norms = [np.linalg.norm(p) / h.size**0.5 for p in products]
    flow = gradient_flow(cell, params, xs)
    close(flow.norms, jnp.stack(norms))
    close(flow.states, jnp.linalg.norm(jnp.stack(states), axis=1))


def test_a_unitary_recurrence_keeps_gradients_and_states():
    cell, xs = urnn(16, bias=False), jnp.zeros((200, 3))
    params = cell.init(jax.random.key(0), xs[0])
    params = (params[0], params[1] | {"b": jnp.zeros(16)})
    flow = gradient_flow(cell, params, xs)
    close(flow.norms, jnp.ones(201), rtol=1e-4)
    close(flow.states, jnp.full(201, flow.states[0]), rtol=1e-4)


def test_drift_is_the_worst_of_all_recurrent_matrices_bound_factors_among_them():
    cell, xs = unroll(vanilla(3)), jnp.zeros((2, 4, 3))
    params = cell.init(jax.random.key(0), xs[0])
    twice = jax.tree.map(lambda a: 2 * jnp.eye(3) if a.shape == (3, 3) else a, params)
    assert REPORTS["drift"](cell, twice, xs)["drift"] == 3
    wave = unroll(urnn(8))
    assert 0 < REPORTS["drift"](wave, wave.init(jax.random.key(0), xs[0]), xs)["drift"] < 1e-5
    gated = unroll(lstm(3))
    with pytest.raises(UserError, match="no recurrent matrix that is square"):
        REPORTS["drift"](gated, gated.init(jax.random.key(0), xs[0]), xs)


def test_the_condition_of_a_cayley_transform_is_reported():
    cell, xs = unroll(scornn(4, negative=0)), jnp.zeros((1, 3, 2))
    params = cell.init(jax.random.key(0), xs[0])
    near = jax.tree.map(lambda a: jnp.array([1e4, 0, 0, 0, 0, 0.0]) if a.shape == (6,) else a, params)
    told = [float(REPORTS["cayley_condition"](cell, p, xs)["cayley_condition"]) for p in (params, near)]
    assert told[0] > 1e-2 and told[1] < 2e-4
    with pytest.raises(UserError, match="no recurrent matrix by a Cayley"):
        REPORTS["cayley_condition"](unroll(vanilla(3)), {"u": jnp.eye(3)}, xs)


def test_a_run_writes_its_reports_with_each_evaluation(tmp_path):
    flags = ["--cell=urnn", "--hidden_size=4", "--delay=5", "--num_steps=4", "--eval_every=2", "--eval_batches=1"]
    assert launch("copying", f"--workdir={tmp_path}", *flags, "--report=drift,state_norm,gradient_flow") == 0
    told = [r for r in records(tmp_path) if "drift" in r]
    assert [r["step"] for r in told] == [2, 4]
    for record in told:
        assert record["drift"] < 1e-5 and record["state_norm"] > 0
        assert 0 < record["flow_whole"] < record["flow_half"] < 1  # the dead zone of modReLU loses some
    chex.assert_tree_all_finite(told)
