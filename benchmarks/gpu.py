"""Everything that waits for a GPU, in one command of a few minutes: parity with the CPU, and what is chosen by backend.

    python -m benchmarks.gpu --out=gpu.json            # with a GPU and jax[cuda12]; PyTorch too where it is installed
    python -m benchmarks.gpu --platform=cpu --quick    # the same program on a CPU, to see that it runs

parity: outputs and gradients of every cell of `--cell`, against the CPU. layers: a gradient step of a layer as the
library runs it, as a plain scan of its step, by cuDNN through JAX (LSTM alone), and by PyTorch, in float32 and
bfloat16. scans: a diagonal recurrence as a loop and as an associative scan. unitary: a uRNN by its matrix and by its
factors. population: members one after another and all at once. Sections are skipped, and named, when --minutes are up.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jax import lax

import rnnjax
from benchmarks._turns import in_turn, write_json
from rnnjax.app import CELLS
from rnnjax.base import Cell
from rnnjax.training import population
from rnnjax.unitary import AS_FACTORS, AS_MATRIX, halves_window, urnn_core

FLAGS = flags.FLAGS
flags.DEFINE_enum("platform", "gpu", ["gpu", "cpu"], "Where to run; cpu only shows that the program works.")
flags.DEFINE_bool("quick", False, "Small sizes and one round.")
flags.DEFINE_float("minutes", 6.0, "No section begins after so long.", 0.1)

LAYERS: dict[str, Callable[[int], Cell]] = {"lstm": rnnjax.lstm, "gru": rnnjax.gru, "vanilla": rnnjax.vanilla}
SHAPES = ((100, 32, 64, 128), (200, 128, 128, 512), (784, 64, 1, 128))  # T, B, D, H
Row = dict[str, Any]


def gradient(cell: Cell) -> Callable[[Any, jax.Array], Any]:
    """The gradient of sum(ys ** 2) over a batch in a layer's params, compiled."""

    def loss(params: Any, xs: jax.Array) -> jax.Array:
        ys = jax.vmap(lambda x: rnnjax.run(cell, params, x)[1])(xs)
        return (ys.astype(jnp.float32) ** 2).sum()

    return jax.jit(jax.grad(loss))


def median_ms(calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of each call, in turn."""
    blocked = {name: lambda call=call: jax.block_until_ready(call()) for name, call in calls.items()}
    rounds = 1 if FLAGS.quick else 7
    return {name: round(1e3 * s, 4) for name, s in in_turn(blocked, rounds, warmup=2).items()}


def parity() -> Iterator[Row]:
    """The largest relative difference from the CPU, of outputs and of gradients, cell by cell."""
    xs = np.random.default_rng(0).normal(size=(2, 20, 3)).astype(np.float32)
    places = [jax.devices("cpu")[0], jax.devices(FLAGS.platform)[0]]
    for name, factory in CELLS.items():
        cell = rnnjax.unroll(factory(8))
        with jax.default_device(places[0]):
            params = cell.init(jax.random.key(0), jnp.asarray(xs[0]))
        found = []
        for place in places:
            with jax.default_device(place), jax.default_matmul_precision("highest"):
                p, x = jax.device_put((params, xs), place)
                ys = jax.jit(jax.vmap(functools.partial(output, cell, p)))(x)
                found.append(jax.tree.map(np.asarray, (ys, gradient(cell)(p, x))))
        yield {"cell": name, **dict(zip(("outputs", "gradients"), map(relative_difference, *found)))}


def output(cell: Cell, params: Any, xs: jax.Array) -> jax.Array:
    """The outputs of one sequence."""
    return rnnjax.run(cell, params, xs)[1]


def relative_difference(a: Any, b: Any) -> float:
    """The largest difference of two trees, relative to the largest entry of its leaf."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b))
    return max((float(np.abs(x - y).max() / (np.abs(x).max() + 1e-30)) for x, y in pairs if x.size), default=0.0)


def layers() -> Iterator[Row]:
    """A gradient step of a layer, as the library runs it and as others do."""
    for name, factory in LAYERS.items():
        for t, b, d, h in SHAPES[: 1 if FLAGS.quick else None]:
            for dtype in ("float32", "bfloat16"):
                xs = jax.random.normal(jax.random.key(1), (b, t, d), dtype)
                cell = factory(h)
                params = cell.init(jax.random.key(0), xs[0, 0])
                ways = {"rnnjax": rnnjax.unroll(cell), "plain scan": rnnjax.unroll(cell.replace(window=None))}
                calls: dict[str, Callable[[], Any]] = {
                    way: functools.partial(gradient(c), params, xs) for way, c in ways.items()
                }
                calls |= {who: call for who, call in others(name, xs, h) if call is not None}
                yield {"layer": name, "shape": [t, b, d, h], "dtype": dtype, "ms": median_ms(calls)}


def others(name: str, xs: jax.Array, h: int) -> Iterator[tuple[str, Callable[[], Any] | None]]:
    """cuDNN through JAX and PyTorch, where they are there; None where not."""
    yield "cudnn", cudnn(xs, h) if name == "lstm" and FLAGS.platform == "gpu" else None
    try:
        import torch
    except ImportError:
        return
    if FLAGS.platform == "gpu" and not torch.cuda.is_available():
        return
    place = "cuda" if FLAGS.platform == "gpu" else "cpu"
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "vanilla": torch.nn.RNN}[name]
    net = kind(xs.shape[-1], h, batch_first=True).to(place, getattr(torch, str(xs.dtype)))
    x = torch.from_numpy(np.asarray(xs, np.float32)).to(place, getattr(torch, str(xs.dtype)))

    def step() -> None:
        net.zero_grad(set_to_none=True)
        (net(x)[0].float() ** 2).sum().backward()
        if place == "cuda":
            torch.cuda.synchronize()

    yield "torch", step


