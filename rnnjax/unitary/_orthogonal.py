"""Real recurrences with modReLU and a constrained matrix: expRNN, scoRNN, nnRNN, and the gated GORU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_size, factory, stack
from rnnjax.base._checks import check_preactivations
from rnnjax.base._numerics import Initializer, at_least_single, draw_initial, orthogonal
from rnnjax.base._outputs import carry_itself
from rnnjax.cells import linear
from rnnjax.unitary._factors import uniform
from rnnjax.unitary._maps import Parametrization, cayley, check_even, check_signs, exponential, schur, unconstrained
from rnnjax.unitary._pairs import modrelu
from rnnjax.unitary._skew import SkewInit, cayley_start, henaff
from rnnjax.unitary._windows import MATMUL, Plan, fast_window, gated, matmul_full_precision, recurrence, with_transpose


def _modrelu_real(z: jax.Array, b: jax.Array) -> jax.Array:
    """Applies modReLU to a real vector in its own dtype."""
    return modrelu(at_least_single(z), at_least_single(b)).astype(z.dtype)


_PLAIN, _GATED = Plan(recurrence(MATMUL, _modrelu_real, with_transpose)), Plan(gated(_modrelu_real))


@factory
def modrelu_core(hidden: int, u: Parametrization | None = None) -> Cell:
    """A recurrence with modReLU on pre-activations z `[hidden]`, with a matrix from a parametrisation.

        h_t = modrelu(h_{t-1} u + z_t, b)

    Params are {"u": raw, "b": `[hidden]`}; the map is evaluated once per window.

    Args:
      hidden: units.
      u: `exponential()`, `cayley()`, `householder(k)`, `schur()`, `dynamic()`; None for `unconstrained()`.

    Raises:
      ValueError: z is not `[hidden]`.

    Example: with b = 0 and no input, the state keeps its norm.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> cell = rnnjax.unroll(modrelu_core(8, exponential()))
      >>> params = cell.init(jax.random.key(0), jnp.zeros((100, 8))) | {"b": jnp.zeros(8)}
      >>> carry, _ = rnnjax.run(cell, params, jnp.zeros((100, 8)), carry=jnp.ones(8))
      >>> np.testing.assert_allclose(jnp.linalg.norm(carry), 8**0.5, rtol=1e-4)

    Reference: Arjovsky, Shah, Bengio, Unitary evolution recurrent neural networks, 2016 (modReLU).
    """
    check_size("modrelu_core: hidden", hidden)
    law = unconstrained() if u is None else u

    def init(key: jax.Array, z: Any) -> PyTree:
        check_preactivations("modrelu_core", hidden, z)
        ku, kb = jax.random.split(key)
        raw = law.init(ku, jax.ShapeDtypeStruct((hidden, hidden), z.dtype))
        return {"u": raw, "b": draw_initial(uniform(0.01), kb, (hidden,), z.dtype)}

    def step(p: PyTree, h: jax.Array, z: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        check_preactivations("modrelu_core", hidden, z)
        h = _modrelu_real(matmul_full_precision(h, p["u"]) + z, p["b"])
        return h, h

    def weights(p: PyTree, key: jax.Array | None = None) -> PyTree:
        return {**p, "u": law(p["u"])}

    cell = Cell(init, lambda p, z: jnp.zeros(hidden, z.dtype), step, weights, output=carry_itself)
    return cell.replace(window=fast_window(cell, lambda steps: _PLAIN))


@factory
def exprnn(hidden: int, start: SkewInit = henaff, bias: bool = True) -> Cell:
    """The expRNN: `stack(linear(hidden), modrelu_core(hidden, exponential()))`.

        h_t = modrelu(x_t w + h_{t-1} exp(A), b),  A = -A^T

    Args:
      hidden: units.
      start: initialiser of A: `henaff`, `cayley_start`, `random_skew()`.
      bias: whether the input map has a bias.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = exprnn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 1), 6 and 4
      26

    Reference: Lezcano-Casado, Martinez-Rubio, Cheap orthogonal constraints in neural networks, 2019.
    """
    check_size("exprnn: hidden", hidden)
    return stack(linear(hidden, bias), modrelu_core(hidden, exponential(start)))


@factory
def scornn(hidden: int, negative: int | None = None, start: SkewInit = cayley_start, bias: bool = True) -> Cell:
    """The scoRNN: `stack(linear(hidden), modrelu_core(hidden, cayley(negative=negative)))`.

        h_t = modrelu(x_t w + h_{t-1} u, b),  u = (I + A)^-1 (I - A) D

    Args:
      hidden: units.
      negative: number of entries -1 of D; None for half of them.
      start: initialiser of A.
      bias: whether the input map has a bias.

    Raises:
      ValueError: there are more negative entries than units.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = scornn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 1), 6 and 4
      26

    Reference: Helfrich, Willmott, Ye, Orthogonal recurrent neural networks with scaled Cayley transform, 2018.
    """
    if negative is not None:
        check_size("scornn: negative", negative, 0)
    check_size("scornn: hidden", hidden)
    signs = hidden // 2 if negative is None else negative
    check_signs(signs, hidden)
    return stack(linear(hidden, bias), modrelu_core(hidden, cayley(start, signs)))


@factory
def nnrnn(hidden: int, start: SkewInit = henaff, bias: bool = True) -> Cell:
    """The non-normal RNN: `stack(linear(hidden), modrelu_core(hidden, schur()))`; hidden is even.

        h_t = modrelu(x_t w + h_{t-1} u, b),  u = P (Lambda + T) P^T

    Args:
      hidden: units.
      start: initialiser of A in the basis P = exp(A).
      bias: whether the input map has a bias.

    Raises:
      ValueError: hidden is odd.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = nnrnn(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 4 (3 + 1), 6 + 2 + 2 + 4 and 4
      34

    Reference: Kerg et al., Non-normal recurrent neural network (nnRNN), 2019.
    """
    check_size("nnrnn: hidden", hidden)
    check_even(hidden)
    return stack(linear(hidden, bias), modrelu_core(hidden, schur(start)))


@factory
def goru_core(hidden: int, u: Parametrization | None = None, gates_init: Initializer = orthogonal) -> Cell:
    """The gated orthogonal unit on pre-activations a `[3 hidden]`, in the order r, z, n.

        r, z = sigmoid(a_r + h_{t-1} v_r), sigmoid(a_z + h_{t-1} v_z)
        h_t = z h_{t-1} + (1 - z) modrelu(a_n + r (h_{t-1} u), b)

    Params are {"u": raw, "v": `[hidden, 2 hidden]`, "b": `[hidden]`}.

    Args:
      hidden: units.
      u: parametrisation of the orthogonal u; None for `exponential()`.
      gates_init: initialiser of the `[hidden, hidden]` matrix of each gate.

    Raises:
      ValueError: a is not `[3 hidden]`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> {name: p.shape for name, p in goru_core(4).init(jax.random.key(0), jnp.ones(12)).items()}
      {'u': (6,), 'v': (4, 8), 'b': (4,)}

    Reference: Jing et al., Gated orthogonal recurrent units: on learning to forget, 2017.
    """
    check_size("goru: hidden", hidden)
    inner = modrelu_core(hidden, exponential() if u is None else u)

    def init(key: jax.Array, a: Any) -> PyTree:
        check_preactivations("goru_core", 3 * hidden, a)
        ku, *kv = jax.random.split(key, 3)
        p = inner.init(ku, jax.ShapeDtypeStruct((hidden,), a.dtype))
        v = jnp.concatenate([draw_initial(gates_init, k, (hidden, hidden), a.dtype) for k in kv], axis=1)
        return {"u": p["u"], "v": v, "b": p["b"]}

    def step(p: PyTree, h: jax.Array, a: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        check_preactivations("goru_core", 3 * hidden, a)
        r, z = jnp.split(jax.nn.sigmoid(a[: 2 * hidden] + h @ p["v"]), 2)
        n = _modrelu_real(a[2 * hidden :] + r * matmul_full_precision(h, p["u"]), p["b"])
        h = n + z * (h - n)
        return h, h

    cell = Cell(init, lambda p, a: jnp.zeros(hidden, a.dtype), step, inner.weights, output=carry_itself)
    return cell.replace(window=fast_window(cell, lambda steps: _GATED))


@factory
def goru(hidden: int, u: Parametrization | None = None, bias: bool = True, openness: Any = 5.0) -> Cell:
    """The gated orthogonal recurrent unit: `stack(linear(3 hidden), goru_core(hidden))`.

        r, z = sigmoid(x_t w + c + h_{t-1} v),  at first c_r = openness, c_z = -openness
        h_t = z h_{t-1} + (1 - z) modrelu(x_t w_n + c_n + r (h_{t-1} u), b)

    Args:
      hidden: units.
      u: parametrisation of the orthogonal u; None for `exponential()`.
      bias: whether the input map has a bias; without one the gates start half open.
      openness: initial value of the gate biases. At 5 the cell starts as an orthogonal recurrence and learns to forget;
        at 0 it forgets half of its state at each step and does not learn to copy over 100 steps.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = goru(4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 12 (3 + 1), 6 + 32 + 4
      90

    Reference: Jing et al., Gated orthogonal recurrent units: on learning to forget, 2017.
    """
    check_size("goru: hidden", hidden)
    check_number("goru: openness", openness)

    def start(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
        each = jnp.array([1, -1, 0], dtype) * jnp.asarray(openness, dtype)
        return jnp.repeat(each, hidden)

    return stack(linear(3 * hidden, bias, b_init=start), goru_core(hidden, u))
