"""Workers as tasks of a Ray cluster; without one, of a cluster that Ray starts on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from rnnjax.runs._extras import import_extra


class Ray:
    """Starts workers by Ray, which places them by num_cpus, num_gpus and resources.

    Args:
      options: of a Ray task; by default one CPU each.
      environment: variables of each worker.
    """

    def __init__(self, options: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.options = {"num_cpus": 1} | dict(options)
        self.environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", os.getcwd()), **environment}
        self.ray: Any = None

    def start(self, place: int, work: Callable[..., int], *arguments: Any) -> _RayJob:
        """Starts a worker as a task that is tried once: the pool replaces it."""
        if self.ray is None:
            self.ray = self._connected()
        remote = self.ray.remote(max_retries=0, **self.options)(work)
        return _RayJob(self.ray, remote.remote(*arguments))

    def check(self) -> None:
        """Raises the errors of a start, and starts nothing."""
        import_extra("ray", "--engine=ray", "ray").remote(max_retries=0, **self.options)(lambda: None)

    def _connected(self) -> Any:
        ray = import_extra("ray", "--engine=ray", "ray")
        if not ray.is_initialized():
            ray.init(
                address=os.environ.get("RAY_ADDRESS"),
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": self.environment},
            )
        return ray


class _RayJob:
    """A worker that Ray has started; the same methods as a job of submitit."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self.ray, self.reference = ray, reference

    def done(self) -> bool:
        """Returns whether it has ended, in whatever way."""
        return bool(self.ray.wait([self.reference], timeout=0)[0])

    def cancel(self) -> None:
        """Ends it."""
        self.ray.cancel(self.reference, force=True)

    def stderr(self) -> str:
        """Returns the last line of its error."""
        try:
            self.ray.get(self.reference, timeout=1)
        except Exception as error:
            return str(error).strip().splitlines()[-1]
        return ""
