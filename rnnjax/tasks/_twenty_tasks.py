"""Twenty cognitive tasks that one network learns together: reaches, decisions and matches on two rings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import check_number, check_size
from rnnjax.base._arguments import check_array, check_list
from rnnjax.data import Batch
from rnnjax.tasks._ring_trials import (
    BOTH,
    DELAY,
    DRAWS,
    FIRST,
    FIRST_ALONE,
    FIXATION,
    RESPONSE,
    SECOND,
    SECOND_ALONE,
    STIMULUS,
    Trial,
    trial,
)
from rnnjax.tasks._synthetic import Task

_REACH, _DECISION, _MATCH = range(3)
_LONGEST: dict[int, tuple[int, ...]] = {
    _REACH: (2200, 2500, 2900),
    _DECISION: (2000, 3700),
    _MATCH: (2800, 2800),
}  # before the response
# The family, its variant and the variant of that; `_LONGEST` of a reach goes by the former.
_RULES: dict[str, tuple[int, int, int]] = {
    "go": (_REACH, FIXATION, 0),
    "rt_go": (_REACH, STIMULUS, 0),
    "dly_go": (_REACH, DELAY, 0),
    "anti": (_REACH, FIXATION, 1),
    "rt_anti": (_REACH, STIMULUS, 1),
    "dly_anti": (_REACH, DELAY, 1),
    "dm_1": (_DECISION, FIRST_ALONE, 0),
    "dm_2": (_DECISION, SECOND_ALONE, 0),
    "ctx_dm_1": (_DECISION, FIRST, 0),
    "ctx_dm_2": (_DECISION, SECOND, 0),
    "multsen_dm": (_DECISION, BOTH, 0),
    "dly_dm_1": (_DECISION, FIRST_ALONE, 1),
    "dly_dm_2": (_DECISION, SECOND_ALONE, 1),
    "ctx_dly_dm_1": (_DECISION, FIRST, 1),
    "ctx_dly_dm_2": (_DECISION, SECOND, 1),
    "multsen_dly_dm": (_DECISION, BOTH, 1),
    "dms": (_MATCH, 0, 1),
    "dnms": (_MATCH, 0, 0),
    "dmc": (_MATCH, 1, 1),
    "dnmc": (_MATCH, 1, 0),
}
TWENTY_TASKS = tuple(_RULES)
_TAU, _GRACE = 100, 100  # milliseconds: the time constant of the network, and what never counts
_QUIET, _LOUD = 0.05, 0.8  # targets of units at rest and at their best direction


class Reply(NamedTuple):
    """What is wanted at each step of `twenty_tasks`.

    Attributes:
      output: `[T, 1 + units]`, the fixation unit and then the ring.
      weight: `[T, 1 + units]`, how much the squared error of each counts.
    """

    output: jax.Array
    weight: jax.Array


def twenty_tasks(rules: Sequence[str] = TWENTY_TASKS, step: int = 20, units: int = 32, noise: float = 0.01) -> Task:
    """Returns the twenty tasks of a network that learns many: each trial is one of them, and a rule input says which.

        x_t = (fixation, first ring, second ring, one-hot rule) + noise sqrt(2 tau / step) N(0, 1),  tau = 100 ms
        a stimulus at angle a on a ring: strength 0.8 exp(-(a - a_i)^2 / (2 (pi / 8)^2)) at the unit of direction a_i
        y_t: fixation 0.8 and a ring of 0.05; from the response on, fixation 0.05 and a bump of 0.8 in its direction

    - go, rt_go, dly_go: to the stimulus when fixation disappears, when the stimulus appears, or after a delay.
    - anti, rt_anti, dly_anti: the same, to the opposite direction.
    - dm_1, dm_2: two stimuli on the first or the second ring; to the stronger one. Half their difference is 0.01,
      0.02, 0.04 or 0.08.
    - ctx_dm_1, ctx_dm_2: on both rings; one counts. multsen_dm: the sum of both counts.
    - dly_dm_1, dly_dm_2, ctx_dly_dm_1, ctx_dly_dm_2, multsen_dly_dm: the same, one stimulus after the other.
    - dms, dnms: to the second stimulus if it has (has not) the direction of the first. dmc, dnmc: its half of the ring.

    Fixation otherwise. The error counts 5 times in the response, and twice at the fixation unit; the first 100 ms of a
    trial and of a response do not count. A trial ends 500 ms after its response began; inputs are zero from there to
    the end of the longest trial. Timings and strengths are those of the authors' published code, in which the response
    of dmc and dnmc is 200 to 600 ms. The baseline is nan: the best loss without memory has no closed form.

    Args:
      rules: the tasks to draw from, all equally likely.
      step: the time between two inputs in milliseconds, from 1 to 100; 20 in the paper.
      units: the number of units of a ring.
      noise: sigma_x of the paper.

    Returns:
      A task of x `[T, 1 + 2 units + rules]`, y a `Reply`; the mask is true where the weight is not zero.

    Raises:
      ValueError: a rule is unknown or there is none.

    Example:
      >>> import jax
      >>> batch = twenty_tasks(["go", "anti"], noise=0.0).sample(jax.random.key(0))
      >>> batch.x.shape, batch.y.output.shape  # 2,700 ms; 1 + 2 x 32 + 2
      ((135, 67), (135, 33))

    Reference: Yang, Joglekar, Song, Newsome, Wang, Task representations in neural networks trained to perform many
    cognitive tasks, 2019.
    """
    _check(rules, step, units, noise)
    variants = np.array([_RULES[rule] for rule in rules])
    length, sigma = max(map(_longest, rules)) // step, noise * math.sqrt(2 * _TAU / step)

    def sample(key: jax.Array) -> Batch:
        k_rule, k_trial, k_noise = jax.random.split(key, 3)
        rule = jax.random.randint(k_rule, (), 0, len(rules))
        shown = trial(jax.random.uniform(k_trial, (DRAWS,)), *jnp.asarray(variants)[rule])
        t = jnp.arange(length)
        end = _at(shown.go, step) + RESPONSE // step
        x = jnp.concatenate(
            [_inputs(shown, t, step, units), jnp.tile(jax.nn.one_hot(rule, len(rules)), (length, 1))], 1
        )
        x = jnp.where((t < end)[:, None], x + sigma * jax.random.normal(k_noise, x.shape), 0.0)
        reply = _reply(shown, t, step, units)
        return Batch(x, reply, reply.weight[:, 0] > 0)

    return Task(sample, math.nan)


def _check(rules: Sequence[str], step: int, units: int, noise: float) -> None:
    """Refuses what no trial can have."""
    check_list("twenty_tasks: rules", rules, str, some=True)
    unknown = [rule for rule in rules if rule not in _RULES]
    if unknown or len(set(rules)) < len(rules):
        fault = f"unknown {unknown[0]!r:.40}" if unknown else "the same rule twice"
        raise ValueError(f"twenty_tasks: rules are different ones of {', '.join(TWENTY_TASKS)}; got {fault}")
    check_size("twenty_tasks: step", step)
    check_size("twenty_tasks: units", units, 2)
    check_number("twenty_tasks: noise", noise, 0)
    if step > _GRACE:
        raise ValueError(f"twenty_tasks: step is at most {_GRACE} ms, the time before a response counts, got {step}")


def _longest(rule: str) -> int:
    """Returns the longest trial of a rule, in milliseconds."""
    family, variant, sub = _RULES[rule]
    return _LONGEST[family][variant if family == _REACH else sub] + RESPONSE


def _bumps(angle: jax.Array, units: int) -> jax.Array:
    """Returns the activity of a ring for angles `[...]`, as `[..., units]`."""
    gap = jnp.abs(jnp.expand_dims(angle, -1) - _directions(units, jnp.ndim(angle)))
    return _LOUD * jnp.exp(-0.5 * (jnp.minimum(gap, 2 * math.pi - gap) / (math.pi / 8)) ** 2)


def _at(time: jax.Array, step: int) -> jax.Array:
    """Returns the step of a time in milliseconds."""
    return (time / step).astype(jnp.int32)


def _inputs(shown: Trial, t: jax.Array, step: int, units: int) -> jax.Array:
    """Returns the fixation input and both rings, `[T, 1 + 2 units]`."""
    on, off = (_at(times, step)[None] for times in (shown.on, shown.off))
    visible = ((t[:, None] >= on) & (t[:, None] < off)).astype(jnp.float32)
    rings = jnp.einsum("ts,sr,su->tru", visible, shown.strength, _bumps(shown.angle, units))
    fixation = (t < _at(shown.released, step)).astype(jnp.float32)
    return jnp.concatenate([fixation[:, None], rings.reshape(len(t), 2 * units)], axis=1)


def _reply(shown: Trial, t: jax.Array, step: int, units: int) -> Reply:
    """Returns the targets and their weights."""
    go, grace = _at(shown.go, step), _GRACE // step
    before, after = (t >= grace) & (t < go), (t >= go + grace) & (t < go + RESPONSE // step)
    moving = ((t >= go) & shown.moves)[:, None]
    fixation = jnp.where(moving, _QUIET, _LOUD)
    ring = _QUIET + jnp.where(moving, _bumps(shown.response, units)[None], 0.0)
    weight = jnp.where(before, 1.0, jnp.where(after, 5.0, 0.0))[:, None]
    return Reply(
        jnp.concatenate([fixation, ring], axis=1), jnp.concatenate([2 * weight, jnp.tile(weight, (1, units))], axis=1)
    )


def right_response(output: jax.Array, wanted: jax.Array) -> jax.Array:
    """Returns whether responses of `twenty_tasks` are correct: fixation is kept, or left for the right direction.

        fixation kept: output_0 > 0.5      direction: the angle of sum_i output_i exp(j a_i), right within pi / 5

    The paper looks at the last step of a trial.

    Args:
      output: `[..., 1 + units]`, after the sigmoid.
      wanted: `[..., 1 + units]`, of a `Reply`.

    Returns:
      booleans `[...]`

    Raises:
      ValueError: the shapes differ, or there is no ring.

    Example:
      >>> import jax.numpy as jnp
      >>> wanted = jnp.array([0.05, 0.85, 0.05, 0.05, 0.05])
      >>> print(right_response(jnp.array([[0.1, 0.9, 0.1, 0, 0], [0.9, 0.9, 0.1, 0, 0], [0.1, 0, 0.9, 0, 0]]),
      ...                      jnp.tile(wanted, (3, 1))))
      [ True False False]
    """
    output, wanted = check_array("right_response: output", output), check_array("right_response: wanted", wanted)
    if jnp.shape(output) != jnp.shape(wanted) or jnp.ndim(output) < 1 or jnp.shape(output)[-1] < 3:
        shapes = f"{list(jnp.shape(output))} and {list(jnp.shape(wanted))}"
        raise ValueError(f"right_response takes output and wanted [..., 1 + units] with at least 2 units, got {shapes}")
    output, wanted = jnp.asarray(output), jnp.asarray(wanted)
    gap = jnp.abs(_direction(output[..., 1:]) - _direction(wanted[..., 1:]))
    near = jnp.minimum(gap, 2 * math.pi - gap) < math.pi / 5
    kept, keep = output[..., 0] > 0.5, wanted[..., 0] > 0.5
    return jnp.where(keep, kept, near & ~kept)


def _direction(ring: jax.Array) -> jax.Array:
    """Returns the angle of the population vector of activities `[..., units]`."""
    angles = _directions(ring.shape[-1], ring.ndim - 1)
    return jnp.arctan2((ring * jnp.sin(angles)).sum(-1), (ring * jnp.cos(angles)).sum(-1))


def _directions(units: int, axes: int) -> jax.Array:
    """Returns the directions of the units of a ring, `[units]`, after some axes of size 1."""
    return jnp.linspace(0, 2 * math.pi, units, endpoint=False).reshape((1,) * axes + (units,))
