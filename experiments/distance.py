"""Long-distance dependence: how far back a network can look for the word that decides the answer.

In "the clouds are in the sky" that word is near, in "I grew up in China .. I speak fluent Chinese" it is far. Each cell
trains on generated sentences of both kinds, once for every distance in `--lags`. Look at the accuracy against the
distance, and at the gradient that reaches each word before and after training.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

import rnnjax
from rnnjax import app, data, estimators, losses, training
from rnnjax.base import Cell, PyTree, UserError
from rnnjax.data import Batch
from rnnjax.plotting import Run, draw_curves, draw_sentence, save
from rnnjax.runs import Workdir, print_table

FLAGS = app.study_flags(cell="vanilla,lstm", hidden_size="32")
flags.DEFINE_list("lags", ["4", "8", "16", "32"], "Words from the country to the language.", flag_values=FLAGS)
flags.DEFINE_integer("num_steps", 1000, "Updates for each lag.", 1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 32, "Sentences per update.", 1, flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 3e-3, "Learning rate of Adam.", 0.0, flag_values=FLAGS)
flags.DEFINE_integer("tested", 1000, "Test sentences of each kind.", 1, 1_000_000, flag_values=FLAGS)

NEAR = {"clouds": "sky", "fish": "sea", "books": "library", "cows": "meadow", "stars": "night", "cars": "street",
        "trees": "forest", "toys": "box"}  # fmt: skip
FAR = {"china": "chinese", "france": "french", "italy": "italian", "japan": "japanese", "russia": "russian",
       "spain": "spanish", "greece": "greek", "turkey": "turkish"}  # fmt: skip
FILLER = ["and", "there", "she", "met", "many", "good", "friends", "who", "often", "went", "to", "see", "old", "films",
          "or", "played", "music", "with", "him", "when", "it", "rained", "then", "they", "all", "moved"]  # fmt: skip
OPENING, BEFORE, ASK = ["i", "grew", "up", "in"], ["the", "are", "in", "the"], ["i", "speak", "fluent"]
WORDS = list(dict.fromkeys([*FILLER, *NEAR, *FAR, *OPENING, *BEFORE, *ASK]))
LARGE = 1_000_000  # upper bound of the random integers
ANSWERS = [*NEAR.values(), *FAR.values()]


class Sentence(NamedTuple):
    """Word indices `[T]` and the index of the answer."""

    words: jax.Array
    answer: jax.Array


def ids(words: list[str]) -> jax.Array:
    """Returns the indices of words."""
    return jnp.array([WORDS.index(word) for word in words])


def near_sentences(draws: jax.Array) -> Sentence:
    """Fillers, then `the clouds are in the`: the answer depends on the word four back. Draws: `[T + 2]`."""
    which = draws[-1] % len(NEAR)
    the, *rest = ids(BEFORE)
    end = jnp.stack([the, ids(list(NEAR))[which], *rest])
    return Sentence(filler(draws).at[-len(end) :].set(end), which)


def far_sentences(draws: jax.Array, lag: jax.Array) -> Sentence:
    """Fillers around `i grew up in china`, then `i speak fluent`: the answer depends on the word `lag` back."""
    which, words = draws[-1] % len(FAR), filler(draws)
    said = jnp.concatenate([ids(OPENING), ids(list(FAR))[which][None]])
    words = jax.lax.dynamic_update_slice(words, said, (len(words) - lag - len(OPENING),))
    return Sentence(words.at[-len(ASK) :].set(ids(ASK)), len(NEAR) + which)


def filler(draws: jax.Array) -> jax.Array:
    """Returns words without information."""
    return ids(FILLER)[draws[:-2] % len(FILLER)]


def throws(key: jax.Array, n: int, steps: int) -> jax.Array:
    """Draws the random integers of n sentences in one call, since each call of the generator is slow to compile."""
    return jax.random.randint(key, (n, steps + 2), 0, LARGE)


def sentences(steps: int, n: int, share: float) -> data.Stream:
    """Returns a stream of fresh sentences, a share of them far ones; the lag is the data."""

    def one(draws: jax.Array, lag: jax.Array) -> Sentence:
        return jax.tree.map(
            lambda a, b: jnp.where(draws[-2] < int(share * LARGE), a, b),
            far_sentences(draws, lag),
            near_sentences(draws),
        )

    def following(lag: jax.Array, position: PyTree, key: jax.Array) -> tuple[Batch, PyTree]:
        some = jax.vmap(one, (0, None))(throws(key, n, steps), lag)
        asked = jnp.broadcast_to(jnp.arange(steps) == steps - 1, (n, steps))
        return Batch(some.words, jnp.broadcast_to(some.answer[:, None], (n, steps)), asked), position

    return data.Stream(lambda lag: (), following, length=1)


def network(config: app.Config) -> Cell:
    """Returns a network from words to logits of answers."""
    words = rnnjax.embed(len(WORDS), 16, dtype=jnp.dtype(config.dtype))
    return rnnjax.stack(words, config.layers(), rnnjax.linear(len(ANSWERS)))


def learned(config: app.Config, lags: jax.Array, steps: int) -> tuple[PyTree, PyTree, dict[str, np.ndarray]]:
    """Trains for all lags side by side in one program; returns the params before and after, and the accuracies."""
    cell = rnnjax.unroll(network(config))
    estimator = estimators.backprop(cell, losses.classify)
    rate = optax.cosine_decay_schedule(config.learning_rate, config.num_steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    trainer = training.Trainer(cell, estimator, optimizer, sentences(steps, config.batch_size, 0.5))
    scored = {
        name: training.evaluate(cell, losses.classify, sentences(steps, config.tested, share))
        for name, share in (("near", 0.0), ("far", 1.0))
    }

    def whole(lag: jax.Array, key: jax.Array) -> tuple[PyTree, PyTree, dict[str, jax.Array]]:
        start = training.init(trainer, lag, key)
        params = training.loop(trainer, start, lag, config.num_steps).state.params
        tested = jax.random.fold_in(key, 1)
        return start.state.params, params, {n: f(params, lag, tested)["accuracy"].value() for n, f in scored.items()}

    keys = jax.random.split(jax.random.key(config.seed), len(lags))
    before, after, known = jax.jit(jax.vmap(whole))(lags, keys)
    return before, after, {name: np.asarray(values, float) for name, values in known.items()}


def reached(config: app.Config, params: PyTree, many: Sentence) -> np.ndarray:
    """Returns the mean over sentences of log |d log p(answer) / d x_t| for each embedded word x_t, `[T]`."""
    rest = rnnjax.unroll(rnnjax.stack(config.layers(), rnnjax.linear(len(ANSWERS))))

    @jax.jit
    @jax.vmap
    def told(sentence: Sentence) -> jax.Array:
        def log_p(x: jax.Array) -> jax.Array:
            return jax.nn.log_softmax(rnnjax.run(rest, params[1:], x)[1][-1])[sentence.answer]

        slopes = jax.grad(log_p)(params[0]["w"][sentence.words])
        return jnp.log(jnp.linalg.norm(slopes, axis=1))

    return np.asarray(told(many).mean(0))


def run(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Trains each cell for every lag; reports accuracy against lag, and the gradient that reaches each word."""
    config = next(iter(configs.values()))
    lags, steps = parse_lags(config)
    at = len(lags) // 2
    many = jax.jit(jax.vmap(far_sentences, (0, None)))(throws(jax.random.key(config.seed), 100, steps), lags[at])
    drawn, lines, rows = {}, {}, []
    for name, one in configs.items():
        before, after, known = learned(one, lags, steps)
        drawn[name] = Run(valid_steps=lags.tolist(), valid=known["far"])
        for moment, params in ((f"{name}, before training", before), (f"{name}, trained", after)):
            lines[moment] = reached(one, jax.tree.map(lambda a: a[at], params), many)
            tens = float(lines[moment][-int(lags[at])]) / math.log(10)
            print(f"{moment}: log10 of the gradient that reaches the country, {int(lags[at])} words back: {tens:.1f}")
        shares = zip(lags.tolist(), known["far"], known["near"])
        rows += [{"": name, "lag": lag, "far": float(f), "near": float(n)} for lag, f, n in shares]
    print_table(rows, title="\ncorrect answers; far: the language, lag words after the country; near: always 4 words")
    pictures = [workdir.file(f"{name}.{config.picture}") for name in ("accuracy", "sentence")]
    save(
        pictures[0],
        draw_curves(
            drawn,
            ylabel="answers that are right",
            xlabel="lag (words)",
            title="in china .. fluent ..",
            baselines={"guessing": 1 / len(FAR)},
            log=False,
        ),
    )
    words = [WORDS[i] for i in np.asarray(many.words[0])]
    ylabel = r"norm of $\partial \log p / \partial x_t$, geometric mean"
    save(pictures[1], draw_sentence([*words, "?"], lines, ylabel))
    print(f"pictures: {pictures[0]}, {pictures[1]}")
    return app.Findings({"rows": rows})


def parse_lags(config: app.Config) -> tuple[jax.Array, int]:
    """Returns `--lags` as numbers, and the number of words per sentence."""
    try:
        lags = sorted({int(lag) for lag in config.lags})
    except ValueError as error:
        raise UserError(f"--lags={','.join(config.lags)}: expected whole numbers") from error
    if not lags or lags[0] <= len(ASK):
        raise UserError(f"--lags={','.join(config.lags)}: more than {len(ASK)}, since `{' '.join(ASK)}` stands between")
    return jnp.array(lags), lags[-1] + len(OPENING)


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that no network can be trained with."""
    parse_lags(next(iter(configs.values())))


def described(configs: dict[str, app.Config]) -> dict[str, tuple[Cell, Any]]:
    """Returns the networks with the shape of their input, for `--describe`."""
    return {
        name: (rnnjax.unroll(network(config)), jnp.zeros(parse_lags(config)[1], jnp.int32))
        for name, config in configs.items()
    }


EXPERIMENT = app.Study(run, FLAGS, description=__doc__, check=check, networks=described)

if __name__ == "__main__":
    app.main(EXPERIMENT)
