"""How a core is made from its update: the recurrent weights, their checks and the fast window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_size, factory
from rnnjax.base._checks import check_preactivations
from rnnjax.base._numerics import Initializer, draw_initial, ones, orthogonal, standardize
from rnnjax.base._outputs import output_in_carry

Activation = Callable[[jax.Array], jax.Array]


_Update = Callable[[PyTree, Any, jax.Array], tuple[PyTree, PyTree]]


@factory
def recurrent(
    hidden: int,
    update: _Update,
    gates: int = 1,
    start: Callable[[jax.Array], PyTree] = lambda h: h,
    u_init: Initializer = orthogonal,
    extra: Mapping[str, tuple[Initializer, tuple[int, ...]]] | None = None,
    output: Callable[[Any], PyTree] | None = None,
) -> Cell:
    """Builds a core from a recurrent matrix u `[hidden, gates * hidden]` and its update; the basis of most new cells.

    Args:
      hidden: the number of units.
      update: (weights, carry, z) -> (carry, y), with z `[gates * hidden]`.
      gates: the number of slices of width `hidden` in z and u; u is initialised gate by gate.
      start: from zeros `[hidden]` to the initial carry, e.g. `lambda h: LSTMCarry(h, h)`.
      u_init: the initialiser of one gate's `[hidden, hidden]`.
      extra: further params by name: (initialiser, shape).
      output: carry -> y, as `Cell.output`; None: detected by tracing the update, if y consists of arrays of the carry.

    Raises:
      ValueError: at the first step, if z is not `[gates * hidden]` (a window without `unroll`, or too narrow a linear).

    Example: a leaky integrator.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> def leaky(hidden, rate=0.1):
      ...     def update(p, h, z):
      ...         h = (1 - rate) * h + rate * jnp.tanh(z + h @ p["u"])
      ...         return h, h
      ...     return rnnjax.stack(rnnjax.linear(hidden), recurrent(hidden, update))
      >>> xs = jnp.ones((12, 3))
      >>> cell = rnnjax.unroll(leaky(4))
      >>> rnnjax.run(cell, cell.init(jax.random.key(0), xs), xs)[1].shape
      (12, 4)
    """
    name = getattr(update, "__qualname__", "update").split(".")[0]
    check_size(f"{name}: hidden", hidden)
    check_size(f"{name}: gates", gates)

    def gate_by_gate(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.concatenate([u_init(k, (hidden, hidden), dtype) for k in jax.random.split(key, gates)], axis=1)

    width = gates * hidden
    params = {"u": (gate_by_gate, (hidden, width)), **(extra or {})}
    return driven(name, hidden, width, update, params, start, output)


def _traced_output(update: _Update, shapes: Callable[[], tuple[Any, ...]]) -> Callable[[PyTree], PyTree] | None:
    """Returns the output of an update if it is a function of the carry; None if not, or if tracing in float32 fails."""
    try:
        return output_in_carry(update, *shapes())
    except Exception:  # an update whose core is wrapped may need other weights
        return None


def driven(
    name: str,
    hidden: int,
    width: int,
    update: _Update,
    params: Mapping[str, tuple[Initializer, tuple[int, ...]]],
    start: Callable[[jax.Array], PyTree] = lambda h: h,
    output: Callable[[Any], PyTree] | None = None,
) -> Cell:
    """A core of any params, (name: (initialiser, shape)), on pre-activations `[width]`; else as `recurrent`."""
    check_size(f"{name}: hidden", hidden)

    what = f"{name} with {hidden} units"

    def init(key: jax.Array, z: Any) -> PyTree:
        check_preactivations(what, width, z)
        keys = jax.random.split(key, len(params))
        return {n: draw_initial(f, k, shape, z.dtype) for k, (n, (f, shape)) in zip(keys, params.items())}

    def step(p: PyTree, carry: PyTree, z: jax.Array, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        check_preactivations(what, width, z)
        return update(p, carry, z)

    def shapes() -> tuple[PyTree, PyTree, Any]:
        p = {n: jax.ShapeDtypeStruct(shape, jnp.float32) for n, (_, shape) in params.items()}
        h = jax.eval_shape(start, jax.ShapeDtypeStruct((hidden,), jnp.float32))
        return p, h, jax.ShapeDtypeStruct((width,), jnp.float32)

    read = _traced_output(update, shapes) if output is None else output
    return Cell(init, lambda p, z: start(jnp.zeros(hidden, z.dtype)), step, output=read)


def recurrent_drive(p: PyTree, h: jax.Array) -> jax.Array:
    """Returns the recurrent part of all gates, h u, normalised if the core has layer norm."""
    v = h @ p["u"]
    return standardize(v) * p["gain"] if "gain" in p else v


def norm_params(flag: bool, width: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
    """Returns the extra params of a core with layer norm: the gain of its recurrent part."""
    return {"gain": (ones, (width,))} if flag else {}
