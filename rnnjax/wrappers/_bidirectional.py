"""Bidirectional cells, and the last output of a window."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, Seq, unroll, with_step, without_marks, wrapper
from rnnjax.base._cell import split
from rnnjax.base._pytrees import concatenate
from rnnjax.base._seq import keys_along_time, num_steps, with_marks_of


class Directions(NamedTuple):
    """The params, weights or carries of the two directions of a bidirectional cell.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = bidirectional(rnnjax.linear(4)).init(jax.random.key(0), jnp.ones((12, 3)))
      >>> params.forward["w"].shape, params.backward["w"].shape
      ((3, 4), (3, 4))
    """

    forward: Any
    backward: Any


@wrapper
def bidirectional(forward: Cell, backward: Cell | None = None, last: bool = False) -> Cell:
    """Two cells that read a window from its two ends; the input is a window `[T, ...]`, plain or a `Seq`.

        y_t = [h_t, g_t]            h has read x_1 .. x_t, g has read x_T .. x_t
        y = [h_T, g_1]              last=True: the final state of each direction, both having read everything

    For many-to-one tasks use `last=True`: in [h_T, g_T] the backward half has read x_T only. A bidirectional cell
    cannot run online. In a Seq, a document begins at its last step for the backward cell; invalid steps are skipped.

    Args:
      forward, backward: single-step cells; backward None: a second one like the first. Each has its own params.
      last: return one output for the window instead of one per step; zero if no step is valid.

    Example:
      >>> import jax, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> cell = bidirectional(rnnjax.lstm(4))
      >>> rnnjax.run(cell, cell.init(jax.random.key(1), xs), xs)[1].shape
      (12, 8)

    Reference: Schuster, Paliwal, Bidirectional recurrent neural networks, 1997.
    """
    pair = Directions(unroll(forward), unroll(backward or forward, reverse=True))

    def step(ws: Directions, carry: Directions, xs: PyTree, key: jax.Array | None = None) -> tuple[Directions, PyTree]:
        keys = Directions(*split(keys_along_time(key, xs), 2))
        halves = [cell.step(w, h, xs, k) for cell, w, h, k in zip(pair, ws, carry, keys)]
        hs, (f, b) = Directions(*(h for h, _ in halves)), (y for _, y in halves)
        if last:
            return hs, concatenate(_end_output(f), _end_output(b, first=True))
        return hs, with_marks_of(xs, concatenate(without_marks(f), without_marks(b)))

    def init(key: jax.Array, xs: PyTree) -> Directions:
        return Directions(*(cell.init(k, xs) for cell, k in zip(pair, split(key, 2))))

    return Cell(
        init,
        lambda ws, xs: Directions(*(cell.initial_carry(w, xs) for cell, w in zip(pair, ws))),
        step,
        lambda ps, key=None: Directions(*(cell.weights(p, k) for cell, p, k in zip(pair, ps, split(key, 2)))),
    )


def _end_output(ys: PyTree, first: bool = False) -> PyTree:
    """Returns the output at the last (or first) valid step of a window; zero if there is none."""
    if not isinstance(ys, Seq) or ys.valid is None:
        return jax.tree.map(lambda y: y[0 if first else -1], without_marks(ys))
    valid = ys.valid.astype(bool)
    at = jnp.argmax(valid) if first else valid.size - 1 - jnp.argmax(valid[::-1])
    return jax.tree.map(lambda y: y[at], ys.x)  # if no step is valid, every output is zero


@wrapper
def last(cell: Cell) -> Cell:
    """Returns the window cell that outputs only the last valid step: many to one.

    For both directions use `bidirectional(..., last=True)`.

    Raises:
      ValueError: the cell has a single output for a window, as one has that is wrapped already.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> xs = rnnjax.Seq(jnp.ones((12, 3)), valid=jnp.arange(12) < 5)
      >>> cell = last(rnnjax.unroll(rnnjax.lstm(4)))
      >>> rnnjax.run(cell, cell.init(jax.random.key(1), xs), xs)[1].shape
      (4,)
    """

    def step(w: PyTree, carry: PyTree, xs: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        carry, ys = cell.step(w, carry, xs, key)
        _check_is_window(ys, num_steps(xs))
        return carry, _end_output(ys)

    return with_step(cell, step)


def _check_is_window(ys: PyTree, steps: int) -> None:
    """Refuses the output of a single step, whose features would be taken for time."""
    for y in jax.tree.leaves(without_marks(ys)):
        if y.ndim < 2 and y.shape != (steps,):
            found = f"{list(y.shape)} for a window of {steps} steps"
            raise ValueError(f"last: the cell's output is {found}, one step already: leave this last out")
