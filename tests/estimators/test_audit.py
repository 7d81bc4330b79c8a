"""Law: the audit's own numbers are right: those of a rule known by hand, the parts of a gradient, their sum."""

from __future__ import annotations

import csv

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, close, draw, moved
from _launching import launch

import rnnjax
from rnnjax import estimators, losses
from rnnjax.base import Cell
from rnnjax.data import Batch
from rnnjax.estimators import RULES, backprop
from rnnjax.estimators import _lags as lags

T = 3


def geometric():
    """h' = u h + x: with x = 1 the states are 1, u + 1, u^2 + u + 1."""
    return rnnjax.unroll(
        Cell(
            lambda key, x: {"u": jnp.full(1, 0.5)},
            lambda p, x: jnp.zeros(1),
            lambda p, h, x, key=None: 2 * (p["u"] * h + x,),
        )
    )


LAST = Batch(jnp.ones((1, 3, 1)), jnp.zeros((1, 3, 1)), jnp.array([[False, False, True]]))


def audited(rule, window, cell, params, batch, n=1):
    exact, draws = (
        estimators.estimates(RULES[r](cell, losses.regress, w), params, batch, KEY, n)
        for r, w in (("bptt", 0), (rule, window))
    )
    return estimators.compare_leaves(draws, jax.tree.map(lambda a: a[0], exact))


@pytest.mark.parametrize("window, bias", [(1, 0.25), (2, 0.25), (3, 0.0)])
def test_a_known_bias(window, bias):
    # d h_3 / d u = h_2 + u h_1 = (u + 1) + u = 2; a window that begins at step 3 sees u + 1 = 1.5 of it.
    quality = audited("tbptt", window, geometric(), {"u": jnp.full(1, 0.5)}, LAST)["u"]
    np.testing.assert_allclose(quality, (bias, 0.0, 0.0, 1.0, 1.0 - bias), atol=1e-6)


def test_known_lags():
    cell, params = geometric(), {"u": jnp.full(1, 0.5)}
    parts = estimators.by_lag(lambda c: backprop(c, losses.regress), cell, params, LAST, [0, 1, 2], KEY[None])
    np.testing.assert_allclose(parts["u"][0, :, 0], [2 * 1.75 * 1.5, 2 * 1.75 * 0.5, 0.0], rtol=1e-6)
    seen = estimators.by_lag(lambda c: backprop(c, losses.regress, 1), cell, params, LAST, [0, 1, 2], KEY[None])
    lags = estimators.credit_delivered(seen, parts)
    np.testing.assert_allclose([lag.norm for lag in lags], [0.75, 0.25, 0.0], rtol=1e-6)
    np.testing.assert_allclose([lag.delivered for lag in lags], [1.0, 0.0, np.nan])


def test_a_known_variance():
    # A forward gradient (g . v) v has E |.|^2 = (P + 2) |g|^2: of P = 3 weights the variance is 4 |g|^2.
    cell = rnnjax.unroll(rnnjax.linear(1, bias=False))
    batch = Batch(draw((1, 1, 3)), jnp.zeros((1, 1, 1)))
    quality = audited("forward", 0, cell, {"w": jnp.ones((3, 1))}, batch, 8000)["total"]
    assert abs(quality.variance - 4) < 0.4 and quality.bias < 3 * quality.error < 0.1


def network(cell):
    """Params and a batch with losses at some steps."""
    net = rnnjax.unroll(rnnjax.stack(cell, rnnjax.linear(1)))
    x = draw((2, T, 2), jnp.float64)
    mask = jnp.array([[1, 0, 1], [1, 1, 1]], bool)
    return net, moved(net.init(KEY, x[0])), Batch(x, draw((2, T, 1), jnp.float64, 1), mask)


