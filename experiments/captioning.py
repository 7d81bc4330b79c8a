"""Image captioning: a convolutional network reads a picture of shapes, and a recurrent one writes a sentence about it.

The network trains on fresh generated pictures and attends to positions of the picture while it writes. At the end it
describes pictures with combinations of colour and shape that it did and did not train on. Look at the fraction of
correct sentences for both, and at the contact sheet, which shows where it attends before each word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from flax import linen as nn
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import rnnjax
from experiments._shared import seq2seq as translator
from experiments._shared.conv import ConvNet, draw_prediction
from rnnjax import app, data, decoding, interop, losses, seq2seq, tasks
from rnnjax.base import PyTree
from rnnjax.plotting import save
from rnnjax.runs import print_table

FLAGS = app.common_flags(
    cell="lstm",
    hidden_size="64",
    learning_rate=4e-3,
    schedule="cosine",
    final_rate=0.02,
    batch_size=32,
    num_steps=5400,
    log_every=50,
    eval_every=900,
    eval_batches=8,
)
flags.DEFINE_integer("channels", 32, "Channels of the convolutional network's last map.", 2, flag_values=FLAGS)
flags.DEFINE_float("smoothing", 0.4, "Label smoothing: probability spread over all words.", 0, 0.9, flag_values=FLAGS)
flags.DEFINE_enum(
    "attention",
    "luong",
    ["luong", "bahdanau"],
    "bahdanau: the recurrent network reads the context, and may store it; "
    "luong: it reads words only, and its state and the current context choose each word.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("embedding_size", 4, "Embedding size of a word.", 1, flag_values=FLAGS)
flags.DEFINE_boolean(
    "own_words",
    True,
    "Whether the decoder reads the words that it has written; if not, only its state tells it how far it is.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("tested", 500, "Pictures to describe at the end, of either kind.", 1, flag_values=FLAGS)
flags.DEFINE_integer("shown", 6, "Pictures on the contact sheet.", 1, 12, flag_values=FLAGS)

MAP = tasks.SIDE // 4  # side length of the map
END = 0
KINDS = {
    "size": [*tasks.SIZES],
    "colour": [*tasks.SHAPE_COLOURS],
    "shape": [*tasks.SHAPES],
}  # of words; others are positions


def network(config: app.Config) -> seq2seq.EncoderDecoder:
    """Returns an encoder-decoder whose memory is the map of the picture."""
    attention, words = seq2seq.additive(config.hidden_size), len(tasks.WORDS)

    def decoder(memory: Any) -> rnnjax.Cell:
        embed = rnnjax.embed(words, config.embedding_size, dtype=jnp.dtype(config.dtype))
        if not config.own_words:
            embed = rnnjax.stack(embed, rnnjax.pointwise(jnp.zeros_like))
        if config.attention == "luong":
            core = seq2seq.luong(config.layers(), attention, memory, config.hidden_size)
        else:
            core = seq2seq.bahdanau(config.layers(), attention, memory)
        return rnnjax.stack(embed, core, rnnjax.linear(words))

    places = nn.Sequential([ConvNet(config.channels), lambda x: x.reshape(MAP * MAP, -1)])
    weights = decoder(seq2seq.Memory((), ())).weights
    return seq2seq.encoder_decoder(interop.from_flax(places), seq2seq.Decoder(decoder, weights), attention)


def objective(smoothing: float) -> losses.Objective:
    """Returns cross-entropy ("nats") and accuracy; the minimised loss smooths the targets over all words.

    A smoothed target makes all wrong words equally unlikely. The network then has to unlearn what it first inferred
    from co-occurrence only, such as that circles are never red.
    """

    def smoothed(outputs: PyTree, batch: data.Batch) -> losses.Metrics:
        metrics, logits = translator.objective(outputs, batch), rnnjax.base.without_marks(outputs)
        targets = optax.smooth_labels(jax.nn.one_hot(batch.y, logits.shape[-1], dtype=logits.dtype), smoothing)
        loss = losses.mean(optax.softmax_cross_entropy(logits, targets), batch.mask)
        return metrics | {"loss": loss, "nats": metrics["loss"]}

    return smoothed


def build(config: app.Config) -> app.Setup:
    """Builds the network on fresh pictures; it is tested on combinations of colour and shape that are new to it."""
    seen, unseen = tasks.scenes(), tasks.scenes(held_out=True)
    return app.Setup(
        cell=network(config),
        objective=objective(config.smoothing),
        train=tasks.task_stream(seen, config.batch_size),
        valid=tasks.task_stream(seen, config.batch_size, config.eval_batches),
        test=tasks.task_stream(unseen, config.batch_size, config.eval_batches),
        baseline=None if config.smoothing else seen.baseline,
        baseline_name="knows the language, not the picture",
        loss_label="cross-entropy (nats a word)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Describes new pictures with seen and unseen combinations; draws a contact sheet of the unseen ones."""
    config, net = result.config, network(result.config)

    def write(params: PyTree, picture: jax.Array) -> tuple[decoding.Decoded, jax.Array]:
        cell, inner = net.begin(params, picture)
        carry, logits = rnnjax.run(cell, inner, jnp.int32(END))
        said = decoding.decode(cell, inner, carry, logits, tasks.LONGEST, decoding.greedy, jax.random.key(0), END)
        read = jnp.concatenate([jnp.array([END], said.symbols.dtype), said.symbols[:-1]])
        return said, seq2seq.alignments(cell, inner, read)

    @jax.jit
    def whole(params: PyTree, key: jax.Array) -> Any:
        batches = [tasks.scenes(held_out).batch(key, config.tested) for held_out in (False, True)]
        both = jax.tree.map(lambda *a: jnp.stack(a), *batches)
        return both, jax.lax.map(lambda x: jax.vmap(write, (None, 0))(params, x), both.x.source)

    batches, (said, weights) = jax.device_get(whole(result.params, jax.random.key(config.seed + 1)))
    parts = ("combinations seen", "held-out combinations")
    scores = {n: mistakes(said.symbols[i, :, : tasks.LONGEST], batches.y[i]) for i, n in enumerate(parts)}
    print_table([{"": n, **score} for n, score in scores.items()], title=f"{config.cell}: generated sentences")
    path = Path(result.summary["workdir"]) / f"captions.{config.picture}"
    n = min(config.shown, config.tested)
    save(path, draw_sheet(batches.x.source[1][:n], said.symbols[1][:n], batches.y[1][:n], weights[1][:n]))
    print(f"captions: {path}")
    return {"written": scores}


