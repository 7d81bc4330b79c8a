"""How deep a network may be: layers one on another, plain or with shortcuts, and transitions of several layers.

Each network learns to say what it read some steps ago. Then one layer at a time is taken out of it, its input passed on
instead: a stack with shortcuts goes on nearly as before, as an ensemble that has lost a member; a plain one does not.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from matplotlib.figure import Figure

import rnnjax
from experiments.learning import trained
from rnnjax import app, losses, tasks, training
from rnnjax.app.names import make_cell, resolve
from rnnjax.app.setup import count
from rnnjax.base import Cell, PyTree
from rnnjax.dynamics import gradient_flow
from rnnjax.errors import UserError
from rnnjax.plotting import save
from rnnjax.progress import Progress, table
from rnnjax.provenance import provenance
from rnnjax.workdir import Workdir

FLAGS = app.study_flags(cell="vanilla", hidden_size="32")
flags.DEFINE_list("depths", ["1", "2", "4", "8"], "Layers of the networks.", flag_values=FLAGS)
flags.DEFINE_list(
    "shortcuts", ["plain", "residual", "highway", "dense"], "What leads past each layer.", flag_values=FLAGS
)
flags.DEFINE_integer("delay", 4, "Steps between a number read and said.", 0, flag_values=FLAGS)
flags.DEFINE_integer("length", 30, "Steps of a sequence.", 2, flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 2e-3, "Of Adam.", 0.0, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 32, "Sequences a step.", 1, flag_values=FLAGS)
flags.DEFINE_integer("num_steps", 500, "Updates of each network.", 1, flag_values=FLAGS)

SHORTCUTS = {
    "plain": lambda cell: cell,
    "residual": rnnjax.residual,
    "highway": rnnjax.highway,
    "dense": rnnjax.dense,
}
COLOURS = {"plain": "#0072B2", "residual": "#D55E00", "highway": "#009E73", "dense": "#CC79A7"}


def network(config: app.Config, shortcut: str, depth: int) -> list[Cell]:
    """The parts of a network: a map of the input, the layers, a map to the output."""
    layer = make_cell(config.cell, config.hidden_size, config.cell_args)
    wrapped = resolve("shortcuts", shortcut, SHORTCUTS)(layer)
    return [rnnjax.linear(int(config.hidden_size)), *[wrapped] * depth, rnnjax.linear(1)]


def learn(config: app.Config, parts: list[Cell]) -> tuple[PyTree, training.Stream]:
    """Params after training, and the stream of examples."""
    cell = rnnjax.unroll(rnnjax.stack(*parts))
    stream = training.drawn(tasks.echo(config.length, config.delay), config.batch_size)
    return trained(config, cell, losses.regress, stream).state.params, stream


def scores(config: app.Config, parts: list[Cell], params: PyTree, stream: training.Stream) -> list[float]:
    """Mean squared error of the whole network, and without each of its layers."""
    key = jax.random.fold_in(jax.random.key(config.seed), 1)

    @jax.jit
    def error(params: PyTree, kept: jax.Array) -> jax.Array:
        held = [parts[0], *[lesioned(part, kept[i]) for i, part in enumerate(parts[1:-1])], parts[-1]]
        cell = rnnjax.unroll(rnnjax.stack(*held))
        return training.evaluate(cell, losses.regress, stream._replace(length=20))(params, (), key)["loss"].value()

    whole = np.ones(len(parts) - 2, bool)
    return [float(error(params, whole))] + [
        float(error(params, whole & (np.arange(len(whole)) != i))) for i in range(len(whole))
    ]


def lesioned(layer: Cell, kept: jax.Array) -> Cell:
    """The layer, or if it is not kept its input in place of what it adds."""

    def instead(x: jax.Array, y: jax.Array) -> jax.Array:
        past = jnp.concatenate([x, jnp.zeros(y.shape[-1] - x.shape[-1], x.dtype)])  # dense: nothing is said
        return jnp.where(kept, y, past)

    def step(w: PyTree, carry: PyTree, x: jax.Array, key: jax.Array | None = None) -> tuple[PyTree, jax.Array]:
        carry, y = layer.step(w, carry, x, key)
        return carry, instead(x, y)

    return rnnjax.with_step(layer, step)


def transitions(config: app.Config) -> list[dict[str, Any]]:
    """What of a gradient is left after all steps where a transition has more layers, before training."""
    rows = []
    for depth in sorted({int(d) for d in config.depths}):
        for skip in (False, True) if depth > 1 else (False,):
            cell = rnnjax.deep_transition(int(config.hidden_size), depth, skip)
            xs = jax.random.normal(jax.random.key(config.seed), (config.length, 1))
            flow = gradient_flow(cell, cell.init(jax.random.key(config.seed), xs[0]), xs)
            share = np.asarray(flow.norms)
            rows.append({"layers a transition": depth, "skip": "yes" if skip else "no",
                         "layers on the longest path": depth * config.length,
                         f"|dh_T/dh_t| {config.length} steps back": float(share[0])})  # fmt: skip
    return rows


def compare(configs: dict[str, app.Config], workdir: Workdir) -> None:
    """Sweeps depths and shortcuts; tables, a summary and a picture."""
    if len(configs) > 1:
        raise UserError("--cell takes one cell here")
    (config,) = configs.values()
    try:
        depths = sorted({int(d) for d in config.depths})
    except ValueError as error:
        raise UserError(f"--depths={','.join(config.depths)}: whole numbers") from error
    if depths[0] < 1:
        raise UserError(f"--depths={','.join(config.depths)}: at least one layer")
    if config.delay >= config.length:
        raise UserError(f"--delay={config.delay}: nothing of a sequence of --length={config.length} is left to say")
    found: dict[str, dict[int, dict[str, Any]]] = {}
    with Progress(len(depths) * len(config.shortcuts), "networks") as bar:
        for shortcut in config.shortcuts:
            found[shortcut] = {}
            for depth in depths:
                parts = network(config, shortcut, depth)
                params, stream = learn(config, parts)
                whole, *without = scores(config, parts, params, stream)
                found[shortcut][depth] = {"error": whole, "without": without, "parameters": count(params)}
                bar.update(sum(map(len, found.values())))
    rows = [
        {"shortcut": s, "layers": d, "error": r["error"], "without a layer, median": float(np.median(r["without"])),
         "parameters": r["parameters"]} for s, by in found.items() for d, r in by.items()
    ]  # fmt: skip
    table(rows, title=f"squared error of what was read {config.delay} steps ago (saying its mean: 1)")
    paths = transitions(config)
    table(paths, title="deep transitions before training")
    workdir.write_summary({"networks": found, "transitions": paths} | provenance())
    picture = workdir.file(f"depth.{config.picture}")
    save(picture, draw(found))
    print(f"picture: {picture}\nsummary: {workdir.file('summary.json')}")


def draw(found: dict[str, dict[int, dict[str, Any]]]) -> Figure:
    """Left the error against depth, right what each layer of the deepest is worth."""
    figure = Figure(figsize=(9.5, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    deepest = max(max(by) for by in found.values())
    width = 0.8 / len(found)
    for i, (name, by) in enumerate(found.items()):
        left.plot(list(by), [r["error"] for r in by.values()], "o-", color=COLOURS.get(name), label=name)
        loss = by[deepest]["without"]
        at = np.arange(1, len(loss) + 1) + (i - (len(found) - 1) / 2) * width
        right.bar(at, loss, width, color=COLOURS.get(name), label=name)
    left.set(xlabel="layers", ylabel="squared error", yscale="log", title="trained")
    left.set_xscale("log", base=2)
    left.set_xticks(
        sorted({d for by in found.values() for d in by}),
        labels=sorted({str(d) for by in found.values() for d in by}, key=int),
    )
    right.set(xlabel="layer taken out", ylabel="squared error", yscale="log", title=f"lesions of {deepest} layers")
    right.xaxis.get_major_locator().set_params(integer=True)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(found), frameon=False)
    return figure


EXPERIMENT = app.Study(compare, FLAGS)

if __name__ == "__main__":
    app.main(EXPERIMENT)
