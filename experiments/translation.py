"""Machine translation: an encoder-decoder with attention translates sentences of one language into another.

It trains on a generated toy language with the verb at the end or, with `--data`, on two files of lines such as
Multi30k. Look at BLEU by greedy decoding and by beam search, at the shown translations, and at the picture of the
attention weights.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.seq2seq import (
    alignment_picture,
    decode,
    exact_fraction,
    objective,
    training_network,
    translator,
    translator_flags,
)
from experiments.transduction import WORDS, word_order
from rnnjax import app, estimators
from rnnjax.base import PyTree, UserError
from rnnjax.data import (
    END,
    UNKNOWN,
    Batch,
    Vocabulary,
    find_folder,
    gather_examples,
    in_order,
    padded,
    read_sentences,
    shuffled,
    within_length,
)
from rnnjax.runs import print_table

FLAGS = app.common_flags(
    cell="lstm",
    hidden_size="64",
    learning_rate=3e-3,
    batch_size=64,
    num_steps=600,
    log_every=50,
    eval_every=200,
)
translator_flags(FLAGS, attention="general")
flags.DEFINE_string(
    "data",
    "generated",
    "generated: a toy language with the verb at the end; or a folder of files train*.EN*, val*.EN*, test*.EN* for a "
    "language EN, one sentence per line, words separated by spaces or tabs, itself or below --data_dir: multi30k.",
    flag_values=FLAGS,
)
flags.DEFINE_string("source", "en", "The source language.", flag_values=FLAGS)
flags.DEFINE_string("target", "de", "The target language.", flag_values=FLAGS)
flags.DEFINE_integer(
    "vocabulary", 8000, "Number of most frequent words of each language; others are unknown.", 3, flag_values=FLAGS
)
flags.DEFINE_integer(
    "longest", 30, "Words of the longest training sentences; longer ones are skipped.", 1, flag_values=FLAGS
)
flags.DEFINE_list(
    "buckets", ["8", "12", "16", "22"], "Lengths to which a batch can be cut, ascending.", flag_values=FLAGS
)
flags.DEFINE_integer("sentences", 5000, "Generated training sentences.", 1, 1_000_000, flag_values=FLAGS)
flags.DEFINE_integer("shown", 3, "Number of translations to show at the end.", 0, flag_values=FLAGS)

LIMIT = 60  # maximal number of words of a translation
PUBLISHED = (app.Published("networks of this kind, Multi30k English-German", "33-38 BLEU", "as remembered", False),)

Text = list[list[str]]
PARTS = {"train": "train", "valid": "val", "test": "test"}


def generated(config: app.Config) -> dict[str, tuple[Text, Text]]:
    """Generates sentences of up to two clauses; source words are target words spelled backwards."""
    names = [*WORDS, ""]

    def said(key: jax.Array, n: int) -> tuple[Text, Text]:
        batch = jax.device_get(word_order(1, 2, 2).batch(key, n))
        source = [[names[int(s)][::-1] for s in x[v]] for x, v in zip(*batch.x.source[:2])]
        return source, [[names[int(s)] for s in y[m][:-1]] for y, m in zip(batch.y, batch.mask)]

    keys = jax.random.split(jax.random.key(config.seed), 3)
    return {name: said(k, n) for name, k, n in zip(PARTS, keys, (config.sentences, 500, 500))}


def files(config: app.Config) -> dict[str, tuple[Text, Text]]:
    """Reads the three parts of a folder, one sentence per line."""
    folder = find_folder(config.data, config.data_dir)

    def read(part: str, language: str) -> tuple[str, Text]:
        found = sorted(p for p in folder.glob(f"{part}*") if language in p.name.split(".")[1:])
        if len(found) != 1:
            raise UserError(f"--data={config.data}: {len(found) or 'no'} files are named {part}*.{language}*")
        return str(found[0]), read_sentences(str(found[0]), config.encoding)

    parts: dict[str, tuple[Text, Text]] = {}
    for name, part in PARTS.items():
        (a, source), (b, target) = (read(part, language) for language in (config.source, config.target))
        if len(source) != len(target):
            raise UserError(f"{a} has {len(source)} lines, and {b} {len(target)}")
        empty = sum(not all(pair) for pair in zip(source, target))
        if empty:
            print(f"{name}: {empty} of {len(source)} pairs have an empty line, and count as they are")
        parts[name] = source, target
    return parts


def arrays(source: list[np.ndarray], target: list[np.ndarray], end: int) -> Batch:
    """Pads sentences; the end symbol is the first decoder input and the last target."""
    y = padded([np.append(t, end) for t in target])
    late = np.concatenate([np.full((len(target), 1), end, y.x.dtype), y.x[:, :-1]], axis=1)
    return Batch(rnnjax.SourceTarget(padded(source), late), y.x, y.valid)


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      reads: vocabulary of the source.
      writes: vocabulary of the target.
      counts: number of examples in each part.
      entropy: nats per word of a predictor that knows the word frequencies only.
      texts: the test part, both sides as words.
    """

    reads: Vocabulary
    writes: Vocabulary
    counts: dict[str, int]
    entropy: float
    texts: tuple[Text, Text]


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Builds the vocabularies of the training part, and loads all parts as indices."""
    texts = generated(config) if config.data == "generated" else files(config)
    known = [
        Vocabulary.of((w for line in side for w in line), config.vocabulary, (UNKNOWN, END)) for side in texts["train"]
    ]
    data: dict[str, Any] = {}
    for name, pair in texts.items():
        encoded = [[v.encode(line) for line in side] for v, side in zip(known, pair)]
        if name == "train":
            lengths = [max(len(s), len(t)) for s, t in zip(*encoded)]
            kept, out = within_length(lengths, config.longest)
            print(f"{len(kept)} training sentences; {out} of more than {config.longest} words are left out")
            encoded = [[side[i] for i in kept] for side in encoded]
        data[name] = arrays(encoded[0], encoded[1], known[1].index[END])
    y, mask = data["train"].y, data["train"].mask
    share = np.bincount(y[mask]) / mask.sum()
    entropy = float(-(share[share > 0] * np.log(share[share > 0])).sum())
    counts = {name: len(part.y) for name, part in data.items()}
    reads, writes = known
    return Facts(reads, writes, counts, entropy, texts["test"]), data


def lengths_of(examples: Batch) -> jax.Array:
    """Returns the number of steps of the longer side of each example."""
    return jnp.maximum(examples.x.source.valid.sum(1), examples.mask.sum(1))


def bucket_sizes(config: app.Config) -> list[int]:
    """Returns `--buckets` as numbers."""
    try:
        sizes = [int(text) for text in config.buckets]
    except ValueError as error:
        raise UserError(f"--buckets={','.join(config.buckets)}: expected whole numbers") from error
    if sizes != sorted(set(sizes)) or min(sizes, default=1) < 1:
        raise UserError(f"--buckets={','.join(config.buckets)}: ascending lengths of at least one step")
    return sizes


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on batches of sentences of similar length."""
    cell, taught = training_network(config, len(facts.reads), len(facts.writes))
    size, sizes = config.batch_size, bucket_sizes(config)
    valid, test = (in_order(name, size, facts.counts[name]) for name in ("valid", "test"))
    return app.Setup(
        cell=cell,
        objective=objective,
        train=taught(shuffled("train", size, lengths_of), True),
        valid=taught(valid),
        test=taught(test),
        baseline=facts.entropy,
        baseline_name="frequencies of words",
        published=PUBLISHED if Path(config.data).name == "multi30k" else (),
        loss_label="cross-entropy (nats a word)",
        around=lambda estimator: estimators.bucketed(estimator, sizes),
    )


