"""Spiking neurons with surrogate gradients: leaky integrate-and-fire, with a fixed or an adaptive threshold."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, check_number, check_positive, check_rate, check_size, factory, stack
from rnnjax.base._numerics import Initializer, as_dtype, lecun_normal
from rnnjax.cells._feedforward import linear
from rnnjax.cells._recurrent import driven


@jax.custom_jvp
def spike(v: jax.Array, dampening: jax.Array) -> jax.Array:
    """Returns 1 where v > 0 and else 0, with the slope of a triangle in the place of the step's.

        dy/dv = dampening max(0, 1 - |v|)

    Args:
      v: how far the membrane is above its threshold, divided by the threshold.
      dampening: the largest slope.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> v = jnp.array([-2.0, -0.5, 0.5])
      >>> print(spike(v, 0.3), jax.grad(lambda v: spike(v, 0.3).sum())(v))
      [0. 0. 1.] [0.   0.15 0.15]

    Reference: Bellec, Salaj, Subramoney, Legenstein, Maass, Long short-term memory and learning-to-learn in networks of
    spiking neurons, 2018.
    """
    return jnp.where(jnp.isnan(v), v, (v > 0).astype(v.dtype))


@spike.defjvp
def _spike_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[jax.Array, jax.Array]:
    """Returns the spike and its surrogate slope."""
    (v, dampening), (dv, _) = primals, tangents
    y = spike(v, dampening)
    return y, jnp.asarray(dampening, v.dtype) * jnp.maximum(1 - abs(v), jnp.zeros_like(v)) * dv


def _charged(p: PyTree, v: jax.Array, x: jax.Array, y: jax.Array, decay: Any, threshold: Any) -> jax.Array:
    """Returns the membrane potential after a step of leak, input, recurrent spikes y and reset."""
    return as_dtype(decay, x) * v + x + y @ p["u"] - as_dtype(threshold, x) * y


@factory
def lif(
    hidden: int,
    decay: Any = 0.9,
    threshold: Any = 1.0,
    dampening: Any = 0.3,
    bias: bool = True,
    u_init: Initializer = lecun_normal,
) -> Cell:
    """Leaky integrate-and-fire neurons: a membrane that leaks, and a spike and a reset above the threshold.

        v_t = decay v_{t-1} + x_t w + b + y_{t-1} u - threshold y_{t-1}
        y_t = 1 if v_t > threshold else 0

    The derivative of y is a surrogate: dampening max(0, 1 - |v / threshold - 1|) / threshold. The carry is v. Params:
    ({w, b}, {u `[hidden, hidden]`}).

    Args:
      hidden: the number of neurons.
      decay: what is left of the membrane potential after a step.
      threshold: above 0.
      dampening: the largest slope of the surrogate.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of u.

    Example:
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = ({"w": jnp.ones((1, 1)), "b": jnp.zeros(1)}, {"u": jnp.zeros((1, 1))})
      >>> cell = rnnjax.unroll(lif(1, decay=0.5))
      >>> print(rnnjax.run(cell, params, jnp.full((6, 1), 0.7))[1].ravel())
      [0. 1. 0. 0. 1. 0.]

    Reference: Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, 2020.
    """
    check_size("lif: hidden", hidden)
    check_rate("lif: decay", decay)
    check_positive("lif: threshold", threshold)
    check_number("lif: dampening", dampening, 0)

    def fires(v: jax.Array) -> jax.Array:
        return spike(v / as_dtype(threshold, v) - 1, as_dtype(dampening, v))

    def update(p: PyTree, v: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        v = _charged(p, v, x, fires(v), decay, threshold)
        return v, fires(v)

    core = driven("lif", hidden, hidden, update, {"u": (u_init, (hidden, hidden))}).replace(output=fires)
    return stack(linear(hidden, bias), core)


class AdaptiveCarry(NamedTuple):
    """The state of adaptive neurons: membrane v and adaptation a, both `[hidden]`."""

    v: jax.Array
    a: jax.Array


@factory
def alif(
    hidden: int,
    decay: Any = 0.9,
    rho: Any = 0.99,
    beta: Any = 0.07,
    threshold: Any = 1.0,
    dampening: Any = 0.3,
    bias: bool = True,
    u_init: Initializer = lecun_normal,
) -> Cell:
    """Adaptive leaky integrate-and-fire neurons: each spike raises the threshold, which then decays slowly.

        v_t = decay v_{t-1} + x_t w + b + y_{t-1} u - threshold y_{t-1};  a_t = rho a_{t-1} + y_{t-1}
        y_t = 1 if v_t > threshold + beta a_t else 0

    The derivative of y is the surrogate of `lif`. Params: ({w, b}, {u `[hidden, hidden]`}).

    Args:
      hidden: the number of neurons.
      decay: what is left of the membrane potential after a step.
      rho: what is left of the adaptation after a step.
      beta: how far a spike raises the threshold.
      threshold: above 0, where there is no adaptation.
      dampening: the largest slope of the surrogate.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of u.

    Example: a neuron under a constant current spikes less and less often.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> params = ({"w": jnp.ones((1, 1)), "b": jnp.zeros(1)}, {"u": jnp.zeros((1, 1))})
      >>> cell = rnnjax.unroll(alif(1, rho=0.999, beta=0.3))
      >>> ys = rnnjax.run(cell, params, jnp.full((100, 1), 0.9))[1]
      >>> int(ys[:50].sum()) > int(ys[50:].sum()) > 0
      True

    Reference: Bellec et al., A solution to the learning dilemma for recurrent networks of spiking neurons, 2020.
    """
    check_size("alif: hidden", hidden)
    check_rate("alif: decay", decay)
    check_number("alif: rho", rho, 0, 1)
    check_number("alif: beta", beta, 0)
    check_positive("alif: threshold", threshold)
    check_number("alif: dampening", dampening, 0)

    def fires(s: AdaptiveCarry) -> jax.Array:
        low, rise = as_dtype(threshold, s.v), as_dtype(beta, s.v)
        return spike((s.v - rise * s.a) / low - 1, as_dtype(dampening, s.v))

    def update(p: PyTree, s: AdaptiveCarry, x: jax.Array) -> tuple[AdaptiveCarry, jax.Array]:
        y = fires(s)
        s = AdaptiveCarry(_charged(p, s.v, x, y, decay, threshold), as_dtype(rho, x) * s.a + y)
        return s, fires(s)

    params = {"u": (u_init, (hidden, hidden))}
    core = driven("alif", hidden, hidden, update, params, lambda h: AdaptiveCarry(h, h)).replace(output=fires)
    return stack(linear(hidden, bias), core)
