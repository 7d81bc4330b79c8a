"""Sentiment of a sentence from its parse tree: a recursive network runs over the tree, a recurrent one over the words.

It trains on generated sentences with negation or, with `--data`, on a sentiment treebank. Look at the root accuracy by
sentence length, and at the gradient that reaches the words of a chain and of a balanced tree.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.notes import check_classes
from experiments._shared.tree_flags import TREE_CELLS, at_node, forests_a_batch, packed_flag
from rnnjax import app, losses, trees
from rnnjax.base import PyTree, UserError
from rnnjax.data import Batch, find_folder, in_order, shuffled
from rnnjax.plotting import Run, draw_curves, save
from rnnjax.runs import print_table

FLAGS = app.common_flags(
    cell="tree_lstm,recnn,lstm,bag",
    hidden_size="32",
    learning_rate=5e-3,
    schedule="cosine",
    batch_size=64,
    num_steps=1000,
    log_every=20,
    eval_every=100,
    checkpoint_every=500,
)
flags.DEFINE_string(
    "data",
    "generated",
    "generated: sentences from a small grammar; or a folder with train.txt, dev.txt and test.txt, one tree with labels "
    "0 to 4 per line, itself or below --data_dir: sst.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "task",
    "fine",
    ["fine", "binary"],
    "Train on five classes, which are also scored as two, or on two classes, without neutral sentences.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "labels",
    "nodes",
    ["nodes", "roots"],
    "Training targets of a recursive network; a recurrent one (lstm, gru, ...), which reads the words from left to "
    "right, always trains on the roots.",
    flag_values=FLAGS,
)
flags.DEFINE_boolean(
    "brackets",
    False,
    "Whether a recurrent network reads the brackets of the tree between the words.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("embedding_size", 32, "Embedding size of a word.", 1, flag_values=FLAGS)
packed_flag(FLAGS)
flags.DEFINE_integer("sentences", 4000, "Generated training sentences.", 1, 1_000_000, flag_values=FLAGS)
flags.DEFINE_integer(
    "longest", 12, "Words of the longest of them; test sentences go to twice that length.", 3, flag_values=FLAGS
)

LEXICON = {
    -2: ("awful", "dreadful", "horrible"),
    -1: ("bad", "dull", "weak", "stale", "clumsy"),
    0: ("long", "french", "quiet", "recent"),
    1: ("good", "warm", "clever", "fresh", "funny"),
    2: ("superb", "brilliant", "wonderful"),
}
FINE = {str(i): i for i in range(5)}
BINARY = {"0": 0, "1": 0, "3": 1, "4": 1}

SOCHER, TAI = "Socher et al. 2013, table 1", "Tai et al. 2015, table 2"


def published(model: str, source: str, nodes: str, root: str) -> app.Published:
    """Returns a row of published results, as remembered from the paper."""
    return app.Published(model, f"nodes {nodes}, root {root}" if nodes else f"root {root}", source, False)


PUBLISHED = {
    "fine": (
        published("recursive network", SOCHER, "79.0 %", "43.2 %"),
        published("recursive neural tensor network", SOCHER, "80.7 %", "45.7 %"),
        published("LSTM, pretrained vectors", TAI, "", "46.4 %"),
        published("binary Tree-LSTM, random vectors", TAI, "", "43.9 %"),
        published("binary Tree-LSTM, pretrained vectors, tuned", TAI, "", "51.0 %"),
    ),
    "binary": (
        published("recursive network", SOCHER, "86.1 %", "82.4 %"),
        published("recursive neural tensor network", SOCHER, "87.6 %", "85.4 %"),
        published("LSTM, pretrained vectors", TAI, "", "84.9 %"),
        published("binary Tree-LSTM, random vectors", TAI, "", "82.0 %"),
        published("binary Tree-LSTM, pretrained vectors, tuned", TAI, "", "88.0 %"),
    ),
}


def bag(hidden: int) -> trees.TreeCell:
    """A baseline without structure: a node is the sum of its words."""
    return trees.recnn(hidden).replace(
        init=lambda key, x: {"w": trees.recnn(hidden).init(key, x)["w"]}, node=lambda p, h, present, key=None: h.sum(0)
    )


CELLS = {**TREE_CELLS, "bag": bag}


def sentence(rng: np.random.Generator, n: int) -> tuple[str, int]:
    """Generates a bracketed sentence of n words and its sentiment, -2 to 2; `not` negates what follows it."""
    if n == 1:
        value = int(rng.integers(-2, 3))
        return f"({value + 2} {rng.choice(LEXICON[value])})", value
    words = ["not", "very"] + ["and", "but"] * (n > 2)
    word = str(rng.choice(words))
    if word in ("not", "very"):
        inner, felt = sentence(rng, n - 1)
        value = -felt if word == "not" else max(-2, min(2, 2 * felt))
        return f"({value + 2} (2 {word}) {inner})", value
    k = int(rng.integers(1, n - 1))
    (first, a), (second, b) = sentence(rng, k), sentence(rng, n - 1 - k)
    value = b if word == "but" else max(-2, min(2, a + b))
    return f"({value + 2} {first} ({b + 2} (2 {word}) {second}))", value


def generated(config: app.Config) -> dict[str, list[trees.Tree]]:
    """Generates three parts without common sentences; half of the test sentences are longer than all others."""
    rng, seen = np.random.default_rng(config.seed), set()

    def draw(count: int, shortest: int, longest: int) -> list[trees.Tree]:
        new: list[str] = []
        while len(new) < count:
            text, _ = sentence(rng, int(rng.integers(shortest, longest + 1)))
            if text not in seen:
                seen.add(text)
                new.append(text)
        return trees.parse_trees("\n".join(new))

    n = config.longest
    test = draw(500, n // 2, n) + draw(500, n + 1, 2 * n)
    return {"test": test, "valid": draw(500, n // 2, n), "train": draw(config.sentences, n // 2, n)}


def treebank(config: app.Config) -> dict[str, list[trees.Tree]]:
    """Reads the three files of a treebank."""
    folder = find_folder(config.data, config.data_dir)
    parts = {
        name: trees.read_trees(str(folder / f"{file}.txt"), config.encoding)
        for name, file in (("train", "train"), ("valid", "dev"), ("test", "test"))
    }
    for name, part in parts.items():
        wrong = {label for tree in part for label in tree.labels} - {*FINE, ""}
        if wrong:
            raise UserError(f"--data={config.data}: the label {min(wrong)!r} in the {name} part is none of 0 to 4")
    return parts


def spelt_out(tree: trees.Tree) -> trees.Tree:
    """Returns a node with the words and brackets of a tree as its leaves, and the label of the whole."""
    symbols = trees.bracketed(tree)
    n = len(symbols)
    if n == 1:
        return tree
    return trees.Tree(("",) * n + tree.labels[-1:], (*symbols, ""), ((),) * n + (tuple(range(n)),))


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      words: indices of words.
      classes: indices of labels.
      counts: number of forests in each part.
      entropy: of the labels of roots, in nats.
      commonest: fraction of test sentences in the most common class, in [0, 1].
      test: the test sentences.
    """

    words: dict[str, int]
    classes: dict[str, int]
    counts: dict[str, int]
    entropy: float
    commonest: float
    test: list[trees.Tree]


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Loads the trees in three parts, packed."""
    forests_a_batch(config)  # checks the flags before anything is read
    parts = generated(config) if config.data == "generated" else treebank(config)
    classes = FINE if config.task == "fine" else BINARY
    every, parts = parts, {n: [tree for tree in part if tree.labels[-1] in classes] for n, part in parts.items()}
    for name, part in parts.items():
        if len(part) < len(every[name]):
            out = len(every[name]) - len(part)
            print(f"{name}: {out} of {len(every[name])} sentences are left out, their root has none of {[*classes]}")
    if not all(parts.values()):
        raise UserError(f"--data={config.data}: a part has no tree with a label at its root for --task={config.task}")
    check_classes(config.data, [classes[tree.labels[-1]] for tree in parts["train"]], "01234")
    if config.brackets and structured(config):
        raise UserError(f"--cell={config.cell} reads the trees: --brackets is for recurrent cells")
    parts = {name: [spelt_out(tree) for tree in part] if config.brackets else part for name, part in parts.items()}
    words = trees.vocabulary(parts["train"])
    data = {
        name: trees.pack(trees.balanced_groups(part, config.packed), words, classes) for name, part in parts.items()
    }
    counts = {name: len(batch.y) for name, batch in data.items()}
    share = np.bincount([classes[tree.labels[-1]] for tree in parts["train"]]) / len(parts["train"])
    entropy = float(-(share[share > 0] * np.log(share[share > 0])).sum())
    commonest = float(np.mean([classes[tree.labels[-1]] == share.argmax() for tree in parts["test"]]))
    return Facts(words, classes, counts, entropy, commonest, parts["test"]), data


def structured(config: app.Config) -> bool:
    """Returns whether the network runs over the trees, or over the words from left to right."""
    return config.cell in CELLS


def core(config: app.Config) -> rnnjax.Cell:
    """Returns the layers from word features to the features of each place."""
    if not structured(config):
        return trees.in_reading_order(config.layers())
    return trees.fold_forest(at_node(config, CELLS))


def network(config: app.Config, facts: Facts) -> rnnjax.Cell:
    """Returns a network from words to logits at every node."""
    dtype = jnp.dtype(config.dtype)
    words = rnnjax.embed(1 + len(facts.words), config.embedding_size, dtype=dtype)
    drop = config.noise()
    n = len(set(facts.classes.values()))
    return rnnjax.stack(trees.at_leaves(rnnjax.stack(words, *drop)), core(config), *drop, rnnjax.linear(n))


def in_two(logits: jax.Array, batch: Batch) -> tuple[jax.Array, Batch]:
    """Returns five classes as two: log-probabilities of negative and positive; neutral targets do not count."""
    log_p = jax.nn.log_softmax(logits)
    sides = jnp.stack([jax.nn.logsumexp(log_p[..., :2], -1), jax.nn.logsumexp(log_p[..., 3:], -1)], -1)
    y = jnp.asarray(batch.y)
    return sides, batch._replace(y=(y > 2).astype(y.dtype), mask=batch.mask & (y != 2))


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on batches of forests."""

    def objective(outputs: PyTree, batch: Batch) -> losses.Metrics:
        roots = losses.classify(*trees.at_roots(outputs, batch))
        at = {"root_accuracy": roots["accuracy"]}
        if config.task == "fine":
            at["binary_root_accuracy"] = losses.classify(*trees.at_roots(*in_two(outputs, batch)))["accuracy"]
        if not structured(config):
            return {"loss": roots["loss"]} | at
        nodes = losses.classify(outputs, batch)
        loss = nodes["loss"] if config.labels == "nodes" else roots["loss"]
        return {"loss": loss, "accuracy": nodes["accuracy"]} | at

    size = forests_a_batch(config)
    return app.Setup(
        cell=network(config, facts),
        objective=objective,
        train=shuffled("train", size),
        valid=in_order("valid", size, facts.counts["valid"]),
        test=in_order("test", size, facts.counts["test"]),
        baseline=facts.entropy,
        baseline_name="entropy of the roots' labels",
        published=PUBLISHED[config.task] if Path(config.data).name == "sst" else (),
        loss_label="cross-entropy (nats)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Reports root accuracy on test sentences by length, and leaf gradients of a chain and a balanced tree."""
    found: dict[str, Any] = {"by_length": by_length(result)}
    if structured(result.config):
        found["leaf_gradients"] = leaf_gradients(result)
    return found


def by_length(result: app.Result) -> dict[str, float]:
    """Returns the root accuracy on test sentences of similar length, with a table and a picture."""
    config, facts, cell = result.config, result.facts, result.setup.cell
    groups = trees.balanced_groups(facts.test, config.packed)
    batch = trees.pack(groups, facts.words, facts.classes)
    lengths = [sum(word not in "()" for word in tree.sentence()) for group in groups for tree in group]

    def right(batch: Batch) -> jax.Array:
        logits, roots = trees.at_roots(rnnjax.run(cell, result.params, batch.x)[1], batch)
        return logits.argmax(-1) == roots.y

    there = batch.x.roots >= 0
    marks = np.asarray(jax.jit(lambda b: jax.lax.map(right, b))(batch))[there]
    ends = np.unique(np.quantile(lengths, np.linspace(0.1, 1, 10)).astype(int))
    bins = np.searchsorted(ends, lengths)
    rows = {
        f"{int(np.array(lengths)[bins == i].min())}-{end}": float(marks[bins == i].mean()) for i, end in enumerate(ends)
    }
    print_table([{"words": name, "root accuracy": share} for name, share in rows.items()], title=f"{config.cell}: test")
    save(
        Path(result.summary["workdir"]) / "lengths.png",
        draw_curves(
            {config.cell: Run(ends.tolist(), list(rows.values()), [], [])},
            ylabel="root accuracy",
            xlabel="words",
            title="test sentences by length",
            log=False,
            baselines={"the commonest class": facts.commonest},
        ),
    )
    return rows


def leaf_gradients(result: app.Result, n: int = 64) -> dict[str, float]:
    """Returns the norm of the gradient of the root's logits at the words of a chain and of a balanced tree."""
    facts = result.facts
    words = np.random.default_rng(0).choice(sorted(facts.words), n).tolist()
    rest = rnnjax.stack(*[core(result.config), rnnjax.linear(len(set(facts.classes.values())))])
    table_of_words = result.params[0][0]["w"]
    found: dict[str, float] = {}
    for name, split in (("chain", trees.chain), ("balanced", trees.balanced)):
        batch = trees.pack([[trees.shaped(words, split)]], facts.words, {}, width=1)
        forest = jax.tree.map(lambda a: jnp.asarray(a)[0], batch.x)
        params = (result.params[1], result.params[-1])

        def root(x: jax.Array, forest: trees.Forest = forest, params: PyTree = params) -> jax.Array:
            return rnnjax.run(rest, params, forest._replace(leaves=x))[1][forest.roots[0]]

        jacobian = jax.jit(jax.jacrev(root))(table_of_words[forest.leaves])
        norms = jnp.sqrt((jacobian**2).sum((0, 2)))
        found |= {f"{name}, first word": float(norms[0]), f"{name}, last word": float(norms[n - 1])}
    print_table([{"gradient at": k, "norm": v} for k, v in found.items()], title=f"{result.config.cell}: {n} words")
    return found


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
