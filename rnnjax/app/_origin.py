"""run.json: the experiment, code and data of a run, and how to find the experiment again.

experiment   module, file and name of the `Experiment`; module is null for a script, which is found by its file
code         sha256 of the sources that the run was trained with, by file
facts, data  sha256 of the facts from loading, by name, and of the data
vocabularies the meaning of symbols, by the name of the fact
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import rnnjax
from rnnjax.app._digest import digests_of, vocabularies_of
from rnnjax.app._experiment import Experiment
from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.runs import Workdir, atomic_write
from rnnjax.runs._sources import source_digest

_FORMAT = 1
_IMPORTED = ("cell", "rule", "optimizer", "report")  # flags whose value can be an import path
Origin = dict[str, Any]


def write_origin(workdir: Workdir, experiment: Experiment, flags: Mapping[str, Any], facts: Any, data: str) -> None:
    """Writes run.json, unless the run has ended; a finished run keeps the origin that it was trained with.

    Args:
      workdir: of the run.
      experiment: of the run.
      flags: of the run, by name.
      facts: as loaded.
      data: the digest of the data; empty if unknown.
    """
    if workdir.file("run.json").exists() and workdir.summary() is not None:
        return
    where = _place_of(experiment)
    modules = [sys.modules.get(name) for name in _imported_modules(flags)]
    files = [where["file"], *(getattr(module, "__file__", None) for module in modules)]
    origin = {
        "format": _FORMAT,
        "rnnjax": rnnjax.__version__,
        "experiment": where,
        "code": {file: source_digest(Path(file)) for file in files if file} | {"rnnjax": source_digest(_LIBRARY)},
        "facts": digests_of(facts),
        "data": data,
        "vocabularies": vocabularies_of(facts),
    }
    atomic_write(workdir.file("run.json"), json.dumps(origin, indent=1) + "\n")


def read_origin(path: Path) -> Origin:
    """Returns the content of run.json; empty for a folder of a version that did not write it.

    Raises:
      UserError: the file is damaged, or of a later version.
    """
    file = path / "run.json"
    if not file.exists():
        return {}
    with as_user_error("read", file):
        content = file.read_bytes()
    try:
        origin = json.loads(content)
        known = int(origin["format"])
        if known <= _FORMAT and not _is_whole(origin):
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} is damaged: delete it and name the experiment by experiment=") from error
    if known > _FORMAT:
        raise UserError(f"{file} has format {known}, this version of rnnjax knows {_FORMAT}: update rnnjax")
    return dict(origin)


def _is_whole(origin: Origin) -> bool:
    """Returns whether run.json has all its parts, in their form."""
    place = [origin["experiment"][name] for name in ("module", "file", "name")]
    digests = [*origin["code"].values(), *origin["facts"].values(), origin.get("data", "")]
    vocabularies = origin.get("vocabularies", {}).values()
    texts = all(isinstance(text, str) for text in digests) and all(isinstance(p, (str, type(None))) for p in place)
    return texts and all({"kind", "symbols"} <= set(known) for known in vocabularies)


def find_experiment(origin: Origin, path: Path) -> Experiment:
    """Imports the experiment of a run from its module or its script.

    Raises:
      UserError: the experiment is unknown or no longer exists.
    """
    ask = f"give load_run({str(path)!r}, experiment=EXPERIMENT)"
    if not origin:
        raise UserError(f"{path} does not name its experiment, since an earlier version wrote it: {ask}")
    where = origin["experiment"]
    called = where["module"] or where["file"] or "a notebook or a console"
    if not where["module"] and where["file"] and not Path(where["file"]).is_file():
        raise UserError(f"{called}, the experiment of {path}, is gone: {ask}")
    try:
        found = getattr(_module(where, path), str(where["name"]), None)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # importing a user's module can raise anything
        raise UserError(f"{called}, the experiment of {path}, cannot be imported ({error}): {ask}") from error
    if not isinstance(found, Experiment):
        raise UserError(f"the experiment of {path} is not in {called} any more: {ask}")
    return found


def changed_code(origin: Origin) -> list[str]:
    """Returns the files of a run's code that have changed since it was trained, or are gone."""
    now = {file: _LIBRARY if file == "rnnjax" else Path(file) for file in origin.get("code", {})}
    found = {file: source_digest(path) for file, path in now.items()}
    return [file if now else f"{file} (gone)" for file, now in found.items() if now != origin["code"][file]]


_LIBRARY = Path(rnnjax.__file__).parent


def _imported_modules(flags: Mapping[str, Any]) -> list[str]:
    """Returns the modules of the import paths among the flag values."""
    values = [flags.get(name, "") for name in _IMPORTED]
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    return [str(text).partition(":")[0] for text in texts if ":" in str(text)]


def _place_of(experiment: Experiment) -> dict[str, str | None]:
    """Returns the module, file and name that define an experiment, as far as they can be determined."""
    own = sys.modules.get(getattr(experiment.build, "__module__", ""))
    for module in filter(None, (own, sys.modules["__main__"], *list(sys.modules.values()))):
        for name, value in list(vars(module).items()):
            # type() touches nothing: isinstance may run code of an object that other packages replace when it is used
            if issubclass(type(value), Experiment) and value.build is experiment.build:
                return {"module": _module_name(module), "file": _file(module), "name": name}
    return {"module": None, "file": _file(own), "name": None}


def _module_name(module: ModuleType) -> str | None:
    """Returns the name under which a module can be imported again; None for a script, a notebook, a console."""
    spec = getattr(module, "__spec__", None)
    return spec.name if spec is not None and not spec.name.startswith(_SCRIPT) else None


def _file(module: ModuleType | None) -> str | None:
    file = getattr(module, "__file__", None)
    return os.path.abspath(file) if file else None


_SCRIPT = "rnnjax_script_"  # prefix of the names of modules that are made from script files


def _module(where: Mapping[str, str | None], path: Path) -> Any:
    """Returns the module that run.json names."""
    main, file = sys.modules["__main__"], where["file"]
    if where["module"]:
        return _imported(where["module"], file)
    if file == _file(main):  # this very script, or a notebook
        return main
    if not file or not where["name"]:
        return None
    if Path(file).is_relative_to(path.resolve()):
        raise UserError(f"{file} lies in the folder of the run, and no code is run from there: give experiment=")
    return _script(Path(file))


def _imported(name: str, file: str | None) -> ModuleType:
    """Imports a module by name or, if Python does not find it, from its old location."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        parts = Path(*name.split(".")).with_suffix(".py")
        known = file and Path(file).exists() and file.endswith(os.sep + os.fspath(parts))
        if not known or not f"{name}.".startswith(f"{error.name}."):
            raise
    sys.path.append(os.fspath(Path(str(file)).parents[len(parts.parts) - 1]))
    return importlib.import_module(name)


def _script(file: Path) -> ModuleType:
    """Imports a script as a module; the script must guard its last line, or it would train now.

    Raises:
      UserError: the script has no guard.
    """
    with as_user_error("read", file):
        source = file.read_text(encoding="utf-8")
    if "__main__" not in source:
        raise UserError(f"{file} trains when it is imported: put its last line under if __name__ == '__main__':")
    name = _SCRIPT + hashlib.sha256(os.fspath(file).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is not a Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if os.fspath(file.parent) not in sys.path:
        sys.path.append(os.fspath(file.parent))  # as when the script runs: its neighbours are importable
    spec.loader.exec_module(module)
    return module
