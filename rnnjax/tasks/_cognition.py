"""Cognitive tasks of neuroscience: evidence, rules and memories, with an answer after a cue to go.

Each trial has noise, and an answer in the last steps, when the stimulus is over. Inputs are real; answers are classes.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from rnnjax.base import check_number, check_positive, check_size
from rnnjax.data import Batch
from rnnjax.tasks._synthetic import Task

_ANSWERING = 3  # steps of the cue to go, which all count
COHERENCES = (0.0625, 0.125, 0.25, 0.5)  # mean evidence of a step, in units in which 1 is the largest


def _trial(stimulus: jax.Array, answer: jax.Array, noise: float, key: jax.Array) -> Batch:
    """Returns a trial: the stimulus `[T, channels]` with noise and a channel of the cue, then the steps that count."""
    steps = len(stimulus) + _ANSWERING
    x = jnp.concatenate([stimulus, jnp.zeros((_ANSWERING, stimulus.shape[1]))])
    x = x + noise * jax.random.normal(key, x.shape)
    go = jnp.arange(steps) >= len(stimulus)
    x = jnp.concatenate([x, go[:, None].astype(x.dtype)], axis=1)
    return Batch(x, jnp.full(steps, answer), go)


def _evidence(key: jax.Array, coherence: float | None) -> jax.Array:
    """Returns the mean evidence of a trial: as given, or of either sign and any of `COHERENCES`."""
    if coherence is not None:
        return jnp.asarray(coherence, jnp.float32)
    k_sign, k_size = jax.random.split(key)
    return jax.random.rademacher(k_sign, (), jnp.float32) * jax.random.choice(k_size, jnp.array(COHERENCES))


def _check(name: str, noise: float, **steps: int) -> None:
    """Refuses lengths and noise that no trial can have."""
    check_number(f"{name}: noise", noise, 0)
    for what, value in steps.items():
        check_size(f"{name}: {what}", value)


def perceptual_decision(length: int = 20, noise: float = 1.0, coherence: float | None = None) -> Task:
    """Returns a task to tell the sign of noisy evidence, as of dots that move to the left or to the right.

        x_t = (evidence + noise, go), `length` steps of evidence, then the cue      y = 0 or 1: evidence above 0

    Channels of x: evidence, go. The loss is the cross-entropy in nats after the cue; without memory it is ln 2. The
    best accuracy at evidence c is that of its sum, Phi(sqrt(length) |c| / noise): `ideal_accuracy`.

    Args:
      length: the steps of evidence.
      noise: the standard deviation of the noise of a step.
      coherence: the evidence; None: either sign of 1/16, 1/8, 1/4 or 1/2.

    Returns:
      A task of x `[T, 2]`, y integers `[T]`, with T = length + 3; the last 3 steps count.

    Example:
      >>> import jax
      >>> batch = perceptual_decision(4, noise=0.0, coherence=-0.5).sample(jax.random.key(0))
      >>> print(batch.x[:, 0], batch.y[-1])
      [-0.5 -0.5 -0.5 -0.5  0.   0.   0. ] 0

    Reference: Britten, Shadlen, Newsome, Movshon, The analysis of visual motion: a comparison of neuronal and
    psychophysical performance, 1992.
    """
    _check("perceptual_decision", noise, length=length)
    check_number("perceptual_decision: coherence", 0 if coherence is None else coherence)

    def sample(key: jax.Array) -> Batch:
        ke, kn = jax.random.split(key)
        c = _evidence(ke, coherence)
        return _trial(jnp.full((length, 1), c), (c > 0).astype(jnp.int32), noise, kn)

    return Task(sample, math.log(2))


def context_integration(
    length: int = 20, noise: float = 1.0, coherence: float | None = None, other: float | None = None
) -> Task:
    """Returns a task to tell the sign of one of two streams of evidence; a context says which, at every step.

        x_t = (motion + noise, colour + noise, context one-hot, go)      y = 0 or 1: the stream of the context above 0

    The context has noise, too. The loss is the cross-entropy in nats after the cue, when the context is over; without
    memory it is ln 2. The best accuracy is `ideal_accuracy` where the context is certain.

    Args:
      length: the steps of evidence.
      noise: the standard deviation of the noise of a step.
      coherence: the evidence of the stream that counts; None: as in `perceptual_decision`.
      other: the evidence of the other stream; None: the same, independently.

    Returns:
      A task of x `[T, 5]`, y integers `[T]`, with T = length + 3; the last 3 steps count.

    Example:
      >>> import jax
      >>> batch = context_integration(4, noise=0.0, coherence=0.5, other=-0.25).sample(jax.random.key(0))
      >>> print(batch.x[0], batch.y[-1])
      [-0.25  0.5   0.    1.    0.  ] 1

    Reference: Mante, Sussillo, Shenoy, Newsome, Context-dependent computation by recurrent dynamics in prefrontal
    cortex, 2013.
    """
    _check("context_integration", noise, length=length)
    for what, value in (("coherence", coherence), ("other", other)):
        check_number(f"context_integration: {what}", 0 if value is None else value)

    def sample(key: jax.Array) -> Batch:
        kc, ko, kx, kn = jax.random.split(key, 4)
        c, context = _evidence(kc, coherence), jax.random.randint(kx, (), 0, 2)
        streams = jnp.where(jnp.arange(2) == context, c, _evidence(ko, other))
        stimulus = jnp.concatenate([streams, jax.nn.one_hot(context, 2)])
        return _trial(jnp.tile(stimulus[None], (length, 1)), (c > 0).astype(jnp.int32), noise, kn)

    return Task(sample, math.log(2))


def delayed_match(delay: int = 10, directions: int = 8, noise: float = 0.1) -> Task:
    """Returns a task to tell whether a test is the sample of some steps before.

        x_t = (cos, sin of the sample) 5 steps; nothing, `delay` steps; (cos, sin of the test) 5 steps; the cue
        y = 1: the same direction; 0: another

    Channels of x: cos, sin, go. Half of the tests match. The loss is the cross-entropy in nats after the cue; without
    memory it is ln 2.

    Args:
      delay: the steps between the sample and the test.
      directions: the number of directions, at least 2.
      noise: the standard deviation of the noise of a step.

    Returns:
      A task of x `[T, 3]`, y integers `[T]`, with T = delay + 13; the last 3 steps count.

    Raises:
      ValueError: there is one direction only.

    Example:
      >>> import jax, numpy as np
      >>> batch = delayed_match(2, 4, noise=0.0).sample(jax.random.key(0))
      >>> bool(np.allclose(batch.x[0, :2], batch.x[7, :2], atol=1e-6)) == bool(batch.y[-1])
      True

    Reference: Miyashita, Chang, Neuronal correlate of pictorial short-term memory in the primate temporal cortex, 1988.
    """
    _check("delayed_match", noise, delay=delay)
    check_size("delayed_match: directions", directions, 2)

    def sample(key: jax.Array) -> Batch:
        ks, km, ko, kn = jax.random.split(key, 4)
        first, match = jax.random.randint(ks, (), 0, directions), jax.random.bernoulli(km)
        second = jnp.where(match, first, (first + jax.random.randint(ko, (), 1, directions)) % directions)
        stimulus = jnp.concatenate(
            [_direction_input(first, directions), jnp.zeros((delay, 2)), _direction_input(second, directions)]
        )
        return _trial(stimulus, match.astype(jnp.int32), noise, kn)

    return Task(sample, math.log(2))


def _direction_input(direction: jax.Array, directions: int) -> jax.Array:
    """Returns a direction for five steps, `[5, 2]`."""
    angle = 2 * math.pi / directions * direction.astype(jnp.float32)
    return jnp.tile(jnp.stack([jnp.cos(angle), jnp.sin(angle)])[None], (5, 1))


def delayed_comparison(delay: int = 10, gap: float = 0.2, noise: float = 0.1) -> Task:
    """Returns a task to tell which of two values was larger, as of two vibrations with a delay between them.

        x_t = f1, 5 steps; nothing, `delay` steps; f2, 5 steps; the cue      y = 1: f1 > f2; 0: f1 < f2

    Channels of x: value, go. The mean of f1 and f2 is uniform from -1 to 1. The loss is the cross-entropy in nats
    after the cue; without memory it is ln 2.

    Args:
      delay: the steps between the values.
      gap: |f1 - f2|, above 0.
      noise: the standard deviation of the noise of a step.

    Returns:
      A task of x `[T, 2]`, y integers `[T]`, with T = delay + 13; the last 3 steps count.

    Example:
      >>> import jax
      >>> batch = delayed_comparison(2, noise=0.0).sample(jax.random.key(0))
      >>> bool(batch.x[0, 0] > batch.x[7, 0]) == bool(batch.y[-1])
      True

    Reference: Romo, Brody, Hernandez, Lemus, Neuronal correlates of parametric working memory in the prefrontal cortex,
    1999.
    """
    _check("delayed_comparison", noise, delay=delay)
    check_positive("delayed_comparison: gap", gap)

    def sample(key: jax.Array) -> Batch:
        km, ks, kn = jax.random.split(key, 3)
        mean, sign = jax.random.uniform(km, (), minval=-1), jax.random.rademacher(ks, (), jnp.float32)
        first, second = mean + sign * gap / 2, mean - sign * gap / 2
        stimulus = jnp.concatenate([jnp.full((5, 1), first), jnp.zeros((delay, 1)), jnp.full((5, 1), second)])
        return _trial(stimulus, (sign > 0).astype(jnp.int32), noise, kn)

    return Task(sample, math.log(2))


def anti_reach(delay: int = 10, directions: int = 8, noise: float = 0.1) -> Task:
    """Returns a task to reach for a direction that was shown, or away from it if the rule says so.

        x_t = (cos, sin, rule) 5 steps; nothing, `delay` steps; the cue
        y = the direction, or the opposite one if the rule is 1

    Channels of x: cos, sin, rule, go. The loss is the cross-entropy in nats after the cue; without memory it is
    ln(directions).

    Args:
      delay: the steps between the stimulus and the cue.
      directions: the number of directions, an even number.
      noise: the standard deviation of the noise of a step.

    Returns:
      A task of x `[T, 4]`, y integers `[T]`, with T = delay + 8; the last 3 steps count.

    Raises:
      ValueError: the number of directions is odd.

    Example:
      >>> import jax
      >>> batch = anti_reach(2, 4, noise=0.0).sample(jax.random.key(1))
      >>> print(batch.x[0].round(2) + 0.0, batch.y[-1])
      [ 0. -1.  0.  0.] 3

    Reference: Hallett, Primary and secondary saccades to goals defined by instructions, 1978.
    """
    _check("anti_reach", noise, delay=delay)
    check_size("anti_reach: directions", directions, 2)
    if directions % 2:
        raise ValueError(f"anti_reach: directions is an even number, since each has its opposite, got {directions}")

    def sample(key: jax.Array) -> Batch:
        kd, kr, kn = jax.random.split(key, 3)
        direction, rule = jax.random.randint(kd, (), 0, directions), jax.random.randint(kr, (), 0, 2)
        shown = jnp.concatenate([_direction_input(direction, directions), jnp.full((5, 1), rule, jnp.float32)], axis=1)
        stimulus = jnp.concatenate([shown, jnp.zeros((delay, 3))])
        return _trial(stimulus, (direction + rule * directions // 2) % directions, noise, kn)

    return Task(sample, math.log(directions))


def ideal_accuracy(coherence: float, length: int, noise: float) -> float:
    """Returns the accuracy of the best observer of noisy evidence: that of the sign of its sum.

        Phi(sqrt(length) |coherence| / noise)

    Args:
      coherence: the mean evidence of a step.
      length: the steps of evidence.
      noise: the standard deviation of the noise of a step.

    Example:
      >>> round(ideal_accuracy(0.25, 16, 1.0), 4)  # Phi(1)
      0.8413
    """
    check_number("ideal_accuracy: coherence", coherence)
    check_size("ideal_accuracy: length", length, 0)
    check_number("ideal_accuracy: noise", noise, 0)
    if coherence == 0:
        return 0.5
    return 1.0 if noise == 0 else 0.5 * (1 + math.erf(math.sqrt(length / 2) * abs(coherence) / noise))
