"""A test of learning rates: the loss while the rate grows from step to step."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.base import PyTree, check_size
from rnnjax.training._loop import Trainer, init, step

_MEMORY = 0.9  # of the moving average that smooths the losses
_TOO_HIGH = 2.0  # times the lowest loss, and the test counts as diverged


class RateTest(NamedTuple):
    """The result of `find_learning_rate`.

    Attributes:
      rates: the learning rate of each step, `[steps]`.
      losses: the training loss before each update, `[steps]`.
      smooth: the moving average of the losses, nan from the first that is not finite, `[steps]`.
      suggested: the rate at which the smoothed loss falls fastest; nan if it does not fall.
      diverged: the rate from which on the loss is not finite or twice its lowest value; inf if there is none.
    """

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    suggested: float
    diverged: float


def find_learning_rate(
    trainer_of: Callable[[Callable[[jax.Array], jax.Array]], Trainer],
    data: PyTree,
    key: jax.Array,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
) -> RateTest:
    """Trains for some steps while the learning rate grows, and suggests the rate at which the loss falls fastest.

        rate_t = low (high / low)^(t / (steps - 1))

    One short run covers the whole range. The suggestion depends on the initial parameters and the first batches; it is
    a good start for `--learning_rate` or the middle of a study, not more.

    Args:
      trainer_of: (step -> learning rate) -> Trainer.
      data: of the stream.
      key: of the run.
      low, high: the range of rates.
      steps: the number of updates.

    Raises:
      ValueError: the range or the number of steps is too small.

    Example:
      >>> import optax, rnnjax
      >>> from rnnjax import estimators, losses, tasks
      >>> net = rnnjax.unroll(rnnjax.linear(1))
      >>> estimator, stream = estimators.backprop(net, losses.regress), tasks.task_stream(tasks.adding(6), 8)
      >>> trainer_of = lambda rate: Trainer(net, estimator, optax.sgd(rate), stream)
      >>> found = find_learning_rate(trainer_of, (), jax.random.key(0))
      >>> 1e-3 < found.suggested < 1
      True

    Reference: Smith, Cyclical learning rates for training neural networks, 2017.
    """
    check_size("find_learning_rate: steps", steps, 3)
    if not 0 < low < high < float("inf"):
        raise ValueError(f"find_learning_rate: 0 < low < high, got low={low}, high={high}")
    rates = np.geomspace(low, high, steps)

    def rate(at: jax.Array) -> jax.Array:
        return jnp.asarray(low * (high / low) ** (jnp.asarray(at, jnp.float32) / (steps - 1)), jnp.float32)

    @jax.jit
    def losses(data: PyTree, key: jax.Array) -> jax.Array:
        trainer = trainer_of(rate)

        def body(state: PyTree, _: None) -> tuple[PyTree, jax.Array]:
            state, metrics = step(trainer, state, data)
            return state, metrics["loss"].value()

        return lax.scan(body, init(trainer, data, key).state, None, length=steps)[1]

    return _judged(rates, np.asarray(losses(data, key), float))


def _judged(rates: np.ndarray, losses: np.ndarray) -> RateTest:
    """Returns the result for the losses of a test.

    Example:
      >>> rates = np.geomspace(1e-4, 1e-1, 7)
      >>> found = _judged(rates, np.array([1, 1, 0.9, 0.1, 0.1, 9, np.nan]))
      >>> round(found.suggested, 4), round(found.diverged, 4)
      (0.0032, 0.0316)
    """
    smooth, total, weight = np.full(len(losses), np.nan), 0.0, 0.0
    for i, loss in enumerate(losses):
        if not np.isfinite(loss):
            break
        total, weight = _MEMORY * total + loss, _MEMORY * weight + 1
        smooth[i] = total / weight
    known = smooth[np.isfinite(smooth)]
    if not len(known):
        return RateTest(rates, losses, smooth, float("nan"), float(rates[0]))
    best = int(known.argmin())
    gone = np.flatnonzero(known[best:] > max(_TOO_HIGH * known[best], known[best] + abs(known[0] - known[best])))
    end = best + int(gone[0]) if len(gone) else len(known)
    slopes = np.diff(known[: best + 1])
    suggested = float(rates[1 + int(slopes.argmin())]) if len(slopes) else float("nan")
    return RateTest(rates, losses, smooth, suggested, float(rates[end]) if end < len(rates) else float("inf"))
