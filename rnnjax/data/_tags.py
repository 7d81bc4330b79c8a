"""Sentences with a tag for each word, in columns, the format of the CoNLL tasks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from rnnjax.base import UserError
from rnnjax.base._arguments import check_list, describe_value
from rnnjax.data._counted import Counted
from rnnjax.data._files import raise_at_line, read_blocks
from rnnjax.data._labelled import name_some
from rnnjax.data._opening import UTF8

NONE = ""  # the tag of a word without one
_NOTHING = "_"  # the empty field of CoNLL-U
_MARK = re.compile("-DOCSTART-|#(begin|end) document([ \t;]|$)")  # lines between documents
_NUMBERED = re.compile(r"[0-9]+([-.][0-9]+)?")  # the first column of CoNLL-U: 2, 2-3, 5.1
_CONLLU = 10  # number of columns of CoNLL-U

_SPACES = re.compile(" +")
_Block = list[tuple[int, str]]


class Tagged(NamedTuple):
    """A tagged sentence.

    Attributes:
      words: of the sentence.
      tags: one per word; "" for a word without one.
    """

    words: list[str]
    tags: list[str]


class Sentences(Counted[Tagged]):
    """Sentences, and counts of what their reader skipped.

    Attributes:
      passed: number of skipped lines of each kind.
      untagged: number of words without a tag.

    Example:
      >>> Sentences([Tagged(("the", "man"), ("DET", ""))], {"comment": 2}).untagged
      1
    """

    def __init__(self, found: Iterable[Tagged] = (), passed: Mapping[str, int] | None = None):
        super().__init__(found, passed)
        self.untagged = sum(tag == NONE for sentence in self for tag in sentence.tags)

    def note(self) -> str:
        """Returns a note of what was skipped; "" if nothing was.

        Example:
          >>> Sentences([Tagged(["Yes"], [""])], {"remarks": 2}).note()
          'passed over: 2 remarks, 1 word without a label'
        """
        return Counted((), {**self.passed, "words without a label": self.untagged}).note()


def read_tagged(path: str, word: int = 0, tag: int = -1, encoding: str = UTF8, tags: Sequence[str] = ()) -> Sentences:
    """Reads sentences with one word per line, columns separated by tabs or spaces, and blank lines between sentences.

    Lines `-DOCSTART-`, `#begin document` and `#end document` separate documents: they end a sentence and belong to
    none. Lines before the first word of a sentence that begin with "# " are comments, unless they have as many columns
    as the others and a tag that other words have; then # is a word. If the first column numbers the words (CoNLL-U),
    every line that begins with # is a comment, and multiword tokens (2-3) and empty nodes (5.1) are skipped. The tag _
    stands for no tag.

    Args:
      path: a text file, which may be compressed with gzip.
      word, tag: indices of their columns, from 0 or from the end (-1).
      encoding: of the text; a byte order mark takes precedence.
      tags: the possible tags, beside none; () for any.

    Returns:
      a list that also counts the skipped lines.

    Raises:
      UserError: a line, which is named, has more or fewer columns than the first, no word, or a tag that is not one of
        `tags`; the column does not exist, or is the same for words and tags; the words would be the numbers of CoNLL-U;
        or there is no sentence.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "train.txt"
      >>> _ = path.write_text("-DOCSTART- -X- O\\nDogs NNS B-NP\\nbark VBP B-VP\\n\\nYes UH O\\n")
      >>> found = read_tagged(str(path))
      >>> [(s.words, s.tags) for s in found], found.note()
      ([(['Dogs', 'bark'], ['B-NP', 'B-VP']), (['Yes'], ['O'])], 'passed over: 1 mark between documents')
    """
    for name, column in (("word", word), ("tag", tag)):
        if isinstance(column, bool) or not hasattr(column, "__index__"):
            raise ValueError(f"read_tagged: {name} is the index of a column, got {describe_value(column)}")
    check_list("read_tagged: tags", tags, str)
    passed: Counter[str] = Counter()
    parts = [part for block in read_blocks(path, encoding) for part in _split_documents(block, passed)]
    firsts = [_split_columns(text)[0] for part in parts for _, text in part if not text.startswith("#")]
    numbered = bool(firsts) and all(_NUMBERED.fullmatch(first) for first in firsts)
    rows = [_split_columns(text) for part in parts for _, text in part if not text.startswith("#")]
    known = {(len(row), row[tag]) for row in rows if -len(row) <= tag < len(row)}
    found, width = [], 0
    for part in parts:
        sentence = Tagged([], [])
        for line, text in part:
            row = _split_columns(text)
            hash_word = not numbered and -len(row) <= tag < len(row) and (len(row), row[tag]) in known
            if text.startswith("#") if numbered else text.startswith("# ") and not sentence.words and not hash_word:
                passed["remarks"] += 1
                continue
            width = width or len(row)
            _check_columns(path, line, row, width, word, tag)
            if numbered and width == _CONLLU and not word % width:
                raise_at_line(
                    path, line, "the first column numbers the words, as in CoNLL-U: the words are in column 1"
                )
            if numbered and word % width and (kind := _non_word_kind(row[0])):
                passed[kind] += 1
                continue
            if not row[word]:
                raise_at_line(path, line, "no word")
            name = NONE if row[tag] == _NOTHING else row[tag]
            if tags and name not in (NONE, *tags):
                raise_at_line(path, line, f"the tag {name!r:.40} of {row[word]!r:.40} is none of {name_some(tags)}")
            sentence.words.append(row[word])
            sentence.tags.append(name)
        found += [sentence] * bool(sentence.words)
    if not found:
        raise UserError(f"{path} has no sentence")
    return Sentences(found, passed)


def _check_columns(path: str, line: int, row: list[str], width: int, word: int, tag: int) -> None:
    """Refuses a line of another width than the first, and columns that do not exist or are the same."""
    if len(row) != width:
        raise_at_line(path, line, f"{len(row)} columns, and {width} in the lines before")
    for column in (word, tag):
        if not -width <= column < width:
            raise_at_line(path, line, f"{width} columns, and none numbered {column}")
    if word % width == tag % width:
        raise_at_line(path, line, f"column {word % width} of {width} for words and tags alike: tabs or spaces separate")


def _split_columns(text: str) -> list[str]:
    """Splits a line at tabs, else at spaces; other kinds of space belong to a word."""
    return [field.strip(" ") for field in text.split("\t")] if "\t" in text else _SPACES.split(text.strip(" "))


def _split_documents(block: _Block, passed: Counter[str]) -> Iterator[_Block]:
    """Splits a block of lines at the marks between documents, which are counted."""
    part: _Block = []
    for line, text in block:
        if _MARK.match(text.lstrip(" ")):
            passed["marks between documents"] += 1
            yield part
            part = []
        else:
            part.append((line, text))
    yield part


def _non_word_kind(first: str) -> str:
    """Returns the kind of a CoNLL-U line that is not a word, by its first column; "" for a word."""
    return {"-": "tokens of several words", ".": "empty nodes"}.get(first.strip("0123456789"), "")
