"""Law: an input, params or a carry that do not fit a cell are refused in one line that names a shape."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, inputs, rows, window
from _rows import D, H, T
from _table import ROWS, language_model
from jax import export

import rnnjax
from rnnjax import (
    Cell,
    Seq,
    bidirectional,
    embed,
    gru,
    last,
    linear,
    lstm,
    one_hot,
    pointwise,
    run,
    stack,
    unroll,
    vanilla,
)

SOME = {"lstm", "urnn", "lru", "conv-lstm", "stack", "bidirectional"}
MAPS = {"linear", "embed", "pointwise", "layer-norm", "rms-norm", "dropout", "memoryless"}  # have no carry
ANY_AXES = {"pointwise", "dropout", "memoryless"}  # a function of the user's, which may take arrays of any shape
# The number of features is not in their params.
ANY_FEATURES = {"pointwise", "dropout", "conv-lstm", "conv-gru"}


def traced(cell, xs, params=None, carry=None):
    """A run of which nothing but shapes is computed, with params of its own unless some are given."""
    params = jax.eval_shape(cell.init, KEY, xs) if params is None else params
    jax.eval_shape(lambda p, xs, h: run(cell, p, xs, h), params, xs, carry)


def refused(*args, match="."):
    with pytest.raises((ValueError, TypeError), match=match) as caught:
        traced(*args)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 300 and "[" in line, line
    return line


def start(row):
    """A row's cell, input, and the shapes of its params and its carry."""
    cell, xs = window(row), inputs(row)
    params = jax.eval_shape(cell.init, KEY, xs)
    return cell, xs, params, jax.eval_shape(lambda p, xs: cell.initial_carry(cell.weights(p), xs), params, xs)


@rows([r for r in ROWS if r.name not in ANY_AXES])
def test_a_batch_without_vmap(row):
    cell, _, params, _ = start(row)
    for given in (None, params):
        refused(cell, inputs(row, (5, T)), given, match=rf"x is \[5, {T}.*one axis too many.*jax\.vmap")
    if row.features is not None:
        batch = Seq(inputs(row, (5, T)), jnp.ones((5, T), bool))
        refused(cell, batch, params, match=rf"Seq.*\[5, {T}\].*(vmap|\[T\])")


@rows([r for r in ROWS if r.name not in ANY_AXES])
def test_one_step_where_a_window_is_wanted(row):
    cell, xs, params, _ = start(row)
    for given in (None, params):
        refused(cell, xs[0], given, match=r"x is \[.*one axis too few")


@rows([r for r in ROWS if r.name not in ANY_AXES and r.features is not None])
def test_a_series_without_features(row):
    refused(
        window(row), inputs(row)[:, 0], match=rf"\[{T}\].*features come last|x is \[\].*few|takes .*\[\]|shape=\(\)"
    )


@rows([r for r in ROWS if r.name not in ANY_AXES])
def test_unroll_twice(row):
    refused(unroll(window(row)), inputs(row), match=rf"x is \[{T}.*windows already|takes .*\[\]|shape=\(\)")


@rows([r for r in ROWS if r.features is not None and r.name not in ANY_FEATURES])
def test_another_number_of_features_than_params_are_for(row):
    cell, _, params, _ = start(row)
    many = jnp.ones((T, row.features + 5))
    refused(cell, many, params, match=rf"for {row.features} features, x \[{T}, {row.features + 5}\]|{row.features + 5}")


@rows([r for r in ROWS if r.name not in MAPS])
def test_another_carry(row):
    cell, xs, params, carry = start(row)
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape), carry)
    refused(cell, xs, params, {"other": jnp.zeros(7)}, match=r"carry is .*\[7\].*wanted ")
    refused(cell, xs, params, jax.tree.map(lambda a: jnp.zeros((5, *a.shape)), carry), match=r"carry.*\[5.*wanted \[")
    wider = jax.tree.map(lambda a: jnp.zeros((*a.shape[:-1], a.shape[-1] + 1) if a.ndim else 2), carry)
    refused(cell, xs, params, wider, match=r"carry.* is \[.*wanted \[")
    traced(cell, xs, params, zeros)


@rows([r for r in ROWS if r.features is not None and r.name not in ("pointwise", "dropout")])
def test_integers_where_floating_numbers_are_wanted(row):
    cell, xs, params, _ = start(row)
    for given in (None, params):
        refused(cell, jnp.ones(xs.shape, int), given, match=rf"x is \[{T}, .*integers.*floating")


