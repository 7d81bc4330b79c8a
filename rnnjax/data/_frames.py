"""Frames of numbers between blank lines, as in Japanese Vowels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnjax.base import UserError
from rnnjax.data._files import raise_at_line, read_blocks, read_lines
from rnnjax.data._labelled import Labelled
from rnnjax.data._numerals import parse_matrix, parse_number
from rnnjax.data._opening import UTF8


def read_frames(path: str, encoding: str = UTF8) -> list[np.ndarray]:
    """Reads utterances separated by blank lines, with one frame of numbers per line, as in Japanese Vowels.

    Args:
      path: a text file, which may be compressed with gzip.
      encoding: of the text; a byte order mark takes precedence.

    Returns:
      one float32 `[T, D]` per utterance.

    Raises:
      UserError: a line, which is named, has more or fewer numbers than the first, or a field is not a number.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "ae"
      >>> _ = path.write_text("1 2\\n3 4\\n\\n5 6\\n")
      >>> [frames.shape for frames in read_frames(str(path))]
      [(2, 2), (1, 2)]
    """
    parts = list(read_blocks(path, encoding))
    if not parts:
        raise UserError(f"{path} has no frame")
    frames = parse_matrix([row for block in parts for row in block], path, np.float32)
    return np.split(frames, np.cumsum([len(block) for block in parts])[:-1])


def vowels(folder: str) -> tuple[Labelled, Labelled]:
    """Reads the training and test utterances from a folder with ae.train, size_ae.train, ae.test and size_ae.test.

    The size files give the number of utterances of each speaker; the speakers follow one another.

    Raises:
      UserError: a file is missing or faulty, or the sizes do not match the utterances.

    Example:
      >>> vowels("nowhere")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere/ae.train: No such file or directory
    """

    def part(name: str) -> Labelled:
        path, sizes = Path(folder) / f"ae.{name}", Path(folder) / f"size_ae.{name}"
        frames = read_frames(str(path))
        said = [(i, n) for i, line in enumerate(read_lines(str(sizes)), 1) for n in line.split()]
        each = [parse_number(n, str(sizes), i) for i, n in said]
        for speaker, ((line, _), n) in enumerate(zip(said, each), 1):
            if n < 1 or n != int(n):
                raise_at_line(str(sizes), line, f"{n:g} utterances of speaker {speaker}; at least 1 is needed")
        if sum(each) != len(frames):
            raise UserError(f"{path} has {len(frames)} utterances, {sizes} says {sum(each):g}")
        y = np.repeat(np.arange(len(each), dtype=np.int32), np.array(each, int))
        return Labelled(frames, y, tuple(str(i + 1) for i in range(len(each))))

    train, test = part("train"), part("test")
    if len(train.classes) != len(test.classes) or train.xs[0].shape[1] != test.xs[0].shape[1]:
        raise UserError(f"{folder}: ae.train and ae.test differ in their speakers or in the numbers of a frame")
    return train, test
