"""Bifurcation diagrams: the long-term orbits of a map as a parameter grows, and where they become chaotic.

Nothing is trained: the maps are the logistic map, one recurrent unit and a random recurrent network (`--systems`). Look
at the diagrams, and at the largest Lyapunov exponent below each, which is positive where the map is chaotic.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from rnnjax import app, dynamics
from rnnjax.app import resolve
from rnnjax.plotting import draw_bifurcations, save
from rnnjax.runs import Workdir, print_table

FLAGS = app.study_flags(network=False)
flags.DEFINE_list(
    "systems",
    ["logistic", "unit", "network"],
    "What to draw: logistic, x' = r x (1 - x); unit, h' = tanh(w h + b); network, h' = tanh(g W h) with a random W.",
    flag_values=FLAGS,
)
flags.DEFINE_integer("columns", 1000, "Values of the parameter; a fifth of it for the network.", 10, flag_values=FLAGS)
flags.DEFINE_integer("points", 1_000_000, "Points per picture; a tenth of it for the network.", 1000, flag_values=FLAGS)
flags.DEFINE_float("bias", 0.1, "b of the unit.", flag_values=FLAGS)
flags.DEFINE_integer("units", 100, "Units of the network.", 2, flag_values=FLAGS)
flags.DEFINE_integer(
    "steps", 500, "Steps for each Lyapunov exponent, after as many that are discarded.", 10, flag_values=FLAGS
)


class Family(NamedTuple):
    """Maps with a parameter.

    Attributes:
      of: parameter -> map.
      low, high: range of the parameter.
      starts: of orbits, `[n, N]`.
      names: of the parameter and of the plotted state.
      title: of the picture.
      part: fraction of --columns and of --points to use.
    """

    of: Callable[[jax.Array], Callable[[jax.Array], jax.Array]]
    low: float
    high: float
    starts: jax.Array
    names: tuple[str, str]
    title: str
    part: tuple[int, int] = (1, 1)


def logistic(config: app.Config) -> Family:
    """The logistic map: period doubling and chaos."""
    return Family(dynamics.logistic, 2.5, 4.0, jnp.array([[0.4]]), ("r", "x"), "logistic map $x' = r x (1 - x)$")


def draw_unit(config: app.Config) -> Family:
    """One recurrent unit, from both sides: one attractor, two of them, or one of period two."""
    starts = jnp.array([[-0.9], [0.9]])
    title = f"one recurrent unit, $h' = \\tanh(w h + {config.bias:g})$"
    return Family(lambda w: lambda h: jnp.tanh(w * h + config.bias), -3.0, 3.0, starts, ("w", "h"), title)


def network(config: app.Config) -> Family:
    """A random network: at rest, then oscillating, then chaotic."""
    n = config.units
    w = jax.random.normal(jax.random.key(config.seed), (n, n)) / jnp.sqrt(float(n))
    starts = 0.5 * jax.random.normal(jax.random.fold_in(jax.random.key(config.seed), 1), (1, n))
    radius = abs(np.linalg.eigvals(np.asarray(w))).max()
    title = f"random network, $h' = \\tanh(g W h)$, {n} units, spectral radius of $W$ {radius:.2f}"
    return Family(lambda g: lambda h: jnp.tanh(g * (w @ h)), 0.5, 3.0, starts, ("g", "h_1"), title, (5, 10))


SYSTEMS = {"logistic": logistic, "unit": draw_unit, "network": network}


def run(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Draws each system, and reports where its largest exponent is above zero."""
    (config,) = configs.values()
    chosen = {name: resolve("systems", name, SYSTEMS) for name in config.systems}
    rows = [{"": name} | draw(name, make(config), config, workdir) for name, make in chosen.items()]
    print_table(rows, title="\nbifurcations")
    print("pictures: " + ", ".join(str(workdir.file(f"{name}.{config.picture}")) for name in chosen))
    return app.Findings({"systems": rows})


def draw(name: str, family: Family, config: app.Config, workdir: Workdir) -> dict[str, Any]:
    """Draws the picture of a system and returns its row of the table."""
    k = max(2, config.columns // family.part[0])
    values = jnp.linspace(family.low, family.high, k)
    steps = max(1, config.points // family.part[1] // k // len(family.starts))
    begun = time.perf_counter()
    points = jax.jit(lambda v: dynamics.bifurcation(family.of, v, family.starts, steps))(values).block_until_ready()
    seconds = time.perf_counter() - begun
    rate = lambda v: dynamics.lyapunov(family.of(v), family.starts[-1], config.steps, config.steps, count=1)[0]
    rates = np.asarray(jax.jit(jax.vmap(rate))(values))
    save(workdir.file(f"{name}.{config.picture}"), draw_bifurcations(values, points, rates, family.names, family.title))
    chaotic = np.asarray(values)[rates > 1e-2]
    return {
        "points": points.size,
        "seconds": seconds,
        "first chaotic value": float(chaotic[0]) if chaotic.size else None,
        "largest exponent": float(rates.max()),
        "at the end": float(rates[-1]),
    }


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that describe nothing to draw."""
    (config,) = configs.values()
    for name in config.systems:
        resolve("systems", name, SYSTEMS)


EXPERIMENT = app.Study(run, FLAGS, description=__doc__, check=check)

if __name__ == "__main__":
    app.main(EXPERIMENT)
