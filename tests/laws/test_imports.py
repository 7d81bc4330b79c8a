"""Laws: a folder imports from lower floors, scripts import public names, a private name has an underscore."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import rnnjax
from rnnjax import lstm, plotting
from rnnjax._deprecated import NEW_ARGUMENTS, NEW_NAMES, NEW_PICTURES

ROOT = Path(__file__).parents[2]
FLOORS = (
    ("base",),
    ("cells", "credit", "decoding", "runs"),
    ("data", "unitary"),
    ("losses", "tasks", "trees", "wrappers", "dynamics"),
    ("estimators", "interop", "plotting", "seq2seq"),
    ("training",),
    ("distributed",),
    ("app",),
    ("compare", "studies"),
)
FOLDERS = [folder for floor in FLOORS for folder in floor]
FILES = sorted((ROOT / "rnnjax").glob("*/*.py"))
SCRIPTS = sorted(p for name in ("experiments", "benchmarks") for p in (ROOT / name).glob("**/*.py"))


def imports(path: Path) -> list[tuple[str, str]]:
    """(module, name) of what a file imports, wherever it does."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = [(n.module, a.name) for n in nodes if isinstance(n, ast.ImportFrom) and n.module for a in n.names]
    return named + [(a.name, "") for n in nodes if isinstance(n, ast.Import) for a in n.names]


def folder_of(module: str, name: str) -> str | None:
    """The folder of the library that an import leads to."""
    parts = [*module.split("."), name]
    return parts[1] if parts[0] == "rnnjax" and parts[1] in FOLDERS else None


def definitions(path: Path) -> set[str]:
    """The names that a module defines at its top."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return {name for name in names if not name.startswith("__")}


def test_every_folder_has_a_floor():
    assert {path.parent.name for path in FILES} == set(FOLDERS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_folder_imports_from_lower_floors_alone(path):
    floor = {folder: i for i, floor in enumerate(FLOORS) for folder in floor}
    for module, name in imports(path):
        folder = folder_of(module, name)
        if folder and folder != path.parent.name:
            assert floor[folder] < floor[path.parent.name], f"{path.parent.name} imports from {folder}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_files_of_a_folder_import_each_other_without_a_circle(folder):
    graph = {}
    for path in (ROOT / "rnnjax" / folder).glob("_*.py"):
        if path.name not in ("__init__.py", "__main__.py"):
            here = [(m, n) for m, n in imports(path) if m.startswith(f"rnnjax.{folder}")]
            assert all(m != f"rnnjax.{folder}" or n.startswith("_") for m, n in here), f"{path.name}: its own folder"
            names = {m.rpartition(".")[2] if m != f"rnnjax.{folder}" else n for m, n in here}
            graph[path.stem] = names
    while graph:
        free = [name for name, needs in graph.items() if not needs & set(graph)]
        assert free, f"a circle among {sorted(graph)}"
        for name in free:
            del graph[name]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_script_imports_public_names_alone(path):
    for module, name in imports(path):
        if module.split(".")[0] == "rnnjax":
            assert "._" not in module and not name.startswith("_"), f"from {module} import {name}"
            public = importlib.import_module(module).__all__ if name else ()
            assert not name or name in public or name in FOLDERS, f"{name} is not in {module}.__all__"


def test_a_name_without_an_underscore_is_public_or_used_elsewhere():
    used = {(m, n) for path in [*FILES, *SCRIPTS, *(ROOT / "tests").glob("**/*.py")] for m, n in imports(path)}
    text = "".join(path.read_text() for path in [*FILES, *(ROOT / "tests").glob("**/*.py")])
    for path in FILES:
        module = ".".join(["rnnjax", path.parent.name, path.stem])
        alias = f"from rnnjax.{path.parent.name} import {path.stem}"
        for name in definitions(path) if path.stem.startswith("_") and path.stem != "__init__" else ():
            if not name.startswith("_"):
                elsewhere = (
                    (module, name) in used or alias in text or f"{module}:{name}" in text or f"{module}.{name}" in text
                )
                assert elsewhere, f"{module}.{name} is used nowhere else: it wants an underscore"


def test_the_face_of_the_package_is_public_names_alone():
    assert not [name for name in dir(rnnjax) if name.startswith("_") and name != "__version__"]
    assert set(FOLDERS) < set(dir(rnnjax))


def test_a_public_name_has_one_meaning():
    modules = [rnnjax, *(importlib.import_module(f"rnnjax.{folder}") for folder in FOLDERS)]
    meanings: dict[str, dict[int, str]] = {}
    for module in modules:
        for name in module.__all__:
            meanings.setdefault(name, {}).setdefault(id(getattr(module, name)), module.__name__)
    twice = {name: list(where.values()) for name, where in meanings.items() if len(where) > 1}
    assert not twice, f"one name for two things: {twice}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_lists_public_names_alone(folder):
    names = importlib.import_module(f"rnnjax.{folder}").__all__
    assert not [name for name in names if name.startswith("_")]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("folder", ["", *FOLDERS])
def test_an_unknown_name_is_an_attribute_error_in_every_folder(folder):
    module = importlib.import_module(f"rnnjax.{folder}".rstrip("."))
    name = module.__all__[-1]
    with pytest.raises(AttributeError, match=f"did you mean '{name}'"):
        getattr(module, f"{name}_")


@pytest.mark.parametrize("old, new", NEW_NAMES.items())
def test_an_old_name_works_and_says_the_new_one(old, new):
    module, _, name = old.rpartition(".")
    with pytest.warns(DeprecationWarning, match=new):
        found = getattr(importlib.import_module(module), name)
    parent, _, name = new.rpartition(".")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found is getattr(importlib.import_module(parent), name)


@pytest.mark.parametrize("old, new", NEW_PICTURES.items())
def test_an_old_picture_is_found_and_says_how_to_write_the_figure_of_today(old, new):
    with pytest.warns(DeprecationWarning, match=re.escape(f"save(path, {new}(...))")):
        assert callable(getattr(plotting, old.rpartition(".")[2]))
    assert hasattr(plotting, new.rpartition(".")[2])


def test_an_old_picture_still_writes_its_file(tmp_path):
    with pytest.warns(DeprecationWarning, match="draw_alignment"):
        plotting.alignment(tmp_path / "a.svg", [[1.0]], ["ein"], ["a"], title="one")
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("module, name, near", [("rnnjax", "lsm", "lstm"), ("rnnjax.losses", "clasify", "classify")])
def test_an_unknown_name_is_refused_with_the_nearest(module, name, near):
    with pytest.raises(AttributeError, match=f"did you mean '{near}'"):
        getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("path", NEW_ARGUMENTS)
def test_an_old_argument_works_and_says_the_new_one(path):
    module, _, name = path.rpartition(".")
    function = getattr(importlib.import_module(module), name)
    parameters = inspect.signature(function).parameters
    for old, new in NEW_ARGUMENTS[path].items():
        needed = [p for p in parameters.values() if p.default is p.empty and p.name != new]
        with pytest.warns(DeprecationWarning, match=f"the argument {old} is called {new}"):
            first = (lstm(2), np.sum) if next(iter(parameters)) == "cell" else (np.ones((1, 2, 2)), [1])
            function(*[*first, 1][: len(needed)], **{old: [1] if new == "predicted" else 1})
        with pytest.raises(TypeError, match=f"{old} is called {new}; give {new} alone"):
            function(**{old: 1, new: 1})
