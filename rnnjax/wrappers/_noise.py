"""Noise on the carry and on the weights: zoneout and DropConnect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_rate, factory, with_step, wrapper
from rnnjax.base._cell import WEIGHTS_TAG, ZONEOUT_TAG, check_cell, fold, split
from rnnjax.base._numerics import as_dtype, bernoulli
from rnnjax.base._outputs import output_in_carry
from rnnjax.base._paths import RECURRENT
from rnnjax.base._unroll import scan_window
from rnnjax.cells import dropout
from rnnjax.cells._fused_window import Fused


@wrapper
def zoneout(cell: Cell, rate: Any) -> Cell:
    """Keeps the previous state of each unit with probability rate at each step; without a key, the expectation.

        s_t = m s_{t-1} + (1 - m) step(s_{t-1}, x_t),  m ~ Bernoulli(rate);   m = rate without a key

    Acts on every leaf of the carry. The output is then that of s_t: `cell.output(s_t)`, or, for a cell without
    `output`, the arrays of s_t that its step returns unchanged.

    Args:
      cell: the cell to wrap, a core or a layer.
      rate: in [0, 1); it may be a tracer.

    Raises:
      ValueError: at the first step, if the output is not a part of the carry, as after a readout.

    Example: at rate 1 the state never changes.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = zoneout(rnnjax.vanilla_core(2), 1.0)
      >>> h, y = rnnjax.run(cell, {"u": jnp.eye(2)}, jnp.ones(2), jnp.array([3.0, 4.0]), jax.random.key(0))
      >>> print(h, y)
      [3. 4.] [3. 4.]

    Reference: Krueger et al., Zoneout: regularizing RNNs by randomly preserving hidden activations, 2017.
    """
    check_rate("zoneout: rate", rate, certain=True)

    def step(w: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        new, y = cell.step(w, carry, x, key)
        leaves = jax.tree.leaves(new)
        keys = split(fold(key, ZONEOUT_TAG), len(leaves))
        mixed = [_mix_held(rate, k, old, leaf) for k, old, leaf in zip(keys, jax.tree.leaves(carry), leaves)]
        new_carry = jax.tree.unflatten(jax.tree.structure(new), mixed)
        return new_carry, _output_of(cell, w, carry, x, key)(new_carry) if leaves else y

    zoned = with_step(cell, step).replace(output=cell.output)
    slow, fast = scan_window(zoned), cell.window
    if not isinstance(fast, Fused):
        return zoned

    def window(w: PyTree, carry: PyTree, xs: PyTree, keys: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        if keys is None:
            return slow(w, carry, xs)
        leaves, structure = jax.tree.flatten(carry)
        drawn = split(fold(keys, ZONEOUT_TAG), len(leaves))
        hold = [bernoulli(k, as_dtype(rate, leaf), keys.shape + leaf.shape) for k, leaf in zip(drawn, leaves)]
        return fast.run(w, carry, xs, jax.tree.unflatten(structure, hold), None)

    return zoned.replace(window=window)


def _output_of(cell: Cell, *args: Any) -> Callable[[PyTree], PyTree]:
    """Returns carry -> y of a cell: its `output`, or the one detected in its step."""
    read = output_in_carry(cell.step, *args) if cell.output is None else cell.output
    if read is None:
        raise ValueError(
            "zoneout holds units of a carry, and the output of this cell is more than a part of its carry: put zoneout "
            "around the core or layer inside, or give the cell its output, cell.replace(output=carry -> y)"
        )
    return read


def _mix_held(rate: Any, key: jax.Array | None, old: jax.Array, new: jax.Array) -> jax.Array:
    """Returns old with probability rate and new otherwise; without a key, the mean of the two."""
    p = as_dtype(rate, new)
    return new + p * (old - new) if key is None else jnp.where(bernoulli(key, p, new.shape), old, new)


@factory
def dropconnect(core: Cell, rate: Any, *names: str) -> Cell:
    """Zeroes each entry of the named weights with probability rate, once per window; off without a key.

    Args:
      core: a cell whose params are a dict.
      rate: in [0, 1); it may be a tracer.
      *names: the names of the weights; the recurrent ones, "u", if none is given.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from rnnjax import vanilla_core
      >>> print(dropconnect(vanilla_core(2), 0.5).weights({"u": jnp.ones((2, 2))}, jax.random.key(1))["u"])
      [[0. 2.]
       [2. 0.]]

    Reference: Merity, Keskar, Socher, Regularizing and optimizing LSTM language models, 2018.
    """
    check_cell("dropconnect", core, "weights")
    check_rate("dropconnect: rate", rate)
    names = names or (RECURRENT,)

    def weights(params: PyTree, key: jax.Array | None = None) -> PyTree:
        w = core.weights(params, key)
        if key is None:
            return w
        drops = zip(names, split(fold(key, WEIGHTS_TAG), len(names)))
        return {**w, **{n: dropout(rate).step((), (), w[n], k)[1] for n, k in drops}}

    return core.replace(weights=weights)
