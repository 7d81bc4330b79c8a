"""Texts with a label each: one a line in a file, or one file a class in a folder."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.data._files import raise_at_line, read_lines
from rnnjax.data._opening import UTF8


class Labelled(NamedTuple):
    """Examples with a class each.

    Attributes:
      xs: the examples: texts, or arrays `[T, ...]` of different lengths.
      y: which of the classes, int32 `[n]`.
      classes: their names.
    """

    xs: list
    y: np.ndarray
    classes: tuple[str, ...]

    def at(self, places: Sequence[int] | np.ndarray) -> Labelled:
        """The examples at some places."""
        return Labelled([self.xs[i] for i in places], self.y[list(places)], self.classes)


def read_labelled(
    path: str, classes: Sequence[str] = (), separator: str = "\t", encoding: str = UTF8, complete: bool = True
) -> Labelled:
    """A file with one text a line, its label before it.

    Args:
      path: a text file, which gzip may have compressed. Blank lines are passed over.
      classes: those there may be; (): those there are, in order of first appearance.
      separator: between a label and its text.
      complete: whether each of `classes` must occur.
      encoding: of its characters; a byte order mark says it better.

    Raises:
      UserError: a line, which is named, has no label, no text or a label that is none of the classes; or a class is
        empty.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "reviews.txt"
      >>> _ = path.write_text("good\\twhat a joy\\nbad\\tno\\n")
      >>> found = read_labelled(str(path))
      >>> found.xs, found.y.tolist(), found.classes
      (['what a joy', 'no'], [0, 1], ('good', 'bad'))
    """
    labels: list[tuple[int, str]] = []
    xs: list[str] = []
    for number, line in enumerate(read_lines(path, encoding), 1):
        if not line.strip():
            continue
        label, _, text = (part.strip() for part in line.partition(separator))
        if not label or not text:
            raise_at_line(path, number, f"no {'text' if label else 'label'}: write LABEL{separator!r}TEXT")
        labels.append((number, label))
        xs.append(text)
    if not xs and not (classes and complete):
        raise UserError(f"{path}: no line has a text")
    found = with_classes(xs, labels, tuple(classes) or tuple(dict.fromkeys(label for _, label in labels)), path)
    empty = [name for name in classes if complete and name not in {label for _, label in labels}]
    if empty:
        raise UserError(f"{path}: the class {empty[0]!r} is empty")
    return found


def with_classes(xs: list, labels: Sequence[tuple[int, str]], classes: tuple[str, ...], path: str) -> Labelled:
    """Examples whose labels are mapped to classes by name.

    Args:
      xs: the examples.
      labels: of each, with the line that has it.
      classes: in their order.
      path: of the file, for the message.

    Raises:
      UserError: a label, whose line is named, is none of the classes.

    Example:
      >>> with_classes(["no", "yes"], [(1, "bad"), (2, "good")], ("good", "bad", "fair"), "test.tsv").y.tolist()
      [1, 0]
    """
    places = {name: i for i, name in enumerate(classes)}
    for line, label in labels:
        if label not in places:
            raise_at_line(path, line, f"the label {label!r} is none of {', '.join(classes)}")
    return Labelled(xs, np.array([places[label] for _, label in labels], np.int32), classes)


def class_folder(folder: str, encoding: str = UTF8) -> Labelled:
    """A folder with a text file for each class, named after it, one example a line: surnames by language.

    Blank lines are passed over; so are files whose name begins with a dot.

    Args:
      folder: where they lie.
      encoding: of their characters; a byte order mark says it better.

    Raises:
      UserError: there are fewer than two such files, or one has no example or is not of this encoding.

    Example:
      >>> import pathlib, tempfile
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> _ = (folder / "Greek.txt").write_text("Kouros\\nXydis\\n"), (folder / "Irish.txt").write_text("Whelan\\n")
      >>> found = class_folder(str(folder))
      >>> found.xs, found.y.tolist(), found.classes
      (['Kouros', 'Xydis', 'Whelan'], [0, 0, 1], ('Greek', 'Irish'))
    """
    with as_user_error("read", folder):
        paths = sorted(p for p in Path(folder).iterdir() if p.is_file() and not p.name.startswith("."))
    if len(paths) < 2:
        raise UserError(f"{folder} has {len(paths)} files: one is needed for each of at least two classes")
    parts = [[line.strip() for line in read_lines(str(path), encoding) if line.strip()] for path in paths]
    for path, part in zip(paths, parts):
        if not part:
            raise UserError(f"{path}: the class {path.name.split('.')[0]!r} is empty")
    y = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
    return Labelled([x for part in parts for x in part], y, tuple(path.name.split(".")[0] for path in paths))


def random_split(n: int, *parts: float, seed: int = 0) -> list[np.ndarray]:
    """The numbers below n in random parts, drawn once for all: what remains, then a part for each of `parts`.

    Example:
      >>> [len(part) for part in random_split(100, 0.1, 0.2)]
      [70, 10, 20]
    """
    order = np.random.default_rng(seed).permutation(n)
    ends = np.cumsum([round(part * n) for part in parts])
    pieces = np.split(order, ends)
    return [np.sort(piece) for piece in (pieces[-1], *pieces[:-1])]


def drop_duplicates(keys: Sequence[Hashable], parts: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """The same parts, the last without what comes in the others too; and how much that is.

    A random split of a list in which some examples come twice puts known ones into the test.

    Args:
      keys: of the examples: equal ones are the same.
      parts: places, those of the test last.

    Example:
      >>> import numpy as np
      >>> drop_duplicates(["a", "b", "a", "c"], [np.array([0, 1]), np.array([2, 3])])
      ([array([0, 1]), array([3])], 1)
    """
    *others, test = parts
    known = {keys[i] for part in others for i in part}
    new = np.array([i for i in test if keys[i] not in known], int)
    return [*others, new], len(test) - len(new)
