"""What a carry says of itself: that it wraps another one, or has memory cells. Other carries are left as they are."""

from __future__ import annotations

from typing import Any, TypeVar

import jax

from rnnjax.base._cell import PyTree

_Type = TypeVar("_Type", bound=type)
_WRAPPING: set[type] = set()
_WITH_MEMORY: set[type] = set()


def wrapping_carry(cls: _Type) -> _Type:
    """Decorates a NamedTuple whose field `carry` is that of the cell inside; its other fields are a wrapper's own.

    What makes a carry (`condition`, the bridge of `encoder_decoder`) then fills the carry inside and leaves the other
    fields as they start. A type without this mark is a state like any other, whatever its fields are called.

    Raises:
      ValueError: a class without a field `carry`.

    Example:
      >>> from typing import Any, NamedTuple
      >>> @wrapping_carry
      ... class Counted(NamedTuple):
      ...     carry: Any
      ...     steps: Any
      >>> wraps(Counted(carry=1.0, steps=0.0))
      True
    """
    return _marked(cls, "wrapping_carry", "carry", _WRAPPING)


def memory_carry(cls: _Type) -> _Type:
    """Decorates a NamedTuple whose field `c` holds memory cells, as that of an LSTM does.

    Analyses then show the gradient along the memory cells alone.

    Raises:
      ValueError: a class without a field `c`.

    Example:
      >>> import rnnjax
      >>> memory_carry(rnnjax.LSTMCarry) is rnnjax.LSTMCarry
      True
    """
    return _marked(cls, "memory_carry", "c", _WITH_MEMORY)


def _marked(cls: _Type, mark: str, field: str, types: set[type]) -> _Type:
    """The class, put among those of a kind."""
    if field not in getattr(cls, "_fields", ()):
        raise ValueError(f"{mark} marks a NamedTuple with a field {field!r}; {cls.__name__} has none")
    types.add(cls)
    return cls


def wraps(node: Any) -> bool:
    """Whether this is a carry that wraps that of the cell inside."""
    return type(node) in _WRAPPING


def memory_cells(carry: PyTree) -> list[jax.Array]:
    """The memory cells c of the LSTMs and their kin in a carry.

    Example:
      >>> import rnnjax, jax.numpy as jnp
      >>> print(memory_cells(((), rnnjax.LSTMCarry(c=jnp.ones(2), h=jnp.zeros(2)))))
      [Array([1., 1.], dtype=float32)]
    """

    def has_memory(node: Any) -> bool:
        return type(node) in _WITH_MEMORY

    return [node.c for node in jax.tree.leaves(carry, is_leaf=has_memory) if has_memory(node)]
