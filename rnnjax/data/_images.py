"""Images with labels, from idx files or scikit-learn's digits, as sequences of pixels in shuffled epochs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import PyTree, UserError, check_rate, check_size
from rnnjax.base._arguments import check_is
from rnnjax.data._batch import Batch
from rnnjax.data._files import read_bytes
from rnnjax.data._stream import Stream
from rnnjax.data._streams import check_count, checked_places, one_pass, part_of

_MOST_AXES = 8  # of an idx file
# The third byte of an idx file gives the type of its numbers, which are big-endian.
_KINDS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str) -> np.ndarray:
    """Returns the array in an idx file, plain or compressed with gzip.

    Raises:
      UserError: the file does not exist, is not an idx file, or its length does not match its header.

    Example:
      >>> read_idx("nowhere-idx1-ubyte")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere-idx1-ubyte: No such file or directory
    """
    content = read_bytes(path)
    if content[:2] != b"\0\0" or len(content) < 4 or content[2] not in _KINDS:
        fault = f"it begins with the bytes {content[:4].hex(' ')}" if content else "it is empty"
        raise UserError(f"{path} is not an idx file: {fault}")
    kind, rank = np.dtype(_KINDS[content[2]]), content[3]
    if rank > _MOST_AXES:
        raise UserError(f"{path} has {rank} axes: idx files of at most {_MOST_AXES} are supported")
    start = 4 + 4 * rank
    if len(content) < start:
        raise UserError(f"{path} is cut short: it ends within its header, after {len(content)} bytes")
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">u4"))
    promised, there = math.prod(shape) * kind.itemsize, len(content) - start
    if promised != there:
        fault = "is cut short" if there < promised else "does not end where it should"
        sizes = " x ".join(map(str, shape))
        raise UserError(f"{path} {fault}: its header says {sizes}, {promised} bytes, and {there} follow")
    return np.frombuffer(content, kind, offset=start).reshape(shape).astype(kind.newbyteorder("="))


class Images(NamedTuple):
    """Images as sequences of pixels, with their labels.

    Attributes:
      x: pixels 0 to 255, uint8 `[n, T]`, row by row.
      y: labels, int32 `[n]`.
    """

    x: np.ndarray | jax.Array
    y: np.ndarray | jax.Array


def read_images(images: str, labels: str) -> Images:
    """Reads images and labels from their two idx files.

    Raises:
      UserError: a file cannot be read or has the wrong type, or the two do not match.
    """
    x, y = read_idx(images), read_idx(labels)
    for path, array, rank, what in ((images, x, x.ndim >= 2, "images"), (labels, y, y.ndim == 1, "labels")):
        if not rank or array.dtype != np.uint8:
            raise UserError(f"{path} holds no {what} but {array.dtype} {list(array.shape)}")
    if not x.size:
        raise UserError(f"{images} has no image")
    if len(x) != len(y):
        raise UserError(f"{images} has {len(x)} images, {labels} has {len(y)} labels")
    return Images(x.reshape(len(x), -1), y.astype(np.int32))


def idx_folder(folder: str) -> tuple[Images, Images]:
    """Reads the training and test images from a folder with the four MNIST files under their usual names.

    Raises:
      UserError: a file is missing or wrong, or the two sets do not match.

    Example:
      >>> idx_folder("nowhere")
      Traceback (most recent call last):
      rnnjax.base.UserError: nowhere has no file train-images-idx3-ubyte, with or without .gz
    """

    def path(name: str) -> str:
        names = (name, name.replace("-idx", ".idx"))
        for file in (Path(folder) / (n + end) for n in names for end in ("", ".gz")):
            if file.exists():
                return str(file)
        raise UserError(f"{folder} has no file {name}, with or without .gz")

    def both(part: str) -> Images:
        return read_images(path(f"{part}-images-idx3-ubyte"), path(f"{part}-labels-idx1-ubyte"))

    train, test = both("train"), both("t10k")
    if train.x.shape[1] != test.x.shape[1]:
        raise UserError(f"{folder}: images of {train.x.shape[1]} pixels to learn from, of {test.x.shape[1]} to test on")
    if test.y.max() > train.y.max():
        raise UserError(f"{folder}: the test labels go to {test.y.max()}, those to learn from to {train.y.max()} only")
    return train, test


def digits() -> Images:
    """Returns the 1,797 digits of 8 x 8 pixels from scikit-learn, with their 17 grey levels scaled to 0 to 255.

    Raises:
      UserError: scikit-learn is not installed.

    Example:
      >>> images = digits()
      >>> images.x.shape, images.x.dtype, int(images.x.max()), int(images.y.max())
      ((1797, 64), dtype('uint8'), 255, 9)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError("the default digits come with scikit-learn: pip install scikit-learn") from error
    x, y = load_digits(return_X_y=True)
    return Images(np.round(x * (255 / 16)).astype(np.uint8), y.astype(np.int32))


