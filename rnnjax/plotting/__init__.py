"""Figures drawn from arrays.

Belongs here: drawing. Does not belong here: computing the numbers to draw (`dynamics`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.plotting import _backend as _backend  # before anything imports matplotlib
from rnnjax.plotting._alignment import draw_alignment
from rnnjax.plotting._audit import AuditPanel, Line, draw_against_truncation, draw_audits
from rnnjax.plotting._curves import COLOURS, GREY, CurvePanel, Run, draw_curves, draw_gallery, draw_panels, save
from rnnjax.plotting._dynamics import Panel, draw_bifurcations, draw_flows, draw_portrait
from rnnjax.plotting._graph import draw_unfolded
from rnnjax.plotting._grids import draw_grid, draw_maps
from rnnjax.plotting._rates import RateCurve, draw_rates
from rnnjax.plotting._spectra import draw_clouds, draw_singular_values
from rnnjax.plotting._states import draw_projection, draw_sentence

__all__ = [
    "COLOURS",
    "GREY",
    "AuditPanel",
    "CurvePanel",
    "Line",
    "Panel",
    "RateCurve",
    "Run",
    "draw_against_truncation",
    "draw_alignment",
    "draw_audits",
    "draw_bifurcations",
    "draw_clouds",
    "draw_curves",
    "draw_flows",
    "draw_gallery",
    "draw_grid",
    "draw_maps",
    "draw_panels",
    "draw_portrait",
    "draw_projection",
    "draw_rates",
    "draw_sentence",
    "draw_singular_values",
    "draw_unfolded",
    "save",
]

_backend.show_in_notebooks()

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
