"""What is made from the package at each build: the reference, the table of cells, names that changed, notebooks."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import typing
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import jupytext
from sphinx.application import Sphinx

import rnnjax
from rnnjax import _deprecated
from rnnjax.app._registry import CELLS
from rnnjax.base import UserError
from rnnjax.data import Batch
from rnnjax.estimators import RULES
from rnnjax.losses import regress

OUT = "generated"
UNITS, FEATURES, STEPS = 4, 3, 6  # of the cells of the table
REFUSING = ("snap1", "kfrtrl", "optimal_kronecker", "rflo", "eprop")  # the rules that do not take every cell


def title(text: str, mark: str = "=") -> str:
    """A heading in reStructuredText."""
    return f"{text}\n{mark * len(text)}\n"


def home_of(thing: Any, folder: ModuleType) -> str:
    """The private module that a public name of a folder comes from; of a value, which does not tell, the folder."""
    home = getattr(thing, "__module__", "") or ""
    return home if home.startswith(f"{folder.__name__}.") and hasattr(thing, "__qualname__") else folder.__name__


def entry(folder: ModuleType, name: str) -> str:
    """The directive of one name, and the shorter name that it has at the top."""
    thing, full = getattr(folder, name), f"{folder.__name__}.{name}"
    also = f"\n   Also ``rnnjax.{name}``.\n" if name in rnnjax.__all__ else ""
    if inspect.isclass(thing) and typing.get_origin(thing) is None:
        return f".. autoclass:: {full}\n   :members:\n   :no-undoc-members:\n{also}"
    if callable(thing) and hasattr(thing, "__name__") and typing.get_origin(thing) is None:
        return f".. autofunction:: {full}\n{also}"
    value = " ".join(repr(thing).split())
    if len(value) > 100 or " at 0x" in value:
        value = f"a {type(thing).__name__}" + (f" of {', '.join(map(str, thing))}" if isinstance(thing, dict) else "")
    return f".. py:data:: {name}\n{also}\n   ``{value}``\n"


def reference(name: str) -> str:
    """The page of a folder: its docstring, then its public names by the file that each is from."""
    folder = importlib.import_module(f"rnnjax.{name}")
    homes: dict[str, list[str]] = {}
    for public in folder.__all__:
        homes.setdefault(home_of(getattr(folder, public), folder), []).append(public)
    order = sorted(homes, key=lambda home: (home == folder.__name__, home))
    parts = [f".. py:module:: rnnjax.{name}\n", title(f"rnnjax.{name}"), about(folder)]
    for home in order:
        heading = "Values" if home == folder.__name__ else first_line(sys.modules[home])
        parts += [title(heading, "-"), *(entry(folder, public) for public in homes[home])]
    return "\n".join(parts)


def about(folder: ModuleType) -> str:
    """What a folder is for, its rule of what belongs there as a paragraph of its own."""
    return re.sub(r"`([^`]+)`", r"``\1``", inspect.getdoc(folder) or "") + "\n"


def first_line(module: ModuleType) -> str:
    """The heading that a file's docstring gives."""
    line = (inspect.getdoc(module) or module.__name__).split("\n\n")[0].replace("\n", " ")
    line = re.sub(r"`([^`]+)`", r"\1", line.rstrip(".")).split(": ")[0]
    return line if len(line) <= 60 else line.split(", ")[0]


def equation(factory: Any) -> str:
    """The first block of a docstring that is set off by indentation, or that of the core of the layer."""
    core = getattr(rnnjax, f"{factory.__name__}_core", None) or getattr(rnnjax.cells, f"{factory.__name__}_core", None)
    for thing in filter(None, (factory, core)):
        match = re.search(r"\n\n((?:    .*\n)+)", inspect.getdoc(thing) or "")
        if match and ">>>" not in match[1]:
            return re.sub(r"  +", "  ", inspect.cleandoc(match[1]))
    return ""


def source(factory: Any) -> str:
    """The first author and the year of the reference in a docstring."""
    match = re.search(r"References?:\s*((?:.+\n?)+)", inspect.getdoc(factory) or "")
    text = " ".join(match[1].split()) if match else ""
    year = re.search(r"\b(?:19|20)\d\d\b", text)
    return f"{re.split(',| et al', text)[0]} {year[0]}" if year else "none"


def refused(cell: rnnjax.Cell) -> list[str]:
    """The rules that do not admit a cell."""
    net = rnnjax.unroll(cell)
    xs = jnp.zeros((2, STEPS, FEATURES))
    params = jax.eval_shape(net.init, jax.random.key(0), xs[0])
    batch = Batch(xs, xs)
    names = []
    for name in REFUSING:
        try:
            jax.eval_shape(RULES[name](net, regress, 0).init, params, batch)
        except (UserError, ValueError):
            names.append(name)
    return names


def state_size(cell: rnnjax.Cell, params: Any) -> int:
    """How many numbers the carry of a cell holds."""
    carry = jax.eval_shape(lambda p: cell.initial_carry(cell.weights(p), jnp.zeros(FEATURES)), params)
    return sum(leaf.size for leaf in jax.tree.leaves(carry))


