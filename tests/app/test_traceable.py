"""Which numbers are arguments of a compiled program: not those that a build branches on."""

from __future__ import annotations

import jax.numpy as jnp
import pytest
from absl import flags

import rnnjax
from rnnjax import app, losses, tasks
from rnnjax.app._setup import traceable
from rnnjax.base import UserError


def config():
    """A config with a number of its own."""
    values = app.common_flags(cell="vanilla", hidden_size="4")
    flags.DEFINE_float("gain", 0.5, "A number.", flag_values=values)
    return app.run_configs(app.parse(values, ["x"]))[0]


def taken(use):
    """The numbers that may be traced by a build that does something with its gain first."""

    def build(config):
        use(config.gain)
        stream = tasks.task_stream(tasks.adding(5), config.batch_size)
        return app.Setup(rnnjax.unroll(rnnjax.stack(config.layers(), rnnjax.linear(1))), losses.regress, stream)

    return traceable(build, config(), {"gain": 0.5, "learning_rate": 0.1})


def refuse(gain):
    """What a build says of anything but a number."""
    raise UserError("no such thing")


def wrap(gain):
    """A branch inside what a build takes care of."""
    try:
        return float(gain)
    except TypeError as error:
        raise UserError("--gain: expected a number") from error


@pytest.mark.parametrize(
    "use",
    [lambda g: 1 if g > 0 else 0, float, range, wrap, lambda g: jnp.zeros(int(g))],
    ids=["branch", "float", "range", "wrapped", "shape"],
)
def test_a_number_that_a_build_branches_on_is_none(use):
    assert taken(use).keys() == {"learning_rate"}


def test_a_number_that_is_only_computed_with_is_an_argument():
    assert taken(lambda g: 2 * jnp.sin(g)).keys() == {"gain", "learning_rate"}


def test_what_a_build_refuses_itself_is_not_taken_for_a_branch():
    with pytest.raises(UserError, match="no such thing"):
        taken(refuse)
