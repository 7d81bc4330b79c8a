"""Compares recurrence through hidden units (Elman), through outputs (Jordan) and through both, on three tasks.

echo: the output is the input of two steps ago, which no output has held. sticky: where the input says so, an output
mostly repeats the one before; the rest is random. plan: a constant input selects a sequence to write. Each network
trains with teacher forcing and then runs freely. Look at its loss beside the least possible loss of each task.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from matplotlib.figure import Figure

import rnnjax
from experiments._shared.small_runs import trained
from rnnjax import app, losses, tasks, training
from rnnjax.base import UserError, count
from rnnjax.cells import teacher_forced
from rnnjax.data import Batch
from rnnjax.runs import ProgressBar, Workdir, print_table
from rnnjax.tasks import Task

FLAGS = app.study_flags(cell="vanilla", hidden_size="32")
flags.DEFINE_list("decays", ["0.3", "0.6"], "Decay rates of context units, one network each.", flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 5e-3, "Learning rate of Adam.", 0.0, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 64, "Sequences per update.", 1, flag_values=FLAGS)
flags.DEFINE_integer("num_steps", 1500, "Updates of each network on each task.", 1, flag_values=FLAGS)

STEPS, PLANS, SYMBOLS = 12, 4, 3
STAYS, TOLD = 0.9, 0.8  # probability that a sticky output repeats if it is told to, and that it is told to


class Problem(NamedTuple):
    """A task of this study.

    Attributes:
      sample: key -> (x `[T, features]`, y integers `[T]`).
      outputs: number of symbols of y.
      least: loss of the best predictor from inputs and earlier outputs, nats per step.
      unlinked: loss of the best predictor from the inputs only.
      last: loss of the best predictor from this input and the last output only (and in echo the time).
      free: whether the outputs of a free run can be checked.
    """

    sample: Callable[[jax.Array], tuple[jax.Array, jax.Array]]
    outputs: int
    least: float
    unlinked: float
    last: float
    free: bool


class Network(NamedTuple):
    """A form of memory: recurrent hidden units or not, context units fed by outputs or not."""

    hidden: bool
    linked: bool
    decay: float


def echo() -> Problem:
    """y_t = x_{t-2}; the first two targets are 0."""

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = jax.random.randint(key, (STEPS,), 0, 2)
        return jax.nn.one_hot(x, 2), jnp.concatenate([jnp.zeros(2, x.dtype), x[:-2]])

    return Problem(sample, 2, 0.0, 0.0, (STEPS - 2) / STEPS * math.log(2), True)


def sticky() -> Problem:
    """If x_t says so, y_t is y_{t-1} with probability 0.9; otherwise it is random."""

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        told, stays, fresh = jax.random.split(key, 3)
        x = jax.random.bernoulli(told, TOLD, (STEPS,))
        flips = ~jax.random.bernoulli(stays, STAYS, (STEPS,))
        drawn = jax.random.bernoulli(fresh, 0.5, (STEPS + 1,))

        def say(y: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
            y = jnp.where(now[0], y ^ now[1], now[2])
            return y, y

        y = jax.lax.scan(say, drawn[0], (x, flips, drawn[1:]))[1]
        return jax.nn.one_hot(x.astype(jnp.int32), 2), y.astype(jnp.int32)

    doubt = -STAYS * math.log(STAYS) - (1 - STAYS) * math.log(1 - STAYS)
    first = math.log(2) / STEPS  # the first output has no predecessor
    least = first + (STEPS - 1) / STEPS * (TOLD * doubt + (1 - TOLD) * math.log(2))
    return Problem(sample, 2, least, math.log(2), least, False)


def plan_input() -> Problem:
    """A plan, 0 to 3, as a constant input; each stands for a fixed random sequence of three symbols."""
    said = np.random.default_rng(0).integers(0, SYMBOLS, (PLANS, STEPS))

    def sample(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        which = jax.random.randint(key, (), 0, PLANS)
        return jnp.broadcast_to(jax.nn.one_hot(which, PLANS), (STEPS, PLANS)), jnp.asarray(said, jnp.int32)[which]

    return Problem(sample, SYMBOLS, 0.0, 0.0, doubt_after_the_last(said), True)


def doubt_after_the_last(said: np.ndarray) -> float:
    """Returns the mean entropy, in nats, of a symbol given its row and the symbol before it, if there is one."""
    total = 0.0
    for row in said:
        before = np.concatenate([[-1], row[:-1]])
        for last in set(before):
            after = np.bincount(row[before == last])
            total += sum(-n * math.log(n / after.sum()) for n in after if n)
    return total / said.size


PROBLEMS = {"echo": echo, "sticky": sticky, "plan": plan_input}


def networks(decays: list[str]) -> dict[str, Network]:
    """Returns the networks to compare, by name."""
    try:
        values = [float(decay) for decay in decays]
    except ValueError as error:
        raise UserError(f"--decays={','.join(decays)}: numbers from 0 to 1") from error
    if not all(0 < value < 1 for value in values):
        raise UserError(f"--decays={','.join(decays)}: each above 0 and below 1")
    jordan = {f"outputs, kept by {value:g} (Jordan)": Network(False, True, value) for value in values}
    hidden = {"hidden units": Network(True, False, 0.0)}
    return hidden | {"outputs": Network(False, True, 0.0)} | jordan | {"both": Network(True, True, 0.0)}


def make_cell(network: Network, problem: Problem, config: app.Config) -> rnnjax.Cell:
    """Returns a network from [x, context] to logits."""
    n = int(config.hidden_size)
    alone = rnnjax.stack(rnnjax.linear(n), rnnjax.pointwise(jnp.tanh))
    return rnnjax.stack(config.layers() if network.hidden else alone, rnnjax.linear(problem.outputs))


def forced(network: Network, problem: Problem) -> Callable[[jax.Array], Batch]:
    """Returns examples whose context is the correct outputs, or zeros for networks without this feedback."""
    start = jnp.zeros(problem.outputs)

    def sample(key: jax.Array) -> Batch:
        x, y = problem.sample(key)
        said = jax.nn.one_hot(y, problem.outputs) * float(network.linked)
        return Batch(teacher_forced(x, said, start, network.decay), y)

    return sample


def free(network: Network, problem: Problem, cell: rnnjax.Cell, params: object, key: jax.Array) -> float:
    """Returns the accuracy when the network reads its own most likely symbols."""

    def best(key: jax.Array | None, logits: jax.Array) -> jax.Array:
        return jax.nn.one_hot(logits.argmax(), problem.outputs) * float(network.linked)

    running = rnnjax.unroll(rnnjax.feedback(cell, jnp.zeros(problem.outputs), best, network.decay))

    def one(key: jax.Array) -> jax.Array:
        x, y = problem.sample(key)
        return (rnnjax.run(running, params, x)[1].argmax(-1) == y).mean()

    return float(jax.jit(jax.vmap(one))(jax.random.split(key, 500)).mean())


def train_network(network: Network, problem: Problem, config: app.Config) -> dict[str, float | int | None]:
    """Trains a network; returns its loss on fresh examples and its accuracy in a free run."""
    cell = make_cell(network, problem, config)
    window = rnnjax.unroll(cell)
    stream = tasks.task_stream(Task(forced(network, problem), float("nan")), config.batch_size)
    params = trained(config, window, losses.classify, stream).state.averaged
    fresh = jax.random.fold_in(jax.random.key(config.seed), 1)
    score = jax.jit(training.evaluate(window, losses.classify, stream._replace(length=200)))(params, (), fresh)
    return {
        "loss": float(score["loss"].value()),
        "right, told": float(score["accuracy"].value()),
        "right, free": free(network, problem, cell, params, fresh) if problem.free else None,
        "parameters": count(params),
    }


def compare(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Trains all networks on all tasks; writes tables, a summary and a picture."""
    (config,) = configs.values()
    compared, problems = networks(config.decays), {name: make() for name, make in PROBLEMS.items()}
    found: dict[str, dict[str, dict[str, float | int | None]]] = {}
    with ProgressBar(len(problems) * len(compared), "networks") as bar:
        for task, problem in problems.items():
            found[task] = {}
            for name, network in compared.items():
                found[task][name] = train_network(network, problem, config)
                bar.update(sum(map(len, found.values())))
    for task, problem in problems.items():
        floor = {"network": "least there can be", "loss": problem.least}
        print_table(
            [{"network": name} | row for name, row in found[task].items()] + [floor], title=f"{task}: nats a step"
        )
    floors = {
        task: {"least": p.least, "inputs alone": p.unlinked, "last output alone": p.last}
        for task, p in problems.items()
    }
    return app.Findings({"networks": found, "exact": floors}, {"losses": draw(found, problems)})


def draw(found: dict[str, dict[str, dict[str, float | int | None]]], problems: dict[str, Problem]) -> Figure:
    """Draws a panel per task: the loss of each network, and of the best predictors."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True)
    for axes, (task, rows) in zip(panels, found.items()):
        axes.barh(list(rows), [row["loss"] for row in rows.values()], color="#0072B2", height=0.6)
        exact = {
            "all there is": (problems[task].least, "-"),
            "inputs alone": (problems[task].unlinked, "--"),
            "last output alone": (problems[task].last, ":"),
        }
        for name, (value, style) in exact.items():
            axes.axvline(value, color="black", linestyle=style, linewidth=1.2, label=f"best: {name}")
        axes.set_title(task)
        axes.set_xlabel("loss (nats a step)")
        axes.set_xlim(left=-0.02)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that no network can be trained with."""
    if len(configs) > 1:
        raise UserError("--cell takes one cell here: it is compared with networks that have no hidden recurrence")
    networks(next(iter(configs.values())).decays)


EXPERIMENT = app.Study(compare, FLAGS, description=__doc__, check=check)

if __name__ == "__main__":
    app.main(EXPERIMENT)
