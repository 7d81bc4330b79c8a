"""Runs an experiment in this process, as its command line would."""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnjax import app, linear, losses, unroll
from rnnjax.app import _opened, _session
from rnnjax.base import UserError
from rnnjax.data import Batch, Stream
from rnnjax.studies import _compiler, _study

# Flags that no program reads: where a run is written, and how often.
OF_THE_HOST = {
    "workdir",
    "writers",
    "compilation_cache",
    "start_from",
    "start_partial",
    "picture",
    "data_dir",
    "patience",
    "devices",  # the mesh is an argument of its own
}
OF_THE_HOST |= {"log_every", "eval_every", "checkpoint_every", "keep_checkpoints"}


def launch(experiment: str | app.Experiment, *argv: str) -> int:
    """The exit status of an experiment: one of ours by name, or any."""
    name = experiment if isinstance(experiment, str) else "user"
    if isinstance(experiment, str):
        experiment = importlib.import_module(f"experiments.{experiment}").EXPERIMENT
    argv = (*argv,) if any("compilation_cache" in a for a in argv) else (*argv, "--compilation_cache=off")
    try:
        with jax.numpy_dtype_promotion("standard"):  # optax has not been written for strict promotion
            return app.status(experiment, [f"{name}.py", *argv])
    finally:
        jax.config.update("jax_enable_x64", False)
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_default_matmul_precision", None)


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Runs of equal flags and the same `build` have the same compiled programs: a launch costs a tenth."""
    made: dict = {}

    def sharing(make, build, config, *args, **options):
        host = OF_THE_HOST | ({"num_steps"} if config.schedule == "constant" else set())
        flags = tuple((name, repr(value)) for name, value in sorted(config.values.items()) if name not in host)
        key = make, build, flags, args, *options.items()
        if key not in made:
            made[key] = make(build, config, *args, **options)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (_session, "programs"),
            (_opened, "programs"),
            (_study, "programs"),
            (_compiler, "group_programs"),
        ):
            patch.setattr(module, name, functools.partial(sharing, getattr(module, name)))
        yield


def records(workdir: Path) -> list[dict]:
    """The metrics of a run, without the clock."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "check")} for line in lines]


def summary(workdir: Path) -> dict:
    """The entry of the only run in a summary.json."""
    (entry,) = json.loads((workdir / "summary.json").read_text())["runs"].values()
    return entry


def there_and_back() -> app.Experiment:
    """Learns y = w x for w = 1, while validation wants 0.5: its loss falls, then rises."""
    x = jnp.ones((4, 3, 1))

    def stream(w: float, length: int = 0) -> Stream:
        return Stream(lambda data: (), lambda data, position, key: (Batch(x, w * x), position), length)

    def build(config):
        return app.Setup(
            unroll(linear(1, w_init=jax.nn.initializers.zeros)),
            losses.regress,
            stream(1.0),
            stream(0.5, 1),
            stream(0.5, 1),
        )

    flags = app.common_flags(
        optimizer="sgd",
        learning_rate=0.05,
        clip_norm=0.0,
        num_steps=200,
        eval_every=1,
        log_every=1,
        checkpoint_every=7,
        writers="jsonl",
    )
    return app.Experiment(build, flags)


def one_line(capsys) -> str:
    """The only line on standard error, but for that which names the workdir."""
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("workdir: ")]
    assert len(lines) == 1, lines
    return lines[0]


def user_experiment(values=None, w=1.0) -> app.Experiment:
    """An experiment of a user's: y = w x on data of their own."""
    from rnnjax import linear, unroll

    def load(config):
        x = np.ones((4, 3, 1), np.float32)
        return None, {"x": x if values is None else np.where(x == 1, values, x)}

    def build(config, facts):
        stream = Stream(
            lambda data: jnp.zeros((), jnp.int32),
            lambda data, position, key: (Batch(data["x"] * w, data["x"]), position + 1),
        )
        return app.Setup(unroll(linear(1)), losses.regress, stream)

    return app.Experiment(build, app.common_flags(num_steps=50, checkpoint_every=1, writers="jsonl"), load)


def refusal(f) -> str:
    """The line with which something is refused."""
    with pytest.raises(UserError) as error:
        f()
    assert "\n" not in str(error.value)
    return str(error.value)
