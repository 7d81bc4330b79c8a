"""Throughput of a population: each strategy beside our own runs one after another, and PyTorch's.

    python -m benchmarks.population                       # wall time, on a quiet machine
    python -m benchmarks.population --memory --strategies=map,vmap --peers= --turns=1

Everything takes turns in one process. A step is forward, backward, clip and Adam on random sequences, labelled; each
member has a learning rate and a seed of its own.
"""

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app as absl_app
from absl import flags, logging

import rnnjax
from benchmarks._turns import clock, write_json
from rnnjax import app, losses
from rnnjax.app import Config, programs
from rnnjax.data import Batch, Stream
from rnnjax.runs import print_table, usable_cores
from rnnjax.studies import GroupPrograms, State, group_programs
from rnnjax.training import host_devices, spread

FLAGS = flags.FLAGS
flags.DEFINE_list("cells", ["lstm", "gru", "vanilla"], "Layers.")
flags.DEFINE_multi_string("shapes", ["100,20,64", "200,32,128"], "T,B,H: steps, batch, units. May be repeated.")
flags.DEFINE_integer("members", 16, "Members of the population.", 1)
flags.DEFINE_integer("member_batch", 0, "Members in memory at once; 0: all.", 0)
flags.DEFINE_list("strategies", ["map", "vmap", "shard"], "Ways to run a population.")
flags.DEFINE_list("peers", ["alone", "torch"], "What else takes turns: our own runs one after another, PyTorch's.")
flags.DEFINE_integer("steps", 3, "Updates of each member in a turn.", 1)
flags.DEFINE_integer("turns", 5, "Turns; medians are shown.", 1)
flags.DEFINE_bool("memory", False, "Also memory a member, for all of them and for half as many; compiles twice more.")

FEATURES, CLASSES = 10, 9
COMPILED: list[str] = []  # an entry for each program that XLA has compiled
Turn = Callable[[], None]


def build(config: Config) -> app.Setup:
    """Labels at every step of random sequences: what copying asks of a network, without its data."""

    def batch(data: Any, position: Any, key: jax.Array) -> tuple[Batch, Any]:
        kx, ky = jax.random.split(key)
        x = jax.random.normal(kx, (config.batch_size, config.length, FEATURES))
        return Batch(x, jax.random.randint(ky, (config.batch_size, config.length), 0, CLASSES)), position

    cell = rnnjax.unroll(rnnjax.stack(config.layers(), rnnjax.linear(CLASSES)))
    return app.Setup(cell, losses.classify, Stream(lambda data: (), batch))


def config_of(cell: str, t: int, b: int, h: int) -> Config:
    """The flags of a member."""
    values = app.common_flags(cell=cell, hidden_size=str(h), batch_size=b)
    flags.DEFINE_integer("length", t, "", flag_values=values)
    gru = "reset_after=True,recurrent_bias=True" if cell == "gru" else ""  # PyTorch's
    [config] = app.run_configs(app.parse(values, ["population", f"--cell_args={gru}"]))
    return config


def numbers(config: Config, first: int, count: int) -> dict[str, np.ndarray]:
    """Learning rates and seeds of some members."""
    rates = np.geomspace(1e-4, 1e-2, FLAGS.members).astype(np.float32)[first : first + count]
    shared = {name: np.full(count, value, np.float32) for name, value in config.numbers().items()}
    return shared | {"learning_rate": rates, "seed": np.arange(first, first + count, dtype=np.uint32)}


def population(config: Config, strategy: str) -> tuple[Turn, GroupPrograms]:
    """All members a few steps on, batch by batch."""
    p, size = group_programs(build, config, strategy), FLAGS.member_batch or FLAGS.members
    starts = range(0, FLAGS.members, size)
    n = np.full(size, FLAGS.steps, np.int32)

    def start(first: int) -> State:
        own = numbers(config, first, min(size, FLAGS.members - first))
        padded = {k: np.concatenate([v, v[-1:].repeat(size - len(v))]) for k, v in own.items()}
        return spread(p.init(padded, ()), strategy)

    if len(starts) == 1:
        held = [start(0)]

        def turn() -> None:
            held[0] = jax.block_until_ready(p.steps(held[0], n, ()))
    else:

        def turn() -> None:
            for first in starts:
                jax.block_until_ready(p.steps(start(first), n, ()))

    return turn, p


def run_alone(config: Config) -> Turn:
    """Our own fastest runs, one after another: the compiled program of one run, once for all."""
    p = programs(build, config)
    held = [p.init(()) for _ in range(min(FLAGS.members, 16))]

    def turn() -> None:
        for i in range(FLAGS.members):
            j = i % len(held)
            held[j] = jax.block_until_ready(p.steps(held[j], (), FLAGS.steps))

    return turn


