"""Cells with fixed weights: a reservoir with its readout, and the Legendre memory."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Cell, PyTree, check_number, check_size, factory, stack
from rnnjax.base._checks import check_features
from rnnjax.base._numerics import Initializer, as_dtype, lecun_normal, nothing, orthogonal
from rnnjax.base._outputs import carry_itself
from rnnjax.cells._feedforward import linear
from rnnjax.cells._recurrent import driven


@functools.cache
def _reservoir(hidden: int, degree: int, seed: int) -> np.ndarray:
    """Returns a random matrix with `degree` entries per column, scaled to a spectral radius of 1."""
    random = np.random.default_rng([seed, hidden, degree])
    u = np.zeros((hidden, hidden))
    for column in range(hidden):
        u[random.permutation(hidden)[:degree], column] = random.uniform(-1, 1, min(degree, hidden))
    return u / (np.abs(np.linalg.eigvals(u)).max() or 1.0)


@functools.cache
def _reservoir_input(features: int, hidden: int, seed: int) -> np.ndarray:
    """Returns input weights and, in the last row, biases, uniform from -1 to 1."""
    return np.random.default_rng([seed, features, hidden, 1]).uniform(-1, 1, (features + 1, hidden))


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Drawn:
    """Params without numbers: how many features the input weights were drawn for."""

    features: int


@factory
def esn(
    hidden: int, radius: Any = 0.9, leak: Any = 1.0, input_scale: Any = 1.0, degree: int = 10, seed: int = 0
) -> Cell:
    """An echo state network: a leaky reservoir with fixed random weights.

        h_t = (1 - leak) h_{t-1} + leak tanh(input_scale (x_t w + b) + radius h_{t-1} u)

    w and b are uniform from -1 to 1; u is sparse, with a spectral radius of 1. They are constants, not params. Train a
    readout of the state, by gradient descent or in closed form with `ridge`.

    Args:
      hidden: the number of units.
      radius: the spectral radius of the recurrent weights.
      leak: the fraction of the state that is replaced at each step.
      input_scale: the scale of the input's weights.
      degree: the number of recurrent connections into each unit.
      seed: the seed of the reservoir.

    Raises:
      ValueError: degree is below 1; or an input has other features than `init` has seen.

    Example: there is nothing to train.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = rnnjax.unroll(esn(50))
      >>> params = cell.init(jax.random.key(0), jnp.ones((12, 3)))
      >>> params, rnnjax.run(cell, params, jnp.ones((12, 3)))[1].shape
      (_Drawn(features=3), (12, 50))

    Reference: Jaeger, The "echo state" approach to analysing and training recurrent neural networks, 2001.
    """
    check_size("esn: hidden", hidden)
    check_number("esn: radius", radius, 0)
    check_number("esn: leak", leak, 0, 1)
    check_number("esn: input_scale", input_scale, 0)
    check_size("esn: degree", degree)
    u = _reservoir(hidden, degree, seed)

    def init(key: Any, x: Any) -> _Drawn:
        check_features("esn", x)
        return _Drawn(x.shape[-1])

    def step(p: PyTree, h: jax.Array, x: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        check_features("esn", x)
        if isinstance(p, _Drawn) and p.features != x.shape[-1]:
            raise ValueError(f"params are for {p.features} features, x {list(x.shape)} has {x.shape[-1]}")
        w = jnp.asarray(_reservoir_input(x.shape[-1], hidden, seed), x.dtype)
        drive = as_dtype(input_scale, x) * (x @ w[:-1] + w[-1])
        new = jnp.tanh(drive + as_dtype(radius, x) * (h @ jnp.asarray(u, x.dtype)))
        h = h + as_dtype(leak, x) * (new - h)
        return h, h

    return Cell(
        init,
        lambda p, x: jnp.zeros(hidden, x.dtype),
        step,
        output=carry_itself,
    )


def ridge(states: jax.Array, targets: jax.Array, penalty: Any = 1e-6) -> dict[str, jax.Array]:
    """Returns the params of a `linear` readout from states to targets with least squared error, in closed form.

        minimise sum |states w + b - targets|^2 + penalty |w|^2

    Args:
      states: `[..., features]`, of a reservoir or any other network.
      targets: `[..., outputs]`.
      penalty: the ridge penalty; at 0 the result is not finite if the states are linearly dependent.

    Returns:
      {"w": `[features, outputs]`, "b": `[outputs]`}

    Example:
      >>> import jax.numpy as jnp
      >>> params = ridge(jnp.array([[0.0], [1.0], [2.0]]), jnp.array([[1.0], [3.0], [5.0]]), 0.0)
      >>> print(params["w"].round(4), params["b"].round(4))
      [[2.]] [1.]

    Reference: Lukosevicius, A practical guide to applying echo state networks, 2012.
    """
    x, y = (a.reshape(-1, a.shape[-1]) for a in (states, targets))
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean[None], y - y_mean[None]
    w = jnp.linalg.solve(x.T @ x + as_dtype(penalty, x) * jnp.eye(x.shape[1], dtype=x.dtype), x.T @ y)
    return {"w": w, "b": y_mean - x_mean @ w}


class LMUCarry(NamedTuple):
    """The state of an LMU: hidden state `[hidden]` and memory `[order]`."""

    h: jax.Array
    m: jax.Array


@functools.cache
def _delay(order: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns A and B of m_t = A m_{t-1} + B u_t, a Legendre memory of `length` steps with a zero-order hold."""
    i, j = np.arange(order)[:, None], np.arange(order)
    a = (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    b = (2 * i + 1) * (-1.0) ** i
    whole = np.block([[a, b], [np.zeros((1, order + 1))]]) / length
    halvings = max(0, int(np.ceil(np.log2(np.abs(whole).sum(1).max())))) + 4
    power = result = np.eye(order + 1)
    for n in range(1, 14):  # Taylor series of exp(whole / 2 ** halvings)
        power = power @ whole / (n * 2.0**halvings)
        result = result + power
    for _ in range(halvings):
        result = result @ result
    return result[:order, :order], result[:order, order]


@factory
def lmu(hidden: int, order: int = 16, length: int = 100, u_init: Initializer = orthogonal) -> Cell:
    """The Legendre memory unit: a vanilla RNN with a linear memory of the last `length` steps.

        u_t = x_t e_x + h_{t-1} e_h + m_{t-1} e_m
        m_t = A m_{t-1} + B u_t;  h_t = tanh(x_t w_x + b + h_{t-1} w_h + m_t w_m)

    A and B are constants: the optimal memory of its order of a signal over a sliding window, discretised by zero-order
    hold. Params: ({w `[features, 1 + hidden]`, b}, {e_h `[hidden]`, e_m `[order]`, w_h `[hidden, hidden]`, w_m `[order,
    hidden]`}); e_x is the first column of w; e_m is initialised to zero.

    Args:
      hidden: the number of units and outputs.
      order: the size of the memory.
      length: the number of steps it covers, theta of the paper.
      u_init: the initialiser of w_h.

    Raises:
      ValueError: order or length is below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = lmu(4, order=5).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # (3 + 1) (1 + 4) + 4 + 5 + 4 * 4 + 5 * 4
      65

    Reference: Voelker, Kajic, Eliasmith, Legendre memory units: continuous-time representation in recurrent neural
    networks, 2019.
    """
    check_size("lmu: hidden", hidden)
    check_size("lmu: order", order)
    check_size("lmu: length", length)
    a, b = _delay(order, length)

    def update(p: PyTree, s: LMUCarry, z: jax.Array) -> tuple[LMUCarry, jax.Array]:
        u = z[0] + s.h @ p["e_h"] + s.m @ p["e_m"]
        m = jnp.asarray(a, z.dtype) @ s.m + jnp.asarray(b, z.dtype) * u
        h = jnp.tanh(z[1:] + s.h @ p["w_h"] + m @ p["w_m"])
        return LMUCarry(h, m), h

    row = jax.nn.initializers.normal(hidden**-0.5)
    params = {
        "e_h": (row, (hidden,)),
        "e_m": (nothing, (order,)),
        "w_h": (u_init, (hidden, hidden)),
        "w_m": (lecun_normal, (order, hidden)),
    }
    core = driven("lmu", hidden, 1 + hidden, update, params, lambda h: LMUCarry(h, jnp.zeros(order, h.dtype)))
    return stack(linear(1 + hidden), core)
