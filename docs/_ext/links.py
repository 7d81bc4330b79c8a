"""Code that names something public, in a docstring or on a page, becomes a link to its entry in the reference."""

import importlib
import re

from docutils import nodes
from sphinx.application import Sphinx

import rnnjax

NAME = re.compile(r"^(\w+(?:\.\w+)*)(?:\(.*\))?$", re.DOTALL)  # a call counts as its name


def entries() -> dict[str, str]:
    """From what may stand in a text, `lstm`, `losses.mean` or `rnnjax.losses`, to the full name in the reference."""
    known: dict[str, str] = {}
    for folder in rnnjax._FOLDERS:
        known[f"rnnjax.{folder}"] = f"rnnjax.{folder}"
        for name in importlib.import_module(f"rnnjax.{folder}").__all__:
            known[f"{folder}.{name}"] = known[f"rnnjax.{folder}.{name}"] = f"rnnjax.{folder}.{name}"
            if name in rnnjax.__all__:
                known[name] = known[f"rnnjax.{name}"] = f"rnnjax.{folder}.{name}"
    return known


def entries_within(folder: str) -> dict[str, str]:
    """What is known on the page of a folder in the reference beside that: its own names and the other folders."""
    own = importlib.import_module(f"rnnjax.{folder}").__all__
    return {f: f"rnnjax.{f}" for f in rnnjax._FOLDERS} | {name: f"rnnjax.{folder}.{name}" for name in own}


def link(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Wraps literals in references."""
    known = entries()
    if page.startswith("generated/reference/"):
        known |= entries_within(page.rpartition("/")[2])
    objects = app.env.get_domain("py").objects
    for literal in list(doctree.findall(nodes.literal)):
        match = NAME.match(literal.astext())
        full = known.get(match[1]) if match else None
        if full not in objects or isinstance(literal.parent, (nodes.reference, nodes.title)):
            continue
        entry = objects[full]
        target = f"{app.builder.get_relative_uri(page, entry.docname)}#{entry.node_id}"
        literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=target, internal=True))


def setup(app: Sphinx) -> dict[str, bool]:
    """Links when all pages are read."""
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
