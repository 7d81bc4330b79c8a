"""Law: a study that trains in its own way accepts the flags that it has by default."""

import importlib
from pathlib import Path

import pytest
from _launching import launch  # noqa: F401  (puts the experiments on the path)

import experiments
from rnnjax import app

FILES = sorted(Path(experiments.__path__[0]).glob("*.py"))
STUDIES = [path.stem for path in FILES if "= app.Study(" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_accepts_its_defaults(name):
    study = importlib.import_module(f"experiments.{name}").EXPERIMENT
    configs = app.run_configs(app.parse(study.flags, [name]))
    if study.check is not None:
        study.check({config.cell if "cell" in config.values else "": config for config in configs})
