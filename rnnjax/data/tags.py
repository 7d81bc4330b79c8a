"""Sentences with a tag for each word, in columns: the format of the CoNLL tasks."""

from __future__ import annotations

from typing import NamedTuple

from rnnjax.data import blocks, refuse
from rnnjax.errors import UserError


class Tagged(NamedTuple):
    """A sentence.

    Attributes:
      words: of it.
      tags: one for each word.
    """

    words: list[str]
    tags: list[str]


def read_tagged(path: str, word: int = 0, tag: int = -1) -> list[Tagged]:
    """The sentences of a file with a word a line, its columns between tabs or spaces, blank lines between sentences.

    Lines before the first word of a sentence that begin with "# " are remarks; `-DOCSTART-` stands between documents.

    Args:
      path: a UTF-8 file, which gzip may have compressed.
      word, tag: their columns, from 0 or from the end (-1).

    Raises:
      UserError: a line, which is named, has another number of columns than the first; or no such column; or there is no
        sentence.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "train.txt"
      >>> _ = path.write_text("Dogs NNS B-NP\\nbark VBP B-VP\\n\\nYes UH O\\n")
      >>> [(s.words, s.tags) for s in read_tagged(str(path))]
      [(['Dogs', 'bark'], ['B-NP', 'B-VP']), (['Yes'], ['O'])]
    """
    found: list[Tagged] = []
    width = 0
    for block in blocks(path):
        while block and block[0][1].startswith("# "):
            block = block[1:]
        rows = [(line, text.split("\t") if "\t" in text else text.split()) for line, text in block]
        if not rows or rows[0][1][0] == "-DOCSTART-":
            continue
        for line, row in rows:
            width = width or len(row)
            if len(row) != width:
                refuse(path, line, f"{len(row)} columns, and {width} in the lines before")
            if max(word, tag, -word - 1, -tag - 1) >= width:
                refuse(path, line, f"{width} columns, and none numbered {max(word, tag)}")
        found.append(Tagged([row[word] for _, row in rows], [row[tag] for _, row in rows]))
    if not found:
        raise UserError(f"{path} has no sentence")
    return found
