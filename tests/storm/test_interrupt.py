"""Law: the interrupt key ends a command that is still importing with status 130, and says nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Whoever is started in the background of a shell ignores the key, and so do its children.
LISTENING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
COMMANDS = (["-m", "experiments.copying"], ["-m", "rnnjax.studies"], [str(ROOT / "experiments" / "sweep.py")])


def interrupted(tmp_path: Path, *words: str) -> tuple[int, str]:
    """Status and words of a command that is interrupted where it imports the first large package."""
    for name in ("jax", "absl", "numpy"):  # whichever comes first
        (tmp_path / f"{name}.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nsignal.pause()\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-c", LISTENING, *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[-1].rpartition("/")[2])
def test_a_command_that_is_importing_ends_quietly(tmp_path, words):
    status, said = interrupted(tmp_path, *words)
    if words[0] == "-m":
        assert (status, said) == (128 + signal.SIGINT, "")
    else:  # its own imports come before those of the package
        assert status in (128 + signal.SIGINT, -signal.SIGINT)


def test_whoever_imports_the_package_keeps_pythons_handler(tmp_path):
    status, said = interrupted(tmp_path, "-c", "import rnnjax")
    assert status == -signal.SIGINT and "KeyboardInterrupt" in said
