"""ListOps and arithmetic: a network evaluates nested expressions, from their trees or from their brackets and words.

It trains on generated expressions up to a depth and is tested up to twice that depth. Compare the accuracy by depth of
a recursive cell with that of a recurrent one (`--cell`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.tree_flags import TREE_CELLS, at_node, forests_a_batch, noisy, packed_flag
from rnnjax import app, losses, trees
from rnnjax.base import PyTree, UserError
from rnnjax.data import Batch, in_order, shuffled
from rnnjax.plotting import Run, draw_curves, save
from rnnjax.runs import print_table

FLAGS = app.common_flags(
    cell="tree_lstm,lstm",
    hidden_size="64",
    learning_rate=5e-3,
    schedule="cosine",
    batch_size=64,
    num_steps=1000,
    log_every=20,
    eval_every=100,
    checkpoint_every=500,
)
flags.DEFINE_enum(
    "kind",
    "listops",
    ["listops", "arithmetic"],
    "listops: MAX, MIN, MED and SM (the sum modulo ten) of 2 to --most arguments; arithmetic: +, - and * of two, "
    "modulo ten.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "labels",
    "nodes",
    ["nodes", "roots"],
    "Training targets: the values of all operations (for a recurrent network, at closing brackets), or only that of "
    "the whole expression.",
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "depth", 3, "Nesting depth of operations; test expressions go to twice that depth.", 1, flag_values=FLAGS
)
flags.DEFINE_integer("most", 4, "Maximal number of arguments of a listops operation.", 2, flag_values=FLAGS)
flags.DEFINE_integer("examples", 6000, "Training expressions.", 1, 1_000_000, flag_values=FLAGS)
flags.DEFINE_integer("tested", 200, "Test expressions of each depth.", 1, 1_000_000, flag_values=FLAGS)
flags.DEFINE_integer("embedding_size", 32, "Embedding size of a word or a bracket.", 1, flag_values=FLAGS)
packed_flag(FLAGS)

CLASSES = {str(i): i for i in range(10)}

Parts = dict[str, list[trees.Tree]]


def generated(config: app.Config) -> Parts:
    """Generates three parts without common expressions; the test part is sorted by depth."""
    rng = np.random.default_rng(config.seed)
    operations, most = (trees.LISTOPS, config.most) if config.kind == "listops" else (trees.ARITHMETIC, 2)
    seen: set[trees.Tree] = set()

    def draw(count: int, depths: Sequence[int]) -> list[trees.Tree]:
        new: list[trees.Tree] = []
        for _ in range(20 * count):
            tree = trees.expression(rng, int(rng.choice(depths)), operations, most)
            if tree not in seen:
                seen.add(tree)
                new.append(tree)
            if len(new) == count:
                return new
        raise UserError(f"there are too few expressions of depth {max(depths)} for {count} that differ")

    n = config.depth
    shallow = range(min(2, n), n + 1)
    test = [tree for depth in range(min(2, n), 2 * n + 1) for tree in draw(config.tested, [depth])]
    return {"test": test, "valid": draw(500, shallow), "train": draw(config.examples, shallow)}


def structured(config: app.Config) -> bool:
    """Returns whether the network runs over the trees, or over brackets and words from left to right."""
    return config.cell in TREE_CELLS


def operations_only(tree: trees.Tree) -> trees.Tree:
    """Returns the tree without the labels of digits, which are too easy to count."""
    return tree._replace(labels=tuple(label * bool(below) for label, below in zip(tree.labels, tree.children)))


def forests(several: list[trees.Tree], words: Mapping[str, int], config: app.Config) -> Batch:
    """Packs trees, with at most two children per node if the cell needs it."""
    fit = [operations_only(t if config.cell == "child_sum" else trees.binarised(t)) for t in several]
    return trees.pack(trees.balanced_groups(fit, config.packed), words, CLASSES)


def sequences(several: list[trees.Tree], words: Mapping[str, int]) -> Batch:
    """Pads brackets and words at the end; the target at a closing bracket is the value of its operation."""
    read = [trees.bracketed(tree) for tree in several]
    x, y = np.zeros((2, len(read), max(map(len, read))), np.int32)
    for i, (symbols, tree) in enumerate(zip(read, several)):
        x[i, : len(symbols)] = [words[symbol] for symbol in symbols]
        closing = [t for t, symbol in enumerate(symbols) if symbol == ")"]
        y[i, closing] = [CLASSES[label] for label, below in zip(tree.labels, tree.children) if below]
    return Batch(x, y, x == words[")"])


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      words: indices of words and brackets.
      counts: number of examples in each part.
      test: the test expressions.
    """

    words: dict[str, int]
    counts: dict[str, int]
    test: list[trees.Tree]


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Generates the three parts, packed or padded."""
    forests_a_batch(config)  # checks the flags before expressions are made
    parts = generated(config)
    words = trees.vocabulary(parts["train"])
    words |= {symbol: len(words) + 1 + i for i, symbol in enumerate("()")}
    data = {name: arrays(part, words, config) for name, part in parts.items()}
    counts = {name: len(batch.y) for name, batch in data.items()}
    return Facts(words, counts, parts["test"]), data


def arrays(several: list[trees.Tree], words: Mapping[str, int], config: app.Config) -> Batch:
    """Turns trees into the inputs of the network that the flags choose."""
    return forests(several, words, config) if structured(config) else sequences(several, words)


def network(config: app.Config, words: int) -> rnnjax.Cell:
    """Returns a network from words to logits, at every node or every step."""
    table_of_words = rnnjax.embed(1 + words, config.embedding_size, dtype=jnp.dtype(config.dtype))
    read = rnnjax.linear(len(CLASSES))
    if not structured(config):
        return rnnjax.unroll(rnnjax.stack(table_of_words, config.layers(), read))
    tree = trees.fold_forest(noisy(config, at_node(config, TREE_CELLS)))
    return rnnjax.stack(trees.at_leaves(table_of_words), tree, read)


def wholes(config: app.Config, outputs: PyTree, batch: Batch) -> tuple[PyTree, Batch]:
    """Returns outputs and targets of whole expressions only."""
    if structured(config):
        return trees.at_roots(outputs, batch)
    mask = jnp.asarray(batch.mask)
    last = mask.shape[0] - 1 - jnp.argmax(mask[::-1])
    return outputs, batch._replace(mask=mask & (jnp.arange(mask.shape[0]) == last))


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on forests or on sequences."""

    def objective(outputs: PyTree, batch: Batch) -> losses.Metrics:
        roots = losses.classify(*wholes(config, outputs, batch))
        every = losses.classify(outputs, batch)
        loss = every["loss"] if config.labels == "nodes" else roots["loss"]
        return {"loss": loss, "accuracy": every["accuracy"], "root_accuracy": roots["accuracy"]}

    size = forests_a_batch(config) if structured(config) else config.batch_size
    return app.Setup(
        cell=network(config, len(facts.words)),
        objective=objective,
        train=shuffled("train", size),
        valid=in_order("valid", size, facts.counts["valid"]),
        test=in_order("test", size, facts.counts["test"]),
        baseline=float(np.log(10)),
        baseline_name="ten values alike: ln 10",
        loss_label="cross-entropy (nats)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Reports the accuracy on whole expressions by depth, as a table and a picture."""
    config, setup, facts = result.config, result.setup, result.facts

    def right(batch: Batch) -> losses.Mean:
        return setup.objective(rnnjax.run(setup.cell, result.params, batch.x)[1], batch)["root_accuracy"]

    first, shares = min(2, config.depth), []
    for i in range(len(facts.test) // config.tested):
        some = facts.test[i * config.tested : (i + 1) * config.tested]
        marks = jax.jit(lambda b: jax.lax.map(right, b))(jax.tree.map(jnp.asarray, arrays(some, facts.words, config)))
        shares.append(float(marks.total.sum() / marks.weight.sum()))
    depths = [first + i for i in range(len(shares))]
    lengths = [
        np.mean([len(trees.bracketed(t)) for t in facts.test[i * config.tested :][: config.tested]])
        for i in range(len(shares))
    ]
    print_table(
        [{"depth": d, "symbols": f"{n:.0f}", "right": share} for d, n, share in zip(depths, lengths, shares)],
        title=f"{config.cell}: test expressions, trained up to depth {config.depth}",
    )
    save(
        Path(result.summary["workdir"]) / "depths.png",
        draw_curves(
            {config.cell: Run(depths, shares, [], [])},
            ylabel="correct expressions",
            xlabel="depth",
            title=f"trained up to depth {config.depth}",
            log=False,
            baselines={"by chance": 0.1},
        ),
    )
    return {"by_depth": dict(zip(map(str, depths), shares))}


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
