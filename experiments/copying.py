"""The copying task: a network reads ten symbols and writes them again after a long delay.

By default it trains a unitary RNN and an LSTM on fresh random sequences. Look at the loss beside the memoryless
baseline: a network that does not remember the symbols stays there.
"""

from absl import flags

import rnnjax
from rnnjax import app, losses, tasks
from rnnjax.tasks import task_stream

FLAGS = app.common_flags(
    cell="urnn,lstm",
    hidden_size="128,40",
    learning_rate=3e-3,
    batch_size=20,
    num_steps=600,
    log_every=10,
    eval_every=50,
    eval_batches=20,
    checkpoint_every=200,
)
flags.DEFINE_integer("delay", 100, "Steps between the symbols and the cue to write them.", 1, flag_values=FLAGS)
flags.DEFINE_integer("length", 10, "Symbols to remember.", 1, flag_values=FLAGS)
flags.DEFINE_integer("symbols", 8, "Number of different symbols.", 2, flag_values=FLAGS)

PUBLISHED = {
    1000: (
        app.Published("LSTM, 16 k parameters", "0.0204", "Bai et al. 2018, table 1", False),
        app.Published("TCN, 16 k parameters", "3.5e-5", "Bai et al. 2018, table 1", False),
    ),
}
ARJOVSKY = (app.Published("uRNN, 128 units, T = 100 to 500", "about 0", "Arjovsky et al. 2016, figure 1", False),)


def build(config: app.Config) -> app.Setup:
    """Builds the copying task and a network of the flags' layers from one-hot symbols to logits."""
    task = tasks.copying(config.delay, config.length, config.symbols)
    one_hot = rnnjax.one_hot(config.symbols + 2, config.dtype)
    examples = task_stream(task, config.batch_size)
    return app.Setup(
        cell=rnnjax.unroll(rnnjax.stack(one_hot, config.layers(), rnnjax.linear(config.symbols + 1))),
        objective=losses.classify,
        train=examples,
        valid=examples._replace(length=config.eval_batches),
        test=examples._replace(length=5 * config.eval_batches),
        baseline=task.baseline,
        baseline_name=f"memoryless: {config.length} ln {config.symbols} / (T + {2 * config.length})",
        published=PUBLISHED.get(config.delay, ()) + ARJOVSKY,
        loss_label="cross-entropy (nats a step)",
    )


EXPERIMENT = app.Experiment(build, FLAGS, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
