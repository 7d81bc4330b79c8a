"""Captions: a convolutional network reads a picture of shapes, a recurrent one writes a sentence about it."""

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
from experiments.translator import exact, objective
from rnnjax import app, decoding, interop, topology, training
from rnnjax.base import PyTree
from rnnjax.data import shapes
from rnnjax.plotting import COLOURS, save
from rnnjax.progress import table

FLAGS = app.common_flags(
    cell="lstm",
    hidden_size="64",
    learning_rate=4e-3,
    schedule="cosine",
    final_rate=0.02,
    batch_size=32,
    num_steps=1200,
    log_every=50,
    eval_every=400,
    eval_batches=8,
)
flags.DEFINE_integer("channels", 32, "Of the convolutional network's last map.", 2, flag_values=FLAGS)
flags.DEFINE_integer("embedding_size", 16, "Features of a word.", 1, flag_values=FLAGS)
flags.DEFINE_boolean("own_words", True, "Whether the decoder reads the words that it has written; if not, it knows how "
                     "far it is by its state alone.", flag_values=FLAGS)  # fmt: skip
flags.DEFINE_integer("tested", 500, "Pictures to write about at the end, of either kind.", 1, flag_values=FLAGS)
flags.DEFINE_integer("shown", 6, "Pictures on the contact sheet.", 1, 12, flag_values=FLAGS)

MAP = shapes.SIDE // 4  # places of the map on a side
END = 0


class ConvNet(nn.Module):
    """From a picture `[24, 24, 3]` to features of 6 x 6 places, `[36, channels]`; every pixel knows where it is."""

    channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        at = jnp.linspace(-1, 1, x.shape[0], dtype=x.dtype)
        x = jnp.concatenate([x, *(a[..., None] for a in jnp.meshgrid(at, at))], -1)
        for features, stride in ((self.channels // 2, 2), (self.channels, 2), (self.channels, 1)):
            x = nn.relu(nn.Conv(features, (3, 3), (stride, stride))(x))
        return x.reshape(-1, self.channels)


def network(config: app.Config) -> topology.EncoderDecoder:
    """The map of a picture is the memory of a decoder with Bahdanau's attention."""
    attention, words = topology.additive(config.hidden_size), len(shapes.WORDS)

    def decoder(memory: Any) -> rnnjax.Cell:
        core = topology.bahdanau(config.layers(), attention, memory)
        embed = rnnjax.embed(words, config.embedding_size, dtype=jnp.dtype(config.dtype))
        if not config.own_words:
            embed = rnnjax.stack(embed, rnnjax.pointwise(jnp.zeros_like))
        return rnnjax.stack(embed, core, rnnjax.linear(words))

    return topology.encoder_decoder(interop.from_flax(ConvNet(config.channels)), decoder, attention)


def build(config: app.Config) -> app.Setup:
    """The network on fresh pictures; it is tested on combinations of colour and shape that it has not seen."""
    seen, unseen = shapes.scenes(), shapes.scenes(held_out=True)
    return app.Setup(
        cell=network(config),
        objective=objective,
        train=training.drawn(seen, config.batch_size),
        valid=training.drawn(seen, config.batch_size, config.eval_batches),
        test=training.drawn(unseen, config.batch_size, config.eval_batches),
        baseline=seen.baseline,
        baseline_name="knows the language, sees nothing",
        loss_label="cross-entropy (nats a word)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Sentences about new pictures, of combinations seen and not; a contact sheet of the latter."""
    config, net = result.config, network(result.config)

    def write(params: PyTree, picture: jax.Array) -> tuple[decoding.Written, jax.Array]:
        cell, inner = net.begin(params, picture)
        carry, logits = rnnjax.run(cell, inner, jnp.int32(END))
        said = decoding.write(cell, inner, carry, logits, shapes.LONGEST, decoding.greedy, jax.random.key(0), END)
        read = jnp.concatenate([jnp.array([END], said.symbols.dtype), said.symbols[:-1]])
        return said, topology.alignments(cell, inner, read)

    @jax.jit
    def whole(params: PyTree, key: jax.Array) -> Any:
        batches = [shapes.scenes(held_out).batch(key, config.tested) for held_out in (False, True)]
        both = jax.tree.map(lambda *a: jnp.stack(a), *batches)
        return both, jax.lax.map(lambda x: jax.vmap(write, (None, 0))(params, x), both.x.source)

    batches, (said, weights) = jax.device_get(whole(result.params, jax.random.key(config.seed + 1)))
    parts = ("combinations seen", "held-out combinations")
    scores = {n: exact(*jax.tree.map(lambda a, i=i: a[i], (said, batches))) for i, n in enumerate(parts)}
    table([{"": n, "exact": score} for n, score in scores.items()], title=f"{config.cell}: sentences, written alone")
    path = Path(result.summary["workdir"]) / f"captions.{config.picture}"
    n = min(config.shown, config.tested)
    save(path, sheet(batches.x.source[1][:n], said.symbols[1][:n], batches.y[1][:n], weights[1][:n]))
    print(f"captions: {path}")
    return {"written": scores}


def sheet(pictures: np.ndarray, said: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> Figure:
    """A row a picture: itself, and what was attended to before each word."""
    figure = Figure(figsize=(13, 1.45 * len(pictures)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(pictures), shapes.LONGEST, squeeze=False)
    for row, picture, symbols, right, looked in zip(axes, pictures, said, wanted, weights):
        for a in row:
            a.set_axis_off()
        good = (symbols == right).all()
        row[0].imshow(picture)
        row[0].set_title("right" if good else "wrong", fontsize=9, color=COLOURS[2 if good else 1])
        words = [shapes.WORDS[s] for s in symbols if s]
        for a, word, at in zip(row[1:], words, looked):
            a.imshow(picture, extent=(0, 1, 0, 1))
            a.imshow(
                np.zeros((MAP, MAP)),
                alpha=0.85 * (1 - at.reshape(MAP, MAP) / at.max()),
                cmap="gray",
                extent=(0, 1, 0, 1),
            )
            a.set_title(word, fontsize=9)
    return figure


EXPERIMENT = app.Experiment(build, FLAGS, finish=finish, free=("shown",))

if __name__ == "__main__":
    app.main(EXPERIMENT)
