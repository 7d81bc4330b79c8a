"""Lyapunov exponents: the mean rates at which a system stretches and contracts small perturbations of its state."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, check_number, check_size
from rnnjax.base._arguments import check_function
from rnnjax.base._cell import check_cell
from rnnjax.dynamics._checks import check_single, check_state, first_of
from rnnjax.dynamics._flow import as_map


def lyapunov(
    f: Callable[[jax.Array], jax.Array],
    h: jax.Array,
    steps: int,
    discard: int = 0,
    dt: float = 1.0,
    every: int = 1,
    count: int | None = None,
) -> jax.Array:
    """Returns the Lyapunov exponents of h -> f(h), the largest first, in nats per unit of time.

        J_t Q = Q' R,  exponent_i = mean over t of log abs R_ii / dt

    The directions are propagated by Jacobian-vector products and reorthogonalised; no Jacobian is formed.

    Args:
      f: a map `[N] -> [N]`; for an ordinary differential equation use `rk4(field, dt)`.
      h: the initial state, `[N]`.
      steps: the number of steps to average over, a multiple of `every`.
      discard: steps to run first, until the orbit is on the attractor and the directions have aligned.
      dt: the time per step.
      every: steps between two orthogonalisations.
      count: how many of the largest exponents to compute; None: all N.

    Raises:
      ValueError: `steps` or `discard` is not a multiple of `every`, a size or a number is out of range, or h is not a
        vector.

    Example: the exponents of a linear map are the logarithms of the moduli of its eigenvalues.
      >>> import jax.numpy as jnp
      >>> a = jnp.array([[0.5, 1.0], [0.0, 2.0]])
      >>> print(lyapunov(lambda h: a @ h, jnp.zeros(2), steps=50, discard=50).round(4))
      [ 0.6931 -0.6931]

    Reference: Benettin, Galgani, Giorgilli, Strelcyn, Lyapunov characteristic exponents for smooth dynamical systems,
    1980.
    """
    check_function("lyapunov: f", f)
    h = check_state("lyapunov: h", h)
    check_number("lyapunov: dt", dt, 0, without=(0,))
    return _rates(lambda h, _: f(h), h, None, steps, discard, every, count) / jnp.asarray(dt, h.dtype)


def cell_lyapunov(
    cell: Cell, params: PyTree, xs: PyTree, carry: PyTree = None, discard: int = 0, count: int | None = None
) -> jax.Array:
    """Returns the Lyapunov exponents of a cell driven by inputs, in nats per step, the largest first.

    If the largest is below 0, the network forgets its initial state (the echo state property); if it is above 0, the
    network is chaotic; at 0, perturbations neither grow nor decay.

    Args:
      cell: a single-step cell.
      params: the cell's params.
      xs: the inputs `[T, ...]`.
      carry: the initial state; None: the cell's initial carry.
      discard: how many of the first steps to leave out of the average.
      count: how many of the largest exponents to compute; None: all N, the size of the carry.

    Example: h' = 0.5 h + z.
      >>> import jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.recurrent(2, lambda p, h, z: (h @ p["u"] + z,) * 2)
      >>> print(cell_lyapunov(cell, {"u": 0.5 * jnp.eye(2)}, jnp.ones((20, 2))).round(4))
      [-0.6931 -0.6931]

    Reference: Engelken, Wolf, Abbott, Lyapunov spectra of chaotic recurrent neural networks, 2023.
    """
    check_cell("cell_lyapunov", cell)
    system = as_map(cell, params, first_of("cell_lyapunov", xs), carry)
    check_size("cell_lyapunov: discard", discard, 0)
    steps = len(jax.tree.leaves(xs)[0]) - discard
    if steps < 1:
        raise ValueError(f"cell_lyapunov: discard={discard} leaves none of {steps + discard} steps to average over")
    return _rates(system.advance, system.start, xs, steps, discard, 1, count)


def _random_frame(count: int, h: jax.Array) -> jax.Array:
    """Returns random orthonormal directions `[count, N]`; the first one does not depend on the count.

    Unit vectors do not work: in a diagonal system they never turn towards the fastest direction.
    """
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), jnp.arange(count))
    return jnp.linalg.qr(jax.vmap(lambda key: jax.random.normal(key, (h.size,), h.dtype))(keys).T)[0].T


def _rates(
    f: Callable[[jax.Array, PyTree], jax.Array],
    h: jax.Array,
    xs: PyTree,
    steps: int,
    discard: int,
    every: int,
    count: int | None,
) -> jax.Array:
    """Returns the sorted means of log abs R_ii per step, over the steps that are not discarded."""
    for name, value, least in (("steps", steps, 1), ("discard", discard, 0), ("every", every, 1), ("count", count, 1)):
        if value is not None or name != "count":
            check_size(f"lyapunov: {name}", value, least)
    if steps % every or discard % every:
        raise ValueError(f"{discard} steps to discard and {steps} to average: multiples of {every}, at least one")
    if count is not None and count > h.size:
        raise ValueError(f"count={count} exponents of a state of {h.size} numbers: between 1 and {h.size}")
    check_single("lyapunov: the state", h)
    blocks = (discard + steps) // every
    folded = jax.tree.map(lambda a: a.reshape((blocks, every) + a.shape[1:]), xs)

    def push(state: tuple[jax.Array, jax.Array], x: PyTree) -> tuple[tuple[jax.Array, jax.Array], None]:
        h, along = jax.linearize(lambda h: f(h, x), state[0])
        return (h, jax.vmap(along)(state[1])), None

    def block(state: tuple[jax.Array, jax.Array], xs: PyTree) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        (h, rows), _ = lax.scan(push, state, xs, length=every)
        q, r = jnp.linalg.qr(rows.T)
        return (h, q.T), jnp.log(jnp.abs(jnp.diagonal(r)))

    start = _random_frame(h.size if count is None else count, h)
    (h, _), logs = lax.scan(block, (h, start), folded, length=blocks)
    logs = logs[discard // every :]
    rates = -jnp.sort(-logs.mean(0)) / jnp.asarray(every, h.dtype)
    return jnp.where(jnp.isfinite(h).all(), rates, jnp.full_like(rates, jnp.nan))
