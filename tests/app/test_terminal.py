"""Laws: a closed stream is no fault, Ctrl-C with nothing to save is a clean exit, a wrong environment is a line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from _launching import launch, user_experiment

from rnnjax import app

ROOT = Path(__file__).parents[2]
QUICK = ["--cell=vanilla", "--hidden_size=3", "--delay=2", "--num_steps=2", "--batch_size=2", "--eval_batches=1",
         "--compilation_cache=off", "--writers=jsonl"]  # fmt: skip


def command(workdir: Path, redirection: str, **more: str) -> tuple[int, str]:
    """Status and what was said of copying with its streams redirected by a shell."""
    words = [sys.executable, "-m", "experiments.copying", *QUICK, f"--workdir={workdir}"]
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONPATH": str(ROOT)} | more
    line = f"set -o pipefail; {' '.join(words)} {redirection}"
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["| true", ">&-", "2>&-", ">&- 2>&-", "> /dev/full"])
def test_a_closed_stream_is_no_fault(tmp_path, redirection):
    status, said = command(tmp_path / "run", redirection)
    assert status == 0 and "Traceback" not in said and "Exception" not in said
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.slow
def test_a_backend_that_is_not_there_is_one_line(tmp_path):
    status, said = command(tmp_path / "run", "", JAX_PLATFORMS="cuda")
    assert status == 1 and said.splitlines()[-1].startswith("copying: JAX_PLATFORMS=cuda: ") and "Traceback" not in said


def test_the_interrupt_key_outside_of_training_ends_with_130(tmp_path):
    program = (
        "import os, signal\nfrom rnnjax import app\n"
        "def load(config):\n"
        "    try:\n        os.kill(os.getpid(), signal.SIGINT)\n        signal.pause()\n"
        "    except BaseException:\n        pass\n"
        "app.main(app.Experiment(lambda config: None, app.common_flags(), load), ['x', '--compilation_cache=off'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "")


def test_what_a_study_checks_it_refuses_before_there_is_a_folder(tmp_path, capsys):
    def check(configs):
        raise ValueError("not so")

    study = app.Study(lambda configs, workdir: None, app.study_flags(network=False), check=check)
    assert launch(study, f"--workdir={tmp_path / 'a' / 'study'}") == 1
    assert "not so" in capsys.readouterr().err and not (tmp_path / "a").exists()


def test_data_are_loaded_once_for_each_cell(tmp_path):
    made, loads = user_experiment(), []

    def load(config):
        loads.append(config.cell)
        return made.load(config)

    flags = [f"--workdir={tmp_path / 'run'}", "--cell=lstm,gru,vanilla", "--num_steps=2"]
    assert launch(made._replace(load=load), *flags) == 0
    assert loads == ["lstm", "gru", "vanilla"]
