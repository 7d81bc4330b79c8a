"""Formal languages: finite automata, which require state tracking, and brackets, which require a stack."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from rnnjax.base import check_size
from rnnjax.data import Batch
from rnnjax.tasks._synthetic import Task


def automaton(length: int, moves: npt.ArrayLike) -> Task:
    """Returns a task to output the state of a finite automaton that reads random symbols.

        state_0 = 0;  state_t = moves[state_{t-1}, x_t];  y_t = state_t

    The loss is the cross-entropy in nats over all steps. The baseline is exact: the entropy of the state given the
    present symbol.

    Args:
      length: the number of steps.
      moves: integers `[states, symbols]`, the next state for each state and symbol.

    Returns:
      A task of x, y integers `[length]`.

    Raises:
      ValueError: moves is not a table of states.

    Example: a switch that stays on once it is set.
      >>> import jax
      >>> batch = automaton(6, [[0, 1], [1, 1]]).sample(jax.random.key(0))
      >>> bool((batch.y == jax.lax.cummax(batch.x)).all())
      True

    Reference: Deletang et al., Neural networks and the Chomsky hierarchy, 2022; Merrill, Petty, Sabharwal, The illusion
    of state in state-space models, 2024 (word problems).
    """
    check_size("automaton: length", length)
    table = np.asarray(moves)
    if (
        table.ndim != 2
        or not table.size
        or table.dtype.kind not in "iu"
        or not (table >= 0).all()
        or not (table < len(table)).all()
    ):
        raise ValueError(f"automaton takes moves [states, symbols] of states below their number, got {moves!r}")

    def sample(key: jax.Array) -> Batch:
        x = jax.random.randint(key, (length,), 0, table.shape[1])

        def move(state: jax.Array, symbol: jax.Array) -> tuple[jax.Array, jax.Array]:
            return (jnp.asarray(table, x.dtype)[state, symbol],) * 2

        return Batch(x, jax.lax.scan(move, jnp.zeros((), x.dtype), x)[1])

    return Task(sample, _entropy_given_symbol(table, length))


def _entropy_given_symbol(table: np.ndarray, length: int) -> float:
    """Returns the entropy of the state after a step given its symbol, averaged over the steps."""
    states, symbols = table.shape
    now, joint = np.eye(states)[0], np.zeros((symbols, states))
    for _ in range(length):
        step = np.zeros_like(joint)
        for symbol in range(symbols):
            np.add.at(step[symbol], table[:, symbol], now / symbols)
        now, joint = step.sum(0), joint + step / length
    given = joint / joint.sum(1, keepdims=True)
    return float(-(joint * np.log(np.where(given > 0, given, 1.0))).sum())


def parity(length: int) -> Task:
    """Returns a task to output whether the number of ones so far is odd.

    A linear recurrence whose eigenvalues are real and positive cannot learn it for all lengths.

    Args:
      length: the number of steps.

    Returns:
      A task of x, y bits `[length]`.

    Example:
      >>> import jax
      >>> batch = parity(6).sample(jax.random.key(1))
      >>> bool((batch.y == batch.x.cumsum() % 2).all())
      True

    Reference: Grazzi et al., Unlocking state-tracking in linear RNNs through negative eigenvalues, 2024.
    """
    check_size("parity: length", length)
    return automaton(length, [[0, 1], [1, 0]])


def permutation_words(length: int, n: int = 3) -> Task:
    """Returns a task to output the product of the permutations so far: the word problem of the group S_n.

    x and y number the n! permutations in lexicographic order; 0 is the identity. Each factor is applied after the
    previous ones. At n = 5, no fixed number of parallel steps is known to solve it.

    Args:
      length: the number of steps.
      n: the number of permuted items, from 2 to 5.

    Returns:
      A task of x, y integers below n!, `[length]`.

    Raises:
      ValueError: n is not from 2 to 5.

    Example:
      >>> import jax
      >>> batch = permutation_words(6).sample(jax.random.key(0))
      >>> bool(batch.x[0] == batch.y[0]), round(permutation_words(1000).baseline, 2)
      (True, 1.79)

    Reference: Merrill, Petty, Sabharwal, The illusion of state in state-space models, 2024.
    """
    check_size("permutation_words: length", length)
    check_size("permutation_words: n", n)
    if not 2 <= n <= 5:
        raise ValueError(f"permutation_words takes n from 2 to 5, got {n}")
    words = list(itertools.permutations(range(n)))
    number = {word: i for i, word in enumerate(words)}
    return automaton(length, [[number[tuple(now[i] for i in next_)] for next_ in words] for now in words])


def dyck(length: int, kinds: int = 2, depth: int = 4) -> Task:
    """Returns a task to output which bracket must close next, in well-matched brackets of several kinds.

        x_t opens a kind (0 .. kinds - 1) or closes it (kinds .. 2 kinds - 1)
        y_t = kind of the innermost bracket that is open after step t, or `kinds` if none is

    A bracket opens if none is open, closes at full depth, and does either with probability 1/2 otherwise; its kind is
    uniform. The loss is the cross-entropy in nats over all steps; the baseline is exact, for a predictor that sees only
    x_t.

    Args:
      length: the number of steps.
      kinds: the number of kinds of brackets.
      depth: the most brackets that are open at once.

    Returns:
      A task of x, y integers `[length]`.

    Raises:
      ValueError: kinds or depth is below 1.

    Example:
      >>> import jax
      >>> batch = dyck(6, kinds=2, depth=2).sample(jax.random.key(0))
      >>> print(batch.x, batch.y)
      [0 0 2 1 3 2] [0 0 0 1 0 2]

    Reference: Hewitt, Hahn, Ganguli, Liang, Manning, RNNs can generate bounded hierarchical languages with optimal
    memory, 2020.
    """
    check_size("dyck: length", length)
    check_size("dyck: kinds", kinds)
    check_size("dyck: depth", depth)

    def sample(key: jax.Array) -> Batch:
        ku, kk = jax.random.split(key)
        up, kind = jax.random.bernoulli(ku, 0.5, (length,)), jax.random.randint(kk, (length,), 0, kinds)

        def bracket(state: tuple[jax.Array, jax.Array], drawn: tuple[jax.Array, jax.Array]) -> tuple:
            (kinds_open, n), (up, kind) = state, drawn
            opens = (n == 0) | (up & (n < depth))
            top = kinds_open[jnp.maximum(n - 1, 0)]
            kinds_open = kinds_open.at[n].set(jnp.where(opens, kind, kinds_open[n]))
            n = jnp.where(opens, n + 1, n - 1)
            closing = jnp.where(n == 0, kinds, kinds_open[jnp.maximum(n - 1, 0)])
            return (kinds_open, n), (jnp.where(opens, kind, kinds + top), closing)

        start = jnp.zeros(depth + 1, kind.dtype), jnp.zeros((), kind.dtype)
        return Batch(*jax.lax.scan(bracket, start, (up, kind))[1])

    return Task(sample, _entropy_after_closing(length, kinds, depth))


def _entropy_after_closing(length: int, kinds: int, depth: int) -> float:
    """Returns the entropy of the next closing bracket given the present one; it is 0 after an opening bracket."""
    now, emptied, left = np.eye(depth + 1)[0], 0.0, 0.0
    for _ in range(length):
        up = np.where(np.arange(depth + 1) == 0, 1.0, np.where(np.arange(depth + 1) == depth, 0.0, 0.5))
        down = now * (1 - up)
        emptied, left = emptied + down[1] / length, left + down[2:].sum() / length
        now = np.append(0, (now * up)[:-1]) + np.append(down[1:], 0)
    closed = emptied + left
    mixed = -sum(p * math.log(p / closed) for p in (emptied, left) if p > 0)
    return mixed + left * math.log(kinds)
