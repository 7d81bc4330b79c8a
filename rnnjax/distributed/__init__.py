"""Training on several devices and processes.

Belongs here: meshes, sharding, checkpoints of sharded arrays. Does not belong here: the job queue of a study (`runs`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.distributed._parallel import mesh, replicate
from rnnjax.distributed._runtime import share, start

__all__ = [
    "mesh",
    "replicate",
    "share",
    "start",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
