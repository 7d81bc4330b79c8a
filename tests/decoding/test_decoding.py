"""Laws of decoding: it agrees with scoring; a beam of 1 is greedy, one as large as the space exhaustive search."""

from __future__ import annotations

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, close, moved

import rnnjax
from rnnjax import decoding, run
from rnnjax.decoding import beam_search, decode, generate, greedy, log_probabilities, nucleus, temperature, top_k
from rnnjax.decoding._top import largest

V, N, END, BEGIN = 3, 4, 2, 0
SPACE = sum(2**i for i in range(N)) + 2**N  # texts that end within N symbols, and those without an end
WIDTH = SPACE + 5


def net():
    cell = rnnjax.stack(rnnjax.one_hot(V), rnnjax.gru(4), rnnjax.linear(V))
    return cell, moved(cell.init(KEY, jnp.int32(0)), 1.5)


CELL, PARAMS = net()
START = run(CELL, PARAMS, jnp.int32(BEGIN))


@pytest.fixture(scope="module")
def texts():
    """All texts, their lengths and their log-probabilities, by teacher forcing."""
    cut = {t[: t.index(END) + 1] if END in t else t for t in itertools.product(range(V), repeat=N)}
    length = np.array([len(t) for t in sorted(cut)])
    symbols = np.array([t + (END,) * (N - len(t)) for t in sorted(cut)])
    each = jax.jit(jax.vmap(lambda s: log_probabilities(CELL, PARAMS, *START, s)))(symbols)
    total = np.where(np.arange(N) < length[:, None], each, 0).sum(1)
    assert len(cut) == SPACE and abs(np.exp(total).sum() - 1) < 1e-5
    return symbols, length, total


@pytest.fixture(scope="module")
def wide():
    """Searches as wide as the space, and wider than the vocabulary; the penalty is an argument."""
    return jax.jit(lambda penalty, forced: beam_search(CELL, PARAMS, *START, N, WIDTH, END, penalty, forced))


FREE = jnp.full(N, -1)


def plain_beam(table, n, width, penalty):
    """A beam search as one writes it with lists; table: log-probabilities of the next symbol, by the last."""
    still, done = [((), 0.0)], []
    for t in range(1, n + 1):
        found = sorted(
            (-(c + q), (*text, s)) for text, c in still for s, q in enumerate(table[text[-1] if text else 0])
        )
        done += [(-c / ((5 + t) / 6) ** penalty, text) for c, text in found[:width] if text[-1] == END]
        still = [(text, -c) for c, text in found if text[-1] != END][:width]
        if len(done) >= width:
            return sorted(done)[::-1][:width]
    return sorted(done + [(c / ((5 + n) / 6) ** penalty, text) for text, c in still])[::-1][:width]


def test_a_narrow_beam_is_the_search_written_with_lists():
    search = jax.jit(
        lambda table, penalty: beam_search(rnnjax.pointwise(lambda s: table[s]), (), (), table[0], 6, 3, END, penalty)
    )
    lengths = set()
    for seed in range(20):
        table = np.random.default_rng(seed).normal(size=(4, 4)).astype(np.float32) * 1.5
        found = search(table, penalty := seed % 3 / 2)
        want = plain_beam(np.asarray(jax.nn.log_softmax(table)), 6, 3, penalty)
        said = [tuple(s[:n]) for s, n in zip(np.asarray(found.symbols), np.asarray(found.length))]
        assert said == [text for _, text in want]
        np.testing.assert_allclose(found.score, [score for score, _ in want], rtol=1e-5)
        lengths |= {len(text) for text in said}
    assert lengths >= {1, 2, 3, 6}


LONG = 9


@pytest.fixture(scope="module")
def ways():
    """A batch of starts: greedy, drawn, and a beam of 1, beside what teacher forcing says of them."""

    def one(key, bias, forced):
        carry, logits = START[0], START[1] + bias
        said = decode(CELL, PARAMS, carry, logits, LONG, greedy, key, END, forced)
        drawn = decode(CELL, PARAMS, carry, logits, LONG, temperature(2.0), key, END, forced)
        beam = beam_search(CELL, PARAMS, carry, logits, LONG, 1, END, 1.0, forced)
        each = [log_probabilities(CELL, PARAMS, carry, logits, w.symbols) for w in (said, drawn)]
        return said, drawn, jax.tree.map(lambda a: a[0], beam), each

    bias = jnp.array([[0.0, 0, 0], [5, 0, 0], [0, 5, 0], [0, 0, 5], [-1, 0, -50], [2, 2, 0]])
    forced = jnp.full((6, 3), -1).at[4, :].set(jnp.array([1, 0, 1])).at[5, :2].set(jnp.array([1, 0]))
    return jax.jit(jax.vmap(one))(jax.random.split(KEY, 6), bias, forced)


