"""The five uses of a recurrent network: one to one, one to many, many to one, many to many, aligned and unaligned.

For each use, each cell trains on a small task with numbers. Look at the fraction of correct answers during training,
and at the outputs of the trained networks in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.small_runs import learner
from rnnjax import app, losses, tasks, training
from rnnjax.app import build_setup
from rnnjax.base import count
from rnnjax.data import Batch
from rnnjax.plotting import Run, draw_curves
from rnnjax.runs import ProgressBar, Workdir, print_table
from rnnjax.tasks import Task

FLAGS = app.study_flags(cell="gru", hidden_size="64")
flags.DEFINE_float("learning_rate", 5e-3, "Learning rate of Adam.", 0.0, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 64, "Sequences per update.", 1, flag_values=FLAGS)
flags.DEFINE_integer("num_steps", 800, "Updates for each use.", 1, flag_values=FLAGS)

SYMBOLS, LENGTH = 8, 6  # symbols 0 to 7, at most six per sequence; two more symbols follow:
BLANK, CUE = 8, 9  # no input, or the end of the output; the end of the input
POINTS = 10  # points per curve


class Use(NamedTuple):
    """One of the five uses.

    Attributes:
      what: the task.
      sample: key -> Batch of one example: x, y integers `[T]`, and a mask of the steps with an answer.
    """

    what: str
    sample: Callable[[jax.Array], Batch]


def one_to_one(key: jax.Array) -> Batch:
    """A number times 3, plus 1, modulo 8: a single step, without recurrence."""
    x = jax.random.randint(key, (1,), 0, SYMBOLS)
    return Batch(x, (3 * x + 1) % SYMBOLS, jnp.ones(1, bool))


def one_to_many(key: jax.Array) -> Batch:
    """A number, which is counted down to zero; blanks follow."""
    n = jax.random.randint(key, (), 0, SYMBOLS)
    at = jnp.arange(SYMBOLS + 1)
    return Batch(jnp.where(at == 0, n, BLANK), jnp.where(at <= n, n - at, BLANK), at <= n + 1)


def many_to_one(key: jax.Array) -> Batch:
    """The largest of several numbers, at the last step."""
    x = jax.random.randint(key, (LENGTH,), 0, SYMBOLS)
    return Batch(x, jnp.full(LENGTH, x.max()), jnp.arange(LENGTH) == LENGTH - 1)


def unaligned(key: jax.Array) -> Batch:
    """Two to six numbers; after the cue, the same numbers in reverse order, then the end."""
    a, b = jax.random.split(key)
    n, s = jax.random.randint(a, (), 2, LENGTH + 1), jax.random.randint(b, (LENGTH,), 0, SYMBOLS)
    at = jnp.arange(2 * LENGTH + 2)
    back = 2 * n - at  # position of the number to write: the last one comes first
    x = jnp.where(at < n, s[jnp.clip(at, 0, LENGTH - 1)], jnp.where(at == n, CUE, BLANK))
    y = jnp.where(back >= 0, s[jnp.clip(back, 0, LENGTH - 1)], BLANK)
    return Batch(x, y, (at > n) & (back >= -1))


def aligned(key: jax.Array) -> Batch:
    """Each number plus the one before it, modulo 8."""
    x = jax.random.randint(key, (LENGTH,), 0, SYMBOLS)
    return Batch(x, (x + jnp.append(0, x[:-1])) % SYMBOLS, jnp.ones(LENGTH, bool))


USES = {
    "one to one": Use("3 x + 1 modulo 8", one_to_one),
    "one to many": Use("count down from a number", one_to_many),
    "many to one": Use("the largest of six", many_to_one),
    "many to many, unaligned": Use("two to six numbers, backwards", unaligned),
    "many to many, aligned": Use("the sum of this and the last", aligned),
}


def build(config: app.Config) -> app.Setup:
    """Builds the network of the flags' layers, from ten symbols to ten, on the chosen use."""
    net = rnnjax.stack(rnnjax.one_hot(CUE + 1, config.dtype), config.layers(), rnnjax.linear(CUE + 1))
    stream = tasks.task_stream(Task(config.use.sample, float("nan")), config.batch_size)
    return app.Setup(rnnjax.unroll(net), losses.classify, stream)


def train_network(config: app.Config, bar: Callable[[int], None]) -> tuple[list[float], dict[str, object]]:
    """Returns the fraction of correct answers during training, and the row of the table."""
    setup = build_setup(build, config)
    progress, steps = learner(config, setup.cell, setup.objective, setup.train)
    score = jax.jit(training.evaluate(setup.cell, setup.objective, setup.train._replace(length=20)))
    fresh, right = jax.random.fold_in(jax.random.key(config.seed), 1), []
    for i in range(POINTS):
        progress = steps(progress, -(-config.num_steps // POINTS))
        right.append(float(score(progress.state.averaged, (), fresh)["accuracy"].value()))
        bar(i + 1)
    one = config.use.sample(fresh)
    said = rnnjax.run(setup.cell, progress.state.averaged, one.x)[1].argmax(-1)
    due = np.asarray(one.mask)
    row = {
        "to learn": config.use.what,
        "right": right[-1],
        "guessing": guessing(config.use, fresh),
        "parameters": count(progress.state.averaged),
        "reads": format_symbols(np.asarray(one.x)),
        "writes": format_symbols(np.where(due, said, -1)),
        "due": format_symbols(np.where(due, one.y, -1)),
    }
    return right, row


def guessing(use: Use, key: jax.Array) -> float:
    """Returns the fraction of correct answers if it always predicts the most common one at each step."""
    batch = jax.tree.map(np.asarray, Task(use.sample, 0.0).batch(key, 2000))
    best = [np.bincount(y[due]).max() if due.any() else 0 for y, due in zip(batch.y.T, batch.mask.T)]
    return float(sum(best) / batch.mask.sum())


def format_symbols(symbols: Iterable[int]) -> str:
    """Formats symbols as text: a dot for none, ? for the cue."""
    return "".join({BLANK: "_", CUE: "?", -1: "."}.get(int(s), str(int(s))) for s in symbols)


def compare(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Trains every cell on every use, draws the curves and prints the tables."""
    found: dict[str, dict[str, object]] = {}
    drawn: dict[str, Run] = {}
    for cell, config in configs.items():
        rows = []
        for name, use in USES.items():
            with ProgressBar(POINTS, f"{cell}, {name}") as bar:
                right, row = train_network(config.replace(use=use), bar.update)
            rows.append({"use": name} | row)
            label = name if len(configs) == 1 else f"{cell}, {name}"
            drawn[label] = Run(valid_steps=[(i + 1) * config.num_steps / POINTS for i in range(POINTS)], valid=right)
        found[cell] = {str(row["use"]): row for row in rows}
        print_table(rows, title=f"{cell}: part of the answers that is right after {config.num_steps:,} steps")
    figure = draw_curves(drawn, ylabel="part of the answers that is right", title="five uses", log=False)
    return app.Findings(found, {"curves": figure})


EXPERIMENT = app.Study(compare, FLAGS, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
