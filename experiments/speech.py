"""Connectionist temporal classification: a network labels a sequence without knowing when each label occurs.

It trains on generated words as pen strokes or, with `--data`, on recordings. Look at the label error by best path
and by beam search, and at the picture, which shows the probability of each label at each step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import rnnjax
from experiments._shared.notes import print_notes
from rnnjax import app, decoding, losses, tasks
from rnnjax.base import PyTree, Seq, UserError, without_marks
from rnnjax.data import (
    Batch,
    Recording,
    Stream,
    find,
    frames,
    gather_examples,
    in_order,
    labels_of,
    log_mel,
    padded,
    random_split,
    shuffled,
)
from rnnjax.data import recordings as recordings_
from rnnjax.plotting import COLOURS, GREY, save
from rnnjax.runs import print_table

FLAGS = app.common_flags(
    cell="lstm",
    hidden_size="32",
    learning_rate=5e-3,
    schedule="cosine",
    batch_size=32,
    num_steps=400,
    log_every=20,
    eval_every=100,
    eval_batches=4,
)
flags.DEFINE_string(
    "data",
    "strokes",
    "strokes: generated words of a pen; or a folder or a tar or zip archive of wav files, itself or below --data_dir, "
    "named after their labels, digits from 0 to 9: 0_1_1.wav; those whose first label is --test_first are the test "
    "part: yesno/waves_yesno.tar.gz.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "test_first", 1, "First label of the test recordings; the others are for training.", 0, 9, flag_values=FLAGS
)
flags.DEFINE_float("valid", 0.15, "Fraction of the training recordings for validation.", 0, 0.5, flag_values=FLAGS)
flags.DEFINE_integer("mels", 40, "Number of mel bands.", 1, flag_values=FLAGS)
flags.DEFINE_integer("together", 4, "Frames of 10 ms per step.", 1, flag_values=FLAGS)
flags.DEFINE_float(
    "input_noise",
    0.5,
    "Normal noise on the features of training recordings, in standard deviations.",
    0,
    flag_values=FLAGS,
)
flags.DEFINE_integer("shortest", 2, "Letters of the shortest generated words.", 1, flag_values=FLAGS)
flags.DEFINE_integer("longest", 5, "Letters of the longest generated words.", 1, flag_values=FLAGS)
flags.DEFINE_integer("tested", 500, "Generated test words.", 1, 1_000_000, flag_values=FLAGS)
flags.DEFINE_integer("beam", 16, "Beam width of the beam search at the end.", 1, flag_values=FLAGS)


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      symbols: names of the labels, the blank first.
      counts: number of examples in each part.
      entropy: nats per recording of a predictor that knows the label frequencies only; 0 for strokes.
    """

    symbols: tuple[str, ...]
    counts: dict[str, int]
    entropy: float


def generated(config: app.Config) -> tuple[Facts, PyTree]:
    """Returns test words; training words are drawn during training."""
    if config.shortest > config.longest:
        raise UserError(f"--shortest={config.shortest} is more than --longest={config.longest}")
    test = tasks.words(config.shortest, config.longest).batch(jax.random.key(config.seed + 1), config.tested)
    return Facts(("", *tasks.LETTERS), {"test": config.tested}, 0.0), {"test": test}


def recording_features(recordings: list[Recording], config: app.Config) -> Seq:
    """Returns the features of all recordings, `[n, steps, together mels]`, with one compiled program."""
    rate, cut = recordings[0].rate, frames(recordings[0].rate)
    samples = padded([r.samples for r in recordings])
    count = np.array([cut.count(len(r.samples)) for r in recordings]) // config.together
    steps = int(count.max())
    if not count.all():
        short = recordings[int(count.argmin())]
        raise UserError(f"{short.name}: {len(short.samples)} samples are less than a step of {config.together} frames")
    features = jax.jit(lambda x: jax.lax.map(lambda s: log_mel(s, rate, config.mels, cut), x))(samples.x)
    joined = np.asarray(features)[:, : steps * config.together].reshape(len(count), steps, -1)
    return Seq(joined, np.arange(steps) < count[:, None])


