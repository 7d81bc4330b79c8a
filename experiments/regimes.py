"""Compares three ways to train on one text by the number of characters read: online, epochwise and continuous.

Online training updates after every character and looks back one step. The others update after each window of
characters: epochwise training resets the state before each window, continuous training never does. Each network is a
run of `char_lm` with the printed flags. Look at the validation curves and the test loss.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags
from matplotlib.figure import Figure

from experiments import char_lm
from rnnjax import app
from rnnjax.app import load_data, programs, run_configs
from rnnjax.base import UserError
from rnnjax.plotting import COLOURS, Run, draw_curves
from rnnjax.runs import ProgressBar, Workdir, print_table
from rnnjax.training import bootstrap, interquartile_mean

FLAGS = app.study_flags(cell="lstm", hidden_size="64")
flags.DEFINE_string(
    "data",
    "",
    "A UTF-8 text file, itself or below --data_dir. Default: the help topics that come with Python.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "data_dir", os.environ.get("RNNJAX_DATA", ""), "Folder of data sets. Default: $RNNJAX_DATA.", flag_values=FLAGS
)
flags.DEFINE_integer("characters", 450_000, "Characters to read in each regime.", 1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 30, "Positions in the text that are read in parallel.", 1, flag_values=FLAGS)
flags.DEFINE_integer("truncation", 30, "Characters between updates, except online.", 2, flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 2e-3, "Learning rate of Adam.", 0.0, flag_values=FLAGS)
flags.DEFINE_float("online_rate", 5e-4, "Learning rate of online training.", 0.0, flag_values=FLAGS)
flags.DEFINE_integer("seeds", 1, "Networks for each regime; their seeds count up from --seed.", 1, flag_values=FLAGS)
flags.DEFINE_integer("points", 15, "Points per curve.", 1, flag_values=FLAGS)

REGIMES = ("continuous", "epochwise", "online")


def command(config: app.Config, regime: str, seed: int) -> list[str]:
    """Returns the flags of `char_lm` for a network."""
    window = 1 if regime == "online" else config.truncation
    rate = config.online_rate if regime == "online" else config.learning_rate
    steps = -(-config.characters // (config.batch_size * window))
    same = ("cell", "hidden_size", "num_layers", "cell_args", "dropout", "batch_size", "dtype", "data", "data_dir")
    given = {name: config.values[name] for name in same if config.values[name]}
    given |= {"truncation": window, "schedule": "constant", "learning_rate": rate, "num_steps": steps, "seed": seed}
    return [f"--{k}={v}" for k, v in given.items()] + ["--epochwise"] * (regime == "epochwise")


def train_network(
    config: app.Config, given: list[str], bar: Callable[[int], None]
) -> tuple[list[int], list[float], float]:
    """Returns characters read, validation nats per character at these points, and the final test nats per character."""
    [asked] = run_configs(app.parse(char_lm.FLAGS, ["char_lm", *given]))
    facts, data = load_data(char_lm.load, asked)
    run = programs(char_lm.EXPERIMENT.build_with(facts), asked)
    assert run.valid is not None and run.test is not None  # `check` has seen to it
    progress, read, nats = run.init(data), [], []
    ends = np.unique(np.linspace(0, asked.num_steps, config.points + 1).astype(int))
    for i, (before, end) in enumerate(itertools.pairwise(ends)):
        progress = run.steps(progress, data, end - before)
        if not bool(progress.finite):
            raise UserError(f"the loss is not finite after {int(progress.state.step)} steps of {shlex.join(given)}")
        read.append(int(end) * asked.truncation * asked.batch_size)
        nats.append(run.valid(progress.state.averaged, data)["loss"])
        bar(i + 1)
    return read, nats, run.test(progress.state.averaged, data)["loss"]


def compare(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Trains in every regime with every seed; writes a table, a summary and a picture."""
    (config,) = configs.values()
    found: dict[str, dict[str, Any]] = {}
    for regime in REGIMES:
        runs, given = [], command(config, regime, config.seed)
        print(f"{regime}: python -m experiments.char_lm {shlex.join(given)}", flush=True)
        for seed in range(config.seed, config.seed + config.seeds):
            with ProgressBar(config.points, f"{regime}, seed {seed}") as bar:
                runs.append(train_network(config, command(config, regime, seed), bar.update))
        found[regime] = {"characters": runs[0][0], "valid": [r[1] for r in runs], "test": [r[2] for r in runs]}
    rows = []
    for regime, row in found.items():
        low, high = bootstrap(row["test"])
        rows.append(
            {"regime": regime, "seeds": config.seeds, "test": interquartile_mean(row["test"])}
            | ({"low": low, "high": high} if config.seeds > 1 else {})
        )
    print_table(rows, title=f"nats a character after {config.characters:,} characters")
    return app.Findings(found, {"regimes": draw(found)})


def draw(found: dict[str, dict[str, Any]]) -> Figure:
    """Draws validation loss against characters read: the median over seeds with its interval."""
    middle = {
        regime: Run(valid_steps=row["characters"], valid=[interquartile_mean(v) for v in zip(*row["valid"])])
        for regime, row in found.items()
    }
    seeds = len(found["online"]["test"])
    title = "three regimes" + (f": middle of {seeds} seeds and its 95 % interval" if seeds > 1 else "")
    figure = draw_curves(
        middle, ylabel="cross-entropy (nats a character)", xlabel="characters read", title=title, log=False
    )
    for colour, row in zip(COLOURS, found.values()):
        low, high = zip(*(bootstrap(v) for v in zip(*row["valid"])))
        figure.axes[0].fill_between(row["characters"], low, high, color=colour, alpha=0.2, lw=0)
    return figure


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that no network can be trained with."""
    if len(configs) > 1:
        raise UserError("--cell takes one cell here")
    (config,) = configs.values()
    for regime in REGIMES:
        [asked] = run_configs(app.parse(char_lm.FLAGS, ["char_lm", *command(config, regime, config.seed)]))
    facts, _ = load_data(char_lm.load, asked)
    run = programs(char_lm.EXPERIMENT.build_with(facts), asked)
    if run.valid is None or run.test is None:
        raise UserError("the text is too short for a part to validate on and one to test on")


EXPERIMENT = app.Study(compare, FLAGS, description=__doc__, check=check)

if __name__ == "__main__":
    app.main(EXPERIMENT)
