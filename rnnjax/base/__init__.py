"""The Cell type, sequences, and how a cell runs over time. Depends on JAX alone.

Belongs here: what every other folder needs. Does not belong here: any particular cell.
"""

from rnnjax.base._cell import Cell, PyTree, run, with_step
from rnnjax.base._compose import memoryless, stack
from rnnjax.base._errors import UserError
from rnnjax.base._pytrees import count
from rnnjax.base._seq import Pair, Seq, plain, where
from rnnjax.base._unroll import chunk, remat, segmented, unroll

__all__ = [
    "Cell",
    "Pair",
    "PyTree",
    "Seq",
    "UserError",
    "chunk",
    "count",
    "memoryless",
    "plain",
    "remat",
    "run",
    "segmented",
    "stack",
    "unroll",
    "where",
    "with_step",
]
