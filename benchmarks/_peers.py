"""One small adapter for each peer: the same recurrent layer, made and applied as its own users would.

An adapter takes the name of a cell and a `Shape` and returns a `Layer`. A peer that does not have the cell raises
`KeyError`; one that is not installed, `ImportError`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.runs import usable_cores

GATES = {"lstm": 4, "gru": 3, "vanilla": 1}


class Shape(NamedTuple):
    """Time steps, batch, features of the input, hidden units."""

    t: int
    b: int
    d: int
    h: int


class Layer(NamedTuple):
    """A layer ready to be timed.

    Attributes:
      forward: () -> ys, the outputs of all steps; returns when they are there.
      gradient: () -> the gradient of sum(ys ** 2) in the params.
      parameters: how many there are.
    """

    forward: Callable[[], Any]
    gradient: Callable[[], Any]
    parameters: int


def inputs(shape: Shape, batch_major: bool = True) -> np.ndarray:
    """The same normal numbers for every peer, `[B, T, D]` or `[T, B, D]`."""
    xs = np.random.default_rng(0).standard_normal((shape.t, shape.b, shape.d), np.float32)
    return np.ascontiguousarray(xs.swapaxes(0, 1)) if batch_major else xs


def in_jax(apply: Callable[[Any, jax.Array], jax.Array], params: Any, xs: np.ndarray) -> Layer:
    """A layer of a JAX library from apply(params, xs) -> ys."""
    x = jnp.asarray(xs)
    forward = jax.jit(apply)
    gradient = jax.jit(jax.grad(lambda params, x: (apply(params, x) ** 2).sum()))
    return Layer(
        lambda: jax.block_until_ready(forward(params, x)),
        lambda: jax.block_until_ready(gradient(params, x)),
        sum(np.size(p) for p in jax.tree.leaves(params)),
    )


def in_rnnjax(cell: str, shape: Shape) -> tuple[Callable[[Any, jax.Array], jax.Array], Any]:
    """The layer on batches, (params, xs) -> ys, and its params."""
    import rnnjax

    layers = {
        "lstm": lambda: rnnjax.lstm(shape.h),
        "gru": lambda: rnnjax.gru(shape.h, reset_after=True, recurrent_bias=True),
        "vanilla": lambda: rnnjax.vanilla(shape.h),
    }
    layer, xs = rnnjax.unroll(layers[cell]()), inputs(shape)
    params = layer.init(jax.random.key(0), jnp.asarray(xs[0]))
    return lambda p, xs: jax.vmap(lambda x: rnnjax.run(layer, p, x)[1])(xs), params


def ours(cell: str, shape: Shape) -> Layer:
    """rnnjax: jax.vmap of unroll(layer)."""
    return in_jax(*in_rnnjax(cell, shape), inputs(shape))


def shared(cell: str, shape: Shape) -> Layer:
    """rnnjax on all cores: a device of each, which has its part of the batch; their gradients are added up."""
    from jax.sharding import PartitionSpec

    from rnnjax.distributed import mesh

    devices = mesh(jax.device_count())
    if devices is None or shape.b % devices.size:
        raise KeyError(f"{jax.device_count()} devices for a batch of {shape.b}")
    layer, params = in_rnnjax(cell, shape)
    whole, cut = PartitionSpec(), PartitionSpec(devices.axis_names[0])

    def part(params: Any, x: jax.Array) -> Any:
        grads = jax.grad(lambda params: (layer(params, x) ** 2).sum())(params)
        return jax.lax.psum(grads, devices.axis_names)

    def cores_of(f: Callable[..., Any], out: Any) -> Callable[..., Any]:
        return jax.jit(jax.shard_map(f, mesh=devices, in_specs=(whole, cut), out_specs=out, check_vma=False))

    x = jax.device_put(jnp.asarray(inputs(shape)), jax.NamedSharding(devices, cut))
    params = jax.device_put(params, jax.NamedSharding(devices, whole))
    forward, gradient = cores_of(layer, cut), cores_of(part, whole)
    return Layer(
        lambda: jax.block_until_ready(forward(params, x)),
        lambda: jax.block_until_ready(gradient(params, x)),
        sum(np.size(p) for p in jax.tree.leaves(params)),
    )


def torch(cell: str, shape: Shape) -> Layer:
    """PyTorch: torch.nn.LSTM, GRU, RNN; time first, its default."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(usable_cores())
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "vanilla": torch.nn.RNN}[cell](shape.d, shape.h)
    x = torch.from_numpy(inputs(shape, batch_major=False))

    def forward() -> Any:
        with torch.no_grad():
            return layer(x)[0]

    def gradient() -> Any:
        layer.zero_grad(set_to_none=True)
        (layer(x)[0] ** 2).sum().backward()
        return [p.grad for p in layer.parameters()]

    return Layer(forward, gradient, sum(p.numel() for p in layer.parameters()))


