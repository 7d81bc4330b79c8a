"""Depth beyond stacked layers: how the length of gradient paths through time depends on the architecture.

The networks have clockwork units, or several layers from input to state, from state to state or from state to output,
with or without a skip connection. Each trains to repeat its input of a few steps ago. Compare the error of each network
with the norm of its gradient over time, before and after training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from matplotlib.figure import Figure

import rnnjax
from experiments._shared.small_runs import echo, trained
from rnnjax import app, losses, tasks, training
from rnnjax.base import Cell, PyTree, UserError, count
from rnnjax.dynamics import gradient_flow
from rnnjax.runs import ProgressBar, Workdir, print_table
from rnnjax.training import bootstrap, interquartile_mean

FLAGS = app.study_flags(network=False)
flags.DEFINE_integer("units", 32, "Units per layer: a multiple of 4.", 4, flag_values=FLAGS)
flags.DEFINE_integer("delay", 8, "Delay of the echo in steps.", 0, flag_values=FLAGS)
flags.DEFINE_integer("length", 30, "Steps per sequence.", 2, flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 2e-3, "Learning rate of Adam.", 0.0, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 32, "Sequences per update.", 1, flag_values=FLAGS)
flags.DEFINE_integer("num_steps", 500, "Updates of each network.", 1, flag_values=FLAGS)
flags.DEFINE_integer("seeds", 1, "Networks of each kind; their seeds count up from --seed.", 1, flag_values=FLAGS)

LAYERS, PERIODS = 3, (1, 2, 4, 8)


class Network(NamedTuple):
    """One architecture.

    Attributes:
      parts: the layers before the readout.
      shortest: steps -> number of nonlinear layers on the shortest path from an input to an output that much later.
      longest: the same for the longest path.
      colour, style: of its line.
    """

    parts: tuple[Cell, ...]
    shortest: Callable[[int], int]
    longest: Callable[[int], int]
    colour: str
    style: Any = "-"


def networks(n: int) -> dict[str, Network]:
    """Returns all networks, with layers of n units."""

    def once(steps: int) -> int:
        return steps + 1

    def more(steps: int) -> int:
        return steps + LAYERS

    def each(steps: int) -> int:
        return LAYERS * (steps + 1)

    def slow(steps: int) -> int:
        return 1 + steps // max(PERIODS)

    flat, plain = (rnnjax.linear(n), rnnjax.pointwise(jnp.tanh)), rnnjax.vanilla(n)
    deep, skipped = (rnnjax.deep_transition(n, LAYERS, skip) for skip in (False, True))
    extra = flat * (LAYERS - 1)
    return {
        "one layer": Network((plain,), once, once, "#555555"),
        f"{LAYERS} stacked": Network((plain,) * LAYERS, more, more, "#E69F00"),
        f"{LAYERS} from input to state": Network((*extra, plain), more, more, "#56B4E9"),
        f"{LAYERS} from state to output": Network((plain, *extra), more, more, "#CC79A7"),
        f"{LAYERS} from state to state": Network((deep,), each, each, "#D55E00"),
        f"{LAYERS} from state to state, skip": Network((skipped,), once, each, "#D55E00", "--"),
        f"clocks {', '.join(map(str, PERIODS))}": Network((rnnjax.clockwork(n, PERIODS),), slow, once, "#009E73"),
    }


def states(carry: PyTree) -> list[jax.Array]:
    """Returns the states in a carry, without the clock of a clockwork network."""
    return [leaf for leaf in jax.tree.leaves(carry) if leaf.ndim]


def train_network(config: app.Config, network: Network) -> dict[str, Any]:
    """Trains one network; returns its error, its size, and gradient norms before and after training."""
    cell, task = rnnjax.stack(*network.parts, rnnjax.linear(1)), echo(config)
    window = rnnjax.unroll(cell)
    params = trained(config, window, losses.regress, tasks.task_stream(task, config.batch_size)).state.averaged
    fresh = jax.random.fold_in(jax.random.key(config.seed), 1)
    score = jax.jit(training.evaluate(window, losses.regress, tasks.task_stream(task, 500, 1)))(params, (), fresh)
    xs = task.sample(fresh).x
    flow = jax.jit(lambda params: gradient_flow(cell, params, xs, part=states).norms[::-1])
    return {
        "error": float(score["loss"].value()),
        "parameters": count(params),
        "before": np.asarray(flow(cell.init(fresh, xs[0]))),
        "after": np.asarray(flow(params)),
    }


def gathered(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarises seeds: median errors with an interval, and geometric means of gradients."""
    errors = [run["error"] for run in runs]
    low, high = bootstrap(errors) if len(errors) > 1 else (errors[0], errors[0])
    flows = {
        when: np.exp(np.mean([np.log(np.maximum(run[when], 1e-30)) for run in runs], 0)).tolist()
        for when in ("before", "after")
    }
    return {"error": interquartile_mean(errors), "low": low, "high": high, "parameters": runs[0]["parameters"], **flows}


