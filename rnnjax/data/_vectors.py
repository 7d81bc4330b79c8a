"""Tables of word vectors as text, in the formats of word2vec, with a header, and GloVe, without one."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import UserError
from rnnjax.base._arguments import check_array, check_is, check_list, check_path
from rnnjax.data._counted import note_of
from rnnjax.data._files import raise_at_line, read_bytes
from rnnjax.data._numerals import POINT, is_number, parse_matrix
from rnnjax.data._opening import UTF8, decode_text
from rnnjax.data._words import Vocabulary
from rnnjax.runs import atomic_write

_COUNT = re.compile(r"[0-9]{1,18}")
_WIDEST = 1 << 20  # numbers per vector
_SPACE = re.compile("[ \t]+")
_PROBED = 100  # lines that decide whether a tab follows each word


class Vectors(NamedTuple):
    """Words and their vectors.

    Attributes:
      words: n of them.
      table: float32 `[n, D]`.
      repeated: number of lines that were skipped because their word had occurred before.
    """

    words: tuple[str, ...]
    table: np.ndarray
    repeated: int = 0

    def note(self) -> str:
        """Returns a note of what was skipped; "" if nothing was.

        Example:
          >>> Vectors(("a",), np.ones((1, 2)), repeated=1).note()
          'passed over: 1 line of words that came before'
        """
        return note_of({"lines of words that came before": self.repeated})


def read_vectors(path: str, encoding: str = UTF8) -> Vectors:
    """Reads word vectors, one word and its numbers per line, separated by spaces; a first line `n D` is optional.

    A tab may follow each word. Without a first line, the length of most vectors is that of all.

    Args:
      path: a text file, which may be compressed with gzip. The first vector of a repeated word is kept.
      encoding: of the text; a byte order mark takes precedence.

    Raises:
      UserError: a line, which is named, has more or fewer numbers than the first, or a field is not a number; or the
        number of lines does not match the header.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "toy.txt"
      >>> _ = path.write_text("2 3\\nto 0.1 0.2 0.3\\nbe 1 2 3\\n")
      >>> vectors = read_vectors(str(path))
      >>> vectors.words, vectors.table.shape
      (('to', 'be'), (2, 3))

    Reference: Mikolov et al., word2vec, 2013; Pennington, Socher, Manning, GloVe, 2014.
    """
    rows = _yield_lines(path, encoding)
    header = _SPACE.split(rows[0].strip(" \t"))
    headed = len(header) == 2 and all(n.lstrip("+-").isdigit() for n in header)
    if headed and not all(map(_COUNT.fullmatch, header)):
        raise_at_line(path, 1, "a first line of two whole numbers is a header, how many words and of how many numbers")
    said = [int(n) for n in header] if headed else None
    body, start = (rows[1:], 2) if said else (rows, 1)
    if said and said[0] != len(body):
        raise_at_line(path, 1, f"this header says {said[0]} words, and {len(body)} follow")
    width = said[1] if said else _width(body)
    if not 1 <= width <= _WIDEST:
        raise_at_line(path, 1, f"vectors of {width} numbers: 1 to {_WIDEST} are read")
    tabs = _after_tabs(body, width)
    found: dict[str, tuple[int, str]] = {}
    for line, row in enumerate(body, start):
        word, *fields = row.split("\t", 1) if tabs else _split_fields(row.rstrip(" \t"), width)
        if (not tabs and len(fields) != width) or not word:
            raise_at_line(path, line, f"a word and {len(row.split(' ')) - 1} numbers, where {width} are due")
        if not said and POINT.fullmatch(word.rpartition(" ")[2]) and " " in word:
            raise_at_line(path, line, f"the word {word!r:.40} ends with a number, and {width} numbers follow")
        found.setdefault(word, (line, " ".join(fields)))
    if not found:
        raise UserError(f"{path} has no word")
    table = parse_matrix(list(found.values()), path, np.float32)
    return Vectors(tuple(found), table, len(body) - len(found))


def _split_fields(row: str, width: int) -> list[str]:
    """Cuts a word, which may contain spaces, and `width` fields, which one space or several separate."""
    word, *fields = row.rsplit(" ", width)
    if all(fields) and word.rstrip(" ") == word:
        return [word, *fields]
    found = re.fullmatch(rf"(.*?)((?: +[^ ]+){{{width}}})", row)
    return [found[1], *found[2].strip(" ").split()] if found else [word]


def _width(body: Sequence[str]) -> int:
    """Returns how many numbers most of the first lines end with; of counts that are as common, the first.

    A word may contain spaces, and a damaged line may be short.
    """
    each: Counter[int] = Counter()
    for row in body[:_PROBED]:
        fields = _SPACE.split(row.rstrip(" \t"))
        words = [i for i, field in enumerate(fields) if i and not is_number(field)]
        last = words[-1] if words and words[-1] < len(fields) - 1 else 0
        each[len(fields) - 1 - last] += 1
    return max(each, key=lambda n: each[n])


def _after_tabs(body: Sequence[str], width: int) -> bool:
    """Whether every line has a word, a tab and `width` numbers, which tabs or spaces separate."""
    pieces = [row.split("\t", 1) for row in body[:_PROBED]]
    return bool(pieces) and all(
        len(piece) == 2 and len(fields := piece[1].split()) == width and all(map(POINT.fullmatch, fields))
        for piece in pieces
    )


def _yield_lines(path: str, encoding: str) -> list[str]:
    """Returns the lines of a file; if it has line feeds, other line ends belong to words, as in large tables."""
    text = decode_text(read_bytes(path), path, encoding, feeds=True)
    if not text:
        raise UserError(f"{path} is empty")
    lines = text.removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines] if lines[0].endswith("\r") else lines


def write_vectors(path: str, words: Sequence[str], table: np.ndarray) -> None:
    """Writes word vectors in word2vec's text format, which other tools read too.

    `read_vectors` reads them back bit for bit, in single precision.

    Args:
      path: of the file.
      words: n different words; none is empty, ends with a space or a tab, or contains a line end.
      table: `[n, D]`, finite.

    Raises:
      UserError: the file cannot be written.
      ValueError: the words or the table are not of this form.

    Example:
      >>> import numpy as np, pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "toy.txt"
      >>> write_vectors(str(path), ["to", "be"], np.eye(2))
      >>> read_vectors(str(path)).table.tolist()
      [[1.0, 0.0], [0.0, 1.0]]
    """
    check_path("write_vectors: path", path)
    check_list("write_vectors: words", words, str)
    with np.errstate(over="ignore"):
        table = np.asarray(check_array("write_vectors: table", table), np.float32)
    if table.ndim != 2 or len(words) != len(table) or not table.size or not np.isfinite(table).all():
        raise ValueError(
            f"write_vectors of {len(words)} words and a table {list(table.shape)}: a row [D] of finite "
            "numbers for each word is wanted"
        )
    for word in words:
        if not word or word[-1] in " \t" or re.search("[\n\r]", word):
            raise ValueError(f"write_vectors of the word {word!r}: a line cannot hold it")
    if len(set(words)) < len(words):
        raise ValueError(f"write_vectors of the word {Counter(words).most_common(1)[0][0]!r} twice")
    rows = [f"{word} " + " ".join(map(str, row.tolist())) for word, row in zip(words, table)]
    atomic_write(path, "\n".join([f"{len(words)} {table.shape[1]}", *rows, ""]).encode())


class EmbeddingTable(NamedTuple):
    """Initial values for `embed`.

    Attributes:
      init: an initialiser: the given vectors for the words that have one, small random ones for the others.
      found: number of words that have a vector.
    """

    init: Any
    found: int


def embedding_table(vectors: Vectors, vocabulary: Vocabulary) -> EmbeddingTable:
    """Returns the table of a vocabulary; words are looked up as written and then in lower case.

    The words of the vectors are also known in their composed form (NFC), which `tokenise` returns.

    Example:
      >>> import jax, numpy as np
      >>> vectors = Vectors(("to", "be"), np.eye(2, dtype=np.float32))
      >>> table = embedding_table(vectors, Vocabulary(("be", "or")))
      >>> table.found, table.init(jax.random.key(0), (3, 2)).shape
      (1, (3, 2))
    """
    check_is("embedding_table: vectors", vectors, Vectors)
    check_is("embedding_table: vocabulary", vocabulary, Vocabulary)
    places = {unicodedata.normalize("NFC", word): i for i, word in reversed([*enumerate(vectors.words)])}
    places |= {word: i for i, word in enumerate(vectors.words)}
    at = [places.get(word, places.get(word.lower(), -1)) for word in vocabulary.words]
    known = np.array([False, *(i >= 0 for i in at)])
    rows = np.where(known[:, None], vectors.table[[0, *at]], 0).astype(np.float32)

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        if shape != rows.shape:
            raise ValueError(f"the word vectors are {rows.shape}, and the table is to be {shape}")
        spread = jnp.asarray(vectors.table.std(dtype=np.float64), dtype)
        drawn = spread * jax.random.normal(key, shape, dtype)
        return jnp.where(jnp.asarray(known)[:, None], jnp.asarray(rows, dtype), drawn)

    return EmbeddingTable(init, int(known.sum()))
