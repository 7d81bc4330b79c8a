"""Memory of a recurrent network: how much of each past input a linear probe recovers from the state.

The network trains to output its input of `--delay` steps ago, on random inputs. Look at the forgetting curves before
and after training, which show R^2 of the probe against the lag, and at their sum, the memory capacity.
"""

from __future__ import annotations

from typing import Any

import jax
from absl import flags

import rnnjax
from rnnjax import app, dynamics, losses, tasks
from rnnjax.app import build_setup
from rnnjax.base import PyTree
from rnnjax.plotting import Run, draw_curves, save
from rnnjax.runs import print_table
from rnnjax.tasks import task_stream as drawn_

FLAGS = app.common_flags(
    cell="vanilla,lstm,urnn",
    hidden_size="32,32,16",
    learning_rate=3e-3,
    schedule="cosine",
    batch_size=32,
    num_steps=1000,
    log_every=20,
    eval_every=250,
    checkpoint_every=500,
)
flags.DEFINE_integer("delay", 10, "The network learns to output its input of so many steps ago.", 0, flag_values=FLAGS)
flags.DEFINE_integer("length", 60, "Steps per sequence; more than the delay.", 2, flag_values=FLAGS)
flags.DEFINE_integer("lags", 40, "Number of lags to probe; fewer than --length.", 1, flag_values=FLAGS)
flags.DEFINE_integer("probed", 200, "Sequences for the probe, half to fit it, half to test it.", 2, flag_values=FLAGS)


def network(config: app.Config) -> rnnjax.Cell:
    """Returns a network from the input to the delayed input."""
    return rnnjax.stack(config.layers(), rnnjax.linear(1))


def build(config: app.Config) -> app.Setup:
    """Builds the echo task on fresh noise."""
    longest = max(config.delay, config.lags)
    if config.length <= longest:
        raise ValueError(f"--length={config.length}: more steps than --delay={config.delay} and --lags={config.lags}")
    task = tasks.echo(config.length, config.delay)
    return app.Setup(
        cell=rnnjax.unroll(network(config)),
        objective=losses.regress,
        train=drawn_(task, config.batch_size),
        valid=drawn_(task, config.batch_size, config.eval_batches),
        baseline=task.baseline,
        baseline_name="remembers nothing",
        loss_label="mean squared error / variance",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Draws and sums the forgetting curves before and after training."""
    config, cell = result.config, network(result.config)
    key = jax.random.key(config.seed)
    xs = tasks.echo(config.length, config.delay).batch(jax.random.fold_in(key, 1), config.probed).x

    @jax.jit
    def read(params: PyTree) -> jax.Array:
        states = jax.vmap(lambda xs: dynamics.trajectory(cell, params, xs)[1][1:])(xs)
        return dynamics.memory_curve(states, xs[:, :, 0], config.lags)

    fresh = build_setup(build, config).cell.init(key, xs[0])
    curve = {name: read(p) for name, p in (("before training", fresh), ("trained", result.params))}
    capacity = {name: float(dynamics.memory_capacity(r2)) for name, r2 in curve.items()}
    lags = list(range(config.lags))
    drawn = {f"{name}: {capacity[name]:.1f}": Run(valid_steps=lags, valid=r2) for name, r2 in curve.items()}
    path = f"{result.summary['workdir']}/forgetting.{config.picture}"
    title = f"{config.cell}: what a linear probe reads from $h_t$; sum over lags beside"
    save(path, draw_curves(drawn, ylabel="$R^2$ of $x_{t - lag}$", xlabel="lag (steps)", title=title, log=False))
    rows = [{"": f"{config.cell}, {name}"} | curve_row(config, r2) for name, r2 in curve.items()]
    print_table(rows, title="read back by a linear probe")
    print(f"forgetting: {path}")
    return {"capacity": capacity, "forgetting": {name: r2.tolist() for name, r2 in curve.items()}}


def curve_row(config: app.Config, r2: jax.Array) -> dict[str, Any]:
    """Returns the row of the table for a forgetting curve."""
    at = min(config.delay, config.lags - 1)
    held = {"capacity (inputs)": float(dynamics.memory_capacity(r2)), "lags with R^2 > 1/2": int((r2 > 0.5).sum())}
    return held | {f"R^2 at lag {at}": float(r2[at])}


EXPERIMENT = app.Experiment(build, FLAGS, finish=finish, free=("probed",), description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
