"""A character language model: a network reads a text and predicts the next character at every step.

It trains on the file in `--data` or, by default, on the help topics that come with Python. Look at the cross-entropy of
the test part in nats per character, and at the sample that the trained network writes; `--text` asks for the
log-probability of a text of your own.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import flags

import rnnjax
from rnnjax import app, decoding, losses, training, wrappers
from rnnjax.base import PyTree, UserError
from rnnjax.data import Alphabet, Batch, Stream, contiguous_rows, find, join_spelled, python_topics, reading_stream
from rnnjax.data import read as read_

FLAGS = app.common_flags(
    cell="lstm",
    hidden_size="128",
    num_layers=2,
    rule="tbptt",
    truncation=50,
    batch_size=50,
    learning_rate=4e-3,
    schedule="cosine",
    clip_norm=5.0,
    num_steps=2000,
    log_every=20,
    eval_every=250,
    checkpoint_every=500,
)
flags.DEFINE_string(
    "data",
    "",
    "A text file, itself or below --data_dir; empty: the help topics that come with Python.",
    flag_values=FLAGS,
)
flags.DEFINE_float("valid", 0.05, "Fraction for validation, before the test part.", 0, 0.5, flag_values=FLAGS)
flags.DEFINE_float("test", 0.1, "Fraction of the text, at its end, for the test.", 0, 0.5, flag_values=FLAGS)
flags.DEFINE_string("valid_data", "", "A separate file for validation, in place of --valid.", flag_values=FLAGS)
flags.DEFINE_string("test_data", "", "A separate file for the test, in place of --test.", flag_values=FLAGS)
flags.DEFINE_boolean(
    "spelled", False, "The files separate characters by spaces and write a space as _.", flag_values=FLAGS
)
flags.DEFINE_boolean(
    "epochwise",
    False,
    "Start each training window from the initial state, not from the end of the window before.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "sampling",
    "none",
    ["none", "constant", "linear", "exponential", "inverse_sigmoid"],
    "Scheduled sampling: how the probability decays that the network reads the character of the text rather than its "
    "own prediction; none: it always reads the text.",
    flag_values=FLAGS,
)
flags.DEFINE_float("sampling_pace", 500.0, "Approximate number of steps of the decay.", 1e-6, flag_values=FLAGS)
flags.DEFINE_float("sampling_last", 0.5, "Final probability of the decay.", 0, 1, flag_values=FLAGS)
flags.DEFINE_boolean(
    "exposure",
    False,
    "Also score the second half of each window while the network reads its own characters.",
    flag_values=FLAGS,
)
flags.DEFINE_string("text", "", "A text to compute the log-probability of.", flag_values=FLAGS)
flags.DEFINE_integer("sample", 300, "Characters to write at the end.", 0, flag_values=FLAGS)
flags.DEFINE_float("temperature", 0.7, "Sampling temperature; 0 takes the likeliest character.", 0, flag_values=FLAGS)
flags.DEFINE_string(
    "prime", "", "Beginning of the sample; empty: a line break, or the first character.", flag_values=FLAGS
)

NNRNN = "KyleGoyette/nnRNN README"
PTB = tuple(
    app.Published(f"{model}, 1.32 M parameters, windows of 150", f"{bits} bits", NNRNN, True)
    for model, bits in (("nnRNN", "1.40"), ("expRNN", "1.43"), ("EURNN", "1.61"), ("orthogonal start", "1.62"))
) + (app.Published("LSTM, 3 M parameters", "1.36 bits", "Bai et al. 2018, table 1", False),)
SHAKESPEARE = (
    app.Published("GPT 4x4x128, context 64, 2000 steps", "1.88", "nanoGPT README, tiny Shakespeare", True),
    app.Published("GPT 6x6x384, context 256", "1.4697", "nanoGPT README, tiny Shakespeare", True),
    app.Published("minLSTM, minGRU", "1.555, 1.548", "Feng et al. 2024, Shakespeare", False),
)
PUBLISHED = {"shakespeare": SHAKESPEARE, "ptb.char": PTB}


def split_text(config: app.Config) -> dict[str, str]:
    """Returns the training, validation and test texts, from separate files or cut from the end of --data."""

    def read(path: str) -> str:
        found = read_(find(path, config.data_dir), config.encoding)
        return join_spelled(found, path) if config.spelled else found

    raw = read(config.data) if config.data else python_topics()
    test = 0 if config.test_data else config.test
    valid = 0 if config.valid_data else config.valid
    ends = [int(len(raw) * (1 - test - valid)), int(len(raw) * (1 - test))]
    return {
        "train": raw[: ends[0]],
        "valid": read(config.valid_data) if config.valid_data else raw[ends[0] : ends[1]],
        "test": read(config.test_data) if config.test_data else raw[ends[1] :],
    }


class Facts(NamedTuple):
    """What `load` passes to `build`.

    Attributes:
      alphabet: of all parts.
      lengths: number of windows of each non-empty part.
    """

    alphabet: Alphabet
    lengths: dict[str, int]


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Loads the text as rows in three parts."""
    if config.rule == "bptt":
        raise UserError("--rule=bptt would look back to the beginning of the text: use --rule=tbptt and --truncation")
    if config.truncation < 1:
        raise UserError(f"--truncation={config.truncation}: the stream is read in windows of at least one character")
    cuts = split_text(config)
    alphabet = Alphabet.of("".join(cuts.values()))
    for known in (config.text, config.prime):
        alphabet.encode(known)  # fails now, not after training
    parts = {
        name: contiguous_rows(
            alphabet.encode(part), config.batch_size, config.truncation, f"the {name} part of the text"
        )
        for name, part in cuts.items()
        if part
    }
    lengths = {name: rows.windows(config.truncation) for name, rows in parts.items()}
    return Facts(alphabet, lengths), parts


