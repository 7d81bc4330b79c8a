"""The neural Turing machine and the differentiable neural computer: an LSTM beside a memory that it addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import Cell, PyTree, check_size, factory, stack
from rnnjax.base._numerics import Initializer, lecun_normal, nothing, orthogonal
from rnnjax.cells._feedforward import linear
from rnnjax.cells._recurrent import driven

_EMPTY = 1e-6  # what an empty memory holds: a cosine with zeros has no gradient


class TuringCarry(NamedTuple):
    """The state of an NTM: c, h `[hidden]`, what was read `[width]`, the memory, and both heads' weights `[slots]`."""

    c: jax.Array
    h: jax.Array
    read: jax.Array
    memory: jax.Array
    reading: jax.Array
    writing: jax.Array


class ComputerCarry(NamedTuple):
    """The state of a DNC: c, h `[hidden]`, what was read `[reads, width]`, the memory `[slots, width]`, and its order.

    Weights are `[slots]`, those of reading `[reads, slots]`; links `[slots, slots]` say which slot was written after
    which.
    """

    c: jax.Array
    h: jax.Array
    read: jax.Array
    memory: jax.Array
    usage: jax.Array
    links: jax.Array
    precedence: jax.Array
    reading: jax.Array
    writing: jax.Array


@factory
def ntm(
    hidden: int, slots: int = 32, width: int = 8, shifts: int = 1, bias: bool = True, u_init: Initializer = orthogonal
) -> Cell:
    """The neural Turing machine: an LSTM with one reading and one writing head on a memory M `[slots, width]`.

        i, f, g, o = x_t w + b + h_{t-1} u + r_{t-1} v;  c_t, h_t: as an LSTM's, with 1 added to f
        k, beta, g, s, gamma = h_t q + b_r of each head;  beta, gamma - 1: softplus, g: sigmoid, s: softmax
        a = g softmax(beta cos(k, M)) + (1 - g) a_{t-1};  a_t: a shifted by s, to the power gamma, normalised
        r_t = a_t^r M_{t-1};  M_t = (1 - a_t^w e) M_{t-1} + a_t^w d,  e = sigmoid;  y_t = [h_t, r_t]

    Both heads start at the first slot. Params: ({w, b}, {u `[hidden, 4 hidden]`, v `[width, 4 hidden]`, q, b_r}).

    Args:
      hidden: the units of the LSTM; outputs are `[hidden + width]`.
      slots: the rows of the memory.
      width: the numbers in each row.
      shifts: how many slots a head can move per step, in either direction.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of u.

    Raises:
      ValueError: a size is below 1, or the shifts are more than the slots.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = ntm(4, slots=5, width=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 16 (3 + 1 + 4 + 2) + (4 + 1) (2 (2 + 3 + 3) + 2 * 2)
      260

    Reference: Graves, Wayne, Danihelka, Neural Turing machines, 2014.
    """
    for what, size in (("hidden", hidden), ("slots", slots), ("width", width)):
        check_size(f"ntm: {what}", size)
    check_size("ntm: shifts", shifts, 0)
    if 2 * shifts + 1 > slots:
        raise ValueError(f"ntm: {shifts} shifts in either direction need {2 * shifts + 1} slots, got {slots}")
    head = [width, 1, 1, 2 * shifts + 1, 1]

    def update(p: PyTree, s: TuringCarry, z: jax.Array) -> tuple[TuringCarry, jax.Array]:
        c, h = _lstm(z + s.h @ p["u"] + s.read @ p["v"], s.c)
        *parts, erase, add = _split(h @ p["q"] + p["b_r"], [*head, *head, width, width])
        reading = _address(s.memory, s.reading, *parts[:5])
        writing = _address(s.memory, s.writing, *parts[5:])
        read = reading @ s.memory
        memory = _write(s.memory, writing, jax.nn.sigmoid(erase), add)
        return TuringCarry(c, h, read, memory, reading, writing), jnp.concatenate([h, read])

    def start(h: jax.Array) -> TuringCarry:
        first = jnp.zeros(slots, h.dtype).at[0].set(1)
        memory = jnp.full((slots, width), _EMPTY, h.dtype)
        return TuringCarry(h, h, jnp.zeros(width, h.dtype), memory, first, first)

    return _controlled("ntm", hidden, width, 2 * sum(head) + 2 * width, update, start, bias, u_init)


