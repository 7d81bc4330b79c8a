"""Gradient flow of a cell along one sequence: norms, spectra and bounds of d h_T / d h_t."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from rnnjax.base import Cell, PyTree, check_size
from rnnjax.base._arguments import check_function
from rnnjax.base._cell import check_cell
from rnnjax.dynamics._checks import check_state, first_of, start_of


class Flow(NamedTuple):
    """Norms of the gradients d h_T / d h_t and of the states along one sequence.

    Attributes:
      norms: `[T + 1]`, norms of d h_T / d h_t for t = 0 .. T; the last one is 1.
      states: `[T + 1]`, norms of the states themselves.
    """

    norms: jax.Array
    states: jax.Array


class _Map(NamedTuple):
    """A cell as a map on vectors.

    Attributes:
      advance: (h, x) -> h', where h is the whole carry flattened to a vector `[N]`.
      start: h_0 `[N]`.
      carry: converts a vector back to a carry.
    """

    advance: Callable[[jax.Array, PyTree], jax.Array]
    start: jax.Array
    carry: Callable[[jax.Array], PyTree]


def as_map(cell: Cell, params: PyTree, x: PyTree, carry: PyTree = None) -> _Map:
    """Returns a cell as a map (h, x) -> h' on vectors of length N.

    Args:
      cell: a single-step cell (`base.single` turns a window cell into one).
      params: the cell's params.
      x: one input.
      carry: h_0; None: the cell's initial carry.

    Example: with the input held fixed, the cell is a map `h -> h'`.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell, x = rnnjax.lstm(3), jnp.zeros(2)
      >>> advance, h, _ = as_map(cell, cell.init(jax.random.key(0), x), x)
      >>> f = lambda h: advance(h, x)
      >>> f(f(h)).shape
      (6,)
    """
    check_cell("as_map", cell)
    weights, start = start_of("as_map", cell, params, x, carry)
    h0, unflat = ravel_pytree(start)
    return _Map(lambda h, x: ravel_pytree(cell.step(weights, unflat(h), x, None)[0])[0], h0, unflat)


def trajectory(cell: Cell, params: PyTree, xs: PyTree, carry: PyTree = None) -> tuple[_Map, jax.Array]:
    """Returns a cell as a map, and its states h_0 .. h_T, `[T + 1, N]`.

    Args:
      cell, params, carry: as in `as_map`.
      xs: the inputs of one example, `[T, ...]`.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell, xs = rnnjax.vanilla(4), jnp.ones((3, 2))
      >>> trajectory(cell, cell.init(jax.random.key(0), xs[0]), xs)[1].shape
      (4, 4)
    """
    check_cell("trajectory", cell)
    system = as_map(cell, params, first_of("a trajectory", xs), carry)
    last, before = lax.scan(lambda h, x: (system.advance(h, x), h), system.start, xs)
    return system, jnp.concatenate([before, last[None]])


def gradient_flow(
    cell: Cell,
    params: PyTree,
    xs: PyTree,
    carry: PyTree = None,
    part: Callable[[PyTree], PyTree] = lambda carry: carry,
) -> Flow:
    """Returns the norm of d h_T / d h_t for every t, where h is the whole carry flattened to a vector of length N.

        norm(t) = ||d h_T / d h_t||_F / N^(1/2),  d h_T / d h_t = J_T .. J_{t+1},  J_s = d h_s / d h_{s-1}

    The norm is the root mean square of the singular values. It is 1 if every direction keeps its length, as under a
    unitary map. The product is accumulated from the left: N vectors are pulled back through the steps, and no J_s is
    stored.

    Args:
      cell: a single-step cell (`base.single` turns a window cell into one).
      params: the cell's params.
      xs: the inputs of one example, `[T, ...]`.
      carry: h_0; None: the cell's initial carry.
      part: selects the part of the carry to differentiate and to differentiate by, for example
        `lambda carry: carry[1].c` for d c_T / d c_t of an LSTM. Paths through the other parts are included.

    Example: under a rotation scaled by 0.9 the norm is 0.9^(T - t).
      >>> import jax.numpy as jnp, numpy as np, rnnjax
      >>> u = 0.9 * jnp.array([[0.6, 0.8], [-0.8, 0.6]])
      >>> cell = rnnjax.recurrent(2, lambda p, h, z: (h @ p["u"] + z,) * 2)
      >>> flow = gradient_flow(cell, {"u": u}, jnp.ones((3, 2)))
      >>> np.testing.assert_allclose(flow.norms, [0.729, 0.81, 0.9, 1.0], rtol=1e-6)

    Reference: Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks, 2013.
    """
    check_cell("gradient_flow", cell)
    check_function("gradient_flow: part", part)
    (advance, _, unflat), states = trajectory(cell, params, xs, carry)
    rows = jax.jacrev(lambda h: ravel_pytree(part(unflat(h)))[0])(states[-1])

    def back(g: jax.Array, at: tuple[jax.Array, PyTree]) -> tuple[jax.Array, jax.Array]:
        pull = jax.vjp(lambda h: advance(h, at[1]), at[0])[1]
        g = jax.vmap(lambda g: pull(g)[0])(g)
        return g, _rms(g @ rows.T)

    norms = lax.scan(back, rows, (states[:-1], xs), reverse=True)[1]
    norms = jnp.append(norms, jnp.ones((), norms.dtype))
    return Flow(norms, jnp.linalg.norm(jax.vmap(lambda h: rows @ h)(states), axis=1))


def _rms(rows: jax.Array) -> jax.Array:
    """Returns the root mean square of the singular values of a square matrix."""
    return jnp.linalg.norm(rows) / jnp.sqrt(jnp.asarray(len(rows), rows.dtype))


def loss_flow(
    loss: Callable[[PyTree, PyTree], jax.Array], cell: Cell, params: PyTree, xs: PyTree, carry: PyTree = None
) -> jax.Array:
    """Returns the norm of d L / d h_t for every t, `[T + 1]`: how strongly the loss depends on each state.

    Args:
      loss: (carries h_1 .. h_T, outputs y_1 .. y_T), time first -> L. The dependence of L on y_t does not pass through
        the carry h_t, so a readout of the state itself must be computed from the carries.
      cell, params, xs, carry: as in `gradient_flow`.

    Example: if L = h_T, the gradient with respect to h_t is 0.5^(T - t).
      >>> import jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.recurrent(1, lambda p, h, z: (h @ p["u"] + z,) * 2)
      >>> print(loss_flow(lambda hs, ys: hs[-1, 0], cell, {"u": jnp.full((1, 1), 0.5)}, jnp.ones((3, 1))))
      [0.125 0.25  0.5   1.   ]
    """
    check_cell("loss_flow", cell)
    check_function("loss_flow: loss", loss)
    weights, start = start_of("loss_flow", cell, params, first_of("loss_flow", xs), carry)
    return flow_of_loss(loss, cell, weights, xs, start)


def flow_of_loss(
    loss: Callable[[PyTree, PyTree], jax.Array], cell: Cell, weights: PyTree, xs: PyTree, start: PyTree
) -> jax.Array:
    """Returns what `loss_flow` does, of weights instead of params; xs may be a `Seq`."""
    h0, unflat = ravel_pytree(start)

    def total(nudges: jax.Array) -> jax.Array:
        def step(h: jax.Array, at: tuple[PyTree, jax.Array]) -> tuple[jax.Array, tuple[PyTree, PyTree]]:
            new, y = cell.step(weights, unflat(h), at[0], None)
            h = ravel_pytree(new)[0] + at[1]
            return h, (unflat(h), y)

        return loss(*lax.scan(step, h0 + nudges[0], (xs, nudges[1:]))[1])

    steps = len(jax.tree.leaves(xs)[0])
    return jnp.linalg.norm(jax.grad(total)(jnp.zeros((steps + 1, h0.size), h0.dtype)), axis=1)


def memory_length(norms: jax.Array, share: float = 1 / jnp.e) -> jax.Array:
    """Returns the effective memory: the first lag T - t at which the norm drops below `share`; T if it never does.

    Args:
      norms: `[T + 1]`, from `gradient_flow`.
      share: the threshold, 1 / e by default.

    Example: 0.9^lag is below 1 / e from lag 10 on.
      >>> import jax.numpy as jnp
      >>> int(memory_length(0.9 ** jnp.arange(20.0)[::-1]))
      10
    """
    below = norms[::-1] < jnp.asarray(share, norms.dtype)
    return jnp.where(below.any(), below.argmax(), len(norms) - 1)


def powers(
    a: jax.Array, h: jax.Array, steps: int, activation: Callable[[jax.Array], jax.Array] = lambda h: h
) -> jax.Array:
    """Returns the norms of h, a h, .., a^steps h, `[steps + 1]`, optionally with an activation after each step.

    With spectral radius below 1 the norms decay in the end, but for a matrix that is not normal they may grow first.

    Args:
      a: `[N, N]`.
      h: `[N]`.
      steps: how many times a is applied.
      activation: applied after each step, for example `jnp.tanh` to bound the state.

    Example:
      >>> import jax.numpy as jnp
      >>> float(powers(0.5 * jnp.eye(2), jnp.array([3.0, 4.0]), 2)[-1])
      1.25
    """
    a, h = check_state("powers: a", a, "[N, N]"), check_state("powers: h", h)
    check_size("powers: steps", steps, 0)
    check_function("powers: activation", activation)
    if a.shape != (h.size, h.size):
        raise ValueError(f"powers takes a [N, N] and h [N], got {list(a.shape)} and {list(h.shape)}")

    def step(h: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        h = activation(a @ h)
        return h, jnp.linalg.norm(h)

    return jnp.concatenate([jnp.linalg.norm(h)[None], lax.scan(step, h, None, length=steps)[1]])
