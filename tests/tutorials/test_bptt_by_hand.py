"""Law: the formulas of the lectures, written out, are what automatic differentiation gives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import close, draw

import rnnjax
from docs.tutorials import bptt_by_hand
from docs.tutorials.bptt_by_hand import Network, cross_entropy_gradient, squared_error_gradient

T, D, H, OUT = 6, 2, 3, 4


def example(dtype):
    shapes = (H, H), (H, D), (H,), (OUT, H), (OUT,)
    return Network(*(draw(shape, dtype, i) for i, shape in enumerate(shapes))), draw((T, D), dtype)


def outputs(net, xs, f=jnp.tanh):
    """Those of our own cells with the same weights."""
    cell = rnnjax.unroll(rnnjax.stack(rnnjax.vanilla(H, f), rnnjax.linear(OUT)))
    params = ({"w": net.u.T, "b": net.b}, {"u": net.w.T}), {"w": net.v.T, "b": net.c}
    return rnnjax.run(cell, params, xs)[1]


@pytest.mark.parametrize("bits", [32, 64])
def test_softmax_with_cross_entropy(bits, request):
    dtype = jnp.float32 if bits == 32 else request.getfixturevalue("x64") or jnp.float64
    net, xs = example(dtype)
    labels = jnp.array([0, 3, 1, 1, 2, 0])

    def loss(net):
        return rnnjax.losses.cross_entropy(outputs(net, xs), labels).sum()

    tolerance = {32: 1e-5, 64: 1e-10}[bits]
    close(cross_entropy_gradient(net, xs, labels), jax.grad(loss)(net), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("f, g", [(jnp.tanh, jax.nn.sigmoid), (jax.nn.sigmoid, lambda o: o)], ids=["tanh", "sigmoid"])
@pytest.mark.parametrize("bits", [32, 64])
def test_the_delta_rule_of_any_activation(bits, f, g, request):
    dtype = jnp.float32 if bits == 32 else request.getfixturevalue("x64") or jnp.float64
    (net, xs), targets = example(dtype), draw((T, OUT), dtype, 9)

    def loss(net):
        return jnp.square(g(outputs(net, xs, f)) - targets).sum() / 2

    tolerance = {32: 1e-5, 64: 1e-10}[bits]
    close(squared_error_gradient(net, xs, targets, f, g), jax.grad(loss)(net), rtol=tolerance, atol=tolerance)


def jacobians(net, xs):
    """D_s W of each step, and the states."""
    states = np.asarray(bptt_by_hand.forward_pass(net, xs).h)
    return [np.diag(1 - h**2) @ np.asarray(net.w) for h in states]


def test_where_the_print_is_wrong(x64):
    net, xs = example(jnp.float64)
    js = jacobians(net, xs)

    def last(h):
        for x in xs[2:]:
            h = jnp.tanh(net.w @ h + net.u @ x + net.b)
        return h

    exact = np.asarray(jax.jacobian(last)(bptt_by_hand.forward_pass(net, xs).h[1]))
    np.testing.assert_allclose(js[5] @ js[4] @ js[3] @ js[2], exact, rtol=1e-10)  # in this order
    slopes = np.prod([np.diag(j @ np.linalg.inv(np.asarray(net.w))) for j in js[2:]], axis=0)
    apart_by = abs(np.diag(slopes) @ np.linalg.matrix_power(np.asarray(net.w), 4) - exact).max()
    assert apart_by > 1e-2 * abs(exact).max()  # prod D_s times W^(T - t) is something else
    a = np.array([[0.9, 10.0], [0.0, 0.9]])  # spectral radius 0.9, and yet A^k h grows before it falls
    norms = [np.linalg.norm(np.linalg.matrix_power(a, k) @ np.array([0.0, 1.0])) for k in range(200)]
    assert max(norms) > 30 and norms[-1] < 1e-4
