"""Wrappers: functions from a cell to a cell that change its values.

Shortcuts, noise, shared parameters, dtype, conditioning, direction. Belongs here: transforms that work on every cell.
Does not belong here: transforms that change gradients only (`credit`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.wrappers._bidirectional import Directions, bidirectional, last
from rnnjax.wrappers._conditioning import CONDITIONINGS, condition
from rnnjax.wrappers._deer import deer
from rnnjax.wrappers._dtype import cast
from rnnjax.wrappers._noise import dropconnect, zoneout
from rnnjax.wrappers._parameters import learn_carry, parametrize, tie_weights
from rnnjax.wrappers._scheduled_sampling import SampledInput, sampling_schedule, scheduled_sampling, with_sampling
from rnnjax.wrappers._shortcuts import concat_skip, highway, residual
from rnnjax.wrappers._sparse import sparse

__all__ = [
    "CONDITIONINGS",
    "Directions",
    "SampledInput",
    "bidirectional",
    "cast",
    "concat_skip",
    "condition",
    "deer",
    "dropconnect",
    "highway",
    "last",
    "learn_carry",
    "parametrize",
    "residual",
    "sampling_schedule",
    "scheduled_sampling",
    "sparse",
    "tie_weights",
    "with_sampling",
    "zoneout",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
