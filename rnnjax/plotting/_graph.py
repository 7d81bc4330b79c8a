"""Figures of unfolded computational graphs; the layout is computed from the graph alone."""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch

from rnnjax.base._arguments import check_is
from rnnjax.dynamics import Graph
from rnnjax.dynamics._unfolding import Edge, Node
from rnnjax.plotting._curves import COLOURS, GREY

_TINTS = {"input": COLOURS[4], "state": COLOURS[2], "output": COLOURS[5], "target": "#999999", "loss": COLOURS[1]}
_RADIUS, _ACROSS, _UP, _ASIDE = (
    0.3,
    2.6,
    1.5,
    1.05,
)  # radius of a node; distance between steps, between ranks, and between nodes that share a position
_MOST = 3  # with more parameters than this, an edge shows their number instead of their names

_Places = dict[Node, tuple[float, float]]


def draw_unfolded(graph: Graph, title: str = "") -> Figure:
    """Draws an unfolded computational graph: time runs to the right, dependences run upwards.

    Args:
      graph: from `dynamics.unfold`.
      title: the title above the figure.

    Example:
      >>> x, h = Node("input", "x", 1), Node("state", "h", 1)
      >>> len(draw_unfolded(Graph([x, h], [Edge(x, h, ("w",))], {})).axes[0].patches)
      3
    """
    check_is("draw_unfolded: graph", graph, Graph)
    places = layout(graph)
    spots = np.array(list(places.values()))
    low, high = spots.min(0) - 0.7, spots.max(0) + 0.7
    figure = Figure(figsize=tuple(0.72 * (high - low) + (0.2, 0.8)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_title(title, loc="left", fontsize=11)
    circles = {
        n: Circle(at, _RADIUS, facecolor=_TINTS[n.kind], edgecolor="white", zorder=2) for n, at in places.items()
    }
    for edge in graph.edges:
        bend = _curvature(edge, places)
        arrow = FancyArrowPatch(
            places[edge.source],
            places[edge.target],
            patchA=circles[edge.source],
            patchB=circles[edge.target],
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=11,
            color=GREY,
            linewidth=1,
            zorder=1,
        )
        axes.add_patch(arrow)
        if edge.params:
            box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
            axes.text(
                *_beside(edge, places, bend),
                _names_or_number(edge.params),
                ha="center",
                va="center",
                fontsize=8,
                bbox=box,
            )
    for node, circle in circles.items():
        axes.add_patch(circle)
        last = node.kind == "loss" and node.t == max(n.t for n in graph.nodes) and node.t > 1
        label = f"$\\sum {node.name}_t$" if last else symbol(node.name, str(node.t))
        axes.text(*places[node], label, ha="center", va="center", fontsize=8.5 if last else 11, zorder=3)
    kinds = [k for k in _TINTS if any(n.kind == k for n in graph.nodes)]
    marks = [Line2D([], [], marker="o", ls="", markersize=9, color=_TINTS[k], label=k) for k in kinds]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False, fontsize=9)
    return figure


def layout(graph: Graph) -> _Places:
    """Returns the positions of the nodes: x is the step, y is the length of the longest path to the node within it.

    A target is drawn beside its loss and the total loss above the middle. Nodes that share a position are set side by
    side.
    """
    into = defaultdict(list)
    for source, target, _ in graph.edges:
        into[target].append(source)
    ranks: dict[Node, int] = {}
    for node in graph.nodes:  # in the order of computation
        within = [ranks[n] for n in into[node] if n.t == node.t]
        ranks[node] = 1 + max(within, default=-1)
    final = max(graph.nodes, key=lambda n: n.t)
    for source, target, _ in graph.edges:
        if source.kind == "target":
            ranks[source] = ranks[target]
        if source.t == 0 and target[:2] == source[:2]:
            ranks[source] = ranks[target]  # the initial state is level with its successor
        if target is final and final.kind == "loss":
            ranks[final] = 1 + max(ranks[n] for n in into[final])
    middle = (1 + max((n.t for n in into[final]), default=1)) / 2
    shared = defaultdict(list)
    for node in sorted(graph.nodes, key=lambda n: n.kind == "target"):
        alone = node is final and node.kind == "loss" and {n.kind for n in into[node]} == {"loss"}
        shared[middle if alone else node.t, ranks[node]].append(node)
    return {n: (_ACROSS * t + _ASIDE * i, _UP * rank) for (t, rank), some in shared.items() for i, n in enumerate(some)}


def _curvature(edge: Edge, places: _Places) -> float:
    """Returns the curvature of an arrow: not 0 if another node lies in its way."""
    (ax, ay), (bx, by) = places[edge.source], places[edge.target]
    for node, (x, y) in places.items():
        if node in edge[:2]:
            continue
        along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2)
        off = abs((x - ax) * (by - ay) - (y - ay) * (bx - ax)) / np.hypot(bx - ax, by - ay)
        if 0 < along < 1 and off < 1.1 * _RADIUS:
            return 0.5
    return 0.0


def _beside(edge: Edge, places: _Places, bend: float) -> tuple[float, float]:
    """Returns the position of the label of an edge: on its arrow, nearer to the end if the arrow is curved."""
    a, b = np.array(places[edge.source]), np.array(places[edge.target])
    (dx, dy), t = b - a, 0.7 if bend else 0.45
    control = (a + b) / 2 + bend * np.array([dy, -dx])  # the control point of the quadratic curve that arc3 draws
    x, y = (1 - t) ** 2 * a + 2 * t * (1 - t) * control + t**2 * b
    return float(x), float(y)


def symbol(name: str, t: str = "") -> str:
    """Returns a name in mathematical notation: h2 at step 3 is h with superscript 2 and subscript 3."""
    letter, number = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
    word = letter if len(letter) == 1 else rf"\mathrm{{{letter}}}".replace("_", r"\_")
    return f"${word}" + (f"^{{({number})}}" if number else "") + (f"_{{{t}}}" if t else "") + "$"


def _names_or_number(params: tuple[str, ...]) -> str:
    """Returns the names of the parameters, or their number if there are many."""
    return ", ".join(map(symbol, params)) if len(params) <= _MOST else f"{len(params)} parameters"
