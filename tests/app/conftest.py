"""A trained run, for the tests of what comes after training."""

from __future__ import annotations

import shutil

import _user_experiment
import pytest
from _launching import launch

from rnnjax.app._session import Session


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of an importable experiment in several checkpoints, and what its session ended with."""
    folder, results = tmp_path_factory.mktemp("trained") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        train = Session.train
        patch.setattr(Session, "train", lambda self: results.append(train(self)) or results[-1])
        assert launch(_user_experiment.EXPERIMENT, f"--workdir={folder}", "--checkpoint_every=2") == 0
    return folder, results[0]


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of that run, to damage."""
    return shutil.copytree(trained[0], tmp_path / "run")
