"""Law: the second call does not trace again: what comes out fits what went in, and numbers are arguments."""

import jax
import numpy as np
from _helpers import KEY, inputs, rows, window
from _table import ROWS

from rnnjax import run


@rows(ROWS)
def test_the_second_call_does_not_trace_again(row):
    traces = []

    @jax.jit
    def advance(params, carry, xs, key, numbers):
        traces.append(row.name)
        carry, _ = run(window(row, **numbers), params, xs, carry, key)
        return jax.tree.map(lambda p: 0.9 * p, params), carry

    xs, cell = inputs(row), window(row)
    params = cell.init(jax.random.key(0), xs)
    state = params, cell.initial_carry(cell.weights(params), xs)
    for i in range(3):
        numbers = {name: np.float32(low + i * (high - low) / 3) for name, (low, high) in row.numbers.items()}
        state = advance(*state, inputs(row, seed=i), jax.random.fold_in(KEY, i), numbers)
    assert traces == [row.name]