def goes_stepwise(program: Any) -> bool:
    """Whether a traced program loops over all steps, outside of functions with a backward pass of their own.

    A loop of a few operations, such as a largest value so far, does not count.
    """
    for eqn in program.eqns:
        if eqn.primitive.name == "scan" and eqn.params["length"] == STEPS and len(eqn.params["jaxpr"].jaxpr.eqns) > 5:
            return True
        if "custom_vjp" not in eqn.primitive.name:
            inner = jax.tree.leaves(eqn.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr"))
            parts = [getattr(p, "jaxpr", p) for p in inner]
            if any(goes_stepwise(p) for p in parts if hasattr(p, "eqns")):
                return True
    return False


def is_fast(cell: rnnjax.Cell, params: Any) -> bool:
    """Whether a window of a cell is run by other code than its step again and again."""
    xs, net = jnp.zeros((STEPS, FEATURES)), rnnjax.unroll(cell)
    return not goes_stepwise(jax.make_jaxpr(lambda p: rnnjax.run(net, p, xs))(params).jaxpr)


def cells_page() -> str:
    """All layers that `--cell` takes."""
    rows = []
    for name, factory in sorted(CELLS.items()):
        cell = factory(UNITS)
        params = jax.eval_shape(cell.init, jax.random.key(0), jnp.zeros(FEATURES))
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        state = state_size(cell, params)
        window, refuses = "yes" if is_fast(cell, params) else "no", ", ".join(f"`{r}`" for r in refused(cell)) or "none"
        code = equation(factory).replace("|", "\\|")
        lines = "<br>".join(f"`{line}`" for line in code.split("\n") if line)
        values = (f"`{name}`", lines, str(count), str(state), window, refuses, source(factory))
        rows.append(f"| {' | '.join(values)} |")
    return CELLS_HEAD.format(units=UNITS, features=FEATURES) + "\n".join(rows) + "\n```\n"


CELLS_HEAD = """---
html_theme.sidebar_secondary.remove: true
---

# All cells

The layers that `--cell` takes. Parameters and the numbers of the state are counted for {units} units and {features}
features of an input. A cell with a window of its own runs a whole sequence by faster code; the others run step by
step, with the same result. All rules take a cell but those listed as refusing it.

```{{table}}
:class: cells

| cell | recurrence | parameters | state | own window | rules that refuse it | source |
|---|---|---|---|---|---|---|
"""


def deprecations_page() -> str:
    """Names that changed."""
    names = [f"| `{old}` | `{new}` |" for old, new in _deprecated.NEW_NAMES.items()]
    names += [f"| `{old}(path, ...)` | `save(path, {new}(...))` |" for old, new in _deprecated.NEW_PICTURES.items()]
    names += [
        f"| `{path}({old}=...)` | `{path}({new}=...)` |"
        for path, changes in _deprecated.NEW_ARGUMENTS.items()
        for old, new in changes.items()
    ]
    flags = [f"| `--{old}` | `--{new}` |" for old, new in _deprecated.NEW_FLAGS.items()]
    values = [
        f"| `--{flag}={old}` | `--{flag}={new}` |"
        for flag, changes in _deprecated.NEW_VALUES.items()
        for old, new in changes.items()
    ]
    intro = (inspect.getdoc(_deprecated) or "").split(": ", 1)[-1]
    return "\n".join([
        "# Names that changed", "", intro[0].upper() + intro[1:], "",
        "## In Python", "", "| old | new |", "|---|---|", *names, "",
        "## On the command line", "", "| old | new |", "|---|---|", *flags, *values, "",
    ])  # fmt: skip


def folders_table() -> str:
    """A line for each folder, to be included in a page."""
    names = sorted(rnnjax._FOLDERS)
    about = [inspect.getdoc(importlib.import_module(f"rnnjax.{name}")) or "" for name in names]
    first = [text.split("\n\n")[0].replace("\n", " ") for text in about]
    rows = [f"| `rnnjax.{name}` | {line} |" for name, line in zip(names, first, strict=True)]
    return "\n".join(["| folder | what is in it |", "|---|---|", *rows, ""])


def notebooks(folder: Path) -> dict[str, str]:
    """The tutorials of a folder, to download as notebooks."""
    scripts = [path for path in sorted(folder.glob("*.py")) if "# %%" in path.read_text()]
    return {f"notebooks/{path.stem}.ipynb": jupytext.writes(jupytext.read(path), "ipynb") for path in scripts}


def write(app: Sphinx) -> None:
    """Writes all pages, each only if it changed, so that nothing is read again without need."""
    pages = {f"reference/{name}.rst": reference(name) for name in rnnjax._FOLDERS}
    pages |= {"cells.md": cells_page(), "deprecations.md": deprecations_page(), "folders.md": folders_table()}
    pages |= notebooks(Path(app.srcdir) / "tutorials")
    for name, text in pages.items():
        path = Path(app.srcdir) / OUT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Writes before Sphinx looks for pages."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
