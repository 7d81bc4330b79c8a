"""Running a cell in another floating-point type."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, wrapper
from rnnjax.base._cell import Step


@wrapper
def cast(cell: Cell, dtype: Any) -> Cell:
    """Computes in another dtype; params are stored in at least float32, inputs and outputs are converted.

    `cell.weights` runs in the precision of the params; its result is converted once per window.

    Args:
      cell: the cell to wrap, usually a whole network on windows.
      dtype: a floating dtype; bfloat16 is mixed precision.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> xs = jnp.ones((12, 3))
      >>> cell = cast(rnnjax.unroll(rnnjax.lstm(4)), jnp.bfloat16)
      >>> params = cell.init(jax.random.key(0), xs)
      >>> carry, ys = rnnjax.run(cell, params, xs)
      >>> params[1]["u"].dtype.name, carry[1].h.dtype.name, ys.dtype.name
      ('float32', 'bfloat16', 'float32')
    """
    kept = dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32

    def around(step: Step) -> Step:
        def converted(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
            carry, y = step(w, carry, _cast_floats(x, dtype), key)
            return carry, _cast_floats(y, kept)

        return converted

    read = cell.output
    return Cell(
        lambda key, x: _cast_floats(cell.init(key, _cast_floats(x, dtype)), kept),
        lambda w, x: cell.initial_carry(w, _cast_floats(x, dtype)),
        around(cell.step),
        lambda params, key=None: _cast_floats(cell.weights(params, key), dtype),
        None if cell.window is None else around(cell.window),
        None if read is None else lambda carry: _cast_floats(read(carry), kept),
    )


def _cast_floats(tree: PyTree, dtype: Any) -> PyTree:
    """Returns a tree with its floating leaves, or their shapes, in another dtype."""

    def convert(a: Any) -> Any:
        if not jnp.issubdtype(a.dtype, jnp.floating):
            return a
        return jax.ShapeDtypeStruct(a.shape, dtype) if isinstance(a, jax.ShapeDtypeStruct) else a.astype(dtype)

    return jax.tree.map(convert, tree)
