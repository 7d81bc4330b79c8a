"""Figures of alignments: what a decoder attends to while it generates each word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rnnjax.base._arguments import check_array, check_list


def draw_alignment(weights: ArrayLike, source: Sequence[str], target: Sequence[str], title: str = "") -> Figure:
    """Draws an alignment: a row per generated word, a column per source word, darker for a larger weight.

    Args:
      weights: `[T, S]`, from 0 to 1.
      source: S words.
      target: T words.
      title: the title above the figure.

    Example:
      >>> import numpy as np
      >>> figure = draw_alignment(np.eye(2), ["ein", "hund"], ["a", "dog"])
      >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
      ['ein', 'hund']
    """
    shown = np.asarray(check_array("draw_alignment: weights", weights, "[target, source]"))
    check_list("draw_alignment: source", source, str)
    check_list("draw_alignment: target", target, str)
    if shown.shape != (len(target), len(source)):
        words = f"{len(target)} and {len(source)} words"
        raise ValueError(f"draw_alignment: weights are [target, source], got {list(shown.shape)} for {words}")
    figure = Figure(figsize=(1.6 + 0.3 * len(source), 1.4 + 0.3 * len(target)))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    slanted: Any = (
        {"rotation": 60, "ha": "left", "rotation_mode": "anchor"} if max(map(len, source), default=0) > 2 else {}
    )
    axes.set_xticks(range(len(source)), source, **slanted)
    axes.set_yticks(range(len(target)), target)
    axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=2, labelsize=9)
    axes.set_xticks(np.arange(len(source) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(target) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#E5E5E5", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("read")
    axes.set_ylabel("written")
    if title:
        axes.set_title(title, fontsize=11, pad=10)
    return figure
