"""Credit assignment rules: functions from a cell to a cell with the same values and a different gradient.

Belongs here: real-time recurrent learning and its approximations, truncation. Does not belong here: estimators that
need a whole batch or several evaluations of a loss (`estimators`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.credit._attached import NotAdmitted
from rnnjax.credit._eligibility import eprop, rflo
from rnnjax.credit._kronecker import kf_rtrl, optimal_kronecker
from rnnjax.credit._rtrl import rtrl
from rnnjax.credit._snap import snap
from rnnjax.credit._truncation import random_truncate, truncate
from rnnjax.credit._uoro import uoro

__all__ = [
    "NotAdmitted",
    "eprop",
    "kf_rtrl",
    "optimal_kronecker",
    "random_truncate",
    "rflo",
    "rtrl",
    "snap",
    "truncate",
    "uoro",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
