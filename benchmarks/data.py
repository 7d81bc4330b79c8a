"""How many steps a second loaders and streams give, beside how many training consumes, on the same core.

    taskset -c 1 python -m benchmarks.data --clock=cpu

A loader turns a file into arrays once; a stream gives batches of them, on the device, inside the compiled loop. Both
are set against a gradient step of a small GRU (64 units, batch 32, 16 features).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import rnnjax
from rnnjax import estimators, losses
from rnnjax.base import PyTree
from rnnjax.data import (
    Alphabet,
    Batch,
    Stream,
    Vocabulary,
    bucketed_batches,
    padded,
    read_frames,
    read_idx,
    read_labelled,
    read_rolls,
    read_series,
    read_tagged,
    read_ts,
    read_vectors,
    read_words,
    shuffled,
    tokenise,
)
from rnnjax.data import packed as packed_
from rnnjax.data import read as read_
from rnnjax.runs import print_table

BATCH, HIDDEN = 32, 64


class Source(NamedTuple):
    """A file in a format, what reads it, and how many steps of a network are in it.

    Attributes:
      write: path -> writes it.
      read: path -> what was read.
      steps: in what was read: words, frames, characters, pixels.
    """

    write: Callable[[Path], Any]
    read: Callable[[str], Any]
    steps: Callable[[Any], int]


RNG = np.random.default_rng(0)


def lines_of(make: Callable[[], str], n: int) -> Callable[[Path], Any]:
    """Writes n lines."""
    return lambda path: path.write_text("\n".join(make() for _ in range(n)))


def sentence() -> str:
    """Twenty words of a thousand."""
    return " ".join(f"w{i}" for i in RNG.zipf(1.5, 20) % 1000)


def numbers(n: int, separator: str = " ") -> str:
    """A line of numbers."""
    return separator.join(f"{x:.6f}" for x in RNG.normal(size=n))


def pixels(path: Path) -> None:
    """An idx file of 2,000 images of 28 x 28."""
    head = bytes([0, 0, 8, 3]) + np.array([2000, 28, 28], ">u4").tobytes()
    path.write_bytes(head + RNG.integers(0, 256, 2000 * 784, np.uint8).tobytes())


def rolls(path: Path) -> None:
    """A JSON file of 100 pieces of 200 frames of four notes."""
    pieces = [RNG.integers(40, 80, (200, 4)).tolist() for _ in range(100)]
    path.write_text(json.dumps({"train": pieces, "valid": pieces[:1], "test": pieces[:1]}))


def encoded(path: str) -> np.ndarray:
    """Words as indices of a vocabulary of their own."""
    found = read_words(path)
    return Vocabulary.of(found, 10_000).encode(found)


def ts(path: Path) -> None:
    """A .ts file of 500 cases of 50 steps of three dimensions."""
    rows = [":".join(numbers(50, ",") for _ in range(3)) + f":{'ab'[i % 2]}" for i in range(500)]
    path.write_text("\n".join(["@classLabel true a b", "@data", *rows]))


SOURCES = {
    "characters": Source(lines_of(sentence, 20_000), lambda p: Alphabet.of(s := read_(p)).encode(s), len),
    "words": Source(lines_of(sentence, 20_000), encoded, len),
    "labelled sentences": Source(
        lines_of(lambda: f"good\t{sentence()}", 10_000),
        lambda p: [tokenise(x) for x in read_labelled(p).xs],
        lambda found: sum(map(len, found)),
    ),
    "tagged words": Source(
        lines_of(lambda: "dog NN\nbarks VB\n. .\n", 20_000),
        read_tagged,
        lambda found: sum(len(s.words) for s in found),
    ),
    "one series": Source(lines_of(lambda: numbers(1), 50_000), read_series, len),
    "frames of 12": Source(
        lines_of(lambda: "\n".join(numbers(12) for _ in range(15)) + "\n", 1000),
        read_frames,
        lambda found: sum(map(len, found)),
    ),
    ".ts series": Source(ts, read_ts, lambda found: sum(map(len, found.xs))),
    "idx images": Source(pixels, read_idx, lambda found: found.size),
    "piano rolls": Source(rolls, read_rolls, lambda found: sum(map(len, found["train"]))),
    "word vectors": Source(
        lines_of(lambda: f"w{RNG.integers(1 << 60)} {numbers(100)}", 5000),
        read_vectors,
        lambda found: len(found.words),
    ),
}


def measured(call: Callable[[], Any], clock: Callable[[], float], repeats: int) -> float:
    """Seconds of a call: the median of several, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        begun = clock()
        call()
        seconds.append(clock() - begun)
    return statistics.median(seconds)


