"""The Cell type and its contract.

A recurrent network is a step function. A `Cell` is that function together with the functions that it needs:

    init(key, x) -> params                          params of a cell for inputs like x
    initial_carry(weights, x) -> carry              the state before the first input; only the shape of x is used
    step(weights, carry, x, key=None) -> (carry, y) one input; a `lax.scan` body once the weights are bound
    weights(params, key=None) -> weights            runs once per window, never once per step
    window(weights, carry, xs, keys=None)           a fast implementation of a whole window; None: scan the step
    output(carry) -> y                              the output as a function of the new carry; None: y depends on more

One more function, `slow`, rebuilds a cell that is made of other cells from different parts; `wrapper` sets it. `made`
is the call that built the cell, which its `repr` shows; `factory` and `wrapper` set it.

The contract of a cell:

- It acts on one example, features last; `jax.vmap` makes batches. x, y and the carry are any pytrees.
- Every leaf of params, weights and carry is a real floating array, of the dtype of the (floating) input.
- `key=None` turns noise off. A key has the same time axes as its input.
- The shape and dtype of the carry never change. Numbers given to a factory may be tracers.
- The window agrees with the scan of the step in value and in gradient, with noise and without, on plain inputs and on
  `Seq`. A wrapper that changes the step without changing the window drops the window: `with_step`.
- If there is an `output`, step returns y = output(carry). A wrapper that changes y or the form of the carry replaces
  or drops it. `zoneout` uses it.
- A fast window may lack forward mode (jvp, jacfwd, linearize). `without_fast(cell)` is the same cell without such a
  window in any of its parts. A function that builds a cell from cells is decorated with `wrapper`.
- A carry type that wraps another carry is decorated with `wrapping_carry`; one with memory cells with `memory_carry`.
- A leaf of params whose role has a name in `rnnjax/base/_paths.py` uses that name.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

import jax

from rnnjax.base._calls import Call
from rnnjax.base._misfits import check_carry, check_inputs, check_key, explained

PyTree = Any
_Args = ParamSpec("_Args")
_Made = TypeVar("_Made", bound="Cell")


class Init(Protocol):
    """(key, x) -> params."""

    def __call__(self, key: jax.Array, x: PyTree, /) -> PyTree: ...


class _InitialCarry(Protocol):
    """(weights, x) -> carry."""

    def __call__(self, weights: PyTree, x: PyTree, /) -> PyTree: ...


class Step(Protocol):
    """(weights, carry, x, key) -> (carry, y); a window has the same form with a leading time axis."""

    def __call__(
        self, weights: PyTree, carry: PyTree, x: PyTree, key: jax.Array | None = None, /
    ) -> tuple[PyTree, PyTree]: ...


class Weights(Protocol):
    """(params, key) -> weights."""

    def __call__(self, params: PyTree, key: jax.Array | None = None, /) -> PyTree: ...


def identity(params: PyTree, key: jax.Array | None = None, /) -> PyTree:
    """Returns the params: the weights function of most cells."""
    return params


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Cell:
    """A step function and the functions it needs to run; see the contract at the top of this module.

    A Cell is not a pytree and cannot be an argument of a jitted function. Close over it instead.

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

      A cell of a factory tells how it was made:
      >>> import rnnjax
      >>> rnnjax.stack(rnnjax.lstm(40), rnnjax.gru(20, keep=False))
      stack(lstm(40), gru(20, keep=False))
    """

    init: Init
    initial_carry: _InitialCarry
    step: Step
    weights: Weights = identity
    window: Step | None = None
    output: Callable[[PyTree], PyTree] | None = None
    slow: Callable[[], Cell] | None = None
    made: Call | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "init", _checked_init(self, getattr(self.init, "unchecked", self.init)))

    def replace(self, **changes: Any) -> Cell:
        """Returns the cell with some of its functions replaced; rebuilding it from other parts keeps the changes."""
        slow, made = self.slow, Call(Cell.replace, (self,), changes, method=True)
        if slow is None or "slow" in changes:
            return dataclasses.replace(self, **{"made": made, **changes})
        return dataclasses.replace(self, slow=lambda: slow().replace(**changes), **{"made": made, **changes})

    def __repr__(self) -> str:
        of = getattr(self.step, "__qualname__", type(self.step).__name__)
        return f"<{type(self).__name__} of {of}>" if self.made is None else str(self.made)


def _checked_init(cell: Cell, init: Init) -> Init:
    """Returns the init of a cell with a check of its key and its input."""

    @functools.wraps(init)
    def checked(key: jax.Array, x: PyTree) -> PyTree:
        check_key(key)
        with explained(cell, x):
            check_inputs(cell, x)
            return init(key, x)

    checked.unchecked = init  # type: ignore[attr-defined]
    return checked


def check_cell(what: str, value: Any, kind: str = "") -> None:
    """Rejects what is not a cell, such as a function that makes one.

    Args:
      what: the function that takes the cell.
      value: its argument.
      kind: name of an attribute that makes other objects acceptable too; "weights" for wrappers of weights alone.

    Raises:
      ValueError: of one line that says what was given.
    """
    if not isinstance(value, Cell) and not (kind and hasattr(value, kind)):
        name = getattr(value, "__name__", None) if callable(value) else None
        given = f"the function {name}: call it, as in {name}(128)" if name else type(value).__name__
        more = ": give the cells one by one, as in stack(a, b)" if isinstance(value, list | tuple) else ""
        raise ValueError(f"{what} takes a cell, got {given}{more}")


def factory(make: Callable[_Args, _Made]) -> Callable[_Args, _Made]:
    """Decorates a function that builds a cell, so that the cell's `repr` is its call, and `describe` knows its parts.

    Example:
      >>> import rnnjax
      >>> @factory
      ... def narrow(hidden, depth=1):
      ...     return rnnjax.stack(*[rnnjax.linear(hidden)] * depth)
      >>> narrow(4, depth=2)
      narrow(4, depth=2)
    """

    @functools.wraps(make)
    def made(*args: _Args.args, **kwargs: _Args.kwargs) -> _Made:
        cell: Any = make(*args, **kwargs)
        known = isinstance(cell, Cell)  # wrappers of weights also take cells of another kind, such as those of trees
        return dataclasses.replace(cell, made=Call(made, args, kwargs)) if known else cell

    return made


@factory
def with_step(cell: Cell, step: Step) -> Cell:
    """Returns a cell with another step, without the window and output, which may no longer be correct.

    For a step with the same values use `cell.replace(step=...)`, as in `cell.replace(step=jax.jit(cell.step))`.

    Example:
      >>> import rnnjax
      >>> with_step(rnnjax.lstm(4), lambda w, h, x, key=None: (h, x)).window is None
      True
    """
    check_cell("with_step", cell)
    return cell.replace(step=step, window=None, output=None)


def without_fast(cell: Cell) -> Cell:
    """Returns the same cell without fast windows in any of its parts, as forward mode requires.

    A hand-written backward pass has no forward mode. The returned cell scans each step, so jvp, jacfwd and linearize
    work, in any nesting of transformations. Values and gradients are the same.

    Args:
      cell: a cell built by the library's functions, or by functions decorated with `wrapper`. Any other function that
        closes over a window cell keeps its fast window.

    Example: a directional derivative through an LSTM.
      >>> import jax, jax.numpy as jnp, rnnjax
      >>> cell, xs = without_fast(rnnjax.unroll(rnnjax.lstm(4))), jnp.ones((12, 3))
      >>> params = cell.init(jax.random.key(0), xs)
      >>> _, slope = jax.jvp(lambda p: rnnjax.run(cell, p, xs)[1].sum(), (params,), (params,))
      >>> bool(jnp.isfinite(slope))
      True
    """
    check_cell("without_fast", cell)
    rebuilt = cell if cell.slow is None else cell.slow()
    return rebuilt if rebuilt.window is None else rebuilt.replace(window=None)


def wrapper(build: Callable[_Args, Cell]) -> Callable[_Args, Cell]:
    """Decorates a function that builds a cell from cells, so that `without_fast` can rebuild it without fast windows.

    It is required if the step or window of the new cell calls that of a window cell, and does what `factory` does.
    Cells are found among the arguments and in tuples, lists and other trees of them, but not in functions.

    Example: a wrapper that halves the outputs of a cell.
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

    def part(place: str, argument: Any) -> Any:
        return jax.tree.map(
            lambda a: without_fast(a) if isinstance(a, Cell) else a, argument, is_leaf=lambda a: isinstance(a, Cell)
        )

    signature = inspect.signature(build)
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    cells = {n for n, p in signature.parameters.items() if p.annotation in ("Cell", Cell) and p.kind in plain}

    @functools.wraps(build)
    def make(*args: _Args.args, **kwargs: _Args.kwargs) -> Cell:
        given = signature.bind(*args, **kwargs).arguments
        for name in cells & given.keys():
            check_cell(build.__name__, given[name])
        call = Call(make, args, kwargs)
        return dataclasses.replace(build(*args, **kwargs), slow=lambda: call.repeated(part), made=call)

    return make


