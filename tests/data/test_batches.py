"""Laws of batches: nothing is lost or doubled; packed, padded and one by one are the same to a network."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import losses
from rnnjax.base import UserError
from rnnjax.data import Batch, bucketed_batches, label_last_step, packed, padded, random_split, shuffled, within_length
from rnnjax.estimators import score

LENGTHS = [3, 0, 7, 1, 2, 7, 4]


@pytest.fixture(scope="module")
def ragged():
    """Sequences of different lengths, one of them empty, with a class for each step."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, 3)).astype(np.float32) for n in LENGTHS], [rng.integers(0, 5, n) for n in LENGTHS]


def test_packed_padded_and_one_by_one_have_the_same_loss_and_gradient(ragged):
    xs, ys = ragged
    net = rnnjax.stack(rnnjax.bidirectional(rnnjax.vanilla(4)), rnnjax.linear(5))
    params = net.init(jax.random.key(0), jnp.ones((7, 3)))

    def total(params, batch):
        return score(net, losses.classify, params, (), batch)[0]["loss"].total

    graded = jax.jit(jax.value_and_grad(total))
    pad = Batch(padded(xs), padded(ys).x)
    alone = [graded(params, jax.tree.map(lambda a, i=i: a[i : i + 1], pad)) for i in range(len(xs))]
    expected = jax.tree.map(lambda *parts: sum(parts), *alone)
    for batch in (pad, packed(xs, ys, 8)):
        for a, b in zip(jax.tree.leaves(graded(params, batch)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [7, 8, 30])
def test_packing_loses_nothing_and_marks_every_beginning(ragged, steps):
    xs, ys = ragged
    batch = packed(xs, ys, steps)
    documents = []
    for x, valid, first in zip(batch.x.x, batch.x.valid, batch.x.first):
        documents += np.split(x[valid], np.flatnonzero(first)[1:])
    assert sorted(x.tobytes() for x in documents) == sorted(x.tobytes() for x in xs if len(x))
    assert len(batch.y) <= -(-sum(LENGTHS) // steps) + 1
    with pytest.raises(UserError, match="sequence 3 has 7 steps, and a row 5"):
        packed(xs, ys, 5)


def test_an_epoch_of_buckets_has_every_sequence_once_and_little_padding():
    lengths = np.random.default_rng(0).integers(1, 100, 1000)
    first, again, other = (bucketed_batches(lengths, 32, seed=1, epoch=e) for e in (0, 0, 1))
    assert sorted(np.concatenate(first).tolist()) == list(range(1000))
    assert all((a == b).all() for a, b in zip(first, again)) and any(
        (a[:9] != b[:9]).any() for a, b in zip(first, other)
    )
    assert sum(lengths[b].max() * len(b) for b in first) < 1.05 * lengths.sum()


def test_rows_longer_than_the_limit_are_counted():
    kept, out = within_length(LENGTHS, 3)
    assert kept.tolist() == [0, 1, 3, 4] and out == 3


def test_parts_share_nothing_and_are_the_same_every_time():
    parts = random_split(103, 0.1, 0.2)
    assert [len(p) for p in parts] == [72, 10, 21]
    assert sorted(np.concatenate(parts).tolist()) == list(range(103))
    assert all((a == b).all() for a, b in zip(parts, random_split(103, 0.1, 0.2)))


def test_a_stream_goes_on_from_its_position_and_an_epoch_has_every_example_once():
    data = {"train": Batch(jnp.arange(10), jnp.arange(10))}
    stream = shuffled("train", 3)
    advance, keys = jax.jit(stream.next), jax.random.split(jax.random.key(0), 6)
    position, seen, saved = stream.init(data), [], None
    for i, key in enumerate(keys):
        saved = position if i == 4 else saved
        batch, position = advance(data, position, key)
        seen.append(batch.y.tolist())
    assert all(len(np.unique(epoch)) == 9 for epoch in (seen[:3], seen[3:])) and seen[:3] != seen[3:]
    assert advance(data, saved, keys[4])[0].y.tolist() == seen[4]


def test_the_label_at_the_last_valid_step_is_the_label_at_the_end(ragged):
    xs, _ = ragged
    pad = padded([x for x in xs if len(x)])
    y = np.arange(len(pad.x)) % 5
    body, read = rnnjax.unroll(rnnjax.vanilla(4)), rnnjax.linear(5)
    once, each = rnnjax.stack(rnnjax.last(body), read), rnnjax.stack(body, read)
    params = once.init(jax.random.key(0), jnp.ones((7, 3)))
    batch = Batch(pad, jnp.asarray(y), jnp.arange(len(y)) != 2)

    @jax.jit
    def both(batch):
        ends = score(once, losses.classify, params, (), batch)[0]
        return ends, score(each, losses.classify, params, (), label_last_step(batch))[0]

    a, b = both(batch)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5)
