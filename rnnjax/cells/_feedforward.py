"""Cells without memory: affine maps, embeddings, functions, normalisation, dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_rate, check_size, factory, stateless
from rnnjax.base._numerics import (
    EPSILON,
    Initializer,
    at_least_int32,
    at_least_single,
    bernoulli,
    draw_initial,
    lecun_normal,
    standardize,
    unit_normal,
    zeros_init,
)


@factory
def linear(width: int, bias: bool = True, w_init: Initializer = lecun_normal, b_init: Initializer = zeros_init) -> Cell:
    """An affine map, computed as one matmul for a whole window.

        y = x w + b

    Args:
      width: the number of features of y.
      bias: whether there is a bias; if not, params are {"w"}.
      w_init, b_init: the initialisers of w `[features of x, width]` and b `[width]`.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = linear(4).init(jax.random.key(0), jnp.ones(3))
      >>> {name: p.shape for name, p in params.items()}
      {'w': (3, 4), 'b': (4,)}
    """
    check_size("linear: width", width)

    def init(key: jax.Array, x: Any) -> PyTree:
        kw, kb = jax.random.split(key)
        params = {"w": draw_initial(w_init, kw, (x.shape[-1], width), x.dtype)}
        return params | ({"b": draw_initial(b_init, kb, (width,), x.dtype)} if bias else {})

    def apply(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        y = x @ p["w"]
        return y + jnp.broadcast_to(p["b"], y.shape) if bias else y

    return stateless(init, apply, rank=1)


@factory
def embed(vocabulary: int, width: int, w_init: Initializer = unit_normal, dtype: Any = jnp.float32) -> Cell:
    """Looks up a row of a table for each symbol.

        y = w[x]

    An index outside the vocabulary returns nan instead of the row of another symbol.

    Args:
      vocabulary: the number of rows; x is an integer `[]` below it.
      width: the number of features of y.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = embed(10, 4)
      >>> rnnjax.run(cell, cell.init(jax.random.key(0), 7), jnp.int32(7))[1].shape
      (4,)
    """
    check_size("embed: vocabulary", vocabulary)
    check_size("embed: width", width)

    def init(key: jax.Array, x: Any) -> PyTree:
        return {"w": draw_initial(w_init, key, (vocabulary, width), dtype)}

    def apply(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        _check_symbols(f"embed({vocabulary}, {width})", x)
        return p["w"].at[x].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)

    return stateless(init, apply, rank=0)


@factory
def one_hot(classes: int, dtype: Any = jnp.float32) -> Cell:
    """Encodes a symbol as a unit vector, `[]` -> `[classes]`; zero for an index outside the range.

    Raises:
      TypeError: the symbols are no integers.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> print(rnnjax.run(one_hot(3), (), jnp.int32(1))[1])
      [0. 1. 0.]
    """
    check_size("one_hot: classes", classes)

    def apply(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        x = jnp.asarray(x)
        _check_symbols(f"one_hot({classes})", x)
        return jax.nn.one_hot(at_least_int32(x), classes, dtype=dtype)

    return stateless(lambda key, x: (), apply, rank=0)


def _check_symbols(cell: str, x: jax.Array) -> None:
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"{cell} takes integers, got {x.dtype}")


@factory
def pointwise(f: Callable[[PyTree], PyTree]) -> Cell:
    """Applies a function to each step, as a cell without params: y = f(x).

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> print(rnnjax.run(pointwise(jnp.tanh), (), jnp.zeros(2))[1])
      [0. 0.]
    """
    return stateless(lambda key, x: (), lambda p, x, key=None: f(x))


@factory
def layer_norm(epsilon: float = EPSILON) -> Cell:
    """Layer normalisation with a gain and a bias.

        y = gain * (x - mean x) / sqrt(var x + epsilon) + bias

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell, x = layer_norm(), jnp.array([1.0, 3.0])
      >>> print(rnnjax.run(cell, cell.init(jax.random.key(0), x), x)[1].round(3))
      [-1.  1.]

    Reference: Ba, Kiros, Hinton, Layer normalization, 2016.
    """
    check_number("layer_norm: epsilon", epsilon, 0)

    def init(key: jax.Array, x: Any) -> PyTree:
        return {"gain": jnp.ones(x.shape[-1:], x.dtype), "bias": jnp.zeros(x.shape[-1:], x.dtype)}

    def apply(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        gain, bias = (jnp.broadcast_to(p[name], x.shape) for name in ("gain", "bias"))
        return standardize(x, epsilon) * gain + bias

    return stateless(init, apply, rank=1)


@factory
def dropout(rate: Any) -> Cell:
    """Zeroes each feature with probability rate and rescales the others; off without a key.

        y = m x / (1 - rate),  m ~ Bernoulli(1 - rate), drawn anew at each step

    Args:
      rate: in [0, 1); it may be a tracer.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> print(rnnjax.run(dropout(0.5), (), jnp.ones(4), key=jax.random.key(1))[1])
      [2. 0. 2. 2.]

    Reference: Srivastava et al., Dropout, 2014; Zaremba, Sutskever, Vinyals, Recurrent neural network
    regularization, 2014 (between layers, not in time).
    """
    check_rate("dropout: rate", rate)

    def apply(p: PyTree, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        if key is None:
            return x
        keep = 1 - jnp.asarray(rate, at_least_single(x).dtype)  # 1 - 1e-3 is 1 in bfloat16
        return jnp.where(bernoulli(key, keep, x.shape), x / keep.astype(x.dtype), 0 * x)  # nan stays nan

    return stateless(lambda key, x: (), apply)
