"""Checks of a launch before anything is written."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, TextIO, cast

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
    said: set[str] = set()
    for name, config in configs.items():
        with _without_repetitions(said):
            session = _checked_session(experiment, config, recorded[name])
        for other in ready.values():
            session.data = other.data if _trees_equal(other.data, session.data) else session.data
        ready[name] = session
    return ready


class _Once:
    """A stream of text that leaves out whole lines which were written before.

    Attributes:
      stream: where the others go.
      before: the lines to leave out.
      lines: that were written, or left out.
    """

    def __init__(self, stream: TextIO, before: Set[str]) -> None:
        self.stream, self.before = stream, before
        self.lines, self.rest = set[str](), ""

    def write(self, text: str) -> int:
        """Writes the lines that this text completes."""
        *lines, self.rest = (self.rest + text).split("\n")
        self.stream.write("".join(f"{line}\n" for line in lines if line not in self.before))
        self.lines.update(lines)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def _without_repetitions(said: set[str]) -> Iterator[None]:
    """Prints no line again that was printed for the run before: runs often read the same files, and say so."""
    stream = _Once(sys.stdout, frozenset(said))
    try:
        with contextlib.redirect_stdout(cast(TextIO, stream)):
            yield
    finally:
        stream.stream.write(stream.rest)
        said |= stream.lines


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
