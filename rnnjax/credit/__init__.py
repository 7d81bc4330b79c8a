"""Rules of credit assignment: functions from a cell to a cell with the same values and another gradient.

Belongs here: real-time recurrent learning and its approximations, truncation. Does not belong here: estimators that
need a whole batch or several evaluations of a loss (`estimators`).
"""

from rnnjax.credit._attached import Kept, NotAdmitted, attached
from rnnjax.credit._eligibility import eprop, rflo
from rnnjax.credit._jaxprs import Loops, Products, Value
from rnnjax.credit._kronecker import Kronecker, kf_rtrl, kronecker_sum
from rnnjax.credit._rtrl import Influenced, rtrl
from rnnjax.credit._snap import attached_at, snap
from rnnjax.credit._sparsity import Classes, Group, Pattern
from rnnjax.credit._truncation import random_truncate, truncate
from rnnjax.credit._uoro import RankOne, uoro

__all__ = [
    "Classes",
    "Group",
    "Influenced",
    "Kept",
    "Kronecker",
    "Loops",
    "NotAdmitted",
    "Pattern",
    "Products",
    "RankOne",
    "Value",
    "attached",
    "attached_at",
    "eprop",
    "kf_rtrl",
    "kronecker_sum",
    "random_truncate",
    "rflo",
    "rtrl",
    "snap",
    "truncate",
    "uoro",
]