# A wrapper that draws noise and passes its key on draws from fold(key, its own tag): a stack uses 0, 1, 2, ...
WEIGHTS_TAG, ZONEOUT_TAG = 0x57E16475, 0x20E0


def run(
    cell: Cell, params: PyTree, x: PyTree, carry: PyTree | None = None, key: jax.Array | None = None
) -> tuple[PyTree, PyTree]:
    """Runs a cell on one input; for `unroll(cell)`, one input is a window `[T, ...]`.

    Args:
      cell: the cell to run.
      params: from `cell.init(key, x)`.
      x: one input.
      carry: the initial state; None: `cell.initial_carry`.
      key: the key for dropout and other noise; None: no noise, as in evaluation.

    Returns:
      (carry, y): the state after the input, and the output.

    Raises:
      ValueError: x, params or the carry do not fit the cell; one line says which, and what is wanted.

    Example:
      >>> import jax, rnnjax
      >>> xs = jax.random.normal(jax.random.key(0), (12, 3))
      >>> cell = rnnjax.unroll(rnnjax.lstm(4))
      >>> carry, ys = run(cell, cell.init(jax.random.key(1), xs), xs)
      >>> ys.shape
      (12, 4)
    """
    check_cell("run", cell)
    key = typed_key(key)
    with explained(cell, x, params, key):
        check_inputs(cell, x)
        weights = cell.weights(params, weights_key(key))
        if carry is None:
            carry = cell.initial_carry(weights, x)
        else:
            check_carry(cell, weights, x, carry)
        return cell.step(weights, carry, x, key)