@rows([r for r in ROWS if r.features is not None and r.name not in ANY_AXES], fast=[r for r in ROWS if r.name in SOME])
def test_inputs_of_another_kind(row):
    cell, xs, params, _ = start(row)
    for given in (None, params):
        refused(cell, xs.astype(complex), given, match=rf"x is \[{T}, .*complex where real numbers")
        refused(cell, list(np.asarray(xs).tolist()), given, match=rf"x is a list of {T}: jnp.asarray .*\[{T}, ")
        refused(cell, list(xs), given, match=rf"x is a list of {T}: jnp.asarray .*\[{T}, ")


@rows([r for r in ROWS if r.features is not None], fast=[r for r in ROWS if r.name in SOME])
def test_params_and_inputs_of_different_types(row, x64):
    """They run by promotion, or are refused in one line."""
    cell, xs = window(row), inputs(row)
    for types in (("float32", "float64"), ("float64", "float32"), ("float32", "bfloat16"), ("bfloat16", "float32")):
        params = jax.eval_shape(cell.init, KEY, xs.astype(types[0]))
        if jax.tree.leaves(params):
            with jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of a scatter
                try:
                    traced(cell, xs.astype(types[1]), params)
                except ValueError as error:
                    assert f"params are {types[0]} and x is {types[1]}: cast" in str(error)


@rows([r for r in ROWS if r.name not in ("gru", "pointwise", "dropout")])
def test_params_of_another_cell(row):
    cell, xs, params, _ = start(row)
    other = {"somewhere": {"else": jnp.ones((7, 9))}}
    if jax.tree.leaves(params):
        refused(cell, xs, other, match=r"another cell: .*missing and somewhere/else \[7, 9\] is one too many")


def own():
    """A cell as a user writes one, by hand."""

    def step(p, h, x, key=None):
        h = jnp.tanh(x @ p["w"] + h @ p["u"])
        return h, h

    def init(key, x):
        return {"w": jnp.ones((x.shape[-1], H), x.dtype), "u": jnp.eye(H, dtype=x.dtype)}

    return Cell(init, lambda w, x: jnp.zeros(H, x.dtype), step)


GRU = gru(H).init(KEY, jnp.ones(D))
OWN = {
    "batch": (lambda: traced(unroll(own()), jnp.ones((5, T, D))), "too many, jax.vmap"),
    "window": (lambda: traced(own(), jnp.ones((T, D))), "too many.*unroll"),
    "series": (lambda: traced(unroll(own()), jnp.ones(T)), "features come last"),
    "features": (lambda: traced(unroll(own()), jnp.ones((T, 5)), own().init(KEY, jnp.ones(8))), "for 8 .*has 5"),
    "carry": (lambda: traced(own(), jnp.ones(D), None, jnp.ones((5, H))), r"carry is \[5, 4\], wanted \[4\]"),
    "integers": (lambda: traced(unroll(own()), jnp.ones((T, D), int)), "integers"),
    "gru params": (
        lambda: traced(lstm(H), jnp.ones(D), gru(H).init(KEY, jnp.ones(D))),
        r"0/b is \[12\], wanted \[16\]",
    ),
    "bidirectional": (lambda: traced(unroll(bidirectional(lstm(H))), jnp.ones((T, D))), "windows already"),
    "a stack": (lambda: traced(stack(lstm(H), linear(2)), jnp.ones((T, D))), "too many.*unroll"),
    "a part": (
        lambda: traced(linear(H), jnp.ones(D), lstm(H).init(KEY, jnp.ones(D))),
        r"b \[4\] is missing and 0/b \[16\] is one",
    ),
    "no params": (lambda: run(lstm(H), None, jnp.ones(D)), r"params are None, wanted those of cell\.init\(key, x\)"),
    "a text": (lambda: run(lstm(H), GRU, "abc"), "x holds 'abc': an array of numbers is wanted"),
    "texts": (lambda: lstm(H).init(KEY, np.array(["a", "b"])), "x holds an array of <U1"),
    "a film without channels": (
        lambda: traced(unroll(rnnjax.conv_lstm(H)), jnp.ones((T, 8, 8))),
        r"x is \[12, 8, 8\]: one axis too few, features or channels come last, as in x\[\.\.\., None\]",
    ),
    "a picture without channels": (lambda: traced(rnnjax.conv_gru(H), jnp.ones((8, 8))), "channels come last"),
    "a film unrolled twice": (
        lambda: traced(unroll(unroll(rnnjax.conv_lstm(H))), jnp.ones((T, 8, 8, 1))),
        "windows already",
    ),
    "symbols": (lambda: traced(unroll(language_model()), jnp.ones((5, T), int)), r"x is \[5, 12\].*vmap"),
    "an LSTM's carry": (lambda: traced(lstm(H), jnp.ones(D), None, (jnp.ones(H), jnp.ones(H))), r"wanted \(\(\), LSTM"),
}


