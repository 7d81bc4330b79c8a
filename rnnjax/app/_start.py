"""`--start_from`: initialises training with the parameters of another run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from rnnjax.app._config import Config
from rnnjax.app._run_folder import check_is_run, inner_runs
from rnnjax.base import PyTree, UserError
from rnnjax.base._errors import as_user_error
from rnnjax.interop._params import fit_params
from rnnjax.runs._kept import kept_arrays


def starting_params(config: Config, drawn: PyTree) -> PyTree:
    """Returns the params of the run that the flag names; with --start_partial, random ones where they do not fit.

    Raises:
      UserError: there is no such run, or its params do not fit.
    """
    source = f"--start_from={config.start_from}"
    try:
        params, anew = fit_params(drawn, _arrays(config.start_from), source, config.start_partial)
    except ValueError as error:
        raise UserError(f"{error}; --start_partial loads what fits") from error
    if anew:
        print(f"{source}: {len(anew)} do not fit and are initialised: {'; '.join(anew)}", file=sys.stderr)
    return params


def check_start(config: Config, like: PyTree) -> None:
    """Refuses params that do not fit. Missing files are only an error when they are needed; a resumed run needs none.

    Raises:
      UserError: they do not fit.
    """
    text = config.values.get("start_from")
    if not text or config.start_partial:
        return
    try:
        arrays = _arrays(text)
    except UserError:
        return
    try:
        fit_params(like, arrays, f"--start_from={text}")
    except ValueError as error:
        raise UserError(f"{error}; --start_partial loads what fits") from error


def _arrays(text: str) -> dict[str, np.ndarray]:
    """Returns the params that RUN, RUN:best, RUN:last or RUN:STEP names."""
    path, colon, which = text.rpartition(":")
    if not colon or not (which in ("best", "last") or which.isdecimal()):
        path, which = text, "best"
    try:
        return _arrays_of(Path(path), which)
    except UserError as error:
        raise UserError(f"--start_from={text}: {error}") from error


def _arrays_of(folder: Path, which: str) -> dict[str, np.ndarray]:
    """Returns the params that a single run, or a study, has kept."""
    with as_user_error("read", folder):
        check_is_run(folder)
        inner = inner_runs(folder)
    if inner:
        raise UserError(f"{folder} holds several runs ({', '.join(inner)}): name one, such as {folder / inner[0]}")
    return kept_arrays(folder, which)[1]
