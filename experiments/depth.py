"""Deep recurrent networks: stacks of layers of several depths, plain or with shortcuts.

Each network trains to repeat its input of a few steps ago. Then layers are removed and replaced by their input. Look at
the error by the number of removed layers: a stack with shortcuts degrades gracefully, like an ensemble, and a plain one
fails. The gates of a highway and of an LSTM are shortcuts that depend on the data; a histogram shows how far they open.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import rnnjax
from experiments._shared.small_runs import echo, trained
from rnnjax import app, data, losses, tasks, training
from rnnjax.app import resolve
from rnnjax.base import Cell, PyTree, UserError, count
from rnnjax.runs import ProgressBar, Workdir, print_table

FLAGS = app.study_flags(cell="vanilla", hidden_size="32")
flags.DEFINE_list("depths", ["1", "2", "4", "8"], "Numbers of layers to compare.", flag_values=FLAGS)
flags.DEFINE_list(
    "shortcuts",
    ["plain", "residual", "highway"],
    "The shortcut around each layer: plain, none; residual; highway; dense, all earlier outputs.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("subsets", 10, "Random subsets of layers to remove, of each size.", 1, flag_values=FLAGS)
flags.DEFINE_integer("delay", 4, "Delay of the echo in steps.", 0, flag_values=FLAGS)
flags.DEFINE_integer("length", 30, "Steps per sequence.", 2, flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 2e-3, "Learning rate of Adam.", 0.0, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 32, "Sequences per update.", 1, flag_values=FLAGS)
flags.DEFINE_integer("num_steps", 500, "Updates of each network.", 1, flag_values=FLAGS)

MOST = 1000
GATE_BIAS, FORGET_BIAS = -2.0, 1.0
SHORTCUTS = {
    "plain": lambda cell: cell,
    "residual": rnnjax.residual,
    "highway": lambda cell: rnnjax.highway(cell, GATE_BIAS),
    "dense": rnnjax.concat_skip,
}
COLOURS = {"plain": "#0072B2", "residual": "#D55E00", "highway": "#009E73", "dense": "#CC79A7"}

DOORS = {"highway": "#009E73", "LSTM forget": "#0072B2", "LSTM input": "#E69F00", "LSTM output": "#CC79A7"}


def checked(config: app.Config) -> list[int]:
    """Returns the depths, and checks all flags before anything is trained."""
    try:
        depths = sorted({int(d) for d in config.depths})
    except ValueError as error:
        raise UserError(f"--depths={','.join(config.depths)}: whole numbers") from error
    if not depths or depths[0] < 1 or depths[-1] > MOST:
        raise UserError(f"--depths={','.join(config.depths)}: from one layer to {MOST}")
    if not config.shortcuts:
        raise UserError(f"--shortcuts: one of {', '.join(SHORTCUTS)} at least")
    if config.num_layers != 1 or config.dropout:
        raise UserError("--num_layers and --dropout are not used here: --depths gives the layers")
    echo(config)
    for shortcut in config.shortcuts:
        try:
            net = rnnjax.stack(*network(config, shortcut, 1))
            jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(1))
        except (TypeError, ValueError) as error:
            raise UserError(f"--shortcuts={shortcut}: {error}") from error
    return depths


def network(config: app.Config, shortcut: str, depth: int) -> list[Cell]:
    """Returns the parts of a network: a map of the input, the layers, a map to the output."""
    layer = config.single_layer()
    wrapped = resolve("shortcuts", shortcut, SHORTCUTS)(layer)
    return [rnnjax.linear(int(config.hidden_size)), *[wrapped] * depth, rnnjax.linear(1)]


def train_network(config: app.Config, parts: list[Cell]) -> tuple[PyTree, data.Stream]:
    """Returns the trained params and the stream of examples."""
    cell = rnnjax.unroll(rnnjax.stack(*parts))
    stream = tasks.task_stream(echo(config), config.batch_size)
    return trained(config, cell, losses.regress, stream).state.averaged, stream


def chosen(depth: int, subsets: int, seed: int) -> dict[int, np.ndarray]:
    """Returns masks of kept layers, `[draws, depth]`, by the number removed: none, each one, random subsets."""
    rng = np.random.default_rng(seed)
    several = {n: np.stack([rng.permutation(depth) >= n for _ in range(subsets)]) for n in range(2, depth)}
    return {0: np.ones((1, depth), bool), 1: ~np.eye(depth, dtype=bool)} | several


def scores(config: app.Config, parts: list[Cell], params: PyTree, stream: data.Stream) -> dict[int, np.ndarray]:
    """Returns the mean squared errors of the network by the number of removed layers."""
    key = jax.random.fold_in(jax.random.key(config.seed), 1)

    def error(params: PyTree, kept: jax.Array) -> jax.Array:
        held = [parts[0], *[lesioned(part, kept[i]) for i, part in enumerate(parts[1:-1])], parts[-1]]
        cell = rnnjax.unroll(rnnjax.stack(*held))
        return training.evaluate(cell, losses.regress, stream._replace(length=20))(params, (), key)["loss"].value()

    masks = chosen(len(parts) - 2, config.subsets, config.seed)
    every = jax.jit(lambda params, masks: jax.lax.map(lambda kept: error(params, kept), masks))
    errors = np.asarray(every(params, np.concatenate(list(masks.values()))))
    ends = np.cumsum([len(mask) for mask in masks.values()])
    return dict(zip(masks, np.split(errors, ends[:-1])))


def lesioned(layer: Cell, kept: jax.Array) -> Cell:
    """Returns the layer or, if it is removed, a cell that passes on the layer's input."""

    def instead(x: jax.Array, y: jax.Array) -> jax.Array:
        past = jnp.concatenate([x, jnp.zeros(y.shape[-1] - x.shape[-1], x.dtype)])  # dense: zeros for its own output
        return jnp.where(kept, y, past)

    def step(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        carry, y = layer.step(w, carry, x, key)
        return carry, instead(x, y)

    return rnnjax.with_step(layer, step)


def affine(w: PyTree, xs: jax.Array) -> jax.Array:
    """Applies a linear layer at every step."""
    return rnnjax.run(rnnjax.linear(w["b"].size), w, xs)[1]


def highway_gates(parts: list[Cell], params: PyTree, xs: jax.Array) -> jax.Array:
    """Returns how much each highway layer transforms rather than carries, `[layers, T, hidden]` in [0, 1]."""
    gates = []
    for part, w in zip(parts[:-1], params):
        if "gate" in w:
            gates.append(jax.nn.sigmoid(affine(w["gate"], xs) + GATE_BIAS))
        xs = rnnjax.run(rnnjax.unroll(part), w, xs)[1]
    return jnp.stack(gates)


def lstm_gates(params: PyTree, xs: jax.Array) -> dict[str, jax.Array]:
    """Returns the gates of the LSTM in linear, LSTM, linear: each `[T, hidden]` in [0, 1]."""
    enter, (drive, core), _ = params
    n = core["u"].shape[0]
    xs = affine(enter, xs)
    h = rnnjax.run(rnnjax.unroll(rnnjax.lstm(n, forget_bias=FORGET_BIAS)), (drive, core), xs)[1]
    before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])
    i, f, _, o = jnp.split(affine(drive, xs) + before @ core["u"], 4, axis=-1)
    return {
        "LSTM forget": jax.nn.sigmoid(f + FORGET_BIAS),
        "LSTM input": jax.nn.sigmoid(i),
        "LSTM output": jax.nn.sigmoid(o),
    }


