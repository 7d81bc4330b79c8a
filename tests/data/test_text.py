"""Laws of text: what is read is what was written, every character is predicted once, and bad files are named."""

from __future__ import annotations

import gzip
import importlib
import os
from pathlib import Path

import _launching as launching  # noqa: F401  # finds the experiments
import jax
import numpy as np
import pytest

from rnnjax import app
from rnnjax.base import UserError
from rnnjax.data import Alphabet, contiguous_rows, find, join_spelled, read, reading_stream


def test_encode_and_decode_are_inverse_beyond_ascii():
    words = "Zürich, 東京, 🙂\n"
    alphabet = Alphabet.of(words)
    assert alphabet.decode(alphabet.encode(words)) == words
    with pytest.raises(UserError, match="the character 'x'"):
        alphabet.encode("x")


@pytest.mark.parametrize(("n", "rows", "window"), [(101, 4, 5), (102, 4, 5), (23, 7, 5), (6, 3, 5)])
def test_every_symbol_but_the_first_is_predicted_once_in_its_context(n, rows, window):
    symbols = np.arange(n)
    cut = contiguous_rows(symbols, rows, window)
    assert sorted(cut.y[cut.mask]) == list(range(1, n))
    assert (cut.y[cut.mask] == cut.x[cut.mask] + 1).all()
    assert cut.x.shape[1] % window == 0


def test_reading_goes_through_each_row_and_begins_anew():
    rows = contiguous_rows(np.arange(13), rows=2, window=3)
    stream, data = reading_stream("train", 3), {"train": rows}
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
        read(str(path))
    assert str(path) in str(refused.value)


def test_gzip_and_characters_spelled_out_are_read_as_the_text_they_are(tmp_path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b" t o _ b e \n o r \n"))
    assert join_spelled(read(str(tmp_path / "a.txt.gz"))) == "to be\nor\n"
    with pytest.raises(UserError, match=r"a\.txt, line 2: 'or' is not one character"):
        join_spelled("t o\nor", "a.txt")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"to be or not")[:-9])
    with pytest.raises(UserError, match="gzip data are damaged"):
        read(str(tmp_path / "a.txt.gz"))


def test_validation_and_test_texts_have_files_of_their_own_or_are_cut_from_the_end(tmp_path):
    char_lm = importlib.import_module("experiments.char_lm")
    for name, content in (("a", "0123456789"), ("v", "valid"), ("t", "test")):
        (tmp_path / name).write_text(content)
    given = {"data": str(tmp_path / "a"), "valid": 0.2, "test": 0.1}
    config = app.Config({n: char_lm.FLAGS[n].value for n in char_lm.FLAGS} | given)
    owns: tuple[tuple[str, ...], ...] = ((), ("valid_data",), ("test_data",), ("valid_data", "test_data"))
    cuts = [char_lm.split_text(config.replace(**{n: str(tmp_path / n[0]) for n in own})) for own in owns]
    assert [tuple(cut.values()) for cut in cuts] == [
        ("0123456", "78", "9"),
        ("012345678", "valid", "9"),
        ("01234567", "89", "test"),
        ("0123456789", "valid", "test"),
    ]


def test_a_file_is_found_as_it_is_named_and_else_below_the_folder_of_data_sets(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("there")
    monkeypatch.chdir(tmp_path)
    assert read(find("a.txt", "data")) == "there"
    (tmp_path / "a.txt").write_text("here")
    assert read(find("a.txt", "data")) == "here"
    assert find("b.txt") == "b.txt"
    with pytest.raises(UserError, match=r"^b.txt does not exist, nor does it below --data_dir=data$"):
        find("b.txt", "data")


def test_tiny_shakespeare_has_its_published_counts():
    path = Path(os.environ.get("RNNJAX_DATA", "../shared/data")) / "tinyshakespeare" / "input.txt"
    if not path.exists():
        pytest.skip("tinyshakespeare/input.txt is not there: set RNNJAX_DATA")
    words = read(str(path))
    assert (len(words), len(Alphabet.of(words).characters)) == (1_115_394, 65)
    assert int(len(words) * 0.9) == 1_003_854


def test_the_characters_of_the_penn_treebank_have_their_published_counts():
    folder = Path(os.environ.get("RNNJAX_DATA", "../shared/data")) / "ptb"
    names = ("ptb.char.train.txt.gz", "ptb.char.valid.txt", "ptb.char.test.txt")
    if not all((folder / name).exists() for name in names):
        pytest.skip(f"ptb/{names[0]} and the like are not there: set RNNJAX_DATA")
    parts = [join_spelled(read(str(folder / name))) for name in names]
    assert [len(part) for part in parts] == [5_017_482, 393_042, 442_423]
    assert len(Alphabet.of("".join(parts)).characters) == 50
