"""Checks of a launch before anything is written."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from rnnjax.app._analysis import Analyser
from rnnjax.app._config import Config
from rnnjax.app._devices import make_devices, recorded_devices
from rnnjax.app._experiment import Experiment, Study
from rnnjax.app._refusals import refused_as
from rnnjax.app._registry import CELLS
from rnnjax.app._session import Session
from rnnjax.base import PyTree


def check_runs(experiment: Experiment, configs: dict[str, Config], root: Path | None = None) -> dict[str, Session]:
    """Returns the session of each run; sessions with equal data share them.

    Args:
      experiment: of all runs.
      configs: by name.
      root: the folder of the launch, in which a run may have begun; None: it is not looked at.

    Raises:
      UserError: one of them cannot be trained. Nothing is written before.
    """
    ready: dict[str, Session] = {}
    folders = {name: root and (root if len(configs) == 1 else root / name) for name in configs}
    recorded = {name: recorded_devices(folder) for name, folder in folders.items()}
    make_devices(configs.values(), recorded.values())
    for name, config in configs.items():
        session = _checked_session(experiment, config, recorded[name])
        for other in ready.values():
            session.data = other.data if _trees_equal(other.data, session.data) else session.data
        ready[name] = session
    return ready


def _checked_session(experiment: Experiment, config: Config, recorded: int | None) -> Session:
    """Returns a session that has passed its checks."""
    session = Session(experiment, config, recorded)
    session.check()
    if config.analyse:
        Analyser(session)
    return session


def _trees_equal(a: PyTree, b: PyTree) -> bool:
    """Returns whether two trees of arrays are equal."""
    ones, others = (jax.tree_util.tree_leaves_with_path(tree) for tree in (a, b))
    if [(path, x.dtype) for path, x in ones] != [(path, x.dtype) for path, x in others]:
        return False
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for (_, x), (_, y) in zip(ones, others))


def check_study(study: Study, configs: dict[str, Config]) -> dict[str, Session]:
    """Makes the layers of each cell and runs the study's own check; returns no session.

    Raises:
      UserError: the study refuses its flags. Nothing is written before.
    """
    with refused_as("", (TypeError, ValueError, OverflowError)):
        for config in configs.values():
            if config.values.get("cell") in CELLS:
                config.layers()
        if study.check is not None:
            study.check(configs)
    return {}
