"""Cognitive tasks of neuroscience: noisy evidence, context, memory over a delay, rules.

By default a GRU and a leaky network integrate one of two streams of evidence, as a context says. Look at the
psychometric curve: choices against evidence, beside those of the best observer; and, for context, against the evidence
that is to be ignored. Then look at the line attractors, one in each context: slow points along which the network keeps
its evidence, and how far each stream moves the state along them. With `--task=twenty_tasks` one network learns twenty
tasks, and each has its accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from experiments._shared import twenty
from experiments._shared.line_attractors import Line, draw, find_line
from rnnjax import app, dynamics, losses, tasks
from rnnjax.base import PyTree
from rnnjax.plotting import Run, draw_curves, save
from rnnjax.runs import print_table
from rnnjax.tasks import Task, task_stream

FLAGS = app.common_flags(
    cell="gru,ctrnn",
    hidden_size="64",
    learning_rate=3e-3,
    batch_size=64,
    num_steps=600,
    log_every=20,
    eval_every=100,
    eval_batches=8,
    checkpoint_every=300,
)


class Kind(NamedTuple):
    """A task of the flags.

    Attributes:
      make: config -> the task.
      answers: config -> the number of outputs.
      at: what it is at a given evidence, if it has any.
      objective: what is minimised.
      loss: its name and unit.
    """

    make: Callable[[app.Config], Task]
    answers: Callable[[app.Config], int]
    at: Callable[[app.Config, float], dict[str, Task]] | None = None
    objective: losses.Objective = losses.classify
    loss: str = "cross-entropy (nats an answer)"


def _decision(config: app.Config, c: float) -> dict[str, Task]:
    """Returns the decision at one evidence."""
    return {"evidence": tasks.perceptual_decision(config.length, config.sigma, c)}


def _context(config: app.Config, c: float) -> dict[str, Task]:
    """Returns the task at one evidence of the stream that counts, and of the other one."""
    length, noise = config.length, config.sigma
    return {
        "evidence that counts": tasks.context_integration(length, noise, coherence=c),
        "evidence to ignore": tasks.context_integration(length, noise, other=c),
    }


TASKS = {
    "perceptual_decision": Kind(lambda c: tasks.perceptual_decision(c.length, c.sigma), lambda c: 2, _decision),
    "context_integration": Kind(lambda c: tasks.context_integration(c.length, c.sigma), lambda c: 2, _context),
    "delayed_match": Kind(lambda c: tasks.delayed_match(c.length, c.directions, c.sigma), lambda c: 2),
    "delayed_comparison": Kind(lambda c: tasks.delayed_comparison(c.length, c.gap, c.sigma), lambda c: 2),
    "anti_reach": Kind(lambda c: tasks.anti_reach(c.length, c.directions, c.sigma), lambda c: c.directions),
    "twenty_tasks": Kind(
        lambda c: tasks.twenty_tasks(step=c.step, noise=c.ring_noise),
        lambda c: 33,
        objective=twenty.objective,
        loss="weighted squared error",
    ),
}

flags.DEFINE_enum("task", "context_integration", list(TASKS), "What is asked.", flag_values=FLAGS)
flags.DEFINE_integer("length", 20, "Steps of evidence, or of the delay.", 1, flag_values=FLAGS)
flags.DEFINE_float("sigma", 1.0, "Standard deviation of the noise of each input.", 0, flag_values=FLAGS)
flags.DEFINE_float(
    "ring_noise", 0.01, "The noise of twenty_tasks, in place of --sigma, for inputs 200 ms apart.", 0, flag_values=FLAGS
)
flags.DEFINE_integer("step", 100, "Milliseconds between two inputs of twenty_tasks.", 1, 100, flag_values=FLAGS)
flags.DEFINE_integer("directions", 8, "Directions of delayed_match and anti_reach.", 2, flag_values=FLAGS)
flags.DEFINE_float("gap", 0.2, "Difference of the two values of delayed_comparison.", 0, flag_values=FLAGS)
flags.DEFINE_integer(
    "starts",
    100,
    "Starts of the search for line attractors in context_integration; 0: no search.",
    0,
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "tolerance", 0.01, "How far a step may move a slow point, as a share of the states' spread.", 0, flag_values=FLAGS
)
flags.DEFINE_integer(
    "trials",
    1000,
    "Trials for each point of the psychometric curve, or for each of the twenty tasks.",
    1,
    flag_values=FLAGS,
)

SHOWN = 50  # trials of each evidence in the search for line attractors
EVIDENCE = [-c for c in reversed(tasks.COHERENCES)] + list(tasks.COHERENCES)


def network(config: app.Config) -> rnnjax.Cell:
    """Returns a network from an input to an answer."""
    return rnnjax.stack(config.layers(), rnnjax.linear(TASKS[config.task].answers(config)))


def build(config: app.Config) -> app.Setup:
    """Builds the task and a network from its inputs to an answer."""
    kind = TASKS[config.task]
    task = kind.make(config)
    return app.Setup(
        cell=rnnjax.unroll(network(config)),
        objective=kind.objective,
        train=task_stream(task, config.batch_size),
        valid=task_stream(task, config.batch_size, config.eval_batches),
        test=task_stream(task, config.batch_size, 5 * config.eval_batches),
        baseline=None if math.isnan(task.baseline) else task.baseline,
        baseline_name="memoryless",
        loss_label=kind.loss,
    )


def finish(result: app.Result) -> dict[str, Any]:
    """Draws the psychometric curve of a task with evidence, or the accuracy of each of twenty tasks."""
    if result.config.task == "twenty_tasks":
        return twenty.report(result)
    config, at = result.config, TASKS[result.config.task].at
    if at is None:
        return {}
    found: dict[str, list[float]] = {}
    for c in EVIDENCE:
        for name, task in at(config, c).items():
            found.setdefault(name, []).append(choices(result, task))
    best = [tasks.ideal_accuracy(c, config.length, config.sigma) for c in EVIDENCE]
    found["best observer"] = [p if c > 0 else 1 - p for c, p in zip(EVIDENCE, best)]
    rows = [{"evidence": c} | {name: line[i] for name, line in found.items()} for i, c in enumerate(EVIDENCE)]
    print_table(rows, title=f"\n{config.cell}: share of choices of 1")
    path = f"{result.summary['workdir']}/psychometric.{config.picture}"
    lines = {name: Run(valid_steps=EVIDENCE, valid=line) for name, line in found.items()}
    title = f"{config.cell}: {config.task.replace('_', ' ')}"
    save(path, draw_curves(lines, xlabel="evidence of a step", ylabel="share of choices of 1", title=title, log=False))
    print(f"psychometric curve: {path}")
    more = lines_of_contexts(result) if config.task == "context_integration" and config.starts else {}
    return {"psychometric": {"evidence": EVIDENCE} | found} | more


def choices(result: app.Result, task: Task) -> float:
    """Returns the share of trials whose last answer is 1."""
    xs = task.batch(jax.random.fold_in(jax.random.key(result.config.seed), 1), result.config.trials).x
    logits = jax.jit(jax.vmap(lambda x: rnnjax.run(result.setup.cell, result.params, x)[1][-1]))(xs)
    return float((np.asarray(logits).argmax(-1) == 1).mean())


def lines_of_contexts(result: app.Result) -> dict[str, Any]:
    """Finds, prints and draws the line attractor of each context."""
    config, cell, params = result.config, network(result.config), result.params
    key = jax.random.fold_in(jax.random.key(config.seed), 2)
    lines: dict[str, Line] = {}
    means: dict[str, np.ndarray] = {}
    rows = []
    for context, name in enumerate(("motion counts", "colour counts")):
        x = jnp.concatenate([jnp.zeros(2), jax.nn.one_hot(context, 2), jnp.zeros(1)])
        states = states_by_evidence(cell, params, config, context, key)
        advance = dynamics.as_map(cell, params, x)[0]
        visited = states[:, :, 1:].reshape(-1, states.shape[-1])
        starts = jax.random.choice(key, visited, (config.starts,), axis=0)
        ends = states[:, :, -1].mean(1)
        line = find_line(advance, x, starts, config.tolerance, np.asarray(ends[-1] - ends[0]))
        if line is None:
            print(f"{config.cell}, {name}: fewer than three slow points; a larger --tolerance takes faster ones")
            continue
        lines[name], means[name] = line, np.asarray(states.mean(1))
        rows.append(
            {
                "context": name,
                "points": len(line.points),
                "on one line": line.share,
                "along it": float(np.median(line.along)),
                "across it": float(np.median(line.across)),
                "moved by what counts": float(line.push[context]),
                "by the other": float(line.push[1 - context]),
            }
        )
    if rows:
        print_table(rows, title=f"\n{config.cell}: slow points without evidence, and the eigenvalues there")
        path = Path(result.summary["workdir"]) / f"lines.{config.picture}"
        draw(path, lines, means, EVIDENCE, f"{config.cell}, {config.hidden_size} units")
        print(f"line attractors: {path}")
    return {"lines": rows}


def states_by_evidence(
    cell: rnnjax.Cell, params: PyTree, config: app.Config, context: int, key: jax.Array
) -> jax.Array:
    """Returns the states of trials of one context while evidence is shown, `[evidence, trials, T + 1, N]`."""
    noise = config.sigma * jax.random.normal(key, (len(EVIDENCE), SHOWN, config.length, 2))
    other = jax.random.choice(jax.random.fold_in(key, context), jnp.array(EVIDENCE), noise.shape[:2])
    own = jnp.broadcast_to(jnp.array(EVIDENCE)[:, None], noise.shape[:2])
    streams = jnp.stack([own, other] if context == 0 else [other, own], axis=-1)[:, :, None] + noise
    rest = jnp.broadcast_to(jnp.append(jax.nn.one_hot(context, 2), 0.0), (*noise.shape[:3], 3))
    xs = jnp.concatenate([streams, rest], axis=-1)
    run = jax.vmap(jax.vmap(lambda x: dynamics.trajectory(cell, params, x)[1]))
    return jax.jit(run)(xs)


EXPERIMENT = app.Experiment(build, FLAGS, finish=finish, free=("trials", "starts", "tolerance"), description=__doc__)

if __name__ == "__main__":
    app.main(EXPERIMENT)
