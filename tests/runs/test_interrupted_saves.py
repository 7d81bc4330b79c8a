"""A save that is interrupted anywhere leaves the old set or the new."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from _states import raw

from rnnjax.base import PyTree
from rnnjax.runs import Checkpoints


class Killed(BaseException):
    """Stands for a process that ends here."""


def _stop_at(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """From the n-th change to the file system on, nothing is done any more."""
    count = 0

    def stopping(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count >= n:
                raise Killed
            return function(*args, **kwargs)

        return wrapped

    for owner, name in ((Path, "rename"), (Path, "write_text"), (Path, "mkdir"), (os, "unlink"), (os, "rmdir")):
        monkeypatch.setattr(owner, name, stopping(getattr(owner, name)))


def assert_all_intact(directory: Path, copy: Path, like: PyTree) -> None:
    """Every checkpoint there can be read, the newest first."""
    shutil.copytree(directory, copy)
    checkpoints = Checkpoints(copy, report=pytest.fail)
    while latest := checkpoints.latest():
        found = checkpoints.restore(like)
        assert found is not None and found[0] == checkpoints.steps()[-1]
        shutil.rmtree(latest)
    shutil.rmtree(copy)


@pytest.mark.parametrize(
    "again",
    [pytest.param(False, marks=pytest.mark.slow, id="a new step"), pytest.param(True, id="the same step again")],
)
def test_a_save_that_stops_at_any_change_leaves_the_old_set_or_the_new(tmp_path: Path, again: bool) -> None:
    states = [{"w": jnp.full(3, float(i))} for i in range(4)]
    stops, said, n = [], [], 0
    while True:
        n += 1
        checkpoints = Checkpoints(tmp_path / str(n), keep=2, report=said.append)
        for step in (1, 2):
            checkpoints.save(step, states[step])
        step = 2 if again else 3
        with pytest.MonkeyPatch.context() as monkeypatch:
            _stop_at(monkeypatch, n)
            try:
                checkpoints.save(step, states[3])
                break
            except Killed:
                pass
        steps = checkpoints.steps()
        assert steps in ([[1, 2]] if again else [[1, 2], [1, 2, 3], [2, 3]])
        found = checkpoints.restore(states[0])
        assert found is not None and found[0] == steps[-1]
        assert raw(found[1]) in ([raw(states[2]), raw(states[3])] if again else [raw(states[steps[-1]])])
        stops.append(raw(found[1]) == raw(states[3]))
        assert_all_intact(checkpoints.directory, tmp_path / "copy", states[0])
        assert not said
        checkpoints.save(4, states[1])
        more = ["keep is 2: 2 older checkpoints are removed, those of steps 1, 2"] * (len(steps) == 3)
        assert said == more
        said.clear()
        assert sorted(path.name for path in checkpoints.directory.iterdir()) == sorted([str(steps[-1]), "4"])
    assert stops == sorted(stops) and not stops[0] and stops[-1]


CHILD = """
import sys, jax.numpy as jnp
from rnnjax.runs import Checkpoints
checkpoints = Checkpoints(sys.argv[1], keep=2)
found = checkpoints.restore({"w": jnp.zeros((64, 64)), "n": 0})
step = found[0] if found else 0
while True:
    step += 1
    checkpoints.save(step, {"w": jnp.full((64, 64), step, jnp.float32), "n": step})
    print(step, flush=True)
"""


def test_kill_9_in_the_middle_of_saves_loses_nothing(tmp_path: Path) -> None:
    delays, last = np.random.default_rng(0).uniform(0.0, 0.03, 3), 0
    for delay in delays:
        with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                last = int(line)
                if last % 5 == 0:
                    break
            threading.Event().wait(delay)
            child.kill()
            last = max([last, *(int(line) for line in child.stdout if line.endswith("\n"))])
        assert child.returncode == -signal.SIGKILL
        found = Checkpoints(tmp_path, report=pytest.fail).restore({"w": jnp.zeros((64, 64)), "n": 0})
        assert found is not None and found[0] in (last, last + 1) and found[1]["n"] == found[0]
        np.testing.assert_array_equal(found[1]["w"], np.full((64, 64), found[0]))
