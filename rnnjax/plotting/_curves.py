"""Learning curves and image galleries. Each is drawn on its own Figure; pyplot's global state stays untouched."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from rnnjax._deprecated import with_old_arguments
from rnnjax.base._arguments import check_array, check_dict, check_is, check_list, check_path, describe_value
from rnnjax.runs import atomic_write

# Okabe and Ito's colour-blind safe palette without its pale colours; line styles to combine them with.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
STYLES = ("-", "--", "-.", ":")
GREY, DASHES = "#555555", (0, (5, 3))
LOG_SPAN = 30.0  # an axis becomes logarithmic if a validation curve spans more than this factor


class _Label(NamedTuple):
    """A label beside a line, level with the end of the line."""

    name: str
    y: float
    colour: str
    style: Any
    width: float


class Run(NamedTuple):
    """The learning curves of one run.

    Attributes:
      steps: the steps at which `train` was measured, [n].
      train: the training loss, [n]; nan leaves a gap.
      valid_steps: the steps at which `valid` was measured, [m].
      valid: the validation loss, [m].
      low, high: an interval around the strong curve, `valid` or else `train`, drawn as a band; empty for none.
    """

    steps: ArrayLike = ()
    train: ArrayLike = ()
    valid_steps: ArrayLike = ()
    valid: ArrayLike = ()
    low: ArrayLike = ()
    high: ArrayLike = ()


def draw_curves(
    runs: Mapping[str, Run],
    *,
    ylabel: str,
    xlabel: str = "step",
    title: str = "",
    baselines: Mapping[str, float] | None = None,
    log: bool | None = None,
) -> Figure:
    """Draws learning curves: a colour per run, pale for training and strong for validation.

    Args:
      runs: the runs by the name to write beside the curve.
      ylabel: the quantity, with its unit: "cross-entropy (nats per step)".
      xlabel: the quantity on the horizontal axis.
      title: the title above the figure.
      baselines: horizontal lines by name.
      log: whether the axis is logarithmic; None: if all values are positive and span more than a factor of 30.

    Example:
      >>> figure = draw_curves({"lstm": Run([1, 2], [2.0, 1.0])}, ylabel="loss (nats)")
      >>> figure.axes[0].get_ylabel()
      'loss (nats)'
    """
    check_dict("draw_curves: runs", runs, Run)
    figure = Figure(figsize=(6.4, 4.0))
    FigureCanvasAgg(figure)
    _panel(figure, figure.add_subplot(), CurvePanel(ylabel, runs, baselines or {}), xlabel, title, log)
    return figure


class CurvePanel(NamedTuple):
    """The curves of one metric.

    Attributes:
      ylabel: the metric, with its unit.
      runs: the runs by name.
      baselines: horizontal lines by name.
    """

    ylabel: str
    runs: Mapping[str, Run]
    baselines: Mapping[str, float] = {}


def draw_panels(panels: Sequence[CurvePanel], *, xlabel: str = "step", title: str = "", note: str = "") -> Figure:
    """Returns a figure with one panel of learning curves per metric, one below the other.

    Args:
      panels: at least one.
      xlabel: the quantity on the horizontal axis, which they share.
      title: the title above the figure.
      note: a line below the title; by default it tells thin lines from thick ones, if there are both.

    Example:
      >>> run = Run([1, 2], [2.0, 1.0])
      >>> figure = draw_panels([CurvePanel("loss (nats)", {"lstm": run}), CurvePanel("accuracy", {"lstm": run})])
      >>> [axes.get_ylabel() for axes in figure.axes]
      ['loss (nats)', 'accuracy']
    """
    check_list("draw_panels: panels", panels, CurvePanel, some=True)
    figure = Figure(figsize=(6.4, 1.0 + 3.0 * len(panels)))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(hspace=0.25)
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, i + 1, sharex=figure.axes[0] if i else None)
        _panel(
            figure, axes, panel, xlabel if i == len(panels) - 1 else "", "" if i else title, None, None if i else note
        )
    figure.align_ylabels()
    return figure


def _panel(
    figure: Figure, axes: Axes, panel: CurvePanel, xlabel: str, title: str, log: bool | None, note: str | None = ""
) -> None:
    """Draws the curves of one metric, without a note if it is None."""
    runs = panel.runs
    lines = {name: np.full(2, value) for name, value in panel.baselines.items()}
    strong = [_numbers(run.valid) if np.size(run.valid) else _numbers(run.train) for run in runs.values()]
    bands = [_numbers(band) for run in runs.values() for band in (run.low, run.high) if np.size(band)]
    _scale(axes, [*strong, *bands, *lines.values()], [_numbers(run.train) for run in runs.values()], log)
    labels = [_draw_run(axes, i, name, run) for i, (name, run) in enumerate(runs.items())]
    for name, line in lines.items():
        axes.axhline(line[0], color=GREY, linewidth=1, linestyle=DASHES, zorder=1)
        labels.append(_Label(name, line[0], GREY, DASHES, 1))
    if note == "" and any(np.size(run.train) and np.size(run.valid) for run in runs.values()):
        note = "thin: training, thick: validation"
    _dress(axes, xlabel, panel.ylabel, title, note or "")
    _label(figure, axes, [label for label in labels if np.isfinite(label.y)])


@with_old_arguments
def draw_gallery(images: ArrayLike, labels: Sequence[Any], predicted: Sequence[Any], title: str = "") -> Figure:
    """Draws images with the prediction above each, and the true label too where the prediction is wrong.

    Args:
      images: grey values `[n, height, width]`, n at least 1.
      labels: the true labels, [n].
      predicted: the predicted labels, [n].
      title: the title above the figure.

    Example:
      >>> import numpy as np
      >>> figure = draw_gallery(np.zeros((2, 8, 8)), labels=[3, 7], predicted=[3, 1])
      >>> [axes.get_title() for axes in figure.axes]
      ['3', '1, is 7']
    """
    shown = np.asarray(check_array("draw_gallery: images", images, "[n, height, width]", some=True))
    for what, words in (("labels", labels), ("predicted", predicted)):
        if not hasattr(words, "__len__") or isinstance(words, str) or len(words) != len(shown):
            raise ValueError(
                f"draw_gallery: {what} are one for each of {len(shown)} images, got {describe_value(words)}"
            )
    columns = min(len(shown), 8)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(columns, 1.25 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (image, label, word) in enumerate(zip(shown, labels, predicted)):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(image, cmap="gray_r")
        axes.set_axis_off()
        right = label == word
        axes.set_title(f"{word}" if right else f"{word}, is {label}", fontsize=9, color=GREY if right else COLOURS[1])
    figure.suptitle(title, fontsize=11)
    return figure


def save(path: str | os.PathLike[str], figure: Figure) -> None:
    """Writes a figure to a file: png, pdf or svg, by the extension of the path.

    Raises:
      UserError: the file cannot be written.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "curves.svg"
      >>> save(path, draw_curves({"lstm": Run([1, 2], [2.0, 1.0])}, ylabel="loss (nats)"))
      >>> path.read_text()[:5]
      '<?xml'
    """
    check_path("plotting.save: path", path)
    check_is("plotting.save: figure", figure, Figure)
    kind = os.path.splitext(os.fspath(path))[1].removeprefix(".") or "png"
    picture = io.BytesIO()
    figure.savefig(picture, format=kind, dpi=150, bbox_inches="tight")
    atomic_write(path, picture.getvalue())


def _numbers(values: ArrayLike) -> np.ndarray:
    """Returns the values as floats; None, which stands for nan in a JSON file, becomes nan."""
    return np.atleast_1d(np.asarray(values, float))


def _scale(axes: Axes, strong: Sequence[np.ndarray], light: Sequence[np.ndarray], log: bool | None) -> None:
    """Sets a linear or logarithmic axis, with limits that ignore a few extreme training losses."""
    shown = np.concatenate([*strong, *(_without_extremes(values) for values in light), np.zeros(0)])
    shown = shown[np.isfinite(shown)]
    if not shown.size:
        return
    low, high = shown.min(), shown.max()
    if log is None:
        log = low > 0 and high / low > LOG_SPAN
    if log:
        low = shown[shown > 0].min(initial=high)
        axes.set_yscale("log")
        subs = (1.0, 2.0, 5.0) if high / low < 1000 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=subs))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(low / 1.2, high * 1.2)
    else:
        margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)


def _without_extremes(values: np.ndarray) -> np.ndarray:
    """Returns the training losses without the two per cent most extreme values at either end."""
    values = values[np.isfinite(values)]
    return np.quantile(values, [0.02, 0.98]) if values.size else values


def _draw_run(axes: Axes, i: int, name: str, run: Run) -> _Label:
    """Draws one run and returns the label to write beside it."""
    colour, style = COLOURS[i % len(COLOURS)], STYLES[i // len(COLOURS) % len(STYLES)]
    train, valid = _numbers(run.train), _numbers(run.valid)
    if valid.size:
        axes.plot(_numbers(run.steps), train, color=colour, alpha=0.35, linewidth=0.8, zorder=2)
        x, y = _numbers(run.valid_steps), valid
    else:
        x, y = _numbers(run.steps), train
    if np.size(run.low) and np.size(run.high):
        axes.fill_between(x, _numbers(run.low), _numbers(run.high), color=colour, alpha=0.18, linewidth=0, zorder=1)
    marker = "o" if y.size <= 12 else ""
    axes.plot(x, y, color=colour, linestyle=style, linewidth=2, marker=marker, markersize=4, label=name, zorder=3)
    finite = y[np.isfinite(y)]
    return _Label(name, float(finite[-1]) if finite.size else np.nan, colour, style, 2)


def _dress(axes: Axes, xlabel: str, ylabel: str, title: str, note: str) -> None:
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    axes.set_title(title, loc="left", fontsize=12, pad=18 if note else 8)
    if note:
        axes.annotate(note, (0, 1), (0, 6), "axes fraction", "offset points", color=GREY, fontsize=8.5)


def _label(figure: Figure, axes: Axes, labels: Sequence[_Label]) -> None:
    """Writes each name at the right, level with the end of its line, moved where two labels would overlap."""
    low, high = axes.get_ylim()
    labels = sorted(labels, key=lambda label: label.y)
    heights = [axes.transData.transform((0, np.clip(label.y, low, high)))[1] for label in labels]
    bottom = axes.transAxes.transform((0, 0))[1]
    for label, height in zip(labels, _spaced_apart(heights, 13 * figure.dpi / 72, bottom)):
        y = axes.transAxes.inverted().transform((0, height))[1]
        place = {"transform": axes.transAxes, "clip_on": False, "color": label.colour, "linestyle": label.style}
        axes.add_line(Line2D([1.015, 1.055], [y, y], linewidth=label.width, **place))
        axes.annotate(label.name, (1.07, y), xycoords="axes fraction", color=label.colour, va="center", fontsize=9.5)


def _spaced_apart(heights: Sequence[float], distance: float, bottom: float) -> list[float]:
    """Spaces ascending heights a distance apart: overlapping ones spread about their mean, above the bottom."""
    groups: list[list[float]] = []
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and (
            _spread(groups[-1], distance, bottom)[0] - _spread(groups[-2], distance, bottom)[-1] < distance
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    return [y for group in groups for y in _spread(group, distance, bottom)]


def _spread(group: Sequence[float], distance: float, bottom: float) -> list[float]:
    first = max(sum(group) / len(group) - (len(group) - 1) / 2 * distance, bottom)
    return [first + i * distance for i in range(len(group))]
