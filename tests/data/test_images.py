"""Laws of images: what is read is what was written, an epoch has every image once, and bad files are named."""

from __future__ import annotations

import gzip
import importlib
import os
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _launching import launch

from rnnjax import app
from rnnjax.base import UserError
from rnnjax.data import Images, digits, idx_folder, images_in_order, read_idx, shuffled_images, split
from rnnjax.data._images import read_images
from rnnjax.estimators import score

# Two images of 2 x 3 pixels and their labels, written by hand.
PIXELS = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 250, 251, 252, 253, 254, 255])
LABELS = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 0])
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def folder_of(path: Path, *contents: bytes) -> str:
    """A folder with the four files."""
    for name, content in zip(NAMES, contents):
        (path / name).write_bytes(content)
    return str(path)


def labelled(n: int) -> Images:
    """Images that are their labels."""
    y = np.arange(n, dtype=np.int32)
    return Images(np.repeat(y[:, None], 4, axis=1).astype(np.uint8), y)


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_an_idx_file_written_by_hand_is_read_back(packed, tmp_path):
    for name, content in (("images", PIXELS), ("labels", LABELS)):
        (tmp_path / name).write_bytes(packed(content))
    array = read_idx(str(tmp_path / "images"))
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, [[[1, 2, 3], [4, 5, 6]], [[250, 251, 252], [253, 254, 255]]])
    x, y = read_images(str(tmp_path / "images"), str(tmp_path / "labels"))
    assert (x.tolist()[0], y.tolist()) == ([1, 2, 3, 4, 5, 6], [7, 0])


@pytest.mark.parametrize(
    "kind, number", [(9, b"\xff"), (11, b"\x01\x02"), (12, b"\xff\xff\xff\xfe"), (13, b"\x3f\xc0\0\0")]
)
def test_numbers_of_other_kinds_are_big_endian(kind, number, tmp_path):
    (tmp_path / "a").write_bytes(bytes([0, 0, kind, 1, 0, 0, 0, 1]) + number)
    array = read_idx(str(tmp_path / "a"))
    assert array.dtype.isnative and array.tolist() == [{9: -1, 11: 258, 12: -2, 13: 1.5}[kind]]


FAULTS = {
    "empty": (b"", "not an idx file: it is empty"),
    "a text": (b"not an idx file", "not an idx file: it begins with the bytes 6e 6f 74 20"),
    "no such kind": (b"\0\0\x0a" + PIXELS[3:], "not an idx file: it begins with the bytes 00 00 0a 03"),
    "cut in its header": (PIXELS[:9], "cut short: it ends within its header, after 9 bytes"),
    "cut in its numbers": (PIXELS[:-1], "cut short: its header says 2 x 2 x 3, 12 bytes, and 11 follow"),
    "too long": (PIXELS + b"\0", "does not end where it should: its header says 2 x 2 x 3, 12 bytes, and 13 follow"),
    "damaged gzip": (gzip.compress(PIXELS)[:-9], "gzip data are damaged"),
    "labels for images": (LABELS, r"holds no images but uint8 \[2\]"),
    "signed pixels": (b"\0\0\x09" + PIXELS[3:], r"holds no images but int8 \[2, 2, 3\]"),
    "no image": (b"\0\0\x08\x03" + bytes(12), "has no image"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_refused_by_name(fault, tmp_path):
    content, message = FAULTS[fault]
    folder = folder_of(tmp_path, content, LABELS, PIXELS, LABELS)
    with pytest.raises(UserError, match=message) as refused:
        idx_folder(folder)
    assert str(refused.value).count("\n") == 0 and str(tmp_path / NAMES[0]) in str(refused.value)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    three = bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 1])
    with pytest.raises(UserError, match=r"has 2 images, .*labels-idx1-ubyte has 3 labels"):
        idx_folder(folder_of(tmp_path, PIXELS, three, PIXELS, LABELS))
    smaller = PIXELS[:11] + bytes([1]) + PIXELS[12:22]
    with pytest.raises(UserError, match="images of 6 pixels to learn from, of 3 to test on"):
        idx_folder(folder_of(tmp_path, PIXELS, LABELS, smaller, LABELS))
    with pytest.raises(UserError, match="the test labels go to 9, those to learn from to 7 only"):
        idx_folder(folder_of(tmp_path, PIXELS, LABELS, PIXELS, LABELS[:-1] + b"\x09"))
    (tmp_path / NAMES[3]).unlink()
    with pytest.raises(UserError, match="has no file t10k-labels-idx1-ubyte"):
        idx_folder(str(tmp_path))


