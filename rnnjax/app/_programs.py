"""The compiled programs of a run. Numbers are arguments, so another learning rate does not recompile."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from rnnjax import training
from rnnjax.app._config import Config
from rnnjax.app._refusals import refused_as
from rnnjax.app._reports import Report
from rnnjax.app._setup import Build, Setup, build_setup, traceable, trainer
from rnnjax.base import PyTree, UserError
from rnnjax.base._pytrees import path_name
from rnnjax.data import Stream
from rnnjax.distributed._parallel import UnevenBatchError, constrain_sharding, on_devices, shard_stream
from rnnjax.training import Progress
from rnnjax.training._loop import Piece, estimate_batch

DATA_TAG, VALID_TAG, _TEST_TAG = 0, 1, 2  # of the run's seed: training, validation and test never share a key


_Evaluate = Callable[[PyTree, PyTree], dict[str, float]]


class Programs(NamedTuple):
    """The compiled functions of a run and their setup.

    Attributes:
      setup: of the run.
      init: (data, initial params or None) -> Progress.
      steps: (progress, data, n) -> Progress; consumes its progress.
      valid, test: (params, data) -> {metric: value}; None if the setup has no such stream.
      measured: (params, data) -> the shapes of the metrics that an evaluation gives, traced; without validation, those
        of training.
      report: (params, data) -> the measurements of `--report`.
      blame: (progress, data) -> the name of the first value of its next step that is not finite, or None.
    """

    setup: Setup
    init: Callable[..., Progress]
    steps: Callable[[Progress, PyTree, int], Progress]
    valid: _Evaluate | None
    test: _Evaluate | None
    measured: Callable[[PyTree, PyTree], dict[str, Any]]
    report: Callable[[PyTree, PyTree], dict[str, jax.Array]]
    blame: Callable[[Progress, PyTree], str | None]


def programs(build: Build, config: Config, devices: Mesh | None = None) -> Programs:
    """Returns the programs of a config, on a mesh of devices or a single one; they compile when first called.

    Example:
      >>> import jax, rnnjax
      >>> from rnnjax import app, losses, tasks
      >>> def build(config):
      ...     stream = tasks.task_stream(tasks.adding(10), config.batch_size)
      ...     return app.Setup(rnnjax.unroll(rnnjax.stack(config.layers(), rnnjax.linear(1))), losses.regress, stream)
      >>> [config] = app.run_configs(app.parse(app.common_flags(cell="gru", hidden_size="4"), ["x", "--optimizer=sgd"]))
      >>> compiled = programs(build, config)
      >>> progress = compiled.steps(compiled.init(()), (), 3)
      >>> int(progress.state.step)
      3
    """
    key, setup = jax.random.key(config.seed), build_setup(build, config)
    numbers = traceable(build, config, config.numbers())

    def given(f: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        """Compiles f(trainer, ...) with the numbers as its first argument, and fills them in."""

        def applied(numbers: dict[str, Any], *args: Any) -> Any:
            return f(on_devices(trainer(build, config.with_numbers(numbers)), devices), *args)

        compiled = jax.jit(applied, **options)
        return lambda *args: compiled(numbers, *args)

    def init(trainer: training.Trainer, data: PyTree, key: jax.Array, start: PyTree = None) -> Progress:
        if start is not None:
            trainer = trainer._replace(cell=trainer.cell.replace(init=lambda key, x: start))
        with refused_as(f"--batch_size={config.batch_size}: ", (UnevenBatchError,)):
            return constrain_sharding(trainer, training.init(trainer, data, key), data, devices)

    def loop(trainer: training.Trainer, progress: Progress, data: PyTree, n: Any) -> Progress:
        return constrain_sharding(trainer, training.loop(trainer, progress, data, n), data, devices)

    scored, initial = _evaluation(setup, devices), given(init)
    return Programs(
        setup=setup,
        init=lambda data, start=None: initial(data, jax.random.fold_in(key, DATA_TAG), start),
        steps=given(loop, donate_argnums=(1,)),
        valid=scored(setup.valid, jax.random.fold_in(key, VALID_TAG)),
        test=scored(setup.test, jax.random.fold_in(key, _TEST_TAG)),
        measured=functools.partial(_measured, setup),
        report=_evaluate_reports(setup, config.reports(), jax.random.fold_in(key, VALID_TAG)),
        blame=lambda progress, data: _first_bad(given(_step_parts)(progress, data)),
    )


def _evaluation(setup: Setup, devices: Mesh | None) -> Callable[[Stream | None, jax.Array], _Evaluate | None]:
    """Returns a function that compiles a pass over a stream, with metrics as plain numbers.

    Streams that differ only in length share a program: validation and test on fresh examples compile once.
    """

    @functools.cache
    def compiled(stream: Stream) -> Callable[..., Any]:
        return jax.jit(training.evaluate(setup.cell, setup.objective, shard_stream(stream, devices)))

    def scored(stream: Stream | None, key: jax.Array) -> _Evaluate | None:
        if stream is None:
            return None
        whole = compiled(stream._replace(length=0))
        return lambda params, data: plain_metrics(whole(params, data, key, stream.length))

    return scored


def _measured(setup: Setup, params: PyTree, data: PyTree) -> dict[str, Any]:
    """Returns the shapes of the metrics of an evaluation, under the names of a record."""
    stream, key = setup.valid or setup.train._replace(length=1), jax.random.key(0)
    known = jax.eval_shape(training.evaluate(setup.cell, setup.objective, stream), params, data, key)
    return {f"valid_{name}" if setup.valid else name: shape for name, shape in known.items()}


def _evaluate_reports(
    setup: Setup, reports: dict[str, Report], key: jax.Array
) -> Callable[[PyTree, PyTree], dict[str, jax.Array]]:
    """Returns all reports on the first validation batch, or training batch if there is no validation."""
    stream = setup.valid or setup.train

    @jax.jit
    def compiled(params: PyTree, data: PyTree) -> dict[str, jax.Array]:
        batch, _ = stream.next(data, stream.init(data), key)
        found: dict[str, jax.Array] = {}
        for name, report in reports.items():
            found |= asked(name, report, params, batch.x)
        return found

    def asked(name: str, report: Report, params: PyTree, x: PyTree) -> dict[str, jax.Array]:
        """Returns the numbers of a report by name; refuses anything else."""
        try:
            made = report(setup.cell, params, x)
            if not isinstance(made, dict):
                raise TypeError(f"it gives {type(made).__name__}, not a dict of numbers by name")
            return {str(key): jnp.reshape(jnp.asarray(value, jnp.float32), ()) for key, value in made.items()}
        except (TypeError, ValueError) as error:
            raise UserError(f"--report={name}: {str(error).splitlines()[0]}") from error

    return compiled


def plain_metrics(metrics: Any) -> dict[str, float]:
    """Returns metrics as plain numbers."""
    return {name: float(m.value()) for name, m in metrics.items()}


_PARTS = ("params", "carry", "batch", "metrics", "next_carry", "grads")  # in the order of computation


def _step_parts(trainer: training.Trainer, progress: Progress, data: PyTree) -> dict[str, PyTree]:
    """Returns the values of the next step, by the names of `_PARTS`, with an axis of its batches."""
    state = progress.state

    def body(at: tuple[PyTree, PyTree], i: jax.Array) -> tuple[tuple[PyTree, PyTree], Piece]:
        piece = estimate_batch(trainer, state, data, *at, i)
        return (piece.next_carry, piece.position), piece

    _, pieces = jax.lax.scan(body, (state.estimator, state.position), jnp.arange(trainer.accumulate))
    return {
        "params": state.params,
        "carry": pieces.carry,
        "batch": pieces.batch,
        "metrics": pieces.estimate.metrics,
        "next_carry": pieces.next_carry,
        "grads": pieces.estimate.grads,
    }


def _first_bad(tree: dict[str, PyTree]) -> str | None:
    """Returns the name of the first leaf that contains nan or inf."""
    for group in _PARTS:  # a dict that comes out of jit is sorted by name
        for path, leaf in jax.tree.leaves_with_path(tree[group]):
            if jnp.issubdtype(leaf.dtype, jnp.floating) and not bool(jnp.isfinite(leaf).all()):
                return "/".join(filter(None, [group, path_name(path)]))
    return None
