"""A network of an experiment with all choices made: its task, its data, its cell, as training had them."""

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
    """What a config comes to.

    Attributes:
      facts: what loading found out.
      data: what loading gave.
      programs: what evaluates it, with its setup.
    """

    facts: Any
    data: PyTree
    programs: Programs


def open_config(experiment: Experiment, config: Config) -> Opened:
    """Loads the data of a config and builds its network; nothing is compiled."""
    facts, data = load_data(experiment.load, config)
    return Opened(facts, data, programs(experiment.build_with(facts), config))


def example_of(opened: Opened) -> PyTree:
    """The shapes and dtypes of one input of the network."""
    stream = opened.programs.setup.train
    batch = jax.eval_shape(lambda data: stream.next(data, stream.init(data), jax.random.key(0))[0], opened.data)
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), batch.x)


@contextlib.contextmanager
def numerics(config: Flags) -> Iterator[None]:
    """JAX as the flags of a run want it, for the length of a block and in this thread alone."""
    with jax.enable_x64(config.dtype == "float64"), jax.default_matmul_precision(config.matmul_precision):
        yield