def network(config: app.Config, facts: Facts) -> rnnjax.Cell:
    """Returns a network from a character to the logits of the next."""
    symbols = len(facts.alphabet.characters)
    net = rnnjax.stack(rnnjax.one_hot(symbols, config.dtype), config.layers(), rnnjax.linear(symbols))
    return rnnjax.cast(net, jnp.dtype(config.dtype))


def objective(outputs: PyTree, batch: Batch) -> losses.Metrics:
    """Nats, bits and accuracy per character."""
    metrics = losses.classify(outputs, batch)
    nats = metrics["loss"]
    return metrics | {"bits": losses.Mean(nats.total / math.log(2), nats.weight)}


def without_state(stream: Stream) -> Stream:
    """Returns a stream whose windows all start from the initial state."""

    def following(data: PyTree, position: PyTree, key: jax.Array) -> tuple[Batch, PyTree]:
        batch, position = stream.next(data, position, key)
        return batch._replace(restart=jnp.ones_like(batch.restart)), position

    return stream._replace(next=following)


def training_network(config: app.Config, facts: Facts) -> tuple[rnnjax.Cell, Stream, Callable[[Stream], Stream]]:
    """Returns the network and its stream under `--sampling`, and a function that makes a stream teacher-forced."""
    cell, train = network(config, facts), reading_stream("train", config.truncation)
    train = without_state(train) if config.epochwise else train
    if config.sampling == "none":
        return cell, train, lambda stream: stream
    eps = wrappers.sampling_schedule(config.sampling, config.sampling_pace, config.sampling_last)
    always = wrappers.sampling_schedule("constant", 1.0, last=1.0)
    return (
        wrappers.scheduled_sampling(cell),
        wrappers.with_sampling(train, eps),
        lambda s: wrappers.with_sampling(s, always),
    )


