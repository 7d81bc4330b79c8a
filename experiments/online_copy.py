"""Online learning of the copy task: an update at every step, and longer sequences once the current ones are mastered.

Each rule in `--rules` trains each cell on a stream of random bits to copy. Look at the level that it reaches, the
number of bits that it copies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from absl import flags
from jax import lax

import rnnjax
from rnnjax import app, losses
from rnnjax.app import Setup, build_setup, resolve
from rnnjax.base import PyTree, UserError, tree_where
from rnnjax.data import Batch, Stream
from rnnjax.estimators import RULES, Estimator
from rnnjax.losses import Mean
from rnnjax.plotting import Run, draw_curves
from rnnjax.runs import ProgressBar, Workdir, print_table

FLAGS = app.study_flags(cell="lstm", hidden_size="16")
flags.DEFINE_list("rules", ["rtrl", "snap1", "uoro", "tbptt"], "Rules to compare.", flag_values=FLAGS)
flags.DEFINE_integer("truncation", 1, "Steps between updates.", 1, flag_values=FLAGS)
flags.DEFINE_integer("time_steps", 50000, "Steps of the stream.", 100, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 8, "Number of parallel streams.", 1, flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 3e-3, "Learning rate of Adam.", 0.0, flag_values=FLAGS)
flags.DEFINE_float("mastered", 0.15, "Bits per symbol below which the level rises.", 0.0, flag_values=FLAGS)
flags.DEFINE_integer("judged", 1000, "Number of symbols in that mean.", 1, flag_values=FLAGS)

LONGEST, POINTS = 64, 100
CUE, BLANK = 2, 3


class Place(NamedTuple):
    """The position of each stream: step in its sequence `[B]`, bits to copy `[B, LONGEST]`, number of bits `[B]`."""

    step: jax.Array
    bits: jax.Array
    length: jax.Array


class Learner(NamedTuple):
    """The state of a run: level, running loss at this level, and training state."""

    level: jax.Array
    seen: Mean
    place: Place
    params: PyTree
    opt_state: PyTree
    state: PyTree


def token(place: Place) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns input, target and mask of the current step: the bits, the cue, then blanks while the bits are due."""
    at, n = place.step, place.length
    asked = at - n - 1
    x = jnp.where(at < n, pick_bit(place.bits, at), jnp.where(at == n, CUE, BLANK))
    return x, pick_bit(place.bits, asked), asked >= 0


def pick_bit(bits: jax.Array, at: jax.Array) -> jax.Array:
    """Returns one bit of each row."""
    return jnp.take_along_axis(bits, jnp.clip(at, 0, LONGEST - 1)[:, None], axis=1)[:, 0]


def advance(place: Place, level: jax.Array, key: jax.Array) -> Place:
    """Advances one step; a finished sequence is followed by one of the current level."""
    bits = jax.random.randint(key, place.bits.shape, 0, 2)
    fresh = Place(jnp.zeros_like(place.step), bits, jnp.broadcast_to(level, place.length.shape))
    return tree_where(place.step == 2 * place.length, fresh, place._replace(step=place.step + 1))


def next_steps(place: Place, level: jax.Array, key: jax.Array, window: int) -> tuple[Batch, Place]:
    """Returns a few steps of every stream; the first step of a new sequence is marked, to reset the carry there."""

    def body(place: Place, key: jax.Array) -> tuple[Place, tuple[jax.Array, ...]]:
        return advance(place, level, key), (*token(place), place.step == 0)

    place, (x, y, mask, first) = lax.scan(body, place, jax.random.split(key, window))
    x, y, mask, first = (jnp.moveaxis(a, 0, 1) for a in (x, y, mask, first))
    return Batch(rnnjax.Seq(x, first=first), y, mask, jnp.zeros(len(x), bool)), place


def build(config: app.Config) -> app.Setup:
    """Builds the network of the flags' layers from four symbols to two."""
    if config.dropout:
        raise UserError("--dropout: this comparison does not use dropout")
    net = rnnjax.stack(rnnjax.one_hot(4, config.dtype), config.layers(), rnnjax.linear(2))
    return app.Setup(rnnjax.unroll(net), losses.classify, Stream(lambda data: (), stop))


