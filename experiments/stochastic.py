"""Stochastic binary units, fully connected: learning a sequence by simulated annealing, and stored patterns.

The first network trains to follow a cycle of random patterns; a second one stores patterns by Hebb's rule and settles
from noisy ones, quenched or cooled slowly. Look at the fraction of wrong units of the first, and at how close the
second comes to a stored pattern.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from rnnjax import app, cells, estimators, losses, plotting, wrappers
from rnnjax.base import PyTree
from rnnjax.data import Batch, Stream
from rnnjax.estimators import exponential_cooling
from rnnjax.runs import print_table

FLAGS = app.common_flags(
    cell="experiments.stochastic:connected",
    hidden_size="8",
    rule="experiments.stochastic:annealed",
    optimizer="sgd",
    learning_rate=1.0,
    clip_norm=0.0,
    batch_size=16,
    num_steps=8000,
    log_every=200,
    eval_every=2000,
    checkpoint_every=4000,
)
flags.DEFINE_integer("length", 4, "Patterns in the sequence to learn.", 2, flag_values=FLAGS)
flags.DEFINE_integer("units", 64, "Units of the network that stores patterns.", 4, flag_values=FLAGS)
flags.DEFINE_integer("patterns", 4, "Number of stored patterns.", 1, flag_values=FLAGS)
flags.DEFINE_float("flipped", 0.25, "Fraction of a pattern that is wrong at the start.", 0, 0.5, flag_values=FLAGS)
flags.DEFINE_float("hot", 1.0, "Initial temperature of annealing.", 1e-3, flag_values=FLAGS)
flags.DEFINE_integer("sweeps", 60, "Sweeps over all units during cooling.", 2, flag_values=FLAGS)


def connected(hidden: int, temperature: float = 0.1) -> rnnjax.Cell:
    """A fully connected layer of stochastic units, whose outputs are its next inputs; the default of `--cell`."""
    return rnnjax.stack(rnnjax.linear(hidden), cells.binary(temperature))


def annealed(cell: rnnjax.Cell, objective: losses.Objective, window: int) -> estimators.Estimator:
    """The rule: large moves of a few weights. Losses are means over a batch, or the moves would follow its noise."""
    return estimators.anneal(cell, objective, exponential_cooling(0.01, 2000.0), scale=2.0, part=0.03)


def build(config: app.Config) -> app.Setup:
    """Builds a cycle of random patterns: trained with teacher forcing, scored in a free run."""
    n = config.hidden_size
    patterns = np.random.default_rng(config.seed).integers(0, 2, (config.length, n)).astype(np.float32)

    def examples(data: PyTree, position: PyTree, key: jax.Array) -> tuple[Batch, PyTree]:
        x, y = (jnp.broadcast_to(a, (config.batch_size, *a.shape)) for a in (patterns, np.roll(patterns, -1, axis=0)))
        return Batch(x, y), position

    stream = Stream(lambda data: (), examples)
    given, alone = (wrappers.sampling_schedule("constant", 1.0, last) for last in (1.0, 0.0))
    net = wrappers.scheduled_sampling(config.layers(), pick=lambda key, y: y)
    return app.Setup(
        cell=rnnjax.unroll(net),
        objective=losses.regress,  # of bits: the fraction of wrong units
        train=wrappers.with_sampling(stream, given),
        valid=wrappers.with_sampling(stream._replace(length=1), alone),
        baseline=float(np.minimum(patterns.mean(0), 1 - patterns.mean(0)).mean()),
        baseline_name="always the likelier value of each unit",
        loss_label="part of the units that is wrong",
    )


def run_until_stable(config: app.Config) -> dict[str, dict[str, Any]]:
    """Runs a network that stores patterns by Hebb's rule until it settles, quenched or cooled slowly."""
    n, runs = config.units, 200
    key = jax.random.key(config.seed)
    patterns = jax.random.bernoulli(jax.random.fold_in(key, 1), 0.5, (config.patterns, n)).astype(jnp.float32)
    u, z = cells.stored(patterns)
    cell = rnnjax.unroll(cells.boltzmann_core(n, None))
    slow = exponential_cooling(config.hot, config.sweeps / 5)(jnp.arange(config.sweeps))

    @jax.jit
    def overlaps(starts: jax.Array, temperatures: jax.Array) -> jax.Array:
        """|s . pattern| / n with the nearest pattern after each sweep; a pattern and its negative count as one."""
        xs = jnp.broadcast_to(z, (config.sweeps, n)), temperatures

        def one(h: jax.Array, key: jax.Array) -> jax.Array:
            hs = rnnjax.run(cell, {"u": u}, xs, h, key)[1]
            return jnp.abs((2 * hs - 1) @ (2 * patterns - 1).T / n).max(1)

        return jax.vmap(one)(starts, jax.random.split(jax.random.fold_in(key, 2), runs))

    noise = jax.random.bernoulli(jax.random.fold_in(key, 3), config.flipped, (runs, n))
    near = jnp.abs(patterns[jnp.arange(runs) % config.patterns] - noise)
    anywhere = jax.random.bernoulli(jax.random.fold_in(key, 4), 0.5, (runs, n)).astype(jnp.float32)
    quench = jnp.full(config.sweeps, 1e-3)
    found = {}
    for name, starts, heat in (
        (f"{config.flipped:.0%} wrong, quenched", near, quench),
        ("anywhere, quenched", anywhere, quench),
        ("anywhere, annealed", anywhere, slow),
    ):
        curves = overlaps(starts, heat)
        ends = curves[:, -1]
        found[name] = {
            "settled": float((ends > 0.95).mean()),
            "overlap": float(ends.mean()),
            "curve": [float(a) for a in curves.mean(0)],
        }
    return found


def finish(result: app.Result) -> dict[str, Any]:
    """Reports how stored patterns settle, as a table and a picture."""
    config, found = result.config, run_until_stable(result.config)
    sweeps = list(range(1, config.sweeps + 1))
    runs = {name: plotting.Run(sweeps, row.pop("curve"), [], []) for name, row in found.items()}
    plotting.save(
        Path(result.summary["workdir"]) / f"settling.{config.picture}",
        plotting.draw_curves(
            runs,
            ylabel="overlap with a pattern",
            xlabel="sweep",
            title=f"{config.patterns} patterns in {config.units} units",
            log=False,
        ),
    )
    print_table(
        [{"200 starts": name} | row for name, row in found.items()],
        title="settled: in a stored pattern, or its opposite, to 97.5 % of the units",
    )
    return {"settling": found}


EXPERIMENT = app.Experiment(build, FLAGS, finish=finish, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
