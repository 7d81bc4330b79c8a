"""The stored parameters of a run: the best, the last, and those of single steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnjax.base import UserError
from rnnjax.runs._checkpoint import Checkpoints
from rnnjax.runs._leaves import DamagedError

_PARAMS = ".progress.state.params"  # their path in the state of a run
_AVERAGE = ".progress.state.opt_state.average"  # that of their moving average, which takes their place


def kept_place(run: Path, which: str) -> tuple[Checkpoints, int, str]:
    """Locates parameters: returns the checkpoints, the step, and the path in the saved state.

    Args:
      run: its folder, or that of a study, which keeps the best parameters of its best member.
      which: "best", "last", or a step; without validation, the last are the best.

    Raises:
      UserError: these parameters are not kept.
    """
    if (run / "members.jsonl").exists():
        return _of_best_member(run, which)
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


def _of_best_member(study: Path, which: str) -> tuple[Checkpoints, int, str]:
    members = [Checkpoints(folder) for folder in (study / "best").glob("[0-9]*")]
    if which != "best" or len(members) != 1 or not members[0].steps():
        found = "it has not chosen one yet" if which == "best" else f"not those of {which}"
        raise UserError(f"{study} is a study, which keeps only the parameters of its best member: {found}")
    return members[0], members[0].steps()[-1], ""


def kept_arrays(run: Path, which: str) -> tuple[int, dict[str, np.ndarray]]:
    """Returns parameters by path and their step; see `kept_place`.

    Raises:
      UserError: these parameters are not kept, or are damaged.
    """
    kept, step, prefix = kept_place(run, which)
    try:
        average = kept.arrays(step, _AVERAGE) if prefix else {}
        return step, average or kept.arrays(step, prefix)
    except DamagedError as damage:
        steps = ", ".join(map(str, Checkpoints(run / "checkpoints").steps())) or "none"
        raise UserError(
            f"{kept.directory / str(step)} is damaged ({damage}); steps kept besides the best: {steps}"
        ) from damage
