"""Several devices and several machines as one.

Every process runs the same program, and arrays lie across the devices of all. Process 0 leads: it alone writes.
`runtime` starts and ends the processes together, `parallel` shares out the examples of a batch, `checkpoints` keeps
what lies on several machines.
"""

from rnnjax.distributed.checkpoints import Shared as Shared
from rnnjax.distributed.parallel import local as local
from rnnjax.distributed.parallel import mesh as mesh
from rnnjax.distributed.parallel import on as on
from rnnjax.distributed.parallel import put as put
from rnnjax.distributed.parallel import settled as settled
from rnnjax.distributed.parallel import spread as spread
from rnnjax.distributed.parallel import summed as summed
from rnnjax.distributed.runtime import agreed as agreed
from rnnjax.distributed.runtime import any_of as any_of
from rnnjax.distributed.runtime import fail as fail
from rnnjax.distributed.runtime import leads as leads
from rnnjax.distributed.runtime import running as running
from rnnjax.distributed.runtime import share as share
from rnnjax.distributed.runtime import start as start
from rnnjax.distributed.runtime import stop as stop
from rnnjax.distributed.runtime import what_happened as what_happened
