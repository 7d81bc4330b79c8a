"""Figures drawn from arrays.

Belongs here: drawing. Does not belong here: computing the numbers to draw (`dynamics`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.plotting import _backend as _backend  # before anything imports matplotlib
from rnnjax.plotting._alignment import alignment, draw_alignment
from rnnjax.plotting._audit import AuditPanel, Line, against_window, audits, draw_against_window, draw_audits
from rnnjax.plotting._curves import COLOURS, GREY, Run, curves, draw_curves, draw_gallery, gallery, save
from rnnjax.plotting._dynamics import Panel, bifurcations, draw_bifurcations, draw_flows, draw_portrait, flows, portrait
from rnnjax.plotting._graph import draw_unfolded, unfolded
from rnnjax.plotting._spectra import clouds, draw_clouds, draw_singular_values, singular_values
from rnnjax.plotting._states import draw_projection, draw_sentence, projection, sentence

__all__ = [
    "COLOURS",
    "GREY",
    "AuditPanel",
    "Line",
    "Panel",
    "Run",
    "against_window",
    "alignment",
    "audits",
    "bifurcations",
    "clouds",
    "curves",
    "draw_against_window",
    "draw_alignment",
    "draw_audits",
    "draw_bifurcations",
    "draw_clouds",
    "draw_curves",
    "draw_flows",
    "draw_gallery",
    "draw_portrait",
    "draw_projection",
    "draw_sentence",
    "draw_singular_values",
    "draw_unfolded",
    "flows",
    "gallery",
    "portrait",
    "projection",
    "save",
    "sentence",
    "singular_values",
    "unfolded",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
