"""Laws of what `--analyse` draws: the parts agree with those they are made of, and what has no steps is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import close, draw, moved
from _launching import launch

import rnnjax
from rnnjax import app, losses, tasks
from rnnjax.dynamics import analysis, gradient_flow, jacobian_bound, jacobians, matrices, spectra
from rnnjax.tasks import task_stream

HALF = 24  # steps of which the last 18 are kept below


@pytest.fixture(scope="module")
def network():
    """Two layers with memory cells in one of them."""
    step, xs = rnnjax.stack(rnnjax.lstm(3), rnnjax.vanilla(2)), draw((HALF, 2))
    return step, moved(step.init(jax.random.key(0), xs[0]), 0.2), xs


def test_an_analysis_is_made_of_its_parts(network, monkeypatch):
    step, params, xs = network
    monkeypatch.setattr("rnnjax.dynamics._analyses._MOST_NUMBERS", 18 * 64)

    @jax.jit
    def both(params):
        js = jacobians(step, params, xs)
        parts = gradient_flow(step, params, xs).norms, spectra(js[6:]), jacobian_bound(js[6:]), js
        return analysis(rnnjax.unroll(step), params, xs), parts

    found, (norms, logs, bound, js) = both(params)
    close(found.norms, norms)
    assert found.lags[0] == 1 and found.lags[-1] == 18 and found.activation is None
    np.testing.assert_allclose(found.logs, logs[18 - np.asarray(found.lags)], atol=1e-3)
    close(found.bound, bound, rtol=1e-4)
    close(found.jacobians[-1], js[-1])
    product, c = np.eye(8), slice(0, 3)
    for j in np.asarray(js)[::-1]:
        product = product @ j
    np.testing.assert_allclose(found.cells[0], np.linalg.norm(product[c, c]) / 3**0.5, rtol=1e-3)
    assert int(found.memory) == np.argmax(np.asarray(norms)[::-1] < 1 / np.e)


def test_one_plain_layer_has_the_bound_of_the_lectures_too():
    xs = draw((12, 2))
    cell = rnnjax.unroll(rnnjax.vanilla(3))
    params = top, rec = moved(cell.init(jax.random.key(0), xs), 0.3)
    found = jax.jit(lambda p: analysis(cell, p, xs, plain=True))(params)
    h, want = np.zeros(3), []
    for x in np.asarray(xs):
        h = np.tanh(x @ np.asarray(top["w"]) + np.asarray(top["b"]) + h @ np.asarray(rec["u"]))
        want.append(np.log((1 - h**2).max() * np.linalg.norm(rec["u"], 2)))
    np.testing.assert_allclose(found.activation, [*np.cumsum(want[::-1])[::-1], 0], rtol=1e-4)
    assert (found.activation >= found.bound - 1e-5).all()


def test_recurrent_matrices_are_those_that_map_the_state():
    x = jnp.zeros(3)
    cell = rnnjax.stack(rnnjax.exprnn(3), rnnjax.urnn(4), rnnjax.lstm(3))  # one w is square too
    wave, turn = jax.jit(lambda key: matrices(cell.weights(cell.init(key, x))))(jax.random.key(0))
    for u, n in ((wave, 8), (turn, 3)):
        np.testing.assert_allclose(u @ u.T, np.eye(n), atol=1e-5)


def experiment(network):
    """A toy experiment around a cell of windows."""
    flags, task = app.common_flags(num_steps=2, batch_size=2, eval_every=2, eval_batches=1), tasks.adding(4)

    def build(config):
        train, valid = task_stream(task, 2), task_stream(task, 2, 1)
        return app.Setup(rnnjax.stack(network, rnnjax.linear(1)), losses.regress, train, valid)

    return app.Experiment(build, flags)


@pytest.mark.slow
def test_what_reads_from_both_ends_is_refused_before_training_and_what_carries_nothing_too(tmp_path, capsys):
    cell, xs = rnnjax.unroll(rnnjax.linear(2)), draw((4, 2))
    with pytest.raises(ValueError, match="carries no state"):
        jax.eval_shape(lambda p: analysis(cell, p, xs), cell.init(jax.random.key(0), xs))
    assert launch(experiment(rnnjax.bidirectional(rnnjax.vanilla(2))), "--analyse", f"--workdir={tmp_path}") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "--analyse" in line]
    assert "in both directions" in line and not (tmp_path / "checkpoints").exists()
