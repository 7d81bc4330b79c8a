"""Law: eps = 1 is teacher forcing, eps = 0 is free running, and between them the share of own inputs is 1 - eps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import KEY, close, draw, moved

import rnnjax
from rnnjax import Seq, decoding, run, tasks, unroll
from rnnjax.tasks import task_stream
from rnnjax.wrappers import SampledInput, sampling_schedule, scheduled_sampling, with_sampling

SYMBOLS = 5


def language_model():
    net = rnnjax.stack(rnnjax.one_hot(SYMBOLS), rnnjax.gru(4), rnnjax.linear(SYMBOLS))
    return net, moved(net.init(KEY, jnp.int32(0)), 1.0)


XS = jnp.array([3, 1, 4, 1, 0, 2, 2, 0])


@pytest.mark.parametrize("key", [None, KEY], ids=["quiet", "key"])
def test_teacher_forcing_and_free_running_are_its_ends(key):
    net, params = language_model()

    def at(eps):
        carry, ys = run(unroll(scheduled_sampling(net, eps)), params, XS, key=key)
        return carry.carry, ys

    ends = jax.jit(jax.vmap(at))(jnp.array([1.0, 0.0]))  # eps may be a tracer
    forced, free = (jax.tree.map(lambda a, i=i: a[i], ends) for i in (0, 1))
    close(forced, run(unroll(net), params, XS))
    carry, first = run(net, params, XS[0])
    symbols = decoding.generate(net, params, carry, first, len(XS) - 1, decoding.greedy, KEY)
    close(free, run(unroll(net), params, jnp.concatenate([XS[:1], symbols])))
    assert (symbols != XS[1:]).any()


def test_between_them_the_share_of_own_inputs_is_right():
    echo = rnnjax.Cell(lambda key, x: (), lambda p, x: (), lambda p, h, x, key=None: (h, (x, -jnp.ones(()))))
    cell = unroll(scheduled_sampling(echo, pick=lambda key, y: y[1]))
    eps, n = jnp.array([0.2, 0.7, 1.0]), 4001
    share = jax.vmap(
        lambda e: (run(cell, (), SampledInput(jnp.ones(n), jnp.full(n, e)), key=KEY)[1][0][1:] < 0).mean()
    )(eps)
    error = np.sqrt(eps * (1 - eps) / (n - 1)) + 1e-9
    assert (abs(share - (1 - eps)) < 4 * error).all()


def test_after_a_restart_the_given_input_is_read_and_a_gap_changes_nothing():
    net, params = language_model()
    cell = unroll(scheduled_sampling(net, 0.0))
    seq = Seq(XS, jnp.arange(8) != 2, jnp.arange(8) == 5)
    ys = run(cell, params, seq)[1].x
    close(ys[5:], run(cell, params, XS[5:])[1])
    alone = run(cell, params, XS[:4])[1]
    close(ys[jnp.array([0, 1, 3])], alone[:3])


def test_gradients_pass_through_outputs_that_are_read_as_they_are(x64):
    net = rnnjax.stack(rnnjax.vanilla(3), rnnjax.linear(2))
    xs = draw((4, 2), jnp.float64)
    params = net.init(KEY, xs[0])

    def looped(p):
        h, y, total = net.initial_carry(p, xs[0]), xs[0], 0.0
        for _ in range(4):
            h, y = net.step(p, h, y)
            total = total + jnp.square(y).sum()
        return total

    free = unroll(scheduled_sampling(net, 0.0, pick=lambda key, y: y))
    close(jax.grad(lambda p: jnp.square(run(free, p, xs)[1]).sum())(params), jax.grad(looped)(params))


@pytest.mark.parametrize(
    "kind, values",
    [
        ("constant", (0.1, 0.1)),
        ("linear", (1.0, 0.5)),
        ("exponential", (1.0, np.exp(-0.5))),
        ("inverse_sigmoid", (10 / 11, 10 / (10 + np.exp(0.5)))),
    ],
)
def test_schedules_fall_as_they_say(kind, values):
    schedule = sampling_schedule(kind, 10, 0.1)
    np.testing.assert_allclose([schedule(0), schedule(5), schedule(10_000)], (*values, 0.1), rtol=1e-5)


def test_a_stream_counts_its_batches():
    stream = with_sampling(task_stream(tasks.copying(2, 1, 2), 3), sampling_schedule("linear", 4))
    position, eps = stream.init(()), []
    for _ in range(4):
        batch, position = stream.next((), position, KEY)
        assert batch.x.eps.shape == batch.x.x.shape
        eps.append(float(batch.x.eps[2, 1]))
    assert eps == [1.0, 0.75, 0.5, 0.25]
