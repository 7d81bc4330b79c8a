"""Linear attention and related cells: matrix memories that differ in how they decay."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Cell, PyTree, check_positive, check_size, stack
from rnnjax.base._numerics import as_dtype
from rnnjax.cells._delta_rule import fading_rates
from rnnjax.cells._feedforward import linear
from rnnjax.cells._matrix_memory import Write, head_size, matrix_recurrent


def split_heads(z: jax.Array, n: int, heads: int, size: int) -> list[jax.Array]:
    """Returns the first n slices of heads * size numbers, each as `[heads, size]`."""
    return list(z[: n * heads * size].reshape(n, heads, size))


def linear_attention(hidden: int, heads: int = 1, bias: bool = True) -> Cell:
    """Linear attention: the sum of all key-value products so far in a matrix, read by queries.

        q, k = phi(x_t w_q), phi(x_t w_k);  v = x_t w_v;  phi(a) = elu(a) + 1
        M_t = M_{t-1} + k v;  n_t = n_{t-1} + k;  y_t = q . M_t / q . n_t

    n is stored as one more column of the carry `[heads, keys, values + 1]`. Params: w `[features, 3 hidden]`, order q,
    k, v; b.

    Args:
      hidden: the total number of units of all heads, and the number of outputs.
      heads: the number of memories, each with hidden / heads keys and as many values.
      bias: whether the input's linear map has a bias.

    Raises:
      ValueError: the heads do not divide the units.

    Example: the first output is the first value.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> params = linear_attention(4, heads=2).init(jax.random.key(0), jnp.ones(3))
      >>> carry, y = rnnjax.run(linear_attention(4, heads=2), params, jnp.ones(3))
      >>> np.testing.assert_allclose(y, jnp.ones(3) @ params[0]["w"][:, 8:], rtol=1e-5)

    Reference: Katharopoulos, Vyas, Pappas, Fleuret, Transformers are RNNs, 2020.
    """
    check_size("linear_attention: hidden", hidden)
    check_size("linear_attention: heads", heads)
    size = head_size("linear_attention", hidden, heads)

    def drive(p: PyTree, z: jax.Array) -> Write:
        q, k, v = split_heads(z, 3, heads, size)
        one = jnp.ones((heads, 1), z.dtype)
        return Write(jax.nn.elu(q) + 1, jax.nn.elu(k) + 1, jnp.concatenate([v, one], 1), 0 * one, one[:, 0])

    def read(p: PyTree, y: jax.Array, z: jax.Array) -> jax.Array:
        n = jnp.where(y[:, -1:] == 0, jnp.ones_like(y[:, -1:]), y[:, -1:])  # 0 before the first write of a Seq
        return (y[:, :-1] / n).reshape(-1)

    return stack(linear(3 * hidden, bias), matrix_recurrent((heads, size, size + 1), drive, read=read))


def retnet(hidden: int, heads: int = 1, bias: bool = True) -> Cell:
    """Retention: a matrix memory with a fixed decay rate per head.

        q, k, v = x_t w_q, x_t w_k / sqrt(keys), x_t w_v
        M_t = gamma M_{t-1} + k v;  gamma = 1 - 2^(-5 - head), head = 0 .. heads - 1;  y_t = q . M_t

    The rotation of queries and keys by position and the layer's norm and gate are omitted. Params: w `[features, 3
    hidden]`, order q, k, v; b.

    Args:
      hidden: the total number of units of all heads, and the number of outputs.
      heads: the number of memories, each with hidden / heads keys and as many values.
      bias: whether the input's linear map has a bias.

    Raises:
      ValueError: the heads do not divide the units.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = retnet(4, heads=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # (3 + 1) 3 * 4
      48

    Reference: Sun et al., Retentive network: a successor to transformer for large language models, 2023.
    """
    check_size("retnet: hidden", hidden)
    check_size("retnet: heads", heads)
    size = head_size("retnet", hidden, heads)

    def drive(p: PyTree, z: jax.Array) -> Write:
        q, k, v = split_heads(z, 3, heads, size)
        fade = jnp.asarray(np.log1p(-(2.0 ** (-5.0 - np.arange(heads)))), z.dtype)
        return Write(q, k * as_dtype(size**-0.5, z), v, fade[:, None], jnp.ones(heads, z.dtype))

    return stack(linear(3 * hidden, bias), matrix_recurrent((heads, size, size), drive))


def gla(hidden: int, heads: int = 1, slowness: Any = 16.0, bias: bool = True) -> Cell:
    """Gated linear attention: each key of a matrix memory has an input-dependent decay.

        q, k, v = x_t w_q / sqrt(keys), x_t w_k, x_t w_v;  alpha = sigmoid(x_t w_a + b_a) ^ (1 / slowness)
        M_t = alpha M_{t-1} + k v, a factor for each key;  y_t = q . M_t

    w_a has full rank, whereas the paper's has rank 16; the layer's norm and output gate are separate cells. Params: w
    `[features, 4 hidden]`, order q, k, v, a; b.

    Args:
      hidden: the total number of units of all heads, and the number of outputs.
      heads: the number of memories, each with hidden / heads keys and as many values.
      slowness: tau of the paper; above 1 the initial gates are close to 1.
      bias: whether the input's linear map has a bias.

    Raises:
      ValueError: the heads do not divide the units.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = gla(4, heads=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # (3 + 1) 4 * 4
      64

    Reference: Yang, Wang, Shen, Panda, Kim, Gated linear attention transformers with hardware-efficient training,
    2023.
    """
    check_size("gla: hidden", hidden)
    check_size("gla: heads", heads)
    check_positive("gla: slowness", slowness)
    size = head_size("gla", hidden, heads)

    def drive(p: PyTree, z: jax.Array) -> Write:
        q, k, v, a = split_heads(z, 4, heads, size)
        fade = jax.nn.log_sigmoid(a) / as_dtype(slowness, z)
        return Write(q * as_dtype(size**-0.5, z), k, v, fade, jnp.ones(heads, z.dtype))

    return stack(linear(4 * hidden, bias), matrix_recurrent((heads, size, size), drive))


def mamba2(hidden: int, states: int = 16, heads: int = 1, bias: bool = True) -> Cell:
    """State space duality, the recurrence of Mamba-2: one decay per head, with input-dependent B and C.

        v, B, C = x_t w_v `[hidden]`, x_t w_B `[states]`, x_t w_C `[states]`;  dt = softplus(x_t w_dt + b_dt) `[heads]`
        M_t = exp(-exp(rate) dt) M_{t-1} + dt B v;  y_t = C . M_t + d v

    B and C are shared by all heads. The block's convolution, gate and norm are separate cells. Params: ({w, b}, {rate,
    d `[heads]`}); w in the order v, B, C, dt. The initial rates are evenly spaced from ln 1 to ln 16, the initial d is
    1.

    Args:
      hidden: the total number of units of all heads, and the number of outputs.
      states: the number of rows of each head's state.
      heads: the number of heads, each with hidden / heads units.
      bias: whether the input's linear map has a bias.

    Raises:
      ValueError: the heads do not divide the units.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = mamba2(4, states=3, heads=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # (3 + 1) (4 + 2 * 3 + 2) + 2 * 2
      52

    Reference: Dao, Gu, Transformers are SSMs: generalized models and efficient algorithms through structured state
    space duality, 2024.
    """
    check_size("mamba2: hidden", hidden)
    check_size("mamba2: states", states)
    check_size("mamba2: heads", heads)
    size = head_size("mamba2", hidden, heads)

    def init(key: jax.Array, z: Any) -> PyTree:
        return fading_rates(heads)(key, z) | {"d": jnp.ones(heads, z.dtype)}

    def drive(p: PyTree, z: jax.Array) -> Write:
        v, rest = z[:hidden].reshape(heads, size), z[hidden:]
        b, c = (jnp.broadcast_to(rest[i * states : (i + 1) * states], (heads, states)) for i in range(2))
        dt = jax.nn.softplus(rest[2 * states :])
        return Write(c, b, v, -(jnp.exp(p["rate"]) * dt)[:, None], dt)

    def read(p: PyTree, y: jax.Array, z: jax.Array) -> jax.Array:
        return (y + p["d"][:, None] * z[:hidden].reshape(heads, size)).reshape(-1)

    core = matrix_recurrent((heads, states, size), drive, init, read)
    return stack(linear(hidden + 2 * states + heads, bias), core)
