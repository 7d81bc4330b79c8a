"""The picture shows the numbers it was given, legibly, and leaves matplotlib as it was."""

import itertools
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from rnnjax.base import UserError
from rnnjax.plotting import COLOURS, GREY, CurvePanel, Run, draw_curves, draw_gallery, draw_panels, save
from rnnjax.plotting._backend import show_in_notebooks

STEPS, VALID_STEPS = np.arange(10, 1010, 10), np.arange(100, 1100, 100)


def run_like(scale: float, end: float) -> Run:
    return Run(STEPS, scale * np.exp(-STEPS / 100) + end, VALID_STEPS, scale * np.exp(-VALID_STEPS / 100) + end)


def labels(axes: Axes, *names: str) -> dict[str, Annotation]:
    found = {child.get_text(): child for child in axes.get_children() if isinstance(child, Annotation)}
    return {name: found[name] for name in names}


def boxes(figure: Figure, texts: dict[str, Annotation]) -> list[tuple[float, float]]:
    figure.canvas.draw()
    extents = [text.get_window_extent() for text in texts.values()]
    return sorted((box.y0, box.y1) for box in extents)


def test_the_lines_are_the_arrays_with_training_light_and_validation_strong() -> None:
    runs = {"urnn": run_like(2.0, 0.1), "lstm": run_like(1.0, 0.2)}
    (axes,) = draw_curves(runs, ylabel="loss (nats)", title="copying", log=False).axes
    assert (axes.get_ylabel(), axes.get_xlabel(), axes.get_title(loc="left")) == ("loss (nats)", "step", "copying")
    for i, run in enumerate(runs.values()):
        train, valid = axes.lines[2 * i : 2 * i + 2]
        np.testing.assert_array_equal(train.get_xydata(), np.stack([run.steps, run.train], 1))
        np.testing.assert_array_equal(valid.get_xydata(), np.stack([run.valid_steps, run.valid], 1))
        assert train.get_alpha() < 0.5 and valid.get_alpha() is None
        assert train.get_color() == valid.get_color() == COLOURS[i]
        assert train.get_linewidth() < valid.get_linewidth() / 2


def test_without_validation_the_training_curve_is_strong_and_nulls_are_gaps() -> None:
    (axes,) = draw_curves({"gru": Run([1, 2, 3], [1.0, None, 0.5])}, ylabel="loss").axes  # type: ignore[list-item]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [1.0, np.nan, 0.5])
    assert axes.lines[0].get_linewidth() == 2 and axes.lines[0].get_alpha() is None


def test_a_baseline_stands_at_its_height_with_its_name_level_with_it() -> None:
    figure = draw_curves({"lstm": run_like(1.0, 0.1)}, ylabel="loss", baselines={"memoryless": 0.7})
    (axes,) = figure.axes
    assert [0.7, 0.7] in [list(np.asarray(line.get_ydata())) for line in axes.lines]
    ((low, high),) = boxes(figure, labels(axes, "memoryless"))
    assert low < axes.transData.transform((0, 0.7))[1] < high


@pytest.mark.parametrize("end", [0.0, 0.5, 2.0], ids=["at the bottom", "low", "high"])
def test_names_never_touch_each_other_nor_leave_the_axes_below(end: float) -> None:
    runs = {f"run {i}": run_like(1.0 + i, end + 1e-3 * i) for i in range(8)}
    figure = draw_curves(runs, ylabel="loss", baselines={"chance": end})
    extents = boxes(figure, labels(figure.axes[0], *runs, "chance"))
    assert all(below[1] <= above[0] for below, above in itertools.pairwise(extents))
    assert extents[0][0] > figure.axes[0].get_window_extent().y0 - 10
    order = [labels(figure.axes[0], name)[name].xy[1] for name in runs]
    assert order == sorted(order)


def test_every_run_looks_different_also_to_the_colour_blind() -> None:
    figure = draw_curves({str(i): run_like(1.0, 0.1 * i) for i in range(18)}, ylabel="loss")
    strong = [line for line in figure.axes[0].lines if line.get_label() in map(str, range(18))]
    assert len({(line.get_color(), line.get_linestyle()) for line in strong}) == 18
    # Machado, Oliveira and Fernandes (2009): how deuteranopes and protanopes see linear RGB.
    deutan = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]])
    protan = np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    )
    for seen in (np.eye(3), deutan, protan):
        colours = [seen @ np.asarray(to_rgb(colour)) ** 2.2 for colour in COLOURS]
        pairs = [np.linalg.norm(a - b) for i, a in enumerate(colours) for b in colours[:i]]
        assert min(pairs) > 0.1


