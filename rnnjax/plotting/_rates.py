"""The figure of a test of learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from rnnjax.base._arguments import check_dict
from rnnjax.plotting._curves import COLOURS


class RateCurve(NamedTuple):
    """A test of learning rates, as `training.find_learning_rate` returns it: `RateCurve(*test)`.

    Attributes:
      rates: the learning rate of each step, `[steps]`.
      losses: the loss at each step, `[steps]`.
      smooth: the losses without their noise, `[steps]`.
      suggested: the rate to mark; nan for none.
      diverged: the rate from which on nothing is drawn; inf draws all.

    Example: see `draw_rates`.
      >>> RateCurve(np.array([0.1]), np.ones(1), np.ones(1)).diverged
      inf
    """

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    suggested: float = float("nan")
    diverged: float = float("inf")


def draw_rates(curves: Mapping[str, RateCurve], title: str = "", ylabel: str = "loss") -> Figure:
    """Draws the loss by the learning rate: each step as a dot, smoothed as a line, the suggested rate as a circle.

    Args:
      curves: by name; the first six differ in colour.
      title: the title above the figure.
      ylabel: the loss and its unit.

    Example:
      >>> import numpy as np
      >>> rates = np.geomspace(1e-4, 1.0, 9)
      >>> figure = draw_rates({"gru": RateCurve(rates, 1 - rates, 1 - rates, suggested=1e-2, diverged=0.5)})
      >>> [len(line.get_xdata()) for line in figure.axes[0].lines]
      [8, 8, 1]
    """
    check_dict("draw_rates: curves", curves, RateCurve)
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for i, (name, curve) in enumerate(curves.items()):
        tint, shown = COLOURS[i % len(COLOURS)], curve.rates < curve.diverged
        axes.plot(curve.rates[shown], curve.losses[shown], ".", color=tint, alpha=0.3, ms=4)
        axes.plot(curve.rates[shown], curve.smooth[shown], color=tint, lw=2, label=name)
        if np.isfinite(curve.suggested):
            height = float(curve.smooth[np.argmin(np.abs(curve.rates - curve.suggested))])
            axes.plot([curve.suggested], [height], "o", color=tint, mfc="white", ms=8)
    axes.set(xscale="log", xlabel="learning rate, one a step", ylabel=ylabel, title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
