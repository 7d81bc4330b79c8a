"""Sequence tagging: a network predicts a label for each word, from left to right or in both directions.

It trains on generated sentences with parts of speech or gaps to fill, or on a file of columns (`--data`). Compare the
test accuracy of `--both_ways` and `--noboth_ways`: words that depend on what follows need both directions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.notes import print_notes
from rnnjax import app, losses
from rnnjax.base import PyTree, UserError
from rnnjax.data import (
    NONE,
    UNKNOWN,
    Batch,
    Tagged,
    Vocabulary,
    drop_duplicates,
    find,
    in_order,
    padded,
    random_split,
    read_tagged,
    shuffled,
    within_length,
)
from rnnjax.runs import print_table

FLAGS = app.common_flags(
    cell="gru",
    hidden_size="32",
    learning_rate=5e-3,
    schedule="cosine",
    batch_size=64,
    num_steps=600,
    log_every=20,
    eval_every=100,
    checkpoint_every=500,
)
flags.DEFINE_string(
    "data",
    "speech",
    "speech: generated sentences with words that are nouns or verbs; gap: the missing word, as in `the man went to the "
    "___ to withdraw money`; clauses: three missing words, of which the first depends on the words after it, the "
    "second on those before it, the third on both; or a file with one word per line in columns (CoNLL), itself or "
    "below --data_dir.",
    flag_values=FLAGS,
)
flags.DEFINE_string("test_data", "", "A separate file of columns for the test, in place of --test.", flag_values=FLAGS)
flags.DEFINE_integer("word_column", 0, "Column of the words: from 0, or from the end (-1).", flag_values=FLAGS)
flags.DEFINE_integer("tag_column", -1, "Column of the labels: from 0, or from the end (-1).", flag_values=FLAGS)
flags.DEFINE_boolean(
    "both_ways", True, "Read the sentences in both directions; otherwise from left to right.", flag_values=FLAGS
)
flags.DEFINE_integer(
    "longest", 60, "Words of the longest sentence; longer ones are skipped and counted.", 1, flag_values=FLAGS
)
flags.DEFINE_integer("vocabulary", 10000, "Maximal number of different words.", 4, flag_values=FLAGS)
flags.DEFINE_integer("embedding_size", 32, "Embedding size of a word.", 1, flag_values=FLAGS)
flags.DEFINE_float("valid", 0.1, "Fraction of the sentences for validation.", 0.001, 0.5, flag_values=FLAGS)
flags.DEFINE_float("test", 0.2, "Fraction of the sentences for the test.", 0.001, 0.5, flag_values=FLAGS)
flags.DEFINE_integer("sentences", 2000, "Generated sentences.", 20, 1_000_000, flag_values=FLAGS)
flags.DEFINE_integer(
    "phrases", 3, "For clauses: maximal number of phrases between a gap and its cue.", 1, flag_values=FLAGS
)

GAP = "___"
ENTITY = re.compile("O|[BIESLU]-.+")  # the labels that mark entities
EITHER = ("fish", "watch", "play", "walk", "plan", "can", "paint", "drink")  # nouns or verbs
NOUNS, VERBS = ("dog", "man", "girl", *EITHER), ("see", "like", *EITHER)
ERRANDS = {
    "bank": ("withdraw money", "open an account", "ask for a loan"),
    "pharmacy": ("purchase some medicines", "fetch a prescription", "buy pills"),
    "library": ("borrow a book", "return two novels", "read the papers"),
    "station": ("catch a train", "buy a ticket", "meet his aunt"),
}
PEOPLE = ("man", "boy", "woman", "girl", "baker", "student")
LOOKS = ("", "old", "young", "tall", "tired")
WHEN = ("", "on monday", "on sunday", "after lunch", "at noon", "last week")
HOW = ("", "with a friend", "in the rain", "in a hurry", "alone")
ASKED = ("the man went to the ___ to withdraw money", "the boy went to the ___ to purchase some medicines")
SAYS = {"he": "himself", "she": "herself"}
ASIDES = ("on the first night", "after lunch", "with a sigh", "in a low voice", "as usual")
ABOUT = ("by the writers", "of the town", "from the lakes", "about a king")
PRAISE, BLAME = ("good", "great", "clever", "warm"), ("bad", "dull", "clumsy", "cold")
KINDS = {"after": ("he", "she"), "before": ("was", "were"), "both": ("and", "but")}  # by the position of the cue


def speech(rng: np.random.Generator) -> Tagged:
    """Generates a sentence whose words are ambiguous without context; the tag of `her` depends on the next word."""

    def pick(choices: tuple[str, ...], tag: str) -> list[tuple[str, str]]:
        return [(str(rng.choice(choices)), tag)]

    def noun() -> list[tuple[str, str]]:
        return (pick(("old", "red", "small"), "A") if rng.random() < 0.4 else []) + pick(NOUNS, "N")

    subject = pick(("she", "he", "they"), "P") if rng.random() < 0.3 else pick(("the", "her"), "D") + noun()
    aux = pick(("can", "will", "must"), "X") if rng.random() < 0.5 else []
    objects = ([("her", "P")], [("her", "D"), *noun()], pick(("the", "some"), "D") + noun())
    rest = pick(("often", "today", "gladly"), "R") if rng.random() < 0.5 else []
    pairs = [*subject, *aux, *pick(VERBS, "V"), *objects[rng.integers(3)], *rest, (".", ".")]
    return Tagged([w for w, _ in pairs], [t for _, t in pairs])


def errand(rng: np.random.Generator) -> Tagged:
    """Generates a sentence with a gap that only the words after it determine."""
    place = str(rng.choice(list(ERRANDS)))
    who, when, how, errand = (rng.choice(x) for x in (PEOPLE, WHEN, HOW, ERRANDS[place]))
    said = f"the {rng.choice(LOOKS)} {who} went to the ___ {when} {how} to {errand}".split()
    return Tagged(said, [place if word == GAP else NONE for word in said])


def clauses(rng: np.random.Generator, most: int = 3) -> Tagged:
    """Generates a sentence with three gaps, whose cues are after it, before it, and on both sides.

    `and` joins two verdicts that agree, `but` two that do not, so one verdict alone gives no information. Up to `most`
    phrases, plus or minus one, separate a gap from its cue.
    """

    def some(phrases: tuple[str, ...], n: int) -> str:
        return " ".join(rng.choice(phrases, rng.integers(n + 1)))

    who, number = str(rng.choice(list(SAYS))), int(rng.integers(2))
    first, second = rng.integers(2, size=2)
    verdicts = [str(rng.choice((BLAME, PRAISE)[kind])) for kind in (first, second)]
    said = (
        f"___ said {some(ASIDES, most)} to {SAYS[who]} that the {('play', 'plays')[number]} "
        f"{some(ABOUT, most + 1)} ___ {verdicts[0]} {some(ASIDES, most - 1)} , "
        f"___ the music {some(ABOUT, most - 1)} {verdicts[1]}"
    ).split()
    missing = iter((who, ("was", "were")[number], "and" if first == second else "but"))
    return Tagged(said, [next(missing) if word == GAP else NONE for word in said])


def read(config: app.Config) -> tuple[list[Tagged], list[Tagged] | None]:
    """Reads the sentences, and a separate test set if there is one."""
    grammars: dict[str, Callable[[np.random.Generator], Tagged]] = {
        "speech": speech,
        "gap": errand,
        "clauses": partial(clauses, most=config.phrases),
    }
    generated = grammars.get(config.data)
    if generated:
        rng = np.random.default_rng(config.seed)
        return [generated(rng) for _ in range(config.sentences)], None

    def file(path: str, tags: tuple[str, ...] = ()) -> list[Tagged]:
        at = find(path, config.data_dir), config.word_column, config.tag_column
        return print_notes(path, read_tagged(*at, encoding=config.encoding, tags=tags))

    sentences = file(config.data)
    return sentences, file(config.test_data, labels_in(sentences)) if config.test_data else None


def labels_in(sentences: Iterable[Tagged]) -> tuple[str, ...]:
    """Returns the labels of words in order of first appearance."""
    return tuple(dict.fromkeys(tag for s in sentences for tag in s.tags if tag != NONE))


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      words: vocabulary of the training part.
      labels: of all sentences of `--data`; `--test_data` has no others.
      counts: number of sentences in each part.
      yardstick: nats per label of a predictor that sees the word only.
      right: accuracy of that predictor, in [0, 1].
      steps: words of the longest sentence.
    """

    words: Vocabulary
    labels: tuple[str, ...]
    counts: dict[str, int]
    yardstick: float
    right: float
    steps: int


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Loads the sentences in three parts."""
    sentences, test = read(config)
    kept, out = within_length([len(s.words) for s in sentences], config.longest)
    if out:
        print(f"{out} of {len(sentences)} sentences are left out, longer than --longest={config.longest}")
    places = random_split(len(kept), config.valid, *([] if test else [config.test]))
    if test is None:
        places, known = drop_duplicates([" ".join(sentences[i].words) for i in kept], places)
        if known:
            print(f"{known} sentences of the test are left out: they are in the training part too")
    parts = {name: [sentences[kept[i]] for i in at] for name, at in zip(("train", "valid", "test"), places)}
    if test is not None:
        parts |= {"test": [s for s in test if len(s.words) <= config.longest]}
        if len(parts["test"]) < len(test):
            out = len(test) - len(parts["test"])
            print(f"test: {out} of {len(test)} sentences are left out, longer than --longest={config.longest}")
    if not all(parts.values()):
        raise UserError(f"--data={config.data}: {len(kept)} sentences are too few for three parts")
    vocabulary = Vocabulary.of((w for s in parts["train"] for w in s.words), config.vocabulary, [UNKNOWN])
    labels = labels_in([*parts["train"], *sentences])
    if len(labels) < 2:
        every = f"all words have the label {labels[0]!r}" if labels else "no word has a label"
        raise UserError(f"--data={config.data}: {every} in --tag_column={config.tag_column}")
    steps = max(len(s.words) for part in parts.values() for s in part)
    data = {name: batch(part, vocabulary, labels, steps) for name, part in parts.items()}
    yardstick, right = by_word(parts["train"], parts["test"], labels)
    counts = {name: len(part) for name, part in parts.items()}
    return Facts(vocabulary, labels, counts, yardstick, right, steps), data


def batch(part: list[Tagged], vocabulary: Vocabulary, labels: tuple[str, ...], steps: int) -> Batch:
    """Returns sentences as a batch; words without a label are masked."""
    places = {label: i for i, label in enumerate(labels)}
    y = [np.array([places.get(t, -1) for t in s.tags], np.int32) for s in part]
    x = padded([vocabulary.encode(s.words) for s in part], steps)
    target = padded(y, steps)
    return Batch(x, np.maximum(target.x, 0), target.valid & (target.x >= 0))


def by_word(train: list[Tagged], test: list[Tagged], labels: tuple[str, ...]) -> tuple[float, float]:
    """Returns nats and accuracy of a predictor that uses the label frequencies of each word."""
    seen = Counter((w, t) for s in train for w, t in zip(s.words, s.tags))
    nats, right = [], []
    for word, tag in ((w, t) for s in test for w, t in zip(s.words, s.tags) if t in labels):
        each = np.array([seen[word, label] for label in labels]) + 1e-3
        nats.append(-np.log(each[labels.index(tag)] / each.sum()))
        right.append(labels[int(each.argmax())] == tag)
    return float(np.mean(nats)), float(np.mean(right))


def network(config: app.Config, facts: Facts) -> rnnjax.Cell:
    """Returns a network from words to logits; each layer reads all outputs of the layer below, of both directions."""
    if config.both_ways and config.rule != "bptt":
        raise UserError(
            f"--rule={config.rule} goes step by step, and --both_ways reads from the end too: --noboth_ways"
        )
    dtype = jnp.dtype(config.dtype)
    enter = rnnjax.stack(rnnjax.embed(len(facts.words), config.embedding_size, dtype=dtype), *config.noise())
    layer = config.replace(num_layers=1).layers()
    body = [rnnjax.bidirectional(layer) if config.both_ways else rnnjax.unroll(layer)] * config.num_layers
    return rnnjax.stack(rnnjax.unroll(enter), *body, rnnjax.unroll(rnnjax.linear(len(facts.labels))))


def objective(config: app.Config, labels: tuple[str, ...]) -> losses.Objective:
    """Nats and accuracy per label; for `clauses` also the accuracy of each kind of gap."""
    if config.data != "clauses":
        return losses.classify
    kinds = {
        kind: np.array([i for i, label in enumerate(labels) if label in own], np.int32) for kind, own in KINDS.items()
    }

    def scored(outputs: PyTree, batch: Batch) -> losses.Metrics:
        apart = {kind: batch._replace(mask=batch.mask & jnp.isin(batch.y, own)) for kind, own in kinds.items()}
        return losses.classify(outputs, batch) | {k: losses.classify(outputs, b)["accuracy"] for k, b in apart.items()}

    return scored


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on sentences."""
    return app.Setup(
        cell=network(config, facts),
        objective=objective(config, facts.labels),
        train=shuffled("train", config.batch_size),
        valid=in_order("valid", config.batch_size, facts.counts["valid"]),
        test=in_order("test", config.batch_size, facts.counts["test"]),
        baseline=facts.yardstick,
        baseline_name=f"goes by the word alone ({facts.right:.1%} right)",
        loss_label="cross-entropy (nats a label)",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Shows the predictions for a few sentences: those of the lectures, or some of the test."""
    config, facts = result.config, result.facts
    if config.data == "gap":
        asked = [sentence.split() for sentence in ASKED]
    else:
        test = result.data["test"].x
        asked = [facts.words.decode(np.asarray(x)[np.asarray(valid)]) for x, valid in zip(test.x[:3], test.valid)]
    rows = []
    for sentence in asked:
        x = padded([facts.words.encode(sentence)], facts.steps)
        one = rnnjax.Seq(jnp.asarray(x.x[0]), jnp.asarray(x.valid[0]))
        said = np.asarray(rnnjax.run(result.setup.cell, result.params, one)[1].x.argmax(-1))
        shown = [facts.labels[i] if word == GAP or GAP not in sentence else "" for word, i in zip(sentence, said)]
        rows.append({"sentence": " ".join(sentence), "said": " ".join(filter(None, shown))})
    print_table(rows, title="both ways" if config.both_ways else "from left to right")
    return {"said": rows} | measures(result)


def measures(result: app.Result) -> dict[str, Any]:
    """Prints and returns macro F1 over the test words, and F1 of whole entities where tags mark them, as B- and I-."""
    test, labels = jax.tree.map(jnp.asarray, result.data["test"]), result.facts.labels
    read = jax.jit(lambda x: rnnjax.run(result.setup.cell, result.params, x)[1].x.argmax(-1))
    predicted = np.asarray(jax.lax.map(read, test.x))
    counts, target = np.asarray(test.mask), np.asarray(test.y)
    confusion = losses.confusion_matrix(predicted[counts], target[counts], len(labels))
    found: dict[str, Any] = {"macro F1": losses.macro_f1(confusion)}
    if all(ENTITY.fullmatch(label) for label in labels):
        tags = [[[labels[i] for i in row[on]] for row, on in zip(part, counts)] for part in (predicted, target)]
        found["entity F1"] = losses.span_f1(*tags).f1
    print("test: " + ", ".join(f"{name} {value:.4f}" for name, value in found.items()))
    return found


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
