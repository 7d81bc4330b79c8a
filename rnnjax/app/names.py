"""From a name on the command line to what it names: one of ours, or an import path."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import rnnjax
from rnnjax.base import Cell
from rnnjax.errors import UserError

T = TypeVar("T")


def cells() -> dict[str, Any]:
    """The layers that `--cell` may name: public factories of a hidden size that take any input."""
    layers = {n: getattr(rnnjax, n) for n in rnnjax.__all__ if not n.endswith("_core")}
    return {n: f for n, f in layers.items() if inspect.isfunction(f) and next(iter(parameters(f)), "") == "hidden"}


def parameters(f: Any) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function."""
    return inspect.signature(f).parameters


def resolve(flag: str, name: str, known: Mapping[str, Any]) -> Any:
    """What a name flag names: an entry of `known`, or what an import path `package.module:attribute` leads to.

    Raises:
      UserError: neither; the message names the nearest known name.

    Example:
      >>> resolve("cell", "math:cos", {})(0.0)
      1.0
      >>> resolve("cell", "lstn", {"lstm": None, "gru": None})
      Traceback (most recent call last):
      rnnjax.errors.UserError: unknown --cell=lstn: did you mean lstm? (known: gru, lstm; or an import path like a.b:c)
    """
    if name in known:
        return known[name]
    if ":" in name:
        return imported(flag, name)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    names = ", ".join(sorted(known))
    raise UserError(f"unknown --{flag}={name}: {hint}(known: {names}; or an import path like a.b:c)")


def imported(flag: str, path: str) -> Any:
    """What an import path leads to."""
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"--{flag}={path}: {error}") from error


def arguments(flag: str, text: str) -> dict[str, Any]:
    """Keyword arguments from `name=value,name=value`; values are Python literals, or names, which stay text.

    Raises:
      UserError: the text has another form.

    Example:
      >>> arguments("cell_args", "forget_bias=2.0,layer_norm=True")
      {'forget_bias': 2.0, 'layer_norm': True}
    """
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        return {str(k.arg): k.value.id if isinstance(k.value, ast.Name) else ast.literal_eval(k.value)
                for k in call.keywords}  # fmt: skip
    except (SyntaxError, ValueError, AssertionError) as error:
        raise UserError(f"--{flag}={text}: write name=value,name=value with Python literals") from error


def numbers(factory: Any, given: Mapping[str, Any]) -> dict[str, float]:
    """Those of the arguments given that the factory takes as numbers, which may be tracers.

    Example:
      >>> numbers(rnnjax.lstm, {"forget_bias": 2, "layer_norm": True})
      {'forget_bias': 2.0}
    """
    known = parameters(factory)
    return {
        name: float(value)
        for name, value in given.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in known and known[name].annotation in ("Any", "float", Any, float)
    }


def make_cell(name: str, hidden_size: int, cell_args: str | Mapping[str, Any] = "") -> Cell:
    """One layer: the named factory, called with the hidden size and `--cell_args`, as text or as a mapping.

    Example:
      >>> make_cell("lstm", 4, "forget_bias=0.0").window is None
      False
    """
    return made(cells(), Cell, name, hidden_size, cell_args)


def made(
    known: Mapping[str, Any], kind: type[T], name: str, hidden_size: int, cell_args: str | Mapping[str, Any] = ""
) -> T:
    """What a factory among `known`, or at an import path, makes of the hidden size and `--cell_args`."""
    factory = resolve("cell", name, known)
    try:
        given = arguments("cell_args", cell_args) if isinstance(cell_args, str) else cell_args
        cell = factory(hidden_size, **given)
    except (TypeError, ValueError) as error:
        raise UserError(f"--cell={name} --hidden_size={hidden_size} --cell_args={cell_args!r}: {error}") from error
    if not isinstance(cell, kind):
        raise UserError(f"--cell={name} gives {type(cell).__name__}, not a rnnjax.{kind.__name__}")
    return cell
