"""Laws of batches: nothing is lost or doubled; packed, padded and one by one are the same to a network."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rnnjax
from rnnjax import losses
from rnnjax.base import UserError
from rnnjax.data import (
    Batch,
    Images,
    bucketed_batches,
    gather_examples,
    images_in_order,
    in_order,
    label_last_step,
    packed,
    padded,
    random_split,
    shuffled,
    within_length,
)
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


def test_sequences_of_several_dtypes_keep_their_numbers():
    assert padded([np.array([1, 2]), np.array([1.5])]).x.tolist() == [[1, 2], [1.5, 0]]
    assert padded([np.array([1, 2]), []]).x.dtype == int  # an empty list has no numbers


def test_a_target_belongs_to_its_own_sequence():
    xs, ys = [np.arange(3), np.arange(2)], [np.arange(2), np.arange(3)]
    with pytest.raises(UserError, match=r"xs of \[3, 2\] steps and ys of \[2, 3\]"):
        packed(xs, ys, 5)
    with pytest.raises(UserError, match="the same features: sequence 2"):
        padded([np.ones((2, 3)), np.ones((2, 4))])


@pytest.mark.parametrize("n", [3, 5])
def test_a_pass_has_each_example_once(n):
    """A place beyond the last example is the last one: it would count twice."""
    many = {"test": Batch(np.arange(4.0), np.arange(4)), "images": Images(np.zeros((4, 2), np.uint8), np.arange(4))}
    for stream in (in_order("test", 2, n), images_in_order("images", 2, n)):
        with pytest.raises(UserError, match=f"n is the number of examples, got {n}, and there are 4"):
            stream.next(many, stream.init(many), None)
    with pytest.raises(UserError, match="a part of that name, got parts named test, images"):
        shuffled("tset", 2).init(many)


@pytest.mark.parametrize("at", [[-1], [4], [0, 9]])
def test_an_example_that_is_not_there_is_not_another_one(at):
    with pytest.raises(ValueError, match="indices from 0 to 3, got"):
        gather_examples(Batch(np.arange(4.0), np.arange(4)), np.array(at))


@pytest.mark.parametrize("parts", [(0.7, 0.7), (-0.1,), (1.5,), (float("nan"),)])
def test_parts_of_a_split_are_fractions_that_leave_something(parts):
    with pytest.raises(ValueError, match="random_split"):
        random_split(10, *parts)
