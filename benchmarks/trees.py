"""Trees a second: a training step on a forest, on one tree at a time, and on PyTorch's loop over the nodes.

    python -m benchmarks.trees                                        # random trees, as long as a treebank's sentences
    python -m benchmarks.trees --data=DATA/sst/dev.txt --sizes=25,100
    taskset -c 1 python -m benchmarks.trees --clock=cpu               # on a machine with other work

All train a binary Tree-LSTM on labels of all nodes: a table of words, the network, five logits, Adagrad.

- `one by one`: ours, compiled, an update for each tree; trees are padded to few sizes, a program for each.
- `together N`: ours, N trees in one forest, one update for all of them.
- `torch N`: a Python loop over the nodes of each of N trees, as it is commonly written; the losses of N trees are
  summed, then there is one backward pass and one update.

With --noupdate the gradient alone is timed: no optimiser, features of the words given instead of a table.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app, flags

import rnnjax
from benchmarks._turns import in_turn, write_json
from rnnjax import data, losses, trees
from rnnjax.base import UserError
from rnnjax.runs import usable_cores

FLAGS = flags.FLAGS
flags.DEFINE_list("sizes", ["25", "100"], "Trees of a training step.")
flags.DEFINE_string("data", None, "A file of trees with labels 0 to 4; by default they are random.")
flags.DEFINE_integer("trees", 200, "How many trees take part.", lower_bound=1)
flags.DEFINE_integer("hidden", 150, "Units.", lower_bound=1)
flags.DEFINE_integer("features", 100, "Features of a word.", lower_bound=1)
flags.DEFINE_integer("words", 18_000, "Words of the vocabulary of random trees.", lower_bound=1)
flags.DEFINE_integer("repeats", 5, "Rounds; in each, everybody has one turn.", lower_bound=1)
flags.DEFINE_boolean("update", True, "Whether a step updates the parameters, the table of words among them.")

CLASSES = {str(i): i for i in range(5)}
RATE = 0.05


def some_trees() -> list[trees.Tree]:
    """The first trees of a file, or random ones: lengths as in the sentiment treebank, 19 words in the mean."""
    if FLAGS.data:
        try:
            return trees.read_trees(FLAGS.data)[: FLAGS.trees]
        except UserError as error:
            raise app.UsageError(f"--data: {error}") from error
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.gamma(4.3, 4.5, FLAGS.trees).astype(int), 2, 52)
    split = trees.at_random(rng)
    return [
        trees.shaped([str(w) for w in rng.integers(FLAGS.words, size=n)], split, lambda: str(rng.integers(5)))
        for n in lengths
    ]


def network(words: int) -> rnnjax.Cell:
    """From words, or their features, to logits at every node."""
    table = [trees.at_leaves(rnnjax.embed(1 + words, FLAGS.features))] if FLAGS.update else []
    return rnnjax.stack(*table, trees.fold_forest(trees.tree_lstm(FLAGS.hidden)), rnnjax.linear(len(CLASSES)))


def ours(groups: Sequence[Sequence[trees.Tree]], words: dict[str, int]) -> Callable[[], Any]:
    """One pass: a training step for each group; groups of about equal size share a compiled program."""
    cell = network(len(words))
    alike: dict[int, list[Any]] = {}
    for group in groups:
        alike.setdefault(trees.rounded(sum(len(tree.words) for tree in group)), []).append(group)
    packed = [(trees.pack(some, words, CLASSES), len(some)) for some in alike.values()]
    batches = [jax.tree.map(lambda a, i=i: jnp.asarray(a[i]), batch) for batch, n in packed for i in range(n)]
    if not FLAGS.update:
        batches = [b._replace(x=b.x._replace(leaves=features(b.x.leaves))) for b in batches]
    params = cell.init(jax.random.key(0), batches[0].x)
    optimizer = optax.adagrad(RATE)
    state = optimizer.init(params)

    def loss(params: Any, batch: data.Batch) -> jax.Array:
        return losses.classify(rnnjax.run(cell, params, batch.x)[1], batch)["loss"].value()

    def update(params: Any, state: Any, batch: data.Batch) -> tuple[Any, Any]:
        updates, state = optimizer.update(jax.grad(loss)(params, batch), state, params)
        return optax.apply_updates(params, updates), state

    step = jax.jit(update, donate_argnums=(0, 1))
    gradient = jax.jit(jax.grad(loss))
    at = [params, state]

    def one_pass() -> None:
        for batch in batches:
            if FLAGS.update:
                at[:] = step(*at, batch)
            else:
                jax.block_until_ready(gradient(params, batch))
        jax.block_until_ready(at)

    return one_pass


def features(leaves: jax.Array) -> jax.Array:
    """Normal numbers for words."""
    return jax.random.normal(jax.random.key(1), (*leaves.shape, FLAGS.features))


def in_torch(groups: Sequence[Sequence[trees.Tree]], words: dict[str, int]) -> Callable[[], Any]:
    """One pass of a binary Tree-LSTM as a loop over the nodes of each tree."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(usable_cores())
    nn, h = torch.nn, FLAGS.hidden
    table, leaf = nn.Embedding(1 + len(words), FLAGS.features), nn.Linear(FLAGS.features, 3 * h)
    inner, read = nn.Linear(2 * h, 5 * h), nn.Linear(h, len(CLASSES))
    params = [p for part in (*([table] if FLAGS.update else []), leaf, inner, read) for p in part.parameters()]
    optimizer = torch.optim.Adagrad(params, RATE)
    table.requires_grad_(FLAGS.update)

    def loss(tree: trees.Tree, numbers: Any, labels: Any) -> Any:
        at_leaves = iter(leaf(table(numbers)).unsqueeze(1).unbind(0))
        states: list[Any] = []
        for below in tree.children:
            if below:
                (c0, h0), (c1, h1) = (states[child] for child in below)
                i, f0, f1, o, g = inner(torch.cat([h0, h1], 1)).chunk(5, 1)
                c = torch.sigmoid(f0 + 1) * c0 + torch.sigmoid(f1 + 1) * c1 + torch.sigmoid(i) * torch.tanh(g)
            else:
                i, o, g = next(at_leaves).chunk(3, 1)
                c = torch.sigmoid(i) * torch.tanh(g)
            states.append((c, torch.sigmoid(o) * torch.tanh(c)))
        return nn.functional.cross_entropy(read(torch.cat([h for _, h in states])), labels, reduction="sum")

    def tensors(tree: trees.Tree) -> tuple[Any, ...]:
        numbers = [words.get(word, 0) for word in tree.sentence()]
        return tree, torch.tensor(numbers), torch.tensor([CLASSES[label] for label in tree.labels])

    examples = [[tensors(tree) for tree in group] for group in groups]

    def one_pass() -> None:
        for group in examples:
            optimizer.zero_grad()
            sum(loss(*example) for example in group).backward()
            if FLAGS.update:
                optimizer.step()

    return one_pass


