"""Digests and vocabularies of the facts that loading returns."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.data import Alphabet, Vocabulary

_KINDS: dict[str, Any] = {"Alphabet": Alphabet, "Vocabulary": Vocabulary}


def digest(value: Any, floats: bool = True) -> str:
    """Returns the sha256 of a value made of numbers, strings, arrays and containers of these.

    Args:
      value: the value; anything else in it, such as a function, only counts by its type.
      floats: whether to include floating point numbers, whose last bits may differ between machines.

    Example:
      >>> digest({"a": 1, "b": (2, "c")}) == digest({"b": (2, "c"), "a": 1}) != digest({"a": 1, "b": (2, "d")})
      True
      >>> digest([0.1]) == digest([0.2]), digest([0.1], floats=False) == digest([0.2], floats=False)
      (False, True)
    """
    total = hashlib.sha256()
    for part in _yield_parts(value, floats):
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.hexdigest()


def digests_of(facts: Any) -> dict[str, str]:
    """Returns the digests of the parts of facts by name, without floating point numbers.

    Example:
      >>> list(digests_of({"alphabet": "abc", "counts": {"train": 3}})), list(digests_of(None))
      (['alphabet', 'counts'], [''])
    """
    parts = _fields_of(facts)
    named = {"": facts} if parts is None else parts
    return {str(name): digest(value, floats=False) for name, value in named.items()}


def _yield_parts(value: Any, floats: bool) -> Iterator[bytes]:
    """Yields the parts of a value in a fixed order."""
    named = _fields_of(value)
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        yield from _parts_of_array(value, floats)
    elif named is not None:
        yield f"dict {len(named)}".encode()
        for name in sorted(named, key=str):
            yield _as_bytes(str(name))
            yield from _yield_parts(named[name], floats)
    elif isinstance(value, (list, tuple)):
        yield f"list {len(value)}".encode()
        for item in value:
            yield from _yield_parts(item, floats)
    elif isinstance(value, (set, frozenset)):
        yield from sorted(digest(item, floats).encode() for item in value)
    else:
        counts = isinstance(value, (str, bytes, int, type(None))) or (floats and isinstance(value, (float, complex)))
        yield _as_bytes(f"{type(value).__qualname__} {value!r}" if counts else type(value).__qualname__)


def _parts_of_array(value: Any, floats: bool) -> Iterator[bytes]:
    """Yields the dtype, the shape and the numbers of an array; a random key counts by its data."""
    key = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    array = np.asarray(jax.random.key_data(value) if key else value)
    yield f"{array.dtype} {array.shape}".encode()
    if array.dtype == object:
        yield from _yield_parts(array.tolist(), floats)
    elif floats or not jnp.issubdtype(array.dtype, jnp.inexact):
        yield np.ascontiguousarray(array).tobytes()


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _fields_of(value: Any) -> Mapping[Any, Any] | None:
    """Returns the parts of a mapping, a named tuple or a dataclass, by name; None for anything else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return dict(value._asdict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def vocabularies_of(facts: Any, name: str = "") -> dict[str, dict[str, Any]]:
    """Returns the vocabularies in facts by their path, in a form that JSON can store.

    Example:
      >>> vocabularies_of({"alphabet": Alphabet("abc"), "counts": {"train": 3}})
      {'alphabet': {'kind': 'Alphabet', 'symbols': 'abc'}}
    """
    for kind, made in _KINDS.items():
        if isinstance(facts, made):
            symbols = facts.characters if kind == "Alphabet" else list(facts.words)
            return {name: {"kind": kind, "symbols": symbols}}
    found: dict[str, dict[str, Any]] = {}
    for part, value in (_fields_of(facts) or {}).items():
        found |= vocabularies_of(value, f"{name}/{part}".strip("/"))
    return found


def vocabulary_from(said: Mapping[str, Any]) -> Alphabet | Vocabulary:
    """Returns a vocabulary from its form in `vocabularies_of`.

    Example:
      >>> vocabulary_from({"kind": "Vocabulary", "symbols": ["to", "be"]}).encode(["be"]).tolist()
      [2]
    """
    symbols = said["symbols"]
    return Alphabet(symbols) if said["kind"] == "Alphabet" else Vocabulary(tuple(symbols))
