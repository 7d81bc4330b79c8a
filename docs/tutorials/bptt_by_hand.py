"""Backpropagation through time as lectures write it, sum by sum, for a network small enough to follow.

Column vectors and their letters: a_t = W h_{t-1} + U x_t + b, h_t = f(a_t), o_t = V h_t + c. So W here is `u` of
`rnnjax.vanilla` transposed, U its `w`, V the `w` of a linear readout. Nothing else in the library needs this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Network(NamedTuple):
    """The weights of a vanilla RNN, or the gradient in each.

    Attributes:
      w: from state to state `[H, H]`.
      u: from input to state `[H, D]`.
      b: `[H]`.
      v: from state to output `[O, H]`.
      c: `[O]`.
    """

    w: jax.Array
    u: jax.Array
    b: jax.Array
    v: jax.Array
    c: jax.Array


class States(NamedTuple):
    """What the forward pass leaves behind: a, h `[T, H]` with h_0 = 0 left out, o `[T, O]`."""

    a: jax.Array
    h: jax.Array
    o: jax.Array


def forward_pass(net: Network, xs: jax.Array, f: Callable[[jax.Array], jax.Array] = jnp.tanh) -> States:
    """a_t = W h_{t-1} + U x_t + b, h_t = f(a_t), o_t = V h_t + c, step after step from h_0 = 0.

    Args:
      net: the weights.
      xs: inputs `[T, D]`.
      f: the activation.

    Example:
      >>> net = Network(*(jnp.ones(shape) for shape in ((1, 1), (1, 1), (1,), (1, 1), (1,))))
      >>> print(forward_pass(net, jnp.ones((2, 1)), f=lambda a: a).o[:, 0])
      [3. 5.]
    """
    h, states = jnp.zeros_like(net.b), []
    for x in xs:
        a = net.w @ h + net.u @ x + net.b
        h = f(a)
        states.append(States(a, h, net.v @ h + net.c))
    return States(*(jnp.stack(values) for values in zip(*states)))


def cross_entropy_gradient(net: Network, xs: jax.Array, labels: jax.Array) -> Network:
    """The gradient of L = - sum_t log softmax(o_t)[y_t] of a tanh network.

        grad_o(t) = yhat_t - 1_{y_t}
        grad_h(t) = V' grad_o(t) + W' diag(1 - h_{t+1}^2) grad_h(t + 1),   grad_h(T + 1) = 0
        grad_V = sum_t grad_o(t) h_t'        grad_c = sum_t grad_o(t)
        grad_W = sum_t diag(1 - h_t^2) grad_h(t) h_{t-1}'
        grad_U = sum_t diag(1 - h_t^2) grad_h(t) x_t'        grad_b = sum_t diag(1 - h_t^2) grad_h(t)

    The derivative of h_t in W inside the sum is the immediate one, h_{t-1} held still; V' multiplies grad_o.

    Args:
      net: the weights.
      xs: inputs `[T, D]`.
      labels: y, integers `[T]`.

    Example: with all weights zero yhat is uniform.
      >>> net = Network(*(jnp.zeros(shape) for shape in ((2, 2), (2, 1), (2,), (4, 2), (4,))))
      >>> print(cross_entropy_gradient(net, jnp.ones((1, 1)), jnp.array([0])).c)
      [-0.75  0.25  0.25  0.25]

    Reference: Goodfellow, Bengio, Courville, Deep learning, 2016, section 10.2.2.
    """
    h, o = forward_pass(net, xs)[1:]
    grad = Network(*(jnp.zeros_like(p) for p in net))
    from_later = jnp.zeros_like(net.b)  # W' diag(1 - h_{t+1}^2) grad_h(t + 1)
    for t in reversed(range(len(xs))):
        before = h[t - 1] if t else jnp.zeros_like(net.b)
        grad_o = jax.nn.softmax(o[t]) - jax.nn.one_hot(labels[t], o.shape[1], dtype=o.dtype)
        grad_h = net.v.T @ grad_o + from_later
        grad_a = (1 - h[t] ** 2) * grad_h
        grad = Network(
            grad.w + jnp.outer(grad_a, before),
            grad.u + jnp.outer(grad_a, xs[t]),
            grad.b + grad_a,
            grad.v + jnp.outer(grad_o, h[t]),
            grad.c + grad_o,
        )
        from_later = net.w.T @ grad_a
    return grad


def squared_error_gradient(
    net: Network,
    xs: jax.Array,
    targets: jax.Array,
    f: Callable[[jax.Array], jax.Array] = jnp.tanh,
    g: Callable[[jax.Array], jax.Array] = jax.nn.sigmoid,
) -> Network:
    """The delta rule for E = 1/2 sum_t |g(o_t) - y_t|^2 and any elementwise activations f of units and g of outputs.

        delta_k(t) = g'(o_k) (g(o_k) - y_k)                                             of output k
        delta_j(t) = f'(a_j) (sum_k delta_k(t) v_kj + sum_i w_ij delta_i(t + 1)),       delta(T + 1) = 0, of unit j
        dE/dv_kj = sum_t delta_k(t) h_j(t)
        dE/dw_ji = sum_t delta_j(t) h_i(t - 1),   dE/du_jd = sum_t delta_j(t) x_d(t)

    w_ij leads from unit j to unit i: what unit j does at t comes back through all units i at t + 1. Only elementwise
    outputs have a g'; for softmax take `cross_entropy_gradient`.

    Args:
      net: the weights.
      xs: inputs `[T, D]`.
      targets: y `[T, O]`.
      f, g: activations of the units and of the outputs.

    Example: a single linear unit, E = (w - 2)^2 / 2 at w = 1.
      >>> net = Network(*(jnp.ones(shape) for shape in ((1, 1), (1, 1), (1,), (1, 1), (1,))))
      >>> line = lambda a: a
      >>> print(squared_error_gradient(net, jnp.zeros((1, 1)), jnp.full((1, 1), 3.0), line, line).v)
      [[-1.]]

    Reference: Rumelhart, Hinton, Williams, Learning internal representations by error propagation, 1986.
    """
    a, h, o = forward_pass(net, xs, f)
    units, outputs = len(net.b), len(net.c)
    slope_f, slope_g = (jax.vmap(jax.vmap(jax.grad(lambda z, s=s: s(z)))) for s in (f, g))
    f_a, g_o = slope_f(a), slope_g(o)
    grad, later = Network(*(jnp.zeros_like(p) for p in net)), jnp.zeros_like(net.b)
    for t in reversed(range(len(xs))):
        before = h[t - 1] if t else jnp.zeros_like(net.b)
        out = jnp.stack([g_o[t, k] * (g(o[t, k]) - targets[t, k]) for k in range(outputs)])
        delta = jnp.stack(
            [
                f_a[t, j]
                * (
                    sum(out[k] * net.v[k, j] for k in range(outputs))
                    + sum(net.w[i, j] * later[i] for i in range(units))
                )
                for j in range(units)
            ]
        )
        terms = jnp.outer(delta, before), jnp.outer(delta, xs[t]), delta, jnp.outer(out, h[t]), out
        grad, later = Network(*map(jnp.add, grad, terms)), delta
    return grad


if __name__ != "docs.tutorials.bptt_by_hand":  # a reader runs it; tests import it
    net = Network(
        *(0.5 * jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(3, 3), (3, 2), (3,), (4, 3), (4,)]))
    )
    xs, labels = jax.random.normal(jax.random.key(9), (5, 2)), jnp.array([0, 3, 1, 2, 0])
    by_hand = cross_entropy_gradient(net, xs, labels)
    automatic = jax.grad(lambda net: -jax.nn.log_softmax(forward_pass(net, xs).o)[jnp.arange(5), labels].sum())(net)
    for name, a, b in zip(Network._fields, by_hand, automatic):
        gap = float(jnp.abs(a - b).max())
        print(f"d loss / d {name}: by hand and by automatic differentiation they differ by {gap:.0e}")
        assert gap < 1e-5
