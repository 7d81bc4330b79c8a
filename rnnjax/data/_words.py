"""Words: a tokeniser, and a vocabulary sorted by frequency, whose indices start at 1."""

from __future__ import annotations

import dataclasses
import functools
import operator
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from rnnjax.base import UserError, check_size
from rnnjax.base._arguments import check_list, check_text, describe_value
from rnnjax.data._files import read_lines
from rnnjax.data._opening import UTF8

# X: belongs to the character before it; P: to the one after it; then flags, which are pairs, and other symbols.
_TOKEN = (
    r"[{P}]*\w[\w{X}]*(?:['\u2019]\w[\w{X}]*)*|[\U0001f1e6-\U0001f1ff]{2}[{X}]*"
    r"|[{P}]*[^\w\s][{X}]*(?:(?<=\u200d)[^\w\s][{X}]*)*"
)
_WORD = re.compile(r"[^ \t\f\v]+")
_MARKED = range(0x20000)  # contains all marks except variation selectors
# Also: variation selectors, regional indicators of flags, skin tones, two Katakana marks, a Thai and a Lao vowel.
_EXTENDS = "\U000e0100-\U000e01ef\U000e0020-\U000e007f\U0001f3fb-\U0001f3ff\uff9e\uff9f\u0e33\u0eb3"
_PREPENDED = "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
_CLOSING, _OPENING = frozenset(",.;:!?%)]}\u2026"), frozenset("([{")
_PAD, UNKNOWN, _BEGIN, END = 0, "<unk>", "<bos>", "<eos>"