def gates(config: app.Config, highway: tuple[list[Cell], PyTree] | None) -> dict[str, np.ndarray]:
    """Returns gates on fresh sequences, `[sequences, ..., T, hidden]`, of the highway and of an LSTM."""
    layer = rnnjax.lstm(int(config.hidden_size), forget_bias=FORGET_BIAS)
    lstm, stream = train_network(config, [rnnjax.linear(int(config.hidden_size)), layer, rnnjax.linear(1)])
    xs = stream.next((), stream.init(()), jax.random.fold_in(jax.random.key(config.seed), 2))[0].x
    found = jax.jit(jax.vmap(lambda xs: lstm_gates(lstm, xs)))(xs)
    if highway:
        parts, params = highway
        found = {"highway": jax.jit(jax.vmap(lambda xs: highway_gates(parts, params, xs)))(xs)} | found
    return {name: np.asarray(values) for name, values in found.items()}


def opened(values: np.ndarray) -> dict[str, float]:
    """Summarises how far gates `[sequences, ..., T, hidden]` open, and how much that depends on the data."""
    within = np.moveaxis(values, (0, -2), (-2, -1))[..., values.shape[-2] // 2 :]  # the second half of each sequence
    return {
        "mean": float(values.mean()),
        "below 0.1": float((values < 0.1).mean()),
        "above 0.9": float((values > 0.9).mean()),
        "of one unit, deviation with the data": float(within.std((-2, -1)).mean()),
        "between units": float(within.mean((-2, -1)).std()),
    }


def compare(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Trains all depths and shortcuts; writes tables, a summary and a picture."""
    (config,) = configs.values()
    depths = checked(config)
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in config.shortcuts}
    highway = None
    with ProgressBar(len(depths) * len(found), "networks") as bar:
        for shortcut, by in found.items():
            for depth in depths:
                parts = network(config, shortcut, depth)
                params, stream = train_network(config, parts)
                errors = scores(config, parts, params, stream)
                by[depth] = {
                    "error": float(errors[0][0]),
                    "without": errors[1].tolist(),
                    "taken out": {n: float(np.median(errors[n])) for n in errors},
                    "parameters": count(params),
                }
                highway = (parts, params) if shortcut == "highway" else highway
                bar.update(sum(map(len, found.values())))
    rows = [
        {
            "shortcut": s,
            "layers": d,
            "error": r["error"],
            "without a layer, median": r["taken out"][1],
            "parameters": r["parameters"],
        }
        for s, by in found.items()
        for d, r in by.items()
    ]
    print_table(rows, title=f"squared error of what was read {config.delay} steps ago (predicting the mean: 1)")
    values = gates(config, highway)
    doors = {name: opened(each) for name, each in values.items()}
    print_table(
        [{"gates": name, **each} for name, each in doors.items()], title="how far gates open, on fresh sequences"
    )
    return app.Findings({"networks": found, "gates": doors}, {"depth": draw(found, values)})


def draw(found: dict[str, dict[int, dict[str, Any]]], values: dict[str, np.ndarray]) -> Figure:
    """Draws the error against depth, the error without one and several layers, and a histogram of the gates."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    (depths, each), (several, doors) = figure.subplots(2, 2)
    deepest = max(max(by) for by in found.values())
    for i, (name, by) in enumerate(found.items()):
        colour = COLOURS.get(name)
        depths.plot(list(by), [r["error"] for r in by.values()], "o-", color=colour, label=name)
        at = np.arange(1, deepest + 1) + (i - (len(found) - 1) / 2) * 0.8 / len(found)
        each.bar(at, by[deepest]["without"], 0.8 / len(found), color=colour)
        out = by[deepest]["taken out"]
        several.plot(list(out), list(out.values()), "o-", color=colour)
    ticks = sorted({d for by in found.values() for d in by})
    depths.set_xscale("log", base=2)
    depths.set_xticks(ticks, labels=map(str, ticks))
    depths.legend(frameon=False)
    for axes, xlabel, title in (
        (depths, "layers", "trained"),
        (each, "layer taken out", f"one of {deepest} layers taken out"),
        (several, "layers taken out", f"several of {deepest} layers taken out"),
    ):
        axes.set(xlabel=xlabel, ylabel="squared error", yscale="log", title=title)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in (each, several):
        axes.axhline(1, color="#555555", lw=1, ls=(0, (5, 3)), zorder=0)  # the error of predicting the mean
        axes.xaxis.get_major_locator().set_params(integer=True)
    histogram(doors, values)
    return figure


def histogram(axes: Axes, values: dict[str, np.ndarray]) -> None:
    """Draws a histogram of how far each gate opens."""
    for name, each in values.items():
        axes.hist(
            each.ravel(),
            np.linspace(0, 1, 41).tolist(),
            density=True,
            histtype="step",
            lw=1.8,
            label=name,
            color=DOORS[name],
        )
    axes.set(xlabel="gate: 0 shut, 1 open", ylabel="density", title="gates on fresh sequences")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that no network can be trained with."""
    if len(configs) > 1:
        raise UserError("--cell takes one cell here")
    (config,) = configs.values()
    checked(config)


EXPERIMENT = app.Study(compare, FLAGS, description=__doc__, check=check)

if __name__ == "__main__":
    app.main(EXPERIMENT)
