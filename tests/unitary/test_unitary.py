"""Laws of unitary maps and of the cells made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import moved
from jax import export

import rnnjax
from rnnjax import unitary
from rnnjax.unitary import ComplexPair

N = 8

FACTORS = {
    "diagonal": unitary.diagonal(),
    "reflection": unitary.reflection(),
    "fourier": unitary.fourier(),
    "inverse_fourier": unitary.inverse_fourier(),
    "permutation": unitary.permutation(3),
    "product": unitary.product(unitary.diagonal(), unitary.product(unitary.reflection(), unitary.fourier())),
    "evolution": unitary.evolution(),
    "givens": unitary.givens(),
    "givens-shifted": unitary.givens(1, 1),
    "givens-strided": unitary.givens(2),
    "tunable": unitary.tunable(3),
    "butterfly": unitary.butterfly(N),
    "kronecker": unitary.kronecker((unitary.tunable(2), 2), (unitary.full_capacity(), 4)),
    "reflections": unitary.reflections(3),
    "full_capacity": unitary.full_capacity(),
}
CELLS = {name: rnnjax.urnn(N, factor=factor) for name, factor in FACTORS.items()}
each_factor = pytest.mark.parametrize(
    "factor",
    [pytest.param(f, id=n, marks=[pytest.mark.slow] * (n in ("kronecker", "product"))) for n, f in FACTORS.items()],
)


def matrix(factor: unitary.Factor, params, n: int = N) -> np.ndarray:
    """The dense matrix of a factor."""
    re, im = unitary.dense(factor, factor.weights(params), n)
    return np.asarray(re) + 1j * np.asarray(im)


def vector(seed: int, n: int = N) -> jax.Array:
    """A random complex vector."""
    return jax.lax.complex(*jax.random.normal(jax.random.key(seed), (2, n)))


@each_factor
def test_a_factor_is_unitary_and_its_adjoint_is_its_conjugate_transpose_and_undoes_it(factor):
    params = moved(factor.init(jax.random.key(0), N, jnp.float32))
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(params))
    w, weights, h = matrix(factor, params), factor.weights(params), vector(1)
    np.testing.assert_allclose(w.conj().T @ w, np.eye(N), atol=1e-5)
    assert np.abs(w - np.eye(N)).max() > 0.1
    np.testing.assert_allclose(factor.adjoint(weights, h), w.conj().T @ h, atol=1e-5)
    np.testing.assert_allclose(factor.adjoint(weights, factor.apply(weights, h)), h, atol=1e-5)


def by_hand(params) -> np.ndarray:
    """D3 R2 F^-1 D2 P R1 F D1, written out with matrices."""
    d3, r2, _, d2, _, r1, _, d1 = params

    def diagonal(p):
        return np.diag(np.exp(1j * np.asarray(p["theta"])))

    def reflection(p):
        v = np.asarray(p["v"].re) + 1j * np.asarray(p["v"].im)
        return np.eye(N) - 2 * np.outer(v, v.conj()) / np.vdot(v, v).real

    j = np.arange(N)
    f = np.exp(-2j * np.pi * np.outer(j, j) / N) / np.sqrt(N)
    p = np.eye(N)[np.asarray(unitary.permutation(5).apply((), jnp.arange(N)))]
    return diagonal(d3) @ reflection(r2) @ f.conj() @ diagonal(d2) @ p @ reflection(r1) @ f @ diagonal(d1)


def test_the_product_of_the_factors_by_hand_is_the_map_applied_to_the_identity():
    factor = unitary.evolution(5)
    params = factor.init(jax.random.key(0), N, jnp.float32)
    np.testing.assert_allclose(matrix(factor, params), by_hand(params), atol=1e-5)


def test_accumulated_reflections_are_the_chain_of_them():
    many, one = unitary.reflections(3), unitary.reflection()
    v = many.init(jax.random.key(0), N, jnp.float32)["v"]
    chain = unitary.product(one, one, one)
    params = tuple({"v": ComplexPair(v.re[i], v.im[i])} for i in range(3))
    np.testing.assert_allclose(matrix(many, {"v": v}), matrix(chain, params), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0.0, 1e-30])
def test_a_vector_of_no_length_reflects_nothing(size):
    v = jnp.zeros((2, N)).at[0].set(size)
    re, im = v, jnp.zeros_like(v)
    target = jnp.linspace(-1.0, 2.0, N * N).reshape(N, N)

    def one(v):
        return unitary.dense(unitary.reflection(), {"v": ComplexPair(v[0], im[0])}, N).re

    def many(v):
        factor = unitary.reflections(2)
        return unitary.dense(factor, factor.weights({"v": ComplexPair(v, im)}), N).re

    for matrix_of in (one, many, unitary.householder(2)):
        np.testing.assert_array_equal(matrix_of(re), np.eye(N))
        assert np.isfinite(jax.grad(lambda v, f=matrix_of: (f(v) * target).sum())(re)).all()


@pytest.mark.slow
def test_a_kronecker_product_is_that_of_the_matrices():
    a, b = unitary.tunable(2), unitary.evolution()
    w = unitary.kronecker((a, 2), (b, 4))
    params = w.init(jax.random.key(0), N, jnp.float32)
    np.testing.assert_allclose(matrix(w, params), np.kron(matrix(a, params[0], 2), matrix(b, params[1], 4)), atol=1e-5)


def test_a_layer_of_rotations_is_the_matrix_of_them():
    theta, phi = np.linspace(0.3, 2.0, N // 2), np.linspace(-2.0, 1.0, N // 2)
    for stride, offset in ((1, 0), (1, 1), (2, 0), (4, 0)):
        want = np.zeros((N, N), complex)
        firsts = [j for j in range(N) if j // stride % 2 == 0]
        for t, p, j in zip(theta, phi, firsts):
            a, b = (j + offset) % N, (j + stride + offset) % N
            want[a, a], want[a, b] = np.exp(1j * p) * np.cos(t), -np.exp(1j * p) * np.sin(t)
            want[b, a], want[b, b] = np.sin(t), np.cos(t)
        params = {"theta": jnp.asarray(theta, jnp.float32), "phi": jnp.asarray(phi, jnp.float32)}
        np.testing.assert_allclose(matrix(unitary.givens(stride, offset), params), want, atol=1e-6)


def test_full_capacity_is_the_exponential_and_leaves_the_real_rotations():
    w = unitary.full_capacity()
    params = w.init(jax.random.key(0), 4, jnp.float32)
    assert abs(matrix(w, params, 4).imag).max() < 1e-6
    params = params | {"a": jnp.zeros(6), "s": jnp.asarray([0.3, 0, 0, 0, 1.0, 0, 0, -2.0, 0, 3.0])}
    np.testing.assert_allclose(matrix(w, params, 4), np.diag(np.exp(1j * np.array([0.3, 1.0, -2.0, 3.0]))), atol=1e-5)


def test_sizes_a_factor_cannot_have_are_refused():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="power of two of units, got 6"):
        unitary.eunn(6, capacity=None)
    with pytest.raises(ValueError, match=r"butterfly\(4\) has 4 units, not 8"):
        rnnjax.urnn(8, factor=unitary.butterfly(4)).init(key, jnp.ones(3))
    with pytest.raises(ValueError, match="multiple of 2 units, got 5"):
        unitary.eunn(5)
    with pytest.raises(ValueError, match="multiple of 2 units, got 5"):
        unitary.tunable(2).init(key, 5, jnp.float32)
    with pytest.raises(ValueError, match=r"\(2, 4\) has 8 units, not 9"):
        unitary.kronecker((unitary.diagonal(), 2), (unitary.diagonal(), 4)).init(key, 9, jnp.float32)
    for wrong in (lambda: unitary.tunable(0), lambda: unitary.reflections(0), lambda: unitary.givens(0)):
        with pytest.raises(ValueError, match="is an integer from 1, got 0"):
            wrong()
    with pytest.raises(ValueError, match="parts"):
        unitary.kronecker()


def test_a_product_needs_factors():
    with pytest.raises(ValueError, match="at least one factor"):
        unitary.product()


@pytest.mark.parametrize("seed", range(20))
def test_a_permutation_is_one_and_never_the_identity(seed):
    for n in (2, 3, N):
        moved = np.asarray(unitary.permutation(seed).apply((), jnp.arange(n)))
        assert sorted(moved) == list(range(n))
        assert (moved != np.arange(n)).any()
    assert unitary.permutation(seed).apply((), jnp.arange(1.0)) == 0


def test_the_seed_of_the_permutation_matters_and_params_do_not_hold_it():
    x = jnp.ones((12, 3))
    a, b = rnnjax.unroll(rnnjax.urnn(N, permutation=0)), rnnjax.unroll(rnnjax.urnn(N, permutation=1))
    params = a.init(jax.random.key(0), x)
    assert jax.tree.structure(params) == jax.tree.structure(b.init(jax.random.key(0), x))
    assert np.abs(rnnjax.run(a, params, x)[1] - rnnjax.run(b, params, x)[1]).max() > 1e-2


def test_a_norm_is_kept_over_ten_thousand_steps(optimized):
    core = rnnjax.urnn_core(16)
    params = core.init(jax.random.key(0), jnp.zeros(32)) | {"b": jnp.zeros(16)}
    _, ys = jax.jit(lambda p: rnnjax.run(rnnjax.unroll(core), p, jnp.zeros((10_000, 32))))(params)
    norms = np.linalg.norm(np.asarray(ys), axis=1)
    np.testing.assert_allclose(norms, np.linalg.norm(params["h0"]), rtol=1e-4)
    assert np.abs(ys[-1] - ys[-2]).max() > 1e-3  # it moves


def test_a_gradient_norm_is_kept_from_the_last_step_to_the_first():
    core = rnnjax.unroll(rnnjax.urnn_core(16))
    z = jnp.zeros((1000, 32))
    params = core.init(jax.random.key(0), z) | {"b": jnp.zeros(16)}
    v = jax.random.normal(jax.random.key(1), (32,))
    g = jax.jit(jax.grad(lambda p: rnnjax.run(core, p, z)[1][-1] @ v))(params)["h0"]
    np.testing.assert_allclose(np.linalg.norm(g), np.linalg.norm(v), rtol=1e-3)


@pytest.mark.parametrize("b", [-0.5, 0.0, 0.5])
def test_modrelu_has_finite_value_and_gradient_at_zero_and_near_it(b):
    def through(re, b):
        z = jax.lax.complex(re, jnp.zeros(()))
        return unitary.modrelu(z, b).real

    for re in (0.0, 1e-30, 1e-20, 1e-6, 1.0):
        value, gradients = jax.value_and_grad(through, (0, 1))(jnp.float32(re), jnp.float32(b))
        assert np.isfinite([value, *gradients]).all(), (re, value, gradients)
    assert through(jnp.float32(0.0), jnp.float32(b)) == 0


def test_a_state_at_rest_hands_gradients_on_as_they_are():
    """Zeros in, zeros out, for 300 steps: the biases above zero must not multiply the gradient at each of them."""
    core, z = rnnjax.unroll(rnnjax.modrelu_core(8, unitary.exponential())), jnp.zeros((300, 8))
    params = core.init(jax.random.key(0), z) | {"b": jnp.full(8, 0.5)}
    v = jax.random.normal(jax.random.key(1), (8,))
    g = jax.jit(jax.grad(lambda z: rnnjax.run(core, params, z)[1][-1] @ v))(z)
    np.testing.assert_allclose(np.linalg.norm(g, axis=1), np.linalg.norm(v), rtol=1e-3)


def test_modrelu_by_hand():
    z = np.array([3 + 4j, -3 - 4j, 0.6 - 0.8j, 0.1j])
    for b in (-2.0, -0.5, 0.0, 0.7):
        want = np.maximum(np.abs(z) + b, 0) * z / np.abs(z)
        np.testing.assert_allclose(unitary.modrelu(jnp.asarray(z), jnp.float32(b)), want, rtol=1e-5, atol=1e-6)
        real = np.maximum(np.abs(z.real) + b, 0) * np.sign(z.real)
        np.testing.assert_allclose(unitary.modrelu(jnp.asarray(z.real), jnp.float32(b)), real, rtol=1e-5, atol=1e-6)


def test_the_step_is_the_equation():
    core, z = rnnjax.urnn_core(N, permutation=5), jax.random.normal(jax.random.key(1), (2 * N,))
    params = core.init(jax.random.key(0), z)
    params = params | {"b": jnp.linspace(-0.5, 0.5, N)}
    h = by_hand(params["u"]) @ (np.asarray(params["h0"].re) + 1j * np.asarray(params["h0"].im))
    h = h + np.asarray(z[:N]) + 1j * np.asarray(z[N:])
    want = np.maximum(np.abs(h) + params["b"], 0) * h / np.abs(h)
    carry, y = rnnjax.run(core, params, z)
    np.testing.assert_allclose(y, np.concatenate([want.real, want.imag]), atol=1e-5)
    np.testing.assert_array_equal(y, np.concatenate(carry))


def test_initial_values_are_the_papers():
    n = 4096
    params = rnnjax.urnn_core(n).init(jax.random.key(0), jax.ShapeDtypeStruct((2 * n,), jnp.float32))
    bound = (3 / (2 * n)) ** 0.5
    ranges = {np.pi: params["u"][0]["theta"], 1.0: params["u"][1]["v"].im, 0.01: params["b"], bound: params["h0"].re}
    for limit, values in ranges.items():
        assert 0.99 * limit < np.abs(values).max() <= limit
        assert abs(np.mean(values)) < 4 * limit / np.sqrt(3 * n)
    assert abs(np.linalg.norm(params["h0"]) - 1) < 0.05


def test_every_gradient_is_finite_and_not_zero_from_a_zero_state_with_zero_input():
    core = rnnjax.unroll(rnnjax.urnn_core(N))
    z = jnp.zeros((3, 2 * N))
    params = core.init(jax.random.key(0), z)
    zero = ComplexPair(jnp.zeros(N), jnp.zeros(N))
    loss = jax.jit(lambda p, h, z: rnnjax.run(core, p, z, h)[1].sum())
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(jax.grad(loss, (0, 1, 2))(params, zero, z)))
    started = jax.grad(lambda p: rnnjax.run(core, p, z)[1].sum())(params)
    assert all((np.abs(g) > 0).any() for g in jax.tree.leaves(started))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_the_gradient_lowers_for_cpu_cuda_and_tpu(cell):
    window, xs = rnnjax.unroll(cell), jnp.ones((3, 2))
    params = window.init(jax.random.key(0), xs)
    grad = jax.jit(jax.grad(lambda p, xs: rnnjax.run(window, p, xs)[1].sum()))
    assert export.export(grad, platforms=("cpu", "cuda", "tpu"))(params, xs).platforms == ("cpu", "cuda", "tpu")


def test_a_wrong_width_is_refused_by_name():
    with pytest.raises(ValueError, match=r"pre-activations \[16\].*got \[8\]"):
        rnnjax.urnn_core(N).init(jax.random.key(0), jnp.ones(N))


@pytest.mark.parametrize("b", [-1.0, 0.0, 1.0])
def test_modrelu_keeps_nan(b):
    for z in (jnp.array([jnp.nan, 1.0]), jnp.array([jnp.nan, 1.0], jnp.complex64)):
        got = unitary.modrelu(z, jnp.float32(b))
        assert jnp.isnan(got[0]) and jnp.isfinite(got[1])


@pytest.mark.parametrize("make", [rnnjax.exprnn, rnnjax.scornn, rnnjax.nnrnn, rnnjax.goru, rnnjax.urnn, rnnjax.eunn])
def test_nan_in_an_input_reaches_every_later_output(make):
    xs, net = jnp.ones((5, 2)).at[2, 0].set(jnp.nan), rnnjax.unroll(make(4))
    ys = jax.jit(lambda p: rnnjax.run(net, p, xs)[1])(net.init(jax.random.key(1), xs))
    assert jnp.isfinite(ys[:2]).all() and jnp.isnan(ys[2:]).any(axis=1).all()
