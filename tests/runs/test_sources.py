"""Laws: a run says when its code was edited, a finished one too; what was not executed does not count."""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from _launching import user_experiment

from rnnjax.app import _main
from rnnjax.app._config import Flags
from rnnjax.base import UserError
from rnnjax.runs._sources import keep_sources, refuse_other_code, sources

ROOT = Path(__file__).parents[2]
SCRIPT = """
import jax.numpy as jnp
from rnnjax import app, losses
from rnnjax.data import Batch, Stream
import mine

def build(config):
    import late
    x = jnp.ones((2, 3, 1))
    return app.Setup(mine.cell(), losses.regress, Stream(lambda d: (), lambda d, p, k: (Batch(x, late.W * x), p), 0))

FLAGS = app.common_flags(num_steps=3, writers="jsonl", log_every=1)
EXPERIMENT = app.Experiment(build, FLAGS)
if __name__ == "__main__":
    app.main(EXPERIMENT)
"""
FILES = {
    "script.py": SCRIPT,
    "mine.py": "from rnnjax import linear, unroll\ndef cell():\n    return unroll(linear(1))\n",
    "late.py": "W = 2.0\n",
    "unused.py": "X = 1\n",
}


def ran(folder: Path, *flags: str, module: str = "script.py") -> tuple[int, str]:
    """Status and standard error of a launch of the user's script."""
    command = [sys.executable, module, "--compilation_cache=off", f"--workdir={folder / 'run'}", *flags]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.slow
def test_edited_code_is_refused_by_the_name_of_its_file(project):
    assert ran(project)[0] == 0
    status, said = ran(project)
    assert status == 0 and "finished already, nothing trained" in said
    (project / "unused.py").write_text("X = 2\n")
    assert ran(project)[0] == 0
    for name in ("mine.py", "late.py", "script.py"):
        (project / name).write_text(FILES[name] + "\n# another\n")
        for flags in ([], ["--num_steps=5"]):
            status, said = ran(project, *flags)
            assert status == 1 and said.splitlines()[-1].startswith("script: ") and f"{name} changed since" in said
        (project / name).write_text(FILES[name])
    (project / "mine.py").write_text(FILES["mine.py"] + "\n")
    assert ran(project, "--allow_other_code")[0] == 0
    assert ran(project)[0] == 0  # known now
    assert '"mine.py"' in (project / "run" / "code.json").read_text().partition('"edited"')[2]


@pytest.mark.slow
def test_a_study_says_it_too(project):
    flags = ["--experiment=script", "--grid=seed=0,1", "--strategy=map"]
    study = str(ROOT / "experiments" / "sweep.py")
    assert ran(project, *flags, module=study)[0] in (0, 1)
    (project / "late.py").write_text("W = 3.0\n")
    status, said = ran(project, *flags, module=study)
    assert status == 1 and "late.py changed since" in said


def test_a_file_that_only_an_earlier_session_imported_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "gone_by_now.py").write_text("X = 1\n")
    keep_sources(tmp_path, {**sources(), "gone_by_now.py": "0" * 64})
    with pytest.raises(UserError, match=r"gone_by_now.py changed since; .*--allow_other_code"):
        refuse_other_code(tmp_path, sources())
    (tmp_path / "gone_by_now.py").unlink()  # whoever needs it says so
    refuse_other_code(tmp_path, sources())


def test_a_file_edited_while_the_process_runs_keeps_the_digest_of_what_was_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "edited_meanwhile.py"
    file.write_text("X = 1\n")
    importlib.import_module("edited_meanwhile")
    begun = sources()
    keep_sources(tmp_path, begun)
    file.write_text("X = 22\n")
    keep_sources(tmp_path, sources())  # at the end of the run
    assert json.loads((tmp_path / "code.json").read_text())["files"]["edited_meanwhile.py"] == begun[file.name]
    importlib.reload(sys.modules["edited_meanwhile"])  # as the next process would
    with pytest.raises(UserError, match=r"edited_meanwhile.py changed since"):
        refuse_other_code(tmp_path, sources())


def test_what_an_experiment_is_made_of_counts_without_the_package_that_parses_its_flags():
    experiment = user_experiment()._replace(load=functools.partial(json.dumps))
    assert _main._roots(experiment, Flags({})) == {"json", "_launching"}


def test_no_file_of_python_or_of_a_package_is_there():
    names = set(sources())
    assert "rnnjax/__init__.py" in names and not any(
        n.startswith(("jax/", "json/", "numpy/", "pytest/")) for n in names
    )


@pytest.mark.parametrize("text", ["", "[]", "null", '{"files": 3, "sha256": 1}', "[" * 100_000, "{}"])
def test_a_damaged_record_of_the_code_is_one_line(tmp_path, text):
    (tmp_path / "code.json").write_text(text)
    with pytest.raises(UserError, match=r"code.json is damaged"):
        refuse_other_code(tmp_path, sources())
