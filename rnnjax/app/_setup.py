"""What an experiment gives to the run: the network, its objective, its data, and what to hold the result against."""

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
      model: who reached it, and in what setting.
      value: what is reported, as text: "0.0204 nats".
      source: where it stands.
      verified: whether it was read there; if not it is marked "unverified".
    """

    model: str
    value: str
    source: str
    verified: bool


class Setup(NamedTuple):
    """One experiment with all choices made. Pure: `build` makes it anew inside the compiled program.

    Attributes:
      cell: of windows, from inputs to outputs.
      objective: (outputs, batch) -> metrics of one example; "loss" is minimised.
      train: stream of training batches.
      valid, test: streams for evaluation, with a length; None: there is none.
      baseline: loss of the best that can be done without memory, or another yardstick.
      baseline_name: what the baseline is.
      published: results to print beside.
      loss_label: the loss and its unit.
      around: what goes around the estimator of `--rule`, such as `estimators.bucketed`; None: nothing.
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


Build = Callable[[Config], Setup]  # what loading found is filled in already: see `Experiment.build_with`
Load = Callable[[Config], tuple[Any, PyTree]]


def build_setup(build: Build, config: Config) -> Setup:
    """The setup of a config, in the dtype of its flag; what a cell refuses becomes a `UserError`.

    Args:
      build: config -> Setup; of an experiment that loads, `experiment.build_with(facts)`.
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
    """A build that takes a number as it is, and not as an argument of a compiled program: it branches on it."""


def traceable(build: Build, config: Config, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the numbers that may be tracers when the setup is built, for a build may branch on one.

    Raises:
      UserError: of the build itself.
    """

    def built(name: str, value: Any) -> tuple[()]:
        try:
            build_setup(build, config.with_numbers({name: value}))
        except UserError as error:
            if error.__cause__ is None:  # nothing that JAX or Python said of a tracer
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
    """The cell with its initial parameters times a number, which may be a tracer."""
    return cell.replace(init=lambda key, x: jax.tree.map(lambda p: p * jnp.asarray(factor, p.dtype), cell.init(key, x)))


def trainer(build: Build, config: Config) -> Trainer:
    """The pure parts of training that a config describes."""
    setup = build_setup(build, config)
    cell = _scale_init(setup.cell, config.init_scale)
    estimator = config.make_estimator(setup.cell, setup.objective)
    estimator = estimator if setup.around is None else setup.around(estimator)
    return Trainer(cell, estimator, config.make_optimizer(), setup.train)


def load_data(load: Load | None, config: Config) -> tuple[Any, PyTree]:
    """What loading found out, and the data on the device, checked for nan and inf; (None, ()) where nothing is loaded.

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