def test_files_are_found_under_either_of_their_names(tmp_path):
    for name, content in zip(NAMES, (PIXELS, LABELS, PIXELS, LABELS)):
        (tmp_path / (name.replace("-idx", ".idx") + ".gz")).write_bytes(gzip.compress(content))
    train, test = idx_folder(str(tmp_path))
    assert train.y.tolist() == test.y.tolist() == [7, 0]


def test_the_parts_of_the_digits_share_no_image_and_are_the_same_every_time():
    whole = digits()
    assert whole.x.shape == (1797, 64) and np.bincount(whole.y).tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180,
    ]  # fmt: skip
    marked = Images(np.arange(1797)[:, None], whole.y)
    rest, test = split(marked, 0.2)
    train, valid = split(rest, 0.1)
    assert [len(part.y) for part in (train, valid, test)] == [1294, 144, 359]
    assert sorted(np.concatenate([train.x, valid.x, test.x])[:, 0].tolist()) == list(range(1797))
    np.testing.assert_array_equal(split(marked, 0.2)[1].x, test.x)


def test_each_epoch_has_every_image_once_in_an_order_of_its_own():
    stream, data = shuffled_images("train", 3), {"train": labelled(9)}
    advance, position, epochs = jax.jit(stream.next), stream.init(data), []
    for epoch in range(3):
        epochs.append([])
        for step in range(3):
            batch, position = advance(data, position, jax.random.key(10 * epoch + step))
            np.testing.assert_allclose(batch.x[:, 0, 0] * 255, batch.y, rtol=1e-6)
            epochs[-1] += batch.y.tolist()
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] and epochs[0] != sorted(epochs[0])
    with pytest.raises(UserError, match="--batch_size=10: there are only 9 training images"):
        shuffled_images("train", 10).init(data)


def test_a_pass_in_order_counts_every_image_once():
    stream, data = images_in_order("test", 4, 10), {"test": labelled(10)}
    position, seen = stream.init(data), []
    for _ in range(stream.length):
        batch, position = stream.next(data, position, jax.random.key(0))
        seen += batch.y[batch.mask].tolist()
    assert seen == list(range(10))


def test_a_label_at_each_step_of_which_the_last_counts_is_a_label_at_the_end():
    pixels = importlib.import_module("experiments.pixels")
    values = {name: pixels.FLAGS[name].value for name in pixels.FLAGS}
    config, data = app.Config(values | {"cell": "vanilla", "hidden_size": 4}), labelled(9)
    scores = []
    for rule in ("bptt", "tbptt"):
        setup = pixels.build(config.replace(rule=rule, batch_size=4), pixels.Facts(10, {"valid": 9, "test": 0}))
        position = setup.valid.init({"valid": data})
        batch, _ = setup.valid.next({"valid": data}, position + 2, jax.random.key(0))  # one image, three masked
        params = setup.cell.init(jax.random.key(0), batch.x[0])
        params = jax.tree.map(lambda a: a + 0.1, params)
        scores.append(jax.jit(lambda p, b, s=setup: score(s.cell, s.objective, p, (), b)[0])(params, batch))
    assert scores[0]["loss"].weight == 1
    np.testing.assert_allclose(*(jax.tree.leaves(s) for s in scores), rtol=1e-5)


def test_without_scikit_learn_or_the_folder_one_line_says_what_to_do(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert launch("pixels", f"--workdir={tmp_path / 'a'}") == 1
    assert "pip install scikit-learn" in capsys.readouterr().err
    assert launch("pixels", "--data=mnist", "--data_dir=nowhere", f"--workdir={tmp_path / 'b'}") == 1
    assert "--data=mnist: there is no such folder, nor below --data_dir=nowhere" in capsys.readouterr().err


def test_mnist_has_its_published_counts():
    folder = Path(os.environ.get("RNNJAX_DATA", "../shared/data")) / "mnist"
    if not folder.exists():
        pytest.skip("the folder mnist is not there: set RNNJAX_DATA")
    train, test = idx_folder(str(folder))
    assert train.x.shape == (60_000, 784) and test.x.shape == (10_000, 784)
    assert train.y[:5].tolist() == [5, 0, 4, 1, 9] and jnp.bincount(test.y)[:3].tolist() == [980, 1135, 1032]
