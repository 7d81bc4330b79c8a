"""Tasks for the tests of dispatch."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from rnnjax.base import UserError


def squared(unit: dict[str, Any]) -> int:
    """x^2; says that it began, then waits, or fails in the way that the unit asks for."""
    if "trace" in unit:
        with Path(unit["trace"]).open("a") as file:
            file.write(f"{unit['x']} {os.getpid()}\n")
    if unit.get("refuse"):
        raise UserError("not this one")
    if unit.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(unit.get("wait", 0))
    return int(unit["x"] ** 2)
