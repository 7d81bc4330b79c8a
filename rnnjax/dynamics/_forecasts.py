"""Forecasts of a network that was trained to predict the next state of a system and then reads its own outputs."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from rnnjax.base import Cell, PyTree, check_number, check_size, run, unroll
from rnnjax.base._arguments import check_array
from rnnjax.base._cell import check_cell
from rnnjax.dynamics._checks import first_of, start_of


def free_run(cell: Cell, params: PyTree, xs: jax.Array, steps: int) -> jax.Array:
    """Returns the outputs of a network that reads a sequence and then its own outputs as inputs.

    Args:
      cell: a single-step cell that maps x `[D]` to a prediction y `[D]` of the next x.
      params: the cell's params.
      xs: the sequence to read first, `[T, D]`.
      steps: the number of outputs; the first one follows the last of xs.

    Returns:
      `[steps, D]`: predictions of x_{T+1} .. x_{T+steps}.

    Example: a cell that doubles its input.
      >>> import jax.numpy as jnp, rnnjax
      >>> print(free_run(rnnjax.pointwise(lambda x: 2 * x), (), jnp.ones((5, 1)), 3)[:, 0])
      [2. 4. 8.]
    """
    check_cell("free_run", cell)
    f, start = left_alone(cell, params, xs)
    check_size("free_run: steps", steps)
    y = jax.eval_shape(lambda xs: run(unroll(cell), params, xs)[1], xs)
    if jnp.shape(y) != jnp.shape(xs):
        raise ValueError(f"free_run: outputs are {list(jnp.shape(y))} for inputs {list(jnp.shape(xs))}, wanted alike")
    return lax.scan(lambda h, _: (f(h), h[h.size - xs.shape[1] :]), start, None, length=steps)[1]


def left_alone(cell: Cell, params: PyTree, xs: jax.Array) -> tuple[Callable[[jax.Array], jax.Array], jax.Array]:
    """Returns a network that reads its own outputs as a map on vectors, to compute exponents, orbits or fixed points.

    Args:
      cell, params, xs: as in `free_run`.

    Returns:
      (f, v): f maps v -> v', where v is the carry followed by the output; v is the value after reading xs.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> f, v = left_alone(rnnjax.pointwise(lambda x: 2 * x), (), jnp.ones((5, 1)))
      >>> print(v, f(v))
      [2.] [4.]
    """
    check_cell("left_alone", cell)
    weights, first = start_of("left_alone", cell, params, first_of("left_alone", xs), None)

    def read(carry: PyTree, x: jax.Array) -> tuple[PyTree, jax.Array]:
        return cell.step(weights, carry, x, None)

    carry, ys = lax.scan(read, first, xs)
    start, unflat = ravel_pytree((carry, ys[-1]))
    return lambda v: ravel_pytree(read(*unflat(v)))[0], start


def valid_time(ys: jax.Array, truth: jax.Array, limit: float = 0.4) -> jax.Array:
    """Returns the number of steps before the error of a forecast first exceeds a limit.

        error_t = ||y_t - x_t||_2 / D^(1/2)

    Args:
      ys, truth: `[T, D]`, in units of the standard deviation of the system.
      limit: the largest error allowed.

    Example:
      >>> import jax.numpy as jnp
      >>> int(valid_time(jnp.array([[0.1], [0.2], [0.9], [0.0]]), jnp.zeros((4, 1))))
      2
    """
    ys, truth = (check_array(f"valid_time: {name}", a) for name, a in (("ys", ys), ("truth", truth)))
    check_number("valid_time: limit", limit, 0)
    if jnp.ndim(ys) != 2 or jnp.shape(ys) != jnp.shape(truth):
        given = f"{list(jnp.shape(ys))} and {list(jnp.shape(truth))}"
        raise ValueError(f"valid_time takes ys and truth [T, D], got {given}")
    errors = jnp.sqrt(((ys - truth) ** 2).mean(1))
    wrong = ~(errors <= jnp.asarray(limit, errors.dtype))  # nan counts as wrong
    return jnp.where(wrong.any(), wrong.argmax(), len(errors))
