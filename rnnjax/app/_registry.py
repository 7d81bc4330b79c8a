"""Resolves names on the command line: known names or import paths."""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax

import rnnjax
from rnnjax._deprecated import NEW_VALUES, value_of_today
from rnnjax.app._faults import fault, named_faults
from rnnjax.base import Cell, UserError

_T = TypeVar("_T")


# The layers of `--cell`: each factory takes the number of units first, and returns a cell for any input.
CELLS: Mapping[str, Callable[..., Cell]] = {
    "alif": rnnjax.alif,
    "antisymmetric_rnn": rnnjax.antisymmetric_rnn,
    "atr": rnnjax.atr,
    "bag_of_inputs": rnnjax.bag_of_inputs,
    "brc": rnnjax.brc,
    "cfc": rnnjax.cfc,
    "cfn": rnnjax.cfn,
    "clockwork": rnnjax.clockwork,
    "convolution": rnnjax.convolution,
    "cornn": rnnjax.cornn,
    "ctrnn": rnnjax.ctrnn,
    "deep_transition": rnnjax.deep_transition,
    "delta_product": rnnjax.delta_product,
    "deltanet": rnnjax.deltanet,
    "dnc": rnnjax.dnc,
    "elman": rnnjax.elman,
    "esn": rnnjax.esn,
    "eunn": rnnjax.eunn,
    "exprnn": rnnjax.exprnn,
    "fastgrnn": rnnjax.fastgrnn,
    "fastrnn": rnnjax.fastrnn,
    "gated_deltanet": rnnjax.gated_deltanet,
    "gla": rnnjax.gla,
    "goru": rnnjax.goru,
    "gru": rnnjax.gru,
    "hgrn": rnnjax.hgrn,
    "indrnn": rnnjax.indrnn,
    "irnn": rnnjax.irnn,
    "janet": rnnjax.janet,
    "jordan": rnnjax.jordan,
    "lem": rnnjax.lem,
    "lif": rnnjax.lif,
    "ligru": rnnjax.ligru,
    "linear_attention": rnnjax.linear_attention,
    "linoss": rnnjax.linoss,
    "lmu": rnnjax.lmu,
    "lru": rnnjax.lru,
    "lstm": rnnjax.lstm,
    "ltc": rnnjax.ltc,
    "mamba2": rnnjax.mamba2,
    "mgu": rnnjax.mgu,
    "mingru": rnnjax.mingru,
    "minimal_rnn": rnnjax.minimal_rnn,
    "minlstm": rnnjax.minlstm,
    "mlstm": rnnjax.mlstm,
    "mut1": rnnjax.mut1,
    "mut3": rnnjax.mut3,
    "narx": rnnjax.narx,
    "nbrc": rnnjax.nbrc,
    "nnrnn": rnnjax.nnrnn,
    "ntm": rnnjax.ntm,
    "peephole_lstm": rnnjax.peephole_lstm,
    "per_position": rnnjax.per_position,
    "phased_lstm": rnnjax.phased_lstm,
    "plrnn": rnnjax.plrnn,
    "qrnn": rnnjax.qrnn,
    "ran": rnnjax.ran,
    "retnet": rnnjax.retnet,
    "rg_lru": rnnjax.rg_lru,
    "rhn": rnnjax.rhn,
    "rtu": rnnjax.rtu,
    "s4d": rnnjax.s4d,
    "s5": rnnjax.s5,
    "s6": rnnjax.s6,
    "scornn": rnnjax.scornn,
    "slstm": rnnjax.slstm,
    "sru": rnnjax.sru,
    "stack_rnn": rnnjax.stack_rnn,
    "tape_rnn": rnnjax.tape_rnn,
    "star": rnnjax.star,
    "tau_gru": rnnjax.tau_gru,
    "time_delay": rnnjax.time_delay,
    "ugrnn": rnnjax.ugrnn,
    "unicornn": rnnjax.unicornn,
    "urnn": rnnjax.urnn,
    "vanilla": rnnjax.vanilla,
}


def parameters(f: Any) -> Mapping[str, inspect.Parameter]:
    """Returns the parameters of a function; empty if it has no signature."""
    try:
        return inspect.signature(f).parameters
    except (TypeError, ValueError):
        return {}


def resolve(flag: str, name: str, known: Mapping[str, Any]) -> Any:
    """Returns the object of a name flag: an entry of `known`, or what an import path `package.module:attribute` names.

    Raises:
      UserError: the name is neither; the message suggests the nearest known name.

    Example:
      >>> resolve("cell", "math:cos", {})(0.0)
      1.0
      >>> resolve("cell", "lstn", {"lstm": None, "gru": None})
      Traceback (most recent call last):
      rnnjax.base.UserError: unknown --cell=lstn: did you mean lstm? (known: gru, lstm; or an import path like a.b:c)
    """
    if name not in known and NEW_VALUES.get(flag, {}).get(name) in known:
        name = value_of_today(flag, name)
    if name in known:
        return known[name]
    if ":" in name:
        return _import_attribute(flag, name)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    names = ", ".join(close[:1] if close and len(known) > 12 else sorted(known))
    more = f" and {len(known) - 1} more" if close and len(known) > 12 else ""
    raise UserError(f"unknown --{flag}={name}: {hint}(known: {names}{more}; or an import path like a.b:c)")


def _import_attribute(flag: str, path: str) -> Any:
    """Returns the object at an import path."""
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # importing a user's module can raise anything
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        said = str(error) if missing or (type(error) is AttributeError and attribute in str(error)) else fault(error)
        raise UserError(f"--{flag}={path}: {said}") from error