def stop(*args: Any) -> Any:
    """Raises an error: the stream depends on the training progress, and the loop below makes it."""
    raise NotImplementedError


def initial_state(config: app.Config, setup: Setup, estimator: Estimator, optimizer: Any, key: jax.Array) -> Learner:
    """Returns the initial state, at level 1."""
    b, one = config.batch_size, jnp.ones((), jnp.int32)
    place = Place(jnp.zeros(b, jnp.int32), jax.random.randint(key, (b, LONGEST), 0, 2), jnp.full(b, one))
    batch, _ = next_steps(place, one, key, config.truncation)
    params = setup.cell.init(key, jax.tree.map(lambda a: a[0], batch.x))
    nothing = jnp.zeros((), config.dtype)
    return Learner(one, Mean(nothing, nothing), place, params, optimizer.init(params), estimator.init(params, batch))


def learning(config: app.Config, setup: Setup, rule: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns (key -> Learner, (Learner, keys) -> Learner)."""
    estimator = resolve("rules", rule, RULES)(setup.cell, setup.objective, config.truncation)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(config.learning_rate))

    def step(now: Learner, key: jax.Array) -> tuple[Learner, None]:
        draw, noise = jax.random.split(key)
        batch, place = next_steps(now.place, now.level, draw, config.truncation)
        estimate, state = estimator.grad(now.params, now.state, batch, noise)
        updates, opt_state = optimizer.update(estimate.mean_grads(), now.opt_state, now.params)
        seen = jax.tree.map(jnp.add, now.seen, estimate.metrics["loss"])
        judged = seen.weight >= config.judged
        better = judged & (seen.total / math.log(2) < config.mastered * seen.weight)
        level = jnp.minimum(now.level + better, LONGEST)
        params = optax.apply_updates(now.params, updates)
        return Learner(
            level, tree_where(judged, jax.tree.map(jnp.zeros_like, seen), seen), place, params, opt_state, state
        ), None

    return lambda key: initial_state(config, setup, estimator, optimizer, key), lambda now, keys: lax.scan(
        step, now, keys
    )[0]


def levels(config: app.Config, setup: Setup, rule: str, bar: Callable[[int], None]) -> list[int]:
    """Returns the level at regular points of training."""
    init, steps = (jax.jit(f) for f in learning(config, setup, rule))
    key = jax.random.key(config.seed)
    now, found = init(key), [1]
    for i in range(POINTS):
        keys = jax.random.split(jax.random.fold_in(key, i), max(1, config.time_steps // config.truncation // POINTS))
        now = steps(now, keys)
        found.append(int(now.level))
        bar(i + 1)
    return found


def compare(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Trains every cell with every rule, draws the levels and prints the table."""
    found: dict[str, list[int]] = {}
    for cell, config in configs.items():
        setup = build_setup(build, config)
        for rule in config.rules:
            name = f"{cell}, {rule}" if len(configs) > 1 else rule
            with ProgressBar(POINTS, name) as bar:
                found[name] = levels(config, setup, rule, bar.update)
    config = next(iter(configs.values()))
    steps = [i * config.time_steps / POINTS for i in range(POINTS + 1)]
    drawn = {name: Run(valid_steps=steps, valid=level) for name, level in found.items()}
    figure = draw_curves(drawn, ylabel="level: bits to copy", xlabel="step of the stream", title="online copy")
    rows = [{"rule": name, "level": level[-1]} for name, level in found.items()]
    print_table(rows, title=f"level (bits to copy) after {config.time_steps:,} steps")
    return app.Findings({"levels": found}, {"curves": figure})


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that no network can be trained with."""
    for config in configs.values():
        for rule in config.rules:
            init, _ = learning(config, build_setup(build, config), rule)
            jax.eval_shape(init, jax.random.key(0))


EXPERIMENT = app.Study(compare, FLAGS, description=__doc__, check=check)

if __name__ == "__main__":
    app.main(EXPERIMENT)
