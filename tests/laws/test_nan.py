"""Law: a nan in an input reaches every later output that depends on it, and none of those before it.

What depends on an input is found by moving it. A unit that zoneout holds does not read its input at that step.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, build, floats, inputs, moved, outputs, rows, window
from _rows import T
from _table import BODIES, FEW, INFLUENCES, ROWS, RULES, STEPS

from rnnjax import cells, decoding, dropout, estimators, losses, run, stack, unroll
from rnnjax.data import Batch

AT = 5


def check(row, cell, key=None):
    """A nan in all features, and in the first alone."""
    xs = inputs(row)
    params = moved(cell.init(jax.random.key(0), xs), 0.2)
    see = jax.jit(lambda xs: outputs(run(cell, params, xs, key=key)[1]))
    clean = np.asarray(see(xs))
    for features in (slice(None), 0):
        ys = np.asarray(see(xs.at[AT, features].set(jnp.nan)))
        depends = sum(abs(np.asarray(see(xs.at[AT, features].add(by))) - clean) for by in (-20, -0.5, 0.5, 20)) > 0
        assert np.isnan(ys).any() and np.isnan(ys[depends]).all()
        if row.causal and row.each and not row.name.startswith("newton"):  # which says nan for the whole window
            assert not np.isnan(ys[:AT]).any()


@rows([row for row in ROWS if floats(inputs(row))])
def test_of_every_cell(row):
    check(row, window(row))


@rows([row for row in ROWS if row.noisy and floats(inputs(row))])
def test_of_every_cell_with_noise(row):
    check(row, window(row), KEY)


# Newton iterations say nan for the whole window: their own file.
FAST = [row for row in STEPS if floats(inputs(row)) and row.make().window and not row.name.startswith("newton")]


@rows(FAST, fast=[row for row in FAST if row.name in ("mingru", "lstm")])
def test_a_gate_that_is_shut_forgets_no_nan(row):
    """Inputs so large that gates are exactly 0 or 1: 0 times nan is nan in the step, and in the window."""
    cell, xs = build(row), (1e4 * inputs(row)).at[AT].set(jnp.nan)
    params = moved(cell.init(jax.random.key(0), xs[0]), 0.2)
    fast, slow = (
        np.isnan(jax.jit(lambda xs, c=c: run(unroll(c), params, xs)[1])(xs)) for c in (cell, cell.replace(window=None))
    )
    np.testing.assert_array_equal(fast, slow)
    assert fast[AT].any()


@pytest.mark.parametrize("rule", RULES + INFLUENCES, ids=lambda rule: rule.name)
def test_of_every_rule(rule):
    row = next(row for row in [*FEW, *BODIES] if row.name not in rule.refuses)
    check(dataclasses.replace(row, each=True), rule.wrap(build(row)), KEY if rule.keyed else None)


@pytest.mark.parametrize("key", [None, KEY], ids=["likelier", "drawn"])
@pytest.mark.parametrize("make", [cells.binary_core, cells.boltzmann_core])
def test_of_binary_units(make, key):
    cell, xs = unroll(stack(cells.linear(4), make(4))), jnp.ones((T, 3)).at[AT, 0].set(jnp.nan)
    ys = run(cell, cell.init(jax.random.key(0), xs), xs, key=key)[1]
    assert jnp.isnan(ys[AT:]).any(-1).all() and not jnp.isnan(ys[:AT]).any()


def test_what_dropout_drops_is_nan_where_it_was():
    ys = run(dropout(0.5), (), jnp.full(64, jnp.nan), key=KEY)[1]
    assert jnp.isnan(ys).all()


OBJECTIVES = {
    "classify": (losses.classify, jnp.arange(T) % 3),
    "regress": (losses.regress, jnp.ones((T, 3))),
    "label_ctc": (losses.label_ctc, jnp.array([1, 2, 0])),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("part", [slice(None), 1], ids=["all", "one"])
def test_of_every_objective(name, part):
    objective, y = OBJECTIVES[name]
    metrics = jax.jit(objective)(jnp.zeros((T, 3)).at[AT, part].set(jnp.nan), Batch(None, y))
    assert jnp.isnan(metrics["loss"].value())
    assert name != "classify" or jnp.isnan(metrics["accuracy"].value())
    assert name != "label_ctc" or metrics["too_long"].value() == 0


ESTIMATORS = {
    "backprop": lambda *a: estimators.backprop(*a),
    "windows": lambda *a: estimators.backprop(*a, 2),
    "sliding": lambda *a: estimators.sliding_tbptt(*a, 1, 2),
    "forward": lambda *a: estimators.forward(*a),
    "es": lambda *a: estimators.es(*a),
    "pes": lambda *a: estimators.pes(*a, 2),
    "nres": lambda *a: estimators.nres(*a, 2),
    "bucketed": lambda *a: estimators.bucketed(estimators.backprop(*a), [2]),
    "score_function": lambda *a: estimators.score_function(*a),
    "anneal": lambda *a: estimators.anneal(*a),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_of_every_estimator(name):
    """One nan in one example of two: loss and gradient are nan; a move that cannot be judged is not made."""
    first = cells.binary_core(2, gradient="score") if name == "score_function" else cells.vanilla(2)
    cell = unroll(stack(first, cells.linear(3)))
    x = jnp.ones((2, 4, 2)).at[0, 1, 0].set(jnp.nan)
    batch = Batch(x, jnp.ones((2, 4), int), jnp.ones((2, 4), bool))
    params, rule = cell.init(KEY, x[0]), ESTIMATORS[name](cell, losses.classify)
    estimate, _ = jax.jit(rule.grad)(params, rule.init(params, batch), batch, KEY)
    assert jnp.isnan(estimate.metrics["loss"].value())
    lost = [bool(jnp.isnan(leaf).any()) for leaf in jax.tree.leaves(estimate.mean_grads())]
    assert any(lost) != (name == "anneal")


def test_of_what_is_written():
    table = jnp.zeros((3, 3)).at[1].set(jnp.nan)
    cell = cells.pointwise(lambda s: table[s])
    start = (cell, (), (), jnp.array([0.0, 9.0, 0.0]))  # first symbol 1, whose row is nan
    said = decoding.decode(*start, 3, decoding.greedy, KEY, end=2)
    assert jnp.isnan(said.log_probability)
    assert jnp.isnan(decoding.log_probabilities(*start, jnp.array([1, 0, 0]))[1:2]).all()
    assert jnp.isnan(decoding.beam_search(*start, 3, 2, end=2).log_probability[0])
    assert jnp.isnan(decoding.prefix_beam_search(jnp.zeros((4, 3)).at[1].set(jnp.nan), 2).log_probability[0])
