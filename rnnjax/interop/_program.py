"""A trained network as a program that runs without its code: StableHLO from jax.export, with a manifest.

manifest.json    the inputs and outputs of each program, the platforms it runs on, its sha256
window.bin       from windows of inputs to outputs: for any batch size, and any length if the network supports it
step.bin         (carry, x) -> (carry, y), one step of one sequence; if the network runs step by step
carry.npz        the carry before the first step
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from rnnjax.base import Cell, PyTree, run, without_fast
from rnnjax.base._cell import check_cell
from rnnjax.base._pytrees import path_name
from rnnjax.base._unroll import as_step_cell
from rnnjax.dynamics._analyses import goes_stepwise
from rnnjax.interop._params import save_params

_PLATFORMS = ("cpu", "cuda", "tpu")


def save_program(
    path: str | os.PathLike[str], cell: Cell, params: PyTree, example: PyTree, notes: Mapping[str, Any] | None = None
) -> None:
    """Writes a network with its params as a program for CPU, CUDA and TPU, into a folder, with a module that loads it.

    Only JAX is needed to run it: load.py, which lies in the folder too, has `window(xs)`, with xs `[batch, T, ...]`,
    and `start()` and `step(carry, x)` for one sequence step by step. An input with several arrays becomes several
    arguments, in the order of the manifest.

    Args:
      path: a folder, created if necessary.
      cell: a window cell.
      params: the params of the cell.
      example: one input of the cell, or its shapes and dtypes.
      notes: further entries of the manifest.

    Raises:
      ValueError: the cell cannot be exported, or flatbuffers is not installed.

    Example:
      >>> import tempfile, rnnjax
      >>> cell = rnnjax.unroll(rnnjax.lstm(4))
      >>> params = cell.init(jax.random.key(0), jnp.ones((12, 3)))
      >>> folder = Path(tempfile.mkdtemp())
      >>> save_program(folder, cell, params, jnp.ones((12, 3)))
      >>> again = load_program(folder)
      >>> again(jnp.ones((2, 5, 3))).shape
      (2, 5, 4)
    """
    check_cell("save_program", cell)
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    inputs = _named(example)
    window, time = _window(cell, params, example)
    manifest = {
        **(notes or {}),
        "jax": jax.__version__,
        "platforms": list(_PLATFORMS),
        "time": time,
        "inputs": [f"{name} {_said(a)}" for name, a in zip(inputs, window.in_avals)],
        "outputs": [_said(a) for a in window.out_avals],
        "files": {"window.bin": _write_program(folder / "window.bin", window)},
    }
    stepwise = _step(cell, params, example)
    if stepwise is not None:
        step, carry = stepwise
        save_params(folder / "carry.npz", {f"{i:03d}": a for i, a in enumerate(carry)})
        manifest["carry"] = [_said(a) for a in carry]
        manifest["files"]["step.bin"] = _write_program(folder / "step.bin", step)
    (folder / "load.py").write_text(_LOADER, encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def load_program(path: str | os.PathLike[str]) -> Callable[..., PyTree]:
    """Returns the window program in a folder that `save_program` wrote: from a batch of inputs to a batch of outputs.

    Raises:
      ValueError: there is no program, or it has been modified.

    Example: see `save_program`.
      >>> load_program("nowhere")
      Traceback (most recent call last):
      ValueError: nowhere holds no program: manifest.json cannot be read
    """
    folder = Path(path)
    try:
        checksum = json.loads((folder / "manifest.json").read_bytes())["files"]["window.bin"]
        content = (folder / "window.bin").read_bytes()
    except (OSError, ValueError, KeyError, TypeError) as error:
        file = "window.bin" if isinstance(error, OSError) and "window.bin" in str(error) else "manifest.json"
        raise ValueError(f"{os.fspath(path)} holds no program: {file} cannot be read") from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError(f"{os.fspath(path)}: window.bin has changed")
    call: Callable[..., PyTree] = export.deserialize(bytearray(content)).call
    return call


def _window(cell: Cell, params: PyTree, example: PyTree) -> tuple[Any, str]:
    """Returns the program of a batch of windows, and a description of the lengths it accepts."""
    leaves, structure = jax.tree.flatten(example)

    def applied(cell: Cell) -> Callable[..., Any]:
        def apply(*batch: jax.Array) -> Any:
            xs = jax.tree.unflatten(structure, batch)
            return _only_array(jax.tree.leaves(jax.vmap(lambda x: run(cell, params, x)[1])(xs)))

        return apply

    lengths = dict.fromkeys(a.shape[0] for a in leaves if a.ndim)
    names = {n: "time" if len(lengths) == 1 else f"time_{i}" for i, n in enumerate(lengths)}
    for made in (lambda: cell, lambda: without_fast(cell)):  # if a fast window needs a fixed length, scan
        with contextlib.suppress(Exception):
            return _exported(applied(made()), leaves, names), "any length"
    try:
        return _exported(applied(cell), leaves, {}), "the length of the example"
    except Exception as error:
        raise ValueError(f"this network cannot be exported: {str(error).splitlines()[0]}") from error


def _exported(apply: Callable[..., Any], leaves: list[Any], names: Mapping[int, str]) -> Any:
    """Exports a program with a variable batch size, and variable lengths where they have a name."""
    texts = [
        ", ".join(["batch", *(names.get(n, str(n)) if i == 0 else str(n) for i, n in enumerate(a.shape))])
        for a in leaves
    ]
    scope = export.SymbolicScope()
    shapes = [export.symbolic_shape(text + ("," if "," not in text else ""), scope=scope) for text in texts]
    arguments = [jax.ShapeDtypeStruct(shape, a.dtype) for shape, a in zip(shapes, leaves)]
    return export.export(jax.jit(apply), platforms=_PLATFORMS)(*arguments)


def _step(cell: Cell, params: PyTree, example: PyTree) -> tuple[Any, list[jax.Array]] | None:
    """Returns the program of one step, with carries as lists of arrays, and the first carry; None if it has no step."""
    try:
        if not goes_stepwise(cell, params, jax.tree.map(_example_input, example)):
            return None
    except (TypeError, ValueError, IndexError):
        return None
    x = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), example)
    step, weights = as_step_cell(cell), cell.weights(params)
    carry, structure = jax.tree.flatten(step.initial_carry(weights, x))
    leaves, inputs = jax.tree.flatten(x)

    def apply(carry: list[jax.Array], *x: jax.Array) -> tuple[list[jax.Array], Any]:
        new, y = step.step(weights, jax.tree.unflatten(structure, carry), jax.tree.unflatten(inputs, x))
        return jax.tree.leaves(new), _only_array(jax.tree.leaves(y))

    like = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in carry]
    return export.export(jax.jit(apply), platforms=_PLATFORMS)(like, *leaves), [jnp.asarray(a) for a in carry]


def _only_array(leaves: list[jax.Array]) -> Any:
    """Returns the only array of a list, or the list."""
    return leaves[0] if len(leaves) == 1 else leaves


def _example_input(a: Any) -> jax.Array:
    """Returns an example input of this shape whose steps all differ; symbols are 0 and 1, marks are set."""
    if jnp.issubdtype(a.dtype, jnp.inexact):
        return jnp.sin(1.7 * jnp.arange(np.prod(a.shape))).reshape(a.shape).astype(a.dtype)
    steps = jnp.minimum(jnp.arange(a.shape[0]), 1).reshape(-1, *[1] * (a.ndim - 1)) if a.ndim else jnp.zeros(())
    return jnp.broadcast_to(True if a.dtype == bool else steps, a.shape).astype(a.dtype)


def _named(example: PyTree) -> list[str]:
    return [path_name(path) or "xs" for path, _ in jax.tree.leaves_with_path(example)]


def _said(a: Any) -> str:
    return f"{a.dtype}[{', '.join(map(str, a.shape))}]"


def _write_program(path: Path, program: Any) -> str:
    """Writes a program and returns its sha256."""
    try:
        content = bytes(program.serialize())
    except ImportError as error:
        raise ValueError("programs are written by flatbuffers: pip install 'rnnjax[export]'") from error
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


# load.py in the folder of a program.
_LOADER = '''"""Runs the network in this folder. It needs JAX and NumPy alone.

    import load
    ys = load.window(xs)                # xs [batch, time, ...]; several inputs in the order of manifest.json
    carry = load.start()                # one sequence, step by step
    carry, y = load.step(carry, x)
"""

import functools
import hashlib
import json
from pathlib import Path

import numpy as np
from jax import export

HERE = Path(__file__).resolve().parent


@functools.cache
def _program(name):
    files = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))["files"]
    if name not in files:
        raise ValueError(f"this network has no {name}: it reads whole windows")
    content = (HERE / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != files[name]:
        raise ValueError(f"{name} has changed")
    return export.deserialize(bytearray(content))


def window(*xs):
    """Returns the outputs for a batch of whole sequences."""
    return _program("window.bin").call(*xs)


def start():
    """Returns the state before the first step."""
    _program("step.bin")
    with np.load(HERE / "carry.npz") as arrays:
        return [arrays[name] for name in sorted(arrays)]


def step(carry, *x):
    """Returns (state, output) after one more input."""
    return _program("step.bin").call(carry, *x)
'''
