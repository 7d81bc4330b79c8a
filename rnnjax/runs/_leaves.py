"""Writes, reads and verifies the arrays of a checkpoint on disk."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import PyTree, UserError

_Leaves = dict[str, Any]
_KEY_WORDS = {"key<fry>": 2, "key<rbg>": 4, "key<urbg>": 4}  # by the generator's name


class MisfitError(UserError, ValueError):
    """The checkpoint is of another state: a leaf is missing, is surplus, or has another shape or dtype."""


class DamagedError(Exception):
    """The checkpoint has changed since it was written."""


def to_stderr(line: str) -> None:
    """Prints a line on standard error."""
    print(line, file=sys.stderr, flush=True)


def _leaves(state: PyTree) -> _Leaves:
    """Returns the leaves by their path in the tree."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _signature(leaf: Any) -> tuple[str, list[int]]:
    """Returns (dtype, shape) of an array, a number or a `jax.ShapeDtypeStruct`."""
    leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return str(leaf.dtype), list(leaf.shape)


def _bits(dtype: str, shape: list[int]) -> tuple[str, list[int]]:
    """Returns (dtype, shape) of the stored form; a key, typed or legacy, is stored as integers.

    Example:
      >>> _bits("key<fry>", [3]) == _bits("uint32", [3, 2])
      True
    """
    return ("uint32", [*shape, _KEY_WORDS[dtype]]) if dtype in _KEY_WORDS else (dtype, shape)


def _to_numpy(path: str, leaf: Any) -> np.ndarray:
    array = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    if not (jnp.issubdtype(array.dtype, np.number) or array.dtype == np.bool_):
        raise TypeError(f"{path} is a {type(leaf).__name__}: a checkpoint holds arrays and numbers only")
    return array


# orbax takes as long to import as the rest of the package, so it is only imported to write or read arrays.


def _write_arrays(folder: Path, step: int, leaves: _Leaves) -> None:
    """Writes the arrays, then the manifest; all of it is on disk on return."""
    import orbax.checkpoint as ocp

    arrays = {path: array for path, leaf in leaves.items() if (array := _to_numpy(path, leaf)).size}
    if arrays:
        _hide_late_errors()
        with _silence_orbax(), _store() as checkpointer, _without_wildcards(folder) as place:
            try:
                checkpointer.save(place / "arrays", args=ocp.args.StandardSave(arrays))
            except ValueError as error:  # the store's error for a full disk or a missing folder
                raise OSError(errno.EIO, str(error).split("\n")[0]) from error
    manifest = {
        "step": step,
        "leaves": {path: _signature(leaf) for path, leaf in leaves.items()},
        "files": _digests(folder),
    }
    text = json.dumps({**manifest, "sha256": _digest(manifest)})
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        _sync(path)


def _read(folder: Path, step: int, like: PyTree) -> PyTree:
    """Reads the state in a folder; nothing is parsed before its digest is checked."""
    manifest = _verified(folder, step)
    leaves, treedef = _leaves(like), jax.tree.structure(like)
    _assert_fits(step, manifest["leaves"], leaves)
    arrays = {path: _stored(leaf) for path, leaf in leaves.items()}
    wanted = {path: array for path, array in arrays.items() if array.size}
    if wanted:
        with _silence_orbax(), _store() as checkpointer, _without_wildcards(folder) as place:
            arrays |= _restored(checkpointer, place / "arrays", wanted)
    return jax.tree.unflatten(treedef, [_from_numpy(arrays[path], leaf) for path, leaf in leaves.items()])


def _read_arrays(folder: Path, step: int, prefix: str) -> dict[str, np.ndarray]:
    """Returns the arrays whose path begins with a prefix, by the rest of the path; keys are skipped."""
    saved = {path: leaf for path, leaf in _verified(folder, step)["leaves"].items() if path.startswith(prefix)}
    found = {p: np.zeros(shape, jnp.dtype(dtype)) for p, (dtype, shape) in saved.items() if not dtype.startswith("key")}
    wanted = {path: array for path, array in found.items() if array.size}
    if wanted:
        import orbax.checkpoint as ocp

        with _silence_orbax(), _store("PyTreeCheckpointHandler") as checkpointer, _without_wildcards(folder) as place:
            found |= checkpointer.restore(place / "arrays", args=ocp.args.PyTreeRestore(wanted, partial_restore=True))
    return {_plain_path(path.removeprefix(prefix)): found[path] for path in saved if path in found}


def _plain_path(path: str) -> str:
    """Returns a path of `jax.tree_util.keystr` as a name.

    Example:
      >>> _plain_path("['core'][0].w")
      'core/0/w'
    """
    return "/".join(a or b or c for a, b, c in re.findall(r"\['([^']*)'\]|\[([^\]]*)\]|\.(\w+)", path))


def _restored(checkpointer: Any, place: Path, wanted: _Leaves) -> _Leaves:
    """Returns the leaves from the store, in the requested form.

    Raises:
      DamagedError: the store contains something else: the manifest does not belong to these files.
    """
    import orbax.checkpoint as ocp  # slow

    try:
        found: _Leaves = checkpointer.restore(place, args=ocp.args.StandardRestore(wanted))
    except (KeyError, TypeError, ValueError) as error:  # the files are intact, but hold other leaves
        raise DamagedError(f"arrays cannot be read ({type(error).__name__})") from error
    for path, array in wanted.items():
        if _signature(found[path]) != _signature(array):
            raise DamagedError(f"the arrays hold another {path} than manifest.json")
    return found


