"""Law: every flag file that is shipped is one of its experiment, which its name begins with."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import _launching as launching  # noqa: F401  # finds the experiments
import pytest

from rnnjax import app
from rnnjax.app import run_configs
from rnnjax.studies._plan import make_plan

ROOT = Path(__file__).parents[2] / "experiments"
NAMES = sorted((p.stem for p in ROOT.glob("*.py")), key=len, reverse=True)


@pytest.mark.parametrize("path", sorted((ROOT / "flags").glob("*.cfg")), ids=lambda p: p.stem)
def test_a_flag_file_parses_and_its_names_are_known(path: Path):
    name = next((n for n in NAMES if path.stem.startswith(f"{n}_")), None)
    assert name, f"{path.name} begins with the name of no experiment"
    module = importlib.import_module(f"experiments.{name}")
    experiment, own = module.EXPERIMENT, getattr(module, "CELLS", {})
    config = app.parse(experiment.flags, [name, f"--flagfile={path}"])
    if name == "sweep":
        assert len(make_plan(config).points) > 1
        return
    for single in run_configs(config):
        if single.cell not in own:
            single.layers()
        single.make_optimizer()
    for flag in ("workdir", "data_dir"):  # where things lie is another matter on every machine
        assert f"\n--{flag}" not in path.read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "flags").glob("*.cfg")), ids=lambda p: p.stem)
def test_a_flag_file_has_a_quick_form_that_says_what_it_reaches(path: Path):
    quick = path if path.stem.endswith("_quick") else path.with_name(f"{path.stem}_quick.cfg")
    assert re.search(r"^# Reaches [\w.]+ (below|above) [\d.]*\d\.$", quick.read_text(), re.M)
