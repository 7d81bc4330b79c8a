"""Laws: what does not fit a measure of dynamics is refused in one line."""

import jax
import jax.numpy as jnp
import pytest

import rnnjax
from rnnjax import Seq, dynamics, lstm, pointwise

H, T, D = 4, 6, 3
XS = jnp.ones((T, D))
PARAMS = lstm(H).init(jax.random.key(0), XS[0])
OF_CELLS = {
    "cell_lyapunov": dynamics.cell_lyapunov,
    "gradient_flow": dynamics.gradient_flow,
    "jacobians": dynamics.jacobians,
    "trajectory": dynamics.trajectory,
    "loss_flow": lambda *args: dynamics.loss_flow(lambda hs, ys: ys.sum(), *args),
    "left_alone": dynamics.left_alone,
}
MISFITS = {
    "a batch": ((PARAMS, XS[None]), r"\[6, 3\].*(too many|one step)|one step, got \[6, "),
    "a series": ((PARAMS, XS[:, 0]), r"x is \[\]"),
    "other features": ((PARAMS, XS[:, :2]), "params are for 3 features, x .* has 2"),
    "no params": ((None, XS), "params are None"),
    "marks": ((PARAMS, Seq(XS, jnp.arange(T) < 4)), "takes plain inputs, got a Seq"),
    "a carry": ((PARAMS, XS, jnp.zeros(3)), r"carry is \[3\], wanted"),
}


@pytest.mark.parametrize("name", MISFITS)
@pytest.mark.parametrize("measure", OF_CELLS)
def test_of_a_cell(measure, name):
    args, said = MISFITS[name]
    if len(args) < 3 or measure != "left_alone":  # it takes no carry
        with pytest.raises(ValueError, match=said) as caught:
            OF_CELLS[measure](lstm(H), *args)
        assert "\n" not in str(caught.value)


def line(h):
    return 2 * h


ONE = jnp.ones(2)
NUMBERS = {
    "a scalar": (
        lambda: dynamics.lyapunov(line, jnp.ones(()), 5),
        r"h is an array \[N\] in floating point",
    ),
    "integers": (lambda: dynamics.lyapunov(line, jnp.ones(2, int), 5), r"got int\d\d \[2\]"),
    "a tree": (lambda: dynamics.lyapunov(line, (ONE, jnp.ones(3)), 5), r"got a tuple"),
    "no time": (lambda: dynamics.lyapunov(line, ONE, 5, dt=0), "dt is a number above 0"),
    "steps": (lambda: dynamics.lyapunov(line, ONE, 2.5), "steps is an integer from 1, got 2.5"),
    "every": (lambda: dynamics.lyapunov(line, ONE, 5, every=0), "every is an integer from 1, got 0"),
    "count": (lambda: dynamics.lyapunov(line, ONE, 5, count=1.5), "count is an integer from 1, got 1.5"),
    "all discarded": (lambda: dynamics.cell_lyapunov(lstm(H), PARAMS, XS, discard=T), "leaves none of 6 steps"),
    "one start": (lambda: dynamics.fixed_points(line, ONE), r"starts is an array \[n, N\]"),
    "no tolerance": (
        lambda: dynamics.fixed_points(line, ONE[None], tolerance=float("nan")),
        "tolerance is a number",
    ),
    "an orbit": (lambda: dynamics.orbit(line, ONE, -5), "steps is an integer from 1"),
    "a family": (lambda: dynamics.bifurcation(dynamics.logistic, ONE, ONE, 5), r"starts is an array \[n, N\]"),
    "a delay": (lambda: dynamics.mackey_glass(-1.0), "delay is a number above 0"),
    "time": (lambda: dynamics.rk4(dynamics.lorenz, float("nan")), "dt is a finite number"),
    "powers": (lambda: dynamics.powers(jnp.eye(3), ONE, 4), r"got \[3, 3\] and \[2\]"),
    "spectra": (lambda: dynamics.spectra(jnp.ones((3, 2, 4))), r"Jacobians \[T, N, N\], got \[3, 2, 4\]"),
    "a curve": (lambda: dynamics.memory_curve(jnp.ones((20, 4)), jnp.ones(20), 5), r"xs \[B, T\], got \[20, 4\] and"),
    "a truth": (lambda: dynamics.valid_time(jnp.ones((5, 2)), jnp.ones((6, 2))), r"got \[5, 2\] and \[6, 2\]"),
    "a forecast": (lambda: dynamics.free_run(lstm(H), PARAMS, XS, 5), r"outputs are \[6, 4\] for inputs \[6, 3\]"),
    "no forecast": (lambda: dynamics.free_run(pointwise(line), (), XS, 0), "steps is an integer from 1"),
}
HALF = jnp.ones(2, jnp.bfloat16)
NUMBERS |= {
    "an exponent of half precision": (lambda: dynamics.lyapunov(line, HALF, 5), r"single or double.*bfloat16 \[2\]"),
    "points of half precision": (lambda: dynamics.fixed_points(line, HALF[None]), "starts is wanted in single"),
    "Jacobians of half precision": (lambda: dynamics.jacobian_bound(jnp.ones((3, 2, 2), jnp.float16)), "js is wanted"),
    "probes of half precision": (
        lambda: dynamics.memory_curve(jnp.ones((2, 9, 2), HALF.dtype), jnp.ones((2, 9)), 3),
        "states is",
    ),
    "no step": (lambda: dynamics.jacobians(lstm(H), PARAMS, XS[:0]), r"of at least one step, got float32 \[0, 3\]"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_of_arrays_and_numbers(name):
    attempt, said = NUMBERS[name]
    with pytest.raises(ValueError, match=said) as caught:
        attempt()
    assert "\n" not in str(caught.value)


def test_lists_are_arrays():
    assert dynamics.lyapunov(lambda h: 2 * h, [1.0, 2.0], 5).shape == (2,)
    assert rnnjax.dynamics.fixed_points(lambda h: h / 2, [[1.0], [2.0]]).starts.tolist() == [2]
