"""Pictures of a study: the score against each flag, all members as lines across the flags, learning curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from rnnjax.app._state import score_in
from rnnjax.losses import Criterion
from rnnjax.plotting import COLOURS, GREY, save
from rnnjax.plotting._curves import LOG_SPAN
from rnnjax.studies._results import Results, Row
from rnnjax.training import bootstrap, interquartile_mean

_FEW = 6  # maximal number of values that get a tick each
_CURVES = 6  # settings with a learning curve

_Baseline = tuple[str, float] | None


def draw(folder: Path, results: Results, label: str, title: str, baseline: _Baseline = None) -> list[Path]:
    """Writes flags.png, parallel.png and learning.png, except those without content.

    Args:
      folder: of the files.
      results: of the study.
      label: the score and its unit.
      title: of each picture.
      baseline: name and score to compare with.
    """
    rows = [row for row in results.rows.values() if row.get("score") is not None]
    flags = [f for f in results.flags if len({row["flags"].get(f) for row in rows}) > 1]
    flags = [f for i, f in enumerate(flags) if not any(_together(rows, f, other) for other in flags[:i])]
    paths = []
    if flags:
        save(folder / "flags.png", _by_flag(rows, flags, label, title, baseline))
        paths.append(folder / "flags.png")
    if len(flags) > 1:
        across = [flag for flag in flags if flag != "seed"]
        save(folder / "parallel.png", _parallel(rows, across, label, title, results.criterion))
        paths.append(folder / "parallel.png")
    save(folder / "learning.png", _learning(rows, results, label, title, baseline))
    return [*paths, folder / "learning.png"]


def _together(rows: Sequence[Row], one: str, other: str) -> bool:
    """Returns whether two flags move together, as in --grid=cell+hidden_size=..."""
    pairs = {(row["flags"].get(one), row["flags"].get(other)) for row in rows}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def _positions(texts: Sequence[str]) -> tuple[list[str], np.ndarray, bool]:
    """Returns distinct values in order, their positions, and whether the axis is logarithmic; names are evenly spaced.

    Example:
      >>> _positions(["1e-2", "1e-4", "1e-2"])
      (['1e-4', '1e-2'], array([0.0001, 0.01  ]), True)
    """
    different = list(dict.fromkeys(texts))
    try:
        values = {t: float(t) for t in different}
    except ValueError:
        return different, np.arange(len(different), dtype=float), False
    different.sort(key=lambda t: values[t])
    places = np.array([values[t] for t in different])
    return different, places, bool(places[0] > 0 and places[-1] / places[0] > LOG_SPAN)


def _by_flag(rows: Sequence[Row], flags: Sequence[str], label: str, title: str, baseline: _Baseline) -> Figure:
    """Draws a panel per flag: members as dots, the interquartile mean as a line with its interval as a band.

    Flags with names instead of numbers determine the colours.
    """
    named = [f for f in flags if not _numeric(rows, f)]
    colour = named[0] if named else None
    shown = [f for f in flags if f not in (colour, "seed")] or flags
    columns = min(len(shown), 3)
    lines = -(-len(shown) // columns)
    figure = _figure_of(4.2 * columns, 3.4 * lines + 0.6)
    for i, flag in enumerate(shown):
        axes = figure.add_subplot(lines, columns, i + 1)
        _panel(axes, rows, flag, colour if flag != colour else None)
        _scale(axes, [row["score"] for row in rows], baseline)
        _dress(axes, flag.removeprefix("cell_args."), label if i % columns == 0 else "")
        if i == 0 and (colour or baseline):
            axes.legend(frameon=False, fontsize=9)
    figure.suptitle(f"{title}: line and band, interquartile mean of the members and its 95 % interval", fontsize=11)
    return figure


def _panel(axes: Axes, rows: Sequence[Row], flag: str, colour: str | None) -> None:
    """Draws the score against one flag."""
    texts, x, logarithmic = _positions([row["flags"][flag] for row in rows])
    place = dict(zip(texts, x))
    if logarithmic:
        axes.set_xscale("log")
    if not _numeric(rows, flag) or (len(x) <= _FEW and not logarithmic):
        axes.set_xticks(x, texts)
    for i, group in enumerate(dict.fromkeys(row["flags"].get(colour, "") for row in rows)):
        own = [row for row in rows if row["flags"].get(colour, "") == group]
        tint = COLOURS[i % len(COLOURS)]
        where, heights = [place[row["flags"][flag]] for row in own], [row["score"] for row in own]
        axes.plot(where, heights, ".", color=tint, alpha=0.3, ms=4)
        at = [t for t in texts if any(row["flags"][flag] == t for row in own)]
        if len(at) > 20 or len(at) == len(own):
            continue  # every drawn value occurs once, so there is no mean
        scores = [[r["score"] for r in own if r["flags"][flag] == t] for t in at]
        ends = np.array([bootstrap(s) for s in scores])
        where = [place[t] for t in at]
        axes.plot(where, [interquartile_mean(s) for s in scores], color=tint, lw=2, label=group, marker="o", ms=4)
        axes.fill_between(where, ends[:, 0], ends[:, 1], color=tint, alpha=0.2, lw=0)


def _parallel(rows: Sequence[Row], flags: Sequence[str], label: str, title: str, criterion: Criterion) -> Figure:
    """Draws a line per member across its flags, the best on top, coloured by score."""
    figure = _figure_of(1.6 * (len(flags) + 1) + 1.5, 4.4)
    axes = figure.add_subplot()
    scores = np.array([row["score"] for row in rows])
    colours = colormaps["viridis" if criterion.higher else "viridis_r"]
    columns = [_positions([row["flags"].get(f, "") for row in rows]) for f in flags]
    heights = [dict(zip(texts, _to_unit_interval(x, log))) for texts, x, log in columns]
    low, high = float(scores.min()), float(scores.max())
    logarithmic = bool(low > 0 and high / low > LOG_SPAN)
    last = _to_unit_interval(np.array([low, *scores, high]), logarithmic)[1:-1]
    for i in np.argsort(-criterion.cost(scores)):
        ys = [h[rows[i]["flags"].get(f, "")] for f, h in zip(flags, heights)]
        axes.plot(range(len(flags) + 1), [*ys, last[i]], color=colours(last[i]), lw=0.9, alpha=0.6)
    for i, (texts, *_) in enumerate(columns):
        apart = [t for t, after in itertools.pairwise(texts) if heights[i][after] - heights[i][t] > 0.04]
        for text in [*apart, texts[-1]]:
            short = f"{float(text):.3g}" if _numeric(rows, flags[i]) else text
            axes.annotate(
                short, (i, heights[i][text]), (-4, 0), textcoords="offset points", fontsize=8, ha="right", va="center"
            )
    axes.set_xticks(range(len(flags) + 1), [*(f.removeprefix("cell_args.") for f in flags), "score"])
    axes.set_yticks([])
    axes.set_xlim(-0.4, len(flags) + 0.05)
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)
    for i in range(len(flags) + 1):
        axes.axvline(i, color=GREY, lw=0.8, zorder=1)

    norm = LogNorm(low, high) if logarithmic else Normalize(low, high)
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=label, fraction=0.05, pad=0.02)
    figure.suptitle(title, fontsize=11)
    return figure


def _learning(rows: Sequence[Row], results: Results, label: str, title: str, baseline: _Baseline) -> Figure:
    """Draws validation curves of the best settings: interquartile means over members, with intervals."""
    figure = _figure_of(10.0, 4.2)
    axes = figure.add_subplot()
    seen: list[float] = []
    for i, setting in enumerate(results.settings()[:_CURVES]):
        flags = {k: v for k, v in setting.items() if k in rows[0]["flags"]}
        own = [row for row in rows if all(row["flags"].get(k) == v for k, v in flags.items())]
        curves = [dict(zip(r["curve"]["step"], score_in(results.criterion, r["curve"]))) for r in own]
        steps = sorted({s for c in curves for s in c})
        values = [[c[s] for c in curves if c.get(s) is not None] for s in steps]
        steps, values = [s for s, v in zip(steps, values) if v], [v for v in values if v]
        if not steps:
            continue
        middle, ends = [interquartile_mean(v) for v in values], np.array([bootstrap(v) for v in values])
        name = ", ".join(f"{k.removeprefix('cell_args.')} {v}" for k, v in flags.items()) or "all"
        axes.plot(steps, middle, color=COLOURS[i % len(COLOURS)], lw=2, label=f"{name} ({len(own)})")
        axes.fill_between(steps, ends[:, 0], ends[:, 1], color=COLOURS[i % len(COLOURS)], alpha=0.2, lw=0)
        seen += middle
    _scale(axes, seen, baseline)
    _dress(axes, "step", label)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), title="setting (members)")
    figure.suptitle(f"{title}: the best settings, interquartile mean over members and its 95 % interval", fontsize=11)
    return figure


def _figure_of(width: float, height: float) -> Figure:
    """Returns an empty figure."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _numeric(rows: Sequence[Row], flag: str) -> bool:
    """Returns whether all values of a flag are numbers."""
    try:
        return all(math.isfinite(float(row["flags"].get(flag, "nan"))) for row in rows)
    except ValueError:
        return False


def _to_unit_interval(x: np.ndarray, logarithmic: bool) -> np.ndarray:
    """Scales numbers to [0, 1]."""
    x = np.log(x) if logarithmic else x
    span = x.max() - x.min()
    return (x - x.min()) / span if span else np.full(x.shape, 0.5)


def _scale(axes: Axes, scores: Sequence[float], baseline: _Baseline) -> None:
    """Sets a logarithmic axis if necessary, with the baseline as a line."""
    finite = [s for s in scores if math.isfinite(s)]
    name, level = baseline or ("", math.inf)
    if baseline:
        axes.axhline(level, color=GREY, lw=1, ls=(0, (5, 3)), zorder=1, label=name)
    if not finite:
        return
    low, high = min(finite), max(finite)
    if low > 0 and high / low > LOG_SPAN:
        axes.set_yscale("log")
    elif high > 3 * level and np.median(finite) < 1.5 * level:
        axes.set_ylim(0, 1.5 * level)  # so that a few diverged members do not hide the others


def _dress(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Sets labels and a light frame."""
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#E5E5E5", lw=0.8)
    axes.set_axisbelow(True)
