"""Figures of eigenvalues and singular values, drawn from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from rnnjax.base._arguments import check_array, check_dict
from rnnjax.plotting._curves import COLOURS, DASHES, GREY

_FAR = 3.0  # eigenvalues beyond this modulus are counted, not drawn
_LINES = 6  # the number of lags whose spectra are drawn
_DEEP = 20.0  # how many powers of ten below the largest value are drawn


def draw_singular_values(panels: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """Draws the singular values of d h_T / d h_t in descending order, one line per lag and one panel per network.

    Args:
      panels: (lags `[k]`, natural logarithms of the values `[k, N]`) by name.

    Example:
      >>> draw_singular_values({"trained": ([1], [[0.0, -1.0]])}).axes[0].get_title("left")
      'trained'
    """
    check_dict("draw_singular_values: panels", panels, tuple, some=True)
    for name, (lags, logs) in panels.items():
        found = check_array(f"draw_singular_values: {name!r:.40}", logs, "[k, N]", some=True).shape
        if np.shape(lags) != found[:1]:
            raise ValueError(
                f"draw_singular_values takes lags [k] and logs [k, N], got {list(np.shape(lags))}, {[*found]}"
            )
    figure = Figure(figsize=(0.9 + 3.6 * len(panels), 3.7), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    tops = [np.asarray(logs, float)[:, 0].max() for _, logs in panels.values()]
    for axes, (title, (lags, logs)) in zip(grid, panels.items()):
        lags, tens = np.asarray(lags), np.asarray(logs, float) / np.log(10)
        shown = np.unique(np.linspace(0, len(lags) - 1, _LINES).round().astype(int))
        for i, colour in zip(shown, colormaps["viridis"](np.linspace(0, 0.88, len(shown)))):
            values = np.where(tens[i] > max(tops) / np.log(10) - _DEEP, tens[i], np.nan)
            marker = "o" if np.isfinite(values).sum() < 3 else None
            axes.plot(np.arange(1, values.size + 1), values, marker=marker, color=colour, label=f"{lags[i]:,}")
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
        axes.set_title(title, loc="left", fontsize=10.5)
        axes.set_xlabel("number, the largest first")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _dressed(axes)
    grid[0].set_ylabel(r"$\log_{10}$ singular value of $\partial h_T / \partial h_t$")
    grid[-1].legend(
        title="lag $T - t$ (steps)", loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9
    )
    return figure


def draw_clouds(rows: Mapping[str, Mapping[str, Sequence[ArrayLike]]]) -> Figure:
    """Draws clouds of eigenvalues in the complex plane together with the unit circle.

    Args:
      rows: eigenvalues, an array per matrix, by the name of the row and then by the time in training.

    Example:
      >>> draw_clouds({"recurrent matrix": {"step 0": [[1j, -1j]]}}).axes[0].get_ylabel()
      'recurrent matrix\\nimaginary part'
    """
    check_dict("draw_clouds: rows", rows, Mapping, some=True)
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    figure = Figure(figsize=(0.7 + 2.9 * len(columns), 0.5 + 3.0 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharex="row", sharey="row")
    for i, (line, (name, row)) in enumerate(zip(grid, rows.items())):
        every = np.concatenate([np.abs(np.ravel(a)) for some in row.values() for a in some])
        radius = 1.08 * max(1.0, min(_FAR, float(every.max(initial=1.0))))
        for axes, title in zip(line, columns):
            _cloud(axes, row.get(title, ()), radius)
            axes.set_title("" if i else title, loc="left", fontsize=10.5)
        line[0].set_ylabel(f"{name}\nimaginary part")
    for axes in grid[-1]:
        axes.set_xlabel("real part")
    return figure


def _cloud(axes: Axes, matrices: Sequence[ArrayLike], radius: float) -> None:
    """Draws one cloud and the unit circle, and writes how many eigenvalues lie outside the axes."""
    turn = np.exp(2j * np.pi * np.linspace(0, 1, 200))
    axes.plot(turn.real, turn.imag, color=GREY, linewidth=1, linestyle=DASHES, zorder=1)
    values = np.concatenate([np.ravel(np.asarray(a, complex)) for a in matrices]) if matrices else np.zeros(0, complex)
    size, alpha = (14, 0.8) if values.size < 200 else (7, 0.45)
    axes.scatter(values.real, values.imag, size, color=COLOURS[0], alpha=alpha, linewidths=0, zorder=2)
    outside = int((np.maximum(abs(values.real), abs(values.imag)) > radius).sum())
    if outside:
        axes.annotate(f"{outside} outside", (0.03, 0.96), xycoords="axes fraction", va="top", fontsize=8.5, color=GREY)
    axes.set_xlim(-radius, radius)
    axes.set_ylim(-radius, radius)
    axes.set_aspect("equal")
    _dressed(axes)


def _dressed(axes: Axes) -> None:
    """Removes the top and right spines and draws a light grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
