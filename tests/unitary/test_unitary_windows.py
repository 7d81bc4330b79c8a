"""The fast windows of unitary and orthogonal recurrences are their scans, in whatever composition, by every rule."""

import functools

import jax
import jax.numpy as jnp
import pytest
from _helpers import close, draw, gappy, loss, moved

import rnnjax
from rnnjax import Seq, unitary
from rnnjax.unitary import AS_FACTORS, AS_MATRIX, halves_window
from rnnjax.unitary._cells import choose_plan as plan_

N, T, BATCH = 4, 3, 2


def urnn_by(plan):
    """A unitary core whose window takes one way, whatever its size."""
    core = rnnjax.urnn_core(N, unitary.product(unitary.diagonal(), unitary.permutation(), unitary.reflection()))
    return core.replace(window=halves_window(core, lambda steps: plan))


CORES = {
    "matrix": (unitary.modrelu_core(N), N),
    "gated": (unitary.goru_core(N), 3 * N),
    "unitary matrix": (urnn_by(AS_MATRIX), 2 * N),
    "factors": (urnn_by(AS_FACTORS), 2 * N),
}


@functools.cache
def arguments(name):
    """Params and a carry away from where they start, and a batch of inputs, in double precision."""
    core, width = CORES[name]
    zs = draw((BATCH, T, width), jnp.float64)
    params = moved(core.init(jax.random.key(0), zs[0, 0]))
    return params, moved(core.initial_carry(core.weights(params), zs[0, 0])), zs


def total(core, params, carry, zs):
    """A loss of all outputs and the last carry, plain and as a Seq whose gaps are poisoned."""

    def of(xs):
        last, ys = rnnjax.run(rnnjax.unroll(core), params, xs, carry)
        return loss(jax.tree.map(lambda a: a + a**3, (last, ys.x if isinstance(ys, Seq) else ys)))

    return of(zs) + of(gappy(zs, (1, 0, 1), (0, 1, 1)))


def batched(f):
    return lambda params, carry, zs: jax.vmap(f, (None, None, 0))(params, carry, zs).sum()


def once(f):
    return lambda params, carry, zs: jax.grad(f, (0, 1, 2))(params, carry, zs[0])


def twice(f):
    return lambda *args: jax.grad(lambda *a: loss(once(f)(*a), seed=5), (0, 1, 2))(*args)


WAYS = {
    "once": once,
    "a batch": lambda f: jax.grad(batched(f), (0, 1, 2)),
    "per example": lambda f: jax.vmap(jax.grad(f, (0, 1, 2)), (None, None, 0)),
    "a population": lambda f: (
        lambda p, h, zs: jax.vmap(jax.grad(batched(f)), (0, None, None))(
            jax.tree.map(lambda a: jnp.stack([a, a / 2]), p), h, zs
        )
    ),
    "recomputed": lambda f: once(jax.checkpoint(f)),
    "twice": twice,
}
CASES = [(name, "once") for name in CORES] + [("gated", "per example"), ("factors", "recomputed")]
REST = [(name, way) for name in CORES for way in WAYS if (name, way) not in CASES]


@pytest.mark.parametrize(("name", "way"), CASES + [pytest.param(*case, marks=pytest.mark.slow) for case in REST])
def test_derivatives_are_those_of_the_scan(name, way, x64):
    core = CORES[name][0]
    assert core.window is not None
    fast, slow = (
        jax.jit(WAYS[way](functools.partial(total, c)))(*arguments(name)) for c in (core, core.replace(window=None))
    )
    close(fast, slow, rtol=1e-9, atol=1e-10)


def test_a_matrix_is_formed_for_few_units_and_many_steps_and_for_a_map_that_is_one():
    chosen = functools.partial(plan_, unitary.evolution())
    assert jax.default_backend() != "cpu" or chosen(64, 16) is AS_MATRIX
    assert chosen(64, 15) is AS_FACTORS
    assert chosen(512, 10_000) is AS_FACTORS
    assert plan_(unitary.full_capacity(), 512, 2) is AS_MATRIX


@pytest.mark.parametrize("name", ["matrix", "factors"])
def test_a_recomputed_window_takes_memory_for_the_square_root_of_its_steps(name, optimized):
    core, width = CORES[name]

    def temporary(cell, steps):
        params = core.init(jax.random.key(0), jnp.zeros(width))
        last = jax.jit(jax.grad(lambda p, zs: loss(rnnjax.run(cell, p, zs)[0])))
        return last.lower(params, jnp.zeros((steps, width))).compile().memory_analysis().temp_size_in_bytes

    kept = rnnjax.unroll(core)
    plain, root = ([temporary(c, t) for t in (4096, 16384)] for c in (kept, rnnjax.remat(kept, every="sqrt")))
    assert 3.5 < plain[1] / plain[0] < 4.5
    assert 1.5 < root[1] / root[0] < 2.5
    assert 20 * root[1] < plain[1]
