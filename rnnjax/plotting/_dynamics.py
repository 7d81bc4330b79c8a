"""Figures of dynamical systems, drawn from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike

from rnnjax.base._arguments import check_array, check_dict
from rnnjax.plotting._curves import COLOURS, GREY, STYLES

_FEWEST, _MOST = 1e-20, 1e20  # values outside this range are not drawn
_LOWEST = 2.0  # exponents below minus this are not drawn: at superstable points they diverge to -inf


class Panel(NamedTuple):
    """The lines to draw for one network.

    Attributes:
      lines: natural logarithms over time, by name. From the fourth line on they are drawn as bands behind the first
        three. A line is drawn straight across times where it is nan.
      note: a note below the title.
    """

    lines: Mapping[str, ArrayLike]
    note: str = ""


def draw_flows(panels: Mapping[str, Panel], xlabel: str, ylabel: str) -> Figure:
    """Draws lines given as natural logarithms, one panel per network, on a shared logarithmic axis.

    Args:
      panels: the panels by the name of the network.
      xlabel, ylabel: the labels of the axes.

    Example:
      >>> draw_flows({"lstm": Panel({"bound": [0.2, 0.1, 0.0]})}, "t (steps)", "norm").axes[0].get_yscale()
      'log'
    """
    check_dict("draw_flows: panels", panels, Panel, some=True)
    figure = Figure(figsize=(0.9 + 3.2 * len(panels), 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel.lines))
    low, high = _limits(panels)
    ends = np.log10([low, high])
    stride = int(np.ceil((ends[1] - ends[0]) / 8))
    ticks = 10.0 ** (stride * np.arange(np.ceil(ends[0] / stride), np.floor(ends[1] / stride) + 1))
    for axes, (title, panel) in zip(grid, panels.items()):
        for name, logs in panel.lines.items():
            i = names.index(name)
            logs = np.asarray(logs, float)
            at = np.flatnonzero(~np.isnan(logs))
            values = np.exp(np.clip(logs[at], -600, 600))
            form = {"linestyle": STYLES[i], "linewidth": 2} if i < 3 else {"linewidth": 5, "alpha": 0.5, "zorder": 1.5}
            axes.plot(at, values, color=COLOURS[i], label=name, **form)
        axes.axhline(1, color=GREY, linewidth=0.8, zorder=1)
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.set_yticks(ticks, minor=False)
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_title(title + (f"\n{panel.note}" if panel.note else ""), loc="left", fontsize=10.5)
        axes.set_xlabel(xlabel)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#E5E5E5", linewidth=0.8)
        axes.margins(x=0.01)
    grid[0].set_ylabel(ylabel)
    known = {label: line for axes in grid for line, label in zip(*axes.get_legend_handles_labels())}
    figure.legend([known[n] for n in names], names, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _limits(panels: Mapping[str, Panel]) -> tuple[float, float]:
    """Returns the powers of ten that enclose all lines, up to a limit."""
    logs = np.concatenate([np.asarray(a, float) for p in panels.values() for a in p.lines.values()]) / np.log(10)
    logs = logs[np.isfinite(logs)]
    low, high = np.floor(logs.min(initial=-0.5)), np.ceil(logs.max(initial=0.5))
    return max(10.0**low, _FEWEST), min(10.0**high, _MOST)


def draw_portrait(
    points: ArrayLike, orbits: Mapping[str, ArrayLike], title: str, names: Sequence[str] = "xy"
) -> Figure:
    """Draws a phase portrait: the density of the points of a chaotic system, and single orbits.

    Args:
      points: `[n, 2]`; a million points take no longer to draw than a thousand.
      orbits: points `[k, 2]` by the name of the orbit.
      title: the title above the figure.
      names: the names of the two axes.

    Example:
      >>> import numpy as np
      >>> draw_portrait(np.eye(2), {}, "two points").axes[0].get_xlabel()
      '$x$'
    """
    x, y = _points("points", points).T
    check_dict("draw_portrait: orbits", orbits)
    counts, xs, ys = np.histogram2d(x, y, bins=300)
    figure = Figure(figsize=(6.4, 6.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    norm = LogNorm(1, max(counts.max(), 2))
    field = np.ma.masked_equal(counts.T, 0)
    image = axes.pcolormesh(xs, ys, field, cmap="viridis_r", norm=norm, rasterized=True)
    for i, (name, orbit) in enumerate(orbits.items()):
        ox, oy = _points(f"the orbit {name!r:.40}", orbit).T
        axes.plot(ox, oy, "o", color=COLOURS[1 + i], markersize=2.5, label=name)
    wide = (xs[-1] - xs[0]) / (ys[-1] - ys[0])
    axes.set_aspect("equal" if 1 / 3 < wide < 3 else "auto")
    axes.use_sticky_edges = False
    axes.margins(0.03)
    axes.set_xlabel(f"${names[0]}$")
    axes.set_ylabel(f"${names[1]}$")
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    figure.colorbar(image, label="points in a field", shrink=0.7)
    if orbits:
        figure.legend(loc="outside lower center", ncols=len(orbits), frameon=False, fontsize=9, markerscale=2)
    return figure


def _points(what: str, points: ArrayLike) -> np.ndarray:
    """Returns points of a plane `[n, 2]`, finite."""
    array = np.asarray(check_array(f"draw_portrait: {what}", points, "[n, 2]", some=True), float)
    if array.shape[1] != 2 or not np.isfinite(array).all():
        raise ValueError(f"draw_portrait: {what} are finite [n, 2], got {list(array.shape)}, or nan or inf among them")
    return array


def draw_bifurcations(
    values: ArrayLike, points: ArrayLike, exponents: ArrayLike, names: tuple[str, str], title: str = ""
) -> Figure:
    """Draws a bifurcation diagram as a density, with the largest Lyapunov exponent below it.

    Args:
      values: the values of the parameter, `[k]`, evenly spaced.
      points: the states on which orbits settle for each value, `[k, n]`.
      exponents: `[k]`, in nats per step.
      names: the names of the parameter and of the recorded quantity.
      title: the title above the figure.

    Example:
      >>> draw_bifurcations([1, 2], [[0.0], [0.5]], [0.0, -9.0], ("r", "x")).axes[1].get_xlabel()
      '$r$'
    """
    wanted = (("values", values, "[k]"), ("points", points, "[k, n]"), ("exponents", exponents, "[k]"))
    values, points, exponents = (
        np.asarray(check_array(f"draw_bifurcations: {what}", a, axes, some=True), float) for what, a, axes in wanted
    )
    if not len(values) == len(points) == len(exponents) or not np.isfinite(values).all():
        sizes = f"{len(values)}, {len(points)} and {len(exponents)}"
        raise ValueError(f"draw_bifurcations takes k finite values, points [k, n] and k exponents, got {sizes}")
    figure = Figure(figsize=(7.2, 5.8), layout="constrained")
    FigureCanvasAgg(figure)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    at = np.broadcast_to(values[:, None], points.shape)
    counts, xs, ys = np.histogram2d(at.ravel(), points.ravel(), bins=(min(len(values), 600), 300))
    shares = np.ma.masked_equal(counts / counts.sum(1, keepdims=True).clip(1), 0)
    norm = LogNorm(shares.min(), 1)
    image = top.pcolormesh(xs, ys, shares.T, cmap="viridis_r", norm=norm, rasterized=True)
    figure.colorbar(image, ax=top, label="share of the points", pad=0.01)
    top.set_ylabel(f"${names[1]}$")
    top.set_title(title, loc="left", fontsize=11)
    below.plot(values, exponents, color=COLOURS[1], linewidth=1)
    below.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    below.set_ylim(max(np.nanmin(exponents), -_LOWEST) - 0.1, np.nanmax(exponents) + 0.1)
    below.set_ylabel("largest Lyapunov\nexponent (nats a step)")
    below.set_xlabel(f"${names[0]}$")
    below.grid(color="#E5E5E5", linewidth=0.8)
    for axes in (top, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
    figure.align_ylabels()
    return figure
