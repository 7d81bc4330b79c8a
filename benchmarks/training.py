"""Steps a second of whole training steps (data, forward, backward, clip, Adam) of the experiments, and compile time.

    python -m benchmarks.training
    python -m benchmarks.training --run='copying --cell=urnn --delay=500' --run='char_lm --hidden_size=256'
    python -m benchmarks.training --run=char_lm --run='char_lm --devices=1'     # one core beside the default

    taskset -c 0 python -m benchmarks.training --clock=cpu      # on a machine with other work: one core, its time

The runs take turns in one process, so that their ratios hold whatever else the machine does. Beside LSTMs on copying
and char_lm runs the same work in PyTorch, where it is installed.
"""

import importlib
import shlex
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from absl import app as absl_app
from absl import flags, logging

from benchmarks import _turns as turns
from benchmarks._loops import LOOPS
from rnnjax import app, distributed, training
from rnnjax.app import Config, load_data, programs
from rnnjax.app import run_configs as runs_
from rnnjax.runs import print_table

FLAGS = flags.FLAGS
flags.DEFINE_multi_string(
    "run",
    ["copying --cell=urnn", "copying --cell=lstm --hidden_size=40", "adding", "char_lm"],
    "An experiment and its flags; may be repeated.",
)
flags.DEFINE_integer("turns", 7, "Turns that each run gets.", 1)
flags.DEFINE_float("seconds", 1.0, "How long a turn lasts, about.", 0.01)


class Timed(NamedTuple):
    """A run that is ready to be timed."""

    name: str
    compile_seconds: float
    steps: Callable[[int], float]
    turn: int


def config_of(command: str) -> tuple[app.Experiment, Config]:
    """The experiment and the config of a command."""
    name, *argv = shlex.split(command)
    experiment = importlib.import_module(f"experiments.{name}").EXPERIMENT
    return experiment, runs_(app.parse(experiment.flags, [name, *argv]))[0]


def timed_loop(name: str, steps: Callable[[int], None]) -> Timed:
    """A loop whose first call compiles, and how many of its steps a turn has."""

    def seconds(n: int) -> float:
        return turns.time_call(lambda: steps(n))

    first = seconds(1)
    one = min(seconds(3) / 3 for _ in range(3))
    return Timed(name, first - one, seconds, max(1, int(FLAGS.seconds / one)))


def prepared(command: str) -> list[Timed]:
    """A run, and the same in PyTorch if there is such a loop."""
    experiment, config = config_of(command)
    facts, data = load_data(experiment.load, config)
    chosen = config.devices
    if chosen == "auto":
        chosen = training.helpful_devices(config.batch_size, config.hidden_size)
    devices = distributed.mesh(int(chosen))
    data = distributed.replicate(data, devices)
    compiled = programs(experiment.build_with(facts), config, devices)
    progress = [compiled.init(data)]

    def steps(n: int) -> None:
        progress[0] = jax.block_until_ready(compiled.steps(progress[0], data, n))

    ours, loop = timed_loop(command, steps), LOOPS.get(command.split()[0])
    if config.cell != "lstm" or loop is None:
        return [ours]
    try:
        return [ours, timed_loop(f"{command}, in PyTorch", loop(config, facts))]
    except ImportError as error:
        print(f"PyTorch is left out of {command}: {error}")
        return [ours]


def main(argv: list[str]) -> None:
    """Times the runs in turn and prints medians."""
    del argv
    logging.set_verbosity(logging.WARNING)
    training.host_devices()
    runs = [t for command in FLAGS.run for t in prepared(command)]
    rates: dict[str, list[float]] = {t.name: [] for t in runs}
    for _ in range(FLAGS.turns):
        for t in runs:
            rates[t.name].append(t.turn / t.steps(t.turn))
    rows: list[dict[str, Any]] = [
        {
            "run": t.name,
            "steps/s": statistics.median(rates[t.name]),
            "slowest": min(rates[t.name]),
            "fastest": max(rates[t.name]),
            "compile s": t.compile_seconds,
        }
        for t in runs
    ]
    print_table(rows, title=f"training, median of {FLAGS.turns} turns")
    turns.write_json({"rows": rows})


if __name__ == "__main__":
    absl_app.run(main)