def cudnn(xs: jax.Array, h: int) -> Callable[[], Any]:
    """The gradient of cuDNN's LSTM, by jax.experimental.rnn."""
    from jax.experimental import rnn

    b, t, d = xs.shape
    weights = rnn.init_lstm_weight(jax.random.key(0), d, h, 1, False).astype(xs.dtype)
    state, lengths = jnp.zeros((1, b, h), xs.dtype), jnp.full(b, t, jnp.int32)

    def loss(weights: jax.Array) -> jax.Array:
        ys = rnn.lstm(xs, state, state, weights, lengths, d, h, 1, 0.0, False)[0]
        return (ys.astype(jnp.float32) ** 2).sum()

    return functools.partial(jax.jit(jax.grad(loss)), weights)


def scans() -> Iterator[Row]:
    """h_t = a_t h_{t-1} + b_t as a loop and as an associative scan, value and gradient."""
    for t, n in [(1000, 256)] if FLAGS.quick else [(100, 256), (1000, 256), (10_000, 256), (1000, 4096)]:
        a, b = jax.random.uniform(jax.random.key(0), (2, t, n))

        def loop(a: jax.Array, b: jax.Array) -> jax.Array:
            return lax.scan(lambda h, ab: (ab[0] * h + ab[1],) * 2, jnp.zeros_like(b[0]), (a, b))[1]

        def tree(a: jax.Array, b: jax.Array) -> jax.Array:
            return lax.associative_scan(lambda x, y: (x[0] * y[0], x[1] * y[0] + y[1]), (a, b))[1]

        grads = {f.__name__: jax.jit(jax.grad(lambda a, b, f=f: (f(a, b) ** 2).sum(), (0, 1))) for f in (loop, tree)}
        yield {"steps": t, "units": n, "ms": median_ms({k: functools.partial(g, a, b) for k, g in grads.items()})}


def always(plan: Any, steps: int) -> Any:
    """The plan, whatever the number of steps."""
    return plan


def unitary() -> Iterator[Row]:
    """A gradient step of a uRNN by its dense matrix and by its factors."""
    for n in (32,) if FLAGS.quick else (64, 128, 256, 512, 1024):
        zs = jax.random.normal(jax.random.key(0), (32, 200, 2 * n))
        core = urnn_core(n)
        params = core.init(jax.random.key(1), zs[0, 0])
        calls = {}
        for way, plan in (("matrix", AS_MATRIX), ("factors", AS_FACTORS)):
            fixed = core.replace(window=halves_window(core, functools.partial(always, plan)))
            calls[way] = functools.partial(gradient(rnnjax.unroll(fixed)), params, zs)
        yield {"units": n, "ms": median_ms(calls)}


def populations() -> Iterator[Row]:
    """Members of a population one after another and all at once."""
    for members, h in [(4, 8)] if FLAGS.quick else [(64, 40), (64, 128)]:
        xs = jax.random.normal(jax.random.key(0), (32, 100, 8))
        cell = rnnjax.unroll(rnnjax.lstm(h))
        keys = jax.random.split(jax.random.key(1), members)
        params = jax.vmap(cell.init, (0, None))(keys, xs[0])
        calls = {}
        for way in ("map", "vmap"):
            many = jax.jit(population(gradient(cell), way))
            calls[way] = functools.partial(many, params, xs)
        yield {"members": members, "units": h, "ms": median_ms(calls)}


SECTIONS = {"parity": parity, "layers": layers, "scans": scans, "unitary": unitary, "population": populations}


def main(argv: list[str]) -> None:
    """Runs the sections, prints each row as it comes, writes them all."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    try:
        device = jax.devices(FLAGS.platform)[0]
    except RuntimeError:
        raise SystemExit(
            "benchmarks.gpu: JAX sees no GPU here: install jax[cuda12], or try --platform=cpu --quick"
        ) from None
    print(f"{device.device_kind}, JAX {jax.__version__}")
    begun = time.monotonic()
    found: dict[str, list[Row]] = {}
    for name, section in SECTIONS.items():
        if time.monotonic() - begun > 60 * FLAGS.minutes:
            print(f"{name}: skipped, {FLAGS.minutes:g} minutes are up")
            continue
        print(f"\n{name}")
        found[name] = []
        with jax.default_device(device):
            for row in section():
                found[name].append(row)
                print("  " + ", ".join(f"{k} {v}" for k, v in row.items()), flush=True)
    worst = statistics.fmean(r["gradients"] for r in found.get("parity", [{"gradients": 0.0}]))
    print(f"\n{time.monotonic() - begun:.0f} s; gradients differ from the CPU's by {worst:.1e} on average")
    write_json({"device": device.device_kind, **found})


if __name__ == "__main__":
    app.run(main)
