"""An experiment of a user's, for the laws of populations and studies."""

from __future__ import annotations

from absl import flags

from rnnjax import app, linear, losses, one_hot, stack, tasks, unroll
from rnnjax.tasks import task_stream

FLAGS = app.common_flags(cell="peephole_lstm", hidden_size="4", num_steps=6, eval_every=3, batch_size=3)
flags.DEFINE_integer("delay", 3, "Steps to remember.", 1, flag_values=FLAGS)
builds = []


def build(config):
    builds.append(config)
    if config.delay == 13:
        raise RuntimeError("thirteen")
    task = tasks.copying(config.delay, 2, 3)
    cell = unroll(stack(one_hot(5), config.layers(), linear(4)))
    return app.Setup(cell, losses.classify, *(task_stream(task, config.batch_size, n) for n in (0, 2, 4)))


EXPERIMENT = app.Experiment(build, FLAGS)
