"""A test of learning rates: the loss while the rate grows from step to step."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from rnnjax.base import PyTree, check_number, check_size
from rnnjax.base._arguments import check_function
from rnnjax.base._misfits import check_key
from rnnjax.training._loop import Trainer, init, step

_WIDTH = 4.0  # steps that the losses are smoothed over


class RateTest(NamedTuple):
    """The result of `find_learning_rate`.

    Attributes:
      rates: the learning rate of each step, `[steps]`.
      losses: the training loss before each update, `[steps]`.
      smooth: the losses without their noise, by lines fitted to some ten steps around each; nan from the first loss
        that is not finite, `[steps]`.
      suggested: the rate at which the smoothed loss falls fastest; nan if it does not fall.
      diverged: the rate from which on the loss is not finite, or high again: twice its lowest value, and as high as at
        the start; inf if there is none.
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
    check_function("find_learning_rate: trainer_of", trainer_of)
    check_key(key)
    for name, value in (("low", low), ("high", high)):
        check_number(f"find_learning_rate: {name}", value)
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
      >>> rates = np.geomspace(1e-6, 1, 100)
      >>> found = _judged(rates, np.where(rates < 0.3, 1 / (1 + rates / 1e-3), np.nan))
      >>> 3e-4 < found.suggested < 3e-3, round(found.diverged, 2)
      (True, 0.33)
    """
    finite = np.isfinite(losses)
    known = len(losses) if finite.all() else int(finite.argmin())
    smooth, slopes = np.full((2, len(losses)), np.nan)
    if known < 3:
        return RateTest(rates, losses, smooth, float("nan"), float(rates[known]))
    start, low = losses[0], losses[:known].min()
    most = start + max(start - low, 0.1 * abs(start))  # what breaks does not count for more, or it would reach far back
    smooth[:known], slopes[:known] = _fitted(np.minimum(losses[:known], most))
    best = int(smooth[:known].argmin())
    fall = min(max(smooth[0] - smooth[best], abs(smooth[best])), 0.9 * (most - smooth[best]))
    gone = np.flatnonzero(smooth[best:known] > smooth[best] + fall)
    end = best + int(gone[0]) if len(gone) else known
    steepest = int(slopes[: best + 1].argmin())
    suggested = float(rates[steepest]) if best and slopes[steepest] < 0 else float("nan")
    return RateTest(rates, losses, smooth, suggested, float(rates[end]) if end < len(rates) else float("inf"))


def _fitted(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the height and the slope of a line through each place, fitted to the losses around it.

    Example: a line is its own fit.
      >>> print(*(a.round(6) for a in _fitted(np.array([1.0, 2.0, 3.0]))))
      [1. 2. 3.] [1. 1. 1.]
    """
    places = np.arange(len(losses), dtype=float)
    away = places[None] - places[:, None]
    weights = np.exp(-0.5 * (away / _WIDTH) ** 2)
    weights /= weights.sum(1, keepdims=True)
    x, y = (weights * away).sum(1), weights @ losses
    slope = ((weights * away) @ losses - x * y) / np.maximum((weights * away**2).sum(1) - x**2, 1e-12)
    return y - slope * x, slope
