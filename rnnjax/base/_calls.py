"""The call that built a cell: how a cell says what it is, and how it is built again from other parts."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """A call of a function that returns a cell, with its arguments as given.

    Attributes:
      function: that was called.
      args: without a name.
      kwargs: by name.
      method: whether the first argument is the object whose method was called.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    method: bool = False

    @property
    def name(self) -> str:
        """The name of the function, after a dot for a method."""
        return f".{self.function.__name__}" if self.method else self.function.__name__

    def arguments(self) -> list[tuple[str, Any]]:
        """Returns the arguments with their names, which are "" for those without one."""
        return [("", value) for value in self.args] + list(self.kwargs.items())

    def repeated(self, change: Callable[[str, Any], Any]) -> Any:
        """Calls the function again, with change(place, argument) for each argument; places are unique strings."""
        args = [change(str(i), value) for i, value in enumerate(self.args)]
        return self.function(*args, **{name: change(name, value) for name, value in self.kwargs.items()})

    def __str__(self) -> str:
        given = self.arguments()
        start = as_source(given.pop(0)[1]) if self.method else ""
        return (
            f"{start}{self.name}({', '.join(f'{name}={as_source(v)}' if name else as_source(v) for name, v in given)})"
        )


def as_source(value: Any) -> str:
    """Returns an argument as source code; functions, types and arrays, which have none, as a short description.

    Example:
      >>> as_source([1, 2.5, (None,)]), as_source({"a": "b"}), as_source(np.float32(0.5)), as_source(np.zeros((2, 3)))
      ('[1, 2.5, (None,)]', "{'a': 'b'}", '0.5', 'float64[2, 3]')
    """
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        fields = zip(value._fields, value)
        return f"{type(value).__name__}({', '.join(f'{name}={as_source(item)}' for name, item in fields)})"
    if isinstance(value, tuple):
        return f"({', '.join(map(as_source, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(as_source, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{as_source(k)}: {as_source(v)}' for k, v in value.items())}}}"
    if isinstance(value, (np.generic, np.ndarray, jax.Array)):
        traced = isinstance(value, jax.core.Tracer)
        return f"{value.dtype}{list(value.shape)}" if value.ndim or traced else repr(value.item())
    if isinstance(value, type) or (callable(value) and hasattr(value, "__name__") and not hasattr(value, "made")):
        return str(value.__name__)
    return repr(value) if isinstance(value, (int, float, complex, str, bytes, type(None))) else _described(value)


def _described(value: Any) -> str:
    """Returns the repr of a value if it is short and does not hold an address, else the name of its type."""
    text = repr(value)
    return text if " at 0x" not in text and "\n" not in text else f"<{type(value).__name__}>"


def is_plain_function(value: Any) -> bool:
    """Returns whether a value is a function written in Python, which may return a cell."""
    return isinstance(value, types.FunctionType)
