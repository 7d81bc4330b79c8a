"""Baselines without learned recurrence, as cells: a sliding window, a bag, weights per position, a convolution.

Each is a memory without weights followed by an ordinary layer, so the same training loop and budget apply.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rnnjax.base import Cell, PyTree, Seq, check_size, factory, stack
from rnnjax.base._checks import no_params
from rnnjax.base._numerics import at_least_single
from rnnjax.base._outputs import carry_itself
from rnnjax.base._unroll import scan_window
from rnnjax.cells._feedforward import linear, pointwise


def _carry_only_cell(start: Any, step: Any, output: Any = None) -> Cell:
    """Returns a cell without params from (x) -> carry, (carry, x) -> (carry, y), and carry -> y if there is one."""
    return Cell(lambda key, x: (), lambda w, x: start(x), lambda w, h, x, key=None: step(h, x), output=output)


@factory
def delay_line(k: int) -> Cell:
    """Concatenates the last k inputs, with zeros before the first.

        y_t = [x_t, x_{t-1}, ..., x_{t-k+1}]

    Args:
      k: at least 1.

    Raises:
      ValueError: k is below 1.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> print(rnnjax.run(rnnjax.unroll(delay_line(3)), (), jnp.array([[1.0], [2.0], [3.0], [4.0]]))[1])
      [[1. 0. 0.] [2. 1. 0.] [3. 2. 1.] [4. 3. 2.]]
    """
    check_size("delay_line: k", k)

    def start(x: jax.Array) -> jax.Array:
        return jnp.zeros((k - 1, *x.shape), x.dtype)

    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        both = jnp.concatenate([x[None], h])
        return both[: k - 1], both.reshape(-1)

    slow = _carry_only_cell(start, step)
    slow = slow.replace(init=no_params("delay_line"))

    def window(w: PyTree, h: jax.Array, xs: PyTree, keys: jax.Array | None = None) -> tuple[jax.Array, PyTree]:
        if isinstance(xs, Seq):
            return scan_window(slow)(w, h, xs, keys)
        line, steps = jnp.concatenate([h[::-1], xs]), len(xs)
        ys = jnp.concatenate([line[k - 1 - i : k - 1 - i + steps] for i in range(k)], axis=-1)
        return line[steps:][::-1], ys

    return slow.replace(window=window)


class _Count(NamedTuple):
    """A mean and a count, each stored as parts that add up to it: see `_in_parts`."""

    mean: Any
    n: Any


def _in_parts(value: jax.Array, dtype: Any) -> jax.Array:
    """Splits a number into `[parts, ...]` that add up to it: half precision needs three to count beyond 256."""
    parts, rest = [], value
    for _ in range(3 if jnp.finfo(dtype).bits < 32 else 1):
        parts.append(rest.astype(dtype))
        rest = rest - parts[-1].astype(rest.dtype)
    return jnp.stack(parts)


@factory
def mean_so_far() -> Cell:
    """Returns the mean of all inputs so far, which ignores their order.

    Half precision is as exact as float32: the carry stores mean and count in three parts each.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> print(rnnjax.run(rnnjax.unroll(mean_so_far()), (), jnp.array([[1.0], [3.0]]))[1])
      [[1.] [2.]]
    """

    def start(x: jax.Array) -> _Count:
        return _Count(_in_parts(jnp.zeros(x.shape, x.dtype), x.dtype), _in_parts(jnp.zeros((), x.dtype), x.dtype))

    def step(h: _Count, x: jax.Array) -> tuple[_Count, jax.Array]:
        mean, n = (at_least_single(part).sum(0) for part in h)
        n = n + 1
        mean = mean + (at_least_single(x) - mean) / n
        return _Count(_in_parts(mean, x.dtype), _in_parts(n, x.dtype)), mean.astype(x.dtype)

    return _carry_only_cell(start, step)


@factory
def max_so_far() -> Cell:
    """Returns the largest value of each feature so far, at least 0.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> print(rnnjax.run(rnnjax.unroll(max_so_far()), (), jnp.array([[1.0], [3.0], [2.0]]))[1])
      [[1.] [3.] [3.]]
    """

    def step(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = jnp.maximum(h, x)
        return h, h

    return _carry_only_cell(lambda x: jnp.zeros(x.shape, x.dtype), step, carry_itself)


class _Slots(NamedTuple):
    """The inputs so far, each in its slot, and a one-hot marker of the next slot."""

    inputs: Any
    next: Any


@factory
def input_slots(length: int) -> Cell:
    """Stores all inputs so far in `length` slots, with zeros in empty ones; inputs beyond `length` are dropped.

    Example:
      >>> import jax.numpy as jnp, rnnjax
      >>> print(rnnjax.run(rnnjax.unroll(input_slots(2)), (), jnp.array([[1.0], [2.0], [3.0]]))[1])
      [[1. 0.] [1. 2.] [1. 2.]]
    """
    check_size("input_slots: length", length)

    def start(x: jax.Array) -> _Slots:
        return _Slots(jnp.zeros((length, *x.shape), x.dtype), jnp.eye(1, length, dtype=x.dtype)[0])

    def step(h: _Slots, x: jax.Array) -> tuple[_Slots, jax.Array]:
        inputs = h.inputs + jnp.expand_dims(h.next, tuple(range(1, 1 + x.ndim))) * x[None]
        return _Slots(inputs, jnp.roll(h.next, 1).at[0].set(0)), inputs.reshape(-1)

    cell = _carry_only_cell(start, step, lambda h: h.inputs.reshape(-1))
    return cell.replace(init=no_params("input_slots"))


@factory
def time_delay(hidden: int, k: int = 8) -> Cell:
    """A layer on the last k inputs; it cannot use older ones. The params are those of `linear` on k inputs.

        y_t = tanh([x_t, ..., x_{t-k+1}] w + b)

    Example:
      >>> import jax, jax.numpy as jnp
      >>> time_delay(4, k=3).init(jax.random.key(0), jnp.ones(5))[1]["w"].shape
      (15, 4)

    Reference: Waibel et al., Phoneme recognition using time-delay neural networks, 1989.
    """
    check_size("time_delay: hidden", hidden)
    return stack(delay_line(k), linear(hidden), pointwise(jnp.tanh))


@factory
def bag_of_inputs(hidden: int) -> Cell:
    """A layer on the mean of all inputs so far: a bag of words if the inputs are words.

        y_t = tanh(mean(x_1 .. x_t) w + b)

    Example: the order makes no difference.
      >>> import jax, jax.numpy as jnp, numpy as np, rnnjax
      >>> cell, xs = rnnjax.unroll(bag_of_inputs(4)), jnp.arange(6.0).reshape(3, 2)
      >>> params = cell.init(jax.random.key(0), xs)
      >>> a, b = (rnnjax.run(cell, params, x)[1][-1] for x in (xs, xs[::-1]))
      >>> np.testing.assert_allclose(a, b, rtol=1e-6)
    """
    check_size("bag_of_inputs: hidden", hidden)
    return stack(mean_so_far(), linear(hidden), pointwise(jnp.tanh))


@factory
def convolution(hidden: int, k: int = 5) -> Cell:
    """A convolution over time followed by the largest value of each feature so far.

        y_t = max_{s <= t} relu([x_s, ..., x_{s-k+1}] w + b)

    Example:
      >>> import jax, jax.numpy as jnp
      >>> convolution(4, k=3).init(jax.random.key(0), jnp.ones(5))[1]["w"].shape
      (15, 4)

    Reference: Kim, Convolutional neural networks for sentence classification, 2014.
    """
    check_size("convolution: hidden", hidden)
    return stack(delay_line(k), linear(hidden), pointwise(jax.nn.relu), max_so_far())


@factory
def per_position(hidden: int, length: int = 100) -> Cell:
    """A feed-forward layer with separate weights for each position; nothing learned at one position applies to another.

        y_t = tanh(x_1 w_1 + ... + x_t w_t + b)

    Args:
      hidden: the number of units.
      length: the number of positions with weights; later inputs are ignored.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> per_position(4, length=10).init(jax.random.key(0), jnp.ones(5))[1]["w"].shape
      (50, 4)
    """
    check_size("per_position: hidden", hidden)
    return stack(input_slots(length), linear(hidden), pointwise(jnp.tanh))
