"""Laws of the parametrisations of a recurrent matrix, and of the real cells that stand on them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from _helpers import close, draw
from jax import export

import rnnjax
from rnnjax import unitary
from rnnjax.unitary._windows import orthogonality_gap

N = 6
MAPS = {
    "exponential": unitary.exponential(),
    "exponential-random": unitary.exponential(unitary.random_skew(3.0)),
    "cayley": unitary.cayley(),
    "cayley-scaled": unitary.cayley(negative=2),
    "householder": unitary.householder(3),
    "householder-all": unitary.householder(N),
    "schur": unitary.schur(),
    "dynamic": unitary.dynamic(),
}
each_map = pytest.mark.parametrize("u", MAPS.values(), ids=MAPS.keys())


def raw_of(u, n=N, dtype=jnp.float32, away=0.5):
    """Raw parameters away from where they start; of a Schur form, what keeps it orthogonal."""
    raw = u.init(jax.random.key(0), jax.ShapeDtypeStruct((n, n), dtype))
    if isinstance(raw, unitary.Schur):
        return raw._replace(p=raw.p + away * draw(raw.p.shape, raw.p.dtype))
    if isinstance(raw, unitary.Trivialized):
        return raw._replace(a=raw.a + away * draw(raw.a.shape, raw.a.dtype))
    return raw + jnp.asarray(away, dtype) * draw(raw.shape, raw.dtype)


@each_map
@pytest.mark.parametrize("n", [2, N, pytest.param(32, marks=pytest.mark.slow)])
def test_a_map_gives_an_orthogonal_matrix_that_is_not_the_identity(u, n):
    raw = raw_of(u, n)
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(raw))
    assert unitary.orthogonality_error(u(raw)) < 1e-5
    assert abs(u(raw) - jnp.eye(n)).max() > 0.1


def test_odd_sizes_too():
    for u in (unitary.exponential(), unitary.cayley(), unitary.householder(2), unitary.dynamic()):
        assert unitary.orthogonality_error(u(raw_of(u, 5))) < 1e-5


@each_map
def test_the_gradient_of_a_map_is_finite_differences(u, x64):
    raw = raw_of(u, dtype=jnp.float64)
    target = draw((N, N), jnp.float64)
    loss = jax.jit(lambda raw: (u(raw) * target).sum())
    step = jax.tree.map(lambda a: draw(a.shape, a.dtype, seed=9), raw)
    if isinstance(raw, unitary.Trivialized):
        step = step._replace(base=jnp.zeros_like(raw.base))  # which gets no gradient
    ends = [loss(jax.tree.map(lambda a, d, e=e: a + e * d, raw, step)) for e in (1e-6, -1e-6)]
    exact = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), jax.grad(loss)(raw), step)))
    np.testing.assert_allclose(exact, (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-8)


@each_map
def test_the_gradient_of_a_map_lowers_for_cpu_cuda_and_tpu(u):
    grad = jax.jit(jax.grad(lambda raw: (u(raw) ** 3).sum()))
    exported = export.export(grad, platforms=("cpu", "cuda", "tpu"))(raw_of(u))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "geev" not in exported.mlir_module()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_expm_is_the_series(scale, x64):
    a = scale * draw((N, N), jnp.float64)
    a = a - a.T  # so that nothing grows
    want = np.eye(N)
    halved = np.asarray(a) / 2**10
    want = sum((np.linalg.matrix_power(halved, k) / float(np.prod(np.arange(1.0, k + 1))) for k in range(1, 20)), want)
    for _ in range(10):
        want = want @ want
    np.testing.assert_allclose(unitary.expm(a), want, atol=1e-10)


def test_expm_of_no_rotation_and_of_a_known_one():
    np.testing.assert_array_equal(unitary.expm(jnp.zeros((3, 3))), np.eye(3))
    c, s = np.cos(40.0), np.sin(40.0)
    np.testing.assert_allclose(unitary.expm(40 * unitary.skew(jnp.array([1.0]))), [[c, s], [-s, c]], atol=1e-4)
    shear = jnp.array([[0.0, 5.0], [0.0, 0.0]])
    np.testing.assert_allclose(unitary.expm(shear), [[1.0, 5.0], [0.0, 1.0]], atol=1e-6)


def test_householder_accumulated_is_the_chain_of_reflections():
    v = draw((4, N))
    chain = np.eye(N)
    for w in np.asarray(v):
        chain = chain @ (np.eye(N) - 2 * np.outer(w, w) / (w @ w))
    np.testing.assert_allclose(unitary.householder(4)(v), chain, atol=1e-5)


def test_scaling_reaches_determinants_that_rotations_do_not():
    for negative in range(N + 1):
        u = unitary.cayley(negative=negative)
        np.testing.assert_allclose(np.linalg.det(u(raw_of(u))), (-1.0) ** negative, rtol=1e-4)


@pytest.mark.parametrize("size", [0.0, 1.0, 300.0])
def test_the_condition_of_a_cayley_transform_is_that_of_the_matrix_it_inverts(size):
    raw = size * draw((N * (N - 1) // 2,))
    a = np.asarray(unitary.skew(raw), np.float64)
    np.testing.assert_allclose(unitary.cayley_condition(raw), 1 / np.linalg.cond(np.eye(N) + a, 1), rtol=1e-3)


def test_the_cayley_start_turns_each_plane_by_an_angle_below_ninety_degrees():
    u = unitary.cayley()(unitary.cayley_start(jax.random.key(0), N, jnp.float32))
    cosines = np.diag(u)
    assert ((cosines > 0) & (cosines < 1)).all()
    np.testing.assert_allclose(cosines[::2], cosines[1::2], atol=1e-6)


def test_schur_has_the_eigenvalues_it_names():
    u = unitary.schur()
    raw = raw_of(u)
    raw = raw._replace(gamma=jnp.array([0.5, 1.0, 1.5]), t=draw(raw.t.shape))
    want = np.asarray(raw.gamma) * np.exp(1j * abs(np.asarray(raw.theta)))
    got = np.linalg.eigvals(np.asarray(u(raw), np.float64))
    upper = got[got.imag > 0]
    np.testing.assert_allclose(sorted(abs(upper)), sorted(abs(want)), rtol=1e-4)
    np.testing.assert_allclose(sorted(np.angle(upper)), sorted(np.angle(want)), atol=1e-4)
    assert unitary.orthogonality_error(u(raw)) > 0.5  # non-normal


def test_rebasing_leaves_the_matrix_and_the_rest_alone_and_starts_anew():
    u = unitary.dynamic()
    params = {"u": raw_of(u), "b": draw((3,))}
    moved = unitary.rebase(params)
    np.testing.assert_allclose(u(moved["u"]), u(params["u"]), atol=1e-5)
    np.testing.assert_array_equal(moved["b"], params["b"])
    assert not moved["u"].a.any() and abs(moved["u"].base - params["u"].base).max() > 0.1


def test_orthogonality_after_ten_thousand_rebases():
    u = unitary.dynamic()

    def update(i, raw):
        return unitary.rebase(raw._replace(a=0.1 * jax.random.normal(jax.random.key(i), raw.a.shape)))

    raw = jax.jit(lambda raw: jax.lax.fori_loop(0, 10_000, update, raw))(raw_of(u))
    assert unitary.orthogonality_error(u(raw)) < 2e-6


def test_rebasing_every_third_update_moves_the_base_then_and_leaves_the_rotation_alone():
    u, target = unitary.dynamic(), unitary.exponential()(unitary.henaff(jax.random.key(3), N, jnp.float32))
    optimizer = optax.chain(optax.sgd(0.02), unitary.rebasing(3))
    params = {"u": u.init(jax.random.key(0), jnp.ones((N, N))), "b": jnp.ones(2)}
    state = optimizer.init(params)

    @jax.jit
    def update(params, state):
        slopes = jax.grad(lambda p: ((u(p["u"]) - target) ** 2).sum() + p["b"].sum())(params)
        updates, state = optimizer.update(slopes, state, params)
        plain = jax.tree.map(lambda p, g: p - jnp.float32(0.02) * g, params, slopes)
        return optax.apply_updates(params, updates), state, plain

    for count in range(1, 8):
        before = params
        params, state, plain = update(params, state)
        np.testing.assert_allclose(u(params["u"]), u(plain["u"]), atol=1e-5)
        np.testing.assert_allclose(params["b"], plain["b"], rtol=1e-6)
        assert (abs(params["u"].base - before["u"].base).max() > 1e-3) == (count % 3 == 0)
        assert (abs(params["u"].a).max() < 1e-7) == (count % 3 == 0)


def test_rebasing_refuses_to_happen_never_or_blindly():
    with pytest.raises(ValueError, match="rebasing: every is an integer from 1, got 0"):
        unitary.rebasing(0)
    with pytest.raises(ValueError, match="needs the params"):
        unitary.rebasing(2).update({}, unitary.rebasing(2).init({}))


def test_the_base_gets_no_gradient():
    u = unitary.dynamic()
    slope = jax.grad(lambda raw: (u(raw) ** 3).sum())(raw_of(u))
    assert not slope.base.any() and slope.a.any()


@each_map
def test_parametrize_takes_a_map_and_its_parameters(u):
    cell = rnnjax.parametrize(rnnjax.vanilla_core(N), u=u)
    params = cell.init(jax.random.key(0), jnp.ones(N))
    assert unitary.orthogonality_error(cell.weights(params)["u"]) < 1e-5
    again = cell.init(jax.random.key(1), jnp.ones(N))
    assert max(abs(a - b).max() for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(again))) > 1e-3


def test_a_matrix_that_is_not_square_an_odd_schur_and_bad_numbers_are_refused():
    with pytest.raises(ValueError, match=r"square, got \[4, 16\]"):
        rnnjax.parametrize(rnnjax.lstm_core(4), u=unitary.exponential()).init(jax.random.key(0), jnp.ones(16))
    with pytest.raises(ValueError, match="even, got 5"):
        unitary.nnrnn(5)
    with pytest.raises(ValueError, match="even, got 5"):
        unitary.schur().init(jax.random.key(0), jnp.ones((5, 5)))
    with pytest.raises(ValueError, match=r"square matrix, got \[2, 3\]"):
        unitary.expm(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="householder: reflections is an integer from 1, got 0"):
        unitary.householder(0)
    with pytest.raises(ValueError, match="negative=9"):
        unitary.scornn(4, negative=9)
    with pytest.raises(ValueError, match="cayley: negative is an integer from 0, got -1"):
        unitary.cayley(negative=-1).init(jax.random.key(0), jnp.ones((4, 4)))
    with pytest.raises(ValueError, match=r"n \(n - 1\) / 2"):
        unitary.skew(jnp.ones(4))
    with pytest.raises(ValueError, match=r"pre-activations \[4\].*got \[5\]"):
        unitary.modrelu_core(4).init(jax.random.key(0), jnp.ones(5))
    with pytest.raises(ValueError, match=r"pre-activations \[12\].*got \[5\]"):
        unitary.goru_core(4).init(jax.random.key(0), jnp.ones(5))


LASTING = [MAPS["exponential"], MAPS["cayley"], MAPS["schur"], MAPS["dynamic"], unitary.householder(32)]


@pytest.mark.parametrize("u", LASTING)
def test_the_norm_is_kept_over_ten_thousand_steps(u, optimized):
    core = rnnjax.unroll(unitary.modrelu_core(64, u))
    zs = jnp.zeros((10_000, 64))
    params = core.init(jax.random.key(0), zs) | {"b": jnp.zeros(64)}
    _, ys = jax.jit(lambda p: rnnjax.run(core, p, zs, jnp.ones(64)))(params)
    np.testing.assert_allclose(np.linalg.norm(ys, axis=1), 8.0, rtol=1e-4)
    assert abs(ys[-1] - ys[-2]).max() > 1e-3


@pytest.mark.parametrize("n", [2, N, 32])
def test_the_gap_to_orthogonality_is_that_of_double_precision(n):
    u = np.asarray(unitary.householder(n)(raw_of(unitary.householder(n), n)))
    want = np.eye(n) - np.float64(u).T @ np.float64(u)
    # What is not exact is a sum of n products with a part below 2^-16 of the entries, in float32: 2^-16 * 2^-24 each.
    np.testing.assert_allclose(jax.jit(orthogonality_gap)(u), want, rtol=1e-6, atol=n * 2.0**-40)


def relu_of_modulus(a, b):
    """modReLU of a real vector, as it is defined."""
    return np.maximum(np.abs(a) + b, 0) * np.sign(a)


def test_the_modrelu_step_is_the_equation():
    core, z, h = unitary.modrelu_core(N, unitary.exponential()), draw((N,)), draw((N,), seed=1)
    params = core.init(jax.random.key(0), z) | {"b": jnp.linspace(-1.0, 1.0, N)}
    u = np.asarray(unitary.expm(unitary.skew(params["u"])))
    close(rnnjax.run(core, params, z, h)[1], np.float32(relu_of_modulus(h @ u + z, params["b"])), atol=1e-5)


def test_the_goru_step_is_the_equation():
    core, a, h = unitary.goru_core(N), draw((3 * N,)), draw((N,), seed=1)
    params = core.init(jax.random.key(0), a) | {"b": jnp.linspace(-1.0, 1.0, N)}
    u = np.asarray(unitary.expm(unitary.skew(params["u"])))
    r, z = np.split(1 / (1 + np.exp(-(a[: 2 * N] + h @ params["v"]))), 2)
    want = z * h + (1 - z) * relu_of_modulus(a[2 * N :] + r * (h @ u), params["b"])
    close(rnnjax.run(core, params, a, h)[1], np.float32(want), atol=1e-5)
