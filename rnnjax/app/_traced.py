"""What tracing a run's programs tells before there is a folder: faults of its parts, metrics, sizes."""

from __future__ import annotations

import math
import os

import jax

from rnnjax.app._config import Config
from rnnjax.app._pictures import check_plot
from rnnjax.app._programs import Programs
from rnnjax.app._start import check_start
from rnnjax.app._state import score_in
from rnnjax.base import PyTree, UserError
from rnnjax.losses import Criterion


def check_traced(config: Config, programs: Programs, criterion: Criterion, data: PyTree) -> None:
    """Traces the programs of a run.

    Raises:
      UserError: a size is too large, the params to start from do not fit, or a metric of a flag is not measured.
    """
    try:
        like = jax.eval_shape(programs.init, data)
        reports = jax.eval_shape(programs.report, like.state.params, data)
        check_start(config, like.state.params)
        score_in(criterion, programs.measured(like.state.params, data))
    except OverflowError as error:
        raise UserError(f"a size is too large: {error}") from error
    valid = [f"valid_{name}" for name in like.metrics if name != "grad_norm" and programs.valid is not None]
    check_plot(config.plot, [*like.metrics, *valid, *reports])
    size, there = sum(math.prod(a.shape) * 4 for a in jax.tree.leaves(like)), _memory()
    if there and size > there:
        raise UserError(
            f"the network and its optimiser need {size / 2**30:,.0f} GiB; this machine has {there / 2**30:,.0f}"
        )


def _memory() -> int:
    """Returns the memory of this machine in bytes; 0 if unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0
