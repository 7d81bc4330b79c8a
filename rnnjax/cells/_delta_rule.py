"""Matrix memories with the delta rule, which writes the difference to the stored value, with and without gates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_size, factory, stack
from rnnjax.base._numerics import as_dtype
from rnnjax.cells._feedforward import linear
from rnnjax.cells._matrix_memory import Write, head_size, matrix_recurrent


def _normalized(a: jax.Array) -> jax.Array:
    """Scales a to length 1 along its last axis; zero stays zero, with a finite gradient."""
    return a * jax.lax.rsqrt((a * a).sum(-1, keepdims=True) + jnp.asarray(1e-6, a.dtype))


def _key(a: jax.Array) -> jax.Array:
    """Applies SiLU and scales to length 1, as for queries and keys of the delta family."""
    return _normalized(jax.nn.silu(a))


@factory
def delta_product(hidden: int, heads: int = 1, writes: int = 2, strength: Any = 2.0, bias: bool = True) -> Cell:
    """DeltaProduct: several delta rule writes per step, so each step applies a product of reflections.

        q = unit(silu(x_t w_q));  for j = 1 .. writes:
        k, v = unit(silu(x_t w_kj)), x_t w_vj;  beta = strength sigmoid(x_t w_bj)
        M = M + beta k (v - k . M)
        y_t = q . M_t

    Params: w `[features, hidden + writes (2 hidden + heads)]`, in the order q, then for each write k, v, beta; b. With
    strength 2 a write can be a reflection: parity requires one write, and permutations that swap several items require
    one write per swap.

    Args:
      hidden: the total number of units of all heads, of keys and of values, and the number of outputs.
      heads: the number of memories, each with hidden / heads keys and as many values.
      writes: the number of Householder factors per step.
      strength: the largest beta: at 1 a write can erase, at 2 it can reflect.
      bias: whether the input's linear map has a bias.

    Raises:
      ValueError: the heads do not divide the units.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = delta_product(4, heads=2, writes=3)
      >>> params = cell.init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # (3 + 1) (4 + 3 (2 * 4 + 2))
      136

    Reference: Siems et al., DeltaProduct: improving state-tracking in linear RNNs via Householder products, 2025.
    """
    size = head_size("delta_product", hidden, heads)
    check_size("delta_product: writes", writes)
    check_number("delta_product: strength", strength, 0, 2)

    def drive(p: PyTree, z: jax.Array) -> Write:
        q = jnp.broadcast_to(_key(z[:hidden].reshape(heads, size)), (writes, heads, size))
        rest = z[hidden:].reshape(writes, -1)
        k, v = (rest[:, i * hidden : (i + 1) * hidden].reshape(writes, heads, size) for i in range(2))
        beta = as_dtype(strength, z) * jax.nn.sigmoid(rest[:, 2 * hidden :])
        w = Write(q, _key(k), v, jnp.zeros_like(beta)[..., None], beta)
        return w if writes > 1 else jax.tree.map(lambda a: a[0], w)

    core = matrix_recurrent((heads, size, size), drive, delta=True, writes=writes)
    return stack(linear(hidden + writes * (2 * hidden + heads), bias), core)


@factory
def deltanet(hidden: int, heads: int = 1, strength: Any = 1.0, bias: bool = True) -> Cell:
    """DeltaNet: a matrix memory that removes the value stored at the key before it writes a new one.

        q, k = unit(silu(x_t w_q)), unit(silu(x_t w_k));  v = x_t w_v;  beta = strength sigmoid(x_t w_b)
        M_t = M_{t-1} + beta k (v - k . M_{t-1});  y_t = q . M_t

    The layer's short convolution, norm and output matrix are separate cells.

    Args:
      hidden: the total number of units of all heads, of keys and of values, and the number of outputs.
      heads: the number of memories, each with hidden / heads keys and as many values.
      strength: the largest beta; at 2 the memory may change sign, which parity requires (Grazzi 2024).
      bias: whether the input's linear map has a bias.

    Raises:
      ValueError: the heads do not divide the units.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = deltanet(4, heads=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # (3 + 1) (3 * 4 + 2)
      56

    Reference: Schlag, Irie, Schmidhuber, Linear transformers are secretly fast weight programmers, 2021; Yang, Wang,
    Zhang, Shen, Kim, Parallelizing linear transformers with the delta rule over sequence length, 2024 (unit keys);
    Grazzi et al., Unlocking state-tracking in linear RNNs through negative eigenvalues, 2024 (strength 2).
    """
    check_size("deltanet: hidden", hidden)
    check_size("deltanet: heads", heads)
    check_number("deltanet: strength", strength, 0, 2)
    return delta_product(hidden, heads, 1, strength, bias)


@factory
def gated_deltanet(hidden: int, heads: int = 1, strength: Any = 1.0, bias: bool = True) -> Cell:
    """Gated DeltaNet: the delta rule in a memory with an input-dependent decay.

        q, k, v, beta as in `deltanet`;  alpha = exp(-exp(rate) softplus(x_t w_a + b_a))
        M = alpha M_{t-1};  M_t = M + beta k (v - k . M);  y_t = q . M_t

    Params: ({w, b}, {rate `[heads]`}); w in the order q, k, v, beta, a. The rates are initialised from ln 1 to ln 16,
    evenly spaced.

    Args:
      hidden: the total number of units of all heads, of keys and of values, and the number of outputs.
      heads: the number of memories, each with hidden / heads keys and as many values.
      strength: the largest beta.
      bias: whether the input's linear map has a bias.

    Raises:
      ValueError: the heads do not divide the units.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = gated_deltanet(4, heads=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # (3 + 1) (3 * 4 + 2 * 2) + 2
      66

    Reference: Yang, Kautz, Hatamizadeh, Gated delta networks: improving Mamba2 with delta rule, 2024.
    """
    size = head_size("gated_deltanet", hidden, heads)
    check_number("gated_deltanet: strength", strength, 0, 2)

    def drive(p: PyTree, z: jax.Array) -> Write:
        q, k, v = (z[i * hidden : (i + 1) * hidden].reshape(heads, size) for i in range(3))
        beta, a = jnp.split(z[3 * hidden :], 2)
        fade = -jnp.exp(p["rate"]) * jax.nn.softplus(a)
        return Write(_key(q), _key(k), v, fade[:, None], as_dtype(strength, z) * jax.nn.sigmoid(beta))

    core = matrix_recurrent((heads, size, size), drive, fading_rates(heads), delta=True)
    return stack(linear(3 * hidden + 2 * heads, bias), core)


def fading_rates(heads: int) -> Any:
    """Returns an initialiser of rates, evenly spaced from ln 1 to ln 16."""
    return lambda key, z: {"rate": jnp.log(jnp.linspace(1.0, 16.0, heads)).astype(z.dtype)}
