"""Cells whose recurrent map is unitary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_size, factory, stack
from rnnjax.base._cell import Step, check_cell
from rnnjax.base._checks import check_preactivations
from rnnjax.base._numerics import at_least_single, draw_initial
from rnnjax.cells import linear
from rnnjax.unitary._factors import BoundFactor, Factor, evolution, uniform
from rnnjax.unitary._meshes import butterfly, tunable
from rnnjax.unitary._pairs import ComplexPair, halves_matrix, modrelu, modrelu_halves, on_halves, to_complex, to_pair
from rnnjax.unitary._windows import MATMUL, Linear, Plan, fast_window, polished, recurrence, with_transpose

# Up to this many units the window uses the dense matrix. Measured on a CPU with 128 units, batch 20 and 128 steps:
# gradients take equally long, and factors are 1.3 times as fast forwards. But only a matrix can be polished, which
# keeps norms to 1e-4 over 10,000 steps. The value is not measured on other hardware.
_DENSE_UNTIL, _DENSE_ELSEWHERE = {"cpu": 128}, 256

_FACTORS = Linear(
    lambda w, h: on_halves(w.apply, h),
    lambda w, g: on_halves(w.adjoint, g),
    lambda w, hs: jax.vmap(lambda h: on_halves(w.apply, h))(hs),
)
# Pieces of two steps: the residuals of the factors then stay in cache (a quarter less time than with twenty).
AS_FACTORS = Plan(recurrence(_FACTORS, modrelu_halves, lambda w, dtype: w), lambda steps: min(steps, 2))
AS_MATRIX = Plan(
    recurrence(MATMUL, modrelu_halves, lambda w, dtype: with_transpose(polished(halves_matrix(w.matrix(dtype)))))
)


@factory
def urnn_core(hidden: int, factor: Factor | None = None, permutation: int = 0) -> Cell:
    """The unitary recurrence on pre-activations z `[2 hidden]`, real parts first, then imaginary parts.

        h_t = modrelu(W h_{t-1} + z_t, b),  W = D3 R2 F^-1 D2 P R1 F D1
        y_t = [re h_t, im h_t]

    Params are {"u": of the factor, "b": `[hidden]`, "h0": the learned initial state}; the state is a `ComplexPair`.

    Args:
      hidden: complex units.
      factor: another unitary map W; None for the one above.
      permutation: seed of the fixed permutation P, which is not part of params.

    Raises:
      ValueError: at the first step, if z is not `[2 hidden]`.

    Example: with b = 0 and no input, the state keeps its norm.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> cell = rnnjax.unroll(urnn_core(8))
      >>> params = cell.init(jax.random.key(0), jnp.zeros((100, 16))) | {"b": jnp.zeros(8)}
      >>> _, ys = rnnjax.run(cell, params, jnp.zeros((100, 16)))
      >>> np.testing.assert_allclose(jnp.linalg.norm(ys[99]), jnp.linalg.norm(jnp.stack(params["h0"])), rtol=1e-4)

    Reference: Arjovsky, Shah, Bengio, Unitary evolution recurrent neural networks, 2016.
    """
    check_size("urnn: hidden", hidden)
    w = evolution(permutation) if factor is None else factor

    what = f"urnn_core with {hidden} complex units"

    def init(key: jax.Array, z: Any) -> PyTree:
        check_preactivations(what, 2 * hidden, z)
        ku, kb, kr, ki = jax.random.split(key, 4)
        start = uniform((3 / (2 * hidden)) ** 0.5)
        h0 = ComplexPair(*(draw_initial(start, k, (hidden,), z.dtype) for k in (kr, ki)))
        return {"u": w.init(ku, hidden, z.dtype), "b": draw_initial(uniform(0.01), kb, (hidden,), z.dtype), "h0": h0}

    def step(
        p: PyTree, carry: ComplexPair, z: jax.Array, key: jax.Array | None = None
    ) -> tuple[ComplexPair, jax.Array]:
        check_preactivations(what, 2 * hidden, z)
        h = p["u"].apply(to_complex(carry)) + to_complex(ComplexPair(z[:hidden], z[hidden:]))
        carry = to_pair(modrelu(h, at_least_single(p["b"])), z.dtype)
        return carry, jnp.concatenate(carry)

    cell = Cell(
        init,
        lambda p, z: p["h0"],
        step,
        lambda p, key=None: {**p, "u": BoundFactor(w.weights(p["u"]), w, hidden)},
        output=jnp.concatenate,
    )
    return cell.replace(window=halves_window(cell, lambda steps: choose_plan(w, hidden, steps)))


def halves_window(cell: Cell, plan: Callable[[int], Plan]) -> Step:
    """The window of a core whose state is a `ComplexPair`.

    Example: a uRNN that always multiplies by its dense matrix.
      >>> import rnnjax
      >>> core = urnn_core(4)
      >>> dense = core.replace(window=halves_window(core, lambda steps: AS_MATRIX))
      >>> zs = jax.random.normal(jax.random.key(0), (6, 8))
      >>> params = core.init(jax.random.key(1), zs[0])
      >>> ys = [rnnjax.run(rnnjax.unroll(c), params, zs)[1] for c in (core, dense)]
      >>> bool(jnp.allclose(*ys, atol=1e-5))
      True
    """
    check_cell("halves_window", cell)
    return fast_window(cell, plan, jnp.concatenate, lambda h: ComplexPair(*jnp.split(h, 2)))


def choose_plan(factor: Factor, hidden: int, steps: int) -> Plan:
    """Chooses between a dense matrix, formed once per window, and the factors.

    Forming the matrix costs n applications of the factors, which only pays off over many steps. A remat of short chunks
    uses the factors.
    """
    few = hidden <= _DENSE_UNTIL.get(jax.default_backend(), _DENSE_ELSEWHERE) and 4 * steps >= hidden
    return AS_MATRIX if factor.matrix is not None or few else AS_FACTORS


@factory
def urnn(hidden: int, permutation: int = 0, bias: bool = True, factor: Factor | None = None) -> Cell:
    """The unitary evolution RNN: `stack(linear(2 hidden), urnn_core(hidden))`; its outputs are `[2 hidden]`.

        h_t = modrelu(W h_{t-1} + V x_t, b),  W = D3 R2 F^-1 D2 P R1 F D1

    Args:
      hidden: complex units.
      permutation: seed of the fixed permutation P.
      bias: whether the input map V has a bias; the cell of the reference has none.
      factor: another unitary map W, such as a product of your own; None for the one above.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.unroll(urnn(128, bias=False))
      >>> params = cell.init(jax.random.key(0), jnp.ones((120, 10)))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 7 n + n + 2 n, and 2 n for each input
      3840

    Reference: Arjovsky, Shah, Bengio, Unitary evolution recurrent neural networks, 2016.
    """
    check_size("urnn: hidden", hidden)
    return stack(linear(2 * hidden, bias), urnn_core(hidden, factor, permutation))


@factory
def eunn(hidden: int, capacity: int | None = 2, bias: bool = True) -> Cell:
    """The efficient unitary RNN: a uRNN whose map is a mesh of Givens rotations.

        h_t = modrelu(W h_{t-1} + V x_t, b),  W = D G_1 .. G_L

    Args:
      hidden: complex units, an even number.
      capacity: layers of the tunable mesh; None for the mesh of the fast Fourier transform, which needs a power of two.
      bias: whether the input map V has a bias.

    Raises:
      ValueError: hidden is odd, or not a power of two if capacity is None.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = eunn(8, capacity=4).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 16 (3 + 1), 8 (4 + 1), 8 + 16
      128

    Reference: Jing et al., Tunable efficient unitary neural networks (EUNN) and their application to RNNs, 2017.
    """
    check_size("eunn: hidden", hidden)
    if hidden % 2:
        raise ValueError(f"eunn rotates pairs: it needs a multiple of 2 units, got {hidden}")
    mesh = butterfly(hidden) if capacity is None else tunable(capacity)
    return stack(linear(2 * hidden, bias), urnn_core(hidden, mesh))
