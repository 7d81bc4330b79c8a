"""Figures of an audit of gradient estimates, drawn from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import ArrayLike

from rnnjax.base._arguments import check_dict
from rnnjax.plotting._curves import COLOURS, GREY, Run, draw_curves

_FLOOR = 1e-8  # smaller values are drawn at the left edge


class Line(NamedTuple):
    """The numbers to draw for one rule.

    Attributes:
      bias: the distance of the mean estimate from the exact gradient, divided by the norm of the exact gradient.
      error: the standard error of the bias.
      noise: the standard deviation of one estimate, divided by the same norm; 0: none.
      delivered: for each range of lags, the fraction of the exact gradient that the rule recovers.
      errors: the standard errors of `delivered`.
    """

    bias: float
    error: float
    noise: float
    delivered: ArrayLike
    errors: ArrayLike


class AuditPanel(NamedTuple):
    """The numbers to draw for one network.

    Attributes:
      lines: the lines by the name of the rule.
      lags: the names of the ranges of lags.
      norms: for each range, the norm of its part of the exact gradient.
    """

    lines: Mapping[str, Line]
    lags: Sequence[str]
    norms: ArrayLike


def draw_audits(panels: Mapping[str, AuditPanel]) -> Figure:
    """Draws, for each network, how far each rule is from the exact gradient and how far back in time it reaches.

    Args:
      panels: the panels by the name of the network.

    Example:
      >>> rule = Line(0.1, 0.0, 0.0, [1.0, 0.5], [0.0, 0.0])
      >>> len(draw_audits({"lstm": AuditPanel({"tbptt 5": rule}, ["0", "1-9"], [0.8, 0.3])}).axes)
      2
    """
    check_dict("draw_audits: panels", panels, AuditPanel, some=True)
    rows = [1.6 + 0.27 * len(panel.lines) for panel in panels.values()]
    lags = max((len(panel.lags) for panel in panels.values()), default=1)
    figure = Figure(figsize=(5.5 + 0.7 * lags, sum(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    ratios = {"height_ratios": rows, "width_ratios": [4, 0.7 * lags]}
    grid = figure.subplots(len(panels), 2, squeeze=False, sharey="row", gridspec_kw=ratios)
    for (left, right), (name, panel) in zip(grid, panels.items()):
        _draw_errors(left, name, panel)
        _draw_lags(right, panel)
    return figure


def _draw_errors(axes: Axes, name: str, panel: AuditPanel) -> None:
    """Draws the bias as a dot with two standard errors and the noise as a ring, on a logarithmic axis."""
    axes.set_xscale("log")
    for i, line in enumerate(panel.lines.values()):
        bias, colour = max(line.bias, _FLOOR), COLOURS[1] if line.noise else COLOURS[0]
        if line.error:
            ends = [max(bias - 2 * line.error, _FLOOR), bias + 2 * line.error]
            axes.plot(ends, [i, i], color=colour, linewidth=1.5)
        axes.plot([bias], [i], "o", color=colour, markersize=6)
        if line.noise:
            axes.plot([line.noise], [i], "o", color=colour, markersize=6, markerfacecolor="white")
    axes.set_yticks(range(len(panel.lines)), list(panel.lines))
    axes.set_ylim(len(panel.lines) - 0.5, -0.5)
    axes.set_xlim(left=_FLOOR / 1.5)
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set_title(f"{name}: distance from the exact gradient g", loc="left", fontsize=10.5)
    axes.set_xlabel("over |g|; dot: bias, two standard errors; ring: noise", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)


def _draw_lags(axes: Axes, panel: AuditPanel) -> None:
    """Draws the recovered fractions as numbers in coloured cells, grey if dominated by noise."""
    shares = np.array([np.asarray(line.delivered, float) for line in panel.lines.values()])
    errors = np.array([np.asarray(line.errors, float) for line in panel.lines.values()])
    unsure = 2 * errors > 0.5
    fields = np.where(unsure, np.nan, np.clip(shares, 0, 1)).reshape(-1, len(panel.lags))
    axes.imshow(fields, cmap="Blues", vmin=0, vmax=1.6, aspect="auto", interpolation="nearest")
    axes.set_facecolor("#EEEEEE")
    for (i, k), share in np.ndenumerate(shares):
        chance = errors[i, k] >= 0.005
        text = f"{round(share, 2) + 0.0:.2f}" + (f"\n$\\pm${errors[i, k]:.2g}" if chance else "")
        colour = GREY if unsure[i, k] else "black"
        axes.text(k, i, text, ha="center", va="center", fontsize=6 if chance else 7.5, linespacing=0.95, color=colour)
    names = [f"{lag}\n{norm:.2g}" for lag, norm in zip(panel.lags, np.asarray(panel.norms, float))]
    axes.set_xticks(range(len(panel.lags)), names, fontsize=8)
    axes.tick_params(length=0, labelleft=False)
    axes.spines[:].set_visible(False)
    axes.set_title("share of g that arrives", loc="left", fontsize=10.5)
    axes.set_xlabel("lag in steps; below it the norm of this part of g, over |g|", fontsize=9)


def draw_against_truncation(lines: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str) -> Figure:
    """Draws the error of the gradient against the truncation: how many steps a gradient looks back.

    Args:
      lines: (truncations, errors) by name.
      title: the title above the figure.

    Example:
      >>> draw_against_truncation({"lstm": ([1, 10], [0.5, 0.1])}, "tbptt").axes[0].get_xscale()
      'log'
    """
    check_dict("draw_against_truncation: lines", lines, tuple, some=True)
    runs = {name: Run(valid_steps=truncations, valid=errors) for name, (truncations, errors) in lines.items()}
    figure = draw_curves(
        runs, xlabel="truncation (steps)", ylabel="|estimate - exact| / |exact|", title=title, log=False
    )
    axes = figure.axes[0]
    axes.set_ylim(0, max(1.05, axes.get_ylim()[1]))
    axes.set_xscale("log")
    ticks = sorted({int(k) for truncations, _ in lines.values() for k in np.asarray(truncations)})
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return figure
