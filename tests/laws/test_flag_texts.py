"""Law: every flag of every experiment is explained in one sentence, under a title."""

import importlib
import pathlib
import re

import pytest

from rnnjax.app import common_flags
from rnnjax.app._flagsets import help_of

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "experiments").glob("[a-z]*.py") if path.stem != "sweep")
REPEATED = ";\n    repeat this option to specify a list of values"  # what absl adds


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_flag_is_explained_in_one_sentence(script):
    values = importlib.import_module(f"experiments.{script}").EXPERIMENT.flags
    texts = {name: values[name].help for name in values}
    texts = {
        name: text.removesuffix(REPEATED) + "." if text.endswith(REPEATED) else text for name, text in texts.items()
    }
    assert not [name for name, text in texts.items() if not re.fullmatch(r"\S.{6,}[^.]\.", text, re.DOTALL)]
    assert not [name for name, text in texts.items() if re.search(r"[.] +[A-Z$]", text)]


def test_help_is_by_topic_and_the_flags_of_the_experiment_come_first():
    values = importlib.import_module("experiments.copying").EXPERIMENT.flags
    titles = re.findall(r"^(\S.*):$", help_of(values), re.MULTILINE)
    assert titles[:3] == ["This command", "The network", "What the network starts from"]
    assert set(titles) - {"This command"} == set(re.findall(r"^(\S.*):$", help_of(common_flags()), re.MULTILINE))
