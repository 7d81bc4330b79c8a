"""Functions from a cell to a cell that change its values.

Shortcuts, noise, shared parameters, dtype, conditioning, direction. Belongs here: a transform that works on every
cell. Does not belong here: a transform that changes gradients alone (`credit`).
"""

from rnnjax.wrappers._bidirectional import Both, bidirectional, last
from rnnjax.wrappers._conditioning import HOW, condition
from rnnjax.wrappers._deer import newton
from rnnjax.wrappers._dtype import cast
from rnnjax.wrappers._noise import dropconnect, zoneout
from rnnjax.wrappers._parameters import learn_carry, parametrize, tie
from rnnjax.wrappers._scheduled_sampling import Taught, falling, scheduled_sampling, taught
from rnnjax.wrappers._shortcuts import dense, highway, residual
from rnnjax.wrappers._sparse import sparse

__all__ = [
    "HOW",
    "Both",
    "Taught",
    "bidirectional",
    "cast",
    "condition",
    "dense",
    "dropconnect",
    "falling",
    "highway",
    "last",
    "learn_carry",
    "newton",
    "parametrize",
    "residual",
    "scheduled_sampling",
    "sparse",
    "taught",
    "tie",
    "zoneout",
]
