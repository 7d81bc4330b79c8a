"""The adding problem: a network reads pairs of a number and a mark, and predicts the sum of the two marked numbers.

It trains on fresh random sequences, and the longer they are (`--length`), the farther apart are the two numbers.
Compare its mean squared error with 1/6, the error of always predicting 1.
"""

from absl import flags

import rnnjax
from rnnjax import app, losses, tasks
from rnnjax.tasks import task_stream

FLAGS = app.common_flags(
    cell="lstm",
    hidden_size="128",
    learning_rate=1e-3,
    batch_size=50,
    num_steps=3000,
    log_every=20,
    eval_every=100,
    eval_batches=20,
    checkpoint_every=500,
)
flags.DEFINE_integer("length", 100, "Steps per sequence.", 2, flag_values=FLAGS)

LEM = {2000: "5.3e-5", 5000: "4.9e-5", 10000: "2.4e-5"}


def published(length: int) -> tuple[app.Published, ...]:
    """Returns published results for sequences of this length."""
    lem = [app.Published("LEM, 128 units", LEM[n], "tk-rusch/LEM, logged results", True) for n in LEM if n == length]
    bai = [
        app.Published(f"{model}, 70 k parameters", value, "Bai et al. 2018, table 1", False)
        for model, value in (("LSTM", "0.164"), ("GRU", "5.3e-5"), ("TCN", "5.8e-5"))
        if length == 600
    ]
    return (*lem, *bai)


def build(config: app.Config) -> app.Setup:
    """Builds the adding problem and a network of the flags' layers from the pairs to the sum."""
    task = tasks.adding(config.length)
    examples = task_stream(task, config.batch_size)
    return app.Setup(
        cell=rnnjax.unroll(rnnjax.stack(config.layers(), rnnjax.linear(1))),
        objective=losses.regress,
        train=examples,
        valid=examples._replace(length=config.eval_batches),
        test=examples._replace(length=5 * config.eval_batches),
        baseline=task.baseline,
        baseline_name="always predicts 1: 1 / 6",
        published=published(config.length),
        loss_label="mean squared error",
    )


EXPERIMENT = app.Experiment(build, FLAGS, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
