"""The studies of outputs that come back and of depth: exact floors, lesions, one line for what is wrong."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import close, draw
from launching import launch

import rnnjax
from experiments import depth, feedback


def test_the_doubt_that_is_left_after_the_last_symbol():
    said = np.array([[0, 0, 1], [2, 1, 2]])  # row 0: after 0 comes 0 or 1, evenly; row 1: nothing is in doubt
    assert feedback.doubt_after_the_last(said) == pytest.approx(2 * math.log(2) / 6)


def test_the_least_loss_of_sticky_outputs():
    problem = feedback.sticky()
    xs, ys = jax.jit(jax.vmap(problem.sample))(jax.random.split(jax.random.key(0), 4000))
    told, ys = np.asarray(xs)[..., 1] == 1, np.asarray(ys)
    before = np.concatenate([ys[:, :1], ys[:, :-1]], 1)
    p = np.where(told, np.where(ys == before, feedback.STAYS, 1 - feedback.STAYS), 0.5)
    p[:, 0] = 0.5
    nats = -np.log(p)
    assert abs(nats.mean() - problem.least) < 4 * nats.std() / math.sqrt(nats.size)
    assert abs((ys == 1).mean() - 0.5) < 0.02  # so the inputs alone say nothing


@pytest.mark.parametrize("name", depth.SHORTCUTS)
def test_a_layer_that_is_taken_out_says_nothing_and_passes_on_what_it_reads(name):
    layer, xs = depth.SHORTCUTS[name](rnnjax.vanilla(3)), draw((5, 3))
    params = layer.init(jax.random.key(0), xs[0])

    def said(kept):
        return rnnjax.run(rnnjax.unroll(depth.lesioned(layer, jnp.asarray(kept))), params, xs)[1]

    close(said(True), rnnjax.run(rnnjax.unroll(layer), params, xs)[1])
    nothing = jnp.concatenate([xs, jnp.zeros((5, 3))], -1) if name == "dense" else xs
    close(said(False), nothing)


@pytest.mark.parametrize(
    "argv, says",
    [
        (["feedback", "--decays=0.3,2"], "feedback: --decays=0.3,2: each above 0 and below 1"),
        (["feedback", "--decays=a"], "feedback: --decays=a: numbers from 0 to 1"),
        (["depth", "--depths=1,x"], "depth: --depths=1,x: whole numbers"),
        (["depth", "--delay=30"], "depth: --delay=30: nothing of a sequence of --length=30 is left to say"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(argv, says, tmp_path, capsys):
    assert launch(*argv, f"--workdir={tmp_path / 'run'}") == 1
    assert capsys.readouterr().err.splitlines()[-1] == says


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["feedback"], ["depth", "--depths=1,2"]])
def test_the_studies_run(argv, tmp_path):
    assert launch(*argv, "--hidden_size=4", "--num_steps=3", f"--workdir={tmp_path / 'run'}") == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert all(math.isfinite(row["error" if argv[0] == "depth" else "loss"])
               for rows in summary["networks"].values() for row in rows.values())  # fmt: skip
