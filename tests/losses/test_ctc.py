"""Laws of connectionist temporal classification: by the sum over all paths, by torch, by recursion on paper."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import Seq, decoding, losses
from rnnjax.data import Batch

V, T = 3, 5


def spelled(path) -> tuple[int, ...]:
    """Repetitions made one, then blanks left out."""
    return tuple(s for s, _ in itertools.groupby(path) if s)


def all_labels(log_p: np.ndarray) -> dict[tuple[int, ...], float]:
    """The probability of every label sequence, path by path."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(log_p.shape[1]), repeat=len(log_p)):
        p = np.exp(sum(frame[s] for frame, s in zip(log_p, path)))
        found[spelled(path)] = found.get(spelled(path), 0.0) + p
    return found


def padded(labels, n: int) -> np.ndarray:
    return np.pad(np.array(labels, np.int32), (0, n - len(labels)))


@pytest.fixture(scope="module")
def frames():
    """Logits, with nan in what is not valid."""
    logits = np.random.default_rng(0).normal(0, 1.5, (3, T, V)).astype(np.float32)
    valid = np.arange(T) < np.array([[5], [4], [3]])
    valid[2] = [True, False, True, False, True]
    return np.where(valid[..., None], logits, np.nan), valid


@pytest.fixture(scope="module")
def truth(frames):
    """All label sequences of each example with their probabilities."""
    logits, valid = frames
    log_p = np.asarray(jax.nn.log_softmax(logits))
    return [all_labels(p[v]) for p, v in zip(log_p, valid)]


def test_the_loss_is_the_sum_over_all_paths_and_inf_where_there_is_none(frames, truth):
    every = [labels for n in range(T + 1) for labels in itertools.product(range(1, V), repeat=n)]
    y = jnp.array([padded(labels, T) for labels in every])

    @jax.jit
    def both(logits, valid):
        def each(x):
            return jax.vmap(jax.vmap(losses.ctc, (None, 0, None)), (0, None, 0))(x, y, valid)

        nats = each(logits)
        total = jax.grad(lambda x: jnp.where(jnp.isfinite(nats), each(x), 0).sum())
        return nats, total(logits)

    nats, grads = both(*frames)
    for example, found in zip(nats, truth):
        assert abs(sum(found.values()) - 1) < 1e-5
        expected = [-np.log(found[labels]) if labels in found else np.inf for labels in every]
        np.testing.assert_allclose(example, expected, rtol=1e-4)
    assert np.isfinite(grads).all() and not np.asarray(grads)[~frames[1]].any()


def test_a_wide_prefix_beam_is_exhaustive_search(frames, truth):
    search = jax.jit(jax.vmap(lambda x, v: decoding.prefix_beam_search(x, 64, valid=v)))
    for found, expected in zip(np.asarray(search(*frames).symbols), truth):
        ranked = sorted(expected, key=expected.get, reverse=True)
        assert [tuple(s[s > 0]) for s in found[: len(ranked)]] == ranked
    best = search(*frames)
    for lengths, p, expected in zip(best.length, best.log_probability, truth):
        ranked = sorted(expected.values(), reverse=True)
        np.testing.assert_allclose(np.exp(p), ranked + [0.0] * (64 - len(ranked)), rtol=1e-4, atol=1e-12)
        assert lengths.tolist() == [len(k) for k in sorted(expected, key=expected.get, reverse=True)] + [0] * (
            64 - len(ranked)
        )


def test_a_narrow_beam_underrates_and_a_limit_of_labels_holds(frames, truth):
    search = jax.jit(jax.vmap(lambda x, v: decoding.prefix_beam_search(x, 4, n=2, valid=v)))
    found = search(*frames)
    for symbols, p, expected in zip(np.asarray(found.symbols), np.asarray(found.log_probability), truth):
        said = [tuple(s[s > 0]) for s in symbols]
        assert len(set(said)) == 4
        assert all(np.exp(q) <= expected[s] * 1.0001 for s, q in zip(said, p))
        assert max(map(len, said)) <= 2


