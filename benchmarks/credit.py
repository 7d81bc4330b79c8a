"""Time, memory and arithmetic of an update against the hidden size, for each rule, beside the textbook's exponents.

    python -m benchmarks.credit --out=credit.json
    taskset -c 1 python -m benchmarks.credit --clock=cpu        # on a machine with other work: one core, its time
    python -m benchmarks.credit --what=floor,lengths

growth: a vanilla network of n units with 4 inputs; growth exponents are those between the two largest sizes. Time is of
one step of a stream of --steps steps in one call, so that dispatching does not count; memory that of one update, the
compiled program's temporaries and the state passed on; rules that look back do so over --truncation steps.
floor: RTRL beside the one matrix product that it cannot do without, [n, n] x [n, weights], in turn in one process.
lengths: memory of the gradient of T steps in one program, T up to 100,000, the inputs drawn on the way.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags

import rnnjax
from benchmarks._turns import clock, write_json
from rnnjax import losses
from rnnjax.base import Cell, PyTree
from rnnjax.data import Batch
from rnnjax.estimators import RULES, Estimator, compile_update, flops, median_seconds
from rnnjax.runs import print_table

# Time of a step and memory, for n units, as the papers have it.
TEXTBOOK = {
    "bptt": "n^2; T n",
    "tbptt": "n^2; k n",
    "rtrl": "n^4; n^3",
    "snap1": "n^2; n^2",
    "snap2": "n^4; n^3 (dense)",
    "uoro": "n^2; n^2",
    "kfrtrl": "n^3; n^2",
    "optimal_kronecker": "n^3; n^2",
    "rflo": "n^2; n^2",
    "eprop": "n^2; n^2",
    "forward": "n^2; n^2",
    "es": "n^2; n^2",
    "pes": "n^2; n^2",
    "nres": "n^2; n^2",
}

FLAGS = flags.FLAGS
flags.DEFINE_list("what", ["growth", "floor", "lengths"], "Parts to run.")
flags.DEFINE_list("rules", list(TEXTBOOK), "Rules that take part.")
flags.DEFINE_list("sizes", ["16", "32", "64", "128"], "Hidden sizes, ascending.")
flags.DEFINE_integer("truncation", 10, "Window of the rules that look back: tbptt.", 1)
flags.DEFINE_integer("steps", 50, "Steps of one call.", 1)
flags.DEFINE_list("lengths", ["100", "1000", "10000", "100000"], "T for the memory over T.")
flags.DEFINE_integer("rounds", 7, "Rounds of the floor's comparison.", 1)


def done(f: Callable[..., Any], *args: Any) -> Any:
    """A call, finished."""
    return jax.block_until_ready(f(*args))


def window_of(rule: str) -> int:
    """Every online rule hands over its gradient at every step."""
    return {"bptt": 0, "tbptt": FLAGS.truncation}.get(rule, 1)


def network(n: int, steps: int) -> tuple[Cell, PyTree, Batch]:
    """A vanilla network, its params, and one sequence."""
    cell = rnnjax.unroll(rnnjax.stack(rnnjax.vanilla(n), rnnjax.linear(1)))
    x = jax.random.normal(jax.random.key(0), (1, steps, 4))
    return cell, cell.init(jax.random.key(1), x[0]), Batch(x, jnp.roll(x[..., :1], 3, axis=1))


def streamed(estimator: Estimator, params: PyTree, batch: Batch) -> tuple[Any, tuple[Any, ...]]:
    """The gradient of a stretch of a stream, to be compiled, and its arguments."""
    batch = batch._replace(restart=jnp.zeros(1, bool))
    state = jax.jit(estimator.init)(params, batch)
    return jax.jit(estimator.grad), (params, state, batch, jax.random.key(2))


def measured(rule: str, n: int) -> dict[str, float]:
    """Seconds and operations of a step, and bytes of an update."""
    cell, params, batch = network(n, FLAGS.steps)
    estimator = RULES[rule](cell, losses.regress, window_of(rule))
    f, args = streamed(estimator, params, batch)
    short = jax.tree.map(lambda a: a[:, : window_of(rule) or FLAGS.steps], batch)
    return {
        "seconds": median_seconds(partial(done, f, *args), 0.3, clock) / FLAGS.steps,
        "bytes": compile_update(estimator, params, short, args[-1]).memory,
        "flops": flops(estimator.grad, *args) / FLAGS.steps,
    }


def exponent(found: dict[int, dict[str, float]], what: str) -> float:
    """Of growth between the two largest sizes."""
    a, b = sorted(found)[-2:]
    return math.log(found[b][what] / found[a][what]) / math.log(b / a)


def growth() -> list[dict[str, Any]]:
    """Every rule at every size."""
    rows: list[dict[str, Any]] = []
    for rule in FLAGS.rules:
        found = {n: measured(rule, n) for n in map(int, FLAGS.sizes)}
        jax.clear_caches()
        rows.append(
            {"rule": rule}
            | {f"us n={n}": found[n]["seconds"] * 1e6 for n in found}
            | {f"kB n={n}": found[n]["bytes"] / 1e3 for n in found}
            | {what: exponent(found, key) for what, key in (("time", "seconds"), ("FLOP", "flops"), ("mem", "bytes"))}
            | {"textbook time; memory": TEXTBOOK.get(rule, "")}
        )
        print(f"{rule}: {rows[-1]}", flush=True)
    print_table(rows, title="growth: microseconds a step, kB an update, exponents of n between the two largest")
    return rows


def floor() -> list[dict[str, Any]]:
    """RTRL and its one matrix product, turn by turn."""
    rows: list[dict[str, Any]] = []
    for n in map(int, FLAGS.sizes):
        cell, params, batch = network(n, FLAGS.steps)
        f, args = streamed(RULES["rtrl"](cell, losses.regress, 1), params, batch)
        weights = n * (4 + 1 + n)
        d, j = jax.random.normal(jax.random.key(3), (n, n)) / (2 * n) ** 0.5, jnp.ones((n, weights))

        @jax.jit
        def bare(d: jax.Array, j: jax.Array) -> jax.Array:
            return jax.lax.scan(lambda j, _: (jnp.dot(d, j), None), j, None, FLAGS.steps)[0]

        ours, least = [], []
        for _ in range(FLAGS.rounds):
            ours.append(median_seconds(partial(done, f, *args), 0.1, clock))
            least.append(median_seconds(partial(done, bare, d, j), 0.1, clock))
        mine, its = statistics.median(ours), statistics.median(least)
        ratio = statistics.median(a / b for a, b in zip(ours, least))
        rows.append({"n": n, "rtrl us": mine / FLAGS.steps * 1e6, "matmul us": its / FLAGS.steps * 1e6, "ratio": ratio})
    print_table(rows, title="RTRL beside its own matrix product, a step")
    return rows


def lengths() -> list[dict[str, Any]]:
    """Memory of the gradient of T steps: of a stream whose inputs are drawn on the way, or for bptt of one sequence."""
    rows: list[dict[str, Any]] = []
    for rule in FLAGS.rules:
        row: dict[str, Any] = {"rule": rule}
        for steps in map(int, FLAGS.lengths):
            row[f"T={steps:,}"] = bytes_of(rule, steps) / 1e3
        rows.append(row)
        print(row, flush=True)
    print_table(rows, title=f"kB of the gradient of T steps, n = {FLAGS.sizes[0]}")
    return rows


def bytes_of(rule: str, steps: int) -> int:
    """Temporaries of the compiled program, and the state passed on."""
    block = steps if rule == "bptt" else min(steps, FLAGS.steps)
    cell, params, batch = network(int(FLAGS.sizes[0]), block)
    estimator = RULES[rule](cell, losses.regress, window_of(rule))
    _, (_, state, batch, key) = streamed(estimator, params, batch)

    def whole(params: PyTree, state: PyTree, key: jax.Array) -> PyTree:
        def one(carry: tuple[PyTree, PyTree], key: jax.Array) -> tuple[PyTree, PyTree]:
            drawn = batch._replace(x=jax.random.normal(key, batch.x.shape))
            estimate, after = estimator.grad(params, carry[1], drawn, key)
            return jax.tree.map(jnp.add, carry[0], estimate.grads), after

        start = jax.tree.map(jnp.zeros_like, params), state
        return jax.lax.fori_loop(0, steps // block, lambda i, carry: one(carry, jax.random.fold_in(key, i)), start)

    memory = jax.jit(whole).lower(params, state, key).compile().memory_analysis()
    return (0 if memory is None else int(memory.temp_size_in_bytes)) + sum(a.nbytes for a in jax.tree.leaves(state))


def main(argv: Sequence[str]) -> None:
    """Measures, prints, writes."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    parts = {"growth": growth, "floor": floor, "lengths": lengths}
    unknown = [w for w in FLAGS.what if w not in parts] + [r for r in FLAGS.rules if r not in RULES]
    if unknown:
        raise app.UsageError(f"{unknown[0]} is neither one of {', '.join(parts)} nor of {', '.join(RULES)}")
    found = {what: parts[what]() for what in FLAGS.what}
    write_json(found)


if __name__ == "__main__":
    app.run(main)
