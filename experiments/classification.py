"""Sequence classification: a network reads a whole sequence and predicts one label for it.

By default it trains on generated sentences in which only word order decides; `--data` names other generated sets, or
files of texts, surnames, spoken vowels or parse trees. Look at the test accuracy beside that of the most common class,
and at the accuracy by length.
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
from experiments._shared.confusion import confusion_picture, confusion_table
from experiments._shared.labelled_data import by_share, drop_long, encoded, read, reduced, standardised
from experiments._shared.notes import check_classes, print_notes
from rnnjax import app, losses
from rnnjax.base import PyTree, UserError
from rnnjax.cells import mean_so_far
from rnnjax.data import (
    Batch,
    Vectors,
    Vocabulary,
    embedding_table,
    in_order,
    label_last_step,
    map_batches,
    padded,
    read_vectors,
    shuffled,
)
from rnnjax.data import find as found_at
from rnnjax.plotting import save
from rnnjax.runs import print_table

FLAGS = app.common_flags(
    cell="gru,bag_of_inputs,convolution,per_position",
    hidden_size="32",
    learning_rate=3e-3,
    schedule="cosine",
    batch_size=64,
    num_steps=600,
    log_every=20,
    eval_every=50,
    checkpoint_every=500,
)
flags.DEFINE_string(
    "data",
    "order",
    "order: generated sentences such as `not bad , great` and `not great , bad`; clauses: such as `mr x who , as all "
    "know , is an ex-employee of company y , is running a business of his own`, and the other way round; intents: such "
    "as `what time is it`; otherwise, itself or below --data_dir, a folder with a text file for each class (names), "
    "with train.txt, dev.txt and test.txt of trees (sst), with ae.train and size_ae.train (japanese_vowels); a .ts "
    "file to train on, or a file of lines LABEL<TAB>TEXT.",
    flag_values=FLAGS,
)
flags.DEFINE_string("test_data", "", "A separate .ts or text file for the test, in place of --test.", flag_values=FLAGS)
flags.DEFINE_enum(
    "task", "binary", ["binary", "fine"], "For a folder of trees: two classes, or five.", flag_values=FLAGS
)
flags.DEFINE_enum(
    "units",
    "auto",
    ["auto", "words", "characters"],
    "The units of a text; auto: characters if there is a file for each class.",
    flag_values=FLAGS,
)
flags.DEFINE_float("valid", 0.1, "Fraction of the training examples for validation.", 0.001, 0.5, flag_values=FLAGS)
flags.DEFINE_float(
    "test", 0.2, "Fraction of the examples for the test, if the data have no test part.", 0.001, 0.5, flag_values=FLAGS
)
flags.DEFINE_float(
    "part", 1.0, "Fraction of the training examples to use: a small labelled set.", 0.0001, 1.0, flag_values=FLAGS
)
flags.DEFINE_integer(
    "longest", 60, "Steps of the longest sequence; longer ones are skipped and counted.", 1, flag_values=FLAGS
)
flags.DEFINE_integer("vocabulary", 10000, "Maximal number of different words or characters.", 4, flag_values=FLAGS)
flags.DEFINE_integer("embedding_size", 32, "Embedding size of a word; --vectors sets its own.", 1, flag_values=FLAGS)
flags.DEFINE_string("vectors", "", "Initial word vectors, a text file of word2vec or GloVe.", flag_values=FLAGS)
flags.DEFINE_string("vectors_encoding", "utf-8", "Encoding of --vectors without a byte order mark.", flag_values=FLAGS)
flags.DEFINE_boolean("frozen", False, "Keep the word vectors at their initial values.", flag_values=FLAGS)
flags.DEFINE_boolean("both_ways", False, "Read each sequence in both directions.", flag_values=FLAGS)
flags.DEFINE_boolean("pool", False, "Classify the mean of all outputs, not the last one.", flag_values=FLAGS)
flags.DEFINE_float(
    "input_noise", 0.0, "Normal noise on numeric training inputs, in standard deviations.", 0.0, flag_values=FLAGS
)
flags.DEFINE_integer("sentences", 2000, "Generated sentences.", 20, 1_000_000, flag_values=FLAGS)


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      classes: names of the labels.
      counts: number of examples in each part.
      entropy: nats per example of a predictor that knows the class frequencies only.
      commonest: fraction of the test in the most common class, in [0, 1].
      vocabulary: of texts; None for numeric examples.
      vectors: of `--vectors`, if given.
    """

    classes: tuple[str, ...]
    counts: dict[str, int]
    entropy: float
    commonest: float
    vocabulary: Vocabulary | None
    vectors: Vectors | None


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Loads the examples as batches of three parts."""
    parts, units = read(config)
    parts["train"] = reduced(parts["train"], config.part)
    vocabulary, vectors = None, None
    if not isinstance(parts["train"].xs[0], np.ndarray):
        vectors = pretrained(config) if config.vectors else None
        vocabulary, parts = encoded(
            parts, units if config.units == "auto" else config.units, config.vocabulary, vectors
        )
    if vectors is not None and vocabulary is not None:
        words = tuple(vocabulary.decode(np.unique(np.concatenate(parts["train"].xs))))
        known = embedding_table(vectors, Vocabulary(words)).found
        print(f"{config.vectors}: vectors for {known} of the {len(words)} words of the training part")
    few = [name for name, part in parts.items() if not len(part.xs)]
    if few:
        raise UserError(f"--data={config.data}: too few examples, none is left for the {few[0]} part")
    check_classes(config.data, parts["train"].y.tolist(), parts["train"].classes)
    parts = {name: drop_long(part, name, config.longest) for name, part in parts.items()}
    steps = max(len(x) for part in parts.values() for x in part.xs)
    data = {name: Batch(padded(part.xs, steps), part.y) for name, part in parts.items()}
    counts = {name: len(part.y) for name, part in parts.items()}
    classes = parts["train"].classes
    yardsticks = by_share(parts["train"].y, parts["test"].y, len(classes))
    return Facts(classes, counts, *yardsticks, vocabulary, vectors), standardised(data)


def pretrained(config: app.Config) -> Vectors:
    """Reads `--vectors`."""
    return print_notes(config.vectors, read_vectors(found_at(config.vectors, config.data_dir), config.vectors_encoding))


def entrance(config: app.Config, facts: Facts) -> list[rnnjax.Cell]:
    """Returns the layers from a symbol, or the numbers of a frame, to features."""
    if facts.vocabulary is None:
        return [noisy(config.input_noise)] if config.input_noise else []
    size, init = config.embedding_size, jax.nn.initializers.normal(1.0)
    if facts.vectors is not None:
        size, init = facts.vectors.table.shape[1], embedding_table(facts.vectors, facts.vocabulary).init
    cell = rnnjax.embed(len(facts.vocabulary), size, init, jnp.dtype(config.dtype))
    return [without_gradient(cell) if config.frozen else cell, *config.noise()]


def without_gradient(cell: rnnjax.Cell) -> rnnjax.Cell:
    """Returns a cell whose params get no gradient."""
    return cell.replace(weights=lambda p, key=None: jax.lax.stop_gradient(cell.weights(p, key)))


def noisy(deviation: float) -> rnnjax.Cell:
    """Returns a cell that adds normal noise in training, and none without a key."""

    def apply(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return x if key is None else x + jnp.asarray(deviation, x.dtype) * jax.random.normal(key, x.shape, x.dtype)

    return rnnjax.stateless(lambda key, x: (), apply)


def network(config: app.Config, facts: Facts) -> rnnjax.Cell:
    """Returns a network from a sequence to logits after its last step; at each step for a step-by-step rule."""
    read, enter, layers = rnnjax.linear(len(facts.classes)), entrance(config, facts), config.layers()
    if config.both_ways:
        if config.rule != "bptt" or config.pool:
            raise UserError("--both_ways reads in both directions: do not give --rule or --pool")
        first = [rnnjax.unroll(rnnjax.stack(*enter))] if enter else []
        return rnnjax.stack(*first, rnnjax.bidirectional(layers, last=True), read)
    each = rnnjax.stack(*enter, layers, *([mean_so_far()] if config.pool else []))
    if config.rule == "bptt":
        return rnnjax.stack(rnnjax.last(rnnjax.unroll(each)), read)
    return rnnjax.unroll(rnnjax.stack(each, read))


def published(config: app.Config) -> tuple[app.Published, ...]:
    """Returns published results, from memory, for the data."""
    if config.task == "binary" and Path(config.data).name == "sst":
        return (
            app.Published("LSTM, pretrained vectors", "84.9 %", "Tai et al. 2015, table 2", False),
            app.Published("binary Tree-LSTM, random vectors", "82.0 %", "Tai et al. 2015, table 2", False),
        )
    return ()


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on whole sequences."""
    place = (lambda stream: stream) if config.rule == "bptt" else lambda s: map_batches(s, label_last_step)

    def scored(name: str) -> Any:
        return place(in_order(name, config.batch_size, facts.counts[name]))

    return app.Setup(
        cell=network(config, facts),
        objective=losses.classify,
        train=place(shuffled("train", config.batch_size)),
        valid=scored("valid"),
        test=scored("test"),
        baseline=facts.entropy,
        baseline_name=f"knows the classes' shares ({facts.commonest:.1%} right)",
        published=published(config),
        loss_label="cross-entropy (nats a sequence)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Reports accuracy by length and mistakes by class; for words, also their share of the parameters and a picture."""
    said = predictions(result)
    found: dict[str, Any] = {"by_length": by_length(result, said)} | by_class(result, said)
    vocabulary = result.facts.vocabulary
    if vocabulary is not None:
        table_w = next(a for a in jax.tree.leaves(result.params) if a.ndim == 2 and len(a) == len(vocabulary))
        share = table_w.size / result.summary["parameters"]
        path = Path(result.summary["workdir"]) / f"words.{result.config.picture}"
        plane(path, vocabulary.words[:60], np.asarray(table_w)[1:61])
        print(f"{share:.0%} of the parameters are the table of {len(vocabulary)} words; its plane: {path}")
        found["share_of_table"] = share
    return found


def predictions(result: app.Result) -> np.ndarray:
    """Returns the predicted class of each test example."""

    def predicted(batch: Batch) -> jax.Array:
        logits = rnnjax.base.without_marks(rnnjax.run(result.setup.cell, result.params, batch.x)[1])
        if logits.ndim == 2:
            logits = logits[jnp.maximum(batch.x.valid.sum() - 1, 0)]
        return logits.argmax(-1)

    return np.asarray(jax.jit(lambda b: jax.lax.map(predicted, b, batch_size=256))(result.data["test"]))


def by_class(result: app.Result, said: np.ndarray) -> dict[str, Any]:
    """Prints and draws how often each class is taken for each class; returns macro F1."""
    classes, cell = result.facts.classes, result.config.cell
    m = losses.confusion_matrix(said, np.asarray(result.data["test"].y), len(classes))
    confusion_table(m, classes, f"{cell}: test")
    path = Path(result.summary["workdir"]) / f"confusion.{result.config.picture}"
    confusion_picture(path, m, classes, f"{cell}: the classes of the test")
    f1 = losses.macro_f1(m)
    print(f"macro F1 {f1:.4f}; confusion: {path}")
    return {"macro_f1": f1}


def by_length(result: app.Result, said: np.ndarray) -> dict[str, float]:
    """Returns and prints the test accuracy by length."""
    test: Batch = result.data["test"]
    marks = said == np.asarray(test.y)
    lengths = np.asarray(test.x.valid.sum(1))
    ends = np.unique(np.quantile(lengths, np.linspace(0.2, 1, 5)).astype(int))
    bins = np.searchsorted(ends, lengths)
    rows = {f"{lengths[bins == i].min()}-{end}": float(marks[bins == i].mean()) for i, end in enumerate(ends)}
    print_table([{"steps": name, "accuracy": part} for name, part in rows.items()], title=f"{result.config.cell}: test")
    return rows


def plane(path: Path, names: tuple[str, ...], rows: np.ndarray) -> None:
    """Plots words in the plane of their two principal components."""
    centred = rows - rows.mean(0)
    at = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.scatter(at[:, 0], at[:, 1], s=8, color="#0072B2")
    for name, (x, y) in zip(names, at):
        axes.annotate(name.replace("$", r"\$"), (x, y), (3, 2), textcoords="offset points", fontsize=8)
    axes.set_title(
        f"the {len(names)} commonest symbols: the two main components of their vectors", loc="left", fontsize=10
    )
    axes.spines[["top", "right"]].set_visible(False)
    save(path, figure)


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
