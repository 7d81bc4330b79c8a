"""Matrix memories: cells whose state is one matrix per head, written by outer products and read by a query.

The step writes once. The window processes a chunk of steps at a time: matmuls within a chunk, the memory from one chunk
to the next. This window serves the whole family, whose members differ only in their gates: `matrix_recurrent`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base import Cell, PyTree, Seq, check_size, factory, tree_where, without_marks
from rnnjax.base._checks import check_features
from rnnjax.base._seq import tree_zeros, with_marks_of, zero_invalid

_CHUNK, _CHUNK_BY_KEY = 32, 8  # steps per chunk, powers of two; fewer if each key has its own decay


class Write(NamedTuple):
    """The update of a matrix memory `[heads, keys, values]` in one step.

    Attributes:
      q: the query to read with, `[heads, keys]`.
      k: the key to write at, `[heads, keys]`.
      v: the value to write, `[heads, values]`.
      log_decay: the logarithm of the decay factor, `[heads, 1]` or `[heads, keys]`, at most 0.
      gain: the strength of the write, `[heads]`.
    """

    q: jax.Array
    k: jax.Array
    v: jax.Array
    log_decay: jax.Array
    gain: jax.Array


def write_once(memory: jax.Array, w: Write, delta: bool = False) -> tuple[jax.Array, jax.Array]:
    """Writes once; returns the new memory `[heads, keys, values]` and the value read `[heads, values]`."""
    memory = jnp.exp(w.log_decay)[..., None] * memory
    v = w.v - jnp.einsum("hk,hkv->hv", w.k, memory) if delta else w.v
    memory = memory + (w.gain[:, None] * w.k)[..., None] * v[:, None]
    return memory, jnp.einsum("hk,hkv->hv", w.q, memory)


def write_all(
    memory: jax.Array, writes: Write, starts: jax.Array | None = None, delta: bool = False
) -> tuple[jax.Array, jax.Array]:
    """Computes the writes of a window, chunk by chunk: `write_once` in a loop, with an empty memory at `starts`.

    After a number that is not finite, everything is nan until the next start.

    Args:
      memory: the previous state, `[heads, keys, values]`.
      writes: the writes, with a leading axis `[T]`.
      starts: `[T]`, or None.
      delta: subtract from v the value that the memory holds at k.

    Returns:
      (memory, ys): the memory after the last write, and the values read, `[T, heads, values]`.
    """
    dtype, steps = memory.dtype, len(writes.gain)
    starts = jnp.zeros(steps, bool) if starts is None else starts
    fine = [jnp.isfinite(a).all(range(1, a.ndim)) for a in writes]
    whole, fine_start = jnp.stack(fine).all(0), jnp.isfinite(memory).all()
    clean = tree_where(whole, writes, tree_zeros(writes))
    chunk_size = _CHUNK if writes.log_decay.shape[-1] == 1 else _CHUNK_BY_KEY
    size = min(chunk_size, 1 << (steps - 1).bit_length())
    pieces = jax.tree.map(lambda a: _in_pieces(a, size), (_at_least_single(clean), starts))

    def chunk(memory: jax.Array, piece: tuple[Write, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return _write_chunk(memory, *piece, delta)

    begin = _at_least_single(jnp.where(fine_start, memory, jnp.zeros_like(memory)))
    end, ys = lax.scan(jax.checkpoint(chunk), begin, pieces)
    lost = _not_finite_since_start(whole, fine_start, starts)
    ys = tree_where(lost, jnp.full_like(clean.v, jnp.nan), ys.reshape(-1, *ys.shape[2:])[:steps].astype(dtype))
    return jnp.where(lost[-1], jnp.full_like(memory, jnp.nan), end.astype(dtype)), ys


def _not_finite_since_start(whole: jax.Array, start: jax.Array, starts: jax.Array) -> jax.Array:
    """Returns whether a number that is not finite has occurred since the last start, `[T]`."""
    at = jnp.arange(1, 1 + len(whole))
    bad = jnp.maximum(lax.cummax(jnp.where(whole, -1, at)), jnp.where(start, -1, 0))
    return bad >= lax.cummax(jnp.where(starts, at, 0))


def _at_least_single(tree: PyTree) -> PyTree:
    """Converts to at least single precision, as sums over a chunk require."""
    return jax.tree.map(lambda a: a if jnp.finfo(a.dtype).bits >= 32 else a.astype(jnp.float32), tree)


def _in_pieces(a: jax.Array, size: int) -> jax.Array:
    """Reshapes `[T, ...]` to `[pieces, size, ...]`, padded with zeros, which write nothing."""
    full = jnp.concatenate([a, jnp.zeros((-len(a) % size, *a.shape[1:]), a.dtype)])
    return full.reshape(-1, size, *a.shape[1:])


def _write_chunk(memory: jax.Array, w: Write, starts: jax.Array, delta: bool) -> tuple[jax.Array, jax.Array]:
    """Computes the writes of one chunk at once; in every intermediate the heads are the first axis.

        y = R q memory + A u;  u = gain (v - R k memory - B u)  with delta, gain v without

    A[t, s] and B[t, s] are q_t . k_s and k_t . k_s with the decay from s to t; R is the decay from the start to t.
    """
    q, k, v, fade, gain = (jnp.moveaxis(a, 1, 0) for a in w)
    gain, older, zero = gain[..., None], jnp.tri(len(starts), k=-1, dtype=bool), jnp.zeros((), k.dtype)
    faded, left = _fading(fade, starts)

    def pairs(a: jax.Array) -> jax.Array:
        if fade.shape[-1] == 1:
            return jnp.einsum("htk,hsk->hts", a, k) * faded[..., 0]
        return jnp.einsum("htk,hsk,htsk->hts", a, k, faded)

    u = gain * (v - (left * k) @ memory if delta else v)
    if delta:
        u = _inverse_of_one_plus(gain * jnp.where(older[None], pairs(k), zero)) @ u
    ys = (left * q) @ memory + pairs(q) @ u
    memory = jnp.moveaxis(left[:, -1:], 1, 2) * memory + jnp.einsum("hsk,hsv->hkv", faded[:, -1] * k, u)
    return memory, jnp.moveaxis(ys, 0, 1)


def _inverse_of_one_plus(below: jax.Array) -> jax.Array:
    """Returns (I + below)^-1 for `[heads, n, n]` below the diagonal, n a power of two, by doubling the block size.

    It uses only matmuls: a triangular solve inside a loop can hang on a CPU (jaxlib 0.10).
    """
    heads, steps, _ = below.shape
    inverse, size = jnp.ones((heads, steps, 1, 1), below.dtype), 1
    while size < steps:
        n = steps // (2 * size)
        blocks = below.reshape(heads, n, 2, size, n, 2, size)[:, :, 1, :, :, 0]
        corner = jnp.moveaxis(jnp.diagonal(blocks, axis1=1, axis2=3), -1, 1)
        first, second = inverse[:, 0::2], inverse[:, 1::2]
        upper = jnp.concatenate([first, jnp.zeros_like(first)], -1)
        lower = jnp.concatenate([-(second @ corner @ first), second], -1)
        inverse, size = jnp.concatenate([upper, lower], -2), 2 * size
    return inverse[:, 0]


def _fading(fade: jax.Array, starts: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the decay from s to t `[heads, T, T, .]`, and from before to t `[heads, T, .]`; it is 0 across a start.

    Logarithms are summed from s to t: a difference of cumulative sums would lose small ones next to large ones.
    """
    steps, zero = len(starts), jnp.zeros((), fade.dtype)
    part, upto, older = jnp.cumsum(starts), jnp.tri(steps, dtype=fade.dtype), jnp.tri(steps, k=-1, dtype=bool)
    later = jnp.where(older[None, ..., None], fade[:, :, None], zero)
    since = jnp.einsum("tr,hrsk->htsk", upto, later, precision="highest")
    begin = jnp.einsum("tr,hrk->htk", upto, fade, precision="highest")
    sees = (part[:, None] == part[None]) & (upto > 0)
    left = jnp.where((part == 0)[None, :, None], jnp.exp(begin), zero)
    return jnp.where(sees[None, ..., None], jnp.exp(since), zero), left