def test_a_beam_of_one_is_greedy(ways):
    said, _, beam, _ = ways
    close(beam._replace(score=beam.log_probability), said, rtol=1e-5)
    assert len({tuple(s) for s in np.asarray(said.symbols)}) > 2


def test_log_probabilities_of_what_is_written_are_those_of_teacher_forcing(ways):
    for said, each in zip(ways[:2], ways[3]):
        kept = np.arange(LONG) < np.asarray(said.length)[:, None]
        np.testing.assert_allclose(said.log_probability, np.where(kept, each, 0).sum(1), atol=1e-5)


def test_writing_stops_at_the_end_symbol_or_at_the_limit(ways):
    for said in ways[:2]:
        for symbols, length in zip(*map(np.asarray, said[:2])):
            assert END not in symbols[: length - 1] and (symbols[length:] == END).all()
            assert symbols[length - 1] == END or length == LONG
    symbols = np.asarray(ways[0].symbols)
    assert symbols[4, :3].tolist() == [1, 0, 1] and symbols[5, :2].tolist() == [1, 0]
    assert ways[0].length[3] == 1  # the end symbol at once


@pytest.mark.slow
def test_without_an_end_symbol_a_text_goes_to_the_limit():
    got = jax.jit(lambda: beam_search(CELL, PARAMS, *START, 3, 4, end=-1))()
    assert (got.length == 3).all() and len({tuple(s) for s in np.asarray(got.symbols)}) == 4


def test_what_a_pick_leaves_out_is_never_drawn():
    logits = jnp.log(jnp.array([0.1, 0.5, 0.15, 0.25]))
    keys = jax.random.split(KEY, 2000)

    def shares(pick):
        return np.bincount(jax.jit(jax.vmap(pick, (0, None)))(keys, logits), minlength=4) / len(keys)

    for pick, want in [
        (top_k(2), [0, 2 / 3, 0, 1 / 3]),
        (top_k(9), [0.1, 0.5, 0.15, 0.25]),
        (nucleus(0.7), [0, 2 / 3, 0, 1 / 3]),
        (nucleus(0.8), [0, 5 / 9, 1.5 / 9, 2.5 / 9]),
        (nucleus(1e-9), [0, 1, 0, 0]),
        (nucleus(0.95, t=0.5), np.array([0, 25, 2.25, 6.25]) / 33.5),
    ]:
        got = shares(pick)
        error = 4 * np.sqrt(np.array(want) * (1 - np.array(want)) / len(keys)) + 1e-9
        assert (abs(got - want) < error).all(), (got, want)


def test_numbers_compile_nothing_anew():
    @jax.jit
    @chex.assert_max_traces(1)
    def both(t, p, penalty):
        drawn = generate(CELL, PARAMS, *START, 3, nucleus(p, t), KEY)
        return drawn, beam_search(CELL, PARAMS, *START, 3, 2, END, penalty).symbols

    both(1.0, 0.9, 0.0)
    both(0.5, 0.8, 1.0)