def bleu(said: list[str], wanted: list[str]) -> float | None:
    """Returns the BLEU score of sentences of words separated by spaces; None if sacrebleu is not installed."""
    try:
        sacrebleu: Any = importlib.import_module("sacrebleu")
    except ModuleNotFoundError:
        return None
    return float(sacrebleu.corpus_bleu(said, [wanted], tokenize="none", force=True).score)


def finish(result: app.Result) -> dict[str, Any]:
    """Translates the test part, greedily and by beam search; reports BLEU, examples and an alignment."""
    config, facts = result.config, result.facts
    reads, writes = facts.reads, facts.writes
    net, end = translator(config, len(reads), len(writes)), writes.index[END]
    test, size = result.data["test"], config.batch_size
    translate = decode(net, config, LIMIT, end)
    pieces = []
    for begin in range(0, len(test.y), size):
        at = jnp.minimum(jnp.arange(begin, begin + size), len(test.y) - 1)  # one shape, one program
        pieces.append(jax.device_get(translate(result.params, gather_examples(test, at).x.source)))
    whole = jax.tree.map(lambda *a: np.concatenate(a)[: len(test.y)], *pieces)
    wanted = [" ".join(line) for line in facts.texts[1]]
    rows: list[dict[str, Any]] = []
    for name, written in zip(("greedy", f"beam {config.beam}"), whole):
        lengths = written.length - (written.symbols == end).any(1)
        said = [" ".join(writes.decode(s[:n])) for s, n in zip(written.symbols, lengths)]
        score = bleu(said, wanted)
        rows.append({"": name} | ({} if score is None else {"BLEU": score}) | {"exact": exact_fraction(written, test)})
    print_table(rows, title=f"{config.cell}: the test part translated")
    if score is None:
        print("no BLEU: sacrebleu is not installed: pip install 'rnnjax[translate]'")
    for i in range(config.shown):
        print(f"  {' '.join(facts.texts[0][i])}\n  = {said[i]}\n  ({wanted[i]})")
    if config.attention != "none":
        alignment_picture(
            result, net, jax.tree.map(lambda a: a[0], test.x.source), ["", *reads.words], ["", *writes.words], end
        )
    return {"translated": rows}


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, free=("beam", "length_penalty", "shown"), description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