@factory
def matrix_recurrent(
    shape: tuple[int, int, int],
    drive: Callable[[PyTree, jax.Array], Write],
    init: Callable[[jax.Array, Any], PyTree] = lambda key, x: (),
    read: Callable[[PyTree, jax.Array, jax.Array], jax.Array] = lambda p, y, x: y.reshape(-1),
    delta: bool = False,
    writes: int = 1,
) -> Cell:
    """Returns a cell whose state is one matrix per head; its window is computed chunk by chunk, with matmuls.

        q, k, v, log_decay, gain = drive(params, x_t)
        M = exp(log_decay) M_{t-1};  M_t = M + gain k (v - k . M)    with delta; gain k v without
        y_t = read(params, q . M_t, x_t)

    Args:
      shape: (heads, keys, values); the carry is an array of that shape.
      drive: (params, x) -> `Write`, with a leading axis `[writes]` if there are several.
      init: (key, x) -> params.
      read: (params, y `[heads, values]`, x) -> output.
      delta: write the difference to the value that the memory holds at k: the delta rule.
      writes: the number of writes per step; the memory is read after the last one.

    Raises:
      ValueError: a number of heads, keys, values or writes is below 1; at a step, `drive` gives other shapes.

    Example: a memory with one key that decays by half per step.
      >>> import jax.numpy as jnp, rnnjax
      >>> def drive(p, x):
      ...     one = jnp.ones((1, 1), x.dtype)
      ...     return Write(one, one, x[None], jnp.log(0.5 * one), one[0])
      >>> cell = rnnjax.unroll(matrix_recurrent((1, 1, 1), drive))
      >>> print(rnnjax.run(cell, (), jnp.ones((3, 1)))[1][:, 0])
      [1.   1.5  1.75]

    Reference: Yang, Wang, Zhang, Shen, Kim, Parallelizing linear transformers with the delta rule over sequence
    length, 2024 (the window).
    """
    check_size("matrix_recurrent: writes", writes)
    for what, size in zip(("heads", "keys", "values"), shape, strict=True):
        check_size(f"matrix_recurrent: {what}", size)

    def drives(p: PyTree, x: jax.Array) -> Write:
        check_features("a matrix memory", x)
        w = drive(p, x)
        w = w if writes > 1 else jax.tree.map(lambda a: a[None], w)
        _check_write(w, (writes, *shape))
        return w

    def step(p: PyTree, memory: jax.Array, x: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, PyTree]:
        w = drives(p, x)
        for i in range(writes):
            memory, y = write_once(memory, jax.tree.map(lambda a, i=i: a[i], w), delta)
        return memory, read(p, y, x)

    def window(p: PyTree, memory: jax.Array, xs: PyTree, keys: jax.Array | None = None) -> tuple[jax.Array, PyTree]:
        x = without_marks(zero_invalid(xs))
        w = hold_where_invalid(xs, jax.vmap(drives, (None, 0))(p, x))
        starts = xs.first if isinstance(xs, Seq) else None
        if starts is not None:
            starts = jnp.zeros((len(x), writes), bool).at[:, 0].set(starts).reshape(-1)
        memory, ys = write_all(memory, jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), w), starts, delta)
        return memory, with_marks_of(xs, jax.vmap(read, (None, 0, 0))(p, ys[writes - 1 :: writes], x))

    return Cell(init, lambda p, x: jnp.zeros(shape, x.dtype), step, window=window)


