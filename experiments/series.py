"""Forecasts of one-dimensional series: a network predicts the next value, and then continues the series by itself.

It trains on random pieces of a generated Mackey-Glass series or of a column of numbers (`--data`). Look at the
normalised error on the test part beside that of a linear predictor, and at how many steps the continuation stays
accurate.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared.notes import print_notes
from rnnjax import app, dynamics, losses
from rnnjax.base import PyTree, UserError
from rnnjax.data import Batch, Stream, find, read_series
from rnnjax.plotting import Run, draw_curves, save
from rnnjax.runs import print_table

FLAGS = app.common_flags(
    cell="gru,time_delay",
    hidden_size="32",
    learning_rate=5e-3,
    schedule="cosine",
    final_rate=0.01,
    batch_size=32,
    num_steps=1500,
    log_every=50,
    eval_every=150,
    checkpoint_every=500,
)
flags.DEFINE_string(
    "data",
    "mackey_glass",
    "mackey_glass: generated, with a delay of 17; or a text file of numbers, itself or below --data_dir: "
    "timeseries/santafe_laser_A.txt.",
    flag_values=FLAGS,
)
flags.DEFINE_string(
    "column", "0", "Column of the text: its index, from 0 or from the end (-1), or its name.", flag_values=FLAGS
)
flags.DEFINE_enum(
    "separator",
    "auto",
    ["auto", "comma", "semicolon", "tab", "space", "bar", "none"],
    "What separates the columns of the text; none: it has one column; auto: what gives all lines as many.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "header",
    "auto",
    ["auto", "yes", "no"],
    "Whether the first line of the text holds names; auto: if it has a name above a column of numbers.",
    flag_values=FLAGS,
)
flags.DEFINE_enum(
    "decimal",
    "auto",
    ["auto", "point", "comma"],
    "The decimal mark of the text; auto: a comma if no other reading is possible.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("length", 100, "Steps per training sequence.", 2, flag_values=FLAGS)
flags.DEFINE_integer(
    "warm", 30, "Steps at the beginning of a sequence that are read but not scored.", 1, flag_values=FLAGS
)
flags.DEFINE_float(
    "valid", 0.1, "Fraction of the series, before the test part, for validation.", 0.01, 0.5, flag_values=FLAGS
)
flags.DEFINE_float("test", 0.2, "Fraction of the series, at its end, for the test.", 0.01, 0.5, flag_values=FLAGS)
flags.DEFINE_integer("free", 100, "Steps that the network runs by itself.", 1, flag_values=FLAGS)

GENERATED, BURN, TICKS = 4000, 500, 10  # numbers, time units before them, integration steps per time unit
LAGS = 30  # of the linear baseline
STARTS = 50  # starting points from which the network runs by itself


def generated() -> np.ndarray:
    """Generates the Mackey-Glass series with a delay of 17, one number per unit of time."""
    step = dynamics.mackey_glass(17.0, 1 / TICKS)
    start = jnp.full((17 * TICKS + 1,), 1.2)
    states = jax.jit(lambda h: dynamics.orbit(step, h, (BURN + GENERATED) * TICKS)[:, -1])(start)
    return np.asarray(states, float)[BURN * TICKS :: TICKS]


def values(config: app.Config) -> np.ndarray:
    """Returns the series that the flags name."""
    if config.data == "mackey_glass":
        return generated()
    path, form = find(config.data, config.data_dir), (config.separator, config.header, config.decimal)
    return np.asarray(print_notes(config.data, read_series(path, config.column, config.encoding, *form)))


class Facts(NamedTuple):
    """What `load` passes to `build`, in units of the standard deviation of the training part.

    Attributes:
      size: number of training values.
      variance: of the test part.
      linear: squared error of the best linear predictor on the test part.
      still: squared error of repeating the last value on the test part.
    """

    size: int
    variance: float
    linear: float
    still: float


def load(config: app.Config) -> tuple[Facts, PyTree]:
    """Loads the series in three consecutive parts, scaled to mean 0 and variance 1 on the first."""
    x = values(config)
    ends = [round(len(x) * (1 - config.test - config.valid)), round(len(x) * (1 - config.test))]
    shortest = max(config.length, config.warm, LAGS) + config.free + 2
    if min(ends[0], len(x) - ends[1]) < shortest or ends[1] - ends[0] < 2:
        raise UserError(
            f"--data={config.data} has {len(x)} numbers: too few for parts to learn from and to test on of "
            f"{shortest} at least (--length or --warm, and --free)"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = x[: ends[0]].mean(), x[: ends[0]].std()
        largest = np.square((x - mean) / (deviation or 1)).sum()
    if not np.isfinite(deviation + largest) or largest > np.finfo(np.float32).max:
        raise UserError(f"--data={config.data}: numbers such as {np.abs(x).max():g} are too large to be squared")
    if not deviation:
        raise UserError(f"--data={config.data}: all training values are {mean:g}")
    x = (x - mean) / deviation
    cuts = {"train": (0, ends[0]), "valid": (ends[0], ends[1]), "test": (ends[1], len(x))}
    data = {
        part: x[max(0, a - config.warm) : b, None].astype(config.dtype if config.dtype != "bfloat16" else "float32")
        for part, (a, b) in cuts.items()
    }
    test = x[ends[1] :]
    still = float(((test - x[ends[1] - 1 : -1]) ** 2).mean())
    return Facts(ends[0], float(test.var()), autoregression(x, ends), still), data


def autoregression(x: np.ndarray, ends: list[int]) -> float:
    """Returns the mean squared test error of the best linear predictor from the last values, by least squares."""
    rows = np.lib.stride_tricks.sliding_window_view(x, LAGS + 1)
    past, y = np.c_[rows[:, :-1], np.ones(len(rows))], rows[:, -1]
    cut = ends[0] - LAGS
    w = np.linalg.lstsq(past[:cut], y[:cut], rcond=None)[0]
    return float(((past[ends[1] - LAGS :] @ w - y[ends[1] - LAGS :]) ** 2).mean())


def anywhere(config: app.Config, size: int) -> Stream:
    """Returns a stream of sequences from random positions of the training part."""
    steps = min(config.length + config.warm, size - 1)

    def following(data: PyTree, position: tuple[()], key: jax.Array) -> tuple[Batch, tuple[()]]:
        begins = jax.random.randint(key, (config.batch_size,), 0, size - steps)
        x = jax.vmap(lambda at: jax.lax.dynamic_slice_in_dim(data["train"], at, steps + 1))(begins)
        return scored(x, config.warm), position

    return Stream(lambda data: (), following)


def scored(x: jax.Array, warm: int) -> Batch:
    """Returns a batch of sequences `[B, T + 1, 1]` with the next value as target; the first steps do not count."""
    counts = jnp.arange(x.shape[1] - 1) >= warm - 1
    return Batch(x[:, :-1], x[:, 1:], jnp.broadcast_to(counts, (len(x), x.shape[1] - 1)))


def whole_part(part: str, warm: int) -> Stream:
    """Returns a stream of one sequence: a whole part, preceded by `warm` values."""
    return Stream(lambda data: (), lambda data, at, key: (scored(data[part][None], warm), at), 1)


def network(config: app.Config) -> rnnjax.Cell:
    """Returns a network from a value to the next; its layers compute the difference."""
    change = rnnjax.stack(config.layers(), rnnjax.linear(1))
    return rnnjax.residual(change)


def build(config: app.Config, facts: Facts) -> app.Setup:
    """Builds the network on the series."""
    return app.Setup(
        cell=rnnjax.unroll(network(config)),
        objective=losses.regress,
        train=anywhere(config, facts.size),
        valid=whole_part("valid", config.warm),
        test=whole_part("test", config.warm),
        baseline=facts.linear,
        baseline_name=f"linear, the last {LAGS} numbers",
        loss_label="squared error of the next number / variance of the training values",
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Reports NMSE of the next value and of a free run, beside the baselines."""
    config, facts, params = result.config, result.facts, result.params
    test = jnp.asarray(result.data["test"][config.warm :])
    begins = np.linspace(0, len(test) - config.length - config.free, STARTS).astype(int)
    read = jnp.stack([test[b : b + config.length] for b in begins])
    truth = jnp.stack([test[b + config.length : b + config.length + config.free] for b in begins])
    cell = rnnjax.cast(network(config), jnp.dtype(config.dtype))
    alone = jax.jit(jax.vmap(lambda x: dynamics.free_run(cell, params, x, config.free)))(read)
    by_step = np.median(((alone - truth) ** 2).mean(2), axis=0) / facts.variance
    held = np.asarray(jax.vmap(dynamics.valid_time)(alone, truth))
    found = {
        "nmse": result.summary["test"]["loss"] / facts.variance,
        "nmse_linear": facts.linear / facts.variance,
        "nmse_still": facts.still / facts.variance,
        "valid_steps": float(np.median(held)),
        "nmse_alone_median": {n: float(by_step[n - 1]) for n in (1, 2, 5, 10, 20, 50, 100) if n <= config.free},
    }
    said = {
        f"{config.cell}, next number": found["nmse"],
        f"linear, the last {LAGS} numbers": found["nmse_linear"],
        "the number before": found["nmse_still"],
        **{f"{config.cell}, {n} steps alone (median)": v for n, v in found["nmse_alone_median"].items()},
    }
    rows = [{"": name, "NMSE": value} for name, value in said.items()]
    print_table(rows, title=f"{config.cell}: error on the test part / its variance")
    print(f"alone it is right (to 0.4 deviations) for {found['valid_steps']:g} steps, median of {STARTS} starts")
    path = Path(result.summary["workdir"]) / f"alone.{config.picture}"
    steps = np.arange(config.length + config.free) - config.length
    shown = int(np.argsort(held)[len(held) // 2])
    drawn = {
        "the series": Run(steps, np.concatenate([read[shown], truth[shown]])[:, 0]),
        "alone": Run(steps[config.length :], alone[shown, :, 0]),
    }
    title = f"{config.cell} goes on alone from 0 on (the median of {STARTS} starts)"
    save(path, draw_curves(drawn, ylabel="deviations from the mean", xlabel="step", title=title, log=False))
    print(f"alone: {path}")
    return found


EXPERIMENT = app.Experiment(build, FLAGS, load, finish, description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
