"""What a cheap gradient costs: the final loss of each rule against how often it updates, and against its operations.

A network trains on three tasks with streams of sequences. Each rule updates after every window of so many steps and
passes its state on to the next window; bptt updates after every sequence. All read the same number of sequences, and
validation chooses each one's learning rate of `--learning_rates`. Look at the losses beside the baseline, the best
without memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

import rnnjax
from rnnjax import app, losses, tasks, training
from rnnjax.app import resolve
from rnnjax.base import Cell, PyTree, UserError
from rnnjax.data import Batch, Stream
from rnnjax.estimators import RULES, flops
from rnnjax.losses import Objective
from rnnjax.plotting import Run, draw_grid
from rnnjax.runs import ProgressBar, Workdir, print_table
from rnnjax.training import bootstrap, interquartile_mean, population

FLAGS = app.study_flags(cell="gru", hidden_size="12")
flags.DEFINE_list("tasks", ["copying", "adding", "dyck"], "Tasks to train on.", flag_values=FLAGS)
flags.DEFINE_list("rules", ["bptt", "tbptt", "rtrl", "snap1", "uoro", "pes"], "Rules to compare.", flag_values=FLAGS)
flags.DEFINE_list("windows", ["1", "4", "8"], "Steps between updates; each divides --length.", flag_values=FLAGS)
flags.DEFINE_integer("length", 16, "Steps per sequence, at least 9.", 9, flag_values=FLAGS)
flags.DEFINE_integer("sequences", 24000, "Sequences to read.", 1, flag_values=FLAGS)
flags.DEFINE_integer("batch_size", 16, "Sequences that are read in parallel.", 1, flag_values=FLAGS)
flags.DEFINE_list(
    "learning_rates",
    ["3e-3", "1e-2"],
    "Learning rates of Adam to choose from, each with a cosine decay.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("seeds", 3, "Networks for each; their seeds count up from --seed.", 1, flag_values=FLAGS)

SCORED = 1000  # sequences of the validation set, and of the test set


class Problem(NamedTuple):
    """A task with its encoding, its number of outputs and its loss."""

    make: Callable[[int], tasks.Task]
    encoded: tuple[Cell, ...]
    outputs: int
    objective: Objective
    label: str


TASKS = {
    "copying": Problem(
        lambda n: tasks.copying(n - 8, 4, 2), (rnnjax.one_hot(4),), 3, losses.classify, "copying (nats a step)"
    ),
    "adding": Problem(tasks.adding, (), 1, losses.regress, "adding (squared error)"),
    "dyck": Problem(lambda n: tasks.dyck(n, 2, 4), (rnnjax.one_hot(4),), 3, losses.classify, "brackets (nats a step)"),
}


class Entry(NamedTuple):
    """What is trained with all learning rates and seeds at once."""

    task: str
    rule: str
    window: int


def entries(config: app.Config) -> list[Entry]:
    """Returns all entries: bptt with the whole sequence as its window, the other rules with each window."""
    shorter = [int(w) for w in config.windows]
    return [
        Entry(task, rule, window)
        for task in config.tasks
        for rule in config.rules
        for window in ([config.length] if rule == "bptt" else shorter)
    ]


def stretches(task: tasks.Task, batch_size: int, length: int, window: int) -> Stream:
    """Returns a stream of windows of fresh sequences, one after another; the first of a sequence restarts."""

    def init(data: PyTree) -> tuple[jax.Array, Batch]:
        like = jax.eval_shape(lambda: task.batch(jax.random.key(0), batch_size))
        return jnp.zeros((), jnp.int32), jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like)

    def following(data: PyTree, position: tuple[jax.Array, Batch], key: jax.Array) -> tuple[Batch, Any]:
        at, old = position
        batch = jax.lax.cond(at == 0, lambda: task.batch(key, batch_size), lambda: old)
        part = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, at, window, axis=1), batch)
        return part._replace(restart=jnp.full(batch_size, at == 0)), ((at + window) % length, batch)

    return Stream(init, following)


def network(config: app.Config, problem: Problem) -> Cell:
    """Returns the network of a task."""
    return rnnjax.unroll(rnnjax.stack(*problem.encoded, config.layers(), rnnjax.linear(problem.outputs)))


def learner(config: app.Config, entry: Entry, rate: Any) -> training.Trainer:
    """Returns how an entry learns with a rate."""
    problem = TASKS[entry.task]
    cell = network(config, problem)
    truncation = 0 if entry.rule == "bptt" else entry.window
    estimator = resolve("rules", entry.rule, RULES)(cell, problem.objective, truncation)
    decayed = optax.cosine_decay_schedule(rate, updates(config, entry))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(decayed))
    stream = stretches(problem.make(config.length), config.batch_size, config.length, entry.window)
    return training.Trainer(cell, estimator, optimizer, stream)


def updates(config: app.Config, entry: Entry) -> int:
    """Returns the number of updates of an entry."""
    return -(-config.sequences // config.batch_size) * (config.length // entry.window)


def scores(config: app.Config, entry: Entry) -> dict[str, np.ndarray]:
    """Trains with all learning rates and seeds; returns the losses `[rates, seeds]`, infinite where one diverged."""
    problem = TASKS[entry.task]
    scored = tasks.task_stream(problem.make(config.length), SCORED, 1)

    def member(own: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
        rate, key = own[0], jax.random.key(own[1])
        trainer = learner(config, entry, rate)
        progress = training.loop(trainer, training.init(trainer, (), key), (), updates(config, entry))
        measure = training.evaluate(trainer.cell, problem.objective, scored)
        found = {name: jax.random.fold_in(key, i) for i, name in enumerate(("valid", "test"), 1)}
        return {
            name: jnp.where(progress.finite, measure(progress.state.averaged, (), fresh)["loss"].value(), jnp.inf)
            for name, fresh in found.items()
        }

    rates = jnp.array([float(r) for r in config.learning_rates])
    seeds = config.seed + jnp.arange(config.seeds)
    members = jnp.repeat(rates, config.seeds), jnp.tile(seeds, len(rates))
    found = jax.jit(population(member, "vmap"))(members)
    return {name: np.nan_to_num(np.asarray(a).reshape(len(rates), -1), nan=np.inf) for name, a in found.items()}


def beginning(trainer: training.Trainer) -> tuple[PyTree, PyTree, Batch]:
    """Returns the shapes of the parameters, of the state of the estimator, and of a batch."""

    def made(key: jax.Array) -> tuple[PyTree, PyTree, Batch]:
        batch, _ = trainer.stream.next((), trainer.stream.init(()), key)
        params = trainer.cell.init(key, jax.tree.map(lambda a: a[0], batch.x))
        return params, trainer.estimator.init(params, batch), batch

    return jax.eval_shape(made, jax.random.key(0))


def operations(config: app.Config, entry: Entry) -> float:
    """Returns the operations of all gradients of one run."""
    trainer = learner(config, entry, 0.1)
    return float(flops(trainer.estimator.grad, *beginning(trainer), jax.random.key(0)) * updates(config, entry))


def measured(config: app.Config, entry: Entry) -> dict[str, Any]:
    """Returns the row of an entry: its best learning rate, its test losses, and its operations."""
    found = scores(config, entry)
    best = int(np.argmin(found["valid"].mean(1)))  # infinite if one of the seeds diverged
    return {
        **entry._asdict(),
        "learning rate": config.learning_rates[best],
        "losses": found["test"][best].tolist(),
        "gigaflop": operations(config, entry) / 1e9,
    }


def compare(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Trains every entry, draws the losses and prints the table; entries of an earlier launch are kept."""
    (config,) = configs.values()
    wanted, known = entries(config), workdir.records()
    rows = [record["row"] for record in known]
    with ProgressBar(len(wanted), "entries") as bar:
        for entry in wanted[len(rows) :]:
            rows.append(measured(config, entry))
            workdir.log(len(rows), {"row": rows[-1]})
            jax.clear_caches()
            bar.update(len(rows))
    for row in rows:
        row["losses"] = [math.inf if loss is None else loss for loss in row["losses"]]
    baselines = {name: TASKS[name].make(config.length).baseline for name in config.tasks}
    print_table([summarised(row) for row in rows], title=f"test loss, {config.seeds} seeds, best learning rate")
    return app.Findings({"rows": rows, "baselines": baselines}, {"rules": draw(config, rows, baselines)})


