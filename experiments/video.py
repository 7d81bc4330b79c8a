"""Video classification: a convolutional network reads each frame, and a recurrent one combines the frames.

It trains on fresh generated films of moving shapes, with one label per film or per frame (`--task`). Compare the
accuracy with cells that see one or two frames only, and look at the contact sheet of films with their predictions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import linen as nn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import rnnjax
from experiments._shared.conv import ConvNet, draw_prediction
from rnnjax import app, cells, data, interop, losses, tasks
from rnnjax.base import PyTree
from rnnjax.plotting import save
from rnnjax.runs import print_table
from rnnjax.tasks import EVENTS, MOVES, moving_shapes, shape_events, task_stream

FLAGS = app.common_flags(
    cell="gru,bag_of_inputs",
    hidden_size="64",
    learning_rate=5e-3,
    schedule="cosine",
    final_rate=0.02,
    batch_size=24,
    num_steps=600,
    log_every=20,
    eval_every=300,
    eval_batches=8,
    checkpoint_every=1000,
)
flags.DEFINE_enum(
    "task",
    "moves",
    ["moves", "events"],
    "moves: one label per film, the motion of its shape; events: one label per frame, the event in it.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("frames", 0, "Frames per film; 0: 6 for moves, 16 for events.", 0, flag_values=FLAGS)
flags.DEFINE_integer("channels", 16, "Channels of the convolutional network's last map.", 2, flag_values=FLAGS)
flags.DEFINE_integer("features", 32, "Features of a frame for the recurrent network.", 1, flag_values=FLAGS)
flags.DEFINE_integer("tested", 500, "Films in the table by label.", 1, flag_values=FLAGS)
flags.DEFINE_integer("shown", 6, "Films on the contact sheet.", 1, 12, flag_values=FLAGS)

SHARPNESS = 10.0  # of the softmax over positions
LABELS = {"moves": MOVES, "events": EVENTS}


def one_frame(hidden: int) -> rnnjax.Cell:
    """A layer on the current frame only."""
    return cells.time_delay(hidden, 1)


def two_frames(hidden: int) -> rnnjax.Cell:
    """A layer on the current frame and the one before it."""
    return cells.time_delay(hidden, 2)


class Glance(nn.Module):
    """Maps a frame to features: the position where each channel is strongest, and the channel's mean."""

    channels: int
    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        seen = ConvNet(self.channels)(x - x.mean((0, 1))[None, None])
        places, seen = seen[..., -2:].reshape(-1, 2), seen[..., :-2].reshape(-1, self.channels)
        where = places.T @ nn.softmax(SHARPNESS * seen, axis=0)
        return nn.relu(nn.Dense(self.features)(nn.LayerNorm()(jnp.concatenate([where.ravel(), seen.mean(0)]))))


def source(config: app.Config) -> tasks.Task:
    """Returns the task of the films."""
    if config.task == "moves":
        return moving_shapes(config.frames or 6)
    return shape_events(config.frames or 16)


def network(config: app.Config) -> rnnjax.Cell:
    """Returns a network from a film to logits, after its last frame or at each."""
    see = interop.from_flax(Glance(config.channels, config.features))
    each, read = rnnjax.stack(see, config.layers()), rnnjax.linear(len(LABELS[config.task]))
    if config.task == "moves":
        return rnnjax.stack(rnnjax.last(rnnjax.unroll(each)), read)
    return rnnjax.unroll(rnnjax.stack(each, read))


def build(config: app.Config) -> app.Setup:
    """Builds the network on fresh films."""
    task = source(config)
    examples = task_stream(task, config.batch_size)
    return app.Setup(
        cell=network(config),
        objective=losses.classify,
        train=examples,
        valid=examples._replace(length=config.eval_batches),
        test=examples._replace(length=config.eval_batches),
        baseline=task.baseline,
        baseline_name="the best that sees one frame",
        loss_label="cross-entropy (nats a label)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Prints the accuracy by label and draws a contact sheet of films with predictions."""
    config, labels = result.config, LABELS[result.config.task]

    @jax.jit
    def watch(params: PyTree, key: jax.Array) -> tuple[data.Batch, jax.Array]:
        batch = source(config).batch(key, config.tested)
        logits = jax.lax.map(lambda x: rnnjax.run(result.setup.cell, params, x)[1], batch.x, batch_size=50)
        shown = batch.x[: config.shown]
        return batch._replace(x=shown), logits.argmax(-1)

    batch, said = jax.device_get(watch(result.params, jax.random.key(config.seed + 1)))
    right = {name: float((said == i)[batch.y == i].mean()) for i, name in enumerate(labels) if (batch.y == i).any()}
    shares = {name: float((batch.y == labels.index(name)).mean()) for name in right}
    rows = [{"label": name, "share": shares[name], "right": right[name]} for name in right]
    print_table(
        [*rows, {"label": "all", "share": 1.0, "right": float((said == batch.y).mean())}],
        title=f"{config.cell}: {config.tested} films",
    )
    path = Path(result.summary["workdir"]) / f"films.{config.picture}"
    save(path, draw_sheet(np.asarray(batch.x), batch.y, said, labels))
    print(f"films: {path}")
    return {"right": right}


def draw_sheet(films: np.ndarray, wanted: np.ndarray, said: np.ndarray, labels: tuple[str, ...]) -> Figure:
    """Draws a row per film with its predictions above its last frame, or above each; wrong ones show the target too."""
    figure = Figure(figsize=(1.1 * films.shape[1] + 0.4, 1.5 * len(films)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(*films.shape[:2], squeeze=False)
    for row, film, ys, guesses in zip(axes, films, wanted, said):
        first = len(film) - np.size(ys)
        for i, (a, frame) in enumerate(zip(row, film)):
            if i < first:
                draw_prediction(a, frame)
                continue
            y, guess = (np.atleast_1d(v)[i - first] for v in (ys, guesses))
            draw_prediction(a, frame, labels[guess] + ("" if y == guess else f"\n({labels[y]})"), bool(y == guess))
    return figure


EXPERIMENT = app.Experiment(build, FLAGS, finish=finish, free=("shown",), description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