def compare(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Trains every network with every seed; writes a table, a summary and a picture."""
    (config,) = configs.values()
    kinds, found = networks(config.units), dict[str, dict[str, Any]]()
    with ProgressBar(len(kinds) * config.seeds, "networks") as bar:
        for name, network in kinds.items():
            runs = []
            for i in range(config.seeds):
                runs.append(train_network(config.replace(seed=config.seed + i), network))
                bar.update(len(found) * config.seeds + len(runs))
            found[name] = gathered(runs)
    rows = []
    for name, row in found.items():
        lengths = {"shortest": kinds[name].shortest(config.delay), "longest": kinds[name].longest(config.delay)}
        left = {f"gradient {config.delay} back, {when}": row[when][config.delay] for when in ("before", "after")}
        rows.append(
            {"layers": name, **lengths, **left, **{key: row[key] for key in ("error", "low", "high", "parameters")}}
        )
    title = (
        f"ways over {config.delay} steps, in layers; what is left of a gradient; squared error (saying the mean: 1), "
        f"{config.seeds} seeds"
    )
    print_table(rows, title=title)
    return app.Findings({"networks": found, "ways": rows}, {"paths": draw(kinds, found, config.delay)})


def draw(kinds: dict[str, Network], found: dict[str, dict[str, Any]], delay: int) -> Figure:
    """Draws gradient norms against steps back, before and after training, and the errors."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    before, after, errors = figure.subplots(1, 3, width_ratios=(1, 1, 0.8))
    for i, (name, row) in enumerate(found.items()):
        kind = kinds[name]
        line = {"color": kind.colour, "ls": kind.style}
        for axes, when in ((before, "before"), (after, "after")):
            axes.plot(row[when], label=name if axes is before else None, **line)
        errors.plot([row["low"], row["high"]], [i, i], lw=2, **line)
        errors.plot(row["error"], i, "o", color=kind.colour, mfc="white" if kind.style == "--" else None)
    for axes, when in ((before, "before training"), (after, "after training")):
        axes.set(xlabel="steps back", ylabel="|dh_T / dh_t|" if axes is before else "", yscale="log", title=when)
        axes.axvline(delay, color="#BBBBBB", lw=1, zorder=0)
    low = min(min(row[when]) for row in found.values() for when in ("before", "after"))
    for axes in (before, after):
        axes.set_ylim(max(low, 1e-12) / 2, 20)
    errors.set(xlabel="squared error", xscale="log", title=f"saying what was read {delay} steps ago", yticks=[])
    errors.invert_yaxis()
    for axes in (before, after, errors):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that no network can be trained with."""
    (config,) = configs.values()
    if config.units % len(PERIODS):
        raise UserError(f"--units={config.units}: a multiple of {len(PERIODS)}, for as many groups with clocks")
    echo(config)


EXPERIMENT = app.Study(compare, FLAGS, description=__doc__, check=check)

if __name__ == "__main__":
    app.main(EXPERIMENT)