def summarised(row: dict[str, Any]) -> dict[str, Any]:
    """Returns a row of the printed table."""
    low, high = bootstrap(row["losses"])
    own = {name: row[name] for name in ("task", "rule", "window", "learning rate", "gigaflop")}
    return own | {"loss": interquartile_mean(row["losses"]), "low": low, "high": high}


def draw(config: app.Config, rows: list[dict[str, Any]], baselines: dict[str, float]) -> Any:
    """Draws a row of panels for each task: the loss against the window, and against operations."""

    def line(task: str, rule: str, across: str) -> Run:
        own = sorted((r for r in rows if (r["task"], r["rule"]) == (task, rule)), key=lambda r: r[across])
        ends = [bootstrap(r["losses"]) for r in own]
        middle = [interquartile_mean(r["losses"]) for r in own]
        low, high = zip(*ends)
        return Run(valid_steps=[r[across] for r in own], valid=middle, low=low, high=high)

    columns = {"window": "steps between updates", "gigaflop": "operations of all gradients (GFLOP)"}
    panels = {
        TASKS[task].label: {
            label: {rule: line(task, rule, across) for rule in config.rules} for across, label in columns.items()
        }
        for task in config.tasks
    }
    known = {TASKS[task].label: {"without memory": level} for task, level in baselines.items()}
    title = f"final loss of {config.seeds} seeds, their middle and its 95 % interval; {config.sequences:,} sequences"
    return draw_grid(panels, title=title, baselines=known)


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that no network can be trained with."""
    if len(configs) > 1:
        raise UserError("--cell takes one cell here")
    (config,) = configs.values()
    for name in ("tasks", "rules", "windows", "learning_rates"):
        if not getattr(config, name):
            raise UserError(f"--{name} is empty")
    for task in config.tasks:
        resolve("tasks", task, TASKS)
    for window in config.windows:
        if not window.isdigit() or int(window) < 1 or config.length % int(window):
            raise UserError(f"--windows={window}: expected numbers of steps that divide --length={config.length}")
    for rate in config.learning_rates:
        check_rate(rate)
    for entry in {(e.task, e.rule): e for e in entries(config)}.values():
        try:
            beginning(learner(config, entry, 0.1))
        except ValueError as error:
            raise UserError(f"--rules={entry.rule}: {error}") from error


def check_rate(text: str) -> None:
    """Refuses a learning rate that is not a positive number."""
    try:
        good = 0 < float(text) < math.inf
    except ValueError:
        good = False
    if not good:
        raise UserError(f"--learning_rates={text}: expected positive numbers")


def described(configs: dict[str, app.Config]) -> dict[str, tuple[Cell, Any]]:
    """Returns the networks with the shape of their input, for `--describe`."""
    (config,) = configs.values()
    found = {}
    for name in config.tasks:
        problem = TASKS[name]
        x = jax.eval_shape(lambda problem=problem: problem.make(config.length).sample(jax.random.key(0)).x)
        found[name] = network(config, problem), x
    return found


EXPERIMENT = app.Study(compare, FLAGS, description=__doc__, check=check, networks=described)

if __name__ == "__main__":
    app.main(EXPERIMENT)
