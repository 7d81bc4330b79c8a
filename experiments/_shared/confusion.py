"""A confusion matrix as a table and a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rnnjax.plotting import save
from rnnjax.runs import print_table

ROWS = 12  # classes in the table
NAMED = 40  # classes whose names fit beside the picture


def confusion_table(m: np.ndarray, classes: tuple[str, ...], title: str) -> None:
    """Prints recall, precision, F1 and the commonest mistake of each class, the most frequent classes first.

    Args:
      m: counts `[classes, classes]`, a row for each class.
      classes: their names.
      title: of the table.
    """
    order = np.argsort(-m.sum(1), kind="stable")
    rows = []
    for i in order[:ROWS]:
        wrong = np.where(np.arange(len(m)) == i, 0, m[i])
        taken = f"{classes[int(wrong.argmax())]:.24} ({wrong.max()})" if wrong.any() else ""
        ratios = (m[i, i] / max(1, n) for n in (m[i].sum(), m[:, i].sum(), (m[i].sum() + m[:, i].sum()) / 2))
        named = dict(zip(("recall", "precision", "F1"), map(float, ratios)))
        rows.append({"class": f"{classes[i]:.24}", "examples": int(m[i].sum()), **named, "mostly taken for": taken})
    print_table(rows, title=title)
    if len(m) > ROWS:
        print(f"and {len(m) - ROWS} classes with fewer examples")


def confusion_picture(path: Path, m: np.ndarray, classes: tuple[str, ...], title: str) -> None:
    """Draws the share of each class (row) that was predicted as each class (column)."""
    share = m / np.maximum(1, m.sum(1, keepdims=True))
    side = float(np.clip(2.5 + 0.3 * len(m), 4, 12))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the class")
    if len(m) <= NAMED:
        names = [f"{name:.16}".replace("$", r"\$") for name in classes]  # no formulas
        axes.set_xticks(range(len(m)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(m)), names, fontsize=8)
    if len(m) <= ROWS:
        for (i, j), n in np.ndenumerate(m):
            axes.text(j, i, str(n), ha="center", va="center", fontsize=8, color="w" if share[i, j] > 0.5 else "k")
    axes.set(xlabel="predicted", ylabel="class")
    axes.set_title(title, loc="left", fontsize=10)
    save(path, figure)
