"""What cannot be right is refused by name, before anything is computed."""

import jax
import jax.numpy as jnp
import pytest

from rnnjax import (
    Seq,
    bidirectional,
    chunk,
    embed,
    gru,
    highway,
    learn_carry,
    linear,
    lstm,
    lstm_core,
    parametrize,
    remat,
    residual,
    run,
    stack,
    unroll,
    vanilla,
    vanilla_core,
)

KEY, XS = jax.random.key(0), jnp.ones((12, 3))
FIRST = Seq(XS, first=jnp.arange(12) == 6)


def made_and_run(cell, x=XS):
    return run(cell, cell.init(KEY, x), x)


REFUSALS = {
    "a window without unroll": (lambda: made_and_run(lstm(4)), "unroll"),
    "a core without its linear": (lambda: made_and_run(lstm_core(4), XS[0]), r"linear\(16\)"),
    "a batch without vmap": (lambda: made_and_run(unroll(lstm(4)), jnp.ones((5, 12, 3))), "vmap"),
    "two levels in one stack": (lambda: made_and_run(stack(lstm(4), bidirectional(lstm(4)))), "unroll"),
    "a window of no step": (lambda: made_and_run(unroll(lstm(4)), XS[:0]), "at least one step"),
    "inputs of two lengths": (
        lambda: unroll(stack(linear(4))).init(KEY, {"a": XS, "b": XS[:3]}),
        "differ|one time axis",
    ),
    "a chunk of no step": (lambda: made_and_run(chunk(unroll(lstm(4)), 0)), "from 1, got 0"),
    "a negative chunk": (lambda: made_and_run(remat(unroll(lstm(4)), every=-2)), "from 1, got -2"),
    "an empty stack": (lambda: stack(), "stack takes cells"),
    "named and unnamed parts": (lambda: stack(linear(4), read=linear(2)), "stack takes cells"),
    "a residual of another width": (lambda: made_and_run(unroll(residual(lstm(4)))), "shapes must agree"),
    "a highway of another width": (lambda: made_and_run(unroll(highway(lstm(4)))), "shapes must agree"),
    "no such parameter": (lambda: made_and_run(parametrize(vanilla_core(3), v=jnp.tanh), XS[0]), "no.*'v'|'v'"),
    "parametrize around a layer": (lambda: made_and_run(parametrize(vanilla(3), u=jnp.tanh), XS[0]), "wrap the core"),
    "recurrent bias before the matmul": (lambda: gru(4, recurrent_bias=True), "reset_after"),
    "layer norm before the matmul": (lambda: gru(4, layer_norm=True), "reset_after"),
    "a restart inside learn_carry": (lambda: made_and_run(learn_carry(unroll(lstm(4))), FIRST), "not learn_carry"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused(name):
    attempt, message = REFUSALS[name]
    with pytest.raises(ValueError, match=message):
        attempt()


def test_embed_looks_up_integers_only():
    with pytest.raises(TypeError, match="integers"):
        made_and_run(embed(5, 4), XS[0])


def test_an_index_outside_the_table_is_nan_and_not_another_row():
    cell = embed(5, 4)
    params = cell.init(KEY, jnp.int32(0))
    for index in (-1, 5):
        assert jnp.isnan(run(cell, params, jnp.int32(index))[1]).all()


def test_a_cell_is_no_argument_of_a_jitted_function():
    with pytest.raises(TypeError):
        jax.jit(lambda cell, x: run(cell, (), x))(linear(4), XS)


def test_a_precise_refusal_is_not_replaced():
    with pytest.raises(ValueError, match="x has 12 steps and valid has 5"):
        made_and_run(unroll(lstm(4)), Seq(XS, valid=jnp.ones(5, bool)))