def parse_arguments(flag: str, text: str) -> dict[str, Any]:
    """Parses keyword arguments `name=value,name=value`; values are Python literals, or names, which become strings.

    Raises:
      UserError: the text has another form.

    Example:
      >>> parse_arguments("cell_args", "forget_bias=2.0,layer_norm=True")
      {'forget_bias': 2.0, 'layer_norm': True}
    """
    try:
        call = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError("not all of them have a name")
        return {
            str(k.arg): k.value.id if isinstance(k.value, ast.Name) else ast.literal_eval(k.value)
            for k in call.keywords
        }
    except (SyntaxError, ValueError) as error:
        raise UserError(f"--{flag}={text}: write name=value,name=value with Python literals") from error
    except (RecursionError, MemoryError) as error:
        raise UserError(f"--{flag}: the value is too long") from error


def _kind_of(parameter: inspect.Parameter) -> type | None:
    """Returns the type of a parameter if it can be determined: bool, int, float or str.

    The annotation determines it, or else the type of the default.

    Example:
      >>> def leaky(hidden: int, rate=0.1, bias=True, start=None): ...
      >>> [_kind_of(p) for p in parameters(leaky).values()]
      [<class 'int'>, <class 'float'>, <class 'bool'>, None]
    """
    for kind in (bool, int, float, str):
        if parameter.annotation in (kind, kind.__name__):
            return kind
    default = type(parameter.default)
    return default if default in (bool, int, float, str) else None


def numeric_arguments(factory: Any, given: Mapping[str, Any]) -> dict[str, float]:
    """Returns the given arguments that the factory takes as numbers, which may be tracers.

    A number is an argument that is annotated float or Any, or whose default is a float.

    Example:
      >>> numeric_arguments(rnnjax.lstm, {"forget_bias": 2, "layer_norm": True})
      {'forget_bias': 2.0}
      >>> numeric_arguments(lambda hidden, rate=0.1, depth=2: None, {"rate": 0.5, "depth": 3})
      {'rate': 0.5}
    """
    known = parameters(factory)
    return {
        name: float(value)
        for name, value in given.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in known and (_kind_of(known[name]) is float or known[name].annotation in ("Any", Any))
    }


def _check_arguments(factory: Any, given: Mapping[str, Any]) -> None:
    """Refuses values of another type than the factory takes. Tracers and arrays are accepted.

    Raises:
      TypeError: a value has another type, is not finite, or is an integer of more than 31 bits.

    Example:
      >>> _check_arguments(rnnjax.lstm, {"layer_norm": "maybe"})
      Traceback (most recent call last):
      TypeError: layer_norm=maybe: expected True or False
    """
    wanted = {bool: "True or False", int: "a whole number", float: "a number", str: "a text"}
    fits: dict[type, tuple[type, ...]] = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}
    for name, value in given.items():
        if isinstance(value, (int, float)) and not abs(value) < 2**31:
            raise TypeError(f"{name}={value}: expected a finite number below 2^31")
        if name not in (known := parameters(factory)):
            continue
        kind, optional = _kind_of(known[name]), known[name].default is None and value is None
        if kind is None or optional or not isinstance(value, (bool, int, float, str, complex, type(None))):
            continue
        if not isinstance(value, fits[kind]) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"{name}={value}: expected {wanted[kind]}")


def make_cell(name: str, hidden_size: int, cell_args: str | Mapping[str, Any] = "") -> Cell:
    """Returns one layer: the named factory applied to the hidden size and `--cell_args`, a string or a mapping.

    Example:
      >>> make_cell("lstm", 4, "forget_bias=0.0").window is None
      False
    """
    return make_from(CELLS, Cell, name, hidden_size, cell_args)


def _check_cell(cell: Cell) -> None:
    """Refuses a cell with an invalid part, such as `rnnjax:unroll` applied to a number of units.

    Raises:
      AttributeError: a part is invalid. Other errors may depend on the input, which is unknown here.
    """
    with contextlib.suppress(TypeError, ValueError, IndexError, KeyError, UserError):
        jax.eval_shape(cell.init, jax.random.key(0), jax.ShapeDtypeStruct((3,), "float32"))


def make_from(
    known: Mapping[str, Any], kind: type[_T], name: str, hidden_size: int, cell_args: str | Mapping[str, Any] = ""
) -> _T:
    """Applies a factory from `known` or an import path to the hidden size and `--cell_args`.

    Example:
      >>> make_from({"leaky": rnnjax.ctrnn}, rnnjax.Cell, "leaky", 4, "taw=3.0")
      Traceback (most recent call last):
      rnnjax.base.UserError: --cell=leaky --hidden_size=4 --cell_args='taw=3.0': ctrnn() got an unexpected keyword
      argument 'taw'
    """
    factory = resolve("cell", name, known)
    with named_faults({"cell": name}):
        cell = _applied(factory, name, hidden_size, cell_args)
    if not isinstance(cell, kind):
        raise UserError(f"--cell={name} gives {type(cell).__name__}, not a rnnjax.{kind.__name__}")
    return cell


def _applied(factory: Any, name: str, hidden_size: int, cell_args: str | Mapping[str, Any]) -> Any:
    """Returns what a factory makes of the hidden size and `--cell_args`."""
    try:
        given = parse_arguments("cell_args", cell_args) if isinstance(cell_args, str) else cell_args
        _check_arguments(factory, given)
        cell = factory(hidden_size, **given)
        if ":" in name and isinstance(cell, Cell):
            _check_cell(cell)
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        text = cell_args if isinstance(cell_args, str) else ",".join(f"{k}={v}" for k, v in cell_args.items())
        raise UserError(f"--cell={name} --hidden_size={hidden_size} --cell_args={text!r}: {error}") from error
    return cell
