"""Conditioning: compares the ways to give a recurrent network a context vector.

Each network trains to write an arithmetic progression modulo 11, whose first term and difference are the context. Look
at the loss curves of the ways in `--how`, and at the fraction of sequences that each network writes correctly by
itself.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.small_runs import learner
from rnnjax import app, decoding, estimators, losses, seq2seq, tasks, wrappers
from rnnjax.base import PyTree, UserError
from rnnjax.data import Batch
from rnnjax.plotting import Run, draw_curves
from rnnjax.runs import Workdir, print_table
from rnnjax.tasks import task_stream
from rnnjax.wrappers import CONDITIONINGS

FLAGS = app.study_flags(cell="gru", hidden_size="32")
flags.DEFINE_list(
    "how",
    [*CONDITIONINGS, "none"],
    f"Ways to compare: {', '.join(CONDITIONINGS)}, and none, without the context.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("length", 20, "Symbols per sequence.", 3, flag_values=FLAGS)
flags.DEFINE_integer("num_steps", 1000, "Updates per run.", 1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 64, "Sequences per update.", 1, flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 5e-3, "Learning rate of Adam.", 0.0, flag_values=FLAGS)

M, POINTS = 11, 15  # number of symbols; points per curve


def progression(length: int) -> tasks.Task:
    """s_t = s_1 + (t - 1) d modulo 11; the context is s_1 and d, each as a unit vector."""

    def sample(key: jax.Array) -> Batch:
        first, stride = jax.random.randint(key, (2,), jnp.array([0, 1]), M)
        y = (first + stride * jnp.arange(length)) % M
        late = jnp.concatenate([jnp.array([M], y.dtype), y[:-1]])
        return Batch(rnnjax.SourceTarget(jnp.concatenate([jax.nn.one_hot(s, M) for s in (first, stride)]), late), y)

    return tasks.Task(sample, (math.log(M) + math.log(M - 1)) / length)


def network(config: app.Config, how: str) -> seq2seq.EncoderDecoder:
    """Returns a network that writes; its source is the context."""

    def decoder(context: Any) -> rnnjax.Cell:
        core = config.single_layer()
        core = core if how == "none" else wrappers.condition(core, context, how)
        return rnnjax.stack(rnnjax.one_hot(M + 1), core, rnnjax.linear(M))

    weights = decoder(jnp.zeros(0)).weights
    return seq2seq.encoder_decoder(rnnjax.pointwise(lambda context: context), seq2seq.Decoder(decoder, weights))


def accuracy_alone(net: seq2seq.EncoderDecoder, params: PyTree, batch: Batch) -> jax.Array:
    """Returns the fraction of correct sequences when the network reads its own outputs."""

    def one(x: rnnjax.SourceTarget, y: jax.Array) -> jax.Array:
        cell, inner = net.begin(params, x.source)
        carry, logits = rnnjax.run(cell, inner, x.target[0])
        said = decoding.generate(cell, inner, carry, logits, y.shape[0], decoding.greedy, jax.random.key(0))
        return (said == y).all()

    return jax.vmap(one)(batch.x, batch.y).mean()


def train_network(config: app.Config, how: str) -> tuple[Run, dict[str, Any]]:
    """Trains one network and returns its curve and its row of the table."""
    net, task = network(config, how), progression(config.length)
    progress, loop = learner(config, net, losses.classify, task_stream(task, config.batch_size))
    test = task.batch(jax.random.key(config.seed + 1), 500)

    @jax.jit
    def scores(params: PyTree) -> tuple[jax.Array, jax.Array]:
        return estimators.score(net, losses.classify, params, (), test)[0]["loss"].value(), accuracy_alone(
            net, params, test
        )

    steps = np.unique(np.linspace(0, config.num_steps, POINTS + 1).astype(int))
    found = []
    for begin, end in itertools.pairwise(steps):
        progress = loop(progress, int(end - begin))
        if not progress.finite:
            raise UserError(f"--how={how}: the loss or its gradient is not finite; a lower --learning_rate may help")
        found.append([float(v) for v in scores(progress.state.averaged)])
    loss, right = np.array(found).T
    first = next((int(s) for s, r in zip(steps[1:], right) if r > 0.99), None)
    size = sum(p.size for p in jax.tree.leaves(progress.state.averaged))
    row = {"loss": loss[-1], "exact, alone": right[-1], "step of 99 % exact": first or "", "parameters": size}
    return Run(valid_steps=steps[1:], valid=loss), row


def compare(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Trains each network, draws the losses and prints the table."""
    found: dict[str, Any] = {}
    figures = {}
    for name, config in configs.items():
        runs, rows = {}, []
        for how in config.how:
            runs[how], row = train_network(config, how)
            rows.append({"how": how} | row)
            print(f"{name} {how}: " + ", ".join(f"{k} {v}" for k, v in row.items()))
        baseline = {"not told": progression(config.length).baseline}
        title = f"conditioning, {name}"
        figures[f"curves-{name}"] = draw_curves(
            runs, ylabel="cross-entropy (nats a symbol)", title=title, baselines=baseline
        )
        print_table(
            [*rows, {"how": "the best that is not told", "loss": baseline["not told"]}], title=f"conditioning: {name}"
        )
        found[name] = rows
    return app.Findings(found, figures)


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that no network can be trained with."""
    for how in next(iter(configs.values())).how:
        if how not in (*CONDITIONINGS, "none"):
            raise UserError(f"--how={how}: one of {', '.join((*CONDITIONINGS, 'none'))}")


EXPERIMENT = app.Study(compare, FLAGS, description=__doc__, check=check)

if __name__ == "__main__":
    app.main(EXPERIMENT)
