"""Law: whatever is killed, fails or is flipped at any point, the same command comes to the same files.

A short form of `python -m tests.storm`, which strikes hundreds of times.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALONE = ("run", "run of two cells", "study, map", "study, vmap", "study, halving", "study, pbt", "study, tpe")
SHORT = [
    *[(thing, "replayed ENOSPC EIO flip") for thing in ALONE],
    *[(thing, "kill") for thing in ("run", "study, map", "study, tpe", "two processes")],
    ("study, four workers", "kill ENOSPC EIO flip"),
    ("queue, four workers", "kill ENOSPC EIO flip"),
]


@pytest.mark.slow
@pytest.mark.parametrize("thing, kinds", SHORT)
def test_what_is_struck_comes_to_the_files_of_its_twin(thing, kinds, tmp_path_factory):
    if thing in ("study, tpe", "study, pbt") and importlib.util.find_spec("optuna") is None:
        pytest.skip("needs optuna")
    cache = tmp_path_factory.getbasetemp() / "storm"  # one for all, so that each program is compiled once
    environment = os.environ | {"STORM_CACHE": str(cache), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.storm", "--count=4", "--things", thing, "--kinds", *kinds.split()]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
