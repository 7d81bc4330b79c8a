"""Synthetic tasks whose examples are generated from a key, on the device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import check_rate, check_size
from rnnjax.base._arguments import check_is
from rnnjax.data import Batch, Stream


class Task(NamedTuple):
    """A distribution over examples.

    Attributes:
      sample: key -> a Batch of one example, without the batch axis; `batch(key, n)` returns n of them.
      baseline: the expected loss of the best predictor without memory.
    """

    sample: Callable[[jax.Array], Batch]
    baseline: float

    def batch(self, key: jax.Array, n: int) -> Batch:
        """Returns n examples."""
        return jax.vmap(self.sample)(jax.random.split(key, n))


def copying(delay: int, length: int = 10, symbols: int = 8) -> Task:
    """Returns a task to remember `length` symbols over `delay` blanks and then output them.

        x = s_1 .. s_K, delay - 1 blanks, the cue, K blanks      y = delay + K blanks, s_1 .. s_K

    T = delay + 2 K steps. Tokens: 0 .. symbols - 1, then the blank, then the cue (in x only). The loss is the
    cross-entropy in nats over all steps; without memory the best value is K ln(symbols) / (delay + 2 K).

    Args:
      delay: T of the papers.
      length: K, the number of symbols to remember.
      symbols: the number of different symbols.

    Returns:
      A task of x, y integers `[T]`.

    Example:
      >>> import jax
      >>> task = copying(delay=3, length=2)
      >>> batch = task.sample(jax.random.key(0))
      >>> print(batch.x, batch.y)
      [5 0 8 8 9 8 8] [8 8 8 8 8 5 0]
      >>> round(copying(100).baseline, 4)
      0.1733

    Reference: Hochreiter, Schmidhuber, Long short-term memory, 1997; in this form Arjovsky, Shah, Bengio, Unitary
    evolution recurrent neural networks, 2016.
    """
    check_size("copying: length", length)
    check_size("copying: symbols", symbols)
    check_size("copying: delay", delay, 0)
    blank, cue = symbols, symbols + 1

    def sample(key: jax.Array) -> Batch:
        s = jax.random.randint(key, (length,), 0, symbols)
        x = jnp.concatenate([s, jnp.full(delay - 1, blank), jnp.array([cue]), jnp.full(length, blank)])
        return Batch(x, jnp.concatenate([jnp.full(delay + length, blank), s]))

    return Task(sample, length * math.log(symbols) / (delay + 2 * length))


def adding(length: int) -> Task:
    """Returns a task to add two numbers that are marked in the input, one in each half.

        x_t = (u_t, m_t), u_t ~ U(0, 1), m_t = 1 at one t of each half      y = sum of m_t u_t, at the last step

    The loss is the mean squared error at the last step; always predicting 1 gives 1/6.

    Args:
      length: the number of steps, at least 2.

    Returns:
      A task of x `[length, 2]`, y `[length, 1]`; only the last step counts.

    Example:
      >>> import jax
      >>> batch = adding(6).sample(jax.random.key(0))
      >>> bool(((batch.x[:, 0] * batch.x[:, 1]).sum() - batch.y[-1, 0]) == 0)
      True

    Reference: Hochreiter, Schmidhuber, Long short-term memory, 1997.
    """
    check_size("adding: length", length, 2)
    half = length // 2

    def sample(key: jax.Array) -> Batch:
        ku, ka, kb = jax.random.split(key, 3)
        u = jax.random.uniform(ku, (length,))
        at = jnp.stack([jax.random.randint(ka, (), 0, half), jax.random.randint(kb, (), half, length)])
        m = jnp.zeros(length).at[at].set(1.0)
        y = jnp.full((length, 1), (u * m).sum())
        return Batch(jnp.stack([u, m], axis=-1), y, jnp.arange(length) == length - 1)

    return Task(sample, 1 / 6)


def flipflop(length: int, bits: int = 3, rate: float = 0.2) -> Task:
    """Returns a task to remember the last pulse on each of several channels.

        x_t = -1 or 1 with probability rate, else 0; x_1 is never 0      y_t = x_t if x_t is not 0 else y_{t-1}

    The loss is the mean squared error over all steps and channels. The best predictor that sees x_t only outputs 0
    where x_t is 0, and has the loss (1 - rate) (length - 1) / length.

    Args:
      length: the number of steps.
      bits: the number of channels.
      rate: the probability of a pulse per step and channel.

    Returns:
      A task of x, y `[length, bits]`.

    Example:
      >>> import jax
      >>> batch = flipflop(6, bits=1, rate=0.3).sample(jax.random.key(2))
      >>> print(batch.x[:, 0], batch.y[:, 0])
      [-1.  0.  1.  0.  0.  0.] [-1. -1.  1.  1.  1.  1.]

    Reference: Sussillo, Barak, Opening the black box: low-dimensional dynamics in high-dimensional recurrent neural
    networks, 2013.
    """
    check_size("flipflop: length", length)
    check_size("flipflop: bits", bits)
    check_rate("flipflop: rate", rate, certain=True)

    def sample(key: jax.Array) -> Batch:
        kp, ks = jax.random.split(key)
        pulse = jax.random.bernoulli(kp, rate, (length, bits)).at[0].set(True)
        x = jnp.where(pulse, jax.random.rademacher(ks, (length, bits), jnp.float32), 0.0)
        latest = jax.lax.cummax(jnp.where(pulse, jnp.arange(length)[:, None], 0))
        return Batch(x, jnp.take_along_axis(x, latest, axis=0))

    return Task(sample, (1 - rate) * (length - 1) / length)


def echo(length: int, delay: int, features: int = 1) -> Task:
    """Returns a task to output the input of some steps ago.

        x_t ~ N(0, I)      y_t = the first number of x_{t - delay}, for t > delay

    The loss is the mean squared error over the steps t > delay; without memory the best output is 0, with loss 1.

    Args:
      length: the number of steps, more than the delay.
      delay: in steps.
      features: the size of each input; all but the first number are distractors.

    Returns:
      A task of x `[length, features]`, y `[length, 1]`.

    Example:
      >>> import jax
      >>> batch = echo(5, delay=2).sample(jax.random.key(0))
      >>> bool((batch.y[2:] == batch.x[:3]).all()), batch.mask.tolist()
      (True, [False, False, True, True, True])

    Reference: Jaeger, Short term memory in echo state networks, 2001.
    """
    check_size("echo: length", length)
    check_size("echo: features", features)
    check_size("echo: delay", delay, 0)

    def sample(key: jax.Array) -> Batch:
        x = jax.random.normal(key, (length, features))
        return Batch(x, jnp.roll(x[:, :1], delay, axis=0), jnp.arange(length) >= delay)

    return Task(sample, 1.0)


def task_stream(task: Task, batch_size: int, length: int = 0) -> Stream:
    """Returns an endless stream of fresh examples of a task, or, with a length, that many batches for evaluation.

    Example:
      >>> import jax
      >>> from rnnjax import tasks
      >>> stream = task_stream(tasks.copying(5), batch_size=4)
      >>> batch, _ = stream.next((), stream.init(()), jax.random.key(0))
      >>> batch.x.shape
      (4, 25)
    """
    check_is("task_stream: task", task, Task)
    check_size("task_stream: batch_size", batch_size)
    check_size("task_stream: length", length, 0)
    return Stream(lambda data: (), lambda data, position, key: (task.batch(key, batch_size), position), length)
