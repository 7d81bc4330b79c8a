"""The one type of this library, and what may be said of it.

A recurrent network is a step function. A `Cell` is that function together with the four that it needs:

    init(key, x) -> params                          params of a cell that will see inputs like x
    initial_carry(weights, x) -> carry              the state before the first input; x is read for its shape only
    step(weights, carry, x, key=None) -> (carry, y) one input; a `lax.scan` body once the weights are bound
    weights(params, key=None) -> weights            run once per window, never once per step
    window(weights, carry, xs, keys=None)           how a whole window runs fast, or None: scan the step
    output(carry) -> y                              the output as a function of the new carry, or None: it is more

One more function says how a cell that is made of cells is made again of other ones: `slow`, which `wrapper` sets.

The contract of a cell:

- It acts on one example, features last; `jax.vmap` makes batches. x, y and the carry are any pytrees.
- Every leaf of params, weights and carry is a real floating array, of the dtype of the (floating) input.
- `key=None` turns noise off. A key has the time axes of the input that it comes with.
- The shape and dtype of the carry never change. Numbers given to a factory may be tracers.
- The window agrees with the scan of the step in value and in gradient, with noise and without, on plain
  windows and on `Seq`. A wrapper that changes the step without knowing its window drops it: `with_step`.
- Where there is an `output`, step gives y = output(carry). A wrapper that changes y or the form of the carry sets
  another one or drops it. `zoneout` reads it.
- A fast window may have no forward mode (jvp, jacfwd, linearize). `without_fast(cell)` is the same cell with no such
  window in any of its parts. A function that makes a cell of cells is decorated with `wrapper`.
- A carry type that wraps the carry of the cell inside says so: `wrapping_carry`. One with memory cells: `memory_carry`.
- Leaves of params have the names of `rnnjax/base/_paths.py` where these have a meaning for others.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol

import jax

PyTree = Any
_Args = ParamSpec("_Args")


class Init(Protocol):
    """(key, x) -> params."""

    def __call__(self, key: jax.Array, x: PyTree, /) -> PyTree: ...


class _InitialCarry(Protocol):
    """(weights, x) -> carry."""

    def __call__(self, weights: PyTree, x: PyTree, /) -> PyTree: ...


class Step(Protocol):
    """(weights, carry, x, key) -> (carry, y); a window has the same form, one level up in time."""

    def __call__(
        self, weights: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None, /
    ) -> tuple[PyTree, PyTree]: ...


class Weights(Protocol):
    """(params, key) -> weights."""

    def __call__(self, params: PyTree, key: jax.Array | None = None, /) -> PyTree: ...


def identity(params: PyTree, key: jax.Array | None = None, /) -> PyTree:
    """The weights of most cells: their params."""
    return params


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """A step function and what it needs to run: see the contract at the top of this module.

    A Cell is not a pytree: given to a jitted function as an argument it fails at once. Close over it.

    Example:
      >>> import jax.numpy as jnp
      >>> counter = Cell(
      ...     init=lambda key, x: (),
      ...     initial_carry=lambda weights, x: jnp.zeros(()),
      ...     step=lambda weights, n, x, key=None: (n + 1.0, n * x),
      ... )
      >>> carry, y = run(counter, (), jnp.float32(3.0), carry=jnp.float32(2.0))
      >>> float(carry), float(y)
      (3.0, 6.0)
    """

    init: Init
    initial_carry: _InitialCarry
    step: Step
    weights: Weights = identity
    window: Step | None = None
    output: Callable[[PyTree], PyTree] | None = None
    slow: Callable[[], Cell] | None = None

    def replace(self, **changes: Any) -> Cell:
        """The same cell with some of its functions changed; made again of other parts it has the same changes."""
        slow = self.slow
        if slow is None or "slow" in changes:
            return dataclasses.replace(self, **changes)
        return dataclasses.replace(self, slow=lambda: slow().replace(**changes), **changes)


def with_step(cell: Cell, step: Step) -> Cell:
    """A cell with another step; its window and its output, which no longer tell the truth, are dropped.

    A step that gives the same values is `cell.replace(step=...)`, as in `cell.replace(step=jax.jit(cell.step))`.

    Example:
      >>> import rnnjax
      >>> with_step(rnnjax.lstm(4), lambda w, h, x, key=None: (h, x)).window is None
      True
    """
    return cell.replace(step=step, window=None, output=None)


def without_fast(cell: Cell) -> Cell:
    """The same cell without fast windows, its own and those of its parts: what forward mode needs.

    A hand-written backward pass has no forward mode. Here each step is scanned, so that jvp, jacfwd and linearize work,
    in whatever order functions are traced. Values and gradients are the same.

    Args:
      cell: what is built of the library's functions, or of functions decorated with `wrapper`. Any other function that
        puts a cell of windows into a closure of its own keeps the fast window there.

    Example: a directional derivative through an LSTM.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell, xs = without_fast(rnnjax.unroll(rnnjax.lstm(4))), jnp.ones((12, 3))
      >>> params = cell.init(jax.random.key(0), xs)
      >>> _, slope = jax.jvp(lambda p: rnnjax.run(cell, p, xs)[1].sum(), (params,), (params,))
      >>> bool(jnp.isfinite(slope))
      True
    """
    made = cell if cell.slow is None else cell.slow()
    return made if made.window is None else made.replace(window=None)


def wrapper(factory: Callable[_Args, Cell]) -> Callable[_Args, Cell]:
    """Decorates a function that makes a cell of cells: `without_fast` calls it again with parts without fast windows.

    Needed where a step or a window of the new cell calls that of a cell of windows. Cells are found among the arguments
    and in tuples, lists and other trees of them, not in functions.

    Example: half the outputs of whatever it is put around.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> @wrapper
      ... def halved(cell):
      ...     def step(weights, carry, x, key=None):
      ...         carry, y = cell.step(weights, carry, x, key)
      ...         return carry, y / 2
      ...     return rnnjax.with_step(cell, step)
      >>> cell, xs = without_fast(halved(rnnjax.unroll(rnnjax.lstm(4)))), jnp.ones((12, 3))
      >>> params = cell.init(jax.random.key(0), xs)
      >>> jax.jvp(lambda p: rnnjax.run(cell, p, xs)[1], (params,), (params,))[1].shape
      (12, 4)
    """

    def part(argument: Any) -> Any:
        return jax.tree.map(
            lambda a: without_fast(a) if isinstance(a, Cell) else a, argument, is_leaf=lambda a: isinstance(a, Cell)
        )

    @functools.wraps(factory)
    def make(*args: _Args.args, **kwargs: _Args.kwargs) -> Cell:
        def slow() -> Cell:
            return make(*map(part, args), **{name: part(a) for name, a in kwargs.items()})

        return factory(*args, **kwargs).replace(slow=slow)

    return make


# A wrapper that draws noise and hands its key on draws from fold(key, a tag of its own): a stack uses 0, 1, 2, ...
WEIGHTS_TAG, ZONEOUT_TAG = 0x57E16475, 0x20E0


def run(
    cell: Cell, params: PyTree, x: PyTree, carry: PyTree | None = None, key: jax.Array | None = None
) -> tuple[PyTree, PyTree]:
    """Runs a cell on one input; a window `[T, ...]` is one input of `unroll(cell)`.

    Args:
      cell: what to run.
      params: from `cell.init(key, x)`.
      x: one input.
      carry: the state to start from; None: `cell.initial_carry`.
      key: noise for dropout and its kin; None: none, as at evaluation.

    Returns:
      (carry, y): the state after the input, and the output.

    Example:
      >>> import jax, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> cell = rnnjax.unroll(rnnjax.lstm(4))
      >>> carry, ys = run(cell, cell.init(jax.random.key(1), xs), xs)
      >>> ys.shape
      (12, 4)
    """
    key = typed_key(key)
    weights = cell.weights(params, weights_key(key))
    carry = cell.initial_carry(weights, x) if carry is None else carry
    return cell.step(weights, carry, x, key)


def typed_key(key: Any) -> Any:
    """A key of `jax.random.PRNGKey`, or an array of such, as one of `jax.random.key`; anything else as it is."""
    legacy = key is not None and not jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
    return jax.random.wrap_key_data(key) if legacy else key


def weights_key(key: jax.Array | None) -> jax.Array | None:
    """The key for `Cell.weights` that goes with a key for `Cell.step`: one a window."""
    key = typed_key(key)
    return None if key is None else jax.random.fold_in(key.ravel()[0] if key.ndim else key, WEIGHTS_TAG)


def fold(key: jax.Array | None, tag: int | jax.Array) -> Any:
    """`jax.random.fold_in` for a key, an array of keys elementwise, or None."""
    key = typed_key(key)
    if key is None or key.ndim == 0:
        return key if key is None else jax.random.fold_in(key, tag)
    return jax.vmap(fold, (0, None))(key, tag)


def split(key: jax.Array | None, n: int) -> tuple[Any, ...]:
    """n keys of the shape of `key`, so that keys with a time axis split elementwise; n times None for None."""
    return tuple(fold(key, i) for i in range(n))


def out_shape(cell: Cell, params: PyTree, x: PyTree) -> PyTree:
    """The shape and dtype of a cell's output, as `jax.ShapeDtypeStruct`s; nothing is computed."""
    return jax.eval_shape(lambda p, x: run(cell, p, x)[1], params, x)
