"""Params as single files: .npz, which NumPy reads, or .safetensors, which most other libraries read."""

from __future__ import annotations

import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import PyTree
from rnnjax.base._pytrees import path_name

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def save_params(path: str | os.PathLike[str], params: PyTree) -> None:
    """Writes params to a file, each array under the name of its path, such as "0/w".

    Args:
      path: the file; its extension is the format, .npz or .safetensors.
      params: the params of a cell.

    Raises:
      ValueError: the extension is unknown, two arrays have the same name, or the format does not support a dtype.

    Example:
      >>> import tempfile, rnnjax
      >>> params = rnnjax.gru(4).init(jax.random.key(0), jnp.ones(3))
      >>> path = Path(tempfile.mkdtemp()) / "gru.npz"
      >>> save_params(path, params)
      >>> sorted(np.load(path))
      ['0/b', '0/w', '1/u']
    """
    arrays, kind = _params_by_name(params), _kind(path)
    new = Path(path).with_name(f".{Path(path).name}.new")
    new.write_bytes(_to_npz(arrays) if kind == ".npz" else _to_safetensors(arrays))
    new.replace(path)


def load_params(path: str | os.PathLike[str], like: PyTree) -> PyTree:
    """Reads params from a file that `save_params` or another program wrote.

    Args:
      path: a .npz or .safetensors file.
      like: params of the same cell; shapes and dtypes from `jax.eval_shape(cell.init, key, x)` are enough.

    Returns:
      params like those, cast to their dtypes.

    Raises:
      ValueError: an array is missing, unexpected or of another shape (the message names the first few), or the file is
        damaged.

    Example:
      >>> import tempfile, rnnjax
      >>> params = rnnjax.gru(4).init(jax.random.key(0), jnp.ones(3))
      >>> path = Path(tempfile.mkdtemp()) / "gru.safetensors"
      >>> save_params(path, params)
      >>> again = load_params(path, jax.eval_shape(rnnjax.gru(4).init, jax.random.key(0), jnp.ones(3)))
      >>> all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), again, params)))
      True
    """
    return fit_params(like, load_arrays(path), os.fspath(path))[0]


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the arrays of a file by name, without knowing the network: weights of another program, for `from_torch`.

    Args:
      path: a .npz or .safetensors file.

    Raises:
      ValueError: the file is damaged, or its extension is another.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "weights.safetensors"
      >>> save_params(path, {"encoder.weight": jnp.ones((2, 3))})
      >>> {name: array.shape for name, array in load_arrays(path).items()}
      {'encoder.weight': (2, 3)}
    """
    kind, content = _kind(path), Path(path).read_bytes()
    try:
        return _from_npz(content) if kind == ".npz" else _from_safetensors(content)
    except Exception as error:  # zip, NumPy and JSON raise different errors
        raise ValueError(f"{os.fspath(path)} is damaged, or not a {kind} file: {error}") from error


def _params_by_name(params: PyTree) -> dict[str, np.ndarray]:
    """Returns the arrays of params by the names of their paths.

    Raises:
      ValueError: two arrays have the same name.
    """
    arrays: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree.leaves_with_path(params):
        name = path_name(path)
        if name in arrays:
            raise ValueError(f"two parameters are named {name}")
        arrays[name] = np.asarray(leaf)
    return arrays


def fit_params(like: PyTree, arrays: Mapping[str, Any], source: str, partial: bool = False) -> tuple[PyTree, list[str]]:
    """Returns params from arrays by name, and a line for each array that does not fit.

    Args:
      like: the expected params: arrays, or shapes and dtypes.
      arrays: arrays by the names of their paths.
      source: the origin of the arrays, for the message.
      partial: keep the values of `like` where an array does not fit.

    Raises:
      ValueError: an array does not fit and `partial` is off.
    """
    named = {path_name(path): leaf for path, leaf in jax.tree.leaves_with_path(like)}
    misfits = [f"{name} {list(leaf.shape)} is missing in it" for name, leaf in named.items() if name not in arrays]
    misfits += [f"{n} {list(np.shape(a))} is one too many in it" for n, a in arrays.items() if n not in named]
    misfits += [
        f"{name} is {list(np.shape(arrays[name]))} in it, {list(leaf.shape)} here"
        for name, leaf in named.items()
        if name in arrays and np.shape(arrays[name]) != leaf.shape
    ]
    if misfits and not partial:
        more = f"; and {len(misfits) - 4} more" if len(misfits) > 4 else ""
        raise ValueError(f"{source} does not fit this network: {'; '.join(misfits[:4])}{more}")
    leaves = [
        jnp.asarray(arrays[name], leaf.dtype) if name in arrays and np.shape(arrays[name]) == leaf.shape else leaf
        for name, leaf in named.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves), misfits


def _kind(path: str | os.PathLike[str]) -> str:
    kind = Path(path).suffix
    if kind not in (".npz", ".safetensors"):
        raise ValueError(f"{os.fspath(path)}: expected a name that ends in .npz or .safetensors")
    return kind


def _to_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Writes a zip with one .npy per array, like NumPy's own writer, but without its reserved names."""
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} is {array.dtype}, which .npz does not support: use .safetensors")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as files:
        for name, array in arrays.items():
            with files.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return content.getvalue()


def _from_npz(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays}


def _to_safetensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Writes the length of the header in eight bytes, the header as JSON, and the arrays, all little-endian."""
    header: dict[str, Any] = {}
    parts: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        if str(array.dtype) not in _CODES:
            raise ValueError(f"{name} is {array.dtype}, which .safetensors does not support")
        parts.append(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        place = [offset, offset + len(parts[-1])]
        header[name] = {"dtype": _CODES[str(array.dtype)], "shape": list(array.shape), "data_offsets": place}
        offset = place[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def _from_safetensors(content: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays by name, without the metadata."""
    start = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:start])
    arrays: dict[str, np.ndarray] = {}
    for name, said in header.items():
        if name != "__metadata__":
            dtype, (begin, end) = jnp.dtype(_DTYPES[said["dtype"]]), said["data_offsets"]
            if (
                not 0 <= begin <= end <= len(content) - start
                or end - begin != math.prod(said["shape"]) * dtype.itemsize
            ):
                raise ValueError(f"{name} has the wrong size")
            arrays[name] = np.frombuffer(content[start + begin : start + end], dtype).reshape(said["shape"]).copy()
    return arrays
