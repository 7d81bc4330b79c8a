"""Dynamics: gradient flow through untrained networks, and the orbits of classical chaotic systems.

Nothing is trained: each cell in `--cell` runs over random inputs, and each system in `--systems` from many starts. Look
at how fast the norm of the gradient decays or grows with distance, at the phase portraits, and at the Lyapunov
exponents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

import rnnjax
from rnnjax import app, dynamics, plotting
from rnnjax.app import is_plain, panel_lines, resolve
from rnnjax.base import Cell, PyTree, UserError
from rnnjax.plotting import Panel
from rnnjax.runs import Workdir, print_table

FLAGS = app.study_flags(cell="vanilla,lstm,urnn", hidden_size="32")
flags.DEFINE_integer("length", 100, "Steps of the sequence through which gradients flow.", 2, flag_values=FLAGS)
flags.DEFINE_integer("features", 4, "Normal inputs at each step.", 1, flag_values=FLAGS)
flags.DEFINE_integer("unfold", 3, "Steps of the unfolded graphs to draw; 0: none.", 0, 20, flag_values=FLAGS)
flags.DEFINE_list(
    "systems", ["gingerbread"], "Systems to draw: gingerbread, henon, lorenz, mackey_glass.", flag_values=FLAGS
)
flags.DEFINE_integer("points", 1_000_000, "Points of each phase portrait.", 1000, flag_values=FLAGS)
flags.DEFINE_integer("steps", 40_000, "Steps for each Lyapunov exponent of a system.", 100, flag_values=FLAGS)

STARTS = 1000  # orbits of a portrait, which run side by side


class System(NamedTuple):
    """A classical system.

    Attributes:
      step: the map.
      start: of the chaotic orbit.
      known: its exponents from the literature; if empty, they are not measured.
      dt: time of a step.
      plane: the two coordinates that are drawn.
      names: of these coordinates.
      regular: further orbits to draw, by name.
      burn: steps of each orbit before it is drawn.
      spread: standard deviation of a random offset of each start, for systems in which near orbits stay close for long.
    """

    step: Callable[[jax.Array], jax.Array]
    start: tuple[float, ...]
    known: tuple[float, ...]
    dt: float = 1.0
    plane: tuple[int, int] = (0, 1)
    names: Sequence[str] = "xy"
    regular: dict[str, tuple[float, float]] = {}  # noqa: RUF012
    burn: int = 2000
    spread: float = 0.0


SYSTEMS = {
    "gingerbread": System(
        dynamics.gingerbread,
        (0.5, 3.7),
        (0.078, -0.078),
        regular={"regular, from (0.1, 0.1)": (0.1, 0.1), "regular, from (-1.25, 2.35)": (-1.25, 2.35)},
    ),
    "henon": System(dynamics.henon, (0.1, 0.1), (0.419, -1.623)),
    "lorenz": System(dynamics.rk4(dynamics.lorenz, 0.01), (1.0, 1.0, 20.0), (0.906, 0.0, -14.572), 0.01, (0, 2), "xz"),
    "mackey_glass": System(
        dynamics.mackey_glass(17.0, 0.1), (1.2,) * 171, (), 0.1, (170, 0), ("x(t)", "x(t - 17)"), {}, 5000, 0.3
    ),
}


def run(configs: dict[str, app.Config], workdir: Workdir) -> app.Findings:
    """Draws gradient flow, matrix powers and portraits of the systems, and prints exponents."""
    config = next(iter(configs.values()))
    chosen = {name: resolve("systems", name, SYSTEMS) for name in config.systems}
    found = {name: network(c) for name, c in configs.items()}
    pictures = {name: workdir.file(f"{name}.{config.picture}") for name in ("flow", "powers", *chosen)}
    ylabel = r"norm of $\partial h_T / \partial h_t$"
    panels = {name: Panel(f["lines"], f"memory {f['row']['memory (steps)']} steps") for name, f in found.items()}
    plotting.save(pictures["flow"], plotting.draw_flows(panels, "t (steps)", ylabel))
    plotting.save(pictures["powers"], plotting.draw_flows(powers(), "k (steps)", "norm of the state after k steps"))
    for name, system in chosen.items():
        draw(name, system, config, pictures[name])
    if config.unfold:
        pictures |= {f"graph of {name}": unfolded(name, c, workdir) for name, c in configs.items()}
    exponents = [row for name, system in SYSTEMS.items() if system.known for row in measured(name, system, config)]
    networks = [{"": name} | f["row"] for name, f in found.items()]
    print_table(networks, title="\nnetworks before training, normal inputs")
    print_table(exponents, title="\nLyapunov exponents (nats per unit of time)")
    print("\npictures: " + ", ".join(map(str, pictures.values())))
    return app.Findings({"networks": networks, "systems": exponents})


def unfolded(name: str, config: app.Config, workdir: Workdir) -> Any:
    """Draws the network with a readout over a few steps, and returns the path of the picture."""
    path = workdir.file(f"graph-{name}.{config.picture}")
    cell, xs = rnnjax.stack(config.layers(), rnnjax.linear(2)), jnp.ones((config.unfold, config.features))
    graph = dynamics.unfold(cell, cell.init(jax.random.key(0), xs[0]), xs)
    plotting.save(path, plotting.draw_unfolded(graph, f"{name} over {config.unfold} steps"))
    return path


def network(config: app.Config) -> dict[str, Any]:
    """Returns the lines of a network's panel, as logarithms, and its row of the table."""
    cell, (params_key, key) = config.layers(), jax.random.split(jax.random.key(config.seed))
    xs = jax.random.normal(key, (config.length, config.features), jnp.dtype(config.dtype))
    params = cell.init(params_key, xs[0])
    found, rates = jax.jit(lambda params: analysed(cell, params, xs, is_plain(config)))(params)
    row = {
        "numbers of h": found.logs.shape[1],
        "memory (steps)": int(found.memory),
        "log10 norm": float(found.logs[-1, 0] / np.log(10)),
        "log10 bound": float(found.bound[0] / np.log(10)),
        "log10 smallest": float(found.logs[-1, -1] / np.log(10)),
        "largest exponent": float(rates[0]),
    }
    return {"lines": panel_lines(found), "row": row}


