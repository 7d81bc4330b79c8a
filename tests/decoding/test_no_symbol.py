"""Law: logits that say no symbol give -1, never a symbol; so does a temperature that is none, found out when traced."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import cells, decoding

KEY = jax.random.key(0)
SAMPLERS = {
    "greedy": decoding.greedy,
    "temperature": decoding.temperature(1.0),
    "cold": decoding.temperature(0.0),
    "top_k": decoding.top_k(2),
    "nucleus": decoding.nucleus(0.9),
}
NOTHING = {
    "nan": [np.nan] * 3,
    "one nan": [0.0, np.nan, 1.0],
    "nan beside inf": [np.inf, np.nan, 1.0],
    "no symbol is possible": [-np.inf] * 3,
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_logits_that_say_nothing_give_no_symbol(sampler):
    pick = SAMPLERS[sampler]
    each = jax.jit(jax.vmap(lambda z: pick(KEY, z)))
    assert each(jnp.array(list(NOTHING.values()))).tolist() == [-1] * len(NOTHING)
    known = jnp.array([[0.0, np.inf, 1.0], [-np.inf, 2.0, -np.inf], [-90.0, 90.0, -np.inf]])
    assert each(known).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "make", [decoding.temperature, lambda t: decoding.top_k(2, t), lambda t: decoding.nucleus(0.9, t)]
)
def test_a_traced_temperature_that_is_none_gives_no_symbol(make):
    each = jax.jit(jax.vmap(lambda t: make(t)(KEY, jnp.array([0.0, 90.0, 1.0]))))
    assert each(jnp.array([-1.0, np.nan, np.inf, 0.0, 1.0])).tolist() == [-1, -1, -1, 1, 1]
    for t in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="temperature is a number from 0, got"):
            make(t)


def test_a_traced_mass_of_a_nucleus_that_is_none_gives_no_symbol():
    each = jax.jit(jax.vmap(lambda p: decoding.nucleus(p)(KEY, jnp.array([0.0, 90.0, 1.0]))))
    assert each(jnp.array([-1.0, 0.0, 1.5, np.nan, 1.0])).tolist() == [-1, -1, -1, -1, 1]


def test_whole_numbers_are_logits_and_a_temperature_is_no_whole_number():
    z, keys = jnp.array([0, 1, 0]), jax.random.split(KEY, 200)
    drawn = jax.vmap(decoding.temperature(0.5), (0, None))(keys, z)
    same = jax.vmap(decoding.temperature(0.5), (0, None))(keys, z.astype(jnp.float32))
    np.testing.assert_array_equal(drawn, same)
    assert {*drawn.tolist()} == {0, 1, 2}


def test_a_frame_that_says_nothing_is_no_label_of_the_best_path():
    z = 9 * jax.nn.one_hot(jnp.array([1, 1, 2, 0]), 3)
    labels, n = jax.jit(decoding.best_path)(z.at[2, 0].set(jnp.nan))
    assert labels.tolist() == [1, -1, 0, 0] and n == 2
    labels, n = decoding.best_path(z.at[2, 0].set(jnp.nan), jnp.array([True, True, False, True]))
    assert labels.tolist() == [1, 0, 0, 0] and n == 1


def test_texts_of_nan_have_no_symbols_and_no_log_probability():
    z = jnp.zeros((4, 3)).at[2, 1].set(jnp.nan)
    cell = cells.pointwise(lambda s: jnp.array([0.0, jnp.nan, 1.0]))
    start = (cell, (), (), jnp.array([0.0, 5.0, 1.0]))
    for found in (decoding.prefix_beam_search(z, 2), decoding.beam_search(*start, 3, 2, end=2)):
        assert jnp.isnan(found.log_probability[0]) and (found.symbols[0] == -1).all()
    said = decoding.decode(*start, 3, decoding.greedy, KEY, end=-1)
    assert said.symbols.tolist() == [1, -1, -1] and said.length == 3 and jnp.isnan(said.log_probability)


@pytest.mark.parametrize("valid", [jnp.ones(4), jnp.ones(3, bool), jnp.ones((4, 1), bool)], ids=str)
def test_marks_of_frames_of_another_kind_are_refused(valid):
    for read in (decoding.best_path, lambda z, v: decoding.prefix_beam_search(z, 2, valid=v)):
        with pytest.raises(ValueError, match=r"valid is boolean \[4\], one for each frame, got"):
            read(jnp.zeros((4, 3)), valid)


COUNTS = rnnjax.pointwise(lambda s: jax.nn.one_hot(s, 5))


def test_a_symbol_that_does_not_exist_has_no_probability():
    symbols = jnp.array([-1, 4, 5])
    nats = jax.jit(lambda s: decoding.log_probabilities(COUNTS, (), (), jnp.zeros(5), s))(symbols)
    assert jnp.isnan(nats).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"forced": jnp.array([1, 5])}, "forced has 5, and symbols are from 0 to 4"),
        ({"end": 5}, "end is 5, and symbols are from 0 to 4"),
        ({"logits": jnp.zeros(6)}, r"logits are \[6\], and the cell gives \[5\]"),
        ({"logits": jnp.zeros((2, 5))}, r"logits is an array \[symbols\].*got float32 \[2, 5\]"),
        ({"carry": jnp.zeros(3)}, r"carry is \[3\], wanted"),
    ],
)
def test_a_text_begins_with_what_its_cell_gives(given, said):
    start = {"cell": COUNTS, "params": (), "carry": (), "logits": jnp.zeros(5), "n": 3, "end": 0}
    for search in (
        lambda **more: decoding.decode(pick=decoding.greedy, key=jax.random.key(0), **more),
        lambda **more: decoding.beam_search(width=2, **more),
    ):
        with pytest.raises(ValueError, match=said):
            search(**start | given)
