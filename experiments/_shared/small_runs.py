"""Training of many small networks for studies: backpropagation, Adam, gradients clipped to a norm of 1."""

from collections.abc import Callable

import jax
import optax

from rnnjax import app, estimators, tasks, training
from rnnjax.base import Cell, PyTree, UserError
from rnnjax.data import Stream
from rnnjax.losses import Objective
from rnnjax.training import Progress


def echo(config: app.Config) -> tasks.Task:
    """Returns the task of repeating the input of `--delay` steps ago, in sequences of `--length`."""
    if config.delay >= config.length:
        raise UserError(f"--delay={config.delay}: nothing of a sequence of --length={config.length} is left to predict")
    return tasks.echo(config.length, config.delay)


def learner(
    config: app.Config, cell: Cell, objective: Objective, stream: Stream
) -> tuple[Progress, Callable[[Progress, int], Progress]]:
    """Returns the initial state and a compiled function that trains n more steps, with the flags' seed and rate."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(config.learning_rate))
    trainer = training.Trainer(cell, estimators.backprop(cell, objective), optimizer, stream)
    progress = jax.jit(lambda key: training.init(trainer, (), key))(jax.random.key(config.seed))
    return progress, jax.jit(lambda progress, n: training.loop(trainer, progress, (), n))


def trained(config: app.Config, cell: Cell, objective: Objective, stream: Stream) -> Progress:
    """Trains the network for `--num_steps` and returns its progress; refuses a run that diverged."""
    progress, steps = learner(config, cell, objective, stream)
    progress = steps(progress, config.num_steps)
    if not bool(progress.finite):
        raise UserError(f"the loss is not finite after {int(progress.state.step)} steps: --learning_rate")
    return progress


def first_input(stream: Stream) -> PyTree:
    """Returns the shapes of one input of a network, from a stream without data."""
    batch = jax.eval_shape(lambda: stream.next((), stream.init(()), jax.random.key(0))[0])
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), batch.x)
