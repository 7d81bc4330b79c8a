"""One network on twenty tasks: the objective, and the accuracy of each task as a table and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import rnnjax
from rnnjax import app, losses, tasks
from rnnjax.base import without_marks
from rnnjax.data import Batch
from rnnjax.plotting import COLOURS, GREY, save
from rnnjax.runs import print_table

WANTED = 0.95  # the accuracy of a task that is learned; a line in the picture


def objective(outputs: Any, batch: Batch) -> losses.Metrics:
    """The squared error, weighted, with the share of correct responses at the last step that counts, of one trial."""
    said, reply = jax.nn.sigmoid(without_marks(outputs)), batch.y
    weighted = reply.weight * losses.squared_error(said, reply.output)
    return {"loss": losses.mean(weighted, batch.mask), "accuracy": losses.mean(right(said, batch)[None])}


def right(said: jax.Array, batch: Batch) -> jax.Array:
    """Returns 1 if the response of a trial is correct, and 0 otherwise."""
    last = len(batch.mask) - 1 - jnp.argmax(batch.mask[::-1])
    return tasks.right_response(said[last], batch.y.output[last]).astype(jnp.float32)


def accuracies(result: app.Result, trials: int) -> dict[str, float]:
    """Returns the accuracy of each task on fresh trials."""
    task = tasks.twenty_tasks(step=result.config.step, noise=result.config.ring_noise)

    @jax.jit
    def tried(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        batch = task.batch(key, 20 * 25)
        said = jax.vmap(lambda x: jax.nn.sigmoid(rnnjax.run(result.setup.cell, result.params, x)[1]))(batch.x)
        return batch.x[:, 0, -20:].argmax(-1), jax.vmap(right)(said, batch)

    key = jax.random.fold_in(jax.random.key(result.config.seed), 1)
    found = [tried(k) for k in jax.random.split(key, max(1, round(trials / 25)))]
    rule, correct = (np.concatenate([np.asarray(part) for part in parts]) for parts in zip(*found))
    return {name: float(correct[rule == i].mean()) for i, name in enumerate(tasks.TWENTY_TASKS)}


def report(result: app.Result) -> dict[str, Any]:
    """Prints and draws the accuracy of each task."""
    config = result.config
    found = accuracies(result, config.trials)
    rows = [{"task": name, "accuracy": share} for name, share in found.items()]
    print_table(rows, title=f"\n{config.cell}, {config.hidden_size} units: some {config.trials} trials of each task")
    learned, worst = sum(share > WANTED for share in found.values()), min(found, key=lambda name: found[name])
    print(f"{config.cell}: {learned} of 20 tasks above {WANTED:.0%}; the lowest is {worst}, {found[worst]:.1%}")
    path = Path(result.summary["workdir"]) / f"tasks.{config.picture}"
    picture(path, found, f"{config.cell}, {config.hidden_size} units")
    print(f"accuracy of each task: {path}")
    return {"tasks": rows, "learned": learned, "lowest": found[worst]}


def picture(path: Path, found: dict[str, float], title: str) -> None:
    """Draws a bar for each task."""
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.barh(list(found), list(found.values()), color=COLOURS[0])
    axes.axvline(WANTED, color=GREY, linewidth=1, linestyle="--")
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="share of correct responses")
    axes.set_title(title, loc="left", fontsize=10)
    save(path, figure)
