"""Fast windows of the cores: the step of each, and its backward pass split into factors and the rest of the loop.

Let d be the cotangent of the carry after a step. Everything that multiplies d elementwise is a factor and is computed
for many steps at once. What remains in the loop is a few products and the matmul with the recurrent weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero

from rnnjax.base import PyTree
from rnnjax.cells._fused_window import Rule

Activation = Callable[[jax.Array], jax.Array]
sigmoid = jax.nn.sigmoid


def side_by_side(*arrays: jax.Array) -> jax.Array:
    """Concatenates arrays along their features."""
    return jnp.concatenate(arrays, axis=-1)


def _affine(linear: PyTree | None, u: jax.Array, *biases: jax.Array | None) -> PyTree:
    """Prepares [x, h] v + b, or x + h v + b if x is a pre-activation, also transposed for the backward pass."""
    v = u if linear is None else jnp.concatenate([linear["w"], u])
    b = [b for b in (*biases, None if linear is None else linear.get("b")) if b is not None]
    return {"v": v, "v_t": v.T, "u_t": u.T, "b": sum(b[1:], b[0]) if b else None}


def _forward(p: PyTree, x: jax.Array, h: jax.Array) -> jax.Array:
    """Applies the affine map to one step."""
    return plus(x + h @ p["v"] if p["v"].shape[0] == h.shape[-1] else side_by_side(x, h) @ p["v"], p["b"])


def _derivable(p: PyTree, x: jax.Array, h: jax.Array) -> jax.Array:
    """Applies `_forward` to many steps, in a form whose transpose computes the gradient of v_t in one matmul."""
    x_apart = p["v_t"].shape[1] == h.shape[-1]
    return plus(x + times_t(h, p["v_t"]) if x_apart else _joint(x, h, p["v_t"]), p["b"])


def times_t(x: jax.Array, w_t: jax.Array) -> jax.Array:
    """Returns x w for w stored transposed."""
    return lax.dot_general(x, w_t, (((x.ndim - 1,), (1,)), ((), ())))


@jax.custom_jvp
def _joint(x: jax.Array, h: jax.Array, v_t: jax.Array) -> jax.Array:
    """Returns [x, h] v for many steps; the weights get their gradient by one matmul, x and h by separate ones."""
    return times_t(side_by_side(x, h), v_t)


def _joint_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """Returns dx w + dh u + [x, h] dv, skipping the matmuls of zero tangents."""
    (x, h, v_t), (dx, dh, dv_t) = primals, tangents
    n = x.shape[-1]
    terms = [(dx, v_t[:, :n]), (dh, v_t[:, n:]), (side_by_side(x, h), dv_t)]
    there = [times_t(*pair) for pair in terms if not any(isinstance(t, SymbolicZero) for t in pair)]
    return _joint(x, h, v_t), sum(there[1:], there[0])


_joint.defjvp(_joint_jvp, symbolic_zeros=True)


def _columns(linear: PyTree | None, begin: int, end: int) -> PyTree | None:
    """Restricts a linear map to some of the gates."""
    return None if linear is None else {name: leaf[..., begin:end] for name, leaf in linear.items()}


def _transposed(linear: PyTree | None) -> PyTree | None:
    """Transposes a linear map for `_map_steps`."""
    return None if linear is None else {"w_t": linear["w"].T, "b": linear.get("b")}


def _map_steps(linear_t: PyTree, x: jax.Array) -> jax.Array:
    """Applies a linear map to many steps, in the form of `_derivable`."""
    return plus(times_t(x, linear_t["w_t"]), linear_t["b"])


def plus(a: jax.Array, b: jax.Array | None) -> jax.Array:
    """Adds a bias if there is one."""
    return a if b is None else a + jnp.broadcast_to(b, a.shape)


# LSTM: carry (c, h), gates i, f, g, o.


def _lstm_step(p: PyTree, carry: Any, x: jax.Array) -> tuple[PyTree, PyTree]:
    a = _forward(p, x, carry.h)
    i, f, g, o = jnp.split(a, 4, axis=-1)
    c = sigmoid(f) * carry.c + sigmoid(i) * jnp.tanh(g)
    return carry._replace(c=c, h=sigmoid(o) * jnp.tanh(c)), a


def _lstm_factors(p: PyTree, before: Any, after: Any, a: jax.Array) -> PyTree:
    return lstm_gates(before.c, jnp.tanh(after.c), a)


def lstm_gates(c: jax.Array, t: jax.Array, a: jax.Array) -> PyTree:
    """Returns the factors from cotangents to the gates, the previous cell and the argument of tanh; t is the tanh."""
    i, f, g, o = jnp.split(a, 4, axis=-1)
    i, f, g, o = sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o)
    return (g * i * (1 - i), c * f * (1 - f), i * (1 - g * g), t * o * (1 - o)), f, o * (1 - t * t)


def lstm_cotangents(gates: PyTree, dc: jax.Array, dh: jax.Array) -> jax.Array:
    """Returns the cotangents of all pre-activations."""
    i, f, g, o = gates
    return side_by_side(i * dc, f * dc, g * dc, o * dh)


def _lstm_pull(p: PyTree, factors: PyTree, d: Any) -> tuple[PyTree, PyTree]:
    gates, keep, seen = factors
    dc = d.c + d.h * seen
    da = lstm_cotangents(gates, dc, d.h)
    return d._replace(c=dc * keep, h=da @ p["u_t"]), da


LSTM = Rule(
    lambda linear, core, bias: _affine(linear, core["u"], bias),
    _lstm_step,
    lambda p, x, before, saved: _derivable(p, x, before.h),
    _lstm_factors,
    _lstm_pull,
    lambda carry: carry.h,
)


# Vanilla: carry h. The derivatives of these activations are functions of their values.


def _vanilla_rule(activation: Activation, derivative: Activation) -> Rule:
    """Returns the rule for an elementwise activation, with its derivative as a function of its value."""

    def pull(p: PyTree, factor: jax.Array, d: jax.Array) -> tuple[PyTree, PyTree]:
        da = d * factor
        return da @ p["u_t"], da

    return Rule(
        lambda linear, core, bias: _affine(linear, core["u"], bias),
        lambda p, h, x: (activation(_forward(p, x, h)), ()),
        lambda p, x, before, saved: _derivable(p, x, before),
        lambda p, before, after, saved: derivative(after),
        pull,
    )


DERIVATIVES: dict[Activation, Activation] = {
    jnp.tanh: lambda y: 1 - y * y,
    jax.nn.relu: lambda y: (y > 0).astype(y.dtype),
    jax.nn.sigmoid: lambda y: y * (1 - y),
}
VANILLA = {activation: _vanilla_rule(activation, derivative) for activation, derivative in DERIVATIVES.items()}


# GRU: carry h, gates r, z, n. k is the weight of the old state: z, or 1 - z.


def _gru_after_rule(keep: bool) -> Rule:
    """The rule with the reset gate after the matmul: n = tanh(a_n + r v) with v = h u_n + b."""

    def prepare(linear: PyTree | None, core: PyTree, bias: jax.Array | None) -> PyTree:
        u, n = core["u"], core["u"].shape[0]
        return {
            "linear": linear,
            "gates": _affine(_columns(linear, 0, 2 * n), u[:, : 2 * n]),
            "new": _transposed(_columns(linear, 2 * n, 3 * n)),
            "reset": _transposed({"w": u[:, 2 * n :]} | ({"b": core["b"]} if "b" in core else {})),
            "u": u,
            "u_t": u.T,
            "b": core.get("b"),
        }

    def step(p: PyTree, h: jax.Array, x: jax.Array) -> tuple[PyTree, PyTree]:
        n = h.shape[-1]
        a = x if p["linear"] is None else plus(x @ p["linear"]["w"], p["linear"].get("b"))
        hu = h @ p["u"]
        rz, v = a[..., : 2 * n] + hu[..., : 2 * n], plus(hu[..., 2 * n :], p["b"])
        r, z = jnp.split(sigmoid(rz), 2, axis=-1)
        new = jnp.tanh(a[..., 2 * n :] + r * v)
        return mix(keep, h, z, new), (rz, v, new)

    def pre(p: PyTree, x: jax.Array, h: jax.Array, saved: PyTree) -> PyTree:
        n = h.shape[-1]
        rz = _derivable(p["gates"], x[..., : 2 * n] if p["linear"] is None else x, h)
        new = x[..., 2 * n :] if p["new"] is None else _map_steps(p["new"], x)
        return rz, _map_steps(p["reset"], h), new

    def factors(p: PyTree, h: jax.Array, after: jax.Array, saved: PyTree) -> PyTree:
        rz, v, new = saved
        r, z = jnp.split(sigmoid(rz), 2, axis=-1)
        k, dz, dnew = _mix_factors(keep, h, z, new)
        return k, (dnew * v * r * (1 - r), dz), dnew * r, dnew

    def pull(p: PyTree, factors: PyTree, d: jax.Array) -> tuple[PyTree, PyTree]:
        k, (r, z), v, new = factors
        drz, dv = side_by_side(d * r, d * z), d * v
        return d * k + side_by_side(drz, dv) @ p["u_t"], (drz, dv, d * new)

    return Rule(prepare, step, pre, factors, pull)


def _gru_before_rule(keep: bool) -> Rule:
    """The rule with the reset gate before the matmul: n = tanh(a_n + (r h) u_n)."""

    def prepare(linear: PyTree | None, core: PyTree, bias: jax.Array | None) -> PyTree:
        u, n = core["u"], core["u"].shape[0]
        return {
            "gates": _affine(_columns(linear, 0, 2 * n), u[:, : 2 * n]),
            "new": _affine(_columns(linear, 2 * n, 3 * n), u[:, 2 * n :]),
        }

    def split(p: PyTree, x: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        whole = x.shape[-1] + n == p["gates"]["v_t"].shape[1]
        return (x, x) if whole else (x[..., : 2 * n], x[..., 2 * n :])

    def step(p: PyTree, h: jax.Array, x: jax.Array) -> tuple[PyTree, PyTree]:
        to_gates, to_new = split(p, x, h.shape[-1])
        rz = _forward(p["gates"], to_gates, h)
        r, z = jnp.split(sigmoid(rz), 2, axis=-1)
        new = jnp.tanh(_forward(p["new"], to_new, r * h))
        return mix(keep, h, z, new), (rz, r * h, new)

    def pre(p: PyTree, x: jax.Array, h: jax.Array, saved: PyTree) -> PyTree:
        to_gates, to_new = split(p, x, h.shape[-1])
        return _derivable(p["gates"], to_gates, h), _derivable(p["new"], to_new, saved[1])

    def factors(p: PyTree, h: jax.Array, after: jax.Array, saved: PyTree) -> PyTree:
        rz, _, new = saved
        r, z = jnp.split(sigmoid(rz), 2, axis=-1)
        k, dz, dnew = _mix_factors(keep, h, z, new)
        return k, dz, dnew, r, h * r * (1 - r)

    def pull(p: PyTree, factors: PyTree, d: jax.Array) -> tuple[PyTree, PyTree]:
        k, z, new, r, reset = factors
        dnew = d * new
        drh = dnew @ p["new"]["u_t"]
        drz = side_by_side(drh * reset, d * z)
        return d * k + drh * r + drz @ p["gates"]["u_t"], (drz, dnew)

    return Rule(prepare, step, pre, factors, pull)


def mix(keep: bool, h: jax.Array, z: jax.Array, new: jax.Array) -> jax.Array:
    """Returns the state after a step of a GRU."""
    return new + z * (h - new) if keep else h + z * (new - h)


def _mix_factors(keep: bool, h: jax.Array, z: jax.Array, new: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the factors from d to h directly, and to the pre-activations of z and of n."""
    k = z if keep else 1 - z
    dz = (h - new if keep else new - h) * z * (1 - z)
    return k, dz, (1 - k) * (1 - new * new)


GRU = {
    (reset_after, keep): (_gru_after_rule if reset_after else _gru_before_rule)(keep)
    for reset_after in (True, False)
    for keep in (True, False)
}