def tokenise(text: str, lower: bool = True) -> list[str]:
    """Returns the words and punctuation marks of a text in order; an apostrophe within a word belongs to it.

    Combining marks, joiners and other format characters belong to the character before them. The text is first
    normalised to its composed form (NFC). Lower case follows Unicode and does not depend on the locale.

    Example:
      >>> tokenise("To be, or not: that's it.")
      ['to', 'be', ',', 'or', 'not', ':', "that's", 'it', '.']
      >>> tokenise("Cafe\u0301 हिन्दी")
      ['café', 'हिन्दी']

    Reference: Unicode Standard Annex 29, rule WB4; Annex 15.
    """
    check_text("tokenise: text", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        text = unicodedata.normalize("NFC", text.lower()) if lower else text
    return _token(text.isascii()).findall(text.lower() if lower else text)


def _texts(what: str, words: Iterable[str]) -> list[str]:
    """Returns words as a list, if they are texts."""
    if not isinstance(words, Iterable) or isinstance(words, str):
        raise ValueError(f"{what} is a list of words, got {describe_value(words)}")
    found = list(words)
    check_list(what, found, str)
    return found


@functools.cache
def _token(ascii_only: bool) -> re.Pattern[str]:
    """Returns the pattern of a token; ASCII text has no combining marks to match."""
    if ascii_only:
        return re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
    before = re.compile(f"[{_PREPENDED}\\u200b]")
    marks = [
        c for c in map(chr, _MARKED) if unicodedata.category(c) in ("Mn", "Mc", "Me", "Cf") and not before.match(c)
    ]
    follows = "".join(f"\\U{ord(c):08x}" for c in marks) + _EXTENDS
    return re.compile(_TOKEN.replace("{X}", follows).replace("{P}", _PREPENDED))


def detokenise(words: Iterable[str]) -> str:
    """Joins words and marks into a text, without a space before a comma and the like or after an opening bracket.

    `tokenise` returns the same words again. The original spaces are lost, so quotation marks, dashes and numbers with a
    point have a space on either side.

    Example:
      >>> detokenise(["to", "be", "(", "or", "not", ")", ",", "that", "."])
      'to be (or not), that.'
    """
    words = _texts("detokenise: words", words)
    pieces: list[str] = []
    last = ""
    for word in words:
        joined = word in _CLOSING and (last[-1:].isalnum() or last in _CLOSING)
        joined = joined or (last in _OPENING and word[:1].isalnum())
        pieces += [word] if joined or not last else [" ", word]
        last = word
    return "".join(pieces)


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Words by index; the first word has index 1, and 0 is padding.

    Attributes:
      words: word i has the index i + 1.

    Example: more frequent words come first, ties by first appearance.
      >>> vocabulary = Vocabulary.of("to be or not to be".split())
      >>> vocabulary.words, vocabulary.encode(["not", "to"]).tolist(), vocabulary.decode([2, 0, 1])
      (('to', 'be', 'or', 'not'), [4, 1], ['be', '', 'to'])
    """

    words: tuple[str, ...]

    @staticmethod
    def of(words: Iterable[str], cap: int = 0, special: Sequence[str] = ()) -> Vocabulary:
        """Builds the vocabulary of a text.

        Args:
          words: of the text.
          cap: maximal number of words, including the special ones; 0 for all.
          special: words that are always included (`UNKNOWN`, `_BEGIN`, `END`). They come last, unless they occur in the
            text often enough for a higher rank.

        Raises:
          UserError: the special words exceed the cap.

        Example:
          >>> Vocabulary.of("a b b c c c".split(), cap=3, special=[UNKNOWN]).words
          ('c', 'b', '<unk>')
        """
        check_size("Vocabulary.of: cap", cap, 0)
        check_list("Vocabulary.of: special", special, str)
        words = _texts("Vocabulary.of: words", words)
        if cap and cap <= len(special):
            raise UserError(f"a vocabulary of {cap} words has no room beside {', '.join(special)}")
        ranked = [word for word, _ in Counter(words).most_common()]
        kept = ranked[: cap - len(special)] if cap else ranked
        while cap and len(kept) + len([s for s in special if s not in kept]) < cap and len(kept) < len(ranked):
            kept.append(ranked[len(kept)])  # special words that rank high enough leave their reserved position
        return Vocabulary((*kept, *(s for s in special if s not in kept)))

    @functools.cached_property
    def index(self) -> dict[str, int]:
        """Returns the index of each word."""
        return {word: i for i, word in enumerate(self.words, 1)}

    def __len__(self) -> int:
        """Returns the number of indices, including padding: rows of a table, classes of an output."""
        return 1 + len(self.words)

    def encode(self, words: Iterable[str]) -> np.ndarray:
        """Returns indices, int32 `[n]`; an unknown word gets the index of `UNKNOWN` if the vocabulary has it.

        Raises:
          UserError: neither the word nor `UNKNOWN` is in the vocabulary.
        """
        unknown, words = self.index.get(UNKNOWN, _PAD), _texts("Vocabulary.encode: words", words)
        found = [self.index.get(word, unknown) for word in words]
        if _PAD in found:
            raise UserError(f"the word {words[found.index(_PAD)]!r} is not in the vocabulary, nor is {UNKNOWN}")
        return np.array(found, np.int32)

    def decode(self, indices: Iterable[int]) -> list[str]:
        """Returns the words of indices; "" for padding.

        Raises:
          UserError: an index is not below the length of the vocabulary, or below 0, as `decoding` writes for nan.
        """
        table = ("", *self.words)
        return [table[i] for i in checked_indices(indices, len(self))]


def checked_indices(indices: Iterable[int], n: int) -> list[int]:
    """Returns indices as integers.

    Raises:
      UserError: one of them is not from 0 to n - 1.

    Example:
      >>> checked_indices([1, 3], 3)
      Traceback (most recent call last):
      rnnjax.base.UserError: the symbol 3 is none of 0 to 2
    """
    if not isinstance(indices, Iterable):
        raise ValueError(f"symbols are integers, got {describe_value(indices)}")
    try:
        found = [operator.index(i) for i in indices]
    except TypeError as error:
        raise ValueError(f"symbols are integers, got {describe_value(indices)}") from error
    for i in found:
        if not 0 <= i < n:
            why = " (-1 stands for logits that are nan)" if i == -1 else ""
            raise UserError(f"the symbol {i} is none of 0 to {n - 1}{why}")
    return found


def read_words(path: str, end: str = END, encoding: str = UTF8) -> list[str]:
    """Reads the words of a file that separates them by spaces, and adds `end` after each line, as for Penn Treebank.

    Spaces and tabs separate words; other kinds of space, such as no-break spaces, belong to a word.

    Args:
      path: a text file, which may be compressed with gzip.
      end: added after each line; "" for none.
      encoding: of the text; a byte order mark takes precedence.

    Raises:
      UserError: the file cannot be read, is empty, or has a line in another encoding, which is named.

    Example:
      >>> read_words("nowhere.txt")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.txt: No such file or directory
    """
    lines = read_sentences(path, encoding)
    return [word for line in lines for word in (*line, *([end] if end else []))]


def read_sentences(path: str, encoding: str = UTF8) -> list[list[str]]:
    """Reads the words of each line of a file that separates them by spaces, as for a parallel corpus.

    Spaces and tabs separate words; other kinds of space, such as no-break spaces, belong to a word.

    Args:
      path: a text file, which may be compressed with gzip.
      encoding: of the text; a byte order mark takes precedence.

    Returns:
      the words of each line, none for a blank one.

    Raises:
      UserError: the file cannot be read, is empty, or has a line in another encoding, which is named.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.de"
      >>> _ = path.write_text("ein Hund\\n\\nzwei\\n")
      >>> read_sentences(str(path))
      [['ein', 'Hund'], [], ['zwei']]
    """
    return [_WORD.findall(line) for line in read_lines(path, encoding)]
