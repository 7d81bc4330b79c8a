"""Seconds until a program runs: a layer's gradient, an experiment's whole loop; in a first process and in a second.

    python -m benchmarks.compile
    taskset -c 1 python -m benchmarks.compile --clock=cpu --run='layer lstm' --run='char_lm --cell=gru'

For each, two processes are started, one after the other, with a new folder for compiled programs between them, as
experiments keep one (`--compilation_cache`). Printed are the seconds of the first calls less those of the second ones:
Python that traces and lowers, and XLA that compiles, or reads what the first process has compiled. `layer CELL` is the
gradient of one layer at 100,32,64,128; anything else is an experiment and its flags: initialisation, a training step,
validation and test.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
from absl import app, flags

from benchmarks import _turns as turns
from benchmarks import generality
from benchmarks.training import config_of
from rnnjax.app import load_data, programs
from rnnjax.runs import print_table

FLAGS = flags.FLAGS
RUNS = ("layer lstm", "layer lstm norm", "layer gru", "layer gru norm", "layer vanilla", "copying --cell=urnn",
        "adding", "char_lm", "translation", "captioning")  # fmt: skip
flags.DEFINE_string("cache", None, "Folder of compiled programs; for the processes that this script starts.")
FLAGS.set_default("run", RUNS)

SHAPE = (100, 32, 64, 128)


def calls(command: str) -> Callable[[], Any]:
    """Everything that is compiled for a command."""
    if command.startswith("layer "):
        _, name, *norm = command.split()
        return generality.call("layer norm" if norm else "bare", name, SHAPE)
    experiment, config = config_of(command)
    facts, data = load_data(experiment.load, config)
    p = programs(experiment.build_with(facts), config)

    progress: list[Any] = []

    def whole() -> None:
        progress[:] = [p.steps(progress[0] if progress else p.init(data), data, 1)]
        for evaluate in (p.valid, p.test):
            if evaluate:
                evaluate(progress[0].state.params, data)
        jax.block_until_ready(progress)

    return whole


def child(command: str) -> None:
    """Says what a command takes."""
    jax.config.update("jax_compilation_cache_dir", FLAGS.cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    call = calls(command)
    first = turns.time_call(call)
    print(first - turns.time_call(call))


def started(command: str, cache: str) -> float:
    """What a process of its own says."""
    argv = ["-m", "benchmarks.compile", f"--run={command}", f"--cache={cache}", f"--clock={FLAGS.clock}"]
    done = subprocess.run([sys.executable, *argv], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main(argv: Sequence[str]) -> None:
    """Compares, prints, writes."""
    if len(argv) > 1:
        raise app.UsageError(f"unknown argument {argv[1]}")
    if FLAGS.cache:
        child(FLAGS.run[0])
        return
    rows: list[dict[str, Any]] = []
    for command in FLAGS.run:
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = started(command, cache), started(command, cache)
        rows.append({"": command, "first process, s": cold, "second process, s": warm})
    print_table(rows, title=f"until it runs ({FLAGS.clock} time)")
    turns.write_json({"rows": rows})


if __name__ == "__main__":
    app.run(main)