@factory
def dnc(
    hidden: int, slots: int = 16, width: int = 8, reads: int = 1, bias: bool = True, u_init: Initializer = orthogonal
) -> Cell:
    """The differentiable neural computer: an LSTM with a memory that knows its free slots and their order.

        i, f, g, o = x_t w + b + h_{t-1} u + r_{t-1} v;  c_t, h_t: as an LSTM's, with 1 added to f
        usage_t = (usage + a^w - usage a^w) prod_i (1 - free_i a_i^r);  alloc: the least used slots first
        a_t^w = g_w (g_a alloc + (1 - g_a) content(M_{t-1}, k^w, beta^w));  M_t = (1 - a_t^w e) M_{t-1} + a_t^w d
        L_t[i, j] = (1 - a_i^w - a_j^w) L[i, j] + a_i^w order[j];  order_t = (1 - sum a_t^w) order + a_t^w
        a_t^r = pi_1 L_t^T a^r + pi_2 content(M_t, k^r, beta^r) + pi_3 L_t a^r;  r_t = a_t^r M_t;  y_t = [h_t, r_t]

    Params: ({w, b}, {u `[hidden, 4 hidden]`, v `[reads width, 4 hidden]`, q, b_r}). The cost per step grows with the
    square of the slots.

    Args:
      hidden: the units of the LSTM; outputs are `[hidden + reads width]`.
      slots: the rows of the memory.
      width: the numbers in each row.
      reads: the reading heads.
      bias: whether the input's linear map has a bias.
      u_init: the initialiser of u.

    Raises:
      ValueError: a size is below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> params = dnc(4, slots=5, width=2).init(jax.random.key(0), jnp.ones(3))
      >>> sum(p.size for p in jax.tree.leaves(params))  # 16 (3 + 1 + 4 + 2) + (4 + 1) (4 * 2 + 5 + 3)
      240

    Reference: Graves et al., Hybrid computing using a neural network with dynamic external memory, 2016.
    """
    for what, size in (("hidden", hidden), ("slots", slots), ("width", width), ("reads", reads)):
        check_size(f"dnc: {what}", size)
    sizes = [reads * width, reads, reads, 3 * reads, width, 1, width, width, 1, 1]

    def update(p: PyTree, s: ComputerCarry, z: jax.Array) -> tuple[ComputerCarry, jax.Array]:
        c, h = _lstm(z + s.h @ p["u"] + s.read.reshape(-1) @ p["v"], s.c)
        keys, strengths, free, modes, key, strength, erase, add, allocate, write = _split(h @ p["q"] + p["b_r"], sizes)
        kept = jnp.prod(1 - jax.nn.sigmoid(free)[:, None] * s.reading, axis=0)
        usage = (s.usage + s.writing - s.usage * s.writing) * kept
        content = _content(s.memory, key, 1 + jax.nn.softplus(strength))
        gate = jax.nn.sigmoid(allocate)
        writing = jax.nn.sigmoid(write) * (gate * _allocation(usage) + (1 - gate) * content)
        memory = _write(s.memory, writing, jax.nn.sigmoid(erase), add)
        links = (1 - writing[:, None] - writing[None]) * s.links + jnp.outer(writing, s.precedence)
        links = links * (1 - np.eye(slots)).astype(links.dtype)
        by_key = jax.vmap(lambda k, beta: _content(memory, k, 1 + jax.nn.softplus(beta)))
        found = by_key(keys.reshape(reads, width), strengths)
        back, key_, onward = jnp.moveaxis(jax.nn.softmax(modes.reshape(reads, 3), axis=-1), -1, 0)[..., None]
        reading = back * (s.reading @ links) + key_ * found + onward * (s.reading @ links.T)
        precedence = (1 - jnp.sum(writing)) * s.precedence + writing
        read = reading @ memory
        carry = ComputerCarry(c, h, read, memory, usage, links, precedence, reading, writing)
        return carry, jnp.concatenate([h, read.reshape(-1)])

    def start(h: jax.Array) -> ComputerCarry:
        none = jnp.zeros(slots, h.dtype)
        memory, read = jnp.full((slots, width), _EMPTY, h.dtype), jnp.zeros((reads, width), h.dtype)
        reading = jnp.zeros((reads, slots), h.dtype)
        return ComputerCarry(h, h, read, memory, none, jnp.zeros((slots, slots), h.dtype), none, reading, none)

    return _controlled("dnc", hidden, reads * width, sum(sizes), update, start, bias, u_init)