def recorded(config: app.Config) -> tuple[Facts, PyTree]:
    """Loads recordings in three parts, split by their first label."""
    found = print_notes(config.data, recordings_(find(config.data, config.data_dir)))
    y = [labels_of(r.name) for r in found]
    first = np.array([labels[0] for labels in y])
    test, rest = np.flatnonzero(first == config.test_first), np.flatnonzero(first != config.test_first)
    if not len(test) or len(rest) < 2:
        raise UserError(
            f"--test_first={config.test_first}: {len(test)} recordings to test on, {len(rest)} to learn from"
        )
    x = recording_features(found, config)
    try:
        losses.check_lengths(x.valid.sum(1).tolist(), [labels + 1 for labels in y], [f"{r.name}.wav" for r in found])
    except ValueError as error:
        raise UserError(str(error)) from error
    train, valid = (rest[part] for part in random_split(len(rest), config.valid))
    seen = x.x[train][x.valid[train]]
    unit = (x.x - seen.mean(0)) / np.maximum(seen.std(0), 1e-6)
    x = Seq(np.where(x.valid[..., None], unit, 0).astype(np.float32), x.valid)
    targets = padded([labels + 1 for labels in y]).x
    whole = Batch(x, targets)
    data = {
        name: gather_examples(whole, jnp.asarray(at))
        for name, at in (("train", train), ("valid", valid), ("test", test))
    }
    symbols = ("", *map(str, range(int(targets.max()))))
    counts = {name: len(part.y) for name, part in data.items()}
    used = np.concatenate([y[i] for i in test]) + 1
    share = np.bincount(np.concatenate([y[i] for i in train]) + 1, minlength=len(symbols))
    entropy = -np.log(np.maximum(share[used], 0.5) / share.sum()).sum() / len(test)
    return Facts(symbols, counts, float(entropy)), data


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Loads the examples and the names of their labels."""
    if config.rule != "bptt":
        raise UserError(f"--rule={config.rule}: whole recordings are read in both directions: do not give --rule")
    return generated(config) if config.data == "strokes" else recorded(config)


def noisy(deviation: float) -> rnnjax.Cell:
    """Returns a cell that adds normal noise in training, and none without a key."""

    def apply(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return x if key is None else x + jnp.asarray(deviation, x.dtype) * jax.random.normal(key, x.shape, x.dtype)

    return rnnjax.stateless(lambda key, x: (), apply)


def network(config: app.Config, labels: int) -> rnnjax.Cell:
    """Returns bidirectional layers, and logits of the blank and each label at every step."""
    noise = [rnnjax.unroll(noisy(config.input_noise))] if config.data != "strokes" and config.input_noise else []
    drop = [rnnjax.unroll(cell) for cell in config.noise()]
    layer = rnnjax.bidirectional(config.single_layer())
    return rnnjax.stack(*noise, *[layer, *drop] * config.num_layers, rnnjax.unroll(rnnjax.linear(labels)))


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on fresh words or on recordings."""
    size, counts = config.batch_size, facts.counts
    test = in_order("test", size, counts["test"])
    valid: Stream | None
    if config.data == "strokes":
        task = tasks.words(config.shortest, config.longest)
        train, valid = tasks.task_stream(task, size), tasks.task_stream(task, size, config.eval_batches)
        baseline, what = task.baseline, "a word"
    else:
        train = shuffled("train", min(size, counts["train"]))
        valid = in_order("valid", size, counts["valid"]) if counts["valid"] else None
        baseline, what = facts.entropy, "a recording"
    return app.Setup(
        cell=network(config, len(facts.symbols)),
        objective=losses.label_ctc,
        train=train,
        valid=valid,
        test=test,
        baseline=baseline,
        baseline_name="knows how often each label comes",
        loss_label=f"- log p(labels) (nats {what})",
    )


def decoded(result: app.Result) -> tuple[dict[str, Any], jax.Array]:
    """Decodes the test part by best path and by beam search; returns the errors and the logits."""
    beam = result.config.beam

    def one(batch: Batch) -> tuple[dict[str, tuple[jax.Array, jax.Array]], jax.Array]:
        out = rnnjax.run(result.setup.cell, result.params, batch.x)[1]
        n = batch.y.shape[0]
        search = decoding.prefix_beam_search(without_marks(out), beam, 2 * n, out.valid)
        said = {
            "best path": decoding.best_path(without_marks(out), out.valid),
            f"beam {beam}": (search.symbols[0], search.length[0]),
        }
        return {
            name: (losses.edit_distance(batch.y, labels, (batch.y > 0).sum(), m), (batch.y > 0).sum())
            for name, (labels, m) in said.items()
        }, without_marks(out)

    errors, logits = jax.device_get(jax.jit(lambda b: jax.lax.map(one, b, batch_size=32))(result.data["test"]))
    return {
        name: {"label error": float(wrong.sum() / n.sum()), "exact": float((wrong == 0).mean())}
        for name, (wrong, n) in errors.items()
    }, logits


def finish(result: app.Result) -> dict[str, Any]:
    """Reports label errors by best path and by beam search, and draws one example."""
    scores, logits = decoded(result)
    print_table([{"": name} | row for name, row in scores.items()], title=f"{result.config.cell}: the test part")
    path = Path(result.summary["workdir"]) / f"labels.{result.config.picture}"
    first = jax.tree.map(lambda a: np.asarray(a[0]), result.data["test"])
    save(path, draw(first, np.asarray(jax.nn.softmax(logits[0])), result.config, result.facts.symbols))
    print(f"labels: {path}")
    return {"decoded": scores}


def draw(example: Batch, p: np.ndarray, config: app.Config, symbols: tuple[str, ...]) -> Figure:
    """Draws the input and, above it, the probability of each label at each step, with the blank in grey."""
    steps = int(example.x.valid.sum())
    x, p, wanted = example.x.x[:steps], p[:steps], [symbols[i] for i in example.y if i]
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1)
    above.plot(p[:, 0], color=GREY, linewidth=0.8, alpha=0.6)
    for i in range(1, len(symbols)):
        if p[:, i].max() > 0.3:
            above.plot(p[:, i], color=COLOURS[(i - 1) % len(COLOURS)], linewidth=1.6)
    spikes = [t for t in range(steps) if p[t].argmax() and (t == 0 or p[t].argmax() != p[t - 1].argmax())]
    for t in spikes:
        above.annotate(symbols[p[t].argmax()], (t, 1.04), ha="center", fontsize=10)
    above.set(xlim=(-0.5, steps - 0.5), ylim=(0, 1.2), yticks=[0, 1], ylabel="probability")
    above.set_title(f"wanted: {' '.join(wanted)}   (grey: blank)", loc="left", fontsize=10)
    if config.data == "strokes":
        way = np.cumsum(x[:, :2], 0)
        for t in range(1, steps):
            if x[t, 2] == 0:
                below.plot(*way[t - 1 : t + 1].T, color="black", linewidth=1.5)
        for t in spikes:
            below.plot(*way[t], "o", color=COLOURS[1], markersize=4)
        below.set_aspect("equal")
        below.set_axis_off()
    else:
        bands = x.reshape(steps * config.together, config.mels)
        below.imshow(bands.T, origin="lower", aspect="auto", extent=(-0.5, steps - 0.5, 0, config.mels), cmap="magma")
        below.set(xlabel=f"step ({config.together * 10} ms)", ylabel="mel band")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, free=("beam",), description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