INIT = {
    "a batch of features": (lambda: unroll(linear(H)).init(KEY, jnp.ones((5, T, D))), r"x is \[5, 12, 3\].*vmap"),
    "a batch of symbols": (lambda: unroll(embed(5, H)).init(KEY, jnp.ones((5, T), int)), r"x is \[5, 12\].*vmap"),
    "a batch of one-hot symbols": (
        lambda: unroll(one_hot(5)).init(KEY, jnp.ones((5, T), int)),
        r"x is \[5, 12\].*vmap",
    ),
    "a batch for a map alone": (lambda: linear(H).init(KEY, jnp.ones((5, T, D))), r"\[5, 12, 3\].*vmap"),
    "a window for a step": (lambda: rnnjax.lru(H).init(KEY, jnp.ones((T, D))), r"\[12, 3\].*unroll"),
    "a window for a reservoir": (lambda: rnnjax.esn(H).init(KEY, jnp.ones((T, D))), r"\[12, 3\].*unroll"),
    "a window for a convolution": (
        lambda: rnnjax.convolution(H).init(KEY, jnp.ones((T, D))),
        r"\[12, 3\].*(unroll|vmap)",
    ),
    "integers": (lambda: unroll(rnnjax.cells.s5(H, 2)).init(KEY, jnp.ones((T, D), int)), "integers"),
    "integers for a reservoir": (lambda: rnnjax.esn(H).init(KEY, jnp.ones(D, int)), "integers"),
    "booleans": (lambda: unroll(lstm(H)).init(KEY, jnp.ones((T, D), bool)), "floating"),
    "a seed": (lambda: unroll(lstm(H)).init(0, jnp.ones((T, D))), r"key is 0, wanted one of jax.random.key\(seed\)"),
    "a seed of a map": (lambda: linear(H).init(0, jnp.ones(D)), "key is 0"),
    "no key": (lambda: gru(H).init(None, jnp.ones(D)), "key is None"),
    "arguments in another order": (lambda: gru(H).init(jnp.ones(D), KEY), r"key is float32 \[3\]"),
    "many keys": (lambda: gru(H).init(jax.random.split(KEY), jnp.ones(D)), r"array of keys \[2\].*vmap"),
    "a seed of noise": (lambda: run(rnnjax.dropout(0.5), (), jnp.ones(D), key=3), "key is 3"),
    "a list of cells": (lambda: stack([lstm(H), gru(H)]), "stack takes a cell, got list: .*one by one"),
    "nothing in a stack": (lambda: stack(lstm(H), None), "stack takes a cell, got NoneType"),
    "a function in a stack": (lambda: stack(core=lstm), r"stack takes a cell, got the function lstm: .*lstm\(128\)"),
    "a function unrolled": (lambda: unroll(rnnjax.lstm), "unroll takes a cell, got the function lstm"),
    "a function in both directions": (lambda: bidirectional(lstm), "bidirectional takes a cell"),
    "a function wrapped": (lambda: rnnjax.residual(lstm), "residual takes a cell, got the function"),
    "a name": (lambda: unroll("lstm"), "unroll takes a cell, got str"),
    "a function run": (lambda: run(lstm, (), jnp.ones(D)), "run takes a cell"),
}


