"""The Cell type, sequences, and running a cell over time. Depends on JAX only.

Belongs here: types and functions that all other folders use. Does not belong here: particular cells.
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.base._carries import memory_carry, wrapping_carry
from rnnjax.base._cell import Cell, PyTree, factory, run, with_step, without_fast, wrapper
from rnnjax.base._checks import check_number, check_positive, check_rate, check_size
from rnnjax.base._compose import stack, stateless
from rnnjax.base._describe import Description, Part, describe
from rnnjax.base._errors import UserError
from rnnjax.base._pytrees import count
from rnnjax.base._seq import Seq, SourceTarget, tree_where, without_marks
from rnnjax.base._unroll import chunk, remat, unroll, with_resets

__all__ = [
    "Cell",
    "Description",
    "Part",
    "PyTree",
    "Seq",
    "SourceTarget",
    "UserError",
    "check_number",
    "check_positive",
    "check_rate",
    "check_size",
    "chunk",
    "count",
    "describe",
    "factory",
    "memory_carry",
    "remat",
    "run",
    "stack",
    "stateless",
    "tree_where",
    "unroll",
    "with_resets",
    "with_step",
    "without_fast",
    "without_marks",
    "wrapper",
    "wrapping_carry",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
