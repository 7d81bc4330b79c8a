"""Sequence to sequence: an encoder-decoder reverses a sequence, or reorders clauses from subject-object-verb to SVO.

It trains on fresh generated examples and is tested on longer sources too. Look at the fraction of entirely correct
outputs for both lengths, greedily and with beam search, and at the gap between teacher forcing and free running.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.seq2seq import (
    alignment_picture,
    decode,
    exact_fraction,
    exposure,
    objective,
    training_network,
    translator,
    translator_flags,
)
from rnnjax import app, tasks, wrappers
from rnnjax.data import Batch
from rnnjax.runs import print_table
from rnnjax.tasks import task_stream as drawn_

FLAGS = app.common_flags(
    cell="gru",
    hidden_size="64",
    learning_rate=4e-3,
    schedule="cosine",
    final_rate=0.01,
    batch_size=64,
    num_steps=1000,
    log_every=50,
    eval_every=250,
    eval_batches=4,
)
translator_flags(FLAGS, attention="bahdanau", location=9)
flags.DEFINE_enum(
    "task", "order", ["order", "reversal"], "The task: to reorder clauses, or to reverse a sequence.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "longest",
    0,
    "Clauses (3 by default) or symbols (12) of the longest training source; tests also "
    "use sources of up to twice that length for order, and one and a half times for reversal.",
    0,
    flag_values=FLAGS,
)
flags.DEFINE_integer("tested", 1000, "Sources to decode at the end, of either length.", 1, flag_values=FLAGS)

KINDS = (
    ("the", "a"),
    ("", "", "small", "old", "red", "quick", "sad", "blue"),
    ("cat", "dog", "bird", "girl", "king", "fox", "child", "horse"),
    ("sees", "follows", "likes", "hears", "finds", "calls"),
    ("and", "but", "while"),
)
DETERMINER, ADJECTIVE, NOUN, VERB, LINK = range(5)
SOV = (DETERMINER, ADJECTIVE, NOUN, DETERMINER, ADJECTIVE, NOUN, VERB, LINK)
SVO = np.array([0, 1, 2, 6, 3, 4, 5, 7])  # positions of the first order in the second
WORDS = tuple(word for kind in KINDS for word in dict.fromkeys(kind) if word)
LETTERS = tuple("abcdefghij")


def framed(source: jax.Array, n: Any, target: jax.Array, end: int) -> Batch:
    """Returns an example of n symbols in and out; the end symbol is the last target and the first decoder input."""
    size = target.shape[0]
    y = jnp.where(jnp.arange(size + 1) < n, jnp.append(target, end), end)
    late = jnp.concatenate([jnp.array([end], y.dtype), y[:-1]])
    valid = jnp.arange(size) < n
    return Batch(rnnjax.SourceTarget(rnnjax.Seq(source, valid), late), y, jnp.arange(size + 1) <= n)


def reversal(shortest: int, longest: int, room: int) -> tasks.Task:
    """Returns the task of reversing a random number of letters, in arrays of length `room`."""
    end = len(LETTERS)

    def sample(key: jax.Array) -> Batch:
        kn, ks = jax.random.split(key)
        n = jax.random.randint(kn, (), shortest, longest + 1)
        source = jax.random.randint(ks, (room,), 0, end)
        return framed(source, n, source[(n - 1 - jnp.arange(room)) % room], end)

    mean = (shortest + longest) / 2
    return tasks.Task(sample, ignorant_nats(math.log(longest - shortest + 1) + mean * math.log(end), mean))


def ignorant_nats(entropy: float, length: float) -> float:
    """Returns the loss per symbol of a predictor that knows the language, of this entropy per text, but no source."""
    return float(entropy / (length + 1))


def word_order(shortest: int, longest: int, room: int) -> tasks.Task:
    """Returns the task of reordering a random number of clauses, from subject-object-verb to subject-verb-object."""
    tables = [jnp.array([WORDS.index(w) if w else -1 for w in kind]) for kind in KINDS]

    def sample(key: jax.Array) -> Batch:
        kn, *keys = jax.random.split(key, 1 + len(SOV))
        n = jax.random.randint(kn, (), shortest, longest + 1)
        drawn = [jax.random.choice(k, tables[kind], (room,)) for k, kind in zip(keys, SOV)]
        clause = jnp.stack(drawn, axis=1)  # [room, slots of a clause]; -1 stands for no adjective
        clause = clause.at[n - 1, -1].set(-1)  # no conjunction after the last
        clause = jnp.where((jnp.arange(room) < n)[:, None], clause, -1)
        said, heard = clause.ravel(), clause[:, SVO].ravel()
        return framed(close_up(said), (said >= 0).sum(), close_up(heard), len(WORDS))

    bare = KINDS[ADJECTIVE].count("") / len(KINDS[ADJECTIVE])
    each = 2 * sum(choice(KINDS[kind]) for kind in (DETERMINER, ADJECTIVE, NOUN)) + choice(KINDS[VERB])
    clauses = (shortest + longest) / 2
    entropy = math.log(longest - shortest + 1) + clauses * each + (clauses - 1) * choice(KINDS[LINK])
    return tasks.Task(sample, ignorant_nats(entropy, clauses * (6 + 2 * (1 - bare)) - 1))


def choice(words: Sequence[str]) -> float:
    """Returns the entropy of a word drawn from a list."""
    shares = np.array([words.count(w) / len(words) for w in dict.fromkeys(words)])
    return float(-(shares * np.log(shares)).sum())


def close_up(slots: jax.Array) -> jax.Array:
    """Moves empty slots (-1) to the end."""
    return jnp.maximum(slots[jnp.argsort(slots < 0, stable=True)], 0)


def tasks_of(config: app.Config) -> tuple[tasks.Task, tasks.Task, tasks.Task]:
    """Returns the task, the same task in arrays for longer sources, and the task on longer sources only."""
    make, n = {"order": (word_order, 3), "reversal": (reversal, 12)}[config.task]
    n = config.longest or n
    most = 2 * n if config.task == "order" else n + n // 2 + 1
    return make(1, n, n), make(1, n, most), make(n + 1, most, most)


def words_of(config: app.Config) -> tuple[str, ...]:
    """Returns the symbols except the end symbol."""
    return WORDS if config.task == "order" else LETTERS


def build(config: app.Config) -> app.Setup:
    """Builds the network on fresh examples."""
    symbols = len(words_of(config)) + 1
    cell, taught = training_network(config, symbols, symbols)
    task = tasks_of(config)[0]

    examples = drawn_(task, config.batch_size)
    scored = taught(examples, False)
    return app.Setup(
        cell=cell,
        objective=objective,
        train=taught(examples, True),
        valid=scored._replace(length=config.eval_batches),
        test=scored._replace(length=5 * config.eval_batches),
        baseline=task.baseline,
        baseline_name="knows the language, not the source",
        loss_label="cross-entropy (nats a symbol)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Reports free-running accuracy on sources of training length and longer, and the exposure gap."""
    config, names = result.config, words_of(result.config)
    symbols, end = len(names) + 1, len(names)
    net = translator(config, symbols, symbols)
    task, *both = tasks_of(config)
    batches = [t.batch(jax.random.key(config.seed + 1), config.tested) for t in both]
    written_by, rows = decode(net, config, batches[0].y.shape[1] + 5, end), []
    for name, batch in zip(("as learned", "longer"), batches):
        written = written_by(result.params, batch.x.source)
        lengths = batch.x.source.valid.sum(1)
        row: dict[str, Any] = {"sources": name, "symbols": f"{int(lengths.min())} to {int(lengths.max())}"}
        row |= {
            "exact, greedy": exact_fraction(written[0], batch),
            f"exact, beam {config.beam}": exact_fraction(written[1], batch),
        }
        rows.append(row)
    print_table(rows, title=f"{config.cell}, attention {config.attention}, encoder {config.encoder}: free running")
    stream = drawn_(task, config.batch_size, 4)
    gap = exposure(result, stream, translator(config, symbols, symbols, wrappers.scheduled_sampling))
    print("exposure: " + ", ".join(f"{name} {value:.4f}" for name, value in gap.items()))
    if config.attention != "none":
        one = jax.tree.map(lambda a: a[int(lengths.argmin())], batch.x.source)
        alignment_picture(result, net, one, [*names, "(end)"], [*names, "(end)"], end)
    return {"written": rows, "exposure": gap}


EXPERIMENT = app.Experiment(build, FLAGS, finish=finish, free=("beam", "length_penalty", "tested"), description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
