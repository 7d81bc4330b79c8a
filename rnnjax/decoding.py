"""Writing with a network: the same step that was trained, fed its own output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree

Pick = Callable[[jax.Array, jax.Array], jax.Array]


def temperature(t: Any) -> Pick:
    """Draws a symbol with probability softmax(logits / t); below 1 the likely ones are favoured.

    Args:
      t: above 0, perhaps a tracer.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> int(temperature(0.01)(jax.random.key(0), jnp.array([0.0, 3.0, 1.0])))
      1
    """
    return lambda key, logits: jax.random.categorical(key, logits / jnp.asarray(t, logits.dtype))


def greedy(key: jax.Array, logits: jax.Array) -> jax.Array:
    """The likeliest symbol; the key is not read.

    Example:
      >>> import jax.numpy as jnp
      >>> int(greedy(None, jnp.array([0.0, 3.0, 1.0])))
      1
    """
    return logits.argmax(-1)


def generate(
    cell: Cell, params: PyTree, carry: PyTree, logits: jax.Array, n: int, pick: Pick, key: jax.Array
) -> jax.Array:
    """Writes n symbols, each read back as the next input.

        s_t = pick(logits_{t-1});  (h_t, logits_t) = step(h_{t-1}, s_t)

    Args:
      cell: a cell of one step, from a symbol (an integer `[]`) to logits `[symbols]`.
      params: of the cell.
      carry: the state after what has been read.
      logits: the output at the last symbol read.
      n: how many to write.
      pick: (key, logits) -> symbol: `temperature(t)` or `greedy`.
      key: of the draws.

    Returns:
      integers `[n]`

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.stack(rnnjax.one_hot(5), rnnjax.gru(4), rnnjax.linear(5))
      >>> params = cell.init(jax.random.key(0), jnp.int32(0))
      >>> carry, logits = rnnjax.run(cell, params, jnp.int32(3))
      >>> generate(cell, params, carry, logits, 7, temperature(1.0), jax.random.key(1)).shape
      (7,)
    """
    weights = cell.weights(params)

    def body(at: tuple[PyTree, jax.Array], key: jax.Array) -> tuple[tuple[PyTree, jax.Array], jax.Array]:
        carry, logits = at
        symbol = pick(key, logits)
        return cell.step(weights, carry, symbol), symbol

    return lax.scan(body, (carry, logits), jax.random.split(key, n))[1]
