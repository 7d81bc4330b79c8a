"""Inputs, params and carries that do not fit a cell, said in one line.

Shapes are compared while a program is traced, most of them only when that has failed: a compiled program is the same.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from rnnjax.base._arguments import beyond_32_bits
from rnnjax.base._shapes import (
    LONGEST,
    features_of,
    has_no_floats,
    is_no_float,
    is_seq,
    map_features,
    num_features,
    same_structure,
    shapes_by_path,
    short_shapes,
    with_num_features,
)

_Cell: TypeAlias = Any  # the types themselves are defined above this file
_PyTree: TypeAlias = Any
_Fits = Callable[[Any], bool]
_trying = contextvars.ContextVar("_trying", default=False)
_ABSENT = object()  # params of `init`, which has none
_FLOATS = "integers where floating numbers are wanted, x.astype(float) or embed or one_hot before the cell"
_REALS = "complex where real numbers are wanted, as in jnp.concatenate([x.real, x.imag], -1)"
_UNROLLED_TWICE = "the cell inside unroll takes windows already: leave one unroll out"
_AXES = {0: "", 1: "one axis too many", 2: "two axes too many", -1: "one axis too few", -2: "two axes too few"}


@contextlib.contextmanager
def explained(cell: _Cell, x: _PyTree, params: _PyTree = _ABSENT, key: jax.Array | None = None) -> Iterator[None]:
    """Where the body fails since x, params or the carry do not fit the cell, says which; other errors pass.

    Params and the key are those given to `run`; in `init` there are none.

    Raises:
      ValueError: of one line, with what was given and what is wanted.
    """
    _check_numbers(x)
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        line = None if _trying.get() else _misfit(cell, x, params, key)
        if line is None:
            raise
        raise ValueError(line) from error


def _check_numbers(x: _PyTree) -> None:
    """Refuses what is neither an array of numbers nor a number, such as a text."""
    for leaf in jax.tree.leaves(features_of(x)):
        if not hasattr(leaf, "dtype") and not isinstance(leaf, int | float | complex):
            raise ValueError(f"x holds {leaf!r:.40}: an array of numbers is wanted")
        if getattr(getattr(leaf, "dtype", None), "kind", "") in ("O", "S", "U"):
            raise ValueError(f"x holds an array of {leaf.dtype}: one of numbers is wanted")


def check_inputs(cell: _Cell, x: _PyTree) -> None:
    """Refuses integers and complex numbers where params or a carry would be of that kind too, and beyond 32 bits."""
    for wide in filter(None, map(beyond_32_bits, jax.tree.leaves(x))):
        raise ValueError(f"x holds {wide}, and integers have 32 bits here")
    if _trying.get() or not has_no_floats(x) or _holds_floats(cell, x) is not False:
        return
    if _holds_floats(cell, _changed(x, 0, False, True)):
        raise ValueError(f"x is {short_shapes(x)}: {_why_unreal(x)}")


def check_key(key: Any, any_rank: bool = False) -> None:
    """Refuses what is not a key, such as a seed; of arrays of keys, those that have a time axis too where any_rank."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    legacy = dtype == jnp.uint32 and shape != ()
    if not typed and not legacy:
        given = f"{dtype} {list(shape)}" if shape is not None and dtype is not None else f"{key!r:.40}"
        raise ValueError(f"key is {given}, wanted one of jax.random.key(seed)")
    if not any_rank and shape is not None and len(shape) > legacy:
        raise ValueError(f"key is an array of keys {list(shape)}, wanted one key: jax.vmap runs init for each of them")


def check_carry(cell: _Cell, weights: _PyTree, x: _PyTree, carry: _PyTree) -> None:
    """Refuses a carry of another structure or other shapes than that which the cell starts with."""
    try:
        wanted = jax.eval_shape(cell.initial_carry, weights, x)
    except Exception:  # what is wrong here is not the carry
        return
    if not same_structure(carry, wanted) or shapes_by_path(carry) != shapes_by_path(wanted):
        raise ValueError(_carry_line(wanted, carry))


