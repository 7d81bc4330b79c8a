"""The fast window of a recurrence h = f(W h + z, b) has the derivatives of its scan, in whatever composition."""

import jax
import jax.numpy as jnp
import pytest
from helpers import close, draw

import rnnjax
from rnnjax.unitary import windows

N, T, BATCH = 3, 5, 4
STATES = windows.recurrence(windows.MATMUL, lambda a, b: jnp.tanh(a + b))


def scanned(u, b, h0, zs):
    """The same by a plain scan."""

    def step(h, z):
        h = jnp.tanh(h @ u + z + b)
        return h, h

    return jax.lax.scan(step, h0, zs)[1]


ARGS = (draw((N, N)), draw((N,), seed=1), draw((N,), seed=2), draw((T, N), seed=3))
ALL = (0, 1, 2, 3)


def loss(states):
    return lambda *args: (states(*args) ** 3).sum()


def gradient(states):
    return jax.grad(loss(states), ALL)(*ARGS)


def jit_inside(states):
    return jax.grad(jax.jit(loss(states)), ALL)(*ARGS)


def checkpointed(states):
    return jax.jit(jax.grad(jax.checkpoint(loss(states)), ALL))(*ARGS)


def batched(states):
    zs = draw((BATCH, T, N))
    return jax.grad(lambda u, b, h0: jax.vmap(lambda z: loss(states)(u, b, h0, z))(zs).sum(), (0, 1, 2))(*ARGS[:3])


def per_example(states):
    return jax.vmap(jax.grad(loss(states), ALL), (None, None, None, 0))(*ARGS[:3], draw((BATCH, T, N)))


def population(states):
    return jax.vmap(jax.grad(loss(states), ALL), (0, None, 0, None))(
        draw((BATCH, N, N)), ARGS[1], draw((BATCH, N)), ARGS[3]
    )


def through_an_outer_scan(states):
    def outer(u, b, h0, zs):
        return jax.lax.scan(lambda h, z: (states(u, b, h, z)[-1],) * 2, h0, jnp.stack([zs, zs]))[1].sum()

    return jax.jit(jax.grad(outer, ALL))(*ARGS)


def second_order(states):
    inner = jax.grad(loss(states), ALL)
    return jax.grad(lambda *args: sum((g**2).sum() for g in inner(*args)), ALL)(*ARGS)


def jacobian(states):
    return jax.jacrev(states, ALL)(*ARGS)


@pytest.mark.parametrize(
    "way",
    [
        gradient,
        jit_inside,
        checkpointed,
        batched,
        per_example,
        population,
        through_an_outer_scan,
        second_order,
        jacobian,
    ],
    ids=lambda f: f.__name__,
)
def test_derivatives_are_those_of_the_scan(way):
    close(way(STATES), way(scanned), rtol=1e-4, atol=1e-5)


def test_the_backward_pass_of_the_forward_scan_is_left_out():
    def loops(states):
        return str(jax.make_jaxpr(jax.jit(jax.grad(loss(states), ALL)))(*ARGS)).count(" scan[")

    assert loops(STATES) == loops(scanned) == 2


@pytest.mark.parametrize("hidden", [4, 6])
def test_a_few_units_have_a_window_and_it_is_the_scan(hidden):
    core = rnnjax.urnn_core(hidden)
    assert core.window is not None
    zs = draw((T, 2 * hidden))
    params = core.init(jax.random.key(0), zs[0]) | {"b": draw((hidden,))}

    def slopes(cell):
        return jax.jit(jax.grad(lambda p, z: (rnnjax.run(rnnjax.unroll(cell), p, z)[1] ** 3).sum(), (0, 1)))(params, zs)

    close(slopes(core), slopes(core.replace(window=None)), rtol=1e-4, atol=1e-5)


def test_many_units_go_by_fourier_transforms():
    assert rnnjax.urnn_core(512).window is None