def split(images: Images, part: float, seed: int = 0) -> tuple[Images, Images]:
    """Splits images at random in two: the remainder, and the given fraction.

    Args:
      images: all of them.
      part: the fraction, in [0, 1).
      seed: selects the split.

    Example:
      >>> import numpy as np
      >>> rest, taken = split(Images(np.zeros((10, 4), np.uint8), np.arange(10)), 0.3)
      >>> len(rest.y), len(taken.y), sorted({*rest.y.tolist(), *taken.y.tolist()}) == list(range(10))
      (7, 3, True)
    """
    check_is("split: images", images, Images)
    check_rate("split: part", part)
    check_size("split: seed", seed, 0)
    order = np.random.default_rng(seed).permutation(len(images.y))
    n = round(part * len(order))
    rest, taken = np.sort(order[n:]), np.sort(order[:n])
    return Images(images.x[rest], images.y[rest]), Images(images.x[taken], images.y[taken])


def permuted(images: Images, seed: int = 0) -> Images:
    """Returns the images with their pixels in another order, the same for all. `unpermuted` is the inverse.

    Example:
      >>> import numpy as np
      >>> print(permuted(Images(np.arange(4)[None], np.zeros(1))).x)
      [[2 0 1 3]]
    """
    _check_permuted("permuted", images, seed)
    return images._replace(x=images.x[:, np.random.default_rng(seed).permutation(images.x.shape[1])])


def unpermuted(images: Images, seed: int = 0) -> Images:
    """Returns the images before `permuted`.

    Example:
      >>> import numpy as np
      >>> print(unpermuted(permuted(Images(np.arange(4)[None], np.zeros(1)))).x)
      [[0 1 2 3]]
    """
    _check_permuted("unpermuted", images, seed)
    return images._replace(x=images.x[:, np.argsort(np.random.default_rng(seed).permutation(images.x.shape[1]))])


def _check_permuted(name: str, images: Images, seed: int) -> None:
    """Refuses what is no set of images, or no seed."""
    check_is(f"{name}: images", images, Images)
    check_size(f"{name}: seed", seed, 0)


def pixels(images: Images, at: jax.Array, mask: jax.Array | None = None) -> Batch:
    """Returns the batch of images at the given indices: x `[B, T, 1]` in [0, 1], y `[B]`.

    Example:
      >>> import numpy as np
      >>> batch = pixels(Images(np.full((3, 4), 51, np.uint8), np.arange(3, dtype=np.int32)), np.array([2, 0]))
      >>> batch.x.shape, f"{batch.x.max():.3f}", batch.y.tolist()
      ((2, 4, 1), '0.200', [2, 0])
    """
    check_is("pixels: images", images, Images)
    at = checked_places("pixels: at", at, len(images.y))
    check_is("pixels: images", images, Images)
    at = checked_places("pixels: at", at, len(images.y))
    x = jnp.asarray(images.x)[at].astype(jnp.float32) / 255
    return Batch(x[..., None], jnp.asarray(images.y)[at], mask)


class _Epoch(NamedTuple):
    """The position of a shuffled stream.

    Attributes:
      order: of the images in this epoch, int32 `[n]`.
      at: number of its batches so far.
    """

    order: jax.Array
    at: jax.Array


def shuffled_images(name: str, batch_size: int) -> Stream:
    """Returns the stream of batches of `data[name]`, which is an `Images`, in a new random order each epoch.

    An epoch has each image at most once; images that do not fill a batch wait for a later epoch.

    Raises:
      UserError: at the start, if there are fewer images than the batch size.

    Example:
      >>> import jax, numpy as np
      >>> data = {"train": Images(np.zeros((6, 4), np.uint8), np.arange(6, dtype=np.int32))}
      >>> stream, labels = shuffled_images("train", batch_size=2), []
      >>> position = stream.init(data)
      >>> for step in range(3):
      ...     batch, position = stream.next(data, position, jax.random.key(step))
      ...     labels += batch.y.tolist()
      >>> sorted(labels), batch.x.shape
      ([0, 1, 2, 3, 4, 5], (2, 4, 1))
    """

    check_size("shuffled_images: batch_size", batch_size)

    def init(data: PyTree) -> _Epoch:
        n = len(part_of(data, name).y)
        if n < batch_size:
            raise UserError(f"--batch_size={batch_size}: there are only {n} training images")
        return _Epoch(jnp.arange(n, dtype=jnp.int32), jnp.zeros((), jnp.int32))

    def next_batch(data: PyTree, position: _Epoch, key: jax.Array) -> tuple[Batch, _Epoch]:
        n = len(data[name].y)
        order = jax.lax.cond(
            position.at == 0,
            lambda: jax.random.permutation(key, jnp.arange(n, dtype=jnp.int32)),
            lambda: position.order,
        )
        at = jax.lax.dynamic_slice_in_dim(order, position.at * batch_size, batch_size)
        return pixels(data[name], at), _Epoch(order, (position.at + 1) % (n // batch_size))

    return Stream(init, next_batch)


def images_in_order(name: str, batch_size: int, n: int) -> Stream:
    """Returns a stream with each of the n images of `data[name]` once; the padding of the last batch is masked.

    Example:
      >>> import jax, numpy as np
      >>> data = {"test": Images(np.zeros((3, 4), np.uint8), np.arange(3, dtype=np.int32))}
      >>> stream = images_in_order("test", batch_size=2, n=3)
      >>> batch, position = stream.next(data, stream.init(data), None)
      >>> batch, position = stream.next(data, position, None)
      >>> print(batch.y, batch.mask)
      [2 2] [ True False]
    """

    def give(data: PyTree, at: jax.Array, there: jax.Array) -> Batch:
        check_count("images_in_order", part_of(data, name), n)
        return pixels(data[name], at, there)

    return one_pass(give, batch_size, n)