def test_a_batch_of_ragged_sources_is_each_by_itself():
    def decoder(memory):
        attends = rnnjax.luong(rnnjax.gru(4), rnnjax.seq2seq.general(4), memory, 4)
        return rnnjax.stack(rnnjax.one_hot(V), attends, rnnjax.linear(V))

    encoder = rnnjax.stack(rnnjax.one_hot(V), rnnjax.bidirectional(rnnjax.gru(4)))
    both = rnnjax.encoder_decoder(encoder, decoder, rnnjax.seq2seq.general(4))
    symbols, length = jnp.array([[1, 0, 2, 1], [2, 99, 99, 99], [99, 99, 99, 99]]), jnp.array([4, 1, 0])
    sources = rnnjax.Seq(symbols, jnp.arange(4)[None] < length[:, None])
    params = moved(both.init(KEY, rnnjax.SourceTarget(rnnjax.Seq(symbols[0], sources.valid[0]), symbols[0])), 1.0)

    def translate(source):
        cell, inner = both.begin(params, source)
        return beam_search(cell, inner, *run(cell, inner, jnp.int32(END)), LONG, 2, END)

    together = jax.jit(jax.vmap(translate))(sources)
    for i in (1, 2):  # the last is empty: it is what the decoder says of nothing
        alone = jax.jit(translate)(jax.tree.map(lambda a, i=i: a[i, : max(int(length[i]), 1)], sources))
        close(jax.tree.map(lambda a, i=i: a[i], together), alone, rtol=1e-4)
    assert decoding.Decoded is type(together)


@pytest.mark.parametrize(
    "pick", [decoding.temperature, lambda t: decoding.top_k(3, t), lambda t: decoding.nucleus(0.9, t)]
)
def test_a_temperature_of_zero_is_the_likeliest_and_what_is_no_temperature_is_refused(pick):
    logits, keys = jnp.array([0.0, 1.0, 0.9, 1.1]), jax.random.split(jax.random.key(0), 50)
    for t in (0.0, 0, jnp.float32(0)):
        assert (jax.vmap(pick(t), (0, None))(keys, logits) == 3).all()
    traced = jax.jit(lambda t: jax.vmap(pick(t), (0, None))(keys, logits))
    assert (traced(0.0) == 3).all() and len(set(traced(1.0).tolist())) > 1
    for t in (-1.0, float("nan"), float("inf"), True, "1", None, np.ones(2), jnp.ones(1)):
        with pytest.raises(ValueError, match="temperature is a number from 0"):
            pick(t)


def test_how_many_symbols_are_drawn_from_is_in_range():
    for k in (0, -1, 2.5, 2.0, True, "2", None, np.ones(2, int)):
        with pytest.raises(ValueError, match="top_k: k is an integer from 1, got"):
            decoding.top_k(k)
    for p in (0.0, 1.5, -0.1, float("nan"), True, "1", None, np.ones(2)):
        with pytest.raises(ValueError, match="nucleus: p is a number above 0 and up to 1, got"):
            decoding.nucleus(p)


@pytest.mark.parametrize("n", [5000, 8192, 40_000])
@pytest.mark.parametrize("kind", ["few values", "distinct", "nan", "one", "none"])
def test_the_largest_of_many_are_those_of_one_stage(kind, n):
    rng = np.random.default_rng(n)
    x = rng.integers(0, 5, n).astype(np.float32) if kind == "few values" else rng.permutation(n).astype(np.float32)
    if kind == "nan":
        x[rng.integers(0, n, 4)] = np.nan
    if kind in ("one", "none"):
        x = np.where((np.arange(n) == n - 1) & (kind == "one"), x, -np.inf).astype(np.float32)
    for k in (1, 10):
        for got, want in zip(largest(jnp.asarray(x), k), jax.lax.top_k(x, k)):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("pick", [decoding.temperature(1.0), decoding.top_k(900), decoding.nucleus(0.9)])
def test_half_precision_is_drawn_from_in_single_precision(pick, half):
    """Noise of 8 bits has ties among a thousand symbols: the first of them wins."""
    keys = jax.random.split(jax.random.key(0), 400)
    drawn = [jax.vmap(pick, (0, None))(keys, jnp.zeros(1000, d)) for d in (half, jnp.float32)]
    assert (drawn[0] == drawn[1]).all()


@pytest.mark.parametrize("pick", [decoding.greedy, decoding.temperature(0.0), decoding.top_k(2), decoding.nucleus(0.6)])
def test_rows_of_logits_have_a_symbol_each_from_their_own_row(pick):
    logits = jnp.log(jnp.array([[0.5, 0.3, 0.1, 0.1], [0.1, 0.1, 0.3, 0.5], [jnp.nan, 1.0, 1.0, 1.0]]))
    for key in jax.random.split(jax.random.key(0), 8):
        first, second, none = pick(key, logits)
        assert first in (0, 1) and second in (2, 3) and none == -1
