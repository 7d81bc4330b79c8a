"""Runs an experiment in this process, as its command line would."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import jax

from rnnjax import app


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


def records(workdir: Path) -> list[dict]:
    """The metrics of a run, without the clock."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