def analysed(cell: Cell, params: PyTree, xs: jax.Array, plain: bool) -> tuple[dynamics.Analysis, jax.Array]:
    """Returns the analysis of one sequence and the largest Lyapunov exponent."""
    rates = dynamics.cell_lyapunov(cell, params, xs, discard=len(xs) // 5, count=1)
    return dynamics.analysis(rnnjax.unroll(cell), params, xs, plain), rates


def powers() -> dict[str, Panel]:
    """Returns A^k h for A of spectral radius 0.9 and 1.2, with and without tanh, normal and non-normal."""
    turn = jnp.array([[0.6, 0.8], [-0.8, 0.6]])
    h = jnp.array([0.6, 0.8])
    kinds = {
        "A = 0.9 Q": 0.9 * turn,
        "A = 1.2 Q": 1.2 * turn,
        "A = ((0.9, 9), (0, 0.9))": jnp.array([[0.9, 9.0], [0.0, 0.9]]),
    }
    notes = ["Q a rotation", "Q a rotation", "not normal, radius 0.9"]

    def lines(a: jax.Array) -> dict[str, jax.Array]:
        forms = {r"$h \leftarrow A h$": lambda h: h, r"$h \leftarrow \tanh(A h)$": jnp.tanh}
        return {name: jnp.log(dynamics.powers(a, h, 100, f)) for name, f in forms.items()}

    return {name: Panel(lines(a), note) for (name, a), note in zip(kinds.items(), notes)}


def draw(name: str, system: System, config: app.Config, path: Any) -> None:
    """Draws a portrait of many orbits with nearby starts."""
    steps, plane = -(-config.points // STARTS), jnp.array(system.plane)
    key = jax.random.key(config.seed)
    near = 1e-3 * jax.random.normal(key, (STARTS, len(system.start)))
    near += system.spread * jnp.broadcast_to(jax.random.normal(key, (STARTS, 1)), near.shape)
    seen = jax.jit(jax.vmap(lambda h: dynamics.orbit(system.step, h, steps, system.burn, lambda h: h[plane])))
    points = np.asarray(seen(jnp.array([system.start]) + near)).reshape(-1, 2)
    regular = {label: dynamics.orbit(system.step, jnp.array(h), 600) for label, h in system.regular.items()}
    start = f" from near ({', '.join(f'{x:g}' for x in system.start)})"
    title = f"{name}: {len(points):,} points of {STARTS:,} orbits" + ("" if system.spread else start)
    plotting.save(path, plotting.draw_portrait(points, regular, title, system.names))


def measured(name: str, system: System, config: app.Config) -> list[dict[str, Any]]:
    """Returns rows of measured exponents beside known ones."""
    every = 10 if system.dt < 1 else 1
    steps = config.steps // every * every
    starts = 1e-3 * jax.random.normal(jax.random.key(config.seed), (16, len(system.start)))

    def mean(starts: jax.Array) -> jax.Array:
        one = lambda h: dynamics.lyapunov(system.step, h, steps // 4 // every * every, 1000, system.dt, every)
        return jax.vmap(one)(starts).mean(0)

    def row(label: str, start: tuple[float, ...], spread: jax.Array, known: tuple[float, ...]) -> dict[str, Any]:
        got = jax.jit(mean)(jnp.array([start]) + spread)
        pairs = zip(np.asarray(got, float).tolist(), known)
        return {"": label} | {
            f"{what} {i + 1}": value for i, pair in enumerate(pairs) for what, value in zip(("exponent", "known"), pair)
        }

    rows = [row(name, system.start, starts, system.known)]
    return rows + [row(f"{name}, {label}", h, 0 * starts, (0.0, 0.0)) for label, h in system.regular.items()]


def check(configs: dict[str, app.Config]) -> None:
    """Refuses flags that describe nothing to draw."""
    config = next(iter(configs.values()))
    for name in config.systems:
        resolve("systems", name, SYSTEMS)
    if any(c.dropout for c in configs.values()):
        raise UserError("--dropout: gradients flow here through one and the same network, without noise")
    if config.dtype == "bfloat16":
        raise UserError("--dtype=bfloat16: singular values and exponents need at least single precision")
    for c in configs.values():
        jax.eval_shape(c.layers().init, jax.random.key(0), jnp.ones(c.features, c.dtype))


def described(configs: dict[str, app.Config]) -> dict[str, tuple[Cell, Any]]:
    """Returns the networks with the shape of their input, for `--describe`."""
    return {
        name: (rnnjax.unroll(config.layers()), jnp.zeros((config.length, config.features), config.dtype))
        for name, config in configs.items()
    }


EXPERIMENT = app.Study(run, FLAGS, description=__doc__, check=check, networks=described)

if __name__ == "__main__":
    app.main(EXPERIMENT)
