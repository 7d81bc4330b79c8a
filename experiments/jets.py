"""Jet classification with recursive networks: even showers against heavy particles that decay into two narrow prongs.

The network trains on generated trees of particle decays; both kinds have the same energy and mass, and 11 and 9
particles on average. Look at the area under the ROC curve beside those of the number of particles and of the optimal
classifier.
"""

import functools
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
    cell="tree_lstm,bag,total",
    hidden_size="32",
    learning_rate=5e-3,
    schedule="cosine",
    batch_size=64,
    num_steps=600,
    log_every=20,
    eval_every=50,
    checkpoint_every=300,
)
flags.DEFINE_integer("jets", 6000, "Training jets, half of each kind.", 2, 1_000_000, flag_values=FLAGS)
flags.DEFINE_integer("tested", 2000, "Test jets.", 2, 1_000_000, flag_values=FLAGS)
flags.DEFINE_float("momentum", 400.0, "Momentum of a jet, in GeV.", 1.0, flag_values=FLAGS)
flags.DEFINE_float("mass", 80.0, "Mass of a jet, in GeV.", 10.0, flag_values=FLAGS)
flags.DEFINE_list(
    "rates",
    ["3.0", "1.0"],
    "Rate of the squared masses, for each kind; high rates make light children.",
    flag_values=FLAGS,
)
flags.DEFINE_float("first", 15.0, "The rate of the first splitting of the second kind.", 0.01, flag_values=FLAGS)
packed_flag(FLAGS)

KINDS = {"0": 0, "1": 1}
CUT = 4.0  # GeV: particles below this mass are stable