def mistakes(said: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """Returns the fraction of correct sentences `[n, words]`, and of errors by the kind of the first wrong word."""
    wrong = said != wanted
    first = np.take_along_axis(wanted, wrong.argmax(1)[:, None], 1)[wrong.any(1), 0]
    parts = {kind: np.isin(first, tasks.encode_words(" ".join(words))) for kind, words in KINDS.items()}
    elsewhere = ~np.any(list(parts.values()), axis=0)
    counts = {f"wrong: {kind}": of.sum() / len(said) for kind, of in (parts | {"where": elsewhere}).items()}
    return {"exact": float(1 - wrong.any(1).mean())} | {kind: float(part) for kind, part in counts.items()}


def draw_sheet(pictures: np.ndarray, said: np.ndarray, wanted: np.ndarray, weights: np.ndarray) -> Figure:
    """Draws one row per picture: the picture, and the attention before each word."""
    figure = Figure(figsize=(13, 1.45 * len(pictures)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(pictures), tasks.LONGEST, squeeze=False)
    for row, picture, symbols, right, looked in zip(axes, pictures, said, wanted, weights):
        for a in row:
            a.set_axis_off()
        good = bool((symbols == right).all())
        draw_prediction(row[0], picture, "right" if good else "wrong", good)
        words = [tasks.WORDS[s] for s in symbols if s]
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


EXPERIMENT = app.Experiment(build, FLAGS, finish=finish, free=("shown",), description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