def _misfit(cell: _Cell, x: _PyTree, params: _PyTree, key: jax.Array | None) -> str | None:
    """The line for what does not fit; None: all seems to, what failed is something else."""

    def fits(x: _PyTree) -> bool:
        return _runs(cell, x, key)

    def fits_params(x: _PyTree) -> bool:
        return fits(x) and _wanted(cell, x) == shapes_by_path(params)

    known = None if params is _ABSENT else params
    token = _trying.set(True)
    try:
        if not fits(x):
            line = _list_line(fits, x) or _input_line(fits, x, cell) or _features_line(fits, cell, x, known)
            return line or _unrolled_line(cell, x)
        if params is _ABSENT:
            return None
        if _wanted(cell, x) == shapes_by_path(params):
            return _dtypes_line(x, params)
        if not shapes_by_path(params):
            return f"params are {short_shapes(params)}, wanted those of cell.init(key, x)"
        lines = _features_line(fits, cell, x, params), _input_line(fits_params, x, cell)
        return lines[0] or lines[1] or _params_line(cell, x, params)
    finally:
        _trying.reset(token)


def _runs(cell: _Cell, x: _PyTree, key: jax.Array | None) -> bool:
    """Whether a cell with params of its own takes an input like x."""

    def run(x: _PyTree) -> _PyTree:
        weights = cell.weights(cell.init(jax.random.key(0), x), None)
        return cell.step(weights, cell.initial_carry(weights, x), x, key)

    try:
        jax.eval_shape(run, x)
    except Exception:  # a trial: any failure is an answer
        return False
    return True


def _holds_floats(cell: _Cell, x: _PyTree) -> bool | None:
    """Whether params and carry are of floating numbers for inputs like x; None where the cell takes no such x."""

    def held(x: _PyTree) -> _PyTree:
        params = cell.init(jax.random.key(0), x)
        return params, cell.initial_carry(cell.weights(params, None), x)

    token = _trying.set(True)
    try:
        leaves = jax.tree.leaves(jax.eval_shape(held, x))
    except Exception:  # a trial
        return None
    finally:
        _trying.reset(token)
    return all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)


def _list_line(fits: _Fits, x: _PyTree) -> str | None:
    """A list of steps or numbers, which is a tree of many inputs, where its array is wanted."""
    inputs = features_of(x)
    if isinstance(inputs, list | tuple):
        with contextlib.suppress(Exception):  # a trial
            array = jax.eval_shape(lambda: jnp.asarray(inputs))
            if fits(x._replace(x=array) if is_seq(x) else array):
                return (
                    f"x is a {type(inputs).__name__} of {len(inputs)}: jnp.asarray makes it the array {[*array.shape]}"
                )
    return None


def _dtypes_line(x: _PyTree, params: _PyTree) -> str | None:
    """Params and inputs of different floating types, which a loop cannot carry."""
    given, has = (
        sorted({jnp.result_type(a).name for a in jax.tree.leaves(tree) if not is_no_float(jnp.result_type(a))})
        for tree in (params, features_of(x))
    )
    if given and has and given != has:
        return f"params are {', '.join(given)} and x is {', '.join(has)}: cast one of them, as in x.astype"
    return None


def _input_line(fits: _Fits, x: _PyTree, cell: _Cell) -> str | None:
    """What must change in x, its axes or its dtype or both, before the cell takes it."""
    unreal = has_no_floats(x)
    for floating in (False, True) if unreal else (False,):
        for axes in _AXES:
            for leading in (False, True) if axes < 0 else (True,):
                with contextlib.suppress(IndexError, TypeError, ValueError):
                    if fits(_changed(x, axes, leading, floating)):
                        why = _why_unreal(x) if floating else ""
                        advice = _advice(x, axes, unreal and not floating, not leading and not _inner_takes(cell, x))
                        return f"x is {short_shapes(x)}: {'; '.join(filter(None, (advice, why)))}"
    return None


def _unrolled_line(cell: _Cell, x: _PyTree) -> str | None:
    """A cell of windows inside `unroll`, whose windows of windows some part of it does not take either."""
    with contextlib.suppress(Exception):  # a trial
        step = jax.eval_shape(lambda x: jax.tree.map(lambda a: a[0], x), x)
        if (
            cell.made is not None
            and cell.made.name == "unroll"
            and _inner_takes(cell, x)
            and not _runs(cell.made.args[0], step, None)
        ):
            return f"x is {short_shapes(x)}: {_UNROLLED_TWICE}"
    return None


def _inner_takes(cell: _Cell, x: _PyTree) -> bool:
    """Whether a part of the cell takes x as a window: then its carry does not depend on the first axis of x."""

    def carry(part: _Cell, x: _PyTree) -> dict[str, tuple[int, ...]]:
        def start(x: _PyTree) -> _PyTree:
            return part.initial_carry(part.weights(part.init(jax.random.key(0), x)), x)

        return shapes_by_path(jax.eval_shape(start, x))

    longer = jax.eval_shape(lambda x: jax.tree.map(lambda a: jnp.concatenate([a, a[:1]]), x), x)
    parts = [part for part in (cell.made.args if cell.made is not None else ()) if isinstance(part, type(cell))]
    return any(_runs(part, x, None) and carry(part, x) == carry(part, longer) for part in parts)