@pytest.mark.parametrize("name", INIT)
def test_what_no_init_and_no_wrapper_takes(name):
    attempt, message = INIT[name]
    with pytest.raises(ValueError, match=message) as caught:
        attempt()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_length_left_open_is_exported():
    (steps,) = export.symbolic_shape("T")
    for cell in (unroll(lstm(H)), unroll(rnnjax.lru(H)), bidirectional(gru(H)), unroll(stack(vanilla(H), linear(2)))):
        params, xs = cell.init(KEY, jnp.ones((T, D))), jnp.sin(jnp.arange(5.0 * D)).reshape(5, D)
        program = export.export(jax.jit(lambda xs, c=cell, p=params: run(c, p, xs)[1]))
        again = program(jax.ShapeDtypeStruct((steps, D), jnp.float32)).call(xs)
        np.testing.assert_allclose(again, run(cell, params, xs)[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OWN)
def test_by_hand(name):
    attempt, message = OWN[name]
    with pytest.raises(ValueError, match=message):
        attempt()


def test_an_error_that_is_nobodys_misfit_stays_what_it_is():
    def broken(p, h, x, key=None):
        raise KeyError("mine")

    cell = Cell(lambda key, x: (), lambda w, x: (), broken)
    with pytest.raises(KeyError, match="mine"):
        run(unroll(cell), (), jnp.ones((T, D)))


def test_integers_that_a_cell_takes_are_taken():
    traced(unroll(embed(5, H)), jnp.ones(T, int))
    np.testing.assert_array_equal(run(pointwise(jnp.abs), (), jnp.array([-1, 2]))[1], [1, 2])


def test_the_compiled_program_is_that_of_the_step_alone():
    cell, xs = unroll(vanilla(H)), jnp.ones((T, D))
    params = cell.init(KEY, xs)
    carry = cell.initial_carry(params, xs)
    checked = jax.make_jaxpr(lambda p, h, xs: run(cell, p, xs, h))(params, carry, xs)
    assert str(checked) == str(jax.make_jaxpr(lambda p, h, xs: cell.step(p, h, xs))(params, carry, xs))


@pytest.mark.parametrize("cell", [embed(5, 3), one_hot(5)], ids=repr)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, bool, jnp.complex64])
def test_symbols_that_are_no_integers(cell, dtype):
    params = jax.eval_shape(cell.init, KEY, jnp.arange(3))
    with pytest.raises(TypeError, match=rf"takes integers, got {jnp.dtype(dtype).name}"):
        traced(unroll(cell), jnp.zeros(3, dtype), params)


@pytest.mark.parametrize("cell", [one_hot(4), embed(4, 2), unroll(one_hot(4)), unroll(stack(embed(4, 2), gru(3)))])
def test_a_symbol_beyond_32_bits_is_refused(cell):
    """JAX would wrap it around: 2^32 + 1 was the symbol 1."""
    symbols = np.array([1, 3]) if str(cell).startswith("unroll") else np.int64(1)
    params = cell.init(KEY, symbols)
    run(cell, params, symbols)
    with pytest.raises(ValueError, match="x holds 4294967297, and integers have 32 bits here"):
        run(cell, params, symbols + 2**32)


@pytest.mark.parametrize("marked", [False, True])
def test_the_last_of_a_last(marked):
    xs = Seq(jnp.ones((T, D)), jnp.ones(T, bool)) if marked else jnp.ones((T, D))
    for once in (last(unroll(lstm(H))), bidirectional(lstm(H), last=True)):
        traced(once, xs)
        refused(last(once), xs, match=rf"output is \[\d+\] for a window of {T} steps")


def changing(after):
    """A cell whose carry of two parts is another after each step."""
    start = (jnp.zeros(H), jnp.zeros(()))
    return unroll(Cell(lambda key, x: (), lambda weights, x: start, lambda w, carry, x, key=None: (after(*carry), x)))


@pytest.mark.parametrize(
    "after, said",
    [
        (lambda h, n: (jnp.concatenate([h, h]), n), r"0 is float32\[4\] before it and float32\[8\] after"),
        (lambda h, n: (h, n.astype(jnp.bfloat16)), r"1 is float32\[\] before it and bfloat16\[\] after"),
        (lambda h, n: h, r"from \(\[4\], \[\]\) to \[4\]"),
        (lambda h, n: {"h": h, "n": n}, r"from \(\[4\], \[\]\) to \{'h': \[4\], 'n': \[\]\}"),
    ],
)
@pytest.mark.parametrize("marked", [False, True])
def test_a_step_that_changes_its_carry(after, said, marked):
    xs = Seq(jnp.ones((T, D)), jnp.ones(T, bool)) if marked else jnp.ones((T, D))
    refused(changing(after), xs, match=f"a step changes its carry: {said}")
