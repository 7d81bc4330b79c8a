"""Laws of configs: typed, frozen, of one run or of a launch, and found again in a workdir."""

from __future__ import annotations

import dataclasses
import importlib
import math
import types
import typing

import jax
import pytest
from _launching import launch

from rnnjax import app
from rnnjax.base import UserError

TEXT = ["--cell=gru", "--hidden_size=4", "--num_layers=1", "--learning_rate=0.5", "--num_steps=1", "--batch_size=2",
        "--truncation=5", "--sample=0", "--writers=jsonl"]  # fmt: skip


def test_a_config_of_a_run_has_a_typed_attribute_for_every_flag_of_an_experiment():
    [config] = app.run_configs(app.parse(app.common_flags(), ["x"]))
    assert {*config.values} == {*app.Config.__annotations__}
    for name in config.values:
        kind = typing.get_type_hints(app.Config)[name]
        union = isinstance(kind, types.UnionType)
        plain = float if kind == float | jax.Array else kind if union else typing.get_origin(kind) or kind
        assert isinstance(getattr(config, name), plain), name


def test_a_run_reads_its_config_from_its_workdir_and_builds_from_it(tmp_path):
    assert launch("char_lm", f"--workdir={tmp_path}", *TEXT) == 0
    experiment = importlib.import_module("experiments.char_lm").EXPERIMENT
    config = app.read_config(experiment.flags, tmp_path)
    facts, data = app.load_data(experiment.load, config)
    setup = app.build_setup(experiment.build_with(facts), config)
    assert (config.cell, config.hidden_size, config.learning_rate) == ("gru", 4, 0.5)
    assert setup.baseline == math.log(len(facts.alphabet.characters)) and set(data) == {"train", "valid", "test"}
    with pytest.raises(UserError, match="nowhere"):
        app.read_config(experiment.flags, tmp_path / "nowhere")


def test_several_runs_in_a_workdir_have_a_folder_each(tmp_path):
    flags = ["--cell=gru,lstm", "--hidden_size=3", "--num_steps=1", "--length=3", "--batch_size=2", "--eval_batches=1"]
    assert launch("adding", f"--workdir={tmp_path}", *flags) == 0
    values = importlib.import_module("experiments.adding").FLAGS
    with pytest.raises(UserError, match=r"several runs \(gru, lstm\)"):
        app.read_config(values, tmp_path)
    assert app.read_config(values, tmp_path / "lstm").cell == "lstm"


def test_what_configs_share_is_all_but_their_numbers():
    def config(*argv):
        return app.run_configs(app.parse(app.common_flags(), ["x", *argv]))[0]

    plain, rates = config(), ["learning_rate", "cell_args.forget_bias"]
    assert plain.without(["learning_rate"]) == config("--learning_rate=0.5").without(["learning_rate"])
    assert plain.without([]) != config("--learning_rate=0.5").without([])
    one, other = (config(f"--cell_args=forget_bias={b},layer_norm=True").without(rates) for b in (0, 2.5))
    assert one == other != config("--cell_args=layer_norm=True").without([])
    assert config("--cell_args=layer_norm=True").without([]) != config("--cell_args=layer_norm=1").without([])
    assert len({one, other}) == 1  # they serve as keys


def test_a_number_stands_in_for_a_value_until_that_is_changed():
    config = app.Config({"cell_args": "forget_bias=2.0,layer_norm=True", "seed": 3})
    other = config.with_numbers({"seed": 4, "cell_args.forget_bias": 0.5})
    assert (other.seed, other.values["seed"], config.seed) == (4, 3, 3)
    assert other.cell_arguments() == {"forget_bias": 0.5, "layer_norm": True}
    assert other.replace(seed=5).seed == 5
    assert other.replace(cell_args="forget_bias=1.0").cell_arguments() == {"forget_bias": 1.0}
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.values = {}
    with pytest.raises(AttributeError, match="no flag --delay"):
        _ = config.delay


def test_a_script_that_loads_builds_from_the_facts_and_its_config_has_flags_alone(tmp_path):
    seen = []

    def load(config):
        return {"width": 3}, ()

    def build(config, facts):
        seen.append((facts, set(config.values)))
        raise ValueError("enough")

    experiment = app.Experiment(build, app.common_flags(), load)
    assert launch(experiment, f"--workdir={tmp_path / 'run'}") == 1
    helps = ("help", "helpfull", "helpshort", "?")
    assert seen == [({"width": 3}, {name for name in experiment.flags if name not in helps})]


def test_a_build_runs_once_for_a_run_and_once_for_each_program(tmp_path):
    experiment = importlib.import_module("_user_experiment").EXPERIMENT
    builds = []

    def build(config):
        builds.append(isinstance(config.learning_rate, jax.core.Tracer))
        return experiment.build(config)

    flags = [f"--workdir={tmp_path / 'run'}", "--writers=jsonl", "--cell=gru"]
    assert launch(experiment._replace(build=build), *flags) == 0
    assert builds.count(False) == 1 and builds.count(True) <= 3, builds
