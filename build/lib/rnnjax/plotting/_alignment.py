"""Figures of alignments: what a decoder attends to while it generates each word."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from rnnjax.plotting._curves import save


def alignment(
    path: str | os.PathLike[str], weights: ArrayLike, source: Sequence[str], target: Sequence[str], title: str = ""
) -> None:
    """Draws an alignment: a row per generated word, a column per source word, darker for a larger weight.

    Args:
      path: the file to write; png, pdf or svg, by its extension.
      weights: `[T, S]`, from 0 to 1.
      source: S words.
      target: T words.
      title: the title above the figure.

    Raises:
      UserError: the file cannot be written.

    Example:
      >>> import numpy as np, pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "alignment.png"
      >>> alignment(path, np.eye(2), ["ein", "hund"], ["a", "dog"])
      >>> path.read_bytes()[:4]
      b'\\x89PNG'
    """
    save(path, draw_alignment(weights, source, target, title))


def draw_alignment(weights: ArrayLike, source: Sequence[str], target: Sequence[str], title: str = "") -> Figure:
    """Returns the figure that `alignment` writes.

    Example:
      >>> import numpy as np
      >>> figure = draw_alignment(np.eye(2), ["ein", "hund"], ["a", "dog"])
      >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
      ['ein', 'hund']
    """
    shown = np.asarray(weights)
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