def ragged() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sequences of 16 features, 5 to 60 steps, with a label a step."""
    xs = [RNG.normal(size=(n, 16)).astype(np.float32) for n in RNG.integers(5, 61, 4000)]
    return xs, [np.zeros(len(x), np.int32) for x in xs]


def gradient_step(batch: Batch) -> tuple[Callable[[], Any], int]:
    """A gradient step on a batch, and the steps in it."""
    net = rnnjax.unroll(rnnjax.stack(rnnjax.gru(HIDDEN), rnnjax.linear(5)))
    estimator = estimators.backprop(net, losses.classify)
    params = net.init(jax.random.key(0), jax.tree.map(lambda a: a[0], batch.x))
    step = jax.jit(lambda params: estimator.grad(params, (), batch)[0].mean_grads())
    return lambda: jax.block_until_ready(step(params)), int(np.sum(batch.x.valid))


def served(stream: Stream, data: PyTree, n: int) -> Callable[[], Any]:
    """n batches from a stream, in one compiled loop; all of each batch is touched."""

    @jax.jit
    def run(data: PyTree) -> jax.Array:
        def body(at: tuple[PyTree, jax.Array], i: jax.Array) -> tuple[tuple[PyTree, jax.Array], None]:
            batch, position = stream.next(data, at[0], jax.random.fold_in(jax.random.key(0), i))
            touched = sum(jnp.sum(a.astype(jnp.float32)) for a in jax.tree.leaves(batch))
            return (position, at[1] + touched), None

        return jax.lax.scan(body, (stream.init(data), jnp.zeros(())), jnp.arange(n))[0][1]

    return lambda: run(data).block_until_ready()


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what is measured")
    parser.add_argument("--repeats", type=int, default=5, help="of each, the median counts")
    args = parser.parse_args()
    clock = time.process_time if args.clock == "cpu" else time.perf_counter

    xs, ys = ragged()
    packed = packed_(xs, ys, 64)
    data = jax.tree.map(jnp.asarray, {"train": packed})
    step, steps = gradient_step(jax.tree.map(lambda a: a[:BATCH], data["train"]))
    rate = steps / measured(step, clock, args.repeats)
    rows = [{"": "training: a GRU of 64 units consumes", "steps a second": round(rate), "times training": 1.0}]

    def add(name: str, steps: int, seconds: float) -> None:
        rows.append({"": name, "steps a second": round(steps / seconds), "times training": steps / seconds / rate})

    n = len(packed.y) // BATCH
    seconds = measured(served(shuffled("train", BATCH), data, n), clock, args.repeats)
    add("stream: shuffled, packed rows", int(packed.x.valid[: n * BATCH].sum()), seconds)
    total = sum(map(len, xs))
    add("pack into rows", total, measured(lambda: packed_(xs, ys, 64), clock, args.repeats))
    add("pad into rows", total, measured(lambda: padded(xs), clock, args.repeats))
    lengths = [len(x) for x in xs]
    add("batches of similar length", total, measured(lambda: bucketed_batches(lengths, BATCH), clock, args.repeats))
    with tempfile.TemporaryDirectory() as folder:
        for name, source in SOURCES.items():
            path = Path(folder) / name.replace(" ", "_")
            source.write(path)
            steps = source.steps(source.read(str(path)))
            add(f"file: {name}", steps, measured(partial(source.read, str(path)), clock, args.repeats))
    print_table(rows, title=f"{args.clock} time, medians of {args.repeats}")


if __name__ == "__main__":
    main()
