"""The parameters that the folder of a run keeps: the best, the last, those of a step."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnjax.base import UserError
from rnnjax.runs._checkpoint import Checkpoints
from rnnjax.runs._leaves import DamagedError

_PARAMS = ".progress.state.params"  # where they are in the state of a run


def kept_place(run: Path, which: str) -> tuple[Checkpoints, int, str]:
    """Where parameters are: the checkpoints, the step, the path in what is saved.

    Args:
      run: its folder.
      which: "best", "last", or a step; where nothing was validated the last are the best.

    Raises:
      UserError: these are not kept.
    """
    best, kept = Checkpoints(run / "best"), Checkpoints(run / "checkpoints")
    steps = kept.steps()
    if which == "best" and best.steps():
        return best, best.steps()[-1], ""
    if not steps:
        raise UserError(f"{run} has no parameters" + (" but the best ones" if best.steps() else " yet"))
    if which in ("best", "last"):
        return kept, steps[-1], _PARAMS
    if which not in map(str, steps):
        known = (["best"] if best.steps() else []) + ["last", *map(str, steps)]
        raise UserError(f"step {which} of {run} is not kept: {', '.join(known)} are")
    return kept, int(which), _PARAMS


def kept_arrays(run: Path, which: str) -> tuple[int, dict[str, np.ndarray]]:
    """Parameters by the names of their paths, and the step that they are of; see `kept_place`.

    Raises:
      UserError: these are not kept, or damaged.
    """
    kept, step, prefix = kept_place(run, which)
    try:
        return step, kept.arrays(step, prefix)
    except DamagedError as damage:
        steps = ", ".join(map(str, Checkpoints(run / "checkpoints").steps())) or "none"
        raise UserError(
            f"{kept.directory / str(step)} is damaged ({damage}); steps kept besides the best: {steps}"
        ) from damage
