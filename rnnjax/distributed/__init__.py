"""Training over several devices and processes.

Belongs here: meshes, sharding, checkpoints of sharded arrays. Does not belong here: a sweep's job queue (`runs`).
"""

from rnnjax.distributed._parallel import mesh, replicate
from rnnjax.distributed._runtime import share, start

__all__ = [
    "mesh",
    "replicate",
    "share",
    "start",
]
