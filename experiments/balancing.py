"""Influence balancing: truncated backpropagation can climb the loss when near and far causes have opposite effects.

Each run in `--runs` trains the one parameter of a linear system with gradient descent, online. Its direct effect on the
output has the wrong sign, and the larger effect through later steps the correct one. Look at the distance to the
optimum: it shrinks with exact gradients and grows if the rule looks back too few steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

import rnnjax
from rnnjax import app, losses, training
from rnnjax.app import resolve
from rnnjax.base import Cell, PyTree, UserError
from rnnjax.data import Batch, Stream
from rnnjax.estimators import RULES
from rnnjax.plotting import Run, draw_curves
from rnnjax.runs import Workdir, print_table

FLAGS = app.study_flags(network=False)
flags.DEFINE_list(
    "runs",
    ["tbptt:1", "tbptt:2", "tbptt:4", "tbptt:8", "tbptt:20", "tbptt:40", "rtrl:1", "uoro:1", "pes:2", "nres:2"],
    "RULE:TRUNCATION, the runs to compare; each truncation is an update and divides an episode of 40 steps.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("time_steps", 100000, "Steps of the system in each run.", 40, flag_values=FLAGS)
flags.DEFINE_float("learning_rate", 1e-4, "Learning rate of gradient descent per step.", 0.0, flag_values=FLAGS)

N, POSITIVE = 7, 3  # units; the parameter raises the first POSITIVE of them and lowers the others
EPISODE, POINTS = 40, 100


def balance() -> Cell:
    """s' = A s + theta (1, 1, 1, -1, -1, -1, -1), where A halves and shifts the state; the output is the first unit."""
    a = (jnp.eye(N) + jnp.eye(N, k=1)) / 2
    sign = jnp.where(jnp.arange(N) < POSITIVE, 1.0, -1.0)

    def step(p: PyTree, s: jax.Array, x: Any, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        s = a @ s + p["theta"] * sign
        return s, s[:1]

    return Cell(lambda key, x: {"theta": jnp.full(1, 0.5)}, lambda p, x: jnp.ones(N), step)


def stream(piece: int) -> Stream:
    """Returns a stream of pieces of episodes; the target of the first unit is 1."""

    def following(data: PyTree, position: jax.Array, key: jax.Array) -> tuple[Batch, jax.Array]:
        restart = jnp.full(1, position % (EPISODE // piece) == 0)
        return Batch(jnp.zeros((1, piece, 1)), jnp.ones((1, piece, 1)), None, restart), position + 1

    return Stream(lambda data: jnp.zeros((), jnp.int32), following)


def optimum() -> float:
    """Returns the theta with the least loss over an episode; the loss is a parabola."""
    cell, xs = rnnjax.unroll(balance()), jnp.zeros((EPISODE, 1))

    def loss(theta: jax.Array) -> jax.Array:
        return ((rnnjax.run(cell, {"theta": jnp.full(1, theta)}, xs)[1] - 1) ** 2).sum()

    return float(-jax.grad(loss)(0.0) / jax.hessian(loss)(0.0))


def distances(rule: str, truncation: int, rate: float, steps: int, seed: int = 0, points: int = POINTS) -> np.ndarray:
    """Returns |theta - optimum| during training `[points + 1]`; infinite from where training diverged."""
    cell = rnnjax.unroll(balance())
    estimator = resolve("runs", rule, RULES)(cell, losses.regress, 0 if rule == "bptt" else truncation)
    trainer = training.Trainer(cell, estimator, optax.sgd(rate * truncation), stream(truncation))
    progress = jax.jit(lambda key: training.init(trainer, (), key))(jax.random.key(seed))
    loop, best, found = jax.jit(lambda progress, n: training.loop(trainer, progress, (), n)), optimum(), []
    for _ in range(points + 1):
        theta = float(progress.state.params["theta"][0])
        found.append(abs(theta - best) if progress.finite else float("inf"))
        progress = loop(progress, steps // truncation // points)
    return np.array(found)


def rms(far: np.ndarray) -> float:
    """Returns the root mean square over the second half."""
    return float(np.sqrt((far[len(far) // 2 :] ** 2).mean()))


class Wanted(NamedTuple):
    """A rule and its truncation."""

    rule: str
    truncation: int


def wanted(text: str) -> Wanted:
    """Parses RULE:TRUNCATION."""
    rule, _, truncation = text.rpartition(":")
    if not truncation.isdigit() or int(truncation) < 1 or EPISODE % int(truncation):
        raise UserError(f"--runs={text}: expected RULE:TRUNCATION with a truncation that divides {EPISODE}")
    resolve("runs", rule, RULES)
    return Wanted(rule, int(truncation))


def compare(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Trains with each rule, draws the distances and prints the table."""
    (config,) = configs.values()
    runs = [wanted(text) for text in config.runs]
    found = {
        f"{r.rule} {r.truncation}": distances(
            r.rule, r.truncation, float(config.learning_rate), config.time_steps, config.seed
        )
        for r in runs
    }
    times = np.linspace(0, config.time_steps, POINTS + 1)
    drawn = {name: Run(valid_steps=times, valid=np.where(far < 1e3, far, np.nan)) for name, far in found.items()}
    label = "|theta - optimum|"
    figure = draw_curves(drawn, ylabel=label, xlabel="step of the system", title="influence balancing")
    rows = [
        {"rule": name, "at first": far[0], "in the end": far[-1], "last half, root mean square": rms(far)}
        for name, far in found.items()
    ]
    print_table(rows, title=f"influence balancing: {label}, optimum {optimum():.4f}")
    return app.Findings({"optimum": optimum(), "rows": rows}, {"curves": figure})


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that no network can be trained with."""
    (config,) = configs.values()
    if not config.runs:
        raise UserError("--runs is empty: write RULE:TRUNCATION")
    for text in config.runs:
        run = wanted(text)
        resolve("runs", run.rule, RULES)(rnnjax.unroll(balance()), losses.regress, run.truncation)


def described(configs: dict[str, app.Config]) -> dict[str, tuple[Cell, Any]]:
    """Returns the networks with the shape of their input, for `--describe`."""
    return {"balance": (rnnjax.unroll(balance()), jnp.zeros((EPISODE, 1)))}


EXPERIMENT = app.Study(compare, FLAGS, description=__doc__, check=check, networks=described)

if __name__ == "__main__":
    app.main(EXPERIMENT)
