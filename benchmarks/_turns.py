"""What the benchmarks share: the clock of --clock, calls that take turns, the file of --out."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from absl import flags

from rnnjax.runs import provenance, usable_cores

FLAGS = flags.FLAGS
flags.DEFINE_enum("clock", "wall", ["wall", "cpu"], "Which time. On a busy machine: cpu, the process bound to a core.")
flags.DEFINE_string("out", None, "JSON file for everything measured.")


def clock() -> float:
    """Seconds, by the clock that --clock asks for."""
    return time.perf_counter() if FLAGS.clock == "wall" else time.process_time()


def time_call(call: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = clock()
    call()
    return clock() - start


def in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 1) -> dict[str, float]:
    """Medians over rounds in which each has one turn, after rounds that compile and are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(warmup + rounds):
        for name, call in calls.items():
            took = time_call(call)
            seconds[name] += [took] if i >= warmup else []
    return {name: statistics.median(s) for name, s in seconds.items()}


def time_in_turn(call: Callable[[], Any], seconds: float) -> list[float]:
    """The times of some calls in a row, after a pause in which the threads of the one before go to sleep."""
    time.sleep(0.005)
    call()
    times: list[float] = []
    while sum(times) < seconds:
        times.append(time_call(call))
    return times


def write_json(found: Mapping[str, Any]) -> None:
    """Writes what was found, and where it comes from, to the file of --out if there is one."""
    if FLAGS.out:
        about = {"jax": jax.__version__, "cores": usable_cores(), **provenance(), "clock": FLAGS.clock}
        with open(FLAGS.out, "w", encoding="utf-8") as file:
            json.dump({**found, **about}, file, indent=1, default=str)
