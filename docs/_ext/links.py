"""Code that names something public, in a docstring or on a page, becomes a link to its entry in the reference."""

import importlib
import re

from docutils import nodes
from sphinx.application import Sphinx

import rnnjax

NAME = re.compile(r"^(?:rnnjax\.)?(\w+(?:\.\w+)?)(?:\(.*\))?$", re.DOTALL)


def entries() -> dict[str, str]:
    """From what may stand in a text, `lstm` or `losses.mean`, to the full name in the reference."""
    known: dict[str, str] = {}
    for folder in rnnjax._FOLDERS:
        module = importlib.import_module(f"rnnjax.{folder}")
        known[folder if folder not in dir(rnnjax.cells) else f"rnnjax.{folder}"] = f"rnnjax.{folder}"
        for name in module.__all__:
            known[f"{folder}.{name}"] = f"rnnjax.{folder}.{name}"
            if name in rnnjax.__all__:
                known[name] = f"rnnjax.{folder}.{name}"
    return known


def link(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Wraps literals in references."""
    known = entries()
    objects = app.env.get_domain("py").objects
    for literal in list(doctree.findall(nodes.literal)):
        match = NAME.match(literal.astext())
        full = known.get(match[1]) if match else None
        if full not in objects or isinstance(literal.parent, (nodes.reference, nodes.title)):
            continue
        entry = objects[full]
        if page == entry.docname and "." not in match[1] and "(" not in literal.astext():
            pass  # a link within the page is one too
        target = f"{app.builder.get_relative_uri(page, entry.docname)}#{entry.node_id}"
        literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=target, internal=True))


def setup(app: Sphinx) -> dict[str, bool]:
    """Links when all pages are read."""
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
