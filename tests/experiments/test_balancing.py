"""Influence balancing: near causes push the wrong way, and a gradient that looks back too little climbs the loss."""

import _launching as launching  # noqa: F401  (puts the experiments on the path)
import pytest

from experiments.balancing import distances

STEPS = 30000


@pytest.mark.parametrize("window", [1, 2])
def test_truncated_backpropagation_diverges(window):
    assert distances("tbptt", window, 1e-4, STEPS, points=1)[-1] > 10


@pytest.mark.parametrize("rule", ["rtrl", "uoro", "pes", "nres"])
def test_rules_that_see_all_of_the_past_converge(rule):
    start, end = distances(rule, 2, 1e-4, STEPS, points=1)
    assert end < 0.15 < 0.7 < start
