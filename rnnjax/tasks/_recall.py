"""Recall tasks: earlier symbols are requested later, by order, by the symbol before them, or by a key."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from rnnjax.base import check_size
from rnnjax.data import Batch
from rnnjax.tasks._synthetic import Task


def selective_copying(length: int = 256, count: int = 16, symbols: int = 16) -> Task:
    """Returns a task to output, in order, symbols that were scattered among blanks.

        x = `length` steps: s_1 .. s_K at random places, blanks elsewhere; then K cues      y = s_1 .. s_K at the cues

    T = length + count steps. Tokens: 0 .. symbols - 1, then the blank, then the cue. The loss is the cross-entropy in
    nats over the cues; without memory the best value is ln(symbols).

    Args:
      length: the number of steps with symbols, 4,096 in the paper.
      count: K, the number of symbols to remember.
      symbols: the number of different symbols.

    Returns:
      A task of x, y integers `[length + count]`; only the last `count` steps count.

    Raises:
      ValueError: there are more symbols to remember than steps, or fewer than one.

    Example:
      >>> import jax
      >>> batch = selective_copying(6, count=2, symbols=4).sample(jax.random.key(0))
      >>> print(batch.x, batch.y[-2:])
      [3 4 4 1 4 4 5 5] [3 1]

    Reference: Jing et al., Gated orthogonal recurrent units, 2017 (denoise); in this form Gu, Dao, Mamba: linear-time
    sequence modeling with selective state spaces, 2023.
    """
    check_size("selective_copying: length", length)
    check_size("selective_copying: count", count)
    check_size("selective_copying: symbols", symbols)
    if count > length:
        raise ValueError(f"selective_copying takes 1 to {length} symbols in {length} steps, got count={count}")
    blank, cue = symbols, symbols + 1

    def sample(key: jax.Array) -> Batch:
        ks, kp = jax.random.split(key)
        s = jax.random.randint(ks, (count,), 0, symbols)
        places = jnp.sort(jax.random.permutation(kp, length)[:count])
        x = jnp.concatenate([jnp.full(length, blank).at[places].set(s), jnp.full(count, cue)])
        return Batch(x, jnp.concatenate([jnp.zeros(length, s.dtype), s]), jnp.arange(length + count) >= length)

    return Task(sample, math.log(symbols))


def induction(length: int = 256, symbols: int = 16) -> Task:
    """Returns a task to output the symbol that followed the earlier occurrence of a mark: induction heads.

        x = symbols at random; the mark stands at one place among them, and at the last step      y = what followed it

    Tokens: 0 .. symbols - 1, then the mark. The loss is the cross-entropy in nats at the last step; without memory the
    best value is ln(symbols).

    Args:
      length: the number of steps, at least 3.
      symbols: the number of different symbols.

    Returns:
      A task of x, y integers `[length]`; only the last step counts.

    Raises:
      ValueError: length is below 3.

    Example:
      >>> import jax
      >>> batch = induction(6, symbols=4).sample(jax.random.key(0))
      >>> print(batch.x, batch.y[-1])
      [3 1 4 1 2 4] 1

    Reference: Olsson et al., In-context learning and induction heads, 2022; as a task Gu, Dao, Mamba: linear-time
    sequence modeling with selective state spaces, 2023.
    """
    check_size("induction: length", length)
    check_size("induction: symbols", symbols)
    if length < 3:
        raise ValueError(f"induction takes at least 3 steps, for a mark, a symbol and the mark, and got {length}")

    def sample(key: jax.Array) -> Batch:
        ks, kp = jax.random.split(key)
        s = jax.random.randint(ks, (length,), 0, symbols)
        at = jax.random.randint(kp, (), 0, length - 2)
        x = s.at[jnp.stack([at, jnp.array(length - 1)])].set(symbols)
        return Batch(x, jnp.zeros_like(s).at[-1].set(s[at + 1]), jnp.arange(length) == length - 1)

    return Task(sample, math.log(symbols))


def associative_recall(pairs: int = 8, gap: int = 32, keys: int = 64, values: int = 64) -> Task:
    """Multi-query associative recall: pairs of a key and a value, then each key again, in random order and positions.

        x = k_1 v_1 .. k_P v_P, then `gap` steps with k_1 .. k_P at random places and blanks between them
        y = v_i where k_i is requested

    T = 2 pairs + gap. The keys of an example differ; its values are drawn with replacement. Tokens: keys, values, then
    the blank. The loss is the cross-entropy in nats over the requests; without memory the best value is ln(values).
    Positions are uniform, whereas the paper's follow a power law.

    Args:
      pairs: P, the number of pairs to remember.
      gap: the number of steps after them, at least the number of pairs.
      keys: the number of different keys, at least the number of pairs.
      values: the number of different values.

    Returns:
      A task of x integers, y integers below `values`, both `[2 pairs + gap]`; only the requests count.

    Raises:
      ValueError: there are too few steps or too few keys for the pairs.

    Example:
      >>> import jax
      >>> batch = associative_recall(2, 3, keys=4, values=4).sample(jax.random.key(0))
      >>> print(batch.x, batch.y, batch.mask.sum())
      [0 6 2 6 2 0 8] [0 0 0 0 2 2 0] 2

    Reference: Arora et al., Zoology: measuring and improving recall in efficient language models, 2023.
    """
    check_size("associative_recall: pairs", pairs)
    check_size("associative_recall: gap", gap)
    check_size("associative_recall: keys", keys)
    check_size("associative_recall: values", values)
    if pairs > min(gap, keys):
        raise ValueError(
            f"associative_recall takes as many keys and steps as pairs: {pairs} pairs, got {keys} and {gap}"
        )

    def sample(key: jax.Array) -> Batch:
        kk, kv, kp = jax.random.split(key, 3)
        k, v = jax.random.permutation(kk, keys)[:pairs], jax.random.randint(kv, (pairs,), 0, values)
        places = 2 * pairs + jax.random.permutation(kp, gap)[:pairs]
        told = jnp.stack([k, keys + v], 1).reshape(-1)
        x = jnp.concatenate([told, jnp.full(gap, keys + values)]).at[places].set(k)
        y = jnp.zeros_like(x).at[places].set(v)
        return Batch(x, y, jnp.zeros(len(x), bool).at[places].set(True))

    return Task(sample, math.log(values))