def _advice(x: _PyTree, axes: int, symbols: bool, channels: bool) -> str:
    """What to do about axes that are too many or too few; symbols have no features, but pictures have channels."""
    rank = max((jnp.ndim(a) for a in jax.tree.leaves(features_of(x))), default=0)
    if axes == 0:
        return ""
    if axes > 0:
        return f"{_AXES[axes]}, jax.vmap runs a batch of inputs and unroll(cell) a window of steps"
    if rank > (not symbols) and channels:
        return f"{_AXES[axes]}, features or channels come last, as in x[..., None]"
    if rank > (not symbols):
        return f"{_AXES[axes]}, {_UNROLLED_TWICE}"
    return f"{_AXES[axes]}, " + ("" if symbols else "features come last, as in [T, 1], and ") + "x[None] is one step"


def _changed(x: _PyTree, axes: int, leading: bool, floating: bool) -> _PyTree:
    """The shapes of x without its first axes, or with more of size one at an end, and as floating numbers."""

    def change(x: _PyTree) -> _PyTree:
        if floating:
            x = jax.tree.map(lambda a: jnp.zeros(a.shape) if is_no_float(a.dtype) else a, x)
        for _ in range(abs(axes)):
            if leading:
                x = jax.tree.map(lambda a: a[0] if axes > 0 else a[None], x)
            else:
                x = map_features(lambda a: a[..., None], x)
        return x

    return jax.eval_shape(change, x)


def _wanted(cell: _Cell, x: _PyTree) -> dict[str, tuple[int, ...]]:
    """The shapes of a cell's params for inputs like x."""
    return shapes_by_path(jax.eval_shape(lambda x: cell.init(jax.random.key(0), x), x))


def _features_line(fits: _Fits, cell: _Cell, x: _PyTree, params: _PyTree) -> str | None:
    """Says for how many features params are, where x has another number of them."""
    given = {} if has_no_floats(x) else shapes_by_path(params)
    for features in _likely_features(cell, x, given) - {num_features(x)}:
        with contextlib.suppress(Exception):  # a trial
            other = with_num_features(x, features)
            if _wanted(cell, other) == given and fits(other):
                return f"params are for {features} features, x {short_shapes(x)} has {num_features(x)}"
    return None


def _likely_features(cell: _Cell, x: _PyTree, given: dict[str, tuple[int, ...]]) -> set[int]:
    """Sizes in the params, and what a size that differs leads to: features beside others, or of several steps."""
    likely, n = {size for shape in given.values() for size in shape}, num_features(x)
    with contextlib.suppress(Exception):  # the cell takes no such x at all
        for name, shape in _wanted(cell, x).items():
            for has, needs in zip(given.get(name, ()), shape):
                likely |= {n + has - needs, n * has // needs}
    return {size for size in likely if size > 0}


def _params_line(cell: _Cell, x: _PyTree, params: _PyTree) -> str | None:
    """How params differ from those of the cell; None if they do not."""
    given, wanted = shapes_by_path(params), _wanted(cell, x)
    missing, over = [n for n in wanted if n not in given], [n for n in given if n not in wanted]
    if missing or over:
        kinds = ((missing, wanted, "missing"), (over, given, "one too many"))
        parts = [f"{names[0][-LONGEST:]} {list(of[names[0]])} is {what}" for names, of, what in kinds if names]
        return f"params are of another cell: {' and '.join(parts)}"
    for name in (n for n in wanted if wanted[n] != given[n]):
        shapes = f"is {list(given[name])}, wanted {list(wanted[name])}"
        return f"params are of another cell or size: {name[-LONGEST:]} {shapes} for x {short_shapes(x)}"
    return None


def _carry_line(wanted: _PyTree, carry: _PyTree) -> str:
    """How a carry differs from that which a cell starts with."""
    given, right = shapes_by_path(carry), shapes_by_path(wanted)
    if same_structure(carry, wanted):
        name = next(n for n in right if right[n] != given[n])
        return f"carry{'/' * bool(name)}{name[-LONGEST:]} is {list(given[name])}, wanted {list(right[name])}"
    return f"carry is {short_shapes(carry)}, wanted {short_shapes(wanted)}"


def _why_unreal(x: _PyTree) -> str:
    """What is wrong with numbers that are not floating."""
    return _REALS if any(jnp.iscomplexobj(a) for a in jax.tree.leaves(features_of(x))) else _FLOATS