def _store(kind: str = "StandardCheckpointHandler") -> Any:
    """Returns an orbax checkpointer for this process only; by default orbax waits for all processes."""
    import orbax.checkpoint as ocp

    handler = getattr(ocp, kind)

    if jax.process_count() == 1:
        return ocp.Checkpointer(handler())
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(me, {me}, "rnnjax")
    return ocp.Checkpointer(handler(multiprocessing_options=alone), multiprocessing_options=alone)


@contextlib.contextmanager
def _without_wildcards(folder: Path) -> Iterator[Path]:
    """Provides a path to the folder without special characters, since orbax treats paths as glob patterns."""
    if not set("*?[]{}\\") & set(os.fspath(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        link = Path(temporary) / "checkpoint"
        link.symlink_to(folder, target_is_directory=True)
        yield link


def _stored(leaf: Any) -> np.ndarray:
    """Returns an array with the shape and dtype in which a leaf is stored."""
    x = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    return np.empty(np.shape(x), x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype)


def _from_numpy(array: np.ndarray, leaf: Any) -> Any:
    """Converts an array to the type of a leaf."""
    if isinstance(leaf, (bool, int, float, complex)):
        return array.item()
    if isinstance(leaf, (np.ndarray, np.generic)):
        return array if isinstance(leaf, np.ndarray) else array[()]
    device = leaf.sharding if getattr(leaf, "committed", False) else None
    value = jax.device_put(array, None if _is_key(leaf) else device)
    return jax.device_put(jax.random.wrap_key_data(value, impl=_impl(leaf)), device) if _is_key(leaf) else value


def _impl(key: Any) -> Any:
    """Returns the generator of a key, or of its `jax.ShapeDtypeStruct`, which `jax.random.key_impl` refuses."""
    impls: list[Any] = []
    jax.eval_shape(lambda key: impls.append(jax.random.key_impl(key)), key)
    return impls[0]


def _verified(folder: Path, step: int) -> dict[str, Any]:
    """Returns the manifest of an intact checkpoint."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        digest = manifest.pop("sha256")
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError("manifest.json cannot be read") from error
    if digest != _digest(manifest):
        raise DamagedError("manifest.json has changed")
    if not _is_manifest(manifest):
        raise DamagedError("manifest.json is not one of a checkpoint")
    if manifest["step"] != step:
        raise DamagedError(f"it is checkpoint {manifest['step']}")
    _compare(manifest["files"], folder)
    return manifest


def _is_manifest(manifest: dict[str, Any]) -> bool:
    """Returns whether all entries of a manifest are present."""
    leaves, files = manifest.get("leaves"), manifest.get("files")
    if not (isinstance(manifest.get("step"), int) and isinstance(leaves, dict) and isinstance(files, dict)):
        return False
    told = all(isinstance(leaf, list) and len(leaf) == 2 and isinstance(leaf[1], list) for leaf in leaves.values())
    return told and all(isinstance(digest, str) for digest in files.values())


def _compare(recorded: dict[str, str], folder: Path) -> None:
    try:
        found = _digests(folder)
    except OSError as error:
        raise DamagedError(f"{error.filename}: {error.strerror}") from error
    for name in sorted(recorded.keys() | found.keys()):
        if name not in found or name not in recorded:
            raise DamagedError(f"{name} is {'missing' if name not in found else 'not a file of it'}")
        if found[name] != recorded[name]:
            raise DamagedError(f"{name} has changed")


def _assert_fits(step: int, saved: dict[str, Any], leaves: _Leaves) -> None:
    for path in [*leaves, *saved]:
        if path not in leaves or path not in saved:
            has, has_not = ("run", "checkpoint") if path in leaves else ("checkpoint", "run")
            raise MisfitError(f"checkpoint {step} does not fit: the {has} has a leaf {path}, the {has_not} has none")
        old, new = (f"{dtype}{list(shape)}" for dtype, shape in (saved[path], _signature(leaves[path])))
        if _bits(*saved[path]) != _bits(*_signature(leaves[path])):
            raise MisfitError(f"checkpoint {step} does not fit: {path} is {old} in it, {new} in the run")


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    """Returns the sha256 of every file except the manifest."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / "manifest.json")
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _hide_late_errors() -> None:
    """Hides the tracebacks of a failed save's other writes, which end when the event loop of the store is closed.

    Threads of the store print them, by either hook, so this must be done before the save.
    """
    before, unraisable = sys.excepthook, sys.unraisablehook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not _is_late(error):
            before(kind, error, traceback)

    def unraisable_hook(told: sys.UnraisableHookArgs) -> None:
        if not _is_late(told.exc_value):
            unraisable(told)

    sys.excepthook, sys.unraisablehook = hook, unraisable_hook


def _is_late(error: BaseException | None) -> bool:
    return type(error) is RuntimeError and str(error) == "Event loop is closed"


def _sync(path: Path) -> None:
    """Waits until a file or a folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _silence_orbax() -> Iterator[None]:
    """Hides orbax's log of every save and restore from the terminal."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