def typed_key(key: Any) -> Any:
    """Returns a key, or array of keys, of `jax.random.PRNGKey` as one of `jax.random.key`; anything else unchanged."""
    if key is not None:
        check_key(key, any_rank=True)
    legacy = key is not None and not jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
    return jax.random.wrap_key_data(key) if legacy else key


def weights_key(key: jax.Array | None) -> jax.Array | None:
    """Returns the key for `Cell.weights` that belongs to a key for `Cell.step`: one per window."""
    key = typed_key(key)
    return None if key is None else jax.random.fold_in(key.ravel()[0] if key.ndim else key, WEIGHTS_TAG)


def fold(key: jax.Array | None, tag: int | jax.Array) -> Any:
    """`jax.random.fold_in` for a key, elementwise for an array of keys; None for None."""
    key = typed_key(key)
    if key is None or key.ndim == 0:
        return key if key is None else jax.random.fold_in(key, tag)
    return jax.vmap(fold, (0, None))(key, tag)


def split(key: jax.Array | None, n: int) -> tuple[Any, ...]:
    """Returns n keys of the shape of `key`, so keys with a time axis are split elementwise; n times None for None."""
    return tuple(fold(key, i) for i in range(n))


def out_shape(cell: Cell, params: PyTree, x: PyTree) -> PyTree:
    """Returns the shape and dtype of a cell's output as `jax.ShapeDtypeStruct`s, without computing it."""
    return jax.eval_shape(lambda p, x: run(cell, p, x)[1], params, x)