def _controlled(
    name: str,
    hidden: int,
    read: int,
    emitted: int,
    update: Callable[[PyTree, Any, jax.Array], tuple[Any, jax.Array]],
    start: Callable[[jax.Array], Any],
    bias: bool,
    u_init: Initializer,
) -> Cell:
    """Returns a cell with an LSTM that reads `[read]` numbers and emits `[emitted]` numbers for its heads."""

    def by_gates(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jnp.concatenate([u_init(k, (hidden, hidden), dtype) for k in jax.random.split(key, 4)], axis=1)

    params: dict[str, tuple[Initializer, tuple[int, ...]]] = {
        "u": (by_gates, (hidden, 4 * hidden)),
        "v": (lecun_normal, (read, 4 * hidden)),
        "q": (lecun_normal, (hidden, emitted)),
        "b_r": (nothing, (emitted,)),
    }
    return stack(linear(4 * hidden, bias), driven(name, hidden, 4 * hidden, update, params, start))


def _lstm(z: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns c and h of an LSTM from its pre-activations."""
    i, f, g, o = jnp.split(z, 4)
    c = jax.nn.sigmoid(f + 1) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return c, jax.nn.sigmoid(o) * jnp.tanh(c)


def _split(a: jax.Array, sizes: list[int]) -> list[jax.Array]:
    """Splits a vector into parts of these sizes."""
    return jnp.split(a, list(np.cumsum(sizes[:-1])))


def _content(memory: jax.Array, key: jax.Array, strength: jax.Array) -> jax.Array:
    """Returns the weights of the slots by their cosine with the key."""
    lengths = jnp.sqrt(jnp.sum(memory**2, axis=1) * jnp.sum(key**2) + jnp.asarray(_EMPTY, key.dtype) ** 2)
    return jax.nn.softmax(strength * (memory @ key) / lengths)


def _address(
    memory: jax.Array,
    before: jax.Array,
    key: jax.Array,
    strength: jax.Array,
    gate: jax.Array,
    shift: jax.Array,
    power: jax.Array,
) -> jax.Array:
    """Returns the weights of an NTM's head: by content, mixed with those before, shifted, sharpened."""
    g = jax.nn.sigmoid(gate)
    mixed = g * _content(memory, key, jax.nn.softplus(strength)) + (1 - g) * before
    far = len(shift) // 2
    moved = sum(s * jnp.roll(mixed, d) for d, s in zip(range(-far, far + 1), jax.nn.softmax(shift)))
    tiny = jnp.finfo(mixed.dtype).tiny
    return jax.nn.softmax((1 + jax.nn.softplus(power)) * jnp.log(jnp.maximum(moved, tiny)))


def _write(memory: jax.Array, weights: jax.Array, erase: jax.Array, add: jax.Array) -> jax.Array:
    """Returns the memory after its slots were erased and added to, each by its weight."""
    return memory * (1 - jnp.outer(weights, erase)) + jnp.outer(weights, add)


def _allocation(usage: jax.Array) -> jax.Array:
    """Returns the weights of the free slots: (1 - usage) of each, times the usage of all that are less used."""
    order = jnp.argsort(usage)
    ascending = usage[order]
    before = jnp.concatenate([jnp.ones_like(usage[:1]), jnp.cumprod(ascending)[:-1]])
    return jnp.zeros_like(usage).at[order].set((1 - ascending) * before)
