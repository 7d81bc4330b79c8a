"""Figures of the states of a network, drawn from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rnnjax.base._arguments import check_array, check_dict, check_list
from rnnjax.plotting._curves import COLOURS, GREY, STYLES

_MARKS = ("o", "X", "^", "s", "D", "v")  # for points with 0, 1, 2, .. unstable directions


def draw_projection(trajectories: ArrayLike, points: ArrayLike, unstable: ArrayLike, title: str) -> Figure:
    """Draws trajectories and fixed points projected onto the first three principal components of the trajectories.

    Args:
      trajectories: states `[n, T, N]`, N at least 3.
      points: the fixed points `[k, N]`.
      unstable: the number of unstable directions at each point, [k].
      title: the title above the figure.

    Example:
      >>> import numpy as np
      >>> states = np.random.default_rng(0).normal(size=(2, 5, 4))
      >>> draw_projection(states, states[:, 0], [0, 1], "two points").axes[0].get_title("left")
      'two points'
    """
    states = np.asarray(check_array("draw_projection: trajectories", trajectories, "[n, T, N]", some=True), float)
    points = np.asarray(check_array("draw_projection: points", points, "[k, N]"), float)
    unstable = np.asarray(check_array("draw_projection: unstable", unstable, "[k]", "integer"))
    if states.shape[2] < 3 or points.shape != (len(unstable), states.shape[2]) or not np.isfinite(states).all():
        shapes = f"{list(states.shape)}, {list(points.shape)} and {list(unstable.shape)}"
        raise ValueError(f"draw_projection takes finite states [n, T, N], N from 3, [k, N] and [k], got {shapes}")
    flat = states.reshape(-1, states.shape[-1])
    mean, axes_of, shares = principal(flat)
    figure = Figure(figsize=(6.8, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.add_subplot(projection="3d")
    for i, states_of in enumerate((states - mean) @ axes_of):
        axes.plot(*states_of.T, color=GREY, linewidth=0.6, alpha=0.35, label=None if i else "trajectories")
    placed = (points - mean) @ axes_of
    for i, n in enumerate(np.unique(unstable)):
        name = "stable" if n == 0 else f"with {n} unstable direction{'s' if n > 1 else ''}"
        here = placed[unstable == n]
        form = {"c": COLOURS[i % len(COLOURS)], "marker": _MARKS[i % len(_MARKS)], "edgecolors": "white"}
        axes.scatter(*here.T, s=55, depthshade=False, linewidths=0.5, label=f"{len(here)} {name}", **form)
    for i, name in enumerate("xyz"):
        getattr(axes, f"set_{name}label")(f"component {i + 1} ({shares[i]:.0%})", fontsize=9)
        getattr(axes, f"{name}axis").set_tick_params(labelsize=8)
        getattr(axes, f"{name}axis").set_pane_color((1, 1, 1, 0))
    axes.view_init(elev=18, azim=-62)
    axes.set_box_aspect((1, 1, 0.85), zoom=1.08)
    axes.set_title(title, loc="left", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def principal(states: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the mean of the states, their first three principal axes `[N, 3]`, and the explained variance ratios."""
    mean = states.mean(0)
    values, axes = np.linalg.svd(states - mean, full_matrices=False)[1:]
    return mean, axes[:3].T, values[:3] ** 2 / (values**2).sum()


def draw_sentence(words: Sequence[str], lines: Mapping[str, ArrayLike], ylabel: str) -> Figure:
    """Draws one number per word of a sentence on a logarithmic axis, one line per network.

    Args:
      words: the words along the axis, [T].
      lines: natural logarithms for the first words, [T] or fewer, by name.
      ylabel: the label of the vertical axis.

    Example:
      >>> figure = draw_sentence(["the", "sky", "?"], {"lstm": [-1.0, 0.0]}, "norm")
      >>> [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
      ['the', 'sky', '?']
    """
    check_list("draw_sentence: words", words, str, some=True)
    check_dict("draw_sentence: lines", lines, some=True)
    for name, logs in lines.items():
        if len(check_array(f"draw_sentence: {name!r:.40}", logs, "[T]")) > len(words):
            raise ValueError(f"draw_sentence: {name!r:.40} has {np.size(logs)} numbers for {len(words)} words")
    figure = Figure(figsize=(max(5.0, 0.24 * len(words) + 1), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for i, (name, logs) in enumerate(lines.items()):
        style, colour = STYLES[i % len(STYLES)], COLOURS[i % len(COLOURS)]
        values = np.exp(np.clip(np.asarray(logs, float), -80, 80))
        axes.plot(values, marker=".", linestyle=style, color=colour, linewidth=1.8, label=name)
    axes.set_yscale("log")
    axes.set_xticks(range(len(words)), words, rotation=90, fontsize=8.5)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure
