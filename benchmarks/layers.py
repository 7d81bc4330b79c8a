"""One recurrent layer, ours beside those of other libraries, in one process, turn by turn.

    python -m benchmarks.layers --cells=lstm,gru --out=layers.json
    taskset -c 0 python -m benchmarks.layers --clock=cpu        # on a machine with other work: one core, its time

For each cell and shape every peer computes the gradient of sum(ys ** 2) in the layer's params; in each round each has
its turn, so that whatever else the machine does falls on all alike. Printed are medians in milliseconds, compile
times, and ratios: the time of the reference (PyTorch, where it is installed) over the time of each, above 1 is faster.
"rnnjax shared" cuts the batch over a device for each core, as `--devices` does; the others run as one program.
The floor is the matmuls alone. The vanilla RNN of Haiku is relu, the others tanh; Haiku's GRU resets before the matmul.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import app, flags

from benchmarks._peers import GATES, PEERS, Layer, Shape
from benchmarks._turns import time_call, time_in_turn, write_json
from rnnjax import training

SHAPES = (
    "100,32,64,128", "1000,16,10,128", "200,64,128,256", "50,20,200,200",
    "100,128,128,512", "35,20,650,650", "784,64,1,128", "220,20,10,64",
)  # fmt: skip

FLAGS = flags.FLAGS
flags.DEFINE_list("cells", list(GATES), "Cells to compare: lstm, gru (reset after the matmul), vanilla (tanh).")
flags.DEFINE_multi_string(
    "shapes", list(SHAPES), "T,B,D,H: steps, batch, input features, hidden units. May be repeated."
)
flags.DEFINE_list("peers", list(PEERS), "Who takes part; those not installed are named and left out.")
flags.DEFINE_integer("repeats", 15, "Rounds; in each, every peer has one turn.", lower_bound=1)
flags.DEFINE_float("turn", 0.05, "Seconds a turn lasts at least: one untimed call, then as many timed ones as fit.")
flags.DEFINE_enum("mode", "gradient", ["gradient", "forward"], "What is timed.")


def check(name: str, cell: str, layer: Layer, shape: Shape) -> None:
    """Refuses a peer that computes something of another size; libraries differ in one bias vector a gate."""
    t, b, d, h = shape
    least = GATES[cell] * h * (d + h + 1)
    if not least <= layer.parameters <= least + GATES[cell] * h:
        raise ValueError(f"{name} {cell} has {layer.parameters} parameters, expected {least}")
    if name != "floor" and sorted(np.shape(layer.forward())) != sorted((t, b, h)):
        raise ValueError(f"{name} {cell} gives {np.shape(layer.forward())} for {shape}")


@functools.cache
def say(line: str) -> None:
    """Prints a line once."""
    print(line)


def prepare(cell: str, shape: Shape, names: Sequence[str], mode: str) -> tuple[dict[str, Any], dict[str, float]]:
    """What each peer runs, and the seconds of its first call."""
    calls, first = {}, {}
    for name in names:
        try:
            layer = PEERS[name](cell, shape)
        except (ImportError, KeyError) as error:
            say(f"{name} is left out of {cell}: {type(error).__name__} {error}")
            continue
        calls[name] = getattr(layer, mode)
        first[name] = time_call(calls[name])
        check(name, cell, layer, shape)
    return calls, first


def compare(cell: str, shape: Shape) -> dict[str, Any]:
    """Medians over rounds of the median call of each turn, in seconds."""
    calls, first = prepare(cell, shape, FLAGS.peers, FLAGS.mode)
    turns: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(FLAGS.repeats):
        for name, call in calls.items():
            turns[name].append(statistics.median(time_in_turn(call, FLAGS.turn)))
    median = {name: statistics.median(ts) for name, ts in turns.items()}
    return {"cell": cell, "shape": list(shape), "seconds": median, "first": first, "turns": turns}


def reference(seconds: dict[str, float]) -> str:
    """The peer that ratios refer to: PyTorch if it is there."""
    return "torch" if "torch" in seconds else next(iter(seconds))


def row(label: str, cells: Sequence[str]) -> str:
    """One line of a table."""
    return f"{label:<18}" + "".join(f"{c:>16}" for c in cells)


def report(results: list[dict[str, Any]]) -> None:
    """A table for one cell: milliseconds (ratio), seconds of the first call, and geometric means."""
    names = list(results[0]["seconds"])
    base = reference(results[0]["seconds"])
    print(f"\n{results[0]['cell']}: milliseconds ({FLAGS.mode}), and the time of {base} over it")
    print(row("T,B,D,H", names))
    for r in results:
        s = r["seconds"]
        print(row(",".join(map(str, r["shape"])), [f"{s[n] * 1e3:.2f} ({s[base] / s[n]:.2f})" for n in names]))
    means = {n: statistics.geometric_mean([r["seconds"][base] / r["seconds"][n] for r in results]) for n in names}
    print(row("geometric mean", [f"{means[n]:.2f}" for n in names]))
    if "rnnjax" in names:
        print(row("its time / ours", [f"{means['rnnjax'] / means[n]:.2f}" for n in names]))
    print(row("first call, s", [f"{statistics.median(r['first'][n] for r in results):.2f}" for n in names]))


def main(argv: Sequence[str]) -> None:
    """Compares, prints, writes."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    training.host_devices()
    every: list[dict[str, Any]] = []
    for cell in FLAGS.cells:
        results = []
        for shape in FLAGS.shapes:
            results.append(compare(cell, Shape(*map(int, shape.split(",")))))
            jax.clear_caches()
        report(results)
        every += results
    write_json({"mode": FLAGS.mode, "results": every})


if __name__ == "__main__":
    app.run(main)
