"""What an experiment passes to a run: the network, its objective, its data, and baselines to compare with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.app._config import NUMBERS, Config
from rnnjax.base import Cell, PyTree, UserError
from rnnjax.base._pytrees import path_name
from rnnjax.data import Stream
from rnnjax.estimators import Estimator
from rnnjax.losses import Objective
from rnnjax.training import Trainer
from rnnjax.wrappers import cast


class Published(NamedTuple):
    """A published result for the closing table.

    Attributes:
      model: the model and its setting.
      value: the reported value, as text: "0.0204 nats".
      source: where it was published.
      verified: whether it was checked in the source; if not, it is marked "unverified".
    """

    model: str
    value: str
    source: str
    verified: bool


class Setup(NamedTuple):
    """An experiment with all choices made. It is pure: `build` makes it again inside the compiled program.

    Attributes:
      cell: a window cell, from inputs to outputs.
      objective: (outputs, batch) -> metrics of one example; "loss" is minimised.
      train: stream of training batches.
      valid, test: finite streams for evaluation; None for no evaluation.
      baseline: the best loss without memory, or another reference value.
      baseline_name: a description of the baseline.
      published: published results to print beside.
      loss_label: the loss and its unit.
      around: a wrapper of the estimator of `--rule`, such as `estimators.bucketed`; None for no wrapper.
    """

    cell: Cell
    objective: Objective
    train: Stream
    valid: Stream | None = None
    test: Stream | None = None
    baseline: float | None = None
    baseline_name: str = "baseline"
    published: tuple[Published, ...] = ()
    loss_label: str = "loss"
    around: Callable[[Estimator], Estimator] | None = None


Build = Callable[[Config], Setup]  # with the facts already bound: see `Experiment.build_with`
Load = Callable[[Config], tuple[Any, PyTree]]


def build_setup(build: Build, config: Config) -> Setup:
    """Builds the setup of a config in the dtype of its flag; errors of a cell become a `UserError`.

    Args:
      build: config -> Setup; for an experiment with `load`, `experiment.build_with(facts)`.
      config: of one run.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> from rnnjax import app, losses, tasks
      >>> def build(config):
      ...     stream = tasks.task_stream(tasks.adding(10), config.batch_size)
      ...     return app.Setup(rnnjax.unroll(config.layers()), losses.regress, stream)
      >>> [config] = app.run_configs(app.parse(app.common_flags(cell="gru"), ["adding", "--dtype=bfloat16"]))
      >>> build_setup(build, config).cell.init(jax.random.key(0), jnp.ones((10, 2)))[0][0]["w"].dtype
      dtype('float32')
    """
    try:
        setup = build(config)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from error
    return setup._replace(cell=cast(setup.cell, jnp.dtype(config.dtype)))


class _NotTraceable(UserError):
    """A build that needs the concrete value of a number, because it branches on it."""


def traceable(build: Build, config: Config, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the numbers that can be tracers when the setup is built; a build may branch on others.

    Raises:
      UserError: the build itself raises it.
    """

    def built(name: str, value: Any) -> tuple[()]:
        try:
            build_setup(build, config.with_numbers({name: value}))
        except UserError as error:
            if error.__cause__ is None:  # it was not caused by an error of JAX or Python about a tracer
                raise
            raise _NotTraceable(f"{name}: {error}") from error
        return ()

    kept = {}
    for name, value in numbers.items():
        with contextlib.suppress(_NotTraceable):
            if name not in NUMBERS:
                jax.eval_shape(lambda v, name=name: built(name, v), value)
            kept[name] = value
    return kept


def _scale_init(cell: Cell, factor: Any) -> Cell:
    """Returns the cell with its initial parameters times a number, which may be a tracer."""
    return cell.replace(init=lambda key, x: jax.tree.map(lambda p: p * jnp.asarray(factor, p.dtype), cell.init(key, x)))


def trainer(build: Build, config: Config) -> Trainer:
    """Returns the pure parts of training that a config describes."""
    setup = build_setup(build, config)
    cell = _scale_init(setup.cell, config.init_scale)
    estimator = config.make_estimator(setup.cell, setup.objective)
    estimator = estimator if setup.around is None else setup.around(estimator)
    return Trainer(cell, estimator, config.make_optimizer(), setup.train, config.values.get("accumulate", 1))


def load_data(load: Load | None, config: Config) -> tuple[Any, PyTree]:
    """Returns the facts, and the data on the device after a check for nan and inf; (None, ()) if nothing is loaded.

    Example:
      >>> import numpy as np
      >>> from rnnjax import app
      >>> [config] = app.run_configs(app.parse(app.common_flags(), ["x"]))
      >>> load_data(lambda config: (None, {"x": np.array([1.0, np.nan])}), config)
      Traceback (most recent call last):
      rnnjax.base.UserError: the data hold nan in x at index [1]
    """
    if load is None:
        return None, ()
    facts, data = load(config)
    for path, leaf in jax.tree.leaves_with_path(data):
        array = np.asarray(leaf)
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            where = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
            raise UserError(f"the data hold {array[tuple(where)]} in {path_name(path)} at index {where}")
    return facts, jax.tree.map(jnp.asarray, data)
