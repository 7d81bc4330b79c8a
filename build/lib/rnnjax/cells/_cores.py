"""Recurrent cores: cells driven by pre-activations.

A core takes pre-activations z with one slice of width `hidden` per gate; a layer is `stack(linear(gates * hidden),
core)`. The input of a core may therefore come from anything, and the time-parallel part of a layer is one matmul.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_size
from rnnjax.base._numerics import Initializer, as_dtype, draw_initial, nothing, ones, orthogonal, standardize
from rnnjax.base._outputs import carry_itself, output_in_carry
from rnnjax.cells._fused_layer_norm import NORMED_GRU, NORMED_VANILLA
from rnnjax.cells._fused_rules import GRU, VANILLA
from rnnjax.cells._fused_window import Rule, core_window

Activation = Callable[[jax.Array], jax.Array]
_Update = Callable[[PyTree, Any, jax.Array], tuple[PyTree, PyTree]]


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

    def check(z: Any) -> None:
        if jnp.shape(z) != (gates * hidden,):
            raise ValueError(
                f"{name} with {hidden} units takes the pre-activations [{gates * hidden}] of one step, got "
                f"{list(jnp.shape(z))}: put linear({gates * hidden}) before it, unroll(...) around it for windows, "
                "jax.vmap around that for batches"
            )

    def init(key: jax.Array, z: Any) -> PyTree:
        check(z)
        ku, *keys = jax.random.split(key, 1 + len(extra or {}))
        blocks = [draw_initial(u_init, k, (hidden, hidden), z.dtype) for k in jax.random.split(ku, gates)]
        more = {k: draw_initial(f, key, shape, z.dtype) for key, (k, (f, shape)) in zip(keys, (extra or {}).items())}
        return {"u": jnp.concatenate(blocks, axis=1)} | more

    def step(p: PyTree, carry: PyTree, z: jax.Array, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        check(z)
        return update(p, carry, z)

    def shapes() -> tuple[PyTree, PyTree, Any]:
        made = {"u": (hidden, gates * hidden)} | {k: shape for k, (_, shape) in (extra or {}).items()}
        p = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in made.items()}
        h = jax.eval_shape(start, jax.ShapeDtypeStruct((hidden,), jnp.float32))
        return p, h, jax.ShapeDtypeStruct((gates * hidden,), jnp.float32)

    read = _traced_output(update, shapes) if output is None else output
    return Cell(init, lambda p, z: start(jnp.zeros(hidden, z.dtype)), step, output=read)


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
) -> Cell:
    """A core of any params, (name: (initialiser, shape)), on pre-activations `[width]`; else as `recurrent`."""
    check_size(f"{name}: hidden", hidden)

    def check(z: Any) -> None:
        if jnp.shape(z) != (width,):
            raise ValueError(
                f"{name} with {hidden} units takes the pre-activations [{width}] of one step, got "
                f"{list(jnp.shape(z))}: unroll(...) for windows, jax.vmap around that for batches"
            )

    def init(key: jax.Array, z: Any) -> PyTree:
        check(z)
        keys = jax.random.split(key, len(params))
        return {n: draw_initial(f, k, shape, z.dtype) for k, (n, (f, shape)) in zip(keys, params.items())}

    def step(p: PyTree, carry: PyTree, z: jax.Array, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        check(z)
        return update(p, carry, z)

    def shapes() -> tuple[PyTree, PyTree, Any]:
        p = {n: jax.ShapeDtypeStruct(shape, jnp.float32) for n, (_, shape) in params.items()}
        h = jax.eval_shape(start, jax.ShapeDtypeStruct((hidden,), jnp.float32))
        return p, h, jax.ShapeDtypeStruct((width,), jnp.float32)

    return Cell(init, lambda p, z: start(jnp.zeros(hidden, z.dtype)), step, output=_traced_output(update, shapes))


def recurrent_drive(p: PyTree, h: jax.Array) -> jax.Array:
    """Returns the recurrent part of all gates, h u, normalised if the core has layer norm."""
    v = h @ p["u"]
    return standardize(v) * p["gain"] if "gain" in p else v


def norm_params(flag: bool, width: int) -> dict[str, tuple[Initializer, tuple[int, ...]]]:
    """Returns the extra params of a core with layer norm: the gain of its recurrent part."""
    return {"gain": (ones, (width,))} if flag else {}


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

    def init(key: jax.Array, z: Any) -> PyTree:
        return {"u": as_dtype(u_max, z) * jax.random.uniform(key, (hidden,), z.dtype)}

    def step(p: PyTree, h: jax.Array, z: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        if z.shape != (hidden,):
            raise ValueError(f"indrnn with {hidden} units takes the pre-activations [{hidden}], got {list(z.shape)}")
        h = activation(z + p["u"] * h)
        return h, h

    return Cell(init, lambda p, z: jnp.zeros(hidden, z.dtype), step, output=carry_itself)