def total(hidden: int) -> trees.TreeCell:
    """The simplest baseline: the number of particles and the sum of their features."""

    def count(w: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return jnp.append(x, jnp.ones((), x.dtype)) / 20

    return trees.TreeCell(lambda key, x: (), count, lambda w, h, present, key=None: h.sum(0))


def bag(hidden: int) -> trees.TreeCell:
    """A model without structure: the sum of a function of each particle."""

    def leaf(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        return jax.nn.relu(x @ p["w"] + p["b"])

    cell = trees.recnn(hidden)
    return cell.replace(leaf=leaf, node=lambda p, h, present, key=None: h.sum(0))


CELLS = {**TREE_CELLS, "bag": bag, "total": total}


def rates(config: app.Config) -> list[tuple[float, float]]:
    """Returns for each kind the rates of its first splitting and of the others."""
    try:
        usual, prongs = map(float, config.rates)
    except ValueError as error:
        raise UserError(f"--rates={','.join(config.rates)}: two numbers, one for each kind") from error
    if min(usual, prongs) <= 0:
        raise UserError(f"--rates={','.join(config.rates)}: expected numbers above zero")
    return [(usual, usual), (config.first, prongs)]


def generated(config: app.Config, rng: np.random.Generator, n: int) -> list[trees.Jet]:
    """Generates n jets of alternating kinds; the label of a root is the kind."""
    jets = []
    for i in range(n):
        first, rate = rates(config)[i % 2]
        one = trees.jet(rng, config.momentum, config.mass, rate, CUT, first)
        nodes = len(one.tree.labels)
        jets.append(one._replace(tree=one.tree._replace(labels=("",) * (nodes - 1) + (str(i % 2),))))
    return jets


def features(particles: np.ndarray) -> np.ndarray:
    """Returns the features of a particle, of about unit size: energy, log energy, and direction."""
    energy = particles[:, :1]
    return np.concatenate([energy / 50, np.log(energy / 10), 5 * particles[:, 2:] / energy], 1).astype(np.float32)


def packed(jets: list[trees.Jet], each: int) -> Batch:
    """Packs jets into forests with features at the leaves; all leaves are numbered from 1 to look up their features."""
    first = np.cumsum([0, *(len(one.particles()) for one in jets)])
    numbered = []
    for one, start in zip(jets, first):
        numbers = iter(range(start + 1, start + 1 + len(one.particles())))
        words = tuple(str(next(numbers)) if word else "" for word in one.tree.words)
        numbered.append(one.tree._replace(words=words))
    batch = trees.pack(trees.balanced_groups(numbered, each), {str(i): i for i in range(1, first[-1] + 1)}, KINDS)
    seen = features(np.concatenate([one.particles() for one in jets]))
    rows = np.concatenate([np.zeros_like(seen[:1]), seen])
    return batch._replace(x=batch.x._replace(leaves=rows[batch.x.leaves]))


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      counts: number of examples in each part.
      test: the test jets.
    """

    counts: dict[str, int]
    test: list[trees.Jet]


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Generates and packs the three parts."""
    forests_a_batch(config)  # checks the flags before jets are made
    rng = np.random.default_rng(config.seed)
    sizes = {"test": config.tested, "valid": 500, "train": config.jets}
    parts = {name: generated(config, rng, n) for name, n in sizes.items()}
    data = {name: packed(part, config.packed) for name, part in parts.items()}
    counts = {name: len(batch.y) for name, batch in data.items()}
    return Facts(counts, parts["test"]), data


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on forests; a recurrent cell reads the particles in the order of the tree."""
    if config.cell in CELLS:
        core = trees.fold_forest(noisy(config, at_node(config, CELLS)))
    else:
        core = trees.in_reading_order(config.layers())
    size = forests_a_batch(config)
    return app.Setup(
        cell=rnnjax.stack(core, rnnjax.linear(2)),
        objective=losses.classify,
        train=shuffled("train", size),
        valid=in_order("valid", size, facts.counts["valid"]),
        test=in_order("test", size, facts.counts["test"]),
        baseline=float(np.log(2)),
        baseline_name="both kinds alike: ln 2",
        loss_label="cross-entropy (nats)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Reports how well the network separates the kinds, beside the number of particles and the optimum."""
    config, cell, batch = result.config, result.setup.cell, result.data["test"]
    jets: list[trees.Jet] = result.facts.test

    def evidence(batch: Batch) -> jax.Array:
        logits, roots = trees.at_roots(rnnjax.run(cell, result.params, batch.x)[1], batch)
        return jnp.stack([logits[:, 1] - logits[:, 0], roots.y.astype(logits.dtype), roots.mask.astype(logits.dtype)])

    score, kind, there = np.asarray(jax.jit(lambda b: jax.lax.map(evidence, b))(batch)).swapaxes(0, 1).reshape(3, -1)
    kinds = np.arange(len(jets)) % 2
    by = {
        config.cell: roc(score[there > 0], kind[there > 0] > 0),
        "number of particles": roc(-np.array([len(one.particles()) for one in jets]), kinds > 0),
        "likelihood ratio": roc(np.array([log_ratio(one, config) for one in jets]), kinds > 0),
    }
    areas = {name: float(np.trapezoid(found, wrong)) for name, (wrong, found) in by.items()}
    print_table([{"told apart by": name, "area under the curve": area} for name, area in areas.items()])
    save(
        Path(result.summary["workdir"]) / "roc.png",
        draw_curves(
            {name: Run(*points) for name, points in by.items()},
            ylabel="prongs found",
            xlabel="showers taken for prongs",
            title="two kinds of jets",
            log=False,
        ),
    )
    return {"auc": areas}


def roc(score: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rates of false and true positives for each threshold; equal scores share a threshold."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    wrong, found = (np.append(0, np.cumsum(part[order])[ends] / part.sum()) for part in (~positive, positive))
    return wrong, found


def log_ratio(one: trees.Jet, config: app.Config) -> float:
    """Returns log p(jet, second kind) - log p(jet, first kind), optimal given the masses of all nodes."""
    squares = one.momenta[:, 0] ** 2 - (one.momenta[:, 1:] ** 2).sum(1)
    total, root = 0.0, len(squares) - 1
    for node, below in enumerate(one.tree.children):
        if below:
            a, b = (first if node == root else usual for first, usual in rates(config))
            total += log_density(b, below, squares, node) - log_density(a, below, squares, node)
    return total


def log_density(rate: float, below: tuple[int, ...], squares: np.ndarray, node: int) -> float:
    """Returns the log density of the squared masses of two children relative to that of their parent."""
    return -rate * float(squares[list(below)].sum() / squares[node]) - log_norm(rate)


@functools.cache
def log_norm(rate: float) -> float:
    """Returns the logarithm of the integral of exp(-rate (x + y)) where sqrt(x) + sqrt(y) < 1."""
    x = np.linspace(0, 1, 10_001)
    return float(np.log(np.trapezoid(np.exp(-rate * x) * -np.expm1(-rate * (1 - np.sqrt(x)) ** 2) / rate, x)))


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