def exposure(config: app.Config, facts: Facts, params: PyTree, data: PyTree) -> dict[str, float]:
    """Returns nats per character on the second half of each window, under teacher forcing and free running."""
    name = "test" if "test" in facts.lengths else "valid"
    if name not in facts.lengths:
        raise UserError("--exposure needs a part of the text for --test or --valid")
    cell = rnnjax.cast(rnnjax.unroll(wrappers.scheduled_sampling(network(config, facts))), jnp.dtype(config.dtype))
    late = jnp.arange(config.truncation) >= config.truncation // 2
    given = reading_stream(name, config.truncation, facts.lengths[name])

    def second_half(outputs: PyTree, batch: Batch) -> losses.Metrics:
        return losses.classify(outputs, batch._replace(mask=batch.mask & late))

    def score(eps: float) -> float:
        stream = wrappers.with_sampling(given, lambda i: jnp.where(late, eps, 1.0))
        metrics = jax.jit(training.evaluate(cell, second_half, stream))(params, data, jax.random.key(0))
        return float(metrics["loss"].value())

    return {"teacher_forced": score(1.0), "free_running": score(0.0)}


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on a stream of consecutive windows."""

    cell, train, forced = training_network(config, facts)

    def scored(name: str) -> Any:
        length = facts.lengths.get(name, 0)
        return forced(reading_stream(name, config.truncation, length)) if length else None

    published = [rows for name, rows in PUBLISHED.items() if name in config.data]
    return app.Setup(
        cell=rnnjax.unroll(cell),
        objective=objective,
        train=train,
        valid=scored("valid"),
        test=scored("test"),
        baseline=math.log(len(facts.alphabet.characters)),
        baseline_name=f"uniform: ln {len(facts.alphabet.characters)}",
        published=published[0] if published else (),
        loss_label="cross-entropy (nats a character)",
    )


def log_probability(config: app.Config, facts: Facts, params: PyTree, words: str) -> float:
    """Returns log p(x_2 .. x_T given x_1) by the chain rule, in nats."""
    symbols = facts.alphabet.encode(words)
    if len(symbols) < 2:
        raise UserError(f"--text={words!r}: at least two characters, of which the first is given")
    _, logits = rnnjax.run(rnnjax.unroll(network(config, facts)), params, jnp.asarray(symbols[:-1]))
    return -float(losses.cross_entropy(logits, jnp.asarray(symbols[1:])).sum())


def generate_text(config: app.Config, facts: Facts, params: PyTree) -> str:
    """Writes a text that begins with the prime."""
    characters = facts.alphabet.characters
    prime = config.prime or ("\n" if "\n" in characters else characters[0])
    cell, symbols = network(config, facts), jnp.asarray(facts.alphabet.encode(prime))
    carry, logits = rnnjax.run(rnnjax.unroll(cell), params, symbols)
    pick = decoding.temperature(config.temperature) if config.temperature else decoding.greedy
    key = jax.random.key(config.seed)
    return prime + str(
        facts.alphabet.decode(decoding.generate(cell, params, carry, logits[-1], config.sample, pick, key))
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Prints the log-probability of `--text`, and a sample."""
    config, facts = result.config, result.facts
    found: dict[str, Any] = {}
    if config.text:
        nats = log_probability(config, facts, result.params, config.text)
        bits = -nats / math.log(2) / (len(config.text) - 1)
        print(f"log p({config.text!r}) = {nats:.4f} nats, {bits:.4f} bits a character (the first is given)")
        found["text"] = {"text": config.text, "log_probability_nats": nats, "bits_per_character": bits}
    if config.exposure:
        found["exposure"] = exposure(config, facts, result.params, result.data)
        forced, free = found["exposure"].values()
        print(f"second half of each window, nats a character: {forced:.4f} reading the text, {free:.4f} reading itself")
    if config.sample:
        found["sample"] = generate_text(config, facts, result.params)
        print(f"--- sample at temperature {config.temperature} ---\n{found['sample']}\n---")
    return found


EXPERIMENT = app.Experiment(
    build, FLAGS, load, finish, free=("text", "sample", "temperature", "prime", "exposure"), description=__doc__
)

if __name__ == "__main__":
    app.main(EXPERIMENT)
