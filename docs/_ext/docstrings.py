"""Docstrings of the library as reStructuredText.

A docstring is plain text: paragraphs, equations set off by indentation, lists with dashes, and sections that begin
with a word and a colon. Names in single backticks are code.
"""

import re
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx

LISTS = ("Args", "Raises", "Attributes", "Warns", "Yields")
HEAD = re.compile(r"^(Args|Raises|Attributes|Warns|Yields|Returns|Example|Examples|Reference|References|Note):\s*(.*)")
ITEM = re.compile(r"^([\w*, .]+?): (.*)")
CODE = re.compile(r"(`+[^`]+`+)")


def text_of(line: str) -> str:
    """A line of prose: code keeps its characters, all others lose their meaning in reStructuredText."""
    parts = CODE.split(line)
    for i, part in enumerate(parts):
        if CODE.fullmatch(part):
            after = "\\ " if parts[i + 1][:1].isalnum() else ""  # `Seq`s: code ends within a word
            parts[i] = f"``{part.strip('`')}``{after}"
        else:
            parts[i] = re.sub(r"([*_|\\<>])", r"\\\1", part)
    return "".join(parts)


def blocks_of(lines: list[str]) -> Iterator[list[str]]:
    """The sections of a docstring: each begins with a line that HEAD matches, the first with any."""
    block: list[str] = []
    for line in lines:
        if HEAD.match(line) and block:
            yield block
            block = []
        block.append(line)
    yield block


def body_of(lines: list[str]) -> Iterator[str]:
    """Paragraphs and lists as they are, what is indented after an empty line as it is printed."""
    literal = item = False
    previous = ""
    for line in lines:
        indent = len(line) - len(line.lstrip())
        item = line.startswith("- ") or (item and (not line.strip() or 0 < indent < 4))
        if line.strip() and indent >= 4 and not item and not literal and not previous.strip():
            yield from (".. code-block:: text", "")
            literal = True
        elif line.strip() and indent < 4:
            if literal:
                yield ""
            literal = False
        if line.startswith("- ") and previous.strip() and not item_like(previous):
            yield ""
        yield line if literal else " " * indent + text_of(line.strip())
        previous = line


def item_like(line: str) -> bool:
    """Whether a line is of a list."""
    return line.startswith(("- ", "  "))


def items_of(lines: list[str]) -> Iterator[str]:
    """`name: text` as a list; continuation lines are indented further."""
    base = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    for line in lines:
        line = line[base:]
        match = ITEM.match(line)
        if match:
            names = ", ".join(f"``{name.strip()}``" for name in match[1].split(","))
            yield f"- {names}: {text_of(match[2])}"
        elif line.strip():
            yield f"{'  ' if line.startswith(' ') else '- '}{text_of(line.strip())}"


def example_of(lines: list[str]) -> Iterator[str]:
    """A session at the prompt; prose before it stays prose."""
    base = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    code = False
    for line in lines:
        if line.strip().startswith(">>>") and not code:
            yield from ("", ".. code-block:: pycon", "")
            code = True
        yield f"   {line[base:]}" if code else text_of(line.strip())


def convert(lines: list[str]) -> Iterator[str]:
    """All of a docstring."""
    for block in blocks_of(lines):
        match = HEAD.match(block[0])
        if match is None:
            yield from body_of(block)
            continue
        head, first = match.groups()
        yield from ("", f"**{head}**" + (f": {text_of(first)}" if first else ""))
        if head in LISTS:
            yield ""
            yield from items_of(block[1:])
        elif head.startswith("Example"):
            yield from example_of(block[1:])
        else:
            yield from (text_of(line.strip()) for line in block[1:])
        yield ""


def joined(lines: list[str]) -> list[str]:
    """Lines, those in one where code goes on from one to the next."""
    whole: list[str] = []
    for line in lines:
        if whole and whole[-1].count("`") % 2 and ">>>" not in whole[-1]:
            whole[-1] += f" {line.strip()}"
        else:
            whole.append(line)
    return whole


def process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Replaces the lines of a docstring in place."""
    lines[:] = list(convert(joined(lines)))


def skip(app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Fields of records are described under Attributes, once."""
    return True if not callable(obj) and not isinstance(obj, (property, classmethod, staticmethod)) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Listens to autodoc."""
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
