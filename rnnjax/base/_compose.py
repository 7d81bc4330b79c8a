"""Composition of cells: one after another, nested under a name, and cells without memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from rnnjax.base._cell import Cell, PyTree, Step, check_cell, factory, out_shape, split, wrapper
from rnnjax.base._checks import check_size
from rnnjax.base._seq import with_marks_of, without_marks, zero_invalid
from rnnjax.base._unroll import unroll


@wrapper
def stack(*cells: Cell, **named: Cell) -> Cell:
    """Runs cells one after another: the output of each is the input of the next.

    The window is computed layer by layer. Params and carries are tuples, or dicts if the parts are named; with names,
    paths do not change when a part is inserted.

    Args:
      *cells: the parts; or
      **named: the parts by name, in order.

    Raises:
      ValueError: there are no parts, or both named and unnamed ones.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = stack(encode=rnnjax.linear(8), core=rnnjax.vanilla_core(8), read=rnnjax.linear(2))
      >>> list(cell.init(jax.random.key(0), jnp.ones(3)))
      ['encode', 'core', 'read']
    """
    if bool(cells) == bool(named):
        raise ValueError("stack takes cells, stack(a, b), or named cells, stack(first=a, second=b)")
    for part in (*cells, *named.values()):
        check_cell("stack", part)
    parts: dict[Any, Cell] = dict(named) or dict(enumerate(cells))
    last, read = list(parts.items())[-1][0], list(parts.values())[-1].output

    def pack(values: list[PyTree]) -> PyTree:
        return dict(zip(named, values)) if named else tuple(values)

    def init(key: jax.Array, x: PyTree) -> PyTree:
        params = []
        for k, cell in zip(split(key, len(parts)), parts.values()):
            params.append(cell.init(k, x))
            x = out_shape(cell, params[-1], x)
        return pack(params)

    def initial_carry(weights: PyTree, x: PyTree) -> PyTree:
        carries: list[PyTree] = []
        for name, cell in parts.items():
            carries.append(cell.initial_carry(weights[name], x))
            if len(carries) < len(parts):
                x = jax.eval_shape(lambda w, h, x, cell=cell: cell.step(w, h, x)[1], weights[name], carries[-1], x)
        return pack(carries)

    def through(steps: list[Step]) -> Step:
        def step(weights: PyTree, carries: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
            out = []
            for name, f, k in zip(parts, steps, split(key, len(parts))):
                h, x = f(weights[name], carries[name], x, k)
                out.append(h)
            return pack(out), x

        return step

    def weights(params: PyTree, key: jax.Array | None = None) -> PyTree:
        return pack([c.weights(params[name], k) for (name, c), k in zip(parts.items(), split(key, len(parts)))])

    return Cell(
        init,
        initial_carry,
        through([c.step for c in parts.values()]),
        weights,
        through([unroll(c).step for c in parts.values()]),
        None if read is None else lambda carries: read(carries[last]),
    )


@wrapper
def under_name(cell: Cell, name: str) -> Cell:
    """Returns the same cell with its params one level down: params[name]; other entries may be added beside it."""

    def at(step: Step) -> Step:
        return lambda w, h, x, key=None: step(w[name], h, x, key)

    return Cell(
        lambda key, x: {name: cell.init(key, x)},
        lambda w, x: cell.initial_carry(w[name], x),
        at(cell.step),
        lambda p, key=None: {**p, name: cell.weights(p[name], key)},
        None if cell.window is None else at(cell.window),
        cell.output,
    )


class _Apply(Protocol):
    """(params, x, key) -> y."""

    def __call__(self, params: PyTree, x: PyTree, key: jax.Array | None = None, /) -> PyTree: ...


@factory
def stateless(init: Callable[[jax.Array, Any], PyTree], apply: _Apply, rank: int | None = None) -> Cell:
    """Returns a cell without a carry, y = apply(params, x, key); its window is a single call for all steps.

    It also accepts whole windows between window cells, as in `stack(bidirectional(...), linear(5))`.

    Args:
      init: (key, x) -> params.
      apply: (params, x, key) -> y, with features last.
      rank: the number of axes of x at one step, 1 for features, 0 for symbols; None: any, and no batch is refused.

    Raises:
      ValueError: x has more axes than a step, or a window, has.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> scale = stateless(lambda key, x: {"s": jnp.ones(())}, lambda p, x, key=None: p["s"] * x)
      >>> print(rnnjax.run(scale, {"s": 3.0}, jnp.arange(3.0))[1])
      [0. 3. 6.]
    """
    if rank is not None:
        check_size("stateless: rank", rank, 0)

    def check(x: PyTree, *ranks: int) -> None:
        if rank is not None and isinstance(without_marks(x), list | tuple | dict):
            raise ValueError(f"x is a {type(without_marks(x)).__name__}, wanted an array")
        if rank is not None and jnp.ndim(without_marks(x)) not in ranks:
            raise ValueError(
                f"x is {list(jnp.shape(without_marks(x)))}, wanted {'one symbol' if rank == 0 else 'the features'} of "
                "one step or a window of them: jax.vmap runs a batch"
            )

    def start(key: jax.Array, x: PyTree) -> PyTree:
        check(x, rank or 0, 1 + (rank or 0))
        return init(key, without_marks(x))

    def step(p: PyTree, carry: tuple[()], x: PyTree, key: jax.Array | None = None) -> tuple[tuple[()], PyTree]:
        check(x, rank or 0, 1 + (rank or 0))
        return carry, with_marks_of(x, apply(p, without_marks(zero_invalid(x)), key))

    def window(p: PyTree, carry: tuple[()], xs: PyTree, keys: jax.Array | None = None) -> tuple[tuple[()], PyTree]:
        check(xs, 1 + (rank or 0))
        return carry, with_marks_of(xs, jax.vmap(apply, (None, 0, 0))(p, without_marks(zero_invalid(xs)), keys))

    return Cell(start, lambda p, x: (), step, window=window)