def calls(several: list[trees.Tree]) -> dict[str, Callable[[], Any]]:
    """A pass over all trees, by everybody."""
    words = trees.vocabulary(several) if FLAGS.data else {str(w): w + 1 for w in range(FLAGS.words)}
    made = {"one by one": ours([[tree] for tree in several], words)}
    for size in map(int, FLAGS.sizes):
        groups = trees.balanced_groups(several, size)
        made[f"together {size}"] = ours(groups, words)
        if importlib.util.find_spec("torch"):
            made[f"torch {size}"] = in_torch(groups, words)
    if not importlib.util.find_spec("torch"):
        print("torch is left out: it is not installed")
    return made


def main(argv: Sequence[str]) -> None:
    """Measures, prints, writes."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    several = some_trees()
    rates = {name: len(several) / s for name, s in in_turn(calls(several), FLAGS.repeats).items()}
    print(
        f"{len(several)} trees, {np.mean([len(t.sentence()) for t in several]):.1f} words in the mean, "
        f"{FLAGS.hidden} units, {'training steps' if FLAGS.update else 'gradients'}, {FLAGS.clock} time"
    )
    print(f"{'':<14}{'trees a second':>16}{'over one by one':>17}{'over torch':>12}")
    for name, rate in rates.items():
        torch_rate = rates.get(name.replace("together", "torch"))
        against = f"{rate / torch_rate:.1f}" if torch_rate and name.startswith("together") else ""
        print(f"{name:<14}{rate:>16.0f}{rate / rates['one by one']:>17.1f}{against:>12}")
    write_json({"trees a second": rates, "flags": FLAGS.flag_values_dict()})


if __name__ == "__main__":
    app.run(main)