def torch(config: Config, t: int, b: int, h: int) -> Turn:
    """PyTorch, one member after another: torch.nn.LSTM, GRU or RNN, cross-entropy, clip, Adam."""
    import torch as peer  # type: ignore[import-not-found, unused-ignore]

    peer.set_num_threads(usable_cores())
    make = {"lstm": peer.nn.LSTM, "gru": peer.nn.GRU, "vanilla": peer.nn.RNN}[config.cell]
    members = []
    for _ in range(min(FLAGS.members, 16)):
        layer, read = make(FEATURES, h), peer.nn.Linear(h, CLASSES)
        weights = [*layer.parameters(), *read.parameters()]
        members.append((layer, read, weights, peer.optim.Adam(weights, lr=1e-3)))

    def turn() -> None:
        for i in range(FLAGS.members):
            layer, read, weights, optimizer = members[i % len(members)]
            for _ in range(FLAGS.steps):
                x, y = peer.randn(t, b, FEATURES), peer.randint(0, CLASSES, (t, b))
                loss = peer.nn.functional.cross_entropy(read(layer(x)[0]).flatten(0, 1), y.flatten())
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                peer.nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()

    return turn


def memory_a_member(p: GroupPrograms, config: Config, count: int) -> float:
    """MB of temporaries and state of the compiled steps for so many members, for each of them."""
    own = numbers(config, 0, 1)
    like = jax.eval_shape(p.init, {k: jax.ShapeDtypeStruct((count,), v.dtype) for k, v in own.items()}, ())
    compiled = p.steps.lower(like, jax.ShapeDtypeStruct((count,), jnp.int32), ()).compile()  # type: ignore[attr-defined]
    found = compiled.memory_analysis()
    return (found.temp_size_in_bytes + found.argument_size_in_bytes) / count / 1e6


def peak() -> float:
    """The most memory this process has had, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(cell: str, t: int, b: int, h: int) -> list[dict[str, Any]]:
    """One table: a cell in one shape."""
    config = config_of(cell, t, b, h)
    groups = {s: population(config, s) for s in FLAGS.strategies if s != "shard" or jax.local_device_count() > 1}
    turns: dict[str, Turn] = {s: turn for s, (turn, _) in groups.items()}
    for name in FLAGS.peers:
        try:
            turns[name] = run_alone(config) if name == "alone" else torch(config, t, b, h)
        except ImportError as error:
            print(f"{name} is not here: {error}")
    times: dict[str, list[float]] = {name: [] for name in turns}
    compiles = dict.fromkeys(turns, 0)
    for i in range(FLAGS.turns + 2):  # the first compiles, the second warms up
        for name, turn in turns.items():
            begun, before = clock(), len(COMPILED)
            turn()
            compiles[name] += len(COMPILED) - before
            if i > 1:
                times[name].append(clock() - begun)
    rates = {name: FLAGS.members * FLAGS.steps / statistics.median(seconds) for name, seconds in times.items()}
    size = FLAGS.member_batch or FLAGS.members
    rows = []
    for name, rate in rates.items():
        row: dict[str, Any] = {"": f"{cell} T={t} B={b} H={h} {name}", "member steps/s": rate}
        row |= {f"times {peer}": rate / rates[peer] for peer in ("alone", "torch") if peer in rates}
        if name in groups:
            p = groups[name][1]
            row["compiled"] = compiles[name]
            if FLAGS.memory:
                row["MB a member"] = memory_a_member(p, config, size)
                row["of half as many"] = memory_a_member(p, config, max(size // 2, 1))
        rows.append(row)
    return rows


def count_compilations(event: str, duration_secs: float, **kwargs: str | int) -> None:
    """Counts what XLA compiles."""
    if "backend_compile" in event:
        COMPILED.append(event)


def main(argv: list[str]) -> None:
    """Times everything in turn and prints medians."""
    del argv
    logging.set_verbosity(logging.WARNING)
    jax.monitoring.register_event_duration_secs_listener(count_compilations)
    if "shard" in FLAGS.strategies:
        host_devices()
    rows: list[dict[str, Any]] = []
    for shape in FLAGS.shapes:
        for cell in FLAGS.cells:
            rows += measured(cell, *map(int, shape.split(",")))
    title = f"{FLAGS.members} members, {jax.local_device_count()} devices, medians of {FLAGS.turns} turns"
    print_table(rows, title=title)
    print(f"peak memory of the process: {peak():.0f} MB")
    write_json({"rows": rows, "peak_mb": peak()})


if __name__ == "__main__":
    absl_app.run(main)