def test_the_axis_is_logarithmic_where_that_serves() -> None:
    def scale(*ends: float, log: bool | None = None) -> str:
        runs = {str(end): run_like(1.0, end) for end in ends}
        return draw_curves(runs, ylabel="loss", log=log).axes[0].get_yscale()

    assert scale(1e-3) == "log" and scale(0.5) == "linear" and scale(-1e-3) == "linear"
    assert scale(1e-3, log=False) == "linear" and scale(0.5, log=True) == "log"


def test_a_wild_training_loss_does_not_flatten_the_picture() -> None:
    run = run_like(1.0, 0.5)
    wild = np.array(run.train)
    wild[50] = 1e6
    low, high = draw_curves({"lstm": run._replace(train=wild)}, ylabel="loss").axes[0].get_ylim()
    assert low < 0.5 < 1.3 < high < 2
    (axes,) = draw_curves({"lstm": run._replace(valid=10 * np.asarray(run.valid))}, ylabel="loss", log=False).axes
    assert axes.get_ylim()[1] > np.max(run.valid) * 10


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [0.0], [1.0], [-5.0, 0.0]])
def test_odd_numbers_still_make_a_picture(tmp_path: Path, values: list[float]) -> None:
    run = Run(range(len(values)), values)
    for log in (None, False):
        save(tmp_path / "a.png", draw_curves({"a": run}, ylabel="loss", log=log))
        low, high = draw_curves({"a": run}, ylabel="loss", log=log).axes[0].get_ylim()
        assert np.isfinite([low, high]).all() and all(low <= value <= high for value in values if np.isfinite(value))


def test_the_file_is_what_its_ending_says_and_large_enough_to_read(tmp_path: Path) -> None:
    for ending, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        path = tmp_path / f"curves.{ending}"
        save(path, draw_curves({"a": run_like(1.0, 0.1)}, ylabel="loss"))
        assert path.read_bytes().startswith(start)
    width, height = struct.unpack(">II", (tmp_path / "curves.png").read_bytes()[16:24])
    assert width >= 800 and height >= 500


def test_an_unwritable_picture_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^cannot write .*nowhere/curves.png: No such file or directory$"):
        save(tmp_path / "nowhere" / "curves.png", draw_curves({}, ylabel="loss"))


def test_the_users_matplotlib_is_left_alone(tmp_path: Path) -> None:
    code = """
import sys, matplotlib
before = matplotlib.rcParams.copy()
import rnnjax.plotting
rnnjax.plotting.curves(sys.argv[1], {"a": rnnjax.plotting.Run([1, 2], [1.0, 2.0])}, ylabel="loss")
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams.copy() == before
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], check=True)


def test_a_gallery_shows_each_image_with_what_was_said_of_it_and_marks_what_is_wrong() -> None:
    images = np.random.default_rng(0).random((10, 4, 4))
    figure = draw_gallery(images, labels=list(range(10)), predicted=[0, 1, 2, 3, 4, 5, 6, 7, 8, 1])
    for axes, image in zip(figure.axes, images, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)
    assert [axes.get_title() for axes in figure.axes[-2:]] == ["8", "1, is 9"]
    right, wrong = (to_rgb(axes.title.get_color()) for axes in figure.axes[-2:])
    assert right == to_rgb(GREY) and wrong == to_rgb(COLOURS[1])


def test_a_figure_is_shown_by_a_notebook(monkeypatch):
    ipython = pytest.importorskip("IPython", reason="IPython is not installed")
    shell = SimpleNamespace(kernel=None, display_formatter=ipython.core.formatters.DisplayFormatter())
    monkeypatch.setattr(ipython, "get_ipython", lambda: shell)
    figure = draw_curves({"a": Run(valid_steps=[1, 2], valid=[2.0, 1.0])}, ylabel="loss")
    assert "image/png" not in shell.display_formatter.format(figure)[0]
    show_in_notebooks()
    assert shell.display_formatter.format(figure)[0]["image/png"]
    chosen = shell.display_formatter.formatters["image/png"].lookup_by_type(Figure)
    show_in_notebooks()  # a choice that was made stays
    assert shell.display_formatter.formatters["image/png"].lookup_by_type(Figure) is chosen


def test_panels_of_curves_share_their_steps():
    late, early = Run([50, 100], [2.0, 1.0]), Run([10, 50], [2.0, 1.0])
    top, below = draw_panels([CurvePanel("a", {"x": late}), CurvePanel("b", {"x": early})]).axes
    assert top.get_xlim() == below.get_xlim() and below.get_xlim()[0] < 10 < 100 < below.get_xlim()[1]
