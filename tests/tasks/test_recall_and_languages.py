"""Laws of tasks of recall and of formal languages: plain Python finds every answer, and a count every baseline."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import tasks


def drawn(task, n=200):
    batch = jax.device_get(jax.jit(lambda key: task.batch(key, n))(jax.random.key(0)))
    mask = np.ones(batch.x.shape, bool) if batch.mask is None else batch.mask
    return [(x.tolist(), y[m].tolist(), np.flatnonzero(m).tolist()) for x, y, m in zip(batch.x, batch.y, mask)]


def test_selective_copying_asks_for_what_was_no_blank():
    places = np.zeros(10)
    for x, y, at in drawn(tasks.selective_copying(10, 3, symbols=4)):
        assert y == [s for s in x[:10] if s < 4] and len(y) == 3
        assert set(x[:10]) <= {0, 1, 2, 3, 4} and x[10:] == [5, 5, 5] and at == [10, 11, 12]
        places += np.array(x[:10]) < 4
    assert abs(places / 200 - 0.3).max() < 0.13  # four standard errors


def test_induction_asks_for_what_followed_the_mark():
    for x, y, at in drawn(tasks.induction(9, symbols=4)):
        first = x.index(4)
        assert x.count(4) == 2 and x[-1] == 4 and at == [8] and first < 7
        assert y == [x[first + 1]] and y[0] < 4


def test_associative_recall_asks_for_every_pair_once():
    for x, y, at in drawn(tasks.associative_recall(3, 7, keys=5, values=4)):
        told = dict(zip(x[0:6:2], x[1:6:2]))
        assert len(told) == 3 and all(k < 5 <= v < 9 for k, v in told.items())
        assert [told[x[t]] - 5 for t in at] == y and min(at) >= 6
        assert sorted(x[t] for t in at) == sorted(told)
        assert {x[t] for t in range(6, 13) if t not in at} == {9}


@pytest.mark.parametrize("n", [2, 3, 4])
def test_words_of_permutations_are_their_products(n):
    def matrix(i):
        return np.eye(n)[:, list(list(itertools.permutations(range(n)))[i])]

    for x, y, _ in drawn(tasks.permutation_words(8, n), 20):
        for t in range(8):
            product = np.eye(n)
            for i in x[: t + 1]:
                product = product @ matrix(i)
            assert (matrix(y[t]) == product).all()


def test_parity_is_a_sum():
    for x, y, _ in drawn(tasks.parity(20)):
        assert y == [sum(x[: t + 1]) % 2 for t in range(20)]


@pytest.mark.parametrize("depth", [1, 3])
def test_brackets_match(depth):
    deepest = 0
    for x, y, _ in drawn(tasks.dyck(30, kinds=3, depth=depth)):
        stack = []
        for bracket, closing in zip(x, y):
            if bracket < 3:
                stack.append(bracket)
            else:
                assert stack.pop() == bracket - 3
            assert closing == (stack[-1] if stack else 3)
            deepest = max(deepest, len(stack))
    assert deepest == depth


SMALL = {
    "parity": (tasks.parity(5), 5, [[0, 1], [1, 0]]),
    "switch": (tasks.automaton(4, [[0, 1, 2], [1, 1, 0], [2, 1, 2]]), 4, [[0, 1, 2], [1, 1, 0], [2, 1, 2]]),
}


@pytest.mark.parametrize("name", SMALL)
def test_the_baseline_of_an_automaton_is_a_count_over_all_words(name):
    task, length, table = SMALL[name]
    symbols = len(table[0])
    counts = np.zeros((symbols, len(table)))
    for word in itertools.product(range(symbols), repeat=length):
        state = 0
        for symbol in word:
            state = table[state][symbol]
            counts[symbol, state] += 1
    share = counts / counts.sum()
    given = counts / counts.sum(1, keepdims=True)
    want = -sum(p * math.log(q) for p, q in zip(share.ravel(), given.ravel()) if p)
    assert abs(task.baseline - want) < 1e-12


@pytest.mark.parametrize("kinds, depth", [(1, 2), (2, 1), (3, 3)])
def test_the_baseline_of_brackets_is_a_count(kinds, depth):
    """With as many texts as there are, the share of each answer after a bracket that closes is known to 1 %."""
    task = tasks.dyck(9, kinds, depth)
    batch = jax.device_get(jax.jit(lambda key: task.batch(key, 40000))(jax.random.key(1)))
    counts = np.zeros((2 * kinds, kinds + 1))
    np.add.at(counts, (batch.x.ravel(), batch.y.ravel()), 1)
    share, given = counts / counts.sum(), counts / counts.sum(1, keepdims=True)
    assert abs(-(share * np.log(np.where(given > 0, given, 1))).sum() - task.baseline) < 0.01


def test_the_baselines_of_recall_are_the_entropies_of_the_answers():
    for task, kinds in (
        (tasks.selective_copying(9, 3, 5), 5),
        (tasks.induction(9, 5), 5),
        (tasks.associative_recall(2, 4, 5, 6), 6),
    ):
        answers = np.concatenate([y for _, y, _ in drawn(task, 4000)]).astype(int)
        share = np.bincount(answers, minlength=kinds) / len(answers)
        assert abs(share - 1 / kinds).max() < 0.03
        assert task.baseline == math.log(kinds)


REFUSED = {
    "more symbols than steps": (lambda: tasks.selective_copying(3, 4), "1 to 3 symbols"),
    "no step for the mark": (lambda: tasks.induction(2), "at least 3"),
    "more pairs than keys": (lambda: tasks.associative_recall(5, 9, keys=4), "got 4 and 9"),
    "more pairs than steps": (lambda: tasks.associative_recall(5, 4), "got 64 and 4"),
    "a state that is none": (lambda: tasks.automaton(3, [[0, 2], [1, 0]]), "below their number"),
    "no table": (lambda: tasks.automaton(3, [0, 1]), "below their number"),
    "one thing": (lambda: tasks.permutation_words(3, 1), "from 2 to 5"),
    "no bracket": (lambda: tasks.dyck(3, 0), "kinds is an integer"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_task_that_cannot_be_is_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_a_batch_is_made_on_the_device():
    for task in (tasks.selective_copying(9, 2), tasks.dyck(9), tasks.permutation_words(9, 5)):
        assert jax.jit(task.sample)(jax.random.key(0)).x.dtype == jnp.int32
