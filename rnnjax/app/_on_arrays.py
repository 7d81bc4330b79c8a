"""An experiment on a user's own examples."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from rnnjax import estimators, losses
from rnnjax.app._config import Config
from rnnjax.app._digest import digest
from rnnjax.app._experiment import Experiment
from rnnjax.app._flagsets import common_flags
from rnnjax.app._setup import Setup
from rnnjax.base import Cell, Seq, UserError, without_marks
from rnnjax.data import Batch, Stream, in_order, label_last_step, lengths_of, map_batches, random_split, shuffled
from rnnjax.losses import Objective

_MOST = 1_000_000  # classes, or symbols: more are numbers of something, such as customers


class _Facts(NamedTuple):
    """What the network must know about the examples.

    Attributes:
      counts: examples of each part.
      outputs: classes, or numbers, of a target.
      symbols: of the input; 0 for an input of numbers.
      classes: whether targets are classes.
      per_step: whether each step has a target.
      lengths: that batches are cut to, in order; empty: all are as long as the longest example.
      baseline: the loss, on the test examples, of the best constant output.
    """

    counts: dict[str, int]
    outputs: int
    symbols: int
    classes: bool
    per_step: bool
    lengths: tuple[int, ...]
    baseline: float


def on_arrays(
    train: Batch,
    valid: Batch | float = 0.1,
    test: Batch | float = 0.1,
    objective: Objective | None = None,
    outputs: int = 0,
    **defaults: Any,
) -> Experiment:
    """Returns an experiment on examples in memory: train it by `app.train`, or by `app.main` in a script.

    Symbols are embedded; `--cell` and its like are between them and a linear output. Targets that are integers are
    classes, with cross-entropy; others are numbers, with squared error. A target for each sequence is read off after
    its last step. The flag `--buckets` cuts batches of short sequences.

    Args:
      train: examples, as `data.from_arrays`, `from_rows` and `from_columns` return them.
      valid, test: examples, or the fraction of `train` to set aside; 0: none.
      objective: (outputs, batch) -> metrics, in place of the one that the targets suggest.
      outputs: of the network, if the targets do not say: classes that no example has, numbers of an own objective.
      **defaults: of the flags, by name.

    Raises:
      UserError: the parts differ in kind, or a part is empty.

    Example: three lines from arrays to a network.
      >>> import tempfile
      >>> from rnnjax import app, data
      >>> xs = np.random.default_rng(0).normal(size=(40, 6, 1)).astype(np.float32)
      >>> examples = data.from_arrays(xs, (xs.sum((1, 2)) > 0).astype(int))
      >>> run = app.train(app.on_arrays(examples, cell="gru", hidden_size="4", batch_size=8),
      ...                 tempfile.mkdtemp(), num_steps=2, optimizer="sgd", progress="none")
      >>> sorted(run.summary["test"]), run.apply(xs[0]).shape
      (['accuracy', 'loss'], (2,))
    """
    parts = _split_parts(train, valid, test)
    known, name = _facts(parts, outputs), digest(parts)[:8]
    learned = np.unique(_counted(parts["train"])) if known.classes and objective is None else np.arange(0)
    if len(learned) == 1:
        raise UserError(f"ys: all examples to learn from are of the class {learned[0]}")
    values = common_flags(**defaults)
    flags.DEFINE_string("arrays", name, "Digest of the examples; not to be given.", flag_values=values)
    flags.DEFINE_integer("buckets", 0, "Lengths that batches are cut to; 0: one.", 0, flag_values=values)

    def load(config: Config) -> tuple[_Facts, dict[str, Batch]]:
        if config.arrays != name:
            raise UserError(f"--arrays={config.arrays}: these examples are not those of the run, but {name}")
        return known._replace(lengths=_lengths(parts["train"], config.buckets)), parts

    def build(config: Config, facts: _Facts) -> Setup:
        return _setup(config, facts, objective or (losses.classify if facts.classes else losses.regress))

    build.__module__ = f"arrays_{name}"  # names the run's folder
    return Experiment(build, values, load)


def _split_parts(train: Batch, valid: Batch | float, test: Batch | float) -> dict[str, Batch]:
    """Returns the parts by name; fractions are set aside from the training examples, and 0 leaves a part out."""
    known = {"train": train, "valid": valid, "test": test}
    shares = {name: float(part) for name, part in known.items() if isinstance(part, (int, float)) and name != "train"}
    odd = next((name for name, part in known.items() if name not in shares and not isinstance(part, Batch)), None)
    if odd:
        raise UserError(f"{odd} is a {type(known[odd]).__name__}: data.from_arrays makes examples of arrays")
    if not all(0 <= share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise UserError(f"{shares} of the examples set aside: fractions below 1, which leave something to learn from")
    places = dict(zip(("train", *shares), random_split(_count(train), *shares.values())))
    parts = {name: _at(train, places[name]) if name in places else part for name, part in known.items()}
    parts = {name: part for name, part in parts.items() if shares.get(name, 1)}
    empty = next((name for name, part in parts.items() if not _count(part)), None)
    if empty:
        raise UserError(f"of {_count(train)} examples none is left for the {empty} part")
    return {name: _targets_with_axis(part) for name, part in parts.items()}


def _targets_with_axis(part: Any) -> Batch:
    """Returns examples whose targets, if they are numbers, have an axis of features."""
    y, per_step = np.asarray(part.y), _per_step(part)
    bare = y.dtype.kind == "f" and y.ndim == (2 if per_step else 1)
    return Batch(part.x, y[..., None] if bare else y, part.mask)


def _at(examples: Batch, places: np.ndarray) -> Batch:
    return Batch(*jax.tree.map(lambda a: np.asarray(a)[places], tuple(examples)))


def _count(examples: Any) -> int:
    return len(jax.tree.leaves(examples.y)[0])


def _per_step(examples: Batch) -> bool:
    x, y = without_marks(examples.x), np.asarray(examples.y)
    return y.ndim > 1 and y.shape[1] == x.shape[1]


def _facts(parts: dict[str, Batch], outputs: int) -> _Facts:
    """Returns what the network must know, after comparing the parts."""
    kinds = {name: _described(part) for name, part in parts.items()}
    odd = next((name for name in kinds if kinds[name] != kinds["train"]), None)
    if odd:
        raise UserError(f"train has {kinds['train']}, and {odd} {kinds[odd]}")
    x, y = (np.concatenate([np.ravel(a(p)) for p in parts.values()]) for a in (_inputs, _counted))
    classes = y.dtype.kind == "i"
    if classes and y.size and y.min() < 0:
        raise UserError(f"ys has the class {y.min()}: classes are numbered from 0")
    size = (int(y.max()) + 1 if y.size else 1) if classes else np.shape(parts["train"].y)[-1]
    if classes and outputs and outputs < size:
        raise UserError(f"outputs={outputs}, and ys has the class {size - 1}")
    symbols = int(x.max()) + 1 if x.dtype.kind == "i" else 0
    for name, n, there in (("ys", size if classes else 0, y), ("xs", symbols, x)):
        if n > _MOST:
            raise UserError(f"{name} holds {n - 1}: number its {len(np.unique(there))} classes or symbols from 0")
    baseline = _constant_loss(_counted(parts["train"]), _counted(list(parts.values())[-1]), classes, size)
    counts = {name: _count(part) for name, part in parts.items()}
    return _Facts(counts, outputs or size, symbols, classes, _per_step(parts["train"]), (), baseline)


def _described(part: Batch) -> str:
    x, y = np.asarray(without_marks(part.x)), np.asarray(part.y)
    each = "for each step" if _per_step(part) else "for each sequence"
    return (
        f"{_kind(x)} inputs of {list(x.shape[2:])} and {_kind(y)} targets of "
        f"{list(y.shape[2 if _per_step(part) else 1 :])} {each}"
    )


def _kind(a: np.ndarray) -> str:
    return "integer" if a.dtype.kind in "iu" else "floating point"


def _inputs(part: Batch) -> np.ndarray:
    return np.asarray(without_marks(part.x))


def _counted(part: Batch) -> np.ndarray:
    """Returns the targets that count, `[count, ...]`."""
    y, valid = np.asarray(part.y), part.x.valid if isinstance(part.x, Seq) else None
    mask = np.ones(y.shape[: 2 if _per_step(part) else 1], bool)
    mask = mask & np.asarray(valid) if valid is not None and _per_step(part) else mask
    return y[mask if part.mask is None else mask & np.asarray(part.mask)]


def _constant_loss(train: np.ndarray, test: np.ndarray, classes: bool, size: int) -> float:
    """Returns the loss on the test targets of the shares, or the mean, of the training targets."""
    if not classes:
        return float(np.square(test - train.mean(0)).mean())
    share = np.bincount(train, minlength=size) / max(len(train), 1)
    return float(-np.log(np.maximum(share[test], 1e-9)).mean())


def _lengths(train: Batch, buckets: int) -> tuple[int, ...]:
    """Returns lengths that divide the examples evenly."""
    if buckets < 2:
        return ()
    return tuple(sorted({int(n) for n in np.quantile(np.asarray(lengths_of(train)), np.arange(1, buckets) / buckets)}))


def _network(config: Config, facts: _Facts) -> Cell:
    """Returns the network: step by step, or with an output after the last step."""
    enter = [rnnjax.embed(facts.symbols, config.hidden_size, dtype=jnp.dtype(config.dtype))] if facts.symbols else []
    layers, read = rnnjax.stack(*enter, config.layers()), rnnjax.linear(facts.outputs)
    if facts.per_step or config.rule != "bptt":
        return rnnjax.unroll(rnnjax.stack(layers, read))
    return rnnjax.stack(rnnjax.last(rnnjax.unroll(layers)), read)


def _setup(config: Config, facts: _Facts, objective: Objective) -> Setup:
    stepwise = facts.per_step or config.rule == "bptt"
    length = lengths_of if facts.lengths else None

    def placed(stream: Stream) -> Stream:
        return stream if stepwise else map_batches(stream, label_last_step)

    def scored(name: str) -> Stream | None:
        there = name in facts.counts
        return placed(in_order(name, config.batch_size, facts.counts[name])) if there else None

    return Setup(
        cell=_network(config, facts),
        objective=objective,
        train=placed(shuffled("train", config.batch_size, length)),
        valid=scored("valid"),
        test=scored("test"),
        baseline=facts.baseline,
        baseline_name="the best constant",
        loss_label="cross-entropy (nats)" if facts.classes else "squared error",
        around=functools.partial(estimators.bucketed, lengths=facts.lengths) if facts.lengths else None,
    )