def test_the_best_path_is_spelled(frames):
    logits, valid = frames
    labels, n = jax.jit(jax.vmap(decoding.best_path))(*frames)
    for x, v, said, k in zip(logits, valid, np.asarray(labels), n):
        expected = spelled(x[v].argmax(-1).tolist())
        assert tuple(said[:k].tolist()) == expected and not said[k:].any()


def test_the_loss_is_that_of_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4, 30, 6)).astype(np.float32)
    frames, labels = np.array([30, 22, 17, 9]), np.array([8, 5, 0, 4])
    y = np.where(np.arange(8) < labels[:, None], rng.integers(1, 6, (4, 8)), 0)
    valid = np.arange(30) < frames[:, None]
    nats, grads = jax.jit(jax.vmap(jax.value_and_grad(losses.ctc)))(logits, y, valid)
    x = torch.tensor(logits, requires_grad=True)
    log_p = torch.log_softmax(x, -1).transpose(0, 1)
    expected = torch.nn.functional.ctc_loss(
        log_p, torch.tensor(y), torch.tensor(frames), torch.tensor(labels), reduction="none"
    )
    expected.sum().backward()
    np.testing.assert_allclose(nats, expected.detach(), rtol=1e-5)
    np.testing.assert_allclose(grads, x.grad, atol=2e-5)


def distance(a, b) -> int:
    """By the recursion on the whole table."""
    d = np.zeros((len(a) + 1, len(b) + 1), int)
    d[:, 0], d[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i, j in itertools.product(range(len(a)), range(len(b))):
        d[i + 1, j + 1] = min(d[i, j + 1] + 1, d[i + 1, j] + 1, d[i, j] + (a[i] != b[j]))
    return int(d[-1, -1])


def test_edit_distances_of_ragged_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (60, 9)), rng.integers(0, 4, (60, 12))
    n, m = rng.integers(0, 10, 60), rng.integers(0, 13, 60)
    found = jax.jit(jax.vmap(losses.edit_distance))(a, b, n, m)
    assert found.tolist() == [distance(x[:i], y[:j]) for x, y, i, j in zip(a, b, n, m)]


def test_the_objective_counts_what_is_too_long_and_leaves_it_out_of_everything_else():
    logits = 9 * jax.nn.one_hot(jnp.array([[1, 0, 2, 0], [1, 1, 1, 1], [1, 0, 1, 0], [1, 2, 1, 2]]), V)
    valid = jnp.array([[True] * 4, [True, True, False, False], [True] * 4, [True] * 4])
    y = jnp.array([[1, 2, 0], [1, 1, 0], [1, 2, 0], [1, 2, 1]])
    mask = jnp.array([True, True, True, False])

    @jax.jit
    def total(logits):
        metrics = jax.vmap(lambda x, v, y, m: losses.label_ctc(Seq(x, v), Batch(None, y, m)))(logits, valid, y, mask)
        metrics = jax.tree.map(lambda a: a.sum(), metrics)
        return metrics["loss"].total, metrics

    grads, metrics = jax.grad(total, has_aux=True)(logits)
    assert float(metrics["loss"].weight) == 2 and np.isfinite(metrics["loss"].total)
    assert float(metrics["label_error"].value()) == 1 / 4  # 1 1 for 1 2
    np.testing.assert_allclose(metrics["too_long"].value(), 1 / 3, rtol=1e-6)
    assert np.isfinite(grads).all() and not np.asarray(grads)[[1, 3]].any() and np.asarray(grads)[0].any()


@pytest.mark.parametrize("labels", [[1, 7], [3, 0], [7, 7], [2, 3]])
def test_a_label_that_is_no_symbol_cannot_be_said(labels):
    loss, slope = jax.value_and_grad(losses.ctc)(jnp.zeros((4, 3)), jnp.array(labels))
    assert loss == jnp.inf and not slope.any()
