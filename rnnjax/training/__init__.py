"""Pure training loops, optimizers, and populations of runs. No files, no flags.

Belongs here: functions of arrays. Does not belong here: checkpoints (`runs`), command lines (`app`).
"""

from rnnjax.training._loop import Progress, Trainer, TrainState, evaluate, init, loop
from rnnjax.training._optimizers import Kind, by_name, decayed, kind_of, optimizer, scale_by_name
from rnnjax.training._population import (
    STRATEGIES,
    bootstrap,
    chosen,
    exploit,
    explore,
    host_devices,
    interquartile_mean,
    population,
    spread,
    survivors,
)

__all__ = [
    "STRATEGIES",
    "Kind",
    "Progress",
    "TrainState",
    "Trainer",
    "bootstrap",
    "by_name",
    "chosen",
    "decayed",
    "evaluate",
    "exploit",
    "explore",
    "host_devices",
    "init",
    "interquartile_mean",
    "kind_of",
    "loop",
    "optimizer",
    "population",
    "scale_by_name",
    "spread",
    "survivors",
]
