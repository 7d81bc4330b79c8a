"""Forecasts of a chaotic system: a network learns the map of a system from its states and then runs by itself.

It trains to predict the next state on orbits of the Henon map, the gingerbread map, the Lorenz system or the 40 numbers
of Lorenz-96 (`--system`). With `--ridge` the readout is then fitted in closed form, as for a reservoir (`--cell=esn`).
Look at how many steps its own orbit stays close to the true one, and at its Lyapunov exponents beside those of the
system.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from rnnjax import app, cells, dynamics, losses, tasks
from rnnjax.app import resolve
from rnnjax.base import PyTree, UserError
from rnnjax.data import Batch
from rnnjax.tasks import task_stream

FLAGS = app.common_flags(
    cell="vanilla,vanilla,vanilla,vanilla",
    hidden_size="2,4,16,64",
    learning_rate=1e-2,
    schedule="cosine",
    final_rate=0.01,
    batch_size=32,
    num_steps=10000,
    eval_every=2000,
    log_every=200,
)
flags.DEFINE_string("system", "henon", "The system: henon, gingerbread, lorenz, lorenz96.", flag_values=FLAGS)
flags.DEFINE_integer("length", 30, "Steps per sequence.", 2, flag_values=FLAGS)
flags.DEFINE_integer("free", 60, "Steps that the trained network runs by itself.", 1, flag_values=FLAGS)
flags.DEFINE_float(
    "ridge", None, "Penalty with which the readout is fitted in closed form after the training.", 0, flag_values=FLAGS
)

BURN = 200  # steps to reach the attractor
ORBITS = 200  # orbits to forecast
FITTED, FITTED_STEPS = 16, 1000  # orbits for a readout in closed form, and their steps
SPECTRA = 16  # of them, whose ends start the runs for the network's own exponents
SHOWN = 4  # exponents in the line at the end; summary.json has all


class System(NamedTuple):
    """A system in its own units.

    Attributes:
      step: the map.
      start: orbits from near this state reach the attractor.
      mean, deviation: of the attractor.
      exponent: the largest Lyapunov exponent, per step.
    """

    step: Callable[[jax.Array], jax.Array]
    start: tuple[float, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    exponent: float


def repeated(step: Callable[[jax.Array], jax.Array], times: int) -> Callable[[jax.Array], jax.Array]:
    """Returns several small steps as one."""
    return lambda h: jax.lax.fori_loop(0, times, lambda _, h: step(h), h)


SYSTEMS = {
    "henon": System(dynamics.henon, (0.1, 0.1), (0.257, 0.077), (0.721, 0.216), 0.419),
    "gingerbread": System(dynamics.gingerbread, (0.5, 3.7), (1.2, 1.2), (2.6, 2.6), 0.075),
    "lorenz": System(
        repeated(dynamics.rk4(dynamics.lorenz, 0.02), 5), (1.0, 1.0, 20.0), (0.0, 0.0, 23.5), (7.9, 9.0, 8.6), 0.0906
    ),
    "lorenz96": System(dynamics.rk4(dynamics.lorenz96, 0.05), (8.0,) * 40, (2.34,) * 40, (3.64,) * 40, 0.084),
}


def orbits(system: System, key: jax.Array, steps: int) -> jax.Array:
    """Returns the states of one orbit on the attractor, `[steps, D]`, scaled to mean 0 and deviation 1."""
    mean, deviation = jnp.array(system.mean), jnp.array(system.deviation)
    start = jnp.array(system.start) + 1e-2 * jax.random.normal(key, mean.shape)
    states = dynamics.orbit(system.step, start, BURN + steps)[BURN:]
    return (states - jnp.broadcast_to(mean, states.shape)) / jnp.broadcast_to(deviation, states.shape)


def succession(system: System, length: int) -> tasks.Task:
    """x: an orbit `[length, D]`; y: the state after each."""

    def sample(key: jax.Array) -> Batch:
        states = orbits(system, key, length + 1)
        return Batch(states[:-1], states[1:])

    return tasks.Task(sample, 1.0)


def network(config: app.Config) -> rnnjax.Cell:
    """Returns a network from a state to the next."""
    system = resolve("system", config.system, SYSTEMS)
    return rnnjax.stack(config.layers(), rnnjax.linear(len(system.start)))


def build(config: app.Config) -> app.Setup:
    """Builds the network on fresh orbits."""
    task = succession(resolve("system", config.system, SYSTEMS), config.length)
    return app.Setup(
        cell=rnnjax.unroll(network(config)),
        objective=losses.regress,
        train=task_stream(task, config.batch_size),
        valid=task_stream(task, config.batch_size, config.eval_batches),
        baseline=task.baseline,
        baseline_name="always predicts the mean",
        loss_label="squared error of the next state / its variance",
    )


def readout_by_ridge(config: app.Config, params: PyTree) -> PyTree:
    """Returns the params of `network` with a readout of least squared error on orbits of their own."""
    system, layers = resolve("system", config.system, SYSTEMS), rnnjax.unroll(config.layers())

    def states(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        xs = orbits(system, key, config.length + FITTED_STEPS + 1)
        return rnnjax.run(layers, params[0], xs[:-1])[1][config.length :], xs[config.length + 1 :]

    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 2), FITTED)
    reached, targets = jax.jit(jax.vmap(states))(keys)
    readout = cells.ridge(reached, targets, config.ridge)
    if not all(np.isfinite(np.asarray(a)).all() for a in jax.tree.leaves(readout)):
        raise UserError(f"--ridge={config.ridge:g}: states of the network depend on each other; a larger one is wanted")
    return (params[0], readout)


def finish(result: app.Result) -> dict[str, Any]:
    """Reports how long the network's own orbit is accurate, beside a forecast that repeats the last state."""
    config = result.config
    system, cell = resolve("system", config.system, SYSTEMS), network(config)
    params = result.params if config.ridge is None else readout_by_ridge(config, result.params)

    def held(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        states = orbits(system, key, config.length + config.free)
        known, truth = states[: config.length], states[config.length :]
        alone = dynamics.free_run(cell, params, known, config.free)
        still = jnp.broadcast_to(known[-1], truth.shape)
        return dynamics.valid_time(alone, truth), dynamics.valid_time(still, truth)

    def rates(key: jax.Array) -> jax.Array:
        f, start = dynamics.left_alone(cell, params, orbits(system, key, config.length))
        return dynamics.lyapunov(f, start, 2000, 200, count=len(system.start))

    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), 1), ORBITS)
    exponents = np.median(jax.jit(jax.vmap(rates))(keys[:SPECTRA]), axis=0).astype(float).tolist()
    steps, still = (float(np.median(a)) for a in jax.jit(jax.vmap(held))(keys))
    more = f" and {len(exponents) - SHOWN} more" if len(exponents) > SHOWN else ""
    print(
        f"{config.cell} {config.hidden_size}: alone it is right for {steps:g} steps ({steps * system.exponent:.1f} "
        f"Lyapunov times), median of {ORBITS} orbits; staying where one is: {still:g}; its own Lyapunov exponents: "
        f"{', '.join(f'{e:.3f}' for e in exponents[:SHOWN])}{more}, nats a step (the system's largest: "
        f"{system.exponent:.3f})"
    )
    times = {"valid_lyapunov_times": steps * system.exponent, "valid_steps_of_staying": still}
    return {"valid_steps": steps} | times | {"exponents": exponents}


EXPERIMENT = app.Experiment(build, FLAGS, finish=finish, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
