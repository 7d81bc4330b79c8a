"""Line attractors: slow points of a network at rest that lie along a line, and what moves the state along it.

The network keeps a number as the place on the line: there its Jacobian J has an eigenvalue near 1 in the direction a of
the line. An input with the derivative b moves the state along it by a . J^k b, once k steps have let the rest decay.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from rnnjax import dynamics
from rnnjax.plotting import save

SETTLING, SEARCH = 10, 8  # steps without evidence, then damped Newton steps: too few to slide along the line
Advance = Callable[[jax.Array, jax.Array], jax.Array]


class Line(NamedTuple):
    """Slow points, in the order in which they lie along their first principal axis.

    Attributes:
      points: `[k, N]`.
      axis: `[N]`, of length 1.
      share: of the points' variance, how much lies along the axis.
      along: `[k]`, the modulus of the eigenvalue whose direction is nearest to the axis.
      across: `[k]`, the largest modulus of the others.
      push: `[inputs]`, how far a unit of each input, shown for one step, has moved the state along the axis `SETTLING`
        steps later: the mean over the points.
    """

    points: np.ndarray
    axis: np.ndarray
    share: float
    along: np.ndarray
    across: np.ndarray
    push: np.ndarray


def find_line(advance: Advance, x: jax.Array, starts: jax.Array, tolerance: float, axis: np.ndarray) -> Line | None:
    """Returns the slow points under an input held fixed, or None if there are fewer than three.

    Args:
      advance: (h, x) -> h', with vectors `[N]` and `[inputs]`.
      x: the input.
      starts: `[n, N]`.
      tolerance: how far a step may move a slow point, as a share of the spread of the settled starts.
      axis: `[N]`; the line's axis is turned to the same side.
    """
    starts = jax.lax.fori_loop(0, SETTLING, lambda _, h: jax.vmap(advance, (0, None))(h, x), starts)
    spread = float(jnp.sqrt(starts.var(0).sum()))
    found = dynamics.fixed_points(
        lambda h: advance(h, x), starts, steps=SEARCH, tolerance=tolerance * spread, distance=0.02 * spread
    )
    if len(found.h) < 3:
        return None
    _, values, axes = np.linalg.svd(found.h - found.h.mean(0), full_matrices=False)
    along = axes[0] * (1 if axes[0] @ axis >= 0 else -1)
    points = found.h[np.argsort(found.h @ along)]
    own, others, push = at_the_line(advance, x, points, along)
    return Line(points, along, float(values[0] ** 2 / (values**2).sum()), own, others, push)


def at_the_line(
    advance: Advance, x: jax.Array, points: np.ndarray, axis: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns `Line.along`, `Line.across` and `Line.push`."""
    derivatives = jax.jit(jax.vmap(jax.jacfwd(advance, (0, 1)), in_axes=(0, None)))(jnp.asarray(points), x)
    states, inputs = (np.asarray(d, np.float64) for d in derivatives)
    values, right = np.linalg.eig(states)
    at = abs(axis @ right).argmax(1)
    others = np.where(np.arange(values.shape[1]) == at[:, None], 0, abs(values)).max(1)
    push = np.einsum("n,knm,kmi->ki", axis, np.linalg.matrix_power(states, SETTLING), inputs)
    return abs(values[np.arange(len(points)), at]), others, push.mean(0)


def draw(path: Path, lines: dict[str, Line], states: dict[str, np.ndarray], evidence: list[float], title: str) -> None:
    """Draws the points of each line, and mean trajectories, coloured by their evidence.

    Args:
      path: of the picture.
      lines: by the name of the panel.
      states: `[evidence, T, N]`, by the name of the panel.
      evidence: of each trajectory.
      title: above the panels.
    """
    figure = Figure(figsize=(4.6 * len(lines), 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    colour, shade = colormaps["coolwarm"], Normalize(min(evidence), max(evidence))
    for axes, (name, line) in zip(np.ravel(figure.subplots(1, len(lines), squeeze=False)), lines.items()):
        mean = line.points.mean(0)
        rest = states[name].reshape(-1, len(mean)) - mean
        rest = rest - (rest @ line.axis)[:, None] * line.axis
        second = np.linalg.svd(rest, full_matrices=False)[2][0]
        for c, path_of in zip(evidence, states[name]):
            axes.plot((path_of - mean) @ line.axis, (path_of - mean) @ second, color=colour(shade(c)), linewidth=1.2)
        axes.plot((line.points - mean) @ line.axis, (line.points - mean) @ second, "k.", markersize=5, zorder=3)
        axes.set(xlabel="along the slow points", ylabel="the other way the states vary most")
        axes.set_title(name, loc="left", fontsize=10)
    figure.suptitle(title, fontsize=10)
    save(path, figure)
