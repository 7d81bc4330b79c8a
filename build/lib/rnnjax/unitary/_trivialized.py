"""Dynamic trivialisation: a rotation as a base times a small rotation, with a base that moves during training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import PyTree, check_size
from rnnjax.base._numerics import at_least_single
from rnnjax.unitary._maps import Parametrization, packed
from rnnjax.unitary._skew import SkewInit, expm, henaff, skew
from rnnjax.unitary._windows import matmul_full_precision, polished

if TYPE_CHECKING:
    import optax


class Trivialized(NamedTuple):
    """A rotation as a fixed base and the packed skew matrix of a rotation away from it."""

    a: jax.Array
    base: jax.Array


def dynamic(init: SkewInit = henaff) -> Parametrization:
    """Dynamic trivialisation: the exponential around a base, which `rebase` moves to the current u.

        u = base exp(A),  A = -A^T, zero after each rebase

    The base gets no gradient (exclude it from weight decay). Near A = 0 the map does not distort the gradient.

    Example: rebasing does not move u.
      >>> import jax, jax.numpy as jnp, numpy as np
      >>> u = dynamic()
      >>> raw = u.init(jax.random.key(0), jnp.ones((4, 4)))
      >>> raw = raw._replace(a=raw.a + 0.1)
      >>> np.testing.assert_allclose(u(rebase(raw)), u(raw), atol=1e-5)

    Reference: Lezcano-Casado, Trivializations for gradient-based optimization on manifolds, 2019.
    """

    def init_raw(key: jax.Array, n: int, dtype: Any) -> Trivialized:
        start = packed(init, key, n, dtype)
        return Trivialized(jnp.zeros_like(start), expm(skew(at_least_single(start))).astype(dtype))

    return Parametrization(
        init_raw, lambda raw: polished(matmul_full_precision(lax.stop_gradient(raw.base), expm(skew(raw.a))))
    )


def rebase(params: PyTree) -> PyTree:
    """Returns params in which the base of every `Trivialized` is its u, with a = 0; all others are unchanged.

    One Newton step makes the new base orthogonal again, so rounding errors do not accumulate.

    Example:
      >>> import jax.numpy as jnp
      >>> raw = rebase({"u": Trivialized(jnp.array([jnp.pi]), jnp.eye(2)), "b": 1.0})
      >>> print(raw["u"].a, raw["u"].base.round(4) + 0.0)
      [0.] [[-1.  0.]
       [ 0. -1.]]
    """

    def at(raw: PyTree) -> PyTree:
        if not isinstance(raw, Trivialized):
            return raw
        u = matmul_full_precision(at_least_single(raw.base), expm(skew(at_least_single(raw.a))))
        return Trivialized(jnp.zeros_like(raw.a), polished(u).astype(raw.base.dtype))

    return jax.tree.map(at, params, is_leaf=lambda raw: isinstance(raw, Trivialized))


class _RebasingState(NamedTuple):
    """The number of updates so far."""

    updates: jax.Array


def rebasing(every: int) -> optax.GradientTransformationExtraArgs:
    """An optax transform that applies `rebase` after every k-th update; put it last in the chain.

    Args:
      every: k. The moments of the optimiser are not changed.

    Raises:
      ValueError: k is below one.

    Example:
      >>> import optax
      >>> optimizer = optax.chain(optax.adam(1e-3), rebasing(100))

    Reference: Lezcano-Casado, Trivializations for gradient-based optimization on manifolds, 2019.
    """
    check_size("rebasing: every", every)

    def is_rotation(tree: PyTree) -> bool:
        return isinstance(tree, Trivialized)

    def onto(param: PyTree, update: PyTree) -> PyTree:
        if not is_rotation(param):
            return update
        return jax.tree.map(jnp.subtract, rebase(jax.tree.map(jnp.add, param, update)), param)

    def update(
        updates: PyTree, state: _RebasingState, params: PyTree = None, **_: Any
    ) -> tuple[PyTree, _RebasingState]:
        if params is None:
            raise ValueError("rebasing needs the params: optimizer.update(gradients, state, params)")
        count = state.updates + 1
        moved = lax.cond(
            count % every == 0,
            lambda p, u: jax.tree.map(onto, p, u, is_leaf=is_rotation),
            lambda p, u: u,
            params,
            updates,
        )
        return moved, _RebasingState(count)

    import optax  # slow to import, and no cell needs it

    return optax.GradientTransformationExtraArgs(lambda params: _RebasingState(jnp.zeros((), jnp.int32)), update)
