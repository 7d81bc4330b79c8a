"""Polyphonic music: a network reads the keys that sound in each frame and predicts those of the next.

It trains on generated tunes or, with `--data`, on piano rolls such as the JSB chorales or Nottingham. Look at the
negative log-likelihood per frame on the test pieces, and at the picture, which shows how the network continues a piece
by itself.
"""

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
from rnnjax import app, losses
from rnnjax.base import PyTree, UserError
from rnnjax.data import KEYS, LOWEST, Batch, Stream, find, in_order, packed, read_rolls, shuffled
from rnnjax.data import split_long as cut_
from rnnjax.plotting import save

FLAGS = app.common_flags(
    cell="gru,vanilla",
    hidden_size="64",
    learning_rate=3e-3,
    schedule="cosine",
    batch_size=16,
    num_steps=1000,
    log_every=20,
    eval_every=100,
    checkpoint_every=500,
)
flags.DEFINE_string(
    "data",
    "generated",
    "generated: tunes over chords; or a .mat or JSON file of piano rolls, itself or below --data_dir: "
    "polymusic/JSB_Chorales.mat.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("tunes", 200, "Generated training tunes.", 1, 1_000_000, flag_values=FLAGS)
flags.DEFINE_integer(
    "longest",
    200,
    "Frames per training sequence, to which pieces are cut; the test uses whole pieces.",
    2,
    flag_values=FLAGS,
)
flags.DEFINE_float("input_dropout", 0.0, "Dropout rate of the input keys.", 0, 0.999, flag_values=FLAGS)
flags.DEFINE_integer(
    "transpose",
    0,
    "Maximal random transposition of each training row, up or down, in semitones.",
    0,
    KEYS // 2,
    flag_values=FLAGS,
)

CHUNG, BAI = "Chung et al. 2014, table 2", "Bai et al. 2018, table 1"


def published(*rows: tuple[str, str, str]) -> tuple[app.Published, ...]:
    """Returns published results, as remembered from the papers."""
    return tuple(app.Published(model, value, source, False) for model, value, source in rows)


PUBLISHED = {
    "jsb": published(
        ("GRU, 20 k parameters", "8.54", CHUNG),
        ("LSTM, 20 k parameters", "8.67", CHUNG),
        ("tanh RNN, 20 k parameters", "9.10", CHUNG),
        ("GRU", "8.43", BAI),
        ("LSTM", "8.45", BAI),
        ("TCN", "8.10", BAI),
        ("RNN-NADE", "5.56", "Boulanger-Lewandowski et al. 2012"),
    ),
    "nottingham": published(
        ("GRU, 20 k parameters", "3.23", CHUNG),
        ("LSTM, 20 k parameters", "3.20", CHUNG),
        ("tanh RNN, 20 k parameters", "3.13", CHUNG),
        ("GRU", "3.46", BAI),
        ("LSTM", "3.29", BAI),
        ("TCN", "3.07", BAI),
        ("RNN-NADE", "2.31", "Boulanger-Lewandowski et al. 2012"),
    ),
}

TRANSPOSE_TAG = 1  # the order of a new epoch uses the same key
CHORDS = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (9, 12, 16))  # I, IV, V, vi, in semitones above the tonic
NEXT = np.array([[0.1, 0.4, 0.3, 0.2], [0.4, 0.1, 0.4, 0.1], [0.6, 0.1, 0.1, 0.2], [0.1, 0.5, 0.3, 0.1]])


