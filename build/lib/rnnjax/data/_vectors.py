"""Tables of word vectors as text, in the formats of word2vec, with a header, and GloVe, without one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import UserError
from rnnjax.data._files import raise_at_line, read_bytes
from rnnjax.data._numerals import parse_matrix
from rnnjax.data._opening import UTF8, decode_text
from rnnjax.data._words import Vocabulary
from rnnjax.runs import atomic_write

_COUNT = re.compile(r"[0-9]{1,18}")
_WIDEST = 1 << 20  # numbers per vector


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


def read_vectors(path: str, encoding: str = UTF8) -> Vectors:
    """Reads word vectors, one word and its numbers per line, separated by spaces; a first line `n D` is optional.

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
    rows = _lines(path, encoding)
    header = rows[0].split()
    headed = len(header) == 2 and all(n.lstrip("+-").isdigit() for n in header)
    if headed and not all(map(_COUNT.fullmatch, header)):
        raise_at_line(path, 1, "a first line of two whole numbers is a header, how many words and of how many numbers")
    said = [int(n) for n in header] if headed else None
    body, start = (rows[1:], 2) if said else (rows, 1)
    width = said[1] if said else len(rows[0].rstrip(" \t").split(" ")) - 1
    if not 1 <= width <= _WIDEST:
        raise_at_line(path, 1, f"vectors of {width} numbers: 1 to {_WIDEST} are read")
    if said and said[0] != len(body):
        raise_at_line(path, 1, f"this header says {said[0]} words, and {len(body)} follow")
    found: dict[str, tuple[int, str]] = {}
    for line, row in enumerate(body, start):
        word, *fields = row.rstrip(" \t").rsplit(" ", width)  # a word may contain a space
        if len(fields) != width or not word:
            raise_at_line(path, line, f"a word and {len(row.split(' ')) - 1} numbers, where {width} are due")
        found.setdefault(word, (line, " ".join(fields)))
    if not found:
        raise UserError(f"{path} has no word")
    return Vectors(tuple(found), parse_matrix(list(found.values()), path, np.float32), len(body) - len(found))


def _lines(path: str, encoding: str) -> list[str]:
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
    with np.errstate(over="ignore"):
        table = np.asarray(table, np.float32)
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

    Example:
      >>> import jax, numpy as np
      >>> vectors = Vectors(("to", "be"), np.eye(2, dtype=np.float32))
      >>> table = embedding_table(vectors, Vocabulary(("be", "or")))
      >>> table.found, table.init(jax.random.key(0), (3, 2)).shape
      (1, (3, 2))
    """
    places = {word: i for i, word in enumerate(vectors.words)}
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
