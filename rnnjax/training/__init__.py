"""Pure training loops, optimisers and populations of runs.

Belongs here: functions of arrays, without files or flags. Does not belong here: checkpoints (`runs`), commands (`app`).
"""

from typing import TYPE_CHECKING

from rnnjax._deprecated import getattr_of
from rnnjax.training._average import average_params, averaged
from rnnjax.training._loop import Progress, Trainer, TrainState, evaluate, init, loop
from rnnjax.training._optimizers import decayed, optimizer, scale_by_name
from rnnjax.training._parallel import parallel_grad
from rnnjax.training._population import (
    STRATEGIES,
    bootstrap,
    exploit,
    helpful_devices,
    host_devices,
    interquartile_mean,
    population,
    spread,
)
from rnnjax.training._rates import RateTest, find_learning_rate

__all__ = [
    "STRATEGIES",
    "Progress",
    "RateTest",
    "TrainState",
    "Trainer",
    "average_params",
    "averaged",
    "bootstrap",
    "decayed",
    "evaluate",
    "exploit",
    "find_learning_rate",
    "helpful_devices",
    "host_devices",
    "init",
    "interquartile_mean",
    "loop",
    "optimizer",
    "parallel_grad",
    "population",
    "scale_by_name",
    "spread",
]

if not TYPE_CHECKING:
    __getattr__ = getattr_of(__name__)
