"""`--devices`: how many devices share each batch of a run, and which number `auto` takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import jax

from rnnjax import training
from rnnjax.app._config import Config
from rnnjax.base import PyTree
from rnnjax.estimators._base import batch_size_of
from rnnjax.runs import usable_cores
from rnnjax.runs._flags_file import flag_value, read_flags
from rnnjax.training import Trainer

AUTO = "auto"
_MOST = 8  # that a CPU with fewer cores is divided into: a thousand take a minute


def recorded_devices(folder: Path | None) -> int | None:
    """Returns the number in the flags.cfg of a run; None if there is no run yet, 0 if it is older than the flag."""
    if folder is None or not (folder / "flags.cfg").exists():
        return None
    line = read_flags(folder / "flags.cfg", ()).get("devices", "--devices=0")
    text = flag_value("devices", line)
    return int(text) if text.isdecimal() else None


def devices_line(taken: Iterable[int]) -> str:
    """Returns the line of flags.cfg for the runs of a launch; if they take different numbers, each has its own file.

    Example:
      >>> devices_line([2, 2]), devices_line([2, 1])
      ('--devices=2', '--devices=auto')
    """
    numbers = set(taken)
    return f"--devices={numbers.pop() if len(numbers) == 1 else AUTO}"


def make_devices(configs: Iterable[Config], recorded: Iterable[int | None]) -> None:
    """Makes the CPU devices that the runs of a launch share, if JAX has not started."""
    cores = usable_cores()
    wanted = [min(_first_guess(c, known), cores if c.devices == AUTO else max(cores, _MOST))
              for c, known in zip(configs, recorded) if not c.values.get("coordinator")]  # fmt: skip
    if max(wanted, default=0) > 1:
        training.host_devices(max(wanted))


def _first_guess(config: Config, recorded: int | None) -> int:
    """Returns the number of devices by the flags alone; `taken_devices` may lower that of auto."""
    if config.devices != AUTO:
        return int(config.devices)
    if recorded is not None:
        return recorded
    return training.helpful_devices(config.batch_size, config.hidden_size, usable_cores())


def taken_devices(config: Config, make_trainer: Callable[[], Trainer], data: PyTree, recorded: int | None) -> int:
    """Returns the number of devices that a run takes.

    Args:
      config: of the run.
      make_trainer: makes the parts of its training, on one device.
      data: as loaded.
      recorded: the number in its flags.cfg; None for a new run.
    """
    if config.devices != AUTO:
        return int(config.devices)
    if config.values.get("coordinator"):
        return 0
    there = len(jax.devices())
    if recorded is not None:
        return recorded if recorded <= there else max(n for n in range(1, there + 1) if recorded % n == 0)
    if there == 1 or jax.default_backend() != "cpu" or _first_guess(config, None) == 1:
        return 1
    trainer = make_trainer()
    if not trainer.estimator.adds:
        return 1
    batch = jax.eval_shape(
        lambda data: trainer.stream.next(data, trainer.stream.init(data), jax.random.key(0))[0], data
    )
    return training.helpful_devices(batch_size_of(batch), config.hidden_size, min(there, usable_cores()))
