"""Properties that a carry type declares: that it wraps another carry, or that it has memory cells."""

from __future__ import annotations

from typing import Any, TypeVar

import jax

from rnnjax.base._cell import PyTree

_Type = TypeVar("_Type", bound=type)
_WRAPPING: set[type] = set()
_WITH_MEMORY: set[type] = set()


def wrapping_carry(cls: _Type) -> _Type:
    """Decorates a NamedTuple whose field `carry` is that of the wrapped cell; its other fields belong to the wrapper.

    Functions that set a carry (`condition`, the bridge of `encoder_decoder`) then set the wrapped carry and leave the
    other fields at their initial values. A type without this decorator is an ordinary state, whatever its fields are
    called.

    Raises:
      ValueError: the class has no field `carry`.

    Example:
      >>> from typing import Any, NamedTuple
      >>> @wrapping_carry
      ... class Counted(NamedTuple):
      ...     carry: Any
      ...     steps: Any
      >>> is_wrapper_carry(Counted(carry=1.0, steps=0.0))
      True
    """
    return _marked(cls, "wrapping_carry", "carry", _WRAPPING)


def memory_carry(cls: _Type) -> _Type:
    """Decorates a NamedTuple whose field `c` holds memory cells, as in an LSTM.

    Analyses then also show the gradient along the memory cells only.

    Raises:
      ValueError: the class has no field `c`.

    Example:
      >>> import rnnjax
      >>> memory_carry(rnnjax.LSTMCarry) is rnnjax.LSTMCarry
      True
    """
    return _marked(cls, "memory_carry", "c", _WITH_MEMORY)


def _marked(cls: _Type, mark: str, field: str, types: set[type]) -> _Type:
    """Adds the class to a set of types, after checking its field, and returns it."""
    if field not in getattr(cls, "_fields", ()):
        raise ValueError(f"{mark} marks a NamedTuple with a field {field!r}; {cls.__name__} has none")
    types.add(cls)
    return cls


def is_wrapper_carry(node: Any) -> bool:
    """Returns whether this is a carry that wraps the carry of another cell."""
    return type(node) in _WRAPPING


def memory_cells(carry: PyTree) -> list[jax.Array]:
    """Returns the memory cells c of LSTMs and similar cells in a carry.

    Example:
      >>> import rnnjax, jax.numpy as jnp
      >>> print(memory_cells(((), rnnjax.LSTMCarry(c=jnp.ones(2), h=jnp.zeros(2)))))
      [Array([1., 1.], dtype=float32)]
    """

    def has_memory(node: Any) -> bool:
        return type(node) in _WITH_MEMORY

    return [node.c for node in jax.tree.leaves(carry, is_leaf=has_memory) if has_memory(node)]
