"""Sequential image classification: a network reads a digit pixel by pixel and classifies it after the last pixel.

By default a unitary RNN and an LSTM train on the 8 x 8 digits of scikit-learn; `--data` takes a folder with the files
of MNIST, and `--permuted` shuffles the pixels. Look at the test accuracy, and at the picture of test images with their
predictions.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.notes import check_classes
from rnnjax import app, cells, losses
from rnnjax.base import PyTree
from rnnjax.data import (
    Stream,
    digits,
    find_folder,
    idx_folder,
    images_in_order,
    label_last_step,
    map_batches,
    permuted,
    pixels,
    shuffled_images,
    split,
    unpermuted,
)
from rnnjax.plotting import draw_gallery, save

FLAGS = app.common_flags(
    cell="urnn,lstm",
    hidden_size="128,64",
    learning_rate=3e-3,
    schedule="cosine",
    batch_size=64,
    num_steps=1000,
    log_every=20,
    eval_every=100,
    checkpoint_every=500,
)
flags.DEFINE_string(
    "data",
    "digits",
    "digits: 8 x 8, from scikit-learn; or a folder with idx files, itself or below --data_dir: mnist.",
    flag_values=FLAGS,
)
flags.DEFINE_boolean("permuted", False, "Read the pixels in another order, the same for all images.", flag_values=FLAGS)
flags.DEFINE_float("valid", 0.1, "Fraction of the training images for validation.", 0, 0.5, flag_values=FLAGS)
flags.DEFINE_enum(
    "pool",
    "last",
    ["last", "mean", "max"],
    "What the classifier reads: the last output, or the mean or maximum over all pixels.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("shown", 24, "Number of test images in the picture.", 0, flag_values=FLAGS)

TEST = 0.2  # of the 8 x 8 digits, which have no test set of their own
PERMUTATION = 92916  # seed of the order of pixels

EXPRNN = "Lezcano-Casado, Martinez-Rubio 2019"
PUBLISHED = {
    False: (
        app.Published("LEM, 128 units, 120 epochs", "accuracy 99.45 %", "tk-rusch/LEM, logged results", True),
        app.Published("coRNN", "accuracy 99.4 %", "coRNN README", True),
        app.Published("expRNN, 170 units", "accuracy 98.0 %", EXPRNN, False),
        app.Published("scoRNN, 170 units", "accuracy 97.2 %", EXPRNN, False),
        app.Published("uRNN, 512 units", "accuracy 95.1 %", "Arjovsky et al. 2016", False),
        app.Published("LSTM, 128 units", "accuracy 98.2 %", "Arjovsky et al. 2016", False),
    ),
    True: (
        app.Published("LEM, 128 units, 120 epochs", "accuracy 96.62 %", "tk-rusch/LEM, logged results", True),
        app.Published("coRNN", "accuracy 97.3 %", "coRNN README", True),
        app.Published("expRNN, 170 units", "accuracy 94.9 %", EXPRNN, False),
        app.Published("scoRNN, 170 units", "accuracy 94.8 %", EXPRNN, False),
        app.Published("uRNN, 512 units", "accuracy 91.4 %", "Arjovsky et al. 2016", False),
        app.Published("LSTM, 128 units", "accuracy 88.0 %", "Arjovsky et al. 2016", False),
    ),
}


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      classes: number of classes.
      counts: number of images in each part.
    """

    classes: int
    counts: dict[str, int]


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Loads the images in three parts. No choice is ever made on the test part."""
    if config.data == "digits":
        train, test = split(digits(), TEST)
    else:
        train, test = idx_folder(str(find_folder(config.data, config.data_dir)))
    classes = int(train.y.max()) + 1
    check_classes(config.data, train.y.tolist(), [str(i) for i in range(classes)])
    train, valid = split(train, config.valid)
    data = {"train": train, "valid": valid, "test": test}
    if config.permuted:
        data = {name: permuted(part, PERMUTATION) for name, part in data.items()}
    return Facts(classes, {name: len(part.y) for name, part in data.items()}), data


POOLS = {"last": (), "mean": (cells.mean_so_far(),), "max": (cells.max_so_far(),)}


def network(config: app.Config, classes: int) -> rnnjax.Cell:
    """Returns a network from pixels to logits after the last pixel; at each step for a step-by-step rule."""
    layers = rnnjax.stack(config.layers(), *POOLS[config.pool])
    if config.rule == "bptt":
        return rnnjax.stack(rnnjax.last(rnnjax.unroll(layers)), rnnjax.linear(classes))
    return rnnjax.unroll(rnnjax.stack(layers, rnnjax.linear(classes)))


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on batches of images."""
    place = (lambda stream: stream) if config.rule == "bptt" else lambda stream: map_batches(stream, label_last_step)

    def scored(name: str) -> Stream | None:
        n = facts.counts[name]
        return place(images_in_order(name, config.batch_size, n)) if n else None

    return app.Setup(
        cell=network(config, facts.classes),
        objective=losses.classify,
        train=place(shuffled_images("train", config.batch_size)),
        valid=scored("valid"),
        test=scored("test"),
        baseline=math.log(facts.classes),
        baseline_name=f"guessing: ln {facts.classes}",
        published=PUBLISHED[config.permuted] if Path(config.data).name == "mnist" else (),
        loss_label="cross-entropy (nats an image)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Draws the first test images with their predictions."""
    config, test = result.config, jax.tree.map(np.asarray, result.data["test"])
    side = math.isqrt(test.x.shape[1])
    n = min(config.shown, len(test.y))
    if not n or side * side != test.x.shape[1]:
        return {}
    x = pixels(test, jnp.arange(n)).x
    logits = jax.jit(jax.vmap(lambda x: rnnjax.run(result.setup.cell, result.params, x)[1]))(x)
    said = np.asarray(logits).reshape(n, -1, result.facts.classes)[:, -1].argmax(-1)
    shown = unpermuted(test, PERMUTATION) if config.permuted else test
    path = Path(result.summary["workdir"]) / f"digits.{config.picture}"
    title = f"{config.cell}: what it says of the first {n} test images"
    save(path, draw_gallery(shown.x[:n].reshape(n, side, side), test.y[:n].tolist(), said.tolist(), title))
    print(f"digits: {path}")
    return {"said": {"first": n, "right": int((said == test.y[:n]).sum())}}


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, free=("shown",), description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
