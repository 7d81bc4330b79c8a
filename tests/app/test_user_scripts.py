"""The experiment of a run may be a script of a user: it is found by its file, and nothing else is executed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from _launching import refusal

import rnnjax

pytestmark = pytest.mark.usefixtures("shared_programs")

ROOT = Path(__file__).parents[2]


SCRIPT = """
from _neighbour import make

from rnnjax import app

EXPERIMENT = make()
{guard}
"""
NEIGHBOUR = """
import rnnjax
from rnnjax import app, losses, tasks

def build(config):
    stream = tasks.task_stream(tasks.adding(4), 2)
    cell = rnnjax.unroll(rnnjax.stack(config.layers(), rnnjax.linear(1)))
    return app.Setup(cell, losses.regress, stream, test=stream._replace(length=1))

def make():
    return app.Experiment(build, app.common_flags(cell="gru", hidden_size="3", num_steps=2))
"""


def test_a_script_of_a_user_is_found_by_its_file(tmp_path, monkeypatch):
    (tmp_path / "_neighbour.py").write_text(NEIGHBOUR)
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT.format(guard='if __name__ == "__main__":\n    app.main(EXPERIMENT)'))
    command = [sys.executable, script, f"--workdir={tmp_path / 'run'}", "--compilation_cache=off"]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    monkeypatch.setattr(sys, "path", list(sys.path))
    run = rnnjax.load_run(tmp_path / "run")
    assert run.origin["experiment"] == {"module": None, "file": str(script), "name": "EXPERIMENT"}
    assert run.evaluate()["loss"] == pytest.approx(run.summary["test"]["loss"], rel=1e-6)
    script.write_text(SCRIPT.format(guard="app.main(EXPERIMENT)"))
    with pytest.warns(UserWarning, match="mine.py"):
        changed = rnnjax.load_run(tmp_path / "run")
    assert "trains when it is imported" in refusal(lambda: changed.config)


def test_code_is_not_taken_from_the_folder_of_a_run(copied):
    (copied / "evil.py").write_text("if __name__ == '__main__': pass\nraise SystemExit('run')")
    origin = json.loads((copied / "run.json").read_text())
    origin["experiment"] = {"module": None, "file": str(copied / "evil.py"), "name": "EXPERIMENT"}
    (copied / "run.json").write_text(json.dumps(origin))
    assert "no code is run from there" in refusal(lambda: rnnjax.load_run(copied).config)