def tune(rng: np.random.Generator) -> np.ndarray:
    """Generates a tune in a random key: a chord progression with four frames per chord, and a melody over it."""
    tonic, chord, note = int(rng.integers(24, 36)), 0, int(rng.integers(3))
    roll = np.zeros((4 * int(rng.integers(8, 17)), KEYS), np.uint8)
    for t in range(len(roll)):
        if t and t % 4 == 0:
            chord = int(rng.choice(4, p=NEXT[chord]))
        note = (note + int(rng.choice((-1, 0, 1)))) % 3
        roll[t, [tonic + k for k in CHORDS[chord]]] = 1
        roll[t, tonic + 24 + CHORDS[chord][note]] = 1
    return roll


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      counts: number of rows in each part.
      yardstick: nats per frame of a predictor that knows the frequency of each key only.
      scale: factor of the input frames.
      piece: a test piece to show.
    """

    counts: dict[str, int]
    yardstick: float
    scale: float
    piece: np.ndarray


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Loads the pieces in three parts, packed."""
    if config.data == "generated":
        rng = np.random.default_rng(config.seed)
        sizes = {"test": 50, "valid": 50, "train": config.tunes}
        rolls = {part: [tune(rng) for _ in range(n)] for part, n in sizes.items()}
    else:
        rolls = print_notes(config.data, read_rolls(find(config.data, config.data_dir)))
    rolls = {part: more_than_one(pieces, f"{part}: {{}} pieces") for part, pieces in rolls.items()}
    cut = rolls | {"train": more_than_one(cut_(rolls["train"], config.longest), "train: {} ends of pieces")}
    data = {part: succession(pieces) for part, pieces in cut.items()}
    return (
        Facts(
            counts={part: len(batch.y) for part, batch in data.items()},
            yardstick=independent_nats(rolls["train"], rolls["test"]),
            scale=1 / max(float(np.concatenate(rolls["train"]).mean()), 1e-3) ** 0.5,  # few keys sound: mean square 1
            piece=max(rolls["test"][:20], key=len)[:160],
        ),
        data,
    )


def more_than_one(pieces: list[np.ndarray], what: str) -> list[np.ndarray]:
    """Returns the pieces of more than one frame, and prints how many are left out."""
    kept = [piece for piece in pieces if len(piece) > 1]
    if len(kept) < len(pieces):
        print(f"{what.format(len(pieces) - len(kept))} are left out: they have a single frame")
    if not kept:
        raise UserError(f"{what.format('all')} have one frame: each frame is predicted from the one before")
    return kept


def succession(pieces: list[np.ndarray]) -> Batch:
    """Returns inputs, all frames but the last, and targets, all but the first, with several pieces per row."""
    steps = max(map(len, pieces)) - 1
    return packed([p[:-1] for p in pieces], [p[1:] for p in pieces], steps)


def independent_nats(train: list[np.ndarray], test: list[np.ndarray]) -> float:
    """Returns nats per frame of a predictor that knows the frequency of each key only."""
    heard = np.concatenate([p[1:] for p in train])
    p = (heard.sum(0) + 0.5) / (len(heard) + 1)
    frames = np.concatenate([p[1:] for p in test]).astype(float)
    return float(-(frames * np.log(p) + (1 - frames) * np.log1p(-p)).sum(1).mean())


def transposed(stream: Stream, most: int) -> Stream:
    """Returns a stream whose rows are randomly transposed; keys that leave the keyboard are dropped."""

    def moved(rolls: jax.Array, by: jax.Array) -> jax.Array:
        wide = jnp.pad(rolls, ((0, 0), (most, most)))
        return jax.lax.dynamic_slice_in_dim(wide, most - by, KEYS, axis=1)

    def following(data: PyTree, position: PyTree, key: jax.Array) -> tuple[Batch, PyTree]:
        batch, position = stream.next(data, position, key)
        by = jax.random.randint(jax.random.fold_in(key, TRANSPOSE_TAG), batch.y.shape[:1], -most, most + 1)
        x, y = (jax.vmap(moved)(rolls, by) for rolls in (batch.x.x, batch.y))
        return batch._replace(x=batch.x._replace(x=x), y=y), position

    return stream._replace(next=following)


def network(config: app.Config, scale: float) -> rnnjax.Cell:
    """Returns a network from a frame to the logit of each key in the next."""
    dtype = jnp.dtype(config.dtype)
    drop = [rnnjax.dropout(config.input_dropout)] if config.input_dropout else []
    frames = rnnjax.pointwise(lambda x: x.astype(dtype) * jnp.asarray(scale, dtype))
    return rnnjax.stack(frames, *drop, config.layers(), rnnjax.linear(KEYS))


