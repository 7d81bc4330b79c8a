"""Running cells over time: windows, ragged windows, chunks of windows, and rematerialisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from rnnjax.base._cell import Cell, PyTree, Step, check_cell, factory, run, without_fast, wrapper
from rnnjax.base._checks import check_size
from rnnjax.base._seq import (
    Seq,
    check_marks,
    first_step_shape,
    flip_time,
    keys_along_time,
    num_steps,
    reverse_seq,
    tree_where,
    with_marks_of,
    without_marks,
    zero_invalid,
)
from rnnjax.base._shapes import same_structure, short_shapes


@wrapper
def with_resets(cell: Cell) -> Cell:
    """Returns the cell whose input is one step of a Seq: what `unroll` does on a Seq, step by step.

    x, valid and first are those of one step. The carry is reset first and then kept or updated:

        h = initial_carry if first else h;  (h, y) = step(h, x) if valid else (h, 0)

    Example: an agent forgets the previous episode when a new one begins.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell = with_resets(rnnjax.vanilla(4))
      >>> x = Seq(jnp.ones(3), valid=jnp.array(False), first=jnp.array(True))
      >>> carry = ((), jnp.ones(4))
      >>> carry, y = rnnjax.run(cell, cell.init(jax.random.key(0), x), x, carry)
      >>> print(carry[1], y.x)
      [0. 0. 0. 0.] [0. 0. 0. 0.]
    """

    def step(weights: PyTree, carry: PyTree, s: Seq, key: jax.Array | None = None) -> tuple[PyTree, Seq]:
        check_marks(s, 0)
        s = zero_invalid(s)
        if s.first is not None:
            carry = tree_where(s.first, cell.initial_carry(weights, s.x), carry)
        new, y = cell.step(weights, carry, s.x, key)
        return (new if s.valid is None else tree_where(s.valid, new, carry)), with_marks_of(s, y)

    return Cell(
        lambda key, s: cell.init(key, s.x),
        lambda weights, s: cell.initial_carry(weights, s.x),
        step,
        cell.weights,
    )


def scan_window(cell: Cell, inline: bool = False) -> Step:
    """Returns the default window of a cell: `lax.scan` of its step, on plain inputs and on Seq.

    Args:
      cell: a single-step cell.
      inline: whether to run a window of one step without a loop.
    """

    def window(weights: PyTree, carry: PyTree, xs: PyTree, keys: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        step = with_resets(cell).step if isinstance(xs, Seq) else cell.step
        if inline and num_steps(xs) == 1:
            carry, y = step(weights, carry, *jax.tree.map(lambda a: a[0], (xs, keys)))
            return carry, jax.tree.map(lambda a: a[None], y)

        try:
            return lax.scan(lambda h, xk: step(weights, h, *xk), carry, (xs, keys))
        except (TypeError, ValueError) as error:
            found = _changed_carry(cell, weights, carry, (without_marks(xs), keys))
            if found:
                raise ValueError(f"a step changes its carry: {found}") from error
            raise

    return window


def _changed_carry(cell: Cell, weights: PyTree, carry: PyTree, xs: PyTree) -> str:
    """Returns how a step changes the structure, shapes or dtypes of its carry; "" if it does not, or fails itself."""
    try:
        after = jax.eval_shape(lambda h, xk: cell.step(weights, h, *xk)[0], carry, first_step_shape(xs))
    except Exception:
        return ""
    if not same_structure(after, carry):
        return f"from {short_shapes(carry)} to {short_shapes(after)}"
    pairs = zip(jax.tree.leaves_with_path(carry), jax.tree.leaves(after))
    for (path, old), new in pairs:
        was, becomes = (f"{jnp.result_type(a)}{list(jnp.shape(a))}" for a in (old, new))
        if was != becomes:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return f"{name or 'it'} is {was} before it and {becomes} after"
    return ""


@wrapper
def as_step_cell(cell: Cell) -> Cell:
    """Returns a window cell as a single-step cell: the inverse of `unroll`, for wrappers that act on every step.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> cell, xs = unroll(rnnjax.lstm(4)), jnp.ones((12, 3))
      >>> params = cell.init(jax.random.key(0), xs)
      >>> again = unroll(as_step_cell(cell))
      >>> np.testing.assert_allclose(rnnjax.run(again, params, xs)[1], rnnjax.run(cell, params, xs)[1], rtol=1e-6)
    """

    slow = without_fast(cell)

    def shape(x: PyTree) -> PyTree:
        return jax.eval_shape(lambda x: jax.tree.map(lambda a: a[None], x), x)

    def step(weights: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        carry, y = slow.step(weights, carry, *jax.tree.map(lambda a: jnp.asarray(a)[None], (x, key)))
        return carry, jax.tree.map(lambda a: a[0], y)

    return Cell(
        lambda key, x: cell.init(key, shape(x)),
        lambda weights, x: cell.initial_carry(weights, shape(x)),
        step,
        cell.weights,
    )


@factory
def unroll(cell: Cell, reverse: bool = False) -> Cell:
    """Returns the cell whose input is a whole window `[T, ...]`, plain or a `Seq`.

        h_t, y_t = step(h_{t-1}, x_t),  t = 1 .. T      (T .. 1 if reverse)

    It uses the cell's own window if there is one and otherwise scans its step. Keys are split along time.

    Args:
      cell: a single-step cell.
      reverse: read the window from its end. Outputs stay aligned with their inputs; in a Seq a document then begins at
        its last step.

    Raises:
      ValueError: the window has no steps, or its leaves differ in length.

    Example:
      >>> import jax, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (5, 12, 3))  # [batch, time, features]
      >>> cell = unroll(rnnjax.gru(4))
      >>> params = cell.init(jax.random.key(1), xs[0])
      >>> carry, ys = jax.vmap(lambda xs: rnnjax.run(cell, params, xs))(xs)
      >>> ys.shape
      (5, 12, 4)
    """
    check_cell("unroll", cell)
    return _unrolled(cell, reverse, scan_window(cell) if cell.window is None else cell.window)


def _unrolled(cell: Cell, reverse: bool, inner: Step) -> Cell:
    """Returns `unroll(cell, reverse)`, where `inner` runs a window forwards."""

    def slow() -> Cell:
        part = without_fast(cell)
        return _unrolled(part, reverse, scan_window(part, inline=True))

    def step(weights: PyTree, carry: PyTree, xs: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        check_marks(xs, 1)
        keys = keys_along_time(key, xs)
        window = inner if isinstance(num_steps(xs), int) else scan_window(without_fast(cell))  # a length left open
        if not reverse:
            return window(weights, carry, xs, keys)
        carry, ys = window(weights, carry, reverse_seq(xs), flip_time(keys))
        return carry, with_marks_of(xs, flip_time(without_marks(ys)))

    def init(key: jax.Array, xs: PyTree) -> PyTree:
        check_marks(xs, 1)
        params = cell.init(key, first_step_shape(without_marks(xs)))
        if any(jnp.ndim(a) > 1 + _has_features(a) for a in jax.tree.leaves(without_marks(xs))):  # a batch, perhaps
            jax.eval_shape(lambda p, xs: run(made, p, xs)[1], params, xs)
        return params

    made = Cell(
        init,
        lambda weights, xs: cell.initial_carry(weights, first_step_shape(without_marks(xs))),
        step,
        cell.weights,
        slow=slow,
    )
    return made


def _has_features(a: jax.Array) -> bool:
    """Whether the last axis of an input is that of features; symbols have none."""
    return bool(jnp.issubdtype(jnp.result_type(a), jnp.floating))


@wrapper
def chunk(cell: Cell, length: int | Callable[[int], int]) -> Cell:
    """Runs a window cell on `length` steps at a time, passing the carry on; the last chunk may be shorter.

    The values are those of the whole window. The difference is what the wrappers inside do at chunk boundaries:
    `chunk(truncate(unroll(cell)), k)` is truncated backpropagation, `chunk(remat(unroll(cell)), k)` stores one carry
    per k steps.

    Args:
      cell: a window cell, `unroll(...)` or a wrapper of one.
      length: the number of steps per chunk, or a function of T that returns it.

    Raises:
      ValueError: length is below one.

    Example:
      >>> import jax, numpy as np, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> whole = unroll(rnnjax.vanilla(4))
      >>> params = whole.init(jax.random.key(1), xs)
      >>> pieces = rnnjax.run(chunk(whole, 5), params, xs)[1]
      >>> np.testing.assert_allclose(pieces, rnnjax.run(whole, params, xs)[1], rtol=1e-6)
    """

    if not callable(length):
        check_size("chunk: length", length)

    def size(xs: PyTree) -> int:
        k = length(num_steps(xs)) if callable(length) else length
        check_size("chunk: length", k)
        return min(k, num_steps(xs))

    def head(xs: PyTree) -> PyTree:
        k = size(xs)
        return jax.eval_shape(lambda t: jax.tree.map(lambda a: a[:k], t), xs)

    def step(weights: PyTree, carry: PyTree, xs: PyTree, key: jax.Array | None = None) -> tuple[PyTree, PyTree]:
        inputs, k = (xs, keys_along_time(key, xs)), size(xs)
        n = num_steps(xs) // k
        folded = jax.tree.map(lambda a: a[: n * k].reshape((n, k) + a.shape[1:]), inputs)
        carry, ys = lax.scan(lambda h, xk: cell.step(weights, h, *xk), carry, folded)
        ys = jax.tree.map(lambda a: a.reshape((n * k,) + a.shape[2:]), ys)
        if n * k == num_steps(xs):
            return carry, ys
        carry, rest = cell.step(weights, carry, *jax.tree.map(lambda a: a[n * k :], inputs))
        return carry, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), ys, rest)

    return Cell(
        lambda key, xs: cell.init(key, head(xs)),
        lambda weights, xs: cell.initial_carry(weights, head(xs)),
        step,
        cell.weights,
    )


@wrapper
def remat(cell: Cell, every: int | Literal["sqrt"] | None = None) -> Cell:
    """Recomputes the intermediate values of a cell in the backward pass instead of storing them.

    `remat(cell)` on a step stores only the carries. `remat(unroll(cell), every=k)` on a window stores one carry per k
    steps and the intermediate values of one chunk at a time: T / k + k steps of memory, minimal at k = sqrt(T), for one
    more forward pass.

    Args:
      cell: a single-step cell, or a window cell if `every` is given.
      every: None, the number of steps per chunk, or "sqrt" for the square root of T.

    Example:
      >>> import jax, numpy as np, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> kept = unroll(rnnjax.lstm(4))
      >>> params = kept.init(jax.random.key(1), xs)
      >>> loss = lambda cell: lambda params: (rnnjax.run(cell, params, xs)[1] ** 2).sum()
      >>> a, b = jax.grad(loss(kept))(params), jax.grad(loss(remat(kept, every="sqrt")))(params)
      >>> np.testing.assert_allclose(a[1]["u"], b[1]["u"], rtol=1e-5)

    Reference: Chen, Xu, Zhang, Guestrin, Training deep nets with sublinear memory cost, 2016.
    """
    again = cell.replace(
        step=jax.checkpoint(cell.step), window=None if cell.window is None else jax.checkpoint(cell.window)
    )
    if every is None:
        return again
    return chunk(again, _divisor_near_root if every == "sqrt" else every)


def _divisor_near_root(steps: int) -> int:
    """Returns the divisor of T nearest its root, if within a factor of two: a remainder would compile all twice."""
    root = math.isqrt(steps)
    divisors = (k for k in range((root + 1) // 2, 2 * root + 1) if steps % k == 0)
    return min(divisors, key=lambda k: abs(k - root), default=root)
