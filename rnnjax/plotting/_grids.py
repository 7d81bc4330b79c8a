"""Figures of many panels: curves on logarithmic axes, and maps of numbers over two settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from rnnjax.base._arguments import check_array, check_dict, check_list
from rnnjax.plotting._curves import COLOURS, DASHES, GREY, LOG_SPAN, Run

_MARKERS = "osD^vP"
_COLUMNS = 5  # maps beside each other
_FEW = 6  # values that get a tick each


def draw_grid(
    rows: Mapping[str, Mapping[str, Mapping[str, Run]]],
    *,
    title: str = "",
    baselines: Mapping[str, Mapping[str, float]] | None = None,
) -> Figure:
    """Draws one quantity against several others: a row of panels for each name, logarithmic axes, bars as intervals.

    Args:
      rows: {label of the vertical axis: {label of the horizontal axis: {name: run}}}; the points of a run are
        `valid_steps`, `valid`, and its interval `low`, `high`. Values that are not finite are left out.
      title: the title above the figure.
      baselines: horizontal lines by name, for each row by its label.

    Example:
      >>> run = Run(valid_steps=[1, 10], valid=[0.1, 0.01])
      >>> figure = draw_grid({"loss": {"window": {"tbptt": run}, "operations": {"tbptt": run}}})
      >>> [axes.get_xlabel() for axes in figure.axes]
      ['window', 'operations']
    """
    columns = _columns_of(rows)
    figure = Figure(figsize=(1.0 + 4.2 * len(columns), 0.6 + 2.7 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex="col", sharey="row")
    for i, (ylabel, row) in enumerate(rows.items()):
        for axes, xlabel in zip(grid[i], columns):
            _draw_points(axes, row[xlabel], (baselines or {}).get(ylabel, {}))
            axes.set_xlabel(xlabel if i == len(rows) - 1 else "")
        grid[i, 0].set_ylabel(ylabel)
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", frameon=False)
    figure.suptitle(title, fontsize=11)
    return figure


def _columns_of(rows: Mapping[str, Mapping[str, Mapping[str, Run]]]) -> list[str]:
    """Returns the labels of the columns, the same in every row."""
    check_dict("draw_grid: rows", rows, dict, some=True)
    columns = list(next(iter(rows.values())))
    for ylabel, row in rows.items():
        check_dict(f"draw_grid: row {ylabel!r:.40}", row, dict, some=True)
        if set(row) != set(columns):
            raise ValueError(f"draw_grid: all rows have the columns of the first, {columns}, got {list(row)}")
        for runs in row.values():
            check_dict(f"draw_grid: a panel of {ylabel!r:.40}", runs, Run, some=True)
    return columns


def _draw_points(axes: Axes, runs: Mapping[str, Run], baselines: Mapping[str, float]) -> None:
    """Draws the points of each run, joined, with their intervals."""
    for i, (name, run) in enumerate(runs.items()):
        x, y = np.asarray(run.valid_steps, float), np.asarray(run.valid, float)
        low, high = (np.asarray(end, float) if np.size(end) else y for end in (run.low, run.high))
        good = np.isfinite(y) & np.isfinite(high)
        x, y, low, high = (a[good] for a in (x, y, low, high))
        ends = np.maximum(np.stack([y - low, high - y]), 0)
        colour, marker = COLOURS[i % len(COLOURS)], _MARKERS[i % len(_MARKERS)]
        axes.errorbar(x, y, ends, label=name, color=colour, marker=marker, ms=5, lw=1.5, capsize=2)
    for name, level in baselines.items():
        axes.axhline(level, color=GREY, lw=1, ls=DASHES, zorder=1, label=name)
    axes.set(xscale="log", yscale="log")
    ticks = {float(x) for run in runs.values() for x in np.asarray(run.valid_steps, float)}
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    if len(ticks) <= _FEW:
        axes.set_xticks(sorted(ticks))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5", lw=0.8)
    axes.set_axisbelow(True)


def draw_maps(
    maps: Mapping[str, ArrayLike],
    *,
    x: Sequence[str],
    y: Sequence[str],
    xlabel: str,
    ylabel: str,
    label: str,
    title: str = "",
    top: float = float("inf"),
) -> Figure:
    """Draws numbers over two settings as colours: a small map for each name, all with one scale.

    Args:
      maps: by name, `[len(y), len(x)]`; nan, for what has no number, is white.
      x, y: the values of the settings, as text.
      xlabel, ylabel: the settings.
      label: the number, with its unit.
      title: the title above the figure.
      top: larger numbers have the last colour.

    Raises:
      ValueError: a map has another shape.

    Example:
      >>> figure = draw_maps({"gru": [[0.1, 0.2]]}, x=["1e-3", "1e-2"], y=["1"], xlabel="rate", ylabel="factor",
      ...                    label="loss")
      >>> figure.axes[0].get_title()
      'gru'
    """
    check_dict("draw_maps: maps", maps, some=True)
    check_list("draw_maps: x", x, str, some=True)
    check_list("draw_maps: y", y, str, some=True)
    values = {n: np.asarray(check_array("draw_maps: a map", a, "[y, x]"), float) for n, a in maps.items()}
    for name, a in values.items():
        if a.shape != (len(y), len(x)):
            raise ValueError(f"draw_maps: {name} is [{len(y)}, {len(x)}], one number for each y and x, got {a.shape}")
    columns = min(len(values), _COLUMNS)
    lines = -(-len(values) // columns)
    figure = Figure(figsize=(1.6 + 2.1 * columns, 1.1 + 1.7 * lines), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    scale = _scale_of(np.concatenate([a.ravel() for a in values.values()]), top)
    for axes, (name, a) in zip(grid.flat, values.items()):
        image = axes.imshow(a, cmap="viridis_r", norm=scale, aspect="auto", origin="lower", interpolation="nearest")
        axes.set_title(name, fontsize=10)
        shown = range(0, len(x), max(1, (len(x) - 1) // 3))
        axes.set_xticks(shown, [x[i] for i in shown], fontsize=7)
        axes.set_yticks(range(len(y)), y, fontsize=7)
    for axes in grid.flat[len(values) :]:
        axes.set_axis_off()
    figure.supxlabel(xlabel, fontsize=9)
    figure.supylabel(ylabel, fontsize=9)
    figure.colorbar(image, ax=grid, label=label, fraction=0.03, pad=0.02, extend="max" if np.isfinite(top) else None)
    figure.suptitle(title, fontsize=11)
    return figure


def _scale_of(values: np.ndarray, top: float) -> Normalize:
    """Returns one scale for all numbers, logarithmic if they span much."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), min(float(finite.max()), top)) if finite.size else (0.0, 1.0)
    return LogNorm(low, high) if low > 0 and high / low > LOG_SPAN else Normalize(low, high)
