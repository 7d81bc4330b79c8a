"""Laws of text: what is read is what was written, every character is predicted once, and bad files are named."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import numpy as np
import pytest

from rnnjax.data import find, text
from rnnjax.errors import UserError


def test_encode_and_decode_are_inverse_beyond_ascii():
    words = "Zürich, 東京, 🙂\n"
    alphabet = text.Alphabet.of(words)
    assert alphabet.decode(alphabet.encode(words)) == words
    with pytest.raises(UserError, match="the character 'x'"):
        alphabet.encode("x")


@pytest.mark.parametrize(("n", "rows", "window"), [(101, 4, 5), (102, 4, 5), (23, 7, 5), (6, 3, 5)])
def test_every_symbol_but_the_first_is_predicted_once_in_its_context(n, rows, window):
    symbols = np.arange(n)
    cut = text.in_rows(symbols, rows, window)
    assert sorted(cut.y[cut.mask]) == list(range(1, n))
    assert (cut.y[cut.mask] == cut.x[cut.mask] + 1).all()
    assert cut.x.shape[1] % window == 0


def test_reading_goes_through_each_row_and_begins_anew():
    rows = text.in_rows(np.arange(13), rows=2, window=3)
    stream, data = text.reading("train", 3), {"train": rows}
    position, seen = stream.init(data), []
    for _ in range(3):
        batch, position = stream.next(data, position, jax.random.key(0))
        seen.append((batch.x[1].tolist(), batch.restart.tolist()))
    assert seen == [([6, 7, 8], [True] * 2), ([9, 10, 11], [False] * 2), ([6, 7, 8], [True] * 2)]


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (b"caf\xe9", "not UTF-8"), (None, "No such file")])
def test_a_file_that_is_no_text_is_refused_by_name(content, message, tmp_path: Path):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as refused:
        text.read(str(path))
    assert str(path) in str(refused.value)


def test_a_file_is_found_as_it_is_named_and_else_below_the_folder_of_data_sets(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("there")
    monkeypatch.chdir(tmp_path)
    assert text.read(find("a.txt", "data")) == "there"
    (tmp_path / "a.txt").write_text("here")
    assert text.read(find("a.txt", "data")) == "here"
    assert find("b.txt", "data") == "b.txt"


def test_tiny_shakespeare_has_its_published_counts():
    path = Path(os.environ.get("RNNJAX_DATA", "../shared/data")) / "tinyshakespeare" / "input.txt"
    if not path.exists():
        pytest.skip("tinyshakespeare/input.txt is not there: set RNNJAX_DATA")
    words = text.read(str(path))
    assert (len(words), len(text.Alphabet.of(words).characters)) == (1_115_394, 65)
    assert int(len(words) * 0.9) == 1_003_854