def _check_write(w: Write, shape: tuple[int, ...]) -> None:
    """Refuses writes whose shapes are not those of (writes, heads, keys, values)."""
    *lead, keys, values = shape
    wanted = (*lead, keys), (*lead, keys), (*lead, values), (*lead, keys), (*lead,)
    for name, a, size in zip(Write._fields, w, wanted):
        if a.shape != size and not (name == "log_decay" and a.shape == (*lead, 1)):
            raise ValueError(f"matrix_recurrent: drive gives {name} {list(a.shape[1:])}, wanted {list(size[1:])}")


def hold_where_invalid(xs: PyTree, w: Write) -> Write:
    """Returns writes without effect and without decay where a Seq is invalid."""
    if not isinstance(xs, Seq) or xs.valid is None:
        return w
    fade, gain = tree_where(xs.valid, (w.log_decay, w.gain), tree_zeros((w.log_decay, w.gain)))
    return w._replace(log_decay=fade, gain=gain)


def head_size(name: str, hidden: int, heads: int) -> int:
    """Returns the number of units per head.

    Raises:
      ValueError: the units or the heads are not sizes, or the heads do not divide the units.
    """
    check_size(f"{name}: hidden", hidden)
    check_size(f"{name}: heads", heads)
    if hidden % heads:
        raise ValueError(f"{name} takes a number of heads that divides its units, got {heads} heads of {hidden} units")
    return hidden // heads
