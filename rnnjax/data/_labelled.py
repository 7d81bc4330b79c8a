"""Texts with a label each: one per line of a file, or one file per class in a folder."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnjax.base import UserError, check_rate, check_size
from rnnjax.base._arguments import check_list, check_path
from rnnjax.base._errors import as_user_error
from rnnjax.data._counted import note_of
from rnnjax.data._files import raise_at_line, read_lines
from rnnjax.data._numerals import POINT
from rnnjax.data._opening import UTF8
from rnnjax.data._streams import checked_places


class Labelled(NamedTuple):
    """Examples with a class each.

    Attributes:
      xs: the examples: texts, or arrays `[T, ...]` of different lengths.
      y: index of the class, int32 `[n]`.
      classes: their names.
      passed: number of items of each kind that the reader skipped.
      remarks: of the reader, on what may be a mistake.
    """

    xs: list
    y: np.ndarray
    classes: tuple[str, ...]
    passed: Mapping[str, int] = {}
    remarks: tuple[str, ...] = ()

    def note(self) -> str:
        """Returns a note of what the reader skipped and decided; "" if nothing was."""
        return note_of(self.passed, self.remarks)

    def at(self, places: Sequence[int] | np.ndarray) -> Labelled:
        """Returns the examples at the given indices."""
        return Labelled([self.xs[i] for i in places], self.y[list(places)], self.classes)


def read_labelled(
    path: str, classes: Sequence[str] = (), separator: str = "\t", encoding: str = UTF8, complete: bool = True
) -> Labelled:
    """Reads a file with one text per line, each after its label.

    Args:
      path: a text file, which may be compressed with gzip. Blank lines are skipped.
      classes: the possible classes; () for those that occur, in order of first appearance.
      separator: between a label and its text.
      complete: whether each of `classes` must occur.
      encoding: of the text; a byte order mark takes precedence.

    Raises:
      UserError: a line, which is named, has no label, the label nan, no text, or a label that is not one of the
        classes; two labels are the same number; a class is empty; the first line holds column names; or most labels
        occur only once.
      ValueError: the separator is empty, or a class comes twice.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "reviews.txt"
      >>> _ = path.write_text("good\\twhat a joy\\nbad\\tno\\n")
      >>> found = read_labelled(str(path))
      >>> found.xs, found.y.tolist(), found.classes
      (['what a joy', 'no'], [0, 1], ('good', 'bad'))
    """
    if not separator or len({*classes}) < len(classes):
        raise ValueError(
            f"read_labelled: a separator and different classes, got {separator!r} and {name_some(classes)}"
        )
    labels: list[tuple[int, str]] = []
    xs: list[str] = []
    blank = 0
    for number, line in enumerate(read_lines(path, encoding), 1):
        if not line.strip():
            blank += 1
            continue
        label, _, text = (part.strip() for part in line.partition(separator))
        if not label or not text:
            raise_at_line(path, number, f"no {'text' if label else 'label'}: write LABEL{separator!r}TEXT")
        labels.append((number, unicodedata.normalize("NFC", label)))
        xs.append(text)
    if not classes:
        _check_labels(labels, xs, path)
    if not xs and not (classes and complete):
        raise UserError(f"{path}: no line has a text")
    found = with_classes(xs, labels, tuple(classes) or tuple(dict.fromkeys(label for _, label in labels)), path)
    empty = [name for name in classes if complete and name not in {label for _, label in labels}]
    if empty:
        raise UserError(f"{path}: the class {empty[0]!r} is empty")
    return found._replace(passed={"blank lines": blank}, remarks=() if classes else _lookalikes(found.classes))


_COLUMNS = ("label", "labels", "class", "category", "target", "sentiment")  # names of the label column in a header
_TEXTS = ("text", "texts", "sentence", "review", "content", "document", "comment", "tweet", "title", "id", "index")
_MANY = 20  # lines needed to decide that the labels are in the other column


def _check_labels(labels: Sequence[tuple[int, str]], xs: Sequence[str], path: str) -> None:
    """Refuses a header line, which would become a class of its own, and other columns in place of the labels."""
    each = Counter(label for _, label in labels)
    line, first = labels[0] if labels else (0, "")
    named = first.lower() in _COLUMNS or (first.lower() in _TEXTS and xs[0].lower() in (*_COLUMNS, *_TEXTS))
    if len(labels) > 1 and each[first] == 1 and named:
        turn = "" if first.lower() in _COLUMNS else ", and the label stands before the text"
        raise_at_line(path, line, f"{first!r} is the name of a column and no label: leave the line out{turn}")
    if len(labels) >= _MANY and 2 * len(each) > len(labels):
        raise_at_line(
            path,
            line,
            f"{len(each)} different labels in {len(labels)} lines, such as {first!r:.40}: "
            "the label stands before the text",
        )
    numbers: dict[float, str] = {}
    for line, label in labels:
        if label.lower() == "nan":
            raise_at_line(path, line, f"the label {label!r} stands for a missing one: leave the line out")
        if POINT.fullmatch(label) and numbers.setdefault(float(label), label) != label:
            raise_at_line(path, line, f"the labels {numbers[float(label)]!r} and {label!r} are one number")


def _lookalikes(classes: Sequence[str]) -> tuple[str, ...]:
    """Returns a remark on classes that differ in case, width or quotation marks only."""
    alike: dict[str, str] = {}
    for name in classes:
        plain = unicodedata.normalize("NFKC", name).casefold().strip("'\" ")
        if alike.setdefault(plain, name) != name:
            return (f"the labels {alike[plain]!r} and {name!r} are two classes",)
    return ()


def name_some(classes: Sequence[str], most: int = 10) -> str:
    """Lists the names of classes for a message.

    Example:
      >>> name_some("abcd", most=2)
      'a, b and 2 others'
    """
    more = len(classes) - most
    return f"{', '.join(classes[:most])} and {more} others" if more > 0 else ", ".join(classes)


def with_classes(xs: list, labels: Sequence[tuple[int, str]], classes: tuple[str, ...], path: str) -> Labelled:
    """Returns examples whose labels are mapped to classes by name.

    Args:
      xs: the examples.
      labels: of each, with its line number.
      classes: in order.
      path: of the file, for the message.

    Raises:
      UserError: a label, whose line is named, is not one of the classes.

    Example:
      >>> with_classes(["no", "yes"], [(1, "bad"), (2, "good")], ("good", "bad", "fair"), "test.tsv").y.tolist()
      [1, 0]
    """
    places = {name: i for i, name in enumerate(classes)}
    for line, label in labels:
        if label not in places:
            raise_at_line(path, line, f"the label {label!r:.40} is none of {name_some(classes)}")
    return Labelled(xs, np.array([places[label] for _, label in labels], np.int32), classes)


def class_folder(folder: str, encoding: str = UTF8) -> Labelled:
    """Reads a folder with one text file per class, named after the class, one example per line, such as surnames.

    Blank lines and hidden files are skipped.

    Args:
      folder: of the files.
      encoding: of the text; a byte order mark takes precedence.

    Raises:
      UserError: there are fewer than two such files, or folders among them, or files with different extensions, or two
        of the same class; or a file has no example or another encoding.

    Example:
      >>> import pathlib, tempfile
      >>> folder = pathlib.Path(tempfile.mkdtemp())
      >>> _ = (folder / "Greek.txt").write_text("Kouros\\nXydis\\n"), (folder / "Irish.txt").write_text("Whelan\\n")
      >>> found = class_folder(str(folder))
      >>> found.xs, found.y.tolist(), found.classes
      (['Kouros', 'Xydis', 'Whelan'], [0, 0, 1], ('Greek', 'Irish'))
    """
    check_path("class_folder: folder", folder)
    with as_user_error("read", folder):
        every = sorted(Path(folder).iterdir())
    paths = [path for path in every if not path.name.startswith(".")]
    names = _class_names(folder, paths)
    lines = [read_lines(str(path), encoding) for path in paths]
    parts = [[line.strip() for line in part if line.strip()] for part in lines]
    for path, part in zip(paths, parts):
        if not part:
            raise UserError(f"{path}: the class {_without_gz(path).stem!r} is empty")
    y = np.repeat(np.arange(len(parts), dtype=np.int32), [len(part) for part in parts])
    passed = {"blank lines": sum(map(len, lines)) - len(y), "hidden files": len(every) - len(paths)}
    return Labelled([x for part in parts for x in part], y, names, passed)


def _class_names(folder: str, paths: Sequence[Path]) -> tuple[str, ...]:
    """Returns the names of the classes, if the files are those of classes and nothing else."""
    files = [path for path in paths if path.is_file()]
    if len(files) < 2:
        raise UserError(f"{folder} has {len(files)} files: one is needed for each of at least two classes")
    if len(files) < len(paths):
        other = next(path.name for path in paths if path not in files)
        raise UserError(f"{folder} holds {other!r}, which is no file: each class is one file")
    first = {_without_gz(path).suffix: path.name for path in reversed(files)}
    if len(first) > 1:
        a, b = sorted(first.values())[:2]
        raise UserError(f"{folder} holds {a!r} and {b!r}: the files of the classes have one ending; move others away")
    names = tuple(_without_gz(path).stem for path in files)
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise UserError(f"{folder} has two files of the class {twice[0]!r}")
    return names


def _without_gz(path: Path) -> Path:
    """Returns a path without the .gz extension."""
    return path.with_suffix("") if path.suffix == ".gz" else path


def random_split(n: int, *parts: float, seed: int = 0) -> list[np.ndarray]:
    """Splits the numbers below n at random: first the remainder, then one part for each fraction in `parts`.

    Example:
      >>> [len(part) for part in random_split(100, 0.1, 0.2)]
      [70, 10, 20]
    """
    check_size("random_split: n", n, 0)
    check_size("random_split: seed", seed, 0)
    for part in parts:
        check_rate("random_split: a part", part, certain=True)
    if sum(parts) > 1 + 1e-9:
        raise ValueError(f"random_split: parts are fractions that sum to 1 at most, got {', '.join(map(str, parts))}")
    order = np.random.default_rng(seed).permutation(n)
    ends = np.cumsum([round(part * n) for part in parts])
    pieces = np.split(order, ends)
    return [np.sort(piece) for piece in (pieces[-1], *pieces[:-1])]


def drop_duplicates(keys: Sequence[Hashable], parts: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """Removes from the last part what also occurs in the other parts; returns the parts and the number removed.

    If some examples of a list occur twice, a random split puts training examples into the test part.

    Args:
      keys: of the examples; equal keys mean equal examples.
      parts: indices, with the test part last.

    Example:
      >>> import numpy as np
      >>> drop_duplicates(["a", "b", "a", "c"], [np.array([0, 1]), np.array([2, 3])])
      ([array([0, 1]), array([3])], 1)
    """
    check_list("drop_duplicates: keys", keys)
    check_list("drop_duplicates: parts", parts, some=True)
    parts = [checked_places("drop_duplicates: parts", part, len(keys)) for part in parts]
    *others, test = parts
    known = {keys[i] for part in others for i in part}
    new = np.array([i for i in test if keys[i] not in known], int)
    return [*others, new], len(test) - len(new)
