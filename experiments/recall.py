"""Recall and state tracking, tasks that tell memories apart. By default: DeltaNet, LRU, LSTM on associative recall."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from absl import flags

import rnnjax
from rnnjax import app, losses, tasks
from rnnjax.base import UserError
from rnnjax.cells import delay_line
from rnnjax.tasks import Task, task_stream

FLAGS = app.common_flags(
    cell="deltanet,lru,lstm",
    hidden_size="64",
    learning_rate=3e-3,
    batch_size=32,
    num_steps=400,
    log_every=10,
    eval_every=50,
    eval_batches=10,
    checkpoint_every=200,
)


class Kind(NamedTuple):
    """A task of `--task`.

    Attributes:
      make: config -> the task.
      inputs: config -> the number of input symbols.
      outputs: config -> the number of possible answers.
    """

    make: Callable[[app.Config], Task]
    inputs: Callable[[app.Config], int]
    outputs: Callable[[app.Config], int]


def _num_permutations(config: app.Config) -> int:
    """Returns the number of permutations."""
    return math.factorial(config.items)


TASKS = {
    "associative_recall": Kind(
        lambda c: tasks.associative_recall(c.items, c.length, c.symbols, c.symbols),
        lambda c: 2 * c.symbols + 1,
        lambda c: c.symbols,
    ),
    "selective_copying": Kind(
        lambda c: tasks.selective_copying(c.length, c.items, c.symbols), lambda c: c.symbols + 2, lambda c: c.symbols
    ),
    "induction": Kind(lambda c: tasks.induction(c.length, c.symbols), lambda c: c.symbols + 1, lambda c: c.symbols),
    "parity": Kind(lambda c: tasks.parity(c.length), lambda c: 2, lambda c: 2),
    "permutations": Kind(lambda c: tasks.permutation_words(c.length, c.items), _num_permutations, _num_permutations),
    "dyck": Kind(lambda c: tasks.dyck(c.length, c.symbols, c.items), lambda c: 2 * c.symbols, lambda c: c.symbols + 1),
}

flags.DEFINE_enum("task", "associative_recall", list(TASKS), "The task.", flag_values=FLAGS)
flags.DEFINE_integer(
    "length", 32, "Steps per sequence; for associative_recall, the steps after the pairs.", 1, flag_values=FLAGS
)
flags.DEFINE_integer(
    "items",
    8,
    "Items to remember; for permutations, the objects that move; for dyck, the largest depth.",
    1,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "symbols", 32, "Number of symbols, of keys and of values, or of kinds of brackets.", 1, flag_values=FLAGS
)
flags.DEFINE_integer(
    "side_by_side",
    2,
    "Inputs that the first layer reads at each step, as with a short convolution.",
    1,
    flag_values=FLAGS,
)


def build(config: app.Config) -> app.Setup:
    """Builds the task and a network from one-hot symbols to logits."""
    kind = TASKS[config.task]
    try:
        task = kind.make(config)
    except ValueError as error:
        raise UserError(f"--task={config.task}: {error}") from error
    encode = rnnjax.stack(rnnjax.one_hot(kind.inputs(config), config.dtype), delay_line(config.side_by_side))
    examples = task_stream(task, config.batch_size)
    return app.Setup(
        cell=rnnjax.unroll(rnnjax.stack(encode, config.layers(), rnnjax.linear(kind.outputs(config)))),
        objective=losses.classify,
        train=examples,
        valid=examples._replace(length=config.eval_batches),
        test=examples._replace(length=5 * config.eval_batches),
        baseline=task.baseline,
        baseline_name="memoryless",
        loss_label="cross-entropy (nats per answer)",
    )


EXPERIMENT = app.Experiment(build, FLAGS, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
