"""The flip-flop task: a network remembers the last pulse on each of three wires, and its fixed points show how.

It trains on fresh random pulses. Look at the fixed points without pulses: a trained network has a stable point for each
of the eight memories, and unstable ones between them.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from rnnjax import app, dynamics, losses, plotting, tasks
from rnnjax.base import PyTree
from rnnjax.runs import print_table
from rnnjax.tasks import task_stream

FLAGS = app.common_flags(
    cell="gru,vanilla",
    hidden_size="24",
    learning_rate=1e-2,
    schedule="cosine",
    final_rate=0.01,
    batch_size=64,
    num_steps=2000,
    log_every=20,
    eval_every=500,
    checkpoint_every=500,
)
flags.DEFINE_integer("length", 40, "Steps per sequence.", 2, flag_values=FLAGS)
flags.DEFINE_integer("bits", 3, "Number of wires, with one bit to remember each.", 1, 6, flag_values=FLAGS)
flags.DEFINE_float("rate", 0.2, "Probability of a pulse per wire and step.", 0, 1, flag_values=FLAGS)
flags.DEFINE_integer("starts", 1000, "Starting points of the search for fixed points.", 10, flag_values=FLAGS)
flags.DEFINE_float("tolerance", 1e-4, "How far a step may move a fixed point.", 0, flag_values=FLAGS)

DRIVEN, SETTLING = 1000, 100  # steps of inputs for the Lyapunov exponents, and those discarded before
SHOWN = 12  # trajectories in the picture


def network(config: app.Config) -> rnnjax.Cell:
    """Returns a network from pulses to the remembered bits."""
    return rnnjax.stack(config.layers(), rnnjax.linear(config.bits))


def build(config: app.Config) -> app.Setup:
    """Builds the flip-flop task on fresh pulses."""
    if config.hidden_size < 3:
        raise ValueError(f"--hidden_size={config.hidden_size}: the picture of the states needs three units")
    task = tasks.flipflop(config.length, config.bits, config.rate)
    return app.Setup(
        cell=rnnjax.unroll(network(config)),
        objective=losses.regress,
        train=task_stream(task, config.batch_size),
        valid=task_stream(task, config.batch_size, config.eval_batches),
        baseline=task.baseline,
        baseline_name="sees the present pulse alone",
        loss_label="mean squared error",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Finds the fixed points without pulses and draws them; computes Lyapunov exponents under pulses."""
    config, cell = result.config, network(result.config)
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    batch = tasks.flipflop(config.length, config.bits, config.rate).batch(key, 100)
    states = jax.jit(jax.vmap(lambda xs: dynamics.trajectory(cell, result.params, xs)[1][1:]))(batch.x)
    begun = time.perf_counter()
    starts = between(key, states.reshape(-1, states.shape[-1]), config.starts)
    points = points_at_rest(cell, result.params, config, starts)
    seconds = time.perf_counter() - begun
    memories = stable_memories(cell, result.params, config, points)
    rates = exponents(cell, result.params, config)
    counts = {str(n): int((points.unstable == n).sum()) for n in np.unique(points.unstable)}
    print_summary(config, points, f"from {config.starts:,} starts in {seconds:.1f} s", memories, rates)
    picture = f"{result.summary['workdir']}/points.{config.picture}"
    title = f"{config.cell}, {config.hidden_size} units: {len(points.h)} fixed points"
    plotting.save(picture, plotting.draw_projection(np.asarray(states[:SHOWN]), points.h, points.unstable, title))
    print(f"points: {picture}")
    return {"points": counts, "memories": memories, "seconds_of_search": seconds, "exponents": rates}


def points_at_rest(cell: rnnjax.Cell, params: PyTree, config: app.Config, starts: jax.Array) -> dynamics.Points:
    """Returns the fixed points of the network without pulses."""
    quiet = jnp.zeros(config.bits)
    advance = dynamics.as_map(cell, params, quiet)[0]
    return dynamics.fixed_points(lambda h: advance(h, quiet), starts, tolerance=config.tolerance)


def stable_memories(cell: rnnjax.Cell, params: PyTree, config: app.Config, points: dynamics.Points) -> int:
    """Returns how many bit patterns the network outputs at its stable points."""
    quiet = jnp.zeros(config.bits)
    carry = dynamics.as_map(cell, params, quiet)[2]
    read = jax.jit(jax.vmap(lambda h: cell.step(cell.weights(params), carry(h), quiet, None)[1]))
    outputs = np.asarray(read(jnp.asarray(points.h)))
    return len({tuple(np.sign(y).astype(int).tolist()) for y in outputs[points.unstable == 0]})


def print_summary(config: app.Config, points: dynamics.Points, search: str, memories: int, rates: list[float]) -> None:
    """Prints the table of fixed points and a summary."""
    kinds = [(int(n), points.unstable == n) for n in np.unique(points.unstable)]
    rows = [{"unstable directions": n, "points": int(own.sum()), **span(points, own)} for n, own in kinds]
    print_table(rows, title=f"{config.cell}: fixed points without a pulse, {search}")
    print(
        f"{config.cell}: {memories} of {2**config.bits} memories have a stable point of their own; "
        f"largest Lyapunov exponents under pulses: {', '.join(f'{r:.2f}' for r in rates[:3])} nats a step"
    )


def between(key: jax.Array, states: jax.Array, n: int) -> jax.Array:
    """Returns starting points: perturbed visited states, and states between two of them, where saddles lie."""
    ka, kb, km, kn = jax.random.split(key, 4)
    a, b = (states[jax.random.randint(k, (n,), 0, len(states))] for k in (ka, kb))
    mix = jnp.where(jnp.arange(n)[:, None] % 2 == 0, 0.0, jax.random.uniform(km, (n, 1)))
    return a + mix * (b - a) + 0.3 * states.std() * jax.random.normal(kn, a.shape)


def span(points: dynamics.Points, which: np.ndarray) -> dict[str, Any]:
    """Returns the range of the largest eigenvalue modulus of some points, and how many starts led to them."""
    radii = abs(points.eigenvalues[which, 0])
    spread = f"{radii.min():.3f} to {radii.max():.3f}"
    return {"largest modulus": spread, "starts": int(points.starts[which].sum())}


def exponents(cell: rnnjax.Cell, params: PyTree, config: app.Config) -> list[float]:
    """Returns the Lyapunov exponents of the trained network under pulses."""
    task = tasks.flipflop(DRIVEN, config.bits, config.rate)
    xs = task.sample(jax.random.fold_in(jax.random.key(config.seed), 2)).x
    rates = jax.jit(lambda p: dynamics.cell_lyapunov(cell, p, xs, discard=SETTLING))(params)
    return [float(r) for r in rates]


EXPERIMENT = app.Experiment(build, FLAGS, finish=finish, free=("starts", "tolerance"), description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