def test_the_parts_of_the_gradient_are_those_of_copies_of_the_params(x64):
    cell, params, batch = network(rnnjax.vanilla(2))
    step = rnnjax.stack(rnnjax.vanilla(2), rnnjax.linear(1)).step

    def loss(copies):
        """copies[t][s]: those that step s uses on the way to the loss of step t."""
        total = 0.0
        for t in range(T):
            for row in range(2):
                h = cell.initial_carry(params, batch.x[0])
                for s in range(t + 1):
                    h, y = step(copies[t][s], h, batch.x[row, s])
                total += jnp.where(batch.mask[row, t], ((y - batch.y[row, t]) ** 2).sum(), 0.0)
        return total

    grads = jax.jit(jax.grad(loss))([[params] * (t + 1) for t in range(T)])
    want = [jax.tree.map(lambda *a: sum(a), *[grads[t][t - lag] for t in range(lag, T)]) for lag in range(T)]
    want = [want[0], want[1], jax.tree.map(lambda *a: sum(a), *want[2:])]
    got = estimators.by_lag(lambda c: backprop(c, losses.regress), cell, params, batch, [0, 1, T - 1], KEY[None])
    close(jax.tree.map(lambda a: a[0], got), jax.tree.map(lambda *a: jnp.stack(a), *want), rtol=1e-9)


SLOW = [
    pytest.param(rule, marks=pytest.mark.slow)
    for rule in ("rtrl", "snap1", "uoro", "kfrtrl", "optimal_kronecker", "pes")
]


@pytest.mark.parametrize("rule", ["tbptt", *SLOW])
def test_the_parts_add_up_to_the_estimate(rule, x64):
    cell, params, batch = network(rnnjax.learn_carry(rnnjax.vanilla(2)) if rule != "snap1" else rnnjax.vanilla(2))
    whole = jax.jit(RULES[rule](cell, losses.regress, 2).grad)(params, (), batch, KEY)[0].grads
    parts = estimators.by_lag(
        lambda c: RULES[rule](c, losses.regress, 2), cell, params, batch, [0, 2, T - 1], KEY[None]
    )
    close(jax.tree.map(lambda a: a[0].sum(0), parts), whole, rtol=1e-7)


@pytest.mark.slow
def test_the_cut_carry_says_the_same_as_constant_params(x64, monkeypatch):
    cell, params, batch = network(rnnjax.learn_carry(rnnjax.vanilla(2)))

    def parts():
        return estimators.by_lag(
            lambda c: backprop(c, losses.regress, 2), cell, params, batch, [0, 1, T - 1], KEY[None]
        )

    gated = parts()
    monkeypatch.setattr(lags, "_gate_params", lags.sever_params)
    close(parts(), gated, rtol=1e-9)


@pytest.mark.slow
def test_the_command_tells_the_truth_and_refuses_in_one_line(tmp_path, capsys):
    toy = ["--hidden_size=1", "--length=3", "--delay=1", "--batch_size=1", "--keys=2"]
    run = tmp_path / "run"
    assert launch("audit", *toy, "--cell=lstm", "--rules=rtrl,rflo", "--truncations=1", f"--workdir={run}") == 0
    assert "the carry has 2 arrays" in capsys.readouterr().out
    table = csv.DictReader((run / "audit.csv").read_text().splitlines())
    rows = {row["rule"]: row for row in table if row["group"] in ("total", "")}
    assert float(rows["rtrl"]["bias"]) < 1e-5
    assert "the carry has 2 arrays" in rows["rflo"]["not_admitted"]
    assert (run / "audit.png").stat().st_size > 1000 and (run / "flags.cfg").exists()
    wrong = {
        "--rules=rtlr": "did you mean rtrl",
        "--truncations=0": "none below 1",
        "--truncations=a": "whole numbers",
        "--dropout=0.5": "without noise",
        "--delay=9": "--length",
        "--keys=1": "keys",
        "--rules=": "empty",
    }
    for i, (flag, message) in enumerate(wrong.items()):
        assert launch("audit", *toy, flag, f"--workdir={tmp_path / str(i)}") == 1
        assert message in capsys.readouterr().err.splitlines()[-1]
