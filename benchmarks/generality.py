"""What generality costs: a layer with ragged windows, noise, learned carries and norms, beside the bare layer.

    python -m benchmarks.generality
    taskset -c 1 python -m benchmarks.generality --clock=cpu --cells=lstm    # on a machine with other work

Timed is the gradient of sum(ys ** 2) in the params of a batch, forward and backward pass, all in one process, turn by
turn. Printed are medians in milliseconds, and ratios to the bare layer: to two of them for both directions, to a layer
on D and one on H inputs (with the gradient in its inputs) for two layers.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags

import rnnjax
from benchmarks._turns import time_call, time_in_turn, write_json
from rnnjax import Cell, Seq, run, stack, unroll
from rnnjax.runs import print_table

FLAGS = flags.FLAGS
flags.DEFINE_list("cells", ["lstm", "gru", "vanilla"], "Cells: lstm, gru (reset after the matmul), vanilla (tanh).")
flags.DEFINE_multi_string("shapes", ["100,32,64,128"], "T,B,D,H: steps, batch, input features, units. May be repeated.")
flags.DEFINE_list("rows", None, "Rows of the table; all if none is named.")
flags.DEFINE_integer("repeats", 9, "Rounds; in each, every row has one turn.", lower_bound=1)
flags.DEFINE_float("turn", 0.05, "Seconds a turn lasts at least.")

LAYERS: dict[str, tuple[Callable[..., Cell], Callable[..., Cell], int]] = {
    "lstm": (rnnjax.lstm, rnnjax.lstm_core, 4),
    "gru": (
        functools.partial(rnnjax.gru, reset_after=True),
        functools.partial(rnnjax.gru_core, reset_after=True),
        3,
    ),
    "vanilla": (rnnjax.vanilla, rnnjax.vanilla_core, 1),
}
PLAIN = ("bare", "on H inputs", "dropout", "zoneout", "zoneout without noise", "learned carry", "linear and core",
         "layer norm", "two layers", "both directions", "remat by sqrt", "bfloat16", "scan")  # fmt: skip
RAGGED = ("Seq valid", "Seq valid and first", "Seq with learned carry and first")


def cell_of(row: str, name: str, hidden: int) -> Cell:
    """The cell of windows of a row."""
    layer, core, gates = LAYERS[name]
    bare = layer(hidden)
    made: dict[str, Callable[[], Cell]] = {
        "dropout": lambda: unroll(stack(bare, rnnjax.dropout(0.3))),
        "zoneout": lambda: unroll(rnnjax.zoneout(bare, 0.1)),
        "zoneout without noise": lambda: unroll(rnnjax.zoneout(bare, 0.1)),
        "learned carry": lambda: unroll(rnnjax.learn_carry(bare)),
        "Seq with learned carry and first": lambda: unroll(rnnjax.learn_carry(bare)),
        "linear and core": lambda: unroll(stack(rnnjax.linear(gates * hidden), core(hidden))),
        "layer norm": lambda: unroll(layer(hidden, layer_norm=True)),
        "two layers": lambda: unroll(stack(bare, bare)),
        "both directions": lambda: rnnjax.bidirectional(bare),
        "remat by sqrt": lambda: rnnjax.remat(unroll(bare), every="sqrt"),
        "bfloat16": lambda: rnnjax.cast(unroll(bare), jnp.bfloat16),
        "scan": lambda: unroll(bare.replace(window=None)),
    }
    return made.get(row, lambda: unroll(bare))()


def inputs(row: str, t: int, b: int, d: int) -> Any:
    """A batch of windows; ragged ones are valid for three quarters of the steps and start anew every twenty or so."""
    xs = jax.random.normal(jax.random.key(1), (b, t, d))
    if row not in RAGGED:
        return xs
    lengths = jnp.linspace(t / 2, t, b)[:, None]
    first = jax.random.bernoulli(jax.random.key(2), 0.05, (b, t))
    return Seq(xs, jnp.arange(t) < lengths, first if "first" in row else None)


def call(row: str, name: str, shape: Sequence[int]) -> Callable[[], Any]:
    """The gradient of a row, compiled at its first call."""
    t, b, d, h = shape
    cell, xs = cell_of(row, name, h), inputs(row, t, b, h if row == "on H inputs" else d)
    params = cell.init(jax.random.key(0), jax.tree.map(lambda a: a[0], xs))
    keys = jax.random.split(jax.random.key(3), b) if row in ("dropout", "zoneout") else None

    def loss(params: Any, xs: Any) -> jax.Array:
        ys = jax.vmap(lambda xs, key: run(cell, params, xs, key=key)[1])(xs, keys)
        return ((ys.x if isinstance(ys, Seq) else ys) ** 2).sum()

    gradient = jax.jit(jax.grad(loss, (0, 1) if row == "on H inputs" else 0))
    return lambda: jax.block_until_ready(gradient(params, xs))


def compare(name: str, shape: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of a table: medians over rounds of the median call of each turn."""
    named = FLAGS.rows or [*PLAIN, *RAGGED]
    calls = {row: call(row, name, shape) for row in dict.fromkeys(["bare", *named])}
    first = {row: time_call(f) for row, f in calls.items()}
    turns: dict[str, list[float]] = {row: [] for row in calls}
    for _ in range(FLAGS.repeats):
        for row, f in calls.items():
            turns[row].append(statistics.median(time_in_turn(f, FLAGS.turn)))
    seconds = {row: statistics.median(s) for row, s in turns.items()}
    base = dict.fromkeys(seconds, seconds["bare"]) | {"both directions": 2 * seconds["bare"]}
    base["two layers"] = seconds["bare"] + seconds.get("on H inputs", seconds["bare"])
    label = f"{name} {','.join(map(str, shape))}: "
    return [
        {"": label + row, "ms": 1e3 * s, "over bare": s / base[row], "first call, s": first[row]}
        for row, s in seconds.items()
    ]


def main(argv: Sequence[str]) -> None:
    """Compares, prints, writes."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    unknown = {*FLAGS.cells} - {*LAYERS} or {*(FLAGS.rows or [])} - {*PLAIN, *RAGGED}
    if unknown:
        raise app.UsageError(f"{unknown.pop()!r} is neither a cell ({[*LAYERS]}) nor a row ({[*PLAIN, *RAGGED]})")
    rows: list[dict[str, Any]] = []
    for name in FLAGS.cells:
        for shape in FLAGS.shapes:
            rows += compare(name, [int(n) for n in shape.split(",")])
            jax.clear_caches()
    print_table(rows, title=f"gradient of a layer ({FLAGS.clock} time)")
    write_json({"rows": rows})


if __name__ == "__main__":
    app.run(main)