def objective(outputs: PyTree, batch: Batch) -> losses.Metrics:
    """Nats per frame, summed over keys; and of the keys that sound or are predicted, the fraction that do both."""
    logits, mask = rnnjax.base.without_marks(outputs), losses.counted_mask(outputs, batch)
    nats = losses.binary_cross_entropy(logits, batch.y.astype(logits.dtype)).sum(-1)
    said, sounds = logits > 0, batch.y > 0
    either = (said | sounds).astype(jnp.float32).sum(-1)
    both = losses.mean((said & sounds).astype(jnp.float32).sum(-1), mask)
    return {"loss": losses.mean(nats, mask), "accuracy": losses.Mean(both.total, losses.mean(either, mask).total)}


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on rows of pieces."""
    name = Path(config.data).stem.lower()

    def scored(part: str) -> Any:
        return in_order(part, config.batch_size, facts.counts[part])

    learned = shuffled("train", config.batch_size)
    return app.Setup(
        cell=rnnjax.unroll(network(config, facts.scale)),
        objective=objective,
        train=transposed(learned, config.transpose) if config.transpose else learned,
        valid=scored("valid"),
        test=scored("test"),
        baseline=facts.yardstick,
        baseline_name="each key as often as in training",
        published=next((rows for known, rows in PUBLISHED.items() if known in name), ()),
        loss_label="negative log-likelihood (nats a frame)",
    )


def compose(cell: rnnjax.Cell, params: PyTree, start: jax.Array, frames: int, key: jax.Array) -> jax.Array:
    """Samples frames after those of a start; each key is drawn independently, and each frame is the next input."""
    weights = cell.weights(params)

    def drawn(at: tuple[PyTree, jax.Array], key: jax.Array) -> tuple[tuple[PyTree, jax.Array], jax.Array]:
        carry, logits = at
        frame = jax.random.bernoulli(key, jax.nn.sigmoid(logits)).astype(start.dtype)
        return cell.step(weights, carry, frame), frame

    carry, logits = rnnjax.run(rnnjax.unroll(cell), params, start)
    return jax.lax.scan(drawn, (carry, logits[-1]), jax.random.split(key, frames))[1]


def finish(result: app.Result) -> dict[str, Any]:
    """Draws a test piece, the predictions for it, and the network's own continuation of its first quarter."""
    config, piece = result.config, result.facts.piece
    start = len(piece) // 4
    _, logits = rnnjax.run(result.setup.cell, result.params, jnp.asarray(piece))
    cell, key = network(config, result.facts.scale), jax.random.key(config.seed)
    own = compose(cell, result.params, jnp.asarray(piece[:start]), len(piece) - start, key)
    shown = {
        "a test piece": piece[1:],
        "the probability of each key, given what came before": jax.nn.sigmoid(logits[:-1]),
        f"the first {start} frames, and how the network goes on alone": np.concatenate([piece[1:start], own]),
    }
    path = Path(result.summary["workdir"]) / f"rolls.{config.picture}"
    draw(path, {name: np.asarray(roll) for name, roll in shown.items()}, start)
    print(f"rolls: {path}")
    return {}


def draw(path: Path, rolls: dict[str, np.ndarray], start: int) -> None:
    """Draws piano rolls above one another, with the keys that occur in any of them."""
    figure = Figure(figsize=(8, 2.2 * len(rolls)), layout="constrained")
    FigureCanvasAgg(figure)
    used = np.flatnonzero(np.max([(roll > 0.1).any(0) for roll in rolls.values()], axis=0))
    low, high = int(used.min()), int(used.max()) + 1
    for axes, (name, roll) in zip(figure.subplots(len(rolls), sharex=True, squeeze=False)[:, 0], rolls.items()):
        extent = (1, len(roll) + 1, low + LOWEST, high + LOWEST)
        axes.imshow(roll[:, low:high].T, aspect="auto", origin="lower", cmap="gray_r", vmin=0, vmax=1, extent=extent)
        axes.set_title(name, loc="left", fontsize=10)
        axes.set_ylabel("MIDI note")
    axes.axvline(start, color="#D55E00", linewidth=1)
    axes.set_xlabel("frame")
    save(path, figure)


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
