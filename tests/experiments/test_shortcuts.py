"""The studies of outputs that come back and of depth: exact floors, lesions, gates, one line for what is wrong."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import close, draw
from _launching import launch, summary

import rnnjax
from experiments import depth, feedback, regimes
from rnnjax import app


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


def test_layers_are_taken_out_none_each_and_several_at_random():
    masks = depth.chosen(4, subsets=5, seed=0)
    assert [m.shape for m in masks.values()] == [(1, 4), (4, 4), (5, 4), (5, 4)]
    assert all((~m).sum(1).tolist() == [n] * len(m) for n, m in masks.items())
    assert np.array_equal(masks[1], ~np.eye(4, dtype=bool))


def test_the_gates_of_a_highway_mix_what_a_layer_reads_and_says():
    layer, xs = rnnjax.vanilla(3), draw((5, 2))
    parts = [rnnjax.linear(3), *[depth.SHORTCUTS["highway"](layer)] * 2, rnnjax.linear(1)]
    net = rnnjax.unroll(rnnjax.stack(*parts))
    params = jax.tree.map(lambda a: a + 0.3, net.init(jax.random.key(0), xs))
    gates, x = depth.highway_gates(parts, params, xs), depth.affine(params[0], xs)
    for t, w in zip(gates, params[1:3]):
        x = x + t * (rnnjax.run(rnnjax.unroll(layer), w["cell"], x)[1] - x)
    close(depth.affine(params[3], x), rnnjax.run(net, params, xs)[1])


def test_the_gates_of_an_lstm_are_those_by_which_its_cells_change():
    layer, xs = rnnjax.lstm(3, forget_bias=depth.FORGET_BIAS), draw((4, 2))
    net = rnnjax.stack(rnnjax.linear(3), layer, rnnjax.linear(1))
    params = jax.tree.map(lambda a: a + 0.3, net.init(jax.random.key(0), xs[0]))
    f, i, o = depth.lstm_gates(params, xs).values()
    carries = [net.initial_carry(params, xs[0])]
    for x in xs:
        carries.append(net.step(params, carries[-1], x)[0])
    c, h = (jnp.stack([getattr(carry[1][1], name) for carry in carries]) for name in "ch")
    close(o * jnp.tanh(c[1:]), h[1:])
    drive, core = params[1]
    g = jnp.tanh((depth.affine(drive, depth.affine(params[0], xs)) + h[:-1] @ core["u"])[:, 6:9])
    close(f * c[:-1] + i * g, c[1:])


def test_the_regimes_read_as_many_characters():
    config = app.Config({n: regimes.FLAGS[n].value for n in regimes.FLAGS} | {"cell": "gru", "hidden_size": 4})
    for regime in regimes.REGIMES:
        flags = dict(flag.removeprefix("--").partition("=")[::2] for flag in regimes.command(config, regime, 7))
        read = int(flags["truncation"]) * int(flags["num_steps"]) * int(flags["batch_size"])
        assert (read, flags["seed"], "epochwise" in flags) == (450_000, "7", regime == "epochwise")
        assert (flags["truncation"] == "1") == (regime == "online")


@pytest.mark.parametrize(
    "argv, says",
    [
        (["feedback", "--decays=0.3,2"], "feedback: --decays=0.3,2: each above 0 and below 1"),
        (["feedback", "--decays=a"], "feedback: --decays=a: numbers from 0 to 1"),
        (["depth", "--depths=1,x"], "depth: --depths=1,x: whole numbers"),
        (["depth", "--shortcuts="], "depth: --shortcuts: one of plain, residual, highway, dense at least"),
        (
            ["depth", "--num_layers=2"],
            "depth: --num_layers and --dropout are not used here: --depths gives the layers",
        ),
        (["paths", "--units=6"], "paths: --units=6: a multiple of 4, for as many groups with clocks"),
        (["paths", "--delay=30"], "paths: --delay=30: nothing of a sequence of --length=30 is left to predict"),
        (["regimes", "--cell=lstm,gru"], "regimes: --cell takes one cell here"),
        (["depth", "--delay=30"], "depth: --delay=30: nothing of a sequence of --length=30 is left to predict"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(argv, says, tmp_path, capsys):
    assert launch(*argv, f"--workdir={tmp_path / 'run'}") == 1
    assert capsys.readouterr().err.splitlines()[-1] == says


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv", [["feedback", "--hidden_size=4"], ["depth", "--hidden_size=4", "--depths=1,3"], ["paths", "--units=4"]]
)
def test_the_studies_run(argv, tmp_path):
    assert launch(*argv, "--num_steps=3", f"--workdir={tmp_path / 'run'}") == 0
    networks = json.loads((tmp_path / "run" / "summary.json").read_text())["networks"]
    found = networks if argv[0] == "paths" else {(a, b): row for a, by in networks.items() for b, row in by.items()}
    assert all(math.isfinite(row["loss" if argv[0] == "feedback" else "error"]) for row in found.values())


@pytest.mark.slow
def test_a_regime_is_the_run_of_the_script(tmp_path):
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question\n" * 60)
    given = [f"--data={tmp_path / 'text.txt'}", "--hidden_size=4", "--batch_size=3", "--seed=1"]
    own = ["--characters=300", "--truncation=5", "--points=2", f"--workdir={tmp_path / 'regimes'}"]
    assert launch("regimes", *given, *own) == 0
    same = [
        "--num_layers=1",
        "--schedule=constant",
        "--learning_rate=2e-3",
        "--truncation=5",
        "--num_steps=20",
        "--epochwise",
    ]
    every = ["--eval_every=20", "--sample=0", f"--workdir={tmp_path / 'run'}"]
    assert launch("char_lm", *given, *same, *every) == 0
    found = json.loads((tmp_path / "regimes" / "summary.json").read_text())
    run = summary(tmp_path / "run")
    assert found["epochwise"]["test"][0] == pytest.approx(run["test"]["loss"], rel=1e-6)
    assert found["epochwise"]["valid"][0][-1] == pytest.approx(run["best"]["valid_loss"], rel=1e-6)