def flax(cell: str, shape: Shape) -> Layer:
    """Flax: linen.RNN around its fastest cell of the kind."""
    nn: Any = importlib.import_module("flax.linen")
    layer = nn.RNN({"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell, "vanilla": nn.SimpleCell}[cell](shape.h))
    xs = inputs(shape)
    return in_jax(layer.apply, layer.init(jax.random.key(0), jnp.asarray(xs)), xs)


def haiku(cell: str, shape: Shape) -> Layer:
    """Haiku: dynamic_unroll, time first, its default. Its GRU resets before the matmul; its vanilla RNN is relu."""
    hk: Any = importlib.import_module("haiku")

    def unrolled(xs: jax.Array) -> jax.Array:
        core = {"lstm": hk.LSTM, "gru": hk.GRU, "vanilla": hk.VanillaRNN}[cell](shape.h)
        return hk.dynamic_unroll(core, xs, core.initial_state(shape.b))[0]

    layer, xs = hk.without_apply_rng(hk.transform(unrolled)), inputs(shape, batch_major=False)
    return in_jax(layer.apply, layer.init(jax.random.key(0), jnp.asarray(xs)), xs)


def equinox(cell: str, shape: Shape) -> Layer:
    """Equinox: vmap of a scan over a cell, as its documentation does it. It has no vanilla RNN."""
    nn: Any = importlib.import_module("equinox").nn
    layer = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}[cell](shape.d, shape.h, key=jax.random.key(0))
    params, rest = importlib.import_module("equinox").partition(layer, lambda leaf: isinstance(leaf, jax.Array))
    combine = importlib.import_module("equinox").combine
    zero = jnp.zeros(shape.h)

    def one(params: Any, xs: jax.Array) -> jax.Array:
        f = combine(params, rest)

        def step(carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
            carry = f(x, carry)
            return carry, carry[0] if cell == "lstm" else carry

        return jax.lax.scan(step, (zero, zero) if cell == "lstm" else zero, xs)[1]

    return in_jax(jax.vmap(one, (None, 0)), params, inputs(shape))


def keras(cell: str, shape: Shape) -> Layer:
    """Keras on JAX: its layers, called without state."""
    os.environ["KERAS_BACKEND"] = "jax"
    layers: Any = importlib.import_module("keras").layers
    layer = {"lstm": layers.LSTM, "gru": layers.GRU, "vanilla": layers.SimpleRNN}[cell](shape.h, return_sequences=True)
    layer.build((shape.b, shape.t, shape.d))
    fixed = [v.value for v in layer.non_trainable_variables]

    def apply(params: Any, xs: jax.Array) -> jax.Array:
        return layer.stateless_call(params, fixed, xs)[0]

    return in_jax(apply, [v.value for v in layer.trainable_variables], inputs(shape))


def floor(cell: str, shape: Shape) -> Layer:
    """The matmuls alone: those of the recurrence, forward and backward in one loop, and those parallel in time."""
    g, (t, b, d, h) = GATES[cell], shape
    kw, ku, kz = jax.random.split(jax.random.key(0), 3)
    w, u = jax.random.normal(kw, (d, g * h)) / d**0.5, jax.random.normal(ku, (h, g * h)) / (g * h * 4) ** 0.5
    xs, dzs = jnp.asarray(inputs(shape, batch_major=False)), jax.random.normal(kz, (t, b, g * h))

    @jax.jit
    def forward(xs: jax.Array, w: jax.Array, u: jax.Array) -> Any:
        return jax.lax.scan(lambda h, _: ((h @ u)[:, : u.shape[0]], ()), jnp.ones((b, h)), None, t)[0], xs @ w

    @jax.jit
    def gradient(xs: jax.Array, w: jax.Array, u: jax.Array, dzs: jax.Array) -> Any:
        last, hs = jax.lax.scan(lambda h, _: ((h @ u) @ u.T, h), jnp.ones((b, h)), None, t)
        dw, du = (jnp.einsum("tbi,tbj->ij", a, dzs) for a in (xs, hs))
        return last, xs @ w, dw, du

    return Layer(
        lambda: jax.block_until_ready(forward(xs, w, u)),
        lambda: jax.block_until_ready(gradient(xs, w, u, dzs)),
        w.size + u.size + g * h,
    )


PEERS: dict[str, Callable[[str, Shape], Layer]] = {
    "torch": torch,
    "rnnjax": ours,
    "rnnjax shared": shared,
    "flax": flax,
    "haiku": haiku,
    "equinox": equinox,
    "keras": keras,
    "floor": floor,
}
