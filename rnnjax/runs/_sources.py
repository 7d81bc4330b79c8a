"""The code that a run executed: code.json has a digest of each file, which is compared when the run is resumed."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs._files import atomic_write

_NAME = "code.json"
_WHAT = "sha256 of the source files that a run of rnnjax executed"
_Digests = dict[str, str]
_executed: dict[Path, tuple[Any, str | None]] = {}  # by file: the spec of its module, and the digest when first read


def sources(roots: Collection[str] = ()) -> _Digests:
    """Returns the sha256 of each source file imported by this process: the script, this library, and files beside them.

    Python's own modules and installed packages are excluded; summary.json has the versions of the relevant ones. A file
    that is edited later keeps its digest, because this process goes on with what it imported.

    Args:
      roots: modules to include even if they are installed, such as that of an experiment.

    Example:
      >>> len(sources()["rnnjax/runs/_sources.py"])
      64
    """
    packages = {"rnnjax", *(name.partition(".")[0] for name in roots)} - {"__main__"}
    files = {}
    for name, module in list(sys.modules.items()):
        path = _source(module)
        if path is not None and (name.partition(".")[0] in packages or not _is_installed(path)):
            files[_key(name, module, path)] = _executed_digest(module, path)
    digests = dict(sorted(files.items()))
    return {key: digest for key, digest in digests.items() if digest}


def _executed_digest(module: ModuleType, path: Path) -> str | None:
    """Returns the digest that the file of a module had when it was first asked for, or after it was reloaded."""
    spec = getattr(module, "__spec__", None)
    if path not in _executed or _executed[path][0] is not spec:
        _executed[path] = spec, source_digest(path)
    return _executed[path][1]


def source_digest(path: Path) -> str | None:
    """Returns the sha256 of a source file, or of all Python files in a folder; None if it is gone.

    Example:
      >>> import tempfile
      >>> source_digest(Path(tempfile.mkdtemp()) / "gone.py") is None
      True
    """
    try:
        if not path.is_dir():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        parts = [f"{file.relative_to(path)}\n".encode() + file.read_bytes() for file in sorted(path.rglob("*.py"))]
    except OSError:
        return None
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def refuse_other_code(folder: Path, now: _Digests, allowed: bool = False) -> None:
    """Refuses to resume a run whose code was edited after it began; writes nothing.

    Args:
      folder: the workdir; without a code.json, any code is accepted.
      now: the `sources` of this process.
      allowed: only print the message on standard error.

    Raises:
      UserError: a file has changed, or code.json is damaged.
    """
    edited = _edited(_read(folder)["files"], now)
    if not edited:
        return
    shown = ", ".join(edited[:3]) + (f" and {len(edited) - 3} more" if len(edited) > 3 else "")
    line = f"{folder} was begun with other code: {shown} changed since"
    if not allowed:
        raise UserError(f"{line}; undo that, give another --workdir, or continue anyway with --allow_other_code")
    print(f"{line}; continuing, since --allow_other_code is given", file=sys.stderr)


def keep_sources(folder: Path, now: _Digests) -> None:
    """Writes code.json: the files of this session, further files of earlier ones, and edits between sessions.

    Args:
      folder: the workdir.
      now: the `sources` of this process.

    Raises:
      UserError: it cannot be written.
    """
    known = _read(folder)
    edited = sorted({*known["edited"], *_edited(known["files"], now)})
    made = {"what": _WHAT, "files": {**known["files"], **now}, "edited": edited}
    if made["files"] != known["files"]:
        atomic_write(folder / _NAME, json.dumps({**made, "sha256": _sha256(made)}, indent=1) + "\n")


def _edited(recorded: _Digests, now: _Digests) -> list[str]:
    """Returns the files that have changed; files that this process has not imported are looked up on its path."""
    found = {key: now.get(key) or _module_digest(key) for key in recorded}
    return [key for key, digest in recorded.items() if found[key] not in (digest, None)]


def _module_digest(key: str) -> str | None:
    """Returns the digest of a file that Python would import under this name; None if there is none."""
    places = (Path(folder or ".") / key for folder in sys.path)
    return next((digest for path in places if path.is_file() and (digest := source_digest(path))), None)


def _read(folder: Path) -> dict[str, Any]:
    """Returns the content of code.json; empty if there is none."""
    path = folder / _NAME
    if not path.exists():
        return {"files": {}, "edited": []}
    with as_user_error("read", path):
        text = path.read_bytes()
    try:
        said = json.loads(text)
        digest = said.pop("sha256")
        if digest != _sha256(said) or not isinstance(said["files"], dict) or not isinstance(said["edited"], list):
            raise ValueError("it has changed")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged: delete it to continue without knowing what code the run began with"
        ) from error
    return dict(said)


def _source(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not (file.endswith(".py") or module.__name__ == "__main__"):
        return None
    return Path(file).absolute()


def _is_installed(path: Path) -> bool:
    """Returns whether a file belongs to Python or to an installed package."""
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    return any(path.is_relative_to(folder) for folder in _python_folders())


@functools.cache
def _python_folders() -> set[Path]:
    """Returns the folders of the standard library and of installed scripts."""
    folders = [Path(sysconfig.get_paths()[name]) for name in ("stdlib", "platstdlib", "scripts")]
    return {*folders, *(folder.resolve() for folder in folders)}


def _key(name: str, module: ModuleType, path: Path) -> str:
    """Returns the name of a file relative to the folder that Python imports it from."""
    spec = getattr(module, "__spec__", None)
    name = spec.name if name == "__main__" and spec is not None else name
    if name == "__main__":
        return path.name
    parts = name.split(".")
    return "/".join([*parts, "__init__.py"] if path.name == "__init__.py" else [*parts[:-1], path.name])


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
