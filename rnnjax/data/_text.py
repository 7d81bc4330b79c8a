"""Text as symbols, and a stream of windows in which each window continues the one before."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import PyTree, UserError, check_size
from rnnjax.base._arguments import check_array, check_list, check_text
from rnnjax.data._batch import Batch
from rnnjax.data._files import read_text
from rnnjax.data._opening import UTF8
from rnnjax.data._stream import Stream
from rnnjax.data._words import checked_indices


def read(path: str, encoding: str = UTF8) -> str:
    """Returns the text of a file, which may be compressed with gzip, with every line end as "\\n".

    Args:
      path: of the file.
      encoding: of the text; a byte order mark takes precedence and is dropped.

    Raises:
      UserError: the file does not exist, is empty or damaged, or has a line in another encoding, which is named.

    Example:
      >>> read("nowhere.txt")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.txt: No such file or directory
    """
    return read_text(path, encoding)


def join_spelled(text: str, name: str = "the text") -> str:
    """Joins the characters of a text that separates them by spaces and writes a space as _.

    Args:
      text: as in the file.
      name: of the text, for the message.

    Raises:
      UserError: there is more than one character between two spaces.

    Example:
      >>> join_spelled(" t o _ b e \\n o r \\n")
      'to be\\nor\\n'
    """
    check_text("join_spelled: text", text)
    lines = [line.split(" ") for line in text.split("\n")]
    for number, words in enumerate(lines, 1):
        for word in words:
            if len(word) > 1:
                raise UserError(f"{name}, line {number}: {word!r} is not one character between spaces: leave --spelled")
    return "\n".join("".join(words) for words in lines).replace("_", " ")


def python_topics() -> str:
    """Returns a text that comes with every Python: the help topics of `pydoc`, about 0.7 million characters.

    It differs a little between versions of Python.

    Example:
      >>> len(python_topics()) > 100_000
      True
    """
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    return "\n\n".join(topics[name] for name in sorted(topics))


class Alphabet(NamedTuple):
    """The characters of a text, sorted by code point; a symbol is an index into them.

    Example:
      >>> alphabet = Alphabet.of("to be or not")
      >>> alphabet.characters, alphabet.decode(alphabet.encode("bet"))
      (' benort', 'bet')
    """

    characters: str

    @staticmethod
    def of(text: Iterable[str]) -> Alphabet:
        """Returns the alphabet of a text."""
        pieces = list(text) if isinstance(text, Iterable) else text
        check_list("Alphabet.of: text", pieces, str)
        return Alphabet("".join(sorted(set(pieces))))

    def encode(self, text: str) -> np.ndarray:
        """Returns the symbols of a text, int32 `[len(text)]`.

        Raises:
          UserError: the text has a character that is not in the alphabet.
        """
        check_text("Alphabet.encode: text", text)
        if text and not self.characters:
            raise UserError("the alphabet has no characters: the text that was learned is empty")
        codes = np.frombuffer(self.characters.encode("utf-32-le"), np.uint32)
        wanted = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        at = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        if (codes[at] != wanted).any():
            position = int(np.argmax(codes[at] != wanted))
            raise UserError(f"the character {text[position]!r} is not in the text that was learned")
        return at.astype(np.int32)

    def decode(self, symbols: Iterable[int]) -> str:
        """Returns the text of symbols.

        Raises:
          UserError: a symbol is not below the size of the alphabet, or below 0, as `decoding` writes for nan.
        """
        return "".join(self.characters[i] for i in checked_indices(symbols, len(self.characters)))


class Rows(NamedTuple):
    """A text cut into equal rows; each row reads its own part of the text, window after window.

    Attributes:
      x: symbols `[rows, T]`.
      y: the following symbols `[rows, T]`.
      mask: `[rows, T]`, true for text, false for padding.
    """

    x: np.ndarray | jax.Array
    y: np.ndarray | jax.Array
    mask: np.ndarray | jax.Array

    def windows(self, length: int) -> int:
        """Returns the number of windows of `length` in a pass."""
        return int(self.x.shape[1]) // length


def contiguous_rows(
    symbols: np.ndarray, rows: int, window: int, name: str = "the text", unit: str = "characters"
) -> Rows:
    """Cuts a text into rows of whole windows; the end is padded, and every symbol but the first is a target once.

    Args:
      symbols: `[n]`.
      rows: number of rows; fewer if the text is short.
      window: steps per window.
      name, unit: of the text and of its symbols, for the message.

    Raises:
      UserError: the text is shorter than one window.

    Example:
      >>> import numpy as np
      >>> rows = contiguous_rows(np.arange(8), rows=2, window=2)
      >>> print(rows.x, rows.mask.sum())
      [[0 1 2 3]
       [4 5 6 0]] 7
    """
    symbols = np.asarray(check_array("contiguous_rows: symbols", symbols, "[n]", "integer"))
    check_size("contiguous_rows: rows", rows)
    check_size("contiguous_rows: window", window)
    n = len(symbols) - 1
    if n < window:
        raise UserError(f"{name} has {len(symbols)} {unit}, fewer than one --truncation of {window} and the next one")
    rows = min(rows, n // window)
    steps = -(-n // (rows * window)) * window
    padding = np.zeros(rows * steps - n, symbols.dtype)
    x, y = np.concatenate([symbols[:-1], padding]), np.concatenate([symbols[1:], padding])
    shape = (rows, steps)
    return Rows(x.reshape(shape), y.reshape(shape), (np.arange(rows * steps) < n).reshape(shape))


def reading_stream(name: str, window: int, length: int = 0) -> Stream:
    """Returns the stream that reads `data[name]`, a `Rows`, window after window, and restarts at its end.

    The carry is reset only at the start of each pass: stateful training.

    Args:
      name: of the rows in the data.
      window: steps per window.
      length: windows in a pass, for evaluation.

    Example:
      >>> import jax, numpy as np
      >>> data = {"train": contiguous_rows(np.arange(9), rows=2, window=2)}
      >>> stream = reading_stream("train", window=2)
      >>> batch, position = stream.next(data, stream.init(data), jax.random.key(0))
      >>> print(batch.x, batch.restart, stream.next(data, position, None)[0].x)
      [[0 1]
       [4 5]] [ True  True] [[2 3]
       [6 7]]
    """

    check_size("reading_stream: window", window)
    check_size("reading_stream: length", length, 0)

    def next_window(data: PyTree, position: jax.Array, key: jax.Array) -> tuple[Batch, jax.Array]:
        rows: Rows = jax.tree.map(jnp.asarray, data[name])
        cut = Rows(*(jax.lax.dynamic_slice_in_dim(a, position * window, window, axis=1) for a in rows))
        restart = jnp.full(rows.x.shape[0], position == 0)
        return Batch(cut.x, cut.y, cut.mask, restart), (position + 1) % rows.windows(window)

    return Stream(lambda data: jnp.zeros((), jnp.int32), next_window, length)
