"""The task, data and cell of a config, as training uses them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

from rnnjax.app._config import Config, Flags
from rnnjax.app._experiment import Experiment
from rnnjax.app._programs import Programs, programs
from rnnjax.app._setup import load_data
from rnnjax.base import PyTree


class Opened(NamedTuple):
    """The objects that a config describes.

    Attributes:
      facts: as loaded.
      data: as loaded.
      programs: the programs that evaluate it, with its setup.
    """

    facts: Any
    data: PyTree
    programs: Programs


def open_config(experiment: Experiment, config: Config) -> Opened:
    """Loads the data of a config and builds its network; nothing is compiled."""
    facts, data = load_data(experiment.load, config)
    return Opened(facts, data, programs(experiment.build_with(facts), config))


def example_of(opened: Opened) -> PyTree:
    """Returns the shapes and dtypes of one input of the network."""
    stream = opened.programs.setup.train
    batch = jax.eval_shape(lambda data: stream.next(data, stream.init(data), jax.random.key(0))[0], opened.data)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), batch.x)


@contextlib.contextmanager
def numerics(config: Flags) -> Iterator[None]:
    """Configures JAX by the flags of a run, inside a `with` block and for this thread only."""
    with jax.enable_x64(config.dtype == "float64"), jax.default_matmul_precision(config.matmul_precision):
        yield
