"""Recurrent cores: cells driven by pre-activations.

A core takes pre-activations z with one slice of width `hidden` per gate; a layer is `stack(linear(gates * hidden),
core)`. The input of a core may therefore come from anything, and the time-parallel part of a layer is one matmul.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_size, factory
from rnnjax.base._checks import check_preactivations
from rnnjax.base._numerics import Initializer, as_dtype, nothing, orthogonal
from rnnjax.base._outputs import carry_itself
from rnnjax.cells._fused_layer_norm import NORMED_GRU, NORMED_VANILLA
from rnnjax.cells._fused_rules import GRU, VANILLA
from rnnjax.cells._fused_window import Rule, core_window
from rnnjax.cells._recurrent import Activation, norm_params, recurrent, recurrent_drive


@factory
def vanilla_core(
    hidden: int, activation: Activation = jnp.tanh, u_init: Initializer = orthogonal, layer_norm: bool = False
) -> Cell:
    """The plain recurrence on pre-activations z `[hidden]`.

        h_t = activation(z_t + h_{t-1} u)

    Args:
      hidden: the number of units.
      activation: `jnp.tanh`, `jax.nn.relu`, `jax.nn.sigmoid`, or any other function of an array.
      u_init: the initialiser of u `[hidden, hidden]`.
      layer_norm: normalise h u, with a gain.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = {"u": 0.5 * jnp.eye(2)}
      >>> carry, y = rnnjax.run(vanilla_core(2, jax.nn.relu), params, jnp.array([1.0, -3.0]), jnp.ones(2))
      >>> print(y)
      [1.5 0. ]

    Reference: Elman, Finding structure in time, 1990.
    """

    def vanilla(p: PyTree, h: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = activation(z + recurrent_drive(p, h))
        return h, h

    core = recurrent(hidden, vanilla, u_init=u_init, extra=norm_params(layer_norm, hidden), output=carry_itself)
    rule = vanilla_rule(activation, layer_norm)
    return core if rule is None else core_window(rule, core)


def vanilla_rule(activation: Activation, layer_norm: bool = False) -> Rule | None:
    """Returns the rule of a known activation; any other may close over tracers or not act elementwise."""
    rules = NORMED_VANILLA if layer_norm else VANILLA
    return next((rule for known, rule in rules.items() if known is activation), None)


@factory
def gru_core(
    hidden: int,
    reset_after: bool = False,
    keep: bool = True,
    recurrent_bias: bool = False,
    u_init: Initializer = orthogonal,
    layer_norm: bool = False,
) -> Cell:
    """The gated recurrent unit on pre-activations a `[3 hidden]`, gates in the order r, z, n.

        r, z = sigmoid(a_r + h_{t-1} u_r), sigmoid(a_z + h_{t-1} u_z)
        n = tanh(a_n + (r h_{t-1}) u_n)              reset before the matmul (Cho 2014)
        n = tanh(a_n + r (h_{t-1} u_n + b))          reset_after=True (cuDNN, PyTorch, flax; half the matmuls)
        h_t = z h_{t-1} + (1 - z) n                  keep=True: z keeps the state (Cho 2014)
        h_t = (1 - z) h_{t-1} + z n                  keep=False: z replaces it (Chung 2014)

    Args:
      hidden: the number of units.
      reset_after: whether the reset gate acts after the matmul.
      keep: whether the update gate z keeps the state or replaces it.
      recurrent_bias: with reset_after, adds the bias b `[hidden]` inside the reset, as in cuDNN.
      u_init: the initialiser of each gate's `[hidden, hidden]`.
      layer_norm: normalise h u, with a gain; requires reset_after.

    Raises:
      ValueError: recurrent_bias or layer_norm without reset_after.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> params = {"u": jnp.zeros((1, 3))}
      >>> carry, y = rnnjax.run(gru_core(1), params, jnp.array([0.0, 0.0, 9.0]), carry=jnp.zeros(1))
      >>> print(y.round(3))
      [0.5]

    Reference: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014; Chung et al., Empirical
    evaluation of gated recurrent neural networks, 2014.
    """
    check_size("gru: hidden", hidden)
    if (recurrent_bias or layer_norm) and not reset_after:
        raise ValueError("gru: recurrent_bias and layer_norm need reset_after=True")

    def candidate_after(p: PyTree, h: jax.Array, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        v = recurrent_drive(p, h)
        r, z = jnp.split(jax.nn.sigmoid(a[: 2 * hidden] + v[: 2 * hidden]), 2)
        n = v[2 * hidden :] + p["b"] if recurrent_bias else v[2 * hidden :]
        return z, jnp.tanh(a[2 * hidden :] + r * n)

    def candidate_before(p: PyTree, h: jax.Array, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        r, z = jnp.split(jax.nn.sigmoid(a[: 2 * hidden] + h @ p["u"][:, : 2 * hidden]), 2)
        return z, jnp.tanh(a[2 * hidden :] + (r * h) @ p["u"][:, 2 * hidden :])

    candidate = candidate_after if reset_after else candidate_before

    def gru(p: PyTree, h: jax.Array, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, n = candidate(p, h, a)
        h = n + z * (h - n) if keep else h + z * (n - h)
        return h, h

    bias = {"b": (nothing, (hidden,))} if recurrent_bias else {}
    core = recurrent(
        hidden, gru, 3, u_init=u_init, extra=norm_params(layer_norm, 3 * hidden) | bias, output=carry_itself
    )
    return core_window(NORMED_GRU[keep] if layer_norm else GRU[reset_after, keep], core)


@factory
def mgu_core(hidden: int, u_init: Initializer = orthogonal) -> Cell:
    """The minimal gated unit on pre-activations a `[2 hidden]`: one gate f both resets and updates; order f, n.

        f = sigmoid(a_f + h_{t-1} u_f)
        n = tanh(a_n + (f h_{t-1}) u_n)
        h_t = (1 - f) h_{t-1} + f n

    Example:
      >>> import jax, jax.numpy as jnp
      >>> mgu_core(4).init(jax.random.key(0), jnp.ones(8))["u"].shape
      (4, 8)

    Reference: Zhou, Wu, Zhang, Zhou, Minimal gated unit for recurrent neural networks, 2016.
    """

    def mgu(p: PyTree, h: jax.Array, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        f = jax.nn.sigmoid(a[:hidden] + h @ p["u"][:, :hidden])
        n = jnp.tanh(a[hidden:] + (f * h) @ p["u"][:, hidden:])
        h = h + f * (n - h)
        return h, h

    return recurrent(hidden, mgu, 2, u_init=u_init, output=carry_itself)


@factory
def ctrnn_core(hidden: int, tau: Any = 5.0, u_init: Initializer = orthogonal) -> Cell:
    """The continuous-time (leaky) network with Euler steps of length one, on pre-activations z `[hidden]`.

        h_t = h_{t-1} + (tanh(z_t + h_{t-1} u) - h_{t-1}) / tau

    Args:
      hidden: the number of units.
      tau: the time constant in steps, at least 1; at 1 this is `vanilla_core`.
      u_init: the initialiser of u `[hidden, hidden]`.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> h, _ = rnnjax.run(ctrnn_core(1, tau=4.0), {"u": jnp.zeros((1, 1))}, jnp.full(1, 99.0), jnp.zeros(1))
      >>> print(h)
      [0.25]

    Reference: Funahashi, Nakamura, Approximation of dynamical systems by continuous time recurrent neural networks,
    1993.
    """
    check_number("ctrnn: tau", tau, 1)

    def ctrnn(p: PyTree, h: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = h + (jnp.tanh(z + h @ p["u"]) - h) / as_dtype(tau, h)
        return h, h

    return recurrent(hidden, ctrnn, u_init=u_init, output=carry_itself)


@factory
def indrnn_core(hidden: int, activation: Activation = jax.nn.relu, u_max: Any = 1.0) -> Cell:
    """Units without recurrent connections to each other, on pre-activations z `[hidden]`; u is a vector.

        h_t = activation(z_t + u * h_{t-1})

    Args:
      hidden: the number of units.
      activation: any function of an array.
      u_max: the largest initial recurrent weight; for sequences of T steps, 2 ** (1 / T) keeps gains below 2.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> h, _ = rnnjax.run(indrnn_core(2), {"u": jnp.array([0.5, -1.0])}, jnp.ones(2), carry=jnp.full(2, 2.0))
      >>> print(h)
      [2. 0.]

    Reference: Li, Li, Cook, Zhu, Gao, Independently recurrent neural network, 2018.
    """
    check_size("indrnn: hidden", hidden)
    check_number("indrnn: u_max", u_max, 0)

    what = f"indrnn with {hidden} units"

    def init(key: jax.Array, z: Any) -> PyTree:
        check_preactivations(what, hidden, z)
        return {"u": as_dtype(u_max, z) * jax.random.uniform(key, (hidden,), z.dtype)}

    def step(p: PyTree, h: jax.Array, z: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        check_preactivations(what, hidden, z)
        h = activation(z + p["u"] * h)
        return h, h

    return Cell(init, lambda p, z: jnp.zeros(hidden, z.dtype), step, output=carry_itself)
