"""Properties of the CTC loss and of beam searches on random logits: against all paths and all texts there are."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnjax
from rnnjax import decoding, losses

T, V = 4, 3  # frames and symbols; of beams, symbols written and symbols, the last of which ends a text
ENTRY = st.one_of(st.floats(-8, 8, width=32), st.sampled_from([0.0, 1.0, 20.0]))
LOGITS = st.lists(st.lists(ENTRY, min_size=V, max_size=V), min_size=T, max_size=T).map(
    lambda a: np.array(a, np.float32)
)
VALID = st.lists(st.booleans(), min_size=T, max_size=T).map(np.array)
WIDTH = 40  # more than all label sequences, and all open or ended texts, of this size


def log_p(logits) -> np.ndarray:
    """Log-probabilities in double precision."""
    x = np.asarray(logits, np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def all_labels(p: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of every label sequence, path by path."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(V), repeat=len(p)):
        labels = tuple(s for s, _ in itertools.groupby(path) if s)
        found[labels] = found.get(labels, 0.0) + float(np.exp(sum(p[t, s] for t, s in enumerate(path))))
    return found


LABELS = st.lists(st.integers(1, V - 1), max_size=T)
CTC = jax.jit(jax.value_and_grad(losses.ctc))
PREFIXES = jax.jit(lambda logits, valid: decoding.prefix_beam_search(logits, WIDTH, valid=valid))


@settings(max_examples=60)
@given(LOGITS, LABELS, VALID)
def test_ctc_is_the_sum_over_all_paths_and_its_gradient_that_of_the_sum(logits, labels, valid):
    y = np.pad(np.array(labels, np.int32), (0, T - len(labels)))
    nats, slope = CTC(jnp.asarray(np.where(valid[:, None], logits, np.nan)), jnp.asarray(y), jnp.asarray(valid))
    p = all_labels(log_p(logits)[valid]).get(tuple(labels), 0.0)
    if not p:
        assert np.isposinf(nats) and not np.asarray(slope).any()
        return
    np.testing.assert_allclose(nats, -np.log(p), rtol=1e-5, atol=1e-5)  # sums of some 100 numbers up to 30, in float32
    assert not np.asarray(slope)[~valid].any()
    for t, s in itertools.product(np.flatnonzero(valid), range(V)):
        moved = np.asarray(logits, np.float64)
        ends = []
        for h in (-1e-5, 1e-5):
            at = moved.copy()
            at[t, s] += h
            ends.append(-np.log(all_labels(log_p(at)[valid])[tuple(labels)]))
        np.testing.assert_allclose(slope[t, s], (ends[1] - ends[0]) / 2e-5, rtol=1e-3, atol=1e-4)


@given(LOGITS, VALID)
def test_a_wide_prefix_beam_finds_every_label_sequence_with_its_probability(logits, valid):
    found = PREFIXES(jnp.asarray(logits), jnp.asarray(valid))
    expected = all_labels(log_p(logits)[valid])
    said = [tuple(s[:n].tolist()) for s, n in zip(np.asarray(found.symbols), np.asarray(found.length))]
    total = np.asarray(found.log_probability, np.float64)
    assert sorted(said[: len(expected)]) == sorted(expected) and np.isneginf(total[len(expected) :]).all()
    np.testing.assert_allclose(
        total[: len(expected)], [np.log(expected[s]) for s in said[: len(expected)]], rtol=1e-5, atol=1e-5
    )
    assert (np.diff(total[: len(expected)]) <= 0).all()


def all_texts(p: np.ndarray, start: int) -> dict[tuple[int, ...], float]:
    """The log-probability of every text of at most T symbols, the next of which depends on the last."""
    found, still = {}, {(): 0.0}
    for _ in range(T):
        longer = {(*s, v): q + p[s[-1] if s else start, v] for s, q in still.items() for v in range(V)}
        found |= {s: q for s, q in longer.items() if s[-1] == V - 1}
        still = {s: q for s, q in longer.items() if s[-1] != V - 1}
    return found | still


def search(width):
    """A beam search over the table of a chain of symbols, compiled once."""
    return jax.jit(
        lambda table, penalty: decoding.beam_search(
            rnnjax.pointwise(lambda s: table[s]), (), (), table[V - 1], T, width, V - 1, penalty
        )
    )


WIDE, NARROW = search(WIDTH), search(2)


@given(LOGITS.map(lambda a: a[:V]), st.sampled_from([0.0, 0.6, 1.0]))
def test_a_wide_beam_is_exhaustive_and_a_narrow_one_says_what_is_so(table, penalty):
    texts = all_texts(log_p(table), V - 1)
    for beam in (WIDE, NARROW):
        found = beam(jnp.asarray(table), jnp.float32(penalty))
        said = [tuple(s[:n].tolist()) for s, n in zip(np.asarray(found.symbols), np.asarray(found.length)) if n]
        n = len(said)
        assert len(set(said)) == n and set(said) <= set(texts)
        expected = [texts[s] for s in said]
        np.testing.assert_allclose(found.log_probability[:n], expected, rtol=1e-5, atol=1e-5)
        scores = [q / ((5 + len(s)) / 6) ** penalty for s, q in zip(said, expected)]
        np.testing.assert_allclose(found.score[:n], scores, rtol=1e-5, atol=1e-5)
        assert (np.diff(np.asarray(found.score)[:n]) <= 0).all()
        if beam is WIDE:
            assert n == len(texts)
